//! Files of keys.

use std::io::Write;

use serde_json::json;
use sessionlog::FileKey;

use super::args::KeyCommand;
use super::failure::{Outcome, Result};
use super::output::Output;
use super::text;

pub(super) fn run(command: &KeyCommand, out: &mut Output) -> Result<Outcome> {
    let KeyCommand::New { file } = command;
    FileKey::create(file)?;
    let name = file.display().to_string();
    if out.is_json() {
        out.json(&json!({ "key_file": name }))?;
    } else {
        let name = text::one_line(&name);
        writeln!(out, "made {name}: keep a copy elsewhere, a lost key is a lost database")?;
    }
    Ok(Outcome::Fine)
}
