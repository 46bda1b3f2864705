//! What is to be gone for good, and the receipts for what is.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use serde::Serialize;
use serde_json::json;
use sessionlog::{
    Access, Digest, Engine, ErasureRecord, ErasureTarget, EventBody, Fork, Json, Session,
    SessionQuery,
};

use super::args::{EraseArgs, Global, RemovalArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, LABEL, Output};
use super::receipt::{self, Doomed};
use super::{database, event_text, text};

pub(super) fn run(global: &Global, args: &EraseArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    if args.receipts {
        write_found(&engine, args, out)?;
        return Ok(Outcome::Fine);
    }
    let is_part = args.message.is_some() || args.run.is_some();
    match (&args.session, &args.user) {
        (Some(session_id), _) => match database::session(&engine, session_id) {
            Ok(session) if is_part => erase_part(&session, args, out)?,
            Ok(session) => erase_session(&session, &args.removal, out)?,
            Err(missing) if is_part => return Err(missing),
            Err(missing) => erase_former(&engine, session_id, missing, args, out)?,
        },
        (None, Some(user)) => erase_user(&engine, user, &args.removal, out)?,
        (None, None) => {}
    }
    Ok(Outcome::Fine)
}

fn erase_part(session: &Session, args: &EraseArgs, out: &mut Output) -> Result<()> {
    let run_id = args.run.clone().map(|run| session.run_id_of(run)).transpose()?;
    let run_id = run_id.unwrap_or_default();
    let reason = args.removal.reason.as_deref();
    if args.removal.dry_run {
        let run = Digest::of_run(&run_id).to_bytes();
        let of_run = ErasureTarget::Run { run };
        let target = args.message.map_or(of_run, |seq| ErasureTarget::Message { seq });
        return write_plan(session, target, out);
    }
    let receipt = match args.message {
        Some(seq) => session.erase_message(seq, reason)?,
        None => session.erase_run(&run_id, reason)?,
    };
    receipt::write_receipts(&[receipt], "erased from", out)
}

/// The events that would lose their content, or a part of it, the memories that came of them, and
/// the forks that lose with them what they share, and what copies it.
fn write_plan(session: &Session, target: ErasureTarget, out: &mut Output) -> Result<()> {
    let (session_id, seqs) = (session.id(), session.plan_erasure(target)?);
    let texts = session.plan_memory_erasure(Some(target))?;
    let is_shared = |fork: &Fork| seqs.first().is_some_and(|first| *first <= fork.seq);
    let forks = session.forks()?.into_iter().filter(is_shared);
    let forks: Vec<String> = forks.map(|fork| fork.session_id).collect();
    if out.is_json() {
        let none: [(); 0] = [];
        let plan = json!({
            "session_id": session_id, "seqs": seqs, "memory_texts": texts, "forks": forks,
        });
        return out.json(&json!({ "dry_run": true, "receipts": none, "sessions": [plan] }));
    }
    let (id, events) = (text::one_line(session_id), text::count(seqs.len() as u64, "event"));
    writeln!(out, "would erase from {LABEL}{id}{LABEL:#}: up to {events}")?;
    writeln!(out, "  {FAINT}seq{FAINT:#}       {}", receipt::seqs(&seqs))?;
    receipt::write_forks("and from", &forks, out)?;
    receipt::write_texts(texts, out)
}

fn erase_session(session: &Session, how: &RemovalArgs, out: &mut Output) -> Result<()> {
    if how.dry_run {
        return receipt::write_doomed(&[Doomed::of(session, true)?], out);
    }
    let receipt = session.erase_all(how.reason.as_deref())?;
    receipt::write_receipts(&[receipt], "erased", out)
}

/// What forks share of sessions that were deleted under the id, where there is none any more.
fn erase_former(
    engine: &Engine,
    session_id: &str,
    missing: Failure,
    args: &EraseArgs,
    out: &mut Output,
) -> Result<()> {
    let mut formers = engine.former_sessions(&Access::Admin)?;
    formers.retain(|former| former.session_id == session_id);
    if formers.is_empty() {
        return Err(missing);
    }
    if args.removal.dry_run {
        let doomed: Vec<Doomed> = formers.into_iter().map(Doomed::former).collect();
        return receipt::write_doomed(&doomed, out);
    }
    let reason = args.removal.reason.as_deref();
    let receipts = engine.erase_former(session_id, &Access::Admin, reason)?;
    receipt::write_receipts(&receipts, "erased", out)
}

fn erase_user(engine: &Engine, user: &str, how: &RemovalArgs, out: &mut Output) -> Result<()> {
    let mut erased = 0;
    if how.dry_run {
        let mut doomed = Vec::new();
        let query = SessionQuery::new(Access::User(user.to_owned()));
        for session_id in database::all_ids(engine, query)? {
            doomed.push(Doomed::of(&database::session(engine, &session_id)?, true)?);
        }
        let theirs = engine.former_sessions(&Access::User(user.to_owned()))?;
        let mut formers = engine.former_sessions(&Access::Admin)?;
        formers.retain(|former| {
            theirs.iter().any(|one| {
                (&one.session_id, one.deleted_seq) == (&former.session_id, former.deleted_seq)
            })
        });
        doomed.extend(formers.into_iter().map(Doomed::former));
        let memories = engine.memories(user)?.count_texts()?;
        erased += doomed.len() + usize::from(memories > 0);
        receipt::write_doomed_of(user, memories, &doomed, out)?;
    } else {
        let mut receipts = Vec::new();
        let reason = how.reason.as_deref();
        let keep = &mut |receipt: &_| receipts.push(Clone::clone(receipt));
        let done = engine.erase_user_with(user, reason, keep);
        erased += receipts.len();
        receipt::told(&receipts, "erased", done, out)?;
    }
    if erased == 0 && !out.is_json() {
        writeln!(out, "{} has no sessions and no memories", text::one_line(user))?;
    }
    Ok(())
}

/// A receipt that was found in the log.
#[derive(Serialize)]
struct Found {
    /// The session's digest: more is not left of one that was deleted.
    session: String,
    /// Its id, where there is such a session.
    session_id: Option<String>,
    seq: u64,
    recorded_at: String,
    /// The digest of the user who asked for it, if one did.
    actor: Option<String>,
    kind: &'static str,
    body: Json,
}

/// Which receipts are meant. Of a session that is gone its digest is left, and that of the user
/// whose it was.
fn is_meant(engine: &Engine, args: &EraseArgs) -> Result<impl Fn(&ErasureRecord) -> bool> {
    let mut sessions = HashSet::new();
    let user = args.user.as_deref().map(Digest::of_user);
    if let Some(user_id) = &args.user {
        sessions.insert(Digest::of_memories(user_id));
        let ids = database::session_ids_of(engine, Access::User(user_id.clone()))?;
        sessions.extend(ids.iter().map(|id| Digest::of_session(id)));
    }
    sessions.extend(args.session.as_deref().map(Digest::of_session));
    let is_all = args.session.is_none() && user.is_none();
    Ok(move |ErasureRecord { session, event, .. }: &ErasureRecord| {
        let owner = match &event.body {
            EventBody::Deleted(deleted) => deleted.owner.map(Digest::from_bytes),
            _ => None,
        };
        let is_users = user.is_some() && (owner == user || Some(event.actor) == user);
        is_all || is_users || sessions.contains(session)
    })
}

fn write_found(engine: &Engine, args: &EraseArgs, out: &mut Output) -> Result<()> {
    let mut receipts = engine.receipts()?;
    receipts.retain(is_meant(engine, args)?);
    let mut ids = HashMap::new();
    if !receipts.is_empty() {
        let known = database::session_ids(engine)?.into_iter().chain(args.session.clone());
        ids.extend(known.map(|id| (Digest::of_session(&id), id)));
    }
    if out.is_json() {
        let found = receipts.into_iter().map(|ErasureRecord { session, event, .. }| {
            Ok(Found {
                session: session.to_string(),
                session_id: ids.get(&session).cloned(),
                seq: event.seq,
                recorded_at: text::rfc3339(event.recorded_at_us),
                actor: (!event.actor.is_none()).then(|| event.actor.to_string()),
                kind: event.body.kind().as_str(),
                body: event.body.to_json(),
            })
        });
        return out.json_list("receipts", found);
    }
    let row = |ErasureRecord { session, event, .. }: &ErasureRecord| {
        let session_id = ids.get(session).cloned().unwrap_or_else(|| session.to_string());
        let kind = event.body.kind().as_str().to_owned();
        let (at, words) = (text::time(event.recorded_at_us), event_text::words(&event.body));
        vec![session_id, event.seq.to_string(), at, kind, words]
    };
    let rows: Vec<Vec<String>> = receipts.iter().map(row).collect();
    let count = text::count(rows.len() as u64, "receipt");
    if !rows.is_empty() {
        out.table(&["SESSION", "SEQ", "AT", "KIND", "WHAT"], 1..2, 4..5, rows)?;
    }
    Ok(writeln!(out, "{FAINT}{count}{FAINT:#}")?)
}
