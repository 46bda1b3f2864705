//! How do two writers of one session keep from overwriting one another?
#![expect(clippy::print_stderr, reason = "an example shows something")]

use serde_json::json;
use sessionlog::{Engine, ErrorKind, EventId, Expected, NewEvent, Renamed, StatePatch};

fn main() -> sessionlog::Result<()> {
    let engine = Engine::in_memory()?;
    let (one, two) = (engine.session("shared").open()?, engine.session("shared").open()?);

    // Changes of different keys are both kept, whoever comes first.
    let first = one.patch_state(StatePatch::new().set(["color"], json!("blue")))?;
    let second = two.patch_state(StatePatch::new().set(["size"], json!(7)))?;
    first.wait()?;
    second.wait()?;
    eprintln!("state: {}", one.state()?);

    // A writer that insists on what it has read is told when it is late.
    let seen = Expected::Seq(one.seq()?);
    two.rename("quicker")?.wait()?;
    let renamed = Renamed { name: Some("late".into()), is_generated: false };
    match one.append_expecting(seen, [NewEvent::new(renamed.clone())])?.wait() {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => eprintln!("{error}"),
        other => eprintln!("unexpected: {other:?}"),
    }

    // A retry under the same event id is stored once.
    let id = EventId::generate();
    for _ in 0..2 {
        let receipt = one.append([NewEvent::new(renamed.clone()).with_id(id)])?.wait()?;
        eprintln!("seq {}, duplicate: {}", receipt.first_seq, receipt.is_duplicate);
    }
    Ok(())
}
