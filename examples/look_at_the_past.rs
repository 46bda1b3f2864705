//! How do I see a session as it was at an earlier point?
#![expect(clippy::print_stderr, reason = "an example shows something")]

use serde_json::json;
use sessionlog::{Engine, Message, Metrics, Point};

fn main() -> sessionlog::Result<()> {
    let engine = Engine::in_memory()?;
    let session = engine.session("planning").state(json!({"step": 0})).open()?;
    for step in 1..=3 {
        let messages = [Message::user(format!("step {step}?")), Message::assistant("done")];
        session.record_run(messages, Metrics::tokens(10, 2))?;
        session.merge_state(json!({ "step": step }))?;
        session.rename(format!("After step {step}"))?.wait()?;
    }

    for point in ["start", "run:1", "6", "head"] {
        let at = session.at(point.parse::<Point>()?)?;
        let view = at.view();
        let state = json!(view.state);
        eprintln!("{point}: {} messages, name {:?}, state {state}", view.message_count, view.name);
    }
    for step in session.replay()? {
        let step = step?;
        eprintln!("seq {} {}", step.event.seq, step.event.body.kind());
    }
    Ok(())
}
