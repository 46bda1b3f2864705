//! A model that says what a test tells it to.

use std::fmt;
use std::sync::{Arc, Mutex};

use sessionlog::{Cancel, Message, Metrics, Model, ModelAnswer, ModelRequest, Result};

type Script = dyn Fn(usize, &ModelRequest, &Cancel) -> Result<ModelAnswer> + Send + Sync;

/// Answers by a script, which is given the number of the request, from 0, and notes what it was
/// asked.
pub(crate) struct Scripted {
    script: Box<Script>,
    asked: Mutex<Vec<ModelRequest>>,
}

impl Scripted {
    pub(crate) fn new(
        script: impl Fn(usize, &ModelRequest, &Cancel) -> Result<ModelAnswer> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), asked: Mutex::default() })
    }

    /// Says these words, one after the other, and then the last for ever; each takes 100 tokens
    /// in and 10 out.
    pub(crate) fn saying(words: &[&str]) -> Arc<Self> {
        let words: Vec<String> = words.iter().map(|words| (*words).to_owned()).collect();
        Self::new(move |number, _, _| Ok(answer(&words[number.min(words.len() - 1)])))
    }

    pub(crate) fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The last message of each request: what was asked.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|request| request.messages.last().unwrap().content.text()).collect()
    }

    pub(crate) fn requests(&self) -> Vec<ModelRequest> {
        self.asked.lock().unwrap().clone()
    }
}

/// Words as a model answers with them.
pub(crate) fn answer(words: &str) -> ModelAnswer {
    ModelAnswer::new(Message::assistant(words)).with_metrics(Metrics::tokens(100, 10))
}

/// A summary as a model answers with it.
pub(crate) fn summary(text: &str) -> String {
    serde_json::json!({ "summary": text, "topics": ["tea"] }).to_string()
}

impl Model for Scripted {
    fn id(&self) -> &'static str {
        "scripted"
    }

    fn answer(&self, request: &ModelRequest, cancel: &Cancel) -> Result<ModelAnswer> {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len() - 1
        };
        (self.script)(number, request, cancel)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}
