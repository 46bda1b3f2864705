//! Agno's sessions in and out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::SessionType;
use crate::{Message, Metrics, Point, RunStatus, RunView, StatePatch};

pub(super) const AGNO: &str = include_str!("../../../tests/fixtures/agno.json");
pub(super) const AGNO_ROWS: &str = include_str!("../../../tests/fixtures/agno-rows.jsonl");

fn run_views(engine: &Engine, session_id: &str) -> Vec<RunView> {
    session(engine, session_id).at(Point::Head).unwrap().runs().unwrap()
}

fn messages(run: &RunView) -> Vec<Value> {
    run.messages.iter().map(|(_, message)| message.to_json().to_value()).collect()
}

/// The record of a session without what every import makes anew.
fn timeless(mut record: Value) -> Value {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["updated_at", "first_seq", "last_seq"] {
                    members.remove(name);
                }
                members.values_mut().for_each(visit);
            }
            Value::Array(elements) => elements.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut record);
    record
}

fn document(engine: &Engine, session_id: &str) -> Value {
    exported(engine, session_id, Format::Agno).remove(0)
}

#[test]
fn an_agno_session_is_kept_with_all_it_says() {
    let engine = engine();
    let report = import(&engine, "any", AGNO);
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.sessions, report.recorded.runs), (1, 3));
    assert_eq!((report.recorded, report.found.messages), (report.found, 12));
    let view = session(&engine, "garden-team").view().unwrap();
    assert_eq!(
        (view.session_type, view.team_id.as_deref()),
        (SessionType::Team, Some("gardeners"))
    );
    assert_eq!(
        (view.user_id.as_deref(), view.name.as_deref()),
        (Some("noor"), Some("When to water"))
    );
    assert_eq!(Value::from(view.state.clone()), json!({"beds": {"north": "dry"}, "n": 2}));
    assert_eq!(view.metadata["season"], "spring");
    assert_eq!(view.component_data.as_ref().unwrap().to_value()["name"], "Gardeners");
    let summary = view.summary().unwrap();
    assert_eq!(
        (summary.summary.as_str(), &summary.topics[..]),
        ("The north bed is dry.", &["water".to_owned()][..])
    );
    // The cancelled run and the member's count, the paused one not yet.
    assert_eq!((view.metrics.input_tokens, view.metrics.total_tokens), (33, 44));
}

#[test]
fn agnos_runs_keep_their_ids_statuses_metrics_messages_and_tools() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let runs = run_views(&engine, "garden-team");
    let facts: Vec<_> = runs
        .iter()
        .map(|run| (run.started.run_id.as_str(), run.started.parent_run_id.as_deref(), run.status))
        .collect();
    assert_eq!(
        facts,
        [
            ("run-1", None, RunStatus::Completed),
            ("run-1-member", Some("run-1"), RunStatus::Completed),
            ("run-2", None, RunStatus::Cancelled),
            ("run-3", None, RunStatus::Paused),
            ("run-1-nested", Some("run-1"), RunStatus::Completed),
        ]
    );
    let source = json(AGNO);
    for (run, at) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
        assert_eq!(Value::from(messages(&runs[run])), source["runs"][at]["messages"]);
    }
    assert_eq!(runs[2].reason.as_deref(), Some("user left"));
    assert!(runs[2].messages[0].1.from_history && !runs[2].messages[1].1.from_history);
    assert_eq!(runs[0].tools[0].duration_us, Some(250_000));
    assert_eq!(runs[0].tools[0].child_run_id.as_deref(), Some("run-1-member"));
    assert_eq!(runs[3].tools, [], "what waits for a confirmation has not run");
    assert_eq!(runs[0].metrics.unwrap().duration, Some(0.25));
    assert_eq!(
        runs[0].started.input.as_ref().unwrap().to_value()["input_content"],
        "What needs water?"
    );
    // Paused, cancelled and members' runs are no history, and no copy of it is either.
    let window = session(&engine, "garden-team").window().all_runs().messages().unwrap();
    assert_eq!(window.len(), 5);
}

#[test]
fn an_agno_session_goes_out_as_agno_has_it() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let (out, source) = (document(&engine, "garden-team"), json(AGNO));
    for name in
        ["session_id", "session_type", "team_id", "user_id", "metadata", "team_data", "created_at"]
    {
        assert_eq!(out[name], source[name], "{name}");
    }
    for name in ["session_name", "session_state", "forked_from_session_id"] {
        assert_eq!(out["session_data"][name], source["session_data"][name], "{name}");
    }
    let (run, theirs) = (&out["runs"][0], &source["runs"][0]);
    for (name, value) in theirs.as_object().unwrap() {
        if !["member_responses", "tools"].contains(&name.as_str()) {
            assert_eq!(&run[name], value, "{name}");
        }
    }
    assert_eq!(out["runs"][3]["metrics"], json!({"input_tokens": 7}));
}

#[test]
fn members_and_copies_are_no_part_of_a_prompt_for_anthropic() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let out = exported(&engine, "garden-team", Format::Anthropic).remove(0).to_string();
    assert!(!out.contains("Probe the north bed."), "{out}");
    assert_eq!(out.matches("What needs water?").count(), 1, "{out}");
}

#[test]
fn what_goes_out_as_agno_comes_in_the_same() {
    let one = engine();
    import(&one, "any", AGNO);
    let out = document(&one, "garden-team");
    let two = engine();
    assert_eq!(import(&two, "any", &out.to_string()).skipped, []);
    assert_eq!(timeless(document(&two, "garden-team")), timeless(out.clone()));
    // And there is nothing in it that the first one has not.
    assert_eq!(import(&one, "any", &out.to_string()).unchanged, 1);
    assert_eq!(import(&one, "any", AGNO).unchanged, 1);
}

#[test]
fn rows_of_sessions_and_runs_come_together() {
    let engine = engine();
    let report = import(&engine, "rows", AGNO_ROWS);
    let reason = "run_data: a run of another user than its session";
    assert_eq!(reasons(&report), [(Some(4), reason)]);
    let view = session(&engine, "s-rows").view().unwrap();
    assert_eq!((view.name.as_deref(), view.state["n"].as_i64()), (Some("Letters"), Some(1)));
    assert_eq!((view.agent_id.as_deref(), view.user_id.as_deref()), (Some("helper"), Some("ada")));
    let runs = run_views(&engine, "s-rows");
    let ids: Vec<_> = runs.iter().map(|run| run.started.run_id.as_str()).collect();
    assert_eq!(ids, ["r1", "r2"]);
    assert_eq!(messages(&runs[0])[1]["content"], "A");
    let alone = session(&engine, "s-alone").view().unwrap();
    assert_eq!((alone.session_type, alone.user_id.as_deref()), (SessionType::Team, Some("ada")));
    assert_eq!(run_views(&engine, "s-alone")[0].status, RunStatus::Error);
    assert_eq!(import(&engine, "rows", AGNO_ROWS).unchanged, 2);
}

#[test]
fn an_agno_session_that_has_grown_adds_what_is_new() {
    let engine = engine();
    let mut grown = json(AGNO);
    import(&engine, "any", AGNO);
    let before = events(&engine, "garden-team");
    let paused = &mut grown["runs"][3];
    paused["status"] = json!("COMPLETED");
    paused["metrics"] = json!({"input_tokens": 9, "total_tokens": 9});
    paused["tools"][0]["result"] = json!("done");
    let more = json!({"role": "tool", "tool_call_id": "call_2", "content": "done"});
    paused["messages"].as_array_mut().unwrap().push(more);
    let next = json!({"run_id": "run-4", "team_id": "gardeners", "status": "RUNNING", "messages": [{"role": "user", "content": "Thanks"}]});
    grown["runs"].as_array_mut().unwrap().push(next);
    grown["runs"][2]["status"] = json!("REGENERATED");
    grown["session_data"]["session_state"] = json!({"beds": {"north": "wet"}});
    grown["session_data"]["session_name"] = json!("Watered");
    grown["summary"]["summary"] = json!("All is wet.");
    let report = import(&engine, "any", &grown.to_string());
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.messages, report.recorded.runs), (2, 1));
    let runs = run_views(&engine, "garden-team");
    assert_eq!((runs[3].status, runs[3].tools.len()), (RunStatus::Completed, 1));
    assert_eq!(runs[2].status, RunStatus::Regenerated);
    let view = session(&engine, "garden-team").view().unwrap();
    assert_eq!(Value::from(view.state.clone()), json!({"beds": {"north": "wet"}}));
    assert_eq!((view.name.as_deref(), view.metrics.input_tokens), (Some("Watered"), 42));
    assert_eq!(view.summary().unwrap().summary, "All is wet.");
    assert_eq!(view.open_runs.len(), 1);
    // Not the old file, nor the new one again, writes anything more.
    let after = events(&engine, "garden-team");
    assert!(after > before);
    assert_eq!(import(&engine, "any", &grown.to_string()).unchanged, 1);
    assert_eq!(events(&engine, "garden-team"), after);
    grown["runs"][4]["status"] = json!("COMPLETED");
    import(&engine, "any", &grown.to_string());
    assert_eq!(session(&engine, "garden-team").view().unwrap().open_runs.len(), 0);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn a_run_that_says_something_else_now_is_refused() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let mut other = json(AGNO);
    other["runs"][0]["messages"][1]["content"] = json!("Something else?");
    let report = import(&engine, "any", &other.to_string());
    let reason = "session garden-team: differs from what was recorded at message 2 of run run-1";
    assert_eq!(reasons(&report), [(None, reason)]);
}

#[test]
fn nothing_is_written_to_an_agno_session_of_another_user() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let before = events(&engine, "garden-team");
    let mut grown = json(AGNO);
    let next = json!({"run_id": "run-4", "messages": [{"role": "user", "content": "x"}]});
    grown["runs"].as_array_mut().unwrap().push(next);
    let reason = "session garden-team: belongs to another user";
    for user_id in [json!("mallory"), Value::Null] {
        grown["user_id"] = user_id;
        assert_eq!(reasons(&import(&engine, "any", &grown.to_string())), [(None, reason)]);
    }
    // Whose it is by the command line counts over the file, for what is there as for what is new.
    let options = ImportOptions { user_id: Some("mallory".into()), ..ImportOptions::default() };
    let report = import_text(&engine, "any", AGNO.as_bytes(), &options).unwrap();
    assert_eq!(reasons(&report), [(None, reason)]);
    assert_eq!(events(&engine, "garden-team"), before);
}

#[test]
fn what_the_session_got_by_itself_is_not_added_again() {
    let engine = engine();
    import(&engine, "any", AGNO);
    let own = session(&engine, "garden-team");
    let said = [Message::user("mine"), Message::assistant("own")];
    own.record_run(said, Metrics::tokens(1, 2)).unwrap().wait().unwrap();
    own.patch_state(StatePatch::new().set(["n"], json!(3))).unwrap().wait().unwrap();
    let out = document(&engine, "garden-team");
    assert_eq!(out["session_data"]["session_state"]["n"], 3);
    let messages = own.view().unwrap().message_count;
    let report = import(&engine, "any", &out.to_string());
    assert_eq!((report.skipped, report.recorded.messages), (vec![], 0));
    assert_eq!(own.view().unwrap().message_count, messages);
}

#[test]
fn broken_parts_of_agnos_records_are_named_with_their_place() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let records = [
        json!({"session_id": "a", "runs": 7}).to_string(),
        json!({"session_id": 7, "runs": []}).to_string(),
        json!({"session_id": "b", "session_data": "no", "metadata": [], "summary": 3, "runs": [
            1,
            {"run_id": "x", "messages": {}, "tools": "t", "metrics": "many", "status": 5},
            {"run_id": "x"},
            {"run_id": "bad\nid"},
            {"agent_id": null, "messages": [null, {"role": "user", "content": null}, {}],
             "tools": [3, {"tool_name": 4, "result": {"x": 1}, "metrics": {"duration": -1}}],
             "member_responses": [[], {"run_id": "y", "status": "SLEEPING"}]},
        ]})
        .to_string(),
        format!(r#"{{"session_id":"c","runs":[{{"run_id":"z","content":{deep}}}]}}"#),
        format!(r#"{{"session_id":"d","metadata":{deep},"runs":[]}}"#),
        r#"{"session_id":"e","run_id":"z","run_data":3}"#.to_owned(),
        format!(
            r#"{{"session_id":"f","runs":[{{"run_id":"z","member_responses":[{{"x":{deep}}}]}}]}}"#
        ),
    ];
    let engine = engine();
    let report = import(&engine, "f", &records.join("\n"));
    let named: Vec<String> = reasons(&report)
        .into_iter()
        .map(|(line, reason)| format!("{}: {reason}", line.unwrap()))
        .collect();
    let expected = [
        "1: its runs are no list",
        "2: a record without a session_id",
        "3: runs[0]: a run is no object",
        "3: runs[1].messages: no list",
        "3: runs[1].tools: no list",
        "3: runs[2]: run x is there already",
        "3: runs[3]: run id \"bad\\nid\" holds a control character",
        "3: runs[4].messages[0]: not JSON: invalid type: null, expected a JSON object at line 1 column 4",
        "3: runs[4].messages[2]: a message without a role",
        "3: runs[4].tools[0]: not JSON: invalid type: integer `3`, expected a JSON object at line 1 column 1",
        "3: runs[4].member_responses[0]: a run is no object",
        "4: runs[0]: JSON nested deeper than 124",
        "5: JSON nested deeper than 124",
        "6: its run_data is no object",
        "7: runs[0]: JSON nested deeper than 128",
    ];
    assert_eq!(named, expected);
    let ids: Vec<_> = run_views(&engine, "b").into_iter().map(|run| run.started.run_id).collect();
    assert_eq!(ids, ["x", "b/2", "y"]);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn runs_in_runs_to_any_depth_are_refused_or_read() {
    let nest = |depth: usize| {
        let open = (0..depth).map(|at| format!(r#"{{"run_id":"r{at}","member_responses":["#));
        let runs = open.collect::<String>() + &"]}".repeat(depth);
        format!(r#"{{"session_id":"s","runs":[{runs}]}}"#)
    };
    let engine = engine();
    assert_eq!(import(&engine, "f", &nest(50)).recorded.runs, 1);
    assert_eq!(run_views(&engine, "s").len(), 50);
    assert_eq!(import(&super::engine(), "f", &nest(50_000)).skipped.len(), 1);
}

fn any_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "ü\n", "call_1", "{\"x\":1}"]).prop_map(String::from)
}

fn any_message() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(vec!["system", "user", "assistant", "tool"]);
    (role, prop::option::of(any_text()), any::<bool>(), 0_u8..4).prop_map(
        |(role, content, from_history, shape)| {
            let mut message =
                json!({"role": role, "content": content, "from_history": from_history});
            let calls = json!([{"id": "call_1", "type": "function",
                "function": {"name": "f", "arguments": "{}"}}, {"id": 3}]);
            let (name, value) = match shape {
                0 => ("tool_calls", calls),
                1 => ("tool_call_id", json!("call_1")),
                2 => ("metrics", json!({"input_tokens": 1, "odd": []})),
                _ => ("provider_data", json!({"x": [null]})),
            };
            message[name] = value;
            message
        },
    )
}

fn any_run() -> impl Strategy<Value = Value> {
    let status = prop::sample::select(vec![
        "PENDING",
        "RUNNING",
        "COMPLETED",
        "PAUSED",
        "CANCELLED",
        "ERROR",
        "REGENERATED",
        "ODD",
    ]);
    let metrics = prop::option::of((0_u64..9, prop::option::of(0.0..9.0_f64)).prop_map(
        |(tokens, cost)| json!({"input_tokens": tokens, "cost": cost, "details": {"model": []}}),
    ));
    let tool = (any_text(), prop::option::of(any_text())).prop_map(
        |(name, result)| json!({"tool_call_id": "call_1", "tool_name": name, "result": result}),
    );
    let messages = prop::collection::vec(any_message(), 0..4);
    let tools = prop::collection::vec(tool, 0..3);
    (0_u8..6, 0_u8..6, status, metrics, messages, tools).prop_map(
        |(id, parent, status, metrics, messages, tools)| {
            json!({"run_id": format!("r{id}"), "agent_id": "a", "status": status, "content": "c",
                "parent_run_id": (parent < id).then(|| format!("r{parent}")), "created_at": 7,
                "metrics": metrics, "messages": messages, "tools": tools})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_agno_session_comes_in_the_same_again(
        runs in prop::collection::vec(any_run(), 0..6),
        (name, user, summary) in (any_text(), "[a-c]?", any_text()),
        state in prop::collection::btree_map("[a-c]", 0_u8..9, 0..3),
    ) {
        let text = json!({"session_id": "s", "session_type": "agent", "user_id": user, "runs": runs,
            "session_data": {"session_name": name, "session_state": state},
            "summary": {"summary": summary}}).to_string();
        let one = engine();
        import(&one, "f", &text);
        prop_assert_eq!(import(&one, "f", &text).unchanged, 1);
        let out = document(&one, "s");
        let two = engine();
        prop_assert_eq!(import(&two, "f", &out.to_string()).skipped, []);
        prop_assert_eq!(timeless(document(&two, "s")), timeless(out.clone()));
        let (one_view, two_view) =
            (session(&one, "s").view().unwrap(), session(&two, "s").view().unwrap());
        prop_assert_eq!(one_view.metrics, two_view.metrics);
        prop_assert_eq!(one_view.message_count, two_view.message_count);
        let tools = |engine| run_views(engine, "s").into_iter().map(|run| run.tools).collect::<Vec<_>>();
        prop_assert_eq!(tools(&one), tools(&two));
        prop_assert_eq!(import(&one, "f", &out.to_string()).recorded.messages, 0);
        prop_assert!(one.verify().unwrap().ok);
    }
    #[test]
    fn a_session_that_came_in_pieces_is_the_same_as_one_that_came_whole(
        runs in prop::collection::vec(any_run(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 6),
        count in any::<prop::sample::Index>(),
    ) {
        let session_of = |runs: &[Value]| {
            json!({"session_id": "s", "runs": runs}).to_string()
        };
        let mut cut = runs[..=count.index(runs.len())].to_vec();
        for (run, at) in cut.iter_mut().zip(&cuts) {
            let messages = run["messages"].as_array_mut().unwrap();
            messages.truncate(at.index(messages.len() + 1));
            (run["status"], run["tools"]) = (json!("RUNNING"), json!([]));
        }
        let (one, two) = (engine(), engine());
        import(&one, "f", &session_of(&cut));
        let report = import(&one, "f", &session_of(&runs));
        let reasons = reasons(&report).into_iter().map(|(_, reason)| reason.to_owned());
        prop_assert!(reasons.into_iter().all(|reason| reason.ends_with("is there already")));
        import(&two, "f", &session_of(&runs));
        let facts = |engine| {
            let fact = |run: RunView| {
                let counts = (messages(&run), run.tools.len());
                (run.started.run_id, run.status, run.metrics, counts)
            };
            run_views(engine, "s").into_iter().map(fact).collect::<Vec<_>>()
        };
        prop_assert_eq!(facts(&one), facts(&two));
        let spent = |engine| session(engine, "s").view().unwrap().metrics;
        prop_assert_eq!(spent(&one), spent(&two));
        prop_assert!(one.verify().unwrap().ok);
    }
}
