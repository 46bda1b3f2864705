//! A tour over bundled sample sessions.

mod sample;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use sessionlog::{Access, Compaction, Engine, EventId, Point, Policy, SessionQuery};

use self::sample::{SAMPLES, Sample};
use super::args::Global;
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, LABEL, Output};
use super::{compact, database, history, ls, sheet, verify};

/// The sample that the tour looks into, and a run to go back to.
const SHOWN: &str = "demo-parcel";
const EARLIER: Point = Point::Run(1);
/// What is made of it on the way, where nothing is kept.
const FORK: &str = "demo-parcel-again";

pub(super) fn run(global: &Global, out: &mut Output) -> Result<Outcome> {
    let temporary = if global.is_db_named { None } else { Some(TemporaryDir::new()?) };
    let path = temporary.as_ref().map_or(global.db.as_path(), |directory| &directory.0);
    let engine = database::sealed(Engine::builder(), global)?.open(path)?;
    let recorded = record_samples(&engine)?;
    if out.is_json() {
        write_json(&engine, path, &recorded, temporary.is_some(), out)?;
        return Ok(Outcome::Fine);
    }
    match &temporary {
        Some(_) => writeln!(out, "A tour over a temporary database, which is gone at the end.")?,
        None => writeln!(out, "A tour over {}.", path.display())?,
    }
    write_recorded(&recorded, out)?;
    write_tour(&engine, out)?;
    write_changes(&engine, temporary.is_some(), out)?;
    write_next(temporary.is_none().then_some(path), out)?;
    Ok(Outcome::Fine)
}

/// The sessions that are new and those that were there already.
struct Recorded {
    new: Vec<String>,
    old: Vec<String>,
}

fn record_samples(engine: &Engine) -> Result<Recorded> {
    let mut recorded = Recorded { new: Vec::new(), old: Vec::new() };
    for text in SAMPLES {
        let sample = Sample::parse(text)?;
        let is_new = sample.record(engine)?;
        let names = if is_new { &mut recorded.new } else { &mut recorded.old };
        names.push(sample.session_id);
    }
    Ok(recorded)
}

fn write_recorded(recorded: &Recorded, out: &mut Output) -> Result<()> {
    if !recorded.new.is_empty() {
        let names = recorded.new.join(" and ");
        writeln!(out, "Recorded {names}: messages, tool calls, state and names, event by event.")?;
    }
    if !recorded.old.is_empty() {
        writeln!(out, "Already there, and left as they are: {}.", recorded.old.join(" and "))?;
    }
    Ok(())
}

fn write_tour(engine: &Engine, out: &mut Output) -> Result<()> {
    write_step("1. The sessions", "ls", out)?;
    ls::write_table(&engine.sessions(&SessionQuery::new(Access::Admin))?.sessions, out)?;

    write_step("2. What the next model call is given", &format!("history {SHOWN}"), out)?;
    let session = database::session(engine, SHOWN)?;
    history::write_messages(&session.window().messages()?, out)?;
    writeln!(out, "{FAINT}Alice stopped her second run: the log keeps it, the model never sees")?;
    writeln!(out, "it, and no tool call is left without its result.{FAINT:#}")?;

    let command = format!("show {SHOWN} --at {EARLIER}");
    write_step("3. The same session as it was after its first run", &command, out)?;
    let earlier = session.at(EARLIER)?;
    sheet::write_view(earlier.view(), out)?;
    sheet::write_runs(&session, &earlier, sheet::RUNS_SHOWN, out)
}

/// Goes back and compacts, and checks that all still holds. Samples that stay are not changed.
fn write_changes(engine: &Engine, is_temporary: bool, out: &mut Output) -> Result<()> {
    let session = database::session(engine, SHOWN)?;
    if is_temporary {
        let command = format!("fork {SHOWN} --id {FORK}; rewind {FORK} --to {EARLIER}");
        write_step("4. Another way from there, in a session of its own", &command, out)?;
        let fork = session.fork(Point::Head).id(FORK).open()?;
        fork.rewind(EARLIER)?.wait()?;
        let (fork, session) = (fork.view()?.run_count, session.view()?.run_count);
        writeln!(out, "{SHOWN} has {session} runs, {FORK} {fork}; the past is shared, not copied")?;
    }
    let number = if is_temporary {
        write_step("5. Without what tools said", "compact --all --no-tool-messages", out)?;
        compact::write_plans(&compaction(engine).run()?, false, out)?;
        history::write_messages(&session.window().runs(1).messages()?, out)?;
        5
    } else {
        let command = format!("compact {SHOWN} --no-tool-messages --dry-run");
        write_step("4. What would go without what tools said", &command, out)?;
        compact::write_plans(&compaction(engine).sessions([SHOWN]).plan()?, true, out)?;
        4
    };
    let title = format!("{}. Whether all that is stored is as it was written", number + 1);
    write_step(&title, "verify", out)?;
    verify::write_report(&engine.verify()?, out)
}

/// Lets go of what tools said, and of nothing else.
fn compaction(engine: &Engine) -> Compaction {
    engine.compaction().policy(Policy::new().store_tool_messages(false))
}

fn write_step(title: &str, command: &str, out: &mut Output) -> Result<()> {
    writeln!(out)?;
    Ok(writeln!(out, "{LABEL}{title}{LABEL:#}  {FAINT}sessionlog {command}{FAINT:#}")?)
}

/// Three commands to go on with, in the database that was named if one was.
fn write_next(named: Option<&Path>, out: &mut Output) -> Result<()> {
    writeln!(out, "\n{LABEL}Next{LABEL:#}")?;
    if let Some(path) = named {
        let program = format!("sessionlog --db {}", path.display());
        writeln!(out, "  {program} replay {SHOWN}")?;
        writeln!(out, "  {program} log {SHOWN} --json")?;
    } else {
        writeln!(out, "  sessionlog demo --db demo.db")?;
        writeln!(out, "  sessionlog --db demo.db replay {SHOWN}")?;
    }
    Ok(writeln!(out, "  sessionlog import ~/.claude/projects")?)
}

fn write_json(
    engine: &Engine,
    path: &Path,
    recorded: &Recorded,
    is_temporary: bool,
    out: &mut Output,
) -> Result<()> {
    let page = engine.sessions(&SessionQuery::new(Access::Admin))?;
    let session = database::session(engine, SHOWN)?;
    out.json(&json!({
        "database": path,
        "temporary": is_temporary,
        "recorded": recorded.new,
        "already_there": recorded.old,
        "sessions": ls::records(&page.sessions),
        "history": { "session_id": SHOWN, "messages": session.window().openai()? },
        "earlier": { "at": EARLIER.to_string(), "session": session.at(EARLIER)?.to_record()? },
        "compaction": compaction(engine).sessions([SHOWN]).plan()?,
        "verify": engine.verify()?,
    }))
}

/// A directory of our own, removed in the end.
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sessionlog-demo-{}", EventId::generate()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(Failure::io(path.display(), &error)),
        }
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the system's temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
