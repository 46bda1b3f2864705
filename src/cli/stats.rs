//! What the database holds.

use std::io::Write;

use sessionlog::{KindStats, Stats};

use super::args::Global;
use super::failure::{Outcome, Result};
use super::output::Output;
use super::text;

pub(super) fn run(global: &Global, out: &mut Output) -> Result<Outcome> {
    let stats = global.open()?.stats()?;
    if out.is_json() {
        out.json(&stats)?;
    } else {
        write_sheet(&stats, out)?;
    }
    Ok(Outcome::Fine)
}

fn write_sheet(stats: &Stats, out: &mut Output) -> Result<()> {
    let (sessions, runs) = (text::count(stats.sessions, "session"), text::count(stats.runs, "run"));
    writeln!(out, "{sessions}, {runs}, {}", text::count(stats.events, "event"))?;
    if stats.memory_users > 0 {
        writeln!(out, "memories of {}", text::count(stats.memory_users, "user"))?;
    }
    if stats.unreadable > 0 {
        let unreadable = text::grouped(stats.unreadable);
        writeln!(out, "{unreadable} more cannot be read without their keys: see verify")?;
    }
    writeln!(out)?;
    let mut kinds: Vec<(&String, &KindStats)> = stats.kinds.iter().collect();
    kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.bytes));
    let kinds = kinds.into_iter().map(|(name, kind)| {
        vec![name.clone(), text::grouped(kind.events), text::bytes(kind.bytes)]
    });
    let stored = |what: &str, count: Option<u64>, bytes: u64| {
        let count = count.map(text::grouped).unwrap_or_default();
        vec![what.to_owned(), count, text::bytes(bytes)]
    };
    let rest = [
        stored("snapshots", Some(stats.snapshots), stats.snapshot_bytes),
        stored("catalog and indexes", None, stats.index_bytes),
        stored("all records", None, stats.live_bytes),
        stored("beyond them in their files", None, stats.dead_bytes),
        stored("media", Some(stats.blobs), stats.blob_bytes),
        stored("of them used by nothing", None, stats.unused_blob_bytes),
        stored("files on disk", None, stats.disk_bytes),
    ];
    let frames = stored("all events", Some(stats.events), stats.frame_bytes);
    out.table(&["STORED", "COUNT", "BYTES"], 1..3, 0..1, kinds.chain([frames]).chain(rest))
}
