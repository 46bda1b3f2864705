//! The `sessionlog` program: browse, replay, check and feed a database of sessions.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
