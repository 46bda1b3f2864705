//! How do I see what happens in a database as it happens?
#![expect(clippy::print_stderr, reason = "an example shows something")]

use sessionlog::{Access, Delivery, Engine, Message, Metrics};

fn main() -> sessionlog::Result<()> {
    let engine = Engine::in_memory()?;
    // From the first event on; a watcher that was away goes on from its `cursor`.
    let events = engine.subscribe(Access::Admin, 1);
    let watcher = std::thread::spawn(move || -> sessionlog::Result<()> {
        for delivery in events {
            match delivery? {
                Delivery::Event(there) => {
                    let (seq, kind) = (there.event.seq, there.event.body.kind());
                    eprintln!("{} seq {seq}: {kind}", there.session_id);
                }
                Delivery::Lagged { behind, .. } => eprintln!("{behind} events behind"),
            }
        }
        Ok(())
    });
    for user in ["alice", "bob"] {
        let session = engine.session(format!("{user}-1")).user(user).open()?;
        session.record_run([Message::user("Hi")], Metrics::default())?.wait()?;
    }
    // Closing the engine ends the subscription, once it has given everything.
    drop(engine);
    watcher.join().unwrap_or(Ok(()))
}
