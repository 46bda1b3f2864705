//! How do I go back to an earlier point, or try another way from there?
#![expect(clippy::print_stderr, reason = "an example shows something")]

use sessionlog::{Engine, Message, Metrics, Point, Session, Side};

fn ask(session: &Session, question: &str, answer: &str) -> sessionlog::Result<()> {
    let messages = [Message::user(question), Message::assistant(answer)];
    session.record_run(messages, Metrics::tokens(10, 2))?.wait().map(drop)
}

fn main() -> sessionlog::Result<()> {
    let engine = Engine::in_memory()?;
    let session = engine.session("trip").open()?;
    ask(&session, "Where to in May?", "Lisbon or Oslo.")?;
    ask(&session, "Lisbon, then.", "Book the train early.")?;

    // Another way from the same point, in a session of its own. The past is shared, not copied.
    let other = session.fork(Point::run(1)).id("trip-north").open()?;
    ask(&other, "Oslo, then.", "Take a coat.")?;
    let diff = session.at(Point::Head)?.diff(&other.at(Point::Head)?)?;
    for change in &diff.messages {
        let sign = if change.side == Side::Gone { '-' } else { '+' };
        eprintln!("{sign} {}", change.message.as_str());
    }

    // Or back in the same session. What came after stays in the log.
    let before = session.seq()?;
    session.rewind(Point::run(1))?.wait()?;
    eprintln!("{} messages after going back", session.view()?.message_count);
    session.rewind(Point::seq(before))?.wait()?;
    eprintln!("{} messages after undoing that", session.view()?.message_count);
    Ok(())
}
