//! What a model call was given, looked up later.

use sessionlog::{
    ContextChange, ContextMemory, ContextRecorded, Engine, ErrorKind, EventBody, Instructions,
    Message, Metrics, NewEvent, Point, Policy, SeqSpan, Session,
};

use crate::support::record_turn;
use crate::support::shapes::assert_sound;

fn session() -> (Engine, Session) {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    (engine, session)
}

/// A run of one call, whose context is recorded.
fn recorded_turn(session: &Session, question: &str) -> u64 {
    let run = session.start_run().unwrap();
    run.push(Message::user(question)).unwrap();
    let context = run.context().instructions("Be brief.").build().unwrap();
    let seq = context.record(&run).unwrap().wait().unwrap().last_seq;
    run.push(Message::assistant("Yes.")).unwrap();
    run.complete(Metrics::tokens(5, 1)).unwrap().wait().unwrap();
    seq
}

#[test]
fn what_every_call_of_a_run_saw_is_told_later() {
    let (engine, session) = session();
    recorded_turn(&session, "first");
    let run = session.start_run().unwrap();
    run.push(Message::user("second")).unwrap();
    let mut sent = Vec::new();
    for number in 0..3 {
        let context = run.context().build().unwrap();
        context.record(&run).unwrap();
        sent.push(context.openai());
        run.push(Message::assistant(format!("step {number}"))).unwrap();
    }
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    for number in 0..20 {
        record_turn(&session, &format!("later {number}"), "a");
    }
    session.rename("Something else").unwrap();
    let calls = session.recorded_contexts_of(Point::run(2)).unwrap();
    let seen: Vec<_> = calls.iter().map(|call| call.rebuild_with(&[]).unwrap()).collect();
    assert!(seen.iter().all(sessionlog::RebuiltContext::is_exact));
    assert_eq!(seen.iter().map(sessionlog::RebuiltContext::openai).collect::<Vec<_>>(), sent);
    assert_eq!(session.recorded_contexts().unwrap().len(), 4);
    assert_eq!(session.recorded_contexts_of(Point::run(3)).unwrap().len(), 0);
    let missing = session.recorded_contexts_of(Point::run(99)).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::NotFound { .. }), "{missing}");
    assert!(session.recorded_contexts_of(Point::Head).is_err());
    assert!(session.recorded_context(1).is_err());
    assert!(session.recorded_context(u64::MAX).is_err());

    // A fork has seen what it shares.
    let fork = session.fork(Point::run(4)).id("fork").open().unwrap();
    let call = fork.recorded_contexts_of(Point::run(2)).unwrap().pop().unwrap();
    assert_eq!(call.rebuild_with(&[]).unwrap().openai(), sent[2]);
    assert_sound(&engine);
}

#[test]
fn what_a_rewind_left_behind_is_told_by_its_run_and_not_among_what_counts() {
    let (engine, session) = session();
    let first = recorded_turn(&session, "first");
    let second = recorded_turn(&session, "second");
    let behind = session.at(Point::Head).unwrap().runs().unwrap()[1].started.run_id.clone();
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    let third = recorded_turn(&session, "third");
    let seqs = |calls: Vec<sessionlog::RecordedContext>| -> Vec<u64> {
        calls.iter().map(sessionlog::RecordedContext::seq).collect()
    };
    assert_eq!(seqs(session.recorded_contexts().unwrap()), [first, third]);
    // The number is that of the run that counts, the id is that of one run for ever.
    assert_eq!(seqs(session.recorded_contexts_of(Point::run(2)).unwrap()), [third]);
    let calls = session.recorded_contexts_of(Point::run_id(&behind)).unwrap();
    assert!(calls[0].rebuild_with(&[]).unwrap().is_exact());
    assert_eq!(seqs(calls), [second]);
    assert_eq!(session.recorded_context(second).unwrap().seq(), second);

    // Of a run that the rewind cut in two, the calls behind the cut do not count.
    let run = session.start_run().unwrap();
    run.push(Message::user("fourth")).unwrap();
    let call = || run.context().build().unwrap().record(&run).unwrap().wait().unwrap().last_seq;
    let (kept, cut) = (call(), call());
    let id = run.id().to_owned();
    session.rewind(Point::seq(kept)).unwrap().wait().unwrap();
    assert_eq!(seqs(session.recorded_contexts().unwrap()), [first, third, kept]);
    assert_eq!(seqs(session.recorded_contexts_of(Point::run_id(id)).unwrap()), [kept, cut]);
    assert_sound(&engine);
}

#[test]
fn instructions_are_stored_once() {
    let (_engine, session) = session();
    let text = recorded_turn(&session, "first");
    for question in ["second", "third"] {
        let seq = recorded_turn(&session, question);
        let recorded = session.recorded_context(seq).unwrap();
        let Some(Instructions::Earlier { seq: earlier, .. }) = &recorded.manifest().instructions
        else {
            panic!("the text is stored again");
        };
        assert_eq!(*earlier, text);
        let rebuilt = recorded.rebuild_with(&[]).unwrap();
        assert!(rebuilt.is_exact());
        assert_eq!(rebuilt.messages()[0].content.text(), "Be brief.");
    }
}

#[test]
fn an_erased_message_is_told_and_its_digest_goes() {
    let (engine, session) = session();
    let first = recorded_turn(&session, "secret");
    let second = recorded_turn(&session, "harmless");
    let untouched = {
        let run = session.start_run().unwrap();
        run.push(Message::user("alone")).unwrap();
        let context = run.context().add_history_to_context(false).build().unwrap();
        let seq = context.record(&run).unwrap().wait().unwrap().last_seq;
        run.complete(Metrics::default()).unwrap();
        seq
    };
    let erased = session.recorded_context(first).unwrap().manifest().run_seqs[0].first;
    session.erase_message(erased, Some("asked")).unwrap();
    for seq in [first, second] {
        let recorded = session.recorded_context(seq).unwrap();
        assert_eq!(recorded.manifest().prompt_digest, None);
        let rebuilt = recorded.rebuild_with(&[]).unwrap();
        assert!(!rebuilt.is_exact());
        let reduced = ContextChange::Reduced { seqs: vec![erased] };
        assert_eq!(rebuilt.changes(), [reduced, ContextChange::DigestGone]);
        assert!(!format!("{:?}", rebuilt.openai()).contains("secret"));
    }
    let rebuilt = session.recorded_context(untouched).unwrap().rebuild_with(&[]).unwrap();
    assert!(rebuilt.is_exact());
    assert_sound(&engine);
    // With the run goes its manifest, and what it alone held of the others.
    let run = session.at(Point::Head).unwrap().runs().unwrap()[0].started.run_id.clone();
    session.erase_run(&run, Some("asked")).unwrap();
    let rebuilt = session.recorded_context(second).unwrap().rebuild_with(&[]).unwrap();
    let missing = ContextChange::MissingInstructions { seq: first };
    assert!(rebuilt.changes().contains(&missing), "{:?}", rebuilt.changes());
    assert_sound(&engine);
}

/// What is erased while a model is asked is not to be guessed by the digest of what it was given.
#[test]
fn a_context_is_not_recorded_once_something_in_it_was_erased() {
    let (engine, session) = session();
    let run = session.start_run().unwrap();
    let secret = run.push(Message::user("secret")).unwrap().wait().unwrap().last_seq;
    let context = run.context().build().unwrap();
    // What does not meet it does not hinder it.
    session.rename("a name").unwrap().wait().unwrap();
    run.push(Message::assistant("Noted.")).unwrap().wait().unwrap();
    context.record(&run).unwrap().wait().unwrap();
    session.erase_message(secret, Some("asked")).unwrap();
    let before = session.seq().unwrap();
    let error = context.record(&run).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
    assert_eq!(session.seq().unwrap(), before);
    run.context().build().unwrap().record(&run).unwrap().wait().unwrap();
    let digests = session.recorded_contexts().unwrap();
    let digests: Vec<bool> =
        digests.iter().map(|recorded| recorded.manifest().prompt_digest.is_some()).collect();
    assert_eq!(digests, [false, true]);
    assert_sound(&engine);
}

#[test]
fn a_compacted_message_is_told() {
    let (engine, session) = session();
    crate::support::record_tool_turn(&session, "c1");
    let seq = recorded_turn(&session, "and now?");
    let recorded = session.recorded_context(seq).unwrap();
    assert!(recorded.rebuild_with(&[]).unwrap().is_exact());
    session.compaction().policy(Policy::new().store_tool_messages(false)).run().unwrap();
    let rebuilt = recorded.rebuild_with(&[]).unwrap();
    let [ContextChange::Reduced { seqs }] = rebuilt.changes() else {
        panic!("{:?}", rebuilt.changes());
    };
    assert_eq!(seqs.len(), 2);
    assert_sound(&engine);
}

#[test]
fn memories_that_are_not_at_hand_are_told() {
    let (_engine, session) = session();
    let memory = ContextMemory { memory_id: "m".into(), seq: 3, memory: "Likes tea.".into() };
    let context = session.context().memories([memory.clone()]).build().unwrap();
    let run = session.start_run().unwrap();
    let seq = context.record(&run).unwrap().wait().unwrap().last_seq;
    let recorded = session.recorded_context(seq).unwrap();
    let without = recorded.rebuild_with(&[]).unwrap();
    let missing = ContextChange::MissingMemories { memory_ids: vec!["m".into()] };
    assert_eq!((without.is_exact(), without.changes()), (false, &[missing][..]));
    let newer = ContextMemory { seq: 4, ..memory.clone() };
    assert!(!recorded.rebuild_with(&[newer]).unwrap().is_exact());
    assert!(recorded.rebuild_with(&[memory]).unwrap().is_exact());
}

#[test]
fn a_manifest_that_says_nonsense_is_refused_or_told() {
    let (_engine, session) = session();
    record_turn(&session, "q", "a");
    let append = |manifest: ContextRecorded| {
        session.append([NewEvent::new(manifest)]).and_then(sessionlog::Ticket::wait)
    };
    let span = |first, last| vec![SeqSpan { first, last }];
    for (first, last) in [(0, 1), (5, 4), (1, u64::MAX)] {
        let manifest = ContextRecorded { run_seqs: span(first, last), ..Default::default() };
        assert!(append(manifest).is_err(), "{first} to {last}");
    }
    let beyond = ContextRecorded { history_seqs: span(1_000, 1_003), ..Default::default() };
    let seq = append(beyond).unwrap().last_seq;
    let rebuilt = session.recorded_context(seq).unwrap().rebuild_with(&[]).unwrap();
    assert!(
        rebuilt.changes().contains(&ContextChange::Gone { seqs: vec![1_000, 1_001, 1_002, 1_003] })
    );
    // The first event is no message.
    let seq =
        append(ContextRecorded { run_seqs: span(1, 1), ..Default::default() }).unwrap().last_seq;
    let error = session.recorded_context(seq).unwrap().rebuild_with(&[]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    let lies = ContextRecorded {
        prompt_digest: Some([1; 32]),
        rules: ContextRecorded::RULES,
        ..Default::default()
    };
    let seq = append(lies).unwrap().last_seq;
    let rebuilt = session.recorded_context(seq).unwrap().rebuild_with(&[]).unwrap();
    assert_eq!(rebuilt.changes(), [ContextChange::Unexplained]);
    assert!(
        matches!(EventBody::from(ContextRecorded::default()).to_json().to_value(), v if v["rules"] == 0)
    );
}
