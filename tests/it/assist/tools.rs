//! The tools that a model is given: what they tell, and that they reach no further than they may.

use proptest::prelude::*;
use serde_json::{Value, json};
use sessionlog::{
    Engine, KeepRuns, Message, Metrics, OlderRuns, Point, Policy, Session, ToolAnswer, limits,
    to_anthropic, to_openai,
};

use crate::support::{assert_sendable, record_tool_turn, record_turn};

fn execute(session: &Session, name: &str, arguments: &Value) -> ToolAnswer {
    session.tools().execute(name, &arguments.to_string()).unwrap().unwrap()
}

fn told(session: &Session, name: &str, arguments: &Value) -> Value {
    let answer = execute(session, name, arguments);
    assert!(!answer.is_error, "{}", answer.content);
    serde_json::from_str(&answer.content).unwrap()
}

/// Sessions of alice, of bob and of nobody, each with a word of its own.
fn engine() -> Engine {
    let engine = Engine::in_memory().unwrap();
    for (id, user) in [("a1", "alice"), ("a2", "alice"), ("b1", "bob")] {
        let session = engine.session(id).user(user).open().unwrap();
        record_turn(&session, &format!("I am {user} in {id}"), &format!("secret-{id}"));
    }
    record_turn(&engine.session("n1").open().unwrap(), "I am nobody", "secret-n1");
    engine
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|s| s["session_id"].as_str().unwrap()).collect()
}

#[test]
fn the_history_is_what_user_and_assistant_said() {
    let session = Engine::in_memory().unwrap().session("s").user("alice").open().unwrap();
    session
        .record_run([Message::system("Be brief."), Message::user("Hi")], Metrics::default())
        .unwrap();
    record_tool_turn(&session, "call_1");
    let all = told(&session, "get_chat_history", &json!({}));
    let said: Vec<_> = all.as_array().unwrap().iter().map(|m| m["content"].as_str()).collect();
    let warm = "How warm is it in Oslo?";
    assert_eq!(said, [Some("Hi"), Some(warm), Some("Let me look."), Some("4 degrees.")]);
    let last = told(&session, "get_chat_history", &json!({"num_chats": 1}));
    assert_eq!(last, json!([{"role": "assistant", "content": "4 degrees."}]));
}

#[test]
fn tool_calls_come_newest_first_with_their_results() {
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    for turn in 0..30 {
        // Ids are used again, as providers do.
        let call = Message::assistant("").with_call("c", "count", format!("{{\"at\":{turn}}}"));
        let messages = [Message::user("q"), call, Message::tool("c", turn.to_string())];
        session.record_run(messages, Metrics::default()).unwrap();
        record_turn(&session, "chat", "more chat");
    }
    let calls = told(&session, "get_tool_call_history", &json!({}));
    let results: Vec<_> = calls.as_array().unwrap().iter().map(|c| c["result"].clone()).collect();
    assert_eq!(results, [json!("29"), json!("28"), json!("27")]);
    assert_eq!(calls[0]["tool_args"], "{\"at\":29}");
    let all = told(&session, "get_tool_call_history", &json!({"num_calls": 100}));
    assert_eq!(all.as_array().unwrap().len(), 30);
}

#[test]
fn a_turn_of_many_calls_is_found_wherever_a_cut_would_fall() {
    for chatter in 0..14 {
        let session = Engine::in_memory().unwrap().session("s").open().unwrap();
        let mut calls = Message::assistant("");
        for number in 0..6 {
            calls = calls.with_call(format!("c{number}"), "count", "{}");
        }
        let results = (0..6).map(|number| Message::tool(format!("c{number}"), number.to_string()));
        let messages = [Message::user("q"), calls].into_iter().chain(results);
        session.record_run(messages, Metrics::default()).unwrap();
        for _ in 0..chatter {
            session.record_run([Message::user("chat")], Metrics::default()).unwrap();
        }
        let told = told(&session, "get_tool_call_history", &json!({}));
        assert_eq!(told.as_array().unwrap().len(), 3, "{chatter}: {told}");
    }
}

#[test]
fn a_session_that_says_much_hides_no_other() {
    let engine = engine();
    let chatty = engine.session("a3").user("alice").open().unwrap();
    for _ in 0..300 {
        record_turn(&chatty, "alice alice alice", "alice");
    }
    let session = engine.session("a1").user("alice").open().unwrap();
    let found = told(&session, "search_past_sessions", &json!({"query": "alice"}));
    let mut found = ids(&found);
    found.sort_unstable();
    assert_eq!(found, ["a2", "a3"]);
}

#[test]
fn words_are_found_in_however_old_a_session() {
    let engine = Engine::in_memory().unwrap();
    let say = |id: &str, words: &str| {
        let session = engine.session(id).user("alice").open().unwrap();
        session.record_run([Message::user(words)], Metrics::default()).unwrap();
        session
    };
    say("oldest", "Where is my parcel?");
    // More than one search may name.
    for number in 0..=limits::SEARCH_SESSIONS_MAX {
        say(&format!("s{number}"), "chat");
    }
    let session = say("now", "parcel");
    let found = told(&session, "search_past_sessions", &json!({"query": "parcel"}));
    assert_eq!(ids(&found), ["oldest"]);
}

#[test]
fn what_a_fork_shares_with_the_session_that_asks_is_told_of_the_fork() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").user("alice").open().unwrap();
    record_turn(&session, "Where is my parcel?", "On its way.");
    session.fork(Point::Head).id("s2").open().unwrap();
    let found = told(&session, "search_past_sessions", &json!({"query": "parcel"}));
    assert_eq!(ids(&found), ["s2"]);
}

#[test]
fn past_sessions_are_the_owners_without_this_one() {
    let engine = engine();
    for (id, user, others) in [("a1", Some("alice"), vec!["a2"]), ("b1", Some("bob"), vec![])] {
        let builder = engine.session(id).user(user.unwrap());
        let listed = told(&builder.open().unwrap(), "search_past_sessions", &json!({}));
        assert_eq!(ids(&listed), others);
    }
    // Whoever opened it: what counts is whose session it is.
    let by_admin = engine.session("a1").admin().open_existing().unwrap();
    assert_eq!(ids(&told(&by_admin, "search_past_sessions", &json!({}))), ["a2"]);
    let nobodys = engine.session("n1").open().unwrap();
    assert_eq!(ids(&told(&nobodys, "search_past_sessions", &json!({}))), Vec::<&str>::new());
}

#[test]
fn past_sessions_are_found_by_what_was_said() {
    let engine = engine();
    let session = engine.session("a1").user("alice").open().unwrap();
    let found = told(&session, "search_past_sessions", &json!({"query": "ALICE a2"}));
    assert_eq!(ids(&found), ["a2"]);
    assert_eq!(found[0]["said"][0]["content"], "I am alice in a2");
    for nothing in ["bob", "secret-b1", "secret-n1", "a1"] {
        let found = told(&session, "search_past_sessions", &json!({"query": nothing}));
        assert_eq!(found, json!([]), "{nothing}");
    }
}

#[test]
fn a_past_session_is_read_by_its_owner_and_is_not_there_for_anybody_else() {
    let engine = engine();
    let alice = engine.session("a1").user("alice").open().unwrap();
    let read = told(&alice, "read_past_session", &json!({"session_id": "a2"}));
    assert_eq!(read[1]["content"], "secret-a2");
    let others: Vec<ToolAnswer> = ["b1", "n1", "nowhere", ""]
        .map(|id| execute(&alice, "read_past_session", &json!({"session_id": id})))
        .into();
    for (answer, id) in others.iter().zip(["b1", "n1", "nowhere", ""]) {
        assert!(answer.is_error);
        let words = format!("Error: there is no past session {id:?} of this user");
        assert_eq!(answer.content, words);
    }
}

#[test]
fn a_session_that_was_given_away_is_out_of_its_old_tools_reach() {
    let engine = engine();
    let session = engine.session("a1").user("alice").open().unwrap();
    let tools = session.tools();
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    for name in ["get_chat_history", "search_past_sessions"] {
        assert!(tools.execute(name, "{}").is_err());
    }
    let update = r#"{"session_state_updates":{"a":1}}"#;
    assert!(tools.execute("update_session_state", update).is_err());
}

#[test]
fn the_state_is_changed_key_by_key() {
    let session = engine().session("a1").user("alice").open().unwrap();
    session.merge_state(json!({"cart": {"tea": 1}, "n": 1})).unwrap();
    let update = json!({"session_state_updates": {"cart": {"milk": 2}, "n": [3]}});
    assert_eq!(execute(&session, "update_session_state", &update).content, "Changed cart, n.");
    let expected = json!({"cart": {"tea": 1, "milk": 2}, "n": [3]});
    assert_eq!(session.state().unwrap(), expected);
}

#[test]
fn what_a_model_gets_wrong_it_is_told() {
    let session = engine().session("a1").user("alice").open().unwrap();
    let long = json!({"session_id": "x".repeat(limits::ID_BYTES_MAX + 1)}).to_string();
    for (name, arguments) in [
        ("read_past_session", &*long),
        ("get_chat_history", "{"),
        ("get_chat_history", r#"{"num_chats":-1}"#),
        ("get_chat_history", r#"{"chats":1}"#),
        ("read_past_session", "{}"),
        ("update_session_state", r#"{"session_state_updates":[]}"#),
        ("update_session_state", r#"{"session_state":{}}"#),
    ] {
        let answer = session.tools().execute(name, arguments).unwrap().unwrap();
        assert!(answer.is_error && answer.content.starts_with("Error: "), "{}", answer.content);
    }
    assert_eq!(session.tools().execute("rm", "{}").unwrap(), None);
    assert!(session.tools().execute("get_chat_history", "null").unwrap().is_some());
}

#[test]
fn an_answer_that_is_an_error_goes_to_the_provider_as_one() {
    let session = engine().session("a1").user("alice").open().unwrap();
    for (arguments, is_error) in [("{}", None), (r#"{"chats":1}"#, Some(true))] {
        let call = Message::assistant("").with_call("c", "get_chat_history", arguments);
        let answer = session.tools().answer(&call.tool_calls[0]).unwrap().unwrap();
        let prompt = [Message::user("q"), call, answer];
        assert_sendable(&prompt);
        let result = &to_anthropic(&prompt).messages[2]["content"][0];
        assert_eq!(result.get("is_error").and_then(Value::as_bool), is_error, "{result}");
        assert_eq!(to_openai(&prompt)[2].get("is_error"), None);
    }
}

#[test]
fn an_answer_is_bounded_and_says_what_it_leaves_out() {
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    for turn in 0..60 {
        record_turn(&session, &format!("question {turn}"), &"word ".repeat(2_000));
    }
    let answer = execute(&session, "get_chat_history", &json!({"num_chats": 120}));
    assert!(answer.content.len() <= limits::TOOL_ANSWER_BYTES_MAX + 100);
    let told: Value = serde_json::from_str(&answer.content).unwrap();
    let shown = told["shown"].as_array().unwrap();
    assert!((1..120).contains(&shown.len()) && told["older_left_out_for_length"] == true);
    assert_eq!(shown[shown.len() - 2]["content"], "question 59");
}

/// JSON writes a control character as six.
#[test]
fn a_call_of_any_bytes_hides_no_other() {
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    let call = Message::assistant("").with_call("c", "n".repeat(20_000), "東".repeat(5_000));
    let result = Message::tool("c", "\0".repeat(5_000));
    session.record_run([Message::user("q"), call, result], Metrics::default()).unwrap();
    let told = told(&session, "get_tool_call_history", &json!({}));
    assert_eq!(told.as_array().unwrap().len(), 1);
}

#[test]
fn a_past_session_whose_first_runs_are_gone_begins_with_what_is_left() {
    let engine = engine();
    let session = engine.session("a2").user("alice").open().unwrap();
    (0..4).for_each(|turn| record_turn(&session, &format!("later {turn}"), "b"));
    let policy = Policy::new().keep_runs(KeepRuns::Last { runs: 1, older: OlderRuns::Dropped });
    session.compaction().policy(policy).run().unwrap();
    let asking = engine.session("a1").user("alice").open().unwrap();
    let listed = told(&asking, "search_past_sessions", &json!({}));
    assert_eq!(listed[0]["begins"][0]["content"], "later 3", "{listed}");
}

#[test]
fn the_history_is_of_the_last_messages_unless_the_model_wants_more() {
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    for turn in 0..30 {
        record_turn(&session, &format!("question {turn}"), "answer");
    }
    let last = told(&session, "get_chat_history", &json!({}));
    assert_eq!((last.as_array().unwrap().len(), &last[0]["content"]), (20, &json!("question 20")));
    let more = told(&session, "get_chat_history", &json!({"num_chats": 50}));
    assert_eq!(more.as_array().unwrap().len(), 50);
}

#[test]
fn a_context_has_room_for_what_two_calls_at_once_answer_in_a_long_session() {
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    for turn in 0..100 {
        let words = format!("{turn} {}", "as one says in a chat ".repeat(30));
        session
            .record_run([Message::user(&words), Message::assistant(&words)], Metrics::default())
            .unwrap();
    }
    let tools = session.tools();
    for arguments in ["{}", r#"{"num_chats":1000}"#] {
        let run = session.start_run().unwrap();
        run.push(Message::user("What did I say at first?")).unwrap();
        let calls = Message::assistant("")
            .with_call("c1", "get_chat_history", arguments)
            .with_call("c2", "get_chat_history", arguments);
        run.push(calls.clone()).unwrap();
        for call in &calls.tool_calls {
            run.push(tools.answer(call).unwrap().unwrap()).unwrap();
        }
        // As the README's agent asks for it.
        let context = run.context().instructions("Be helpful.").tools(&tools.definitions());
        let context = context.token_budget(16_000).history_after_summary(true);
        let context = context.add_memories_to_context(true).build().unwrap();
        assert!(context.tokens() <= 16_000);
        run.complete(Metrics::default()).unwrap().wait().unwrap();
    }
}

#[test]
fn a_list_of_past_sessions_counts_those_that_have_no_room() {
    let engine = Engine::in_memory().unwrap();
    for number in 0..40 {
        let session = engine.session(format!("s{number}")).user("alice").open().unwrap();
        // A run that goes on and on leaves room for the sessions behind it.
        let words = (0..60).map(|_| Message::assistant("word ".repeat(40)));
        let messages = [Message::user("Hello")].into_iter().chain(words);
        session.record_run(messages, Metrics::default()).unwrap();
    }
    let session = engine.session("now").user("alice").open().unwrap();
    let told = told(&session, "search_past_sessions", &json!({"num_sessions": 30}));
    let shown = told["shown"].as_array().unwrap();
    assert!(shown.len() > 3, "{}", shown.len());
    assert_eq!(told["left_out_for_length"].as_u64().unwrap() + shown.len() as u64, 30);
    assert_eq!(shown[0]["begins"][0]["content"], "Hello");
}

#[test]
fn of_a_session_without_end_only_the_end_is_read() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("long").user("alice").open().unwrap();
    record_tool_turn(&session, "call_1");
    // The run under way alone is longer than what is looked through.
    let run = session.start_run().unwrap();
    let words = |number: usize| Message::user(format!("word {number}"));
    run.push_all((0..limits::TOOL_EVENTS_MAX + 10).map(words)).unwrap().wait().unwrap();
    let last = format!("word {}", limits::TOOL_EVENTS_MAX + 9);
    assert_eq!(told(&session, "get_tool_call_history", &json!({"num_calls": 100})), json!([]));
    let other = engine.session("now").user("alice").open().unwrap();
    for runs in
        [json!({"session_id": "long"}), json!({"session_id": "long", "num_runs": 1_000_000})]
    {
        let told = told(&other, "read_past_session", &runs);
        let shown = told["shown"].as_array().unwrap();
        assert_eq!(shown.last().unwrap()["content"], last);
        assert!(shown.len() > 100 && told["older_left_out_for_length"] == true);
    }
    assert_eq!(told(&session, "get_chat_history", &json!({"num_chats": 2}))[1]["content"], last);
}

proptest! {
    /// Whatever it is called with, another user's words and ids do not come out.
    #[test]
    fn no_call_tells_anything_of_another_users(
        name in proptest::sample::select(vec![
            "get_chat_history", "get_tool_call_history", "search_past_sessions",
            "read_past_session",
        ]),
        word in proptest::sample::select(vec!["b1", "n1", "secret", "bob", "nobody", "*", "%", ""]),
        count in 0_usize..1_000_000,
    ) {
        let session = engine().session("a1").user("alice").open().unwrap();
        for arguments in [
            json!({"query": word, "num_sessions": count}),
            json!({"session_id": word, "num_runs": count}),
            json!({"num_chats": count}),
            json!({"num_calls": count}),
            json!({}),
        ] {
            let answer = execute(&session, name, &arguments);
            let content = answer.content.replace(&format!("{word:?}"), "");
            prop_assert!(!content.contains("secret-b1") && !content.contains("secret-n1"));
            prop_assert!(!content.contains("bob") && !content.contains("nobody"));
        }
    }
}
