//! How do I write to sessions from async code?
#![expect(clippy::print_stderr, reason = "an example shows something")]

use sessionlog::{Engine, Message, Metrics};

#[tokio::main]
async fn main() -> sessionlog::Result<()> {
    let engine = Engine::in_memory()?;
    let mut tasks = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let engine = engine.clone();
        tasks.push(tokio::spawn(async move {
            // Opening reads, so it runs where blocking is fine. Appends are awaited as they are.
            let session =
                engine.blocking(move |engine| engine.session(user).user(user).open()).await?;
            let messages = [Message::user("Hello"), Message::assistant("Hello!")];
            session.record_run(messages, Metrics::tokens(5, 2))?.await
        }));
    }
    for task in tasks {
        match task.await {
            Ok(receipt) => eprintln!("durable: {:?}", receipt?),
            Err(error) => eprintln!("the task ended early: {error}"),
        }
    }
    Ok(())
}
