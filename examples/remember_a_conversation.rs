//! How do I keep a conversation across restarts of my program?

use sessionlog::{Engine, Message, Metrics};

fn main() -> sessionlog::Result<()> {
    let directory = std::env::temp_dir().join("sessionlog-example.db");
    for (question, answer) in
        [("Hi, my name is Alice", "Hello Alice!"), ("What's my name?", "Your name is Alice.")]
    {
        // Opened anew each time, as after a restart.
        let engine = Engine::open(&directory)?;
        let session = engine.session("user_123_session").user("alice").open()?;
        let run = session.start_run()?;
        run.push(Message::user(question))?;

        let prompt = session.window().openai()?; // what the model gets
        eprintln_json(&prompt);

        run.push(Message::assistant(answer))?;
        run.complete(Metrics::tokens(12, 5))?.wait()?; // on disk
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example shows something")]
fn eprintln_json(prompt: &[serde_json::Value]) {
    for message in prompt {
        eprintln!("{message}");
    }
}
