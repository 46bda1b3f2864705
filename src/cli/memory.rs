//! What is remembered of a user.

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use sessionlog::{
    Access, Engine, Memories, Memory, MemoryChange, MemoryPatch, MemoryQuery, MemorySource,
    NewMemory, Policy,
};

use super::args::{
    Global, MemoryAddArgs, MemoryCommand, MemoryForgetArgs, MemoryListArgs, MemoryUpdateArgs,
};
use super::compact::without_repeats;
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, Output};
use super::{export, extract, receipt, text};

/// A memory as JSON, its times as text.
#[derive(Serialize)]
struct Sheet<'a> {
    memory_id: &'a str,
    seq: u64,
    memory: &'a str,
    topics: &'a [String],
    input: Option<&'a str>,
    source: Option<&'a MemorySource>,
    agent_id: Option<&'a str>,
    created_at: String,
    updated_at: String,
}

impl<'a> Sheet<'a> {
    fn of(memory: &'a Memory) -> Self {
        Self {
            memory_id: &memory.memory_id,
            seq: memory.seq,
            memory: &memory.memory,
            topics: &memory.topics,
            input: memory.input.as_deref(),
            source: memory.source.as_ref(),
            agent_id: memory.agent_id.as_deref(),
            created_at: text::rfc3339(memory.created_at_us),
            updated_at: text::rfc3339(memory.updated_at_us),
        }
    }
}

pub(super) fn run(global: &Global, command: &MemoryCommand, out: &mut Output) -> Result<Outcome> {
    let engine = match command {
        MemoryCommand::Add(_) => global.create(Policy::new())?,
        _ => global.open()?,
    };
    match command {
        MemoryCommand::List(args) => list(&engine, args, out),
        MemoryCommand::Add(args) => add(&engine, args, out),
        MemoryCommand::Update(args) => update(&engine, args, out),
        MemoryCommand::Delete(args) if args.erase => erase(&engine, args, out),
        MemoryCommand::Delete(args) => delete(&engine, args, out),
        MemoryCommand::Search { user, words } => {
            write_all(&engine.memories(user)?.search(&words.join(" "))?, out)
        }
        MemoryCommand::Export { user: Some(user), .. } => {
            export::write_memories(&engine, std::slice::from_ref(user), out)
        }
        MemoryCommand::Export { user: None, .. } => {
            export::write_memories(&engine, &engine.memory_users(&Access::Admin)?, out)
        }
        MemoryCommand::Extract(args) => return extract::run(&engine, args, out),
        MemoryCommand::Clear { user, dry_run } => clear(&engine.memories(user)?, *dry_run, out),
        MemoryCommand::History { user, id } => {
            write_history(&engine.memories(user)?.history(id)?, out)
        }
    }?;
    Ok(Outcome::Fine)
}

fn list(engine: &Engine, args: &MemoryListArgs, out: &mut Output) -> Result<()> {
    let mut query = args.topics.iter().fold(MemoryQuery::new(), MemoryQuery::topic);
    if let Some(limit) = args.limit {
        query = query.limit(limit);
    }
    write_all(&engine.memories(&args.user)?.list(&query)?, out)
}

fn add(engine: &Engine, args: &MemoryAddArgs, out: &mut Output) -> Result<()> {
    let memories = engine.memories(&args.user)?;
    let mut new = NewMemory::new(&args.text).topics(&args.topics);
    if let Some(input) = &args.input {
        new = new.input(input);
    }
    let (memory_id, ticket) = memories.add(new)?;
    ticket.wait()?;
    write_one(&memories.get(&memory_id)?, out)
}

fn update(engine: &Engine, args: &MemoryUpdateArgs, out: &mut Output) -> Result<()> {
    let memories = engine.memories(&args.user)?;
    let mut patch = MemoryPatch::new().memory(&args.text);
    if !args.topics.is_empty() {
        patch = patch.topics(&args.topics);
    }
    memories.update(&args.id, &patch)?.wait()?;
    write_one(&memories.get(&args.id)?, out)
}

fn delete(engine: &Engine, args: &MemoryForgetArgs, out: &mut Output) -> Result<()> {
    let memories = engine.memories(&args.user)?;
    let ids = without_repeats(&args.ids);
    let doomed = ids.iter().map(|id| Ok(memories.get(id)?)).collect::<Result<Vec<Memory>>>()?;
    if !args.dry_run {
        memories.delete_all(ids.iter().copied().map(String::as_str))?.wait()?;
    }
    write_gone(&doomed, args.dry_run, out)
}

/// For good: also those that were deleted before.
fn erase(engine: &Engine, args: &MemoryForgetArgs, out: &mut Output) -> Result<()> {
    let memories = engine.memories(&args.user)?;
    let ids = without_repeats(&args.ids);
    // All must be there before any goes.
    let pasts = ids
        .iter()
        .map(|id| Ok(memories.history(id)?))
        .collect::<Result<Vec<Vec<MemoryChange>>>>()?;
    if let Some((id, _)) = ids.iter().zip(&pasts).find(|(_, past)| past.iter().all(is_wordless)) {
        return Err(Failure::words(format!("memory {id}: all that it said is erased already")));
    }
    if args.dry_run {
        let doomed =
            pasts.into_iter().filter_map(|past| past.into_iter().rev().find_map(|it| it.memory));
        return write_gone(&doomed.collect::<Vec<_>>(), true, out);
    }
    let mut receipts = Vec::new();
    let done = ids.iter().try_for_each(|id| {
        receipts.push(memories.erase(id, args.reason.as_deref())?);
        Ok(())
    });
    receipt::told(&receipts, "erased from", done, out)
}

fn is_wordless(change: &MemoryChange) -> bool {
    change.memory.is_none()
}

fn clear(memories: &Memories, is_dry_run: bool, out: &mut Output) -> Result<()> {
    let doomed = memories.list(&MemoryQuery::new())?;
    if !is_dry_run {
        memories.clear()?;
    }
    write_gone(&doomed, is_dry_run, out)
}

fn write_gone(gone: &[Memory], is_dry_run: bool, out: &mut Output) -> Result<()> {
    if out.is_json() {
        let memories: Vec<Sheet<'_>> = gone.iter().map(Sheet::of).collect();
        return out.json(&json!({ "dry_run": is_dry_run, "memories": memories }));
    }
    let word = if is_dry_run { "would delete" } else { "deleted" };
    for memory in gone {
        out.line(&format!("{word} {}: {}", memory.memory_id, memory.memory))?;
    }
    if gone.is_empty() {
        writeln!(out, "nothing to delete")?;
    }
    Ok(())
}

fn write_one(memory: &Memory, out: &mut Output) -> Result<()> {
    if out.is_json() {
        return out.json(&Sheet::of(memory));
    }
    out.line(&format!("{}: {}", memory.memory_id, memory.memory))
}

fn write_all(memories: &[Memory], out: &mut Output) -> Result<()> {
    if out.is_json() {
        let sheets: Vec<Sheet<'_>> = memories.iter().map(Sheet::of).collect();
        return out.json(&json!({ "memories": sheets }));
    }
    let row = |memory: &Memory| {
        let updated = text::time(memory.updated_at_us);
        vec![memory.memory_id.clone(), updated, memory.topics.join(", "), memory.memory.clone()]
    };
    if !memories.is_empty() {
        out.table(&["ID", "UPDATED", "TOPICS", "MEMORY"], 0..0, 3..4, memories.iter().map(row))?;
    }
    let count = text::grouped(memories.len() as u64);
    let word = if memories.len() == 1 { "memory" } else { "memories" };
    Ok(writeln!(out, "{FAINT}{count} {word}{FAINT:#}")?)
}

fn write_history(changes: &[MemoryChange], out: &mut Output) -> Result<()> {
    if out.is_json() {
        let changes = changes.iter().map(|change| {
            Ok(json!({
                "seq": change.seq,
                "recorded_at": text::rfc3339(change.recorded_at_us),
                "memory": change.memory.as_ref().map(Sheet::of),
            }))
        });
        return out.json_list("changes", changes);
    }
    let row = |change: &MemoryChange| {
        let words = change.memory.as_ref().map_or("(deleted)", |memory| memory.memory.as_str());
        vec![change.seq.to_string(), text::time(change.recorded_at_us), words.to_owned()]
    };
    out.table(&["SEQ", "AT", "MEMORY"], 0..1, 2..3, changes.iter().map(row))
}
