//! Sessions that end.

use sessionlog::Session;

use super::args::{DeleteArgs, Global};
use super::compact::without_repeats;
use super::database;
use super::failure::{Outcome, Result};
use super::output::Output;
use super::receipt::{self, Doomed};

pub(super) fn run(global: &Global, args: &DeleteArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    // All must be there before any goes.
    let sessions = without_repeats(&args.sessions).into_iter();
    let sessions: Vec<Session> =
        sessions.map(|id| database::session(&engine, id)).collect::<Result<_>>()?;
    if args.removal.dry_run {
        let doomed = sessions.iter().map(|session| Doomed::of(session, false));
        receipt::write_doomed(&doomed.collect::<Result<Vec<_>>>()?, out)?;
        return Ok(Outcome::Fine);
    }
    let mut receipts = Vec::new();
    let done = sessions.iter().try_for_each(|session| {
        receipts.push(session.delete(args.removal.reason.as_deref())?);
        Ok(())
    });
    receipt::told(&receipts, "deleted", done, out)?;
    Ok(Outcome::Fine)
}
