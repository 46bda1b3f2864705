//! Search: where something was said.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use sessionlog::{Access, Engine, Role, SearchHit, SearchProgress, SearchQuery};

use super::args::{Global, SearchArgs, Speaker};
use super::failure::{Outcome, Result};
use super::output::{FAINT, LABEL, Output};
use super::text;

const REDRAW: Duration = Duration::from_millis(100);

/// A hit as programs read it.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    hit: &'a SearchHit,
    /// What other commands take as a POINT.
    point: String,
    recorded_at: String,
}

pub(super) fn run(global: &Global, args: &SearchArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let events = index(&engine, args.rebuild)?;
    let Some(words) = &args.query else {
        if out.is_json() {
            out.json(&json!({ "events": events }))?;
        } else {
            writeln!(out, "indexed {}", text::count(events, "event"))?;
        }
        return Ok(Outcome::Fine);
    };
    let page = engine.search(&query(words, args))?;
    if out.is_json() {
        let hits: Vec<Record<'_>> = page.hits.iter().map(record).collect();
        out.json(&json!({ "hits": hits, "has_more": page.has_more }))?;
        return Ok(Outcome::Fine);
    }
    for hit in &page.hits {
        write_hit(hit, out)?;
    }
    let (hits, more) = (page.hits.len() as u64, if page.has_more { ", and more" } else { "" });
    writeln!(out, "{FAINT}{}{more}{FAINT:#}", text::count(hits, "hit"))?;
    Ok(Outcome::Fine)
}

/// Brings the index up to date, with a bar where standard error is a terminal. How many events
/// were looked at.
fn index(engine: &Engine, is_anew: bool) -> Result<u64> {
    let bar = ProgressBar::new(0);
    let line = "{bar:30} {human_pos} of {human_len} events indexed";
    if let Ok(style) = ProgressStyle::with_template(line) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    let mut last = 0;
    let progress = &mut |at: SearchProgress| {
        last = at.last;
        bar.set_length(at.last);
        bar.set_position(at.position);
    };
    let done =
        if is_anew { engine.rebuild_search(progress) } else { engine.index_search(progress) };
    bar.finish_and_clear();
    done?;
    Ok(last)
}

fn query(words: &str, args: &SearchArgs) -> SearchQuery {
    let mut query = SearchQuery::new(Access::Admin, words).limit(args.limit);
    if let Some(user) = &args.user {
        query = query.user(user);
    }
    if !args.sessions.is_empty() {
        query = query.sessions(&args.sessions);
    }
    if let Some(sessions) = args.num_history_sessions {
        query = query.num_history_sessions(sessions);
    }
    if let Some(since_us) = args.since {
        query = query.since(since_us);
    }
    if let Some(until_us) = args.until {
        query = query.until(until_us);
    }
    let roles = args.roles.iter().map(|speaker| match speaker {
        Speaker::User => Role::User,
        Speaker::Assistant => Role::Assistant,
    });
    query.roles(roles).kinds(args.kinds.iter().copied())
}

fn record(hit: &SearchHit) -> Record<'_> {
    let recorded_at = text::rfc3339(hit.recorded_at_us);
    Record { hit, point: hit.seq.to_string(), recorded_at }
}

/// Where it is, in one line, and below it the words with what stands around them.
fn write_hit(hit: &SearchHit, out: &mut Output) -> Result<()> {
    let what = hit.role.unwrap_or_else(|| hit.kind.as_str());
    let at = format!("{} {what} {}", hit.seq, text::time(hit.recorded_at_us));
    let id = out.fit(&text::one_line(&hit.session_id), at.len() + 1);
    writeln!(out, "{LABEL}{id}{LABEL:#} {FAINT}{at}{FAINT:#}")?;
    write!(out, "    ")?;
    let mut behind = 0;
    for range in &hit.matches {
        let before = hit.snippet.get(behind..range.start).unwrap_or_default();
        let word = hit.snippet.get(range.clone()).unwrap_or_default();
        write!(out, "{}{LABEL}{}{LABEL:#}", text::flat(before), text::flat(word))?;
        behind = range.end;
    }
    let rest = hit.snippet.get(behind..).unwrap_or_default();
    Ok(writeln!(out, "{}", text::flat(rest).trim_end())?)
}
