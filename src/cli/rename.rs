//! A session's name.

use std::io::Write;

use serde_json::json;

use super::args::{Global, RenameArgs};
use super::failure::{Outcome, Result};
use super::output::Output;
use super::text;

pub(super) fn run(global: &Global, args: &RenameArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    let before = session.name()?;
    let seq = session.rename(&args.name)?.wait()?.last_seq;
    if out.is_json() {
        let (id, name) = (session.id(), &args.name);
        out.json(&json!({ "session_id": id, "session_name": name, "seq": seq }))?;
        return Ok(Outcome::Fine);
    }
    let name = text::one_line(&args.name);
    match before {
        Some(before) => writeln!(out, "{} is now {name:?}, was {before:?}", session.id())?,
        None => writeln!(out, "{} is now {name:?}", session.id())?,
    }
    Ok(Outcome::Fine)
}
