//! Every context at every budget.

use std::sync::Arc;

use proptest::prelude::*;
use sessionlog::{
    ContextBuilder, ContextMemory, ErrorKind, Message, Metrics, Point, Policy, PromptFormat, Role,
    Run, RunStatus, RunView, Session, SummaryWritten, TokenCounter, ToolDefinition,
    check_anthropic, check_openai, to_anthropic, to_openai,
};

use super::rules;
use crate::support::shapes::{memory, play, steps_with_rewinds};
use crate::support::{assert_sendable, record_turn, texts};

/// A token for each byte: an odd counter, to show that any will do.
#[derive(Debug)]
struct Bytes;

impl TokenCounter for Bytes {
    fn name(&self) -> &'static str {
        "bytes"
    }

    fn count(&self, text: &str) -> usize {
        text.len()
    }
}

fn memories() -> Vec<ContextMemory> {
    let memory = |seq, memory: &str| ContextMemory {
        memory_id: format!("m{seq}"),
        seq,
        memory: memory.into(),
    };
    vec![memory(2, "Likes tea."), memory(5, "Lives in Oslo.")]
}

fn look() -> ToolDefinition {
    ToolDefinition {
        name: "look".into(),
        description: "Looks around.".into(),
        parameters: serde_json::json!({"type": "object"}).into(),
    }
}

/// The settings of a number, so that a property meets all of them.
fn builder(session: &Session, run: Option<&Run>, settings: u16) -> ContextBuilder {
    let is = |bit: u16| settings & bit != 0;
    let mut builder = run
        .map_or_else(|| session.context(), Run::context)
        .add_session_summary_to_context(is(1))
        .add_session_state_to_context(is(2))
        .add_history_to_context(!is(4) || is(8))
        .history_after_summary(is(2048));
    if is(16) {
        builder = builder.num_history_messages(usize::from(settings % 7));
    }
    if is(32) {
        builder = builder.num_history_runs(usize::from(settings % 5));
    }
    if is(64) {
        builder = builder.max_tool_calls_from_history(usize::from(settings % 3));
    }
    if is(128) {
        builder = builder.memories(memories()).instructions("Be brief.").tools(&[look()]);
    }
    if is(256) {
        builder = builder.skip_roles([Role::System]).format(PromptFormat::Anthropic);
    }
    if is(512) {
        builder = builder.skip_roles([Role::Tool]);
    }
    if is(1024) { builder.counter(Arc::new(Bytes)) } else { builder }
}

fn written(session: &Session) {
    session.merge_state(serde_json::json!({"cart": ["tea"]})).unwrap();
    let summary = SummaryWritten {
        summary: "They talked about tea.".into(),
        topics: Vec::new(),
        first_seq: 1,
        last_seq: 2,
        model: None,
        metrics: None,
    };
    session.write_summary(summary).unwrap().wait().unwrap();
}

/// The last run, under way again.
fn last_run(session: &Session) -> Option<Run> {
    let last = session.at(Point::Head).unwrap().runs().unwrap().pop()?;
    let run = session.existing_run(last.started.run_id);
    run.resume().unwrap().wait().unwrap();
    Some(run)
}

/// Whether a window could show words of the person that both providers take.
fn has_said(session: &Session, last: Option<&Run>) -> bool {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let ended = [RunStatus::Running, RunStatus::Completed, RunStatus::Interrupted];
    let counts = |run: &RunView| {
        let is_last = last.is_some_and(|last| last.id() == run.started.run_id);
        is_last || (ended.contains(&run.status) && !run.is_member_run())
    };
    let said = runs.iter().filter(|run| counts(run)).flat_map(|run| &run.messages);
    let mut said = said.filter(|(_, message)| !message.from_history && !message.omitted.message);
    said.any(|(_, message)| {
        let alone = std::slice::from_ref(message);
        message.role == Role::User
            && !to_openai(alone).is_empty()
            && !to_anthropic(alone).messages.is_empty()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_context_at_every_budget_is_legal_within_it_and_the_same_twice(
        steps in steps_with_rewinds(),
        settings in 0_u16..4096,
        is_of_run in any::<bool>(),
        budgets in proptest::collection::vec(0_u64..400, 4),
    ) {
        let engine = memory(Policy::default());
        let session = engine.session("s").open().unwrap();
        play(&session, "", &steps);
        written(&session);
        let last = last_run(&session).filter(|_| is_of_run);
        let builder = builder(&session, last.as_ref(), settings);
        let budgets = budgets.into_iter().map(Some).chain([None]);
        for budget in budgets {
            let builder = match budget {
                Some(budget) => builder.clone().token_budget(budget),
                None => builder.clone(),
            };
            let context = match builder.build() {
                Ok(context) => context,
                Err(error) => {
                    let is_small = matches!(
                        error.kind(),
                        ErrorKind::Limit { what: "context in tokens", actual, max }
                            if Some(*max) == budget && *actual > *max
                    );
                    prop_assert!(is_small, "{error}");
                    continue;
                }
            };
            let (openai, anthropic) = (context.openai(), context.anthropic());
            let has_asked = (settings & 4 == 0 || settings & 8 != 0)
                && !(settings & 16 != 0 && settings % 7 == 0)
                && !(settings & 32 != 0 && settings % 5 == 0);
            if has_asked && has_said(&session, last.as_ref()) {
                prop_assert_eq!(check_openai(&openai), Ok(()));
                prop_assert_eq!(check_anthropic(&anthropic), Ok(()));
            }
            assert_sendable(context.messages());
            prop_assert!(anthropic.messages.is_empty() || check_anthropic(&anthropic).is_ok());
            rules::openai(&openai);
            rules::anthropic(&anthropic);
            prop_assert!(budget.is_none_or(|budget| context.tokens() <= budget));
            prop_assert_eq!(&openai, &to_openai(context.messages()));
            let again = builder.build().unwrap();
            prop_assert_eq!(again.openai(), openai);
            prop_assert_eq!(again.anthropic(), anthropic);
            prop_assert_eq!(again.manifest(), context.manifest());

            // What it was made of makes it again, to the byte.
            let run = last.clone().unwrap_or_else(|| session.start_run().unwrap());
            let seq = context.record(&run).unwrap().wait().unwrap().last_seq;
            if last.is_none() {
                run.cancel("only to record it", Metrics::default()).unwrap();
            }
            let rebuilt = session.recorded_context(seq).unwrap().rebuild_with(&memories()).unwrap();
            prop_assert_eq!(rebuilt.changes(), []);
            prop_assert!(rebuilt.is_exact());
            prop_assert_eq!(rebuilt.messages(), context.messages());
            prop_assert_eq!(rebuilt.openai(), context.openai());
            prop_assert_eq!(rebuilt.anthropic(), context.anthropic());
        }
    }
}

#[test]
fn a_budget_reaches_back_as_far_as_it_goes_and_begins_with_the_person() {
    let engine = memory(Policy::default());
    let session = engine.session("s").open().unwrap();
    for number in 0..40 {
        record_turn(&session, &format!("q{number}"), &format!("a{number}"));
    }
    let of = |budget: u64| {
        let context = session.context().token_budget(budget).build().unwrap();
        (context.messages().to_vec(), context.tokens())
    };
    // A message is four tokens and its two words: a letter and a number.
    let (messages, tokens) = of(12 * 11 + 7);
    assert_eq!((messages.len(), tokens), (22, 132));
    assert_eq!(texts(&messages)[0], "q29");
    // Far more than Agno's three runs, and no more than there is.
    assert_eq!(of(100_000).0.len(), 80);
    // The words that a request cannot do without.
    assert_eq!(texts(&of(11).0), ["q39"]);
    let bounded = session.context().token_budget(100_000).num_history_runs(2).build().unwrap();
    assert_eq!(texts(bounded.messages()), ["q38", "a38", "q39", "a39"]);
}

#[test]
fn what_is_too_much_goes_in_the_order_that_is_documented() {
    let engine = memory(Policy::default());
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "question", "answer");
    written(&session);
    let builder = session
        .context()
        .memories(memories())
        .instructions("Be brief.")
        .add_session_summary_to_context(true)
        .add_session_state_to_context(true);
    let whole = builder.build().unwrap();
    let mut last = (2, 2, true, true);
    let mut seen = vec![last];
    for budget in (0..=whole.tokens()).rev() {
        let Ok(context) = builder.clone().token_budget(budget).build() else { break };
        let manifest = context.manifest();
        let now = (
            manifest.history().count(),
            manifest.memories.len(),
            manifest.summary_seq.is_some(),
            manifest.state_seq.is_some(),
        );
        assert!(context.messages()[0].content.text().starts_with("Be brief."));
        if now.1 == 1 {
            // The older one went.
            assert_eq!(manifest.memories[0].memory_id, "m5");
        }
        if now != last {
            seen.push(now);
            last = now;
        }
    }
    let order = [
        (2, 2, true, true),
        (1, 2, true, true),
        (1, 1, true, true),
        (1, 0, true, true),
        (1, 0, false, true),
        (1, 0, false, false),
    ];
    assert_eq!(seen, order);
}

#[test]
fn tools_count_against_the_budget_and_go_out_with_the_request() {
    let engine = memory(Policy::default());
    let session = engine.session("s").open().unwrap();
    for number in 0..40 {
        record_turn(&session, &format!("q{number}"), &format!("a{number}"));
    }
    let builder = session.context().counter(Arc::new(Bytes));
    let with = builder.clone().tools(&[look()]);
    // Four for the tool, and the bytes of its name, its description and its schema.
    let tools = 4 + (4 + 13 + 17);
    let bare = builder.token_budget(200).build().unwrap();
    let context = with.clone().token_budget(200 + tools).build().unwrap();
    assert_eq!(context.messages(), bare.messages());
    assert_eq!(context.tokens(), bare.tokens() + tools);
    assert_eq!(context.token_parts().tools, tools);
    assert_eq!(context.request().tools, [look()]);
    assert_eq!(context.manifest().prompt_digest, bare.manifest().prompt_digest);
    let error = with.token_budget(tools).build().unwrap_err();
    let ErrorKind::Limit { actual, max, .. } = error.kind() else { panic!("{error}") };
    assert!(*max == tools && *actual > tools, "{error}");
}

#[test]
fn the_run_under_way_and_instructions_stay_or_nothing_is_made() {
    let engine = memory(Policy::default());
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "before", "yes");
    let run = session.start_run().unwrap();
    run.push(Message::user("a question of five words")).unwrap();
    let tight = run.context().token_budget(9).build().unwrap();
    assert_eq!(texts(tight.messages()), ["a question of five words"]);
    let error = run.context().token_budget(8).build().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Limit { what: "context in tokens", actual: 9, max: 8 });
    let error = run.context().instructions("Be brief.").token_budget(9).build().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "context in tokens", .. }), "{error}");
    assert_eq!(to_anthropic(tight.messages()).messages.len(), 1);
}
