//! What is left of what was removed for good: the receipts, and what there would be one for.

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use sessionlog::{ErasureReceipt, Event, EventBody, FormerSession, Point, Session};

use super::failure::{Failure, Result};
use super::output::{FAINT, LABEL, Output};
use super::text;

/// Seqs that people are shown.
const SEQS_SHOWN_MAX: usize = 20;

/// A session that would go.
#[derive(Debug, Serialize)]
pub(super) struct Doomed {
    session_id: String,
    /// Whether what its forks share would go too.
    is_erased: bool,
    /// Whether it was deleted before, and only its forks still hold a part of it.
    is_former: bool,
    /// Events that would lose their content.
    events: u64,
    /// Texts of memories that came from it and would go too.
    memory_texts: usize,
    /// The sessions that share a part of it.
    forks: Vec<String>,
}

impl Doomed {
    /// What would go of a session. What its forks share stays, unless it is erased.
    pub(super) fn of(session: &Session, is_erased: bool) -> Result<Self> {
        let forks = session.forks()?;
        let own = session.view()?.forked_from.map_or(0, |fork| fork.seq);
        let shared = forks.iter().map(|fork| fork.seq).max().filter(|_| !is_erased);
        let first_seq = own.max(shared.unwrap_or(0)) + 1;
        let mut events = 0;
        for event in session.events_from(first_seq, Point::Head)? {
            events += u64::from(has_content(&event?));
        }
        let forks = forks.into_iter().map(|fork| fork.session_id).collect();
        let memory_texts = if is_erased { session.plan_memory_erasure(None)? } else { 0 };
        let session_id = session.id().to_owned();
        Ok(Self { session_id, is_erased, is_former: false, events, memory_texts, forks })
    }

    /// What would go of what forks share of a session that was deleted.
    pub(super) fn former(former: FormerSession) -> Self {
        let FormerSession { session_id, events, memory_texts, forks, .. } = former;
        Self { session_id, is_erased: true, is_former: true, events, memory_texts, forks }
    }
}

/// Whether there is anything left of it to remove. A receipt stays.
fn has_content(event: &Event) -> bool {
    !matches!(event.body, EventBody::Gone(_) | EventBody::Erased(_))
}

/// The sessions that would go, and how many texts of the user's memories.
pub(super) fn write_doomed_of(
    user: &str,
    memories: usize,
    doomed: &[Doomed],
    out: &mut Output,
) -> Result<()> {
    if out.is_json() {
        let none: [(); 0] = [];
        return out.json(&json!({
            "dry_run": true, "receipts": none, "sessions": doomed, "memory_texts": memories,
        }));
    }
    if memories > 0 {
        let (user, texts) = (text::one_line(user), text::count(memories as u64, "text"));
        writeln!(out, "would erase {LABEL}the memories of {user}{LABEL:#}: {texts}")?;
    }
    write_doomed(doomed, out)
}

/// The sessions that would go.
pub(super) fn write_doomed(doomed: &[Doomed], out: &mut Output) -> Result<()> {
    if out.is_json() {
        let none: [(); 0] = [];
        return out.json(&json!({ "dry_run": true, "receipts": none, "sessions": doomed }));
    }
    for one in doomed {
        let (id, events) = (text::one_line(&one.session_id), text::count(one.events, "event"));
        let (word, label) =
            if one.is_erased { ("erase", "and from") } else { ("delete", "shared by") };
        let place = if one.is_former { "what forks share of " } else { "" };
        writeln!(out, "would {word} {place}{LABEL}{id}{LABEL:#}: {events}")?;
        write_texts(one.memory_texts, out)?;
        write_forks(label, &one.forks, out)?;
    }
    Ok(())
}

/// The memories that would go too, if any.
pub(super) fn write_texts(texts: usize, out: &mut Output) -> Result<()> {
    if texts > 0 {
        let texts = text::count(texts as u64, "text");
        writeln!(out, "  {FAINT}memories{FAINT:#}  {texts} that came from it")?;
    }
    Ok(())
}

/// What was done, as far as it came.
pub(super) fn write_receipts(
    receipts: &[ErasureReceipt],
    word: &str,
    out: &mut Output,
) -> Result<()> {
    if out.is_json() {
        return out.json(&json!({ "dry_run": false, "receipts": receipts }));
    }
    receipts.iter().try_for_each(|receipt| write_receipt(receipt, word, out))
}

/// The receipts that there are, and the failure that there are no more.
pub(super) fn told(
    receipts: &[ErasureReceipt],
    word: &str,
    done: sessionlog::Result<()>,
    out: &mut Output,
) -> Result<()> {
    // Where nothing was done there is only the failure.
    if done.is_ok() || !receipts.is_empty() {
        write_receipts(receipts, word, out)?;
    }
    done.map_err(Failure::from)
}

fn write_receipt(receipt: &ErasureReceipt, word: &str, out: &mut Output) -> Result<()> {
    let id = match &receipt.memories_of {
        Some(user) => format!("the memories of {}", text::one_line(user)),
        None => text::one_line(&receipt.session_id),
    };
    let events = text::count(receipt.events, "event");
    writeln!(out, "{word} {LABEL}{id}{LABEL:#}: {events}")?;
    let mut line = |label: &str, words: &str| -> Result<()> {
        Ok(writeln!(out, "  {FAINT}{label:<10}{FAINT:#}{words}")?)
    };
    line("receipt", &format!("seq {}, link {}", receipt.seq, receipt.link))?;
    if !receipt.derived.is_empty() {
        line("derived", &format!("seq {}", seqs(&receipt.derived)))?;
    }
    if !receipt.blobs.is_empty() {
        line("media", &text::count(receipt.blobs.len() as u64, "blob"))?;
    }
    if receipt.key_destroyed {
        let what = "what was sealed under it can be read nowhere any more";
        line("key", &format!("that of {id} was destroyed: {what}"))?;
    }
    receipt.forks.iter().try_for_each(|fork| write_receipt(fork, "erased from the fork", out))?;
    receipt.memories.iter().try_for_each(|memories| write_receipt(memories, "erased from", out))
}

/// Forks, a line each, under what becomes of them.
pub(super) fn write_forks(label: &str, forks: &[String], out: &mut Output) -> Result<()> {
    for fork in forks {
        writeln!(out, "  {FAINT}{label:<10}{FAINT:#}{}", text::one_line(fork))?;
    }
    Ok(())
}

/// Seqs in a line that is not too long.
pub(super) fn seqs(seqs: &[u64]) -> String {
    let shown: Vec<String> = seqs.iter().take(SEQS_SHOWN_MAX).map(u64::to_string).collect();
    let more = match seqs.len().checked_sub(SEQS_SHOWN_MAX) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    format!("{}{more}", shown.join(", "))
}
