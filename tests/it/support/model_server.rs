//! A server on this machine that speaks the providers' protocols, as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What a client sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What it gets.
pub(crate) enum Reply {
    /// A status, further headers, and a body.
    Http(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// These bytes, and then the connection ends.
    Raw(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Nothing,
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self::Http(200, vec![], body.to_string().into_bytes())
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Http(status, vec![], body.as_bytes().to_vec())
    }
}

type Script = dyn Fn(usize, &Sent) -> Reply + Send + Sync;

pub(crate) struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Says each time that a client was let wait, and that it went away.
    pub(crate) waiting: Receiver<Waiting>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Begins,
    Ends,
}

struct Shared {
    script: Box<Script>,
    sent: Mutex<Vec<Sent>>,
    is_over: AtomicBool,
    waiting: Sender<Waiting>,
}

impl ModelServer {
    /// Answers by a script, which is given the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize, &Sent) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, waiting) = channel();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            sent: Mutex::default(),
            is_over: AtomicBool::new(false),
            waiting: tell,
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if theirs.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&theirs));
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared, waiting }
    }

    /// Answers everything in OpenAI's words with the same text.
    pub(crate) fn saying(text: &str) -> Self {
        let answer = openai_answer(text);
        Self::start(move |_, _| Reply::json(&answer))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.shared.sent.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, which looks whether it is over.
        drop(TcpStream::connect(self.address));
    }
}

/// An answer as OpenAI writes it.
pub(crate) fn openai_answer(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m-1",
        "choices": [{
            "index": 0,
            "message": {
                "role": "assistant", "content": text, "refusal": null, "annotations": [],
            },
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
            "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    })
}

/// An answer as Anthropic writes it.
pub(crate) fn anthropic_answer(content: &Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": content,
        "stop_reason": stop_reason,
        "usage": {
            "input_tokens": 90, "output_tokens": 10,
            "cache_read_input_tokens": 30, "cache_creation_input_tokens": 20,
        },
    })
}

/// One connection: requests until the client goes.
fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(sent) = receive(&mut reader) {
        let number = {
            let mut all = shared.sent.lock().unwrap();
            all.push(sent.clone());
            all.len() - 1
        };
        let stream = reader.get_mut();
        match (shared.script)(number, &sent) {
            Reply::Http(status, headers, body) => {
                let length = ("content-length", &*body.len().to_string());
                let headers = headers.into_iter().chain([length]);
                let lines = headers.map(|(name, value)| format!("{name}: {value}\r\n"));
                let lines: String = lines.collect();
                let head = format!("HTTP/1.1 {status} Some Words\r\n{lines}\r\n");
                // A client that has seen enough is gone.
                if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err()
                {
                    return;
                }
            }
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Nothing => {
                let _ = shared.waiting.send(Waiting::Begins);
                let _ = reader.read(&mut [0]);
                let _ = shared.waiting.send(Waiting::Ends);
                return;
            }
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Sent> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length?.1.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Sent { path, headers, body: serde_json::from_slice(&body).ok()? })
}
