//! A new session that begins with what another was.

use std::io::Write;

use serde_json::json;
use sessionlog::{Repair, Session};

use super::args::{ForkArgs, Global};
use super::failure::{Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

pub(super) fn run(global: &Global, args: &ForkArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    let at = session.at(args.at.clone())?;
    let mut fork = session.fork(args.at.clone());
    if let Some(id) = &args.id {
        fork = fork.id(id);
    }
    let fork = fork.open()?;
    let repairs = repairs(&fork)?;
    if out.is_json() {
        let from = json!({ "session_id": session.id(), "seq": at.seq() });
        out.json(&json!({
            "session_id": fork.id(), "forked_from": from, "seq": fork.seq()?, "repairs": repairs,
        }))?;
        return Ok(Outcome::Fine);
    }
    writeln!(out, "{} goes on from {} at seq {}", fork.id(), session.id(), at.seq())?;
    write_repairs(&repairs, out)?;
    Ok(Outcome::Fine)
}

/// What the next model call will not be given, because it would be illegal.
pub(super) fn repairs(session: &Session) -> Result<Vec<String>> {
    let (_, repairs) = session.window().read()?;
    Ok(repairs.iter().map(Repair::to_string).collect())
}

pub(super) fn write_repairs(repairs: &[String], out: &mut Output) -> Result<()> {
    for repair in repairs {
        writeln!(out, "{FAINT}the next prompt: {}{FAINT:#}", text::one_line(repair))?;
    }
    Ok(())
}
