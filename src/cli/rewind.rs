//! Going back inside a session.

use std::io::Write;

use serde_json::json;

use super::args::{Global, RewindArgs};
use super::failure::{Outcome, Result};
use super::fork::{repairs, write_repairs};
use super::output::{FAINT, Output};

pub(super) fn run(global: &Global, args: &RewindArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    let before = session.seq()?;
    let to = session.at(args.to.clone())?.seq();
    let seq = session.rewind(args.to.clone())?.wait()?.last_seq;
    let repairs = repairs(&session)?;
    if out.is_json() {
        out.json(&json!({
            "session_id": session.id(), "seq": seq, "rewound_to": to, "repairs": repairs,
        }))?;
        return Ok(Outcome::Fine);
    }
    writeln!(out, "{} is what it was at seq {to}", session.id())?;
    write_repairs(&repairs, out)?;
    writeln!(out, "{FAINT}rewind --to {before} brings back what came after{FAINT:#}")?;
    Ok(Outcome::Fine)
}
