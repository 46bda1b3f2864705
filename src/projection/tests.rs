//! Folds of random events.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Projection, SessionView};
use crate::event::{
    Created, Custom, Event, EventBody, MessageAdded, MetadataChanged, OwnerChanged, Renamed,
    RunFinished, RunPaused, RunResumed, RunStarted, RunStatus, StateChanged, StateOp,
    SummaryWithdrawn, SummaryWritten, Touch,
};
use crate::id::{Digest, EventId};
use crate::json::Json;
use crate::message::{Message, Metrics};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), any::<i8>().prop_map(|n| json!(n)), Just(json!([1]))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| json!(map))
    })
}

fn op() -> impl Strategy<Value = StateOp> {
    let path = || prop::collection::vec("[a-c]", 1..4);
    prop_oneof![
        (path(), value()).prop_map(|(path, value)| StateOp::Set { path, value: value.into() }),
        path().prop_map(|path| StateOp::Remove { path }),
        (path(), value()).prop_map(|(path, value)| StateOp::Merge { path, value: value.into() }),
        prop::collection::btree_map("[a-c]", value(), 0..3)
            .prop_map(|map| StateOp::Merge { path: Vec::new(), value: json!(map).into() }),
    ]
}

/// What two writers may do. In a run of its own each, or in the same.
fn body() -> impl Strategy<Value = (EventBody, Option<&'static str>)> {
    let ops = || prop::collection::vec(op(), 1..3);
    let outside = |body: EventBody| (body, None);
    let run = || prop::sample::select(&["r1", "r2"][..]);
    let status = prop::sample::select(&[RunStatus::Completed, RunStatus::Error][..]);
    prop_oneof![
        3 => ops().prop_map(move |ops| outside(StateChanged { ops }.into())),
        2 => ops().prop_map(move |ops| outside(MetadataChanged { ops }.into())),
        1 => prop::option::of("[a-c]").prop_map(move |name| {
            outside(Renamed { name, is_generated: false }.into())
        }),
        1 => prop::option::of("[a-c]").prop_map(move |user_id| {
            outside(OwnerChanged { user_id }.into())
        }),
        1 => "[a-c]".prop_map(move |summary| {
            let (topics, first_seq, last_seq, model) = (Vec::new(), 1, 2, None);
            outside(SummaryWritten { summary, topics, first_seq, last_seq, model, metrics: None }.into())
        }),
        1 => (1_u64..4).prop_map(move |seq| outside(SummaryWithdrawn { seq }.into())),
        1 => "[a-b]".prop_map(move |kind| {
            outside(Custom { kind, data: Json::from(json!(1)) }.into())
        }),
        2 => run().prop_map(|run| {
            (MessageAdded { message: Message::user(run) }.into(), Some(run))
        }),
        1 => run().prop_map(|run| (RunPaused { reason: None }.into(), Some(run))),
        1 => run().prop_map(|run| {
            (RunResumed { run_id: run.to_owned(), counted: None }.into(), Some(run))
        }),
        2 => (run(), status, any::<u8>()).prop_map(|(run, status, tokens)| {
            let metrics = Some(Metrics::tokens(tokens.into(), 0));
            (RunFinished { status, metrics, reason: None }.into(), Some(run))
        }),
    ]
}

fn event(seq: u64, (body, run): (EventBody, Option<&str>)) -> Event {
    let run = run.map_or(Digest::NONE, Digest::of_run);
    Event {
        seq,
        position: seq,
        id: EventId::derive(&[&seq.to_le_bytes()]),
        recorded_at_us: 0,
        run,
        actor: Digest::NONE,
        commit_index: 0,
        commit_len: 1,
        body,
    }
}

fn fold(bodies: &[(EventBody, Option<&str>)]) -> SessionView {
    let start = |run_id: &'static str| {
        let started = RunStarted { run_id: run_id.to_owned(), ..RunStarted::default() };
        (EventBody::from(started), Some(run_id))
    };
    let beginning = [(Created::default().into(), None), start("r1"), start("r2")];
    let mut view = SessionView::default();
    for (seq, body) in (1..).zip(beginning.into_iter().chain(bodies.iter().cloned())) {
        view.apply(&event(seq, body));
    }
    // Where an event came is not what it said.
    for summary in &mut view.summaries {
        summary.seq = 0;
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events_that_do_not_meet_commute(
        before in prop::collection::vec(body(), 0..6),
        first in body(),
        second in body(),
    ) {
        let run = |run: Option<&str>| run.map_or(Digest::NONE, Digest::of_run);
        let (a, b) = (Touch::of(&first.0, run(first.1)), Touch::of(&second.0, run(second.1)));
        prop_assert_eq!(a.meets(&b), b.meets(&a));
        if !a.meets(&b) {
            let one = [before.as_slice(), &[first.clone(), second.clone()]].concat();
            let other = [before.as_slice(), &[second, first]].concat();
            prop_assert_eq!(fold(&one), fold(&other));
        }
    }
}
