//! The media that are stored.

use std::io::Write;

use serde_json::json;
use sessionlog::BlobUse;

use super::args::{BlobsArgs, Global};
use super::failure::{Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

pub(super) fn run(global: &Global, args: &BlobsArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let blobs = if args.collect { engine.collect_blobs(args.dry_run)? } else { engine.blobs()? };
    let bytes: u64 = blobs.iter().map(|blob| blob.bytes).sum();
    let total = json!({ "blobs": blobs.len(), "bytes": bytes });
    if out.is_json() {
        out.json(&if args.collect {
            json!({ "dry_run": args.dry_run, "removed": blobs, "total": total })
        } else {
            json!({ "blobs": blobs, "total": total })
        })?;
        return Ok(Outcome::Fine);
    }
    write_table(&blobs, out)?;
    let total = format!("{}, {}", text::count(blobs.len() as u64, "blob"), text::bytes(bytes));
    match (args.collect, args.dry_run) {
        (false, _) => writeln!(out, "{FAINT}{total}{FAINT:#}")?,
        (true, true) => writeln!(out, "would remove {total}")?,
        (true, false) => writeln!(out, "removed {total}")?,
    }
    Ok(Outcome::Fine)
}

fn write_table(blobs: &[BlobUse], out: &mut Output) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    let rows = blobs
        .iter()
        .map(|blob| vec![blob.name.clone(), text::bytes(blob.bytes), text::grouped(blob.uses)]);
    out.table(&["BLOB", "STORED", "USES"], 1..3, 0..1, rows)
}
