//! A session as of a point.

use super::args::{Global, ShowArgs};
use super::failure::{Outcome, Result};
use super::output::Output;
use super::sheet;

pub(super) fn run(global: &Global, args: &ShowArgs, out: &mut Output) -> Result<Outcome> {
    let at = global.session(&args.session)?.at(args.at.clone())?;
    if out.is_json() {
        out.json(&at.to_record()?)?;
    } else {
        sheet::write_view(at.view(), out)?;
        sheet::write_runs(&at.runs()?, out)?;
    }
    Ok(Outcome::Fine)
}
