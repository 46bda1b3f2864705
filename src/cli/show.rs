//! A session as of a point.

use serde_json::Value;

use super::args::{Global, ShowArgs};
use super::failure::{Outcome, Result};
use super::output::Output;
use super::sheet;

pub(super) fn run(global: &Global, args: &ShowArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    let at = session.at(args.at.clone())?;
    if out.is_json() {
        let mut record = at.to_record()?;
        if let Value::Object(record) = &mut record {
            // What to keep elsewhere, for `verify --head`.
            record.insert(String::from("link"), at.link()?.into());
            if let (Some(shown), Some(Value::Array(runs))) = (args.runs, record.get_mut("runs")) {
                runs.drain(..runs.len().saturating_sub(shown));
            }
        }
        out.json(&record)?;
    } else {
        sheet::write_view(at.view(), out)?;
        sheet::write_runs(&session, &at, args.runs.unwrap_or(sheet::RUNS_SHOWN), out)?;
    }
    Ok(Outcome::Fine)
}
