//! What an import and an export promise, over fixtures written for it.

mod agno;
mod anthropic;
mod branches;
mod broken;
mod dump;
mod equal;
mod growth;
#[cfg(feature = "testing")]
mod importer;
mod inspect;
mod openhands;
mod recorder;
mod swe_agent;

use serde_json::Value;

use super::{Format, ImportOptions, ImportReport, export, import_text};
use crate::engine::{Engine, Session};
use crate::event::RunStatus;

const OPENAI: &str = include_str!("../../../tests/fixtures/openai.json");
const OPENAI_LINES: &str = include_str!("../../../tests/fixtures/openai.jsonl");
const MESSAGE_LINES: &str = include_str!("../../../tests/fixtures/messages.jsonl");
const TAU_BENCH: &str = include_str!("../../../tests/fixtures/tau-bench.json");
const CLAUDE_CODE: &str = include_str!("../../../tests/fixtures/claude-code.jsonl");
const CLAUDE_CODE_AGENT: &str = include_str!("../../../tests/fixtures/claude-code-agent.jsonl");
const SWE_AGENT: &str = include_str!("../../../tests/fixtures/swe-agent.traj");
const INSPECT: &str = include_str!("../../../tests/fixtures/inspect.json");
const OPENHANDS: &str = include_str!("../../../tests/fixtures/openhands.jsonl");
const OPENHANDS_EVENTS: &str = include_str!("../../../tests/fixtures/openhands-events.jsonl");
const CLAUDE_CODE_SESSION: &str = "11111111-aaaa-4bbb-8ccc-222222222222";

fn engine() -> Engine {
    Engine::in_memory().unwrap()
}

fn import(engine: &Engine, name: &str, text: &str) -> ImportReport {
    import_text(engine, name, text.as_bytes(), &ImportOptions::default()).unwrap()
}

fn session(engine: &Engine, session_id: &str) -> Session {
    engine.session(session_id).admin().open_existing().unwrap()
}

fn exported(engine: &Engine, session_id: &str, format: Format) -> Vec<Value> {
    let records = export(&session(engine, session_id), format).unwrap();
    records.iter().map(crate::Json::to_value).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The messages' roles, run by run.
fn runs(engine: &Engine, session_id: &str) -> Vec<Vec<String>> {
    let runs = session(engine, session_id).at(crate::Point::Head).unwrap().runs().unwrap();
    let roles = |run: crate::RunView| {
        assert_eq!(run.status, RunStatus::Completed, "{}", run.started.run_id);
        run.messages.iter().map(|(_, message)| message.role.as_str().to_owned()).collect()
    };
    runs.into_iter().map(roles).collect()
}

/// How many events a session has.
fn events(engine: &Engine, session_id: &str) -> u64 {
    session(engine, session_id).seq().unwrap()
}

/// The reasons of a report, with their lines.
fn reasons(report: &ImportReport) -> Vec<(Option<u64>, &str)> {
    report.skipped.iter().map(|skipped| (skipped.line, skipped.reason.as_str())).collect()
}

#[test]
fn formats_are_named_and_their_names_are_read() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse::<Format>().unwrap(), *format);
    }
    let error = "claude".parse::<Format>().unwrap_err().to_string();
    let (last, others) = Format::ALL.split_last().unwrap();
    let others: Vec<_> = others.iter().map(|format| format.as_str()).collect();
    assert!(error.ends_with(&format!("use {} or {last}", others.join(", "))), "{error}");
}

#[test]
fn a_report_is_flat_json() {
    let report = serde_json::to_value(import(&engine(), "chat", MESSAGE_LINES)).unwrap();
    assert_eq!(report["messages"], 4);
    assert_eq!(report["found"]["runs"], 2);
    assert_eq!(report["files"], 1);
}

#[test]
fn formats_are_told_apart_by_content() {
    let texts = [
        (OPENAI, Format::OpenAi),
        (OPENAI_LINES, Format::OpenAi),
        (MESSAGE_LINES, Format::OpenAi),
        (anthropic::ANTHROPIC, Format::Anthropic),
        (CLAUDE_CODE, Format::ClaudeCode),
        (CLAUDE_CODE_AGENT, Format::ClaudeCode),
        (agno::AGNO, Format::Agno),
        (agno::AGNO_ROWS, Format::Agno),
        (TAU_BENCH, Format::TauBench),
        (SWE_AGENT, Format::SweAgent),
        (r#"{"history":[{"role":"user","content":"x"}]}"#, Format::SweAgent),
        (r#"{"history":[],"trajectory":[],"instance_id":"x"}"#, Format::SweAgent),
        (INSPECT, Format::Inspect),
        (OPENHANDS, Format::OpenHands),
        (OPENHANDS_EVENTS, Format::OpenHands),
        (r#"[{"action":"message","content":"x"}]"#, Format::OpenHands),
        (r#"{"history":[],"instance_id":"x"}"#, Format::OpenHands),
        (r#"{"eval":1,"history":3}"#, Format::OpenAi),
        (r#"{"action":"run","messages":[]}"#, Format::OpenAi),
        (r#"{"history":[{"role":"user"}],"messages":[]}"#, Format::OpenAi),
    ];
    for (text, format) in texts {
        let source = super::source::Source::split(text).unwrap();
        assert_eq!(Format::detect(&source), format, "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn formats_that_are_read_only_are_not_written() {
    let engine = engine();
    import(&engine, "count", MESSAGE_LINES);
    for format in [Format::SweAgent, Format::Inspect, Format::OpenHands] {
        let error = export(&session(&engine, "count"), format).unwrap_err().to_string();
        let written = "use openai, anthropic, claude-code, agno, tau-bench or jsonl";
        assert!(
            error.ends_with(&format!("a session is not written as {format}: {written}")),
            "{error}"
        );
    }
}
