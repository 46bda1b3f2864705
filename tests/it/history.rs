//! The window: what goes to the model, and that it is always legal to send.

use proptest::prelude::*;
use sessionlog::{
    Content, Engine, Message, Metrics, NewEvent, Point, Role, RunStatus, Session, check_anthropic,
    check_openai, legalize,
};

use crate::support::{record_tool_turn, record_turn, texts};

fn session() -> (Engine, Session) {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    (engine, session)
}

#[test]
fn the_window_is_the_last_three_runs_unless_told_otherwise() {
    let (_engine, session) = session();
    for number in 1..=5 {
        record_turn(&session, &format!("q{number}"), &format!("a{number}"));
    }
    let window = |session: &Session| texts(&session.window().messages().unwrap());
    assert_eq!(window(&session), ["q3", "a3", "q4", "a4", "q5", "a5"]);
    assert_eq!(texts(&session.window().runs(1).messages().unwrap()), ["q5", "a5"]);
    assert_eq!(session.window().runs(0).messages().unwrap(), []);
    assert_eq!(session.window().runs(100).messages().unwrap().len(), 10);
    assert_eq!(texts(&session.window().last_messages(3).messages().unwrap()), ["a4", "q5", "a5"]);
    let both = session.window().runs(1).last_messages(5).messages().unwrap();
    assert_eq!(texts(&both), ["q5", "a5"]);
    let past = session.at(Point::run(2)).unwrap().window().runs(1).messages().unwrap();
    assert_eq!(texts(&past), ["q2", "a2"]);
}

#[test]
fn the_newest_system_message_comes_first_wherever_it_is() {
    let (_engine, session) = session();
    let with_system =
        |text: &str| [Message::system(text), Message::user("q"), Message::assistant("a")];
    session.record_run(with_system("old"), Metrics::default()).unwrap();
    session.record_run(with_system("new"), Metrics::default()).unwrap();
    for _ in 0..4 {
        record_turn(&session, "q", "a");
    }
    let prompt = session.window().runs(1).messages().unwrap();
    assert_eq!(texts(&prompt), ["new", "q", "a"]);
    assert_eq!(prompt[0].role, Role::System);
    assert_eq!(texts(&session.window().last_messages(2).messages().unwrap()), ["new", "a"]);
    let without = session.window().runs(1).skip_role(Role::System).messages().unwrap();
    assert_eq!(texts(&without), ["q", "a"]);
    let all = session.at(Point::Head).unwrap().messages().unwrap();
    assert_eq!(all.iter().filter(|message| message.role == Role::System).count(), 1);
    let past = session.at(Point::run(1)).unwrap().window().messages().unwrap();
    assert_eq!(texts(&past), ["old", "q", "a"]);
}

#[test]
fn runs_that_went_nowhere_are_left_out_unless_asked_for() {
    let (_engine, session) = session();
    record_turn(&session, "kept", "a");
    let start = |text: &str| {
        let run = session.start_run().unwrap();
        run.push(Message::user(text)).unwrap();
        run
    };
    start("cancelled").cancel("stop", Metrics::default()).unwrap();
    start("failed").fail("500", Metrics::default()).unwrap();
    start("replaced").mark_regenerated().unwrap();
    start("paused").pause("confirm").unwrap();
    start("under way").push(Message::assistant("...")).unwrap().wait().unwrap();
    assert_eq!(texts(&session.window().messages().unwrap()), ["kept", "a", "under way", "..."]);
    let with_paused = session.window().include_status(RunStatus::Paused).messages().unwrap();
    assert_eq!(texts(&with_paused), ["kept", "a", "paused", "under way", "..."]);
    let chat = session.at(Point::Head).unwrap().chat_history().unwrap();
    assert_eq!(chat.len(), 8);
}

#[test]
fn member_runs_and_copies_of_history_are_left_out_unless_asked_for() {
    let (_engine, session) = session();
    let team = session.run().id("team").start().unwrap();
    let mut copy = Message::user("from before");
    copy.from_history = true;
    team.push_all([copy, Message::user("task")]).unwrap();
    let member = session.run().id("member").parent("team").start().unwrap();
    member.push(Message::system("for the member alone")).unwrap();
    member.push(Message::assistant("member's work")).unwrap();
    member.complete(Metrics::tokens(1, 1)).unwrap();
    team.push(Message::assistant("result")).unwrap();
    team.complete(Metrics::tokens(2, 2)).unwrap().wait().unwrap();
    assert_eq!(texts(&session.window().messages().unwrap()), ["task", "result"]);
    let all = session.window().include_member_runs().include_history().messages().unwrap();
    assert_eq!(texts(&all), ["from before", "task", "result", "member's work"]);
    assert_eq!(session.view().unwrap().run_count, 1);
}

#[test]
fn older_tool_calls_leave_with_their_results() {
    let (_engine, session) = session();
    // The same id for every call, as real transcripts have it.
    for _ in 0..3 {
        record_tool_turn(&session, "call_1");
    }
    let count = |messages: &[Message]| {
        let calls: usize = messages.iter().map(|message| message.tool_calls.len()).sum();
        let results = messages.iter().filter(|message| message.role == Role::Tool).count();
        (calls, results, messages.len())
    };
    assert_eq!(count(&session.window().messages().unwrap()), (3, 3, 12));
    assert_eq!(count(&session.window().max_tool_calls(1).messages().unwrap()), (1, 1, 10));
    assert_eq!(count(&session.window().max_tool_calls(0).messages().unwrap()), (0, 0, 9));
    let calls = session.at(Point::Head).unwrap().tool_calls(Some(2)).unwrap();
    assert_eq!(calls.len(), 2);
}

#[test]
fn interleaved_runs_are_put_in_the_order_they_started() {
    let (_engine, session) = session();
    let first = session.start_run().unwrap();
    let second = session.start_run().unwrap();
    second.push(Message::user("second")).unwrap();
    first.push(Message::user("first")).unwrap();
    second.push(Message::assistant("two")).unwrap();
    first.push(Message::assistant("one")).unwrap();
    first.complete(Metrics::default()).unwrap();
    second.complete(Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(texts(&session.window().messages().unwrap()), ["first", "one", "second", "two"]);
    assert_eq!(texts(&session.window().runs(1).messages().unwrap()), ["second", "two"]);
}

/// Messages as bad as real ones, and worse: three ids for every call, orphans, calls by anyone,
/// nothing said.
fn any_message() -> impl Strategy<Value = Message> {
    let id = prop_oneof![Just("a"), Just("b"), Just("")];
    let role = prop_oneof![
        Just(Role::System),
        Just(Role::User),
        Just(Role::Assistant),
        Just(Role::Assistant),
        Just(Role::Tool),
        Just(Role::Tool),
        Just(Role::Developer),
        Just(Role::Other("critic".into())),
    ];
    let content = prop_oneof![
        Just(Content::Null),
        Just(Content::Absent),
        Just(Content::Text(String::new())),
        "[a-z ]{0,5}".prop_map(Content::Text),
    ];
    (role, content, proptest::collection::vec(id.clone(), 0..3), proptest::option::of(id)).prop_map(
        |(role, content, calls, result)| {
            let mut message = Message::new(role, content);
            for id in calls {
                message = message.with_call(id, "tool", "{}");
            }
            message.tool_call_id = result.map(str::to_owned);
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_window_at_every_point_is_legal_to_send(
        runs in proptest::collection::vec(proptest::collection::vec(any_message(), 0..8), 1..5),
        count in 0_usize..6,
    ) {
        let (engine, session) = session();
        for (number, messages) in runs.iter().enumerate() {
            let run = session.run().id(format!("r{number}")).start().unwrap();
            if !messages.is_empty() {
                run.push_all(messages.clone()).unwrap();
            }
            if number % 3 != 2 {
                run.complete(Metrics::default()).unwrap();
            }
        }
        session.append([NewEvent::new(sessionlog::Renamed { name: Some("n".into()), is_generated: false })])
            .unwrap().wait().unwrap();
        for seq in 0..=session.seq().unwrap() {
            let at = session.at(Point::seq(seq)).unwrap();
            for window in [
                at.window().runs(count),
                at.window().last_messages(count),
                at.window().all_runs().max_tool_calls(count),
            ] {
                // The conversions repair too, so the list is looked at before them.
                let (_, repairs) = legalize(window.messages().unwrap());
                prop_assert_eq!(repairs, [], "seq {}", seq);
                let openai = window.openai().unwrap();
                let is_legal = openai.is_empty() || check_openai(&openai) == Ok(());
                prop_assert!(is_legal, "seq {} {:?}", seq, openai);
                let anthropic = window.anthropic().unwrap();
                let is_legal =
                    anthropic.messages.is_empty() || check_anthropic(&anthropic) == Ok(());
                prop_assert!(is_legal, "seq {} {:?}", seq, anthropic);
            }
        }
        prop_assert!(engine.verify().unwrap().ok);
    }
}

#[test]
fn a_window_inside_a_long_run_begins_with_the_person_where_it_must() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    run.push(Message::system("Be brief.")).unwrap();
    run.push(Message::user("Look around.")).unwrap();
    for number in 0..20 {
        let call = format!("call {number}");
        run.push(Message::assistant("").with_call(&*call, "look", "{}")).unwrap();
        run.push(Message::tool(&*call, "nothing")).unwrap();
    }
    for count in 2..40 {
        let window = session.window().last_messages(count);
        let (openai, anthropic) = (window.openai().unwrap(), window.anthropic().unwrap());
        check_openai(&openai).unwrap();
        check_anthropic(&anthropic).unwrap();
        // Nothing that OpenAI is given is kept from Anthropic, and the person always begins.
        let calls = openai.iter().filter(|message| message["role"] == "tool").count();
        let results = anthropic.messages.iter().filter(|message| message["role"] == "user").count();
        assert_eq!(results, calls + 1, "{count}");
    }
}
