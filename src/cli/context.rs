//! The context of a model call: of the next one, or of one that was recorded.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};
#[cfg(feature = "tokens")]
use sessionlog::Tokenizer;
use sessionlog::{
    Anthropic, Context, ContextBuilder, ContextTokens, EventBody, LEFT_OUT_IN_FRONT, PromptFormat,
    RecordedContext, Session, TokenCounter,
};

use super::args::{ContextArgs, Global, Provider};
use super::failure::{Failure, Outcome, Result};
use super::history::write_messages;
use super::output::{FAINT, Output};
use super::text;

pub(super) fn run(global: &Global, args: &ContextArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    if args.run.is_some() {
        return recorded(&session, args, out);
    }
    let mut builder = builder(&session, args);
    if let Some(name) = &args.tokenizer {
        builder = builder.counter(tokenizer(name)?);
    }
    let context = builder.build()?;
    if out.is_json() {
        let provider = args.format.unwrap_or(Provider::Openai);
        let mut document = request(provider, || context.openai(), || context.anthropic());
        add(&mut document, "tokens", json!(context.token_parts()));
        add(&mut document, "counter", json!(context.manifest().counter));
        let repairs: Vec<String> = context.repairs().iter().map(ToString::to_string).collect();
        add(&mut document, "repairs", json!(repairs));
        add(&mut document, "left_out", json!(context.left_out()));
        let manifest = EventBody::from(context.manifest().clone()).to_json();
        add(&mut document, "manifest", manifest.to_value());
        out.json(&document)?;
        return Ok(Outcome::Fine);
    }
    write_context(&context, out)?;
    Ok(Outcome::Fine)
}

fn builder(session: &Session, args: &ContextArgs) -> ContextBuilder {
    let mut builder = session
        .context()
        .add_history_to_context(!args.no_history)
        .add_session_summary_to_context(args.summary)
        .add_session_state_to_context(args.state)
        .add_memories_to_context(args.memories)
        .history_after_summary(args.after_summary)
        .skip_roles(args.skip_role.iter().cloned());
    if let Some(runs) = args.runs {
        builder = builder.num_history_runs(runs);
    }
    if let Some(messages) = args.messages {
        builder = builder.num_history_messages(messages);
    }
    if let Some(calls) = args.max_tool_calls {
        builder = builder.max_tool_calls_from_history(calls);
    }
    if let Some(text) = &args.instructions {
        builder = builder.instructions(text);
    }
    if let Some(budget) = args.budget {
        builder = builder.token_budget(budget);
    }
    if args.format == Some(Provider::Anthropic) {
        builder = builder.format(PromptFormat::Anthropic);
    }
    builder
}

/// The tokenizer of a name that the command line knows.
#[cfg(feature = "tokens")]
fn tokenizer(name: &str) -> Result<Arc<dyn TokenCounter>> {
    match name {
        "o200k" => Ok(Arc::new(Tokenizer::o200k())),
        "cl100k" => Ok(Arc::new(Tokenizer::cl100k())),
        _ => Err(Failure::words(format!("there is no tokenizer {name:?}"))),
    }
}

#[cfg(not(feature = "tokens"))]
fn tokenizer(_name: &str) -> Result<Arc<dyn TokenCounter>> {
    Err(Failure::words(
        "this program was built without tokenizers: `cargo install --path . --features tokens` \
         builds it with them",
    ))
}

fn write_context(context: &Context, out: &mut Output) -> Result<()> {
    write_messages(context.messages(), out)?;
    for repair in context.repairs() {
        write_note(&repair.to_string(), out)?;
    }
    for (kind, count) in context.left_out() {
        write_note(&left_out_words(&kind, count), out)?;
    }
    if context.messages().is_empty() {
        write_note("no messages", out)?;
    }
    let tokens = context.token_parts();
    let by = &context.manifest().counter;
    let total = text::count(tokens.total(), "token");
    // The parts are those of OpenAI's format.
    let openai = match tokens.openai {
        openai if openai == tokens.total() => String::new(),
        openai => format!(", {} in openai's format", text::grouped(openai)),
    };
    write_note(&format!("{total} by {by}{openai}: {}", parts_of(tokens)), out)
}

/// What is said of parts that a provider is not given.
pub(super) fn left_out_words(kind: &str, count: u64) -> String {
    if kind == LEFT_OUT_IN_FRONT {
        let messages = text::count(count, "message");
        return format!("left out {messages} in front: the request begins with the user");
    }
    let kind = if kind.is_empty() { "no type" } else { kind };
    format!(
        "left out {} of type {kind}: the request has no place for it",
        text::count(count, "part")
    )
}

/// The parts that there are, each with its tokens.
fn parts_of(tokens: &ContextTokens) -> String {
    let parts = [
        ("system message", tokens.system),
        ("instructions", tokens.instructions),
        ("summary", tokens.summary),
        ("memories", tokens.memories),
        ("state", tokens.state),
        ("history", tokens.history),
        ("run", tokens.run),
    ];
    let parts = parts.into_iter().filter(|(_, tokens)| *tokens > 0);
    let parts = parts.map(|(name, tokens)| format!("{name} {}", text::grouped(tokens)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::from("nothing in it") } else { parts.join(", ") }
}

/// What was recorded for a run.
fn recorded(session: &Session, args: &ContextArgs, out: &mut Output) -> Result<Outcome> {
    let Some(run) = &args.run else { return Ok(Outcome::Fine) };
    let calls = session.recorded_contexts_of(run.clone())?;
    if calls.is_empty() {
        let place = format!("session {}, {run}", session.id());
        return Err(Failure::words(format!("{place}: no context was recorded")));
    }
    let number = args.call.unwrap_or(calls.len());
    let Some(call) = number.checked_sub(1).and_then(|at| calls.get(at)) else {
        let words = text::count(calls.len() as u64, "context");
        let place = format!("session {}, {run}", session.id());
        return Err(Failure::words(format!("{place}: no call {number}: {words} recorded")));
    };
    let rebuilt = call.rebuild()?;
    let changes: Vec<String> = rebuilt.changes().iter().map(ToString::to_string).collect();
    if out.is_json() {
        let provider = args.format.unwrap_or(provider_of(call));
        let mut document = request(provider, || rebuilt.openai(), || rebuilt.anthropic());
        add(&mut document, "seq", json!(call.seq()));
        add(&mut document, "recorded_at", json!(text::rfc3339(call.recorded_at_us())));
        add(&mut document, "call", json!(number));
        add(&mut document, "calls", json!(calls.len()));
        add(&mut document, "is_exact", json!(rebuilt.is_exact()));
        add(&mut document, "changes", json!(changes));
        let manifest = EventBody::from(call.manifest().clone()).to_json();
        add(&mut document, "manifest", manifest.to_value());
        out.json(&document)?;
        return Ok(Outcome::Fine);
    }
    write_messages(rebuilt.messages(), out)?;
    let at = text::time(call.recorded_at_us());
    let which = format!("call {number} of {}, recorded at seq {}, {at}", calls.len(), call.seq());
    let manifest = call.manifest();
    let tokens = text::count(manifest.tokens, "token");
    write_note(&format!("{which}; {tokens} by {}", manifest.counter), out)?;
    if rebuilt.is_exact() {
        write_note("exactly what was sent, by its digest", out)?;
    } else {
        write_note("not what was sent:", out)?;
    }
    for change in &changes {
        write_note(change, out)?;
    }
    Ok(Outcome::Fine)
}

fn provider_of(call: &RecordedContext) -> Provider {
    match call.manifest().format {
        PromptFormat::Anthropic => Provider::Anthropic,
        PromptFormat::OpenAi => Provider::Openai,
    }
}

fn request(
    provider: Provider,
    openai: impl FnOnce() -> Vec<Value>,
    anthropic: impl FnOnce() -> Anthropic,
) -> Value {
    match provider {
        Provider::Openai => json!({ "messages": openai() }),
        Provider::Anthropic => {
            let Anthropic { system, messages } = anthropic();
            let mut document = json!({ "messages": messages });
            // A provider takes no system prompt for none, but not for null.
            if let Some(system) = system {
                add(&mut document, "system", system.into());
            }
            document
        }
    }
}

fn add(document: &mut Value, name: &str, value: Value) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn write_note(words: &str, out: &mut Output) -> Result<()> {
    let words = text::one_line(words);
    Ok(writeln!(out, "{FAINT}({words}){FAINT:#}")?)
}
