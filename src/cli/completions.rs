//! A shell's completion script.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::generate;
use serde_json::json;

use super::args::{Cli, CompletionsArgs};
use super::failure::{Outcome, Result};
use super::output::Output;

pub(super) fn run(args: &CompletionsArgs, out: &mut Output) -> Result<Outcome> {
    // The generator panics where it cannot write, and memory always can be written.
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "sessionlog", &mut script);
    if out.is_json() {
        let script = String::from_utf8_lossy(&script);
        out.json(&json!({ "shell": args.shell.to_string(), "script": script }))?;
    } else {
        out.write_all(&script)?;
    }
    Ok(Outcome::Fine)
}
