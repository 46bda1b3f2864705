//! What the commands for keys take.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Make a file with a new random key, which only its owner may read
    #[command(after_help = "\
Examples:
  sessionlog key new ~/.sessionlog.key
  sessionlog import --key-file ~/.sessionlog.key ~/.claude/projects")]
    New {
        /// The file, which must not be there
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
