//! What can be done to a database. Numbers are taken modulo what there is, so that every list
//! of operations makes sense, and so does every shorter one.

use proptest::prelude::*;
use sessionlog::RunStatus;
use sessionlog::log::Fault;

use super::left::Keep;

/// How many sessions the operations are spread over.
pub(super) const SESSIONS: u8 = 5;

/// One operation. Whoever adds one adds a line to [`any_op`] and an arm to `World::run`.
#[derive(Debug, Clone)]
pub(super) enum Op {
    // ---- whole commits
    Customs { session: u8, events: u16, with_ids: bool },
    Turn { session: u8, messages: u8 },
    NamedTurn { session: u8, run: u8 },
    Burst { session: u8, appends: u8 },
    // ---- runs as they happen
    Start { session: u8, run: u8, is_member: bool },
    Say { session: u8, run: u8, said: u8 },
    Tool { session: u8, run: u8 },
    Pause { session: u8, run: u8 },
    Resume { session: u8, run: u8 },
    Finish { session: u8, run: u8, status: RunStatus, tokens: u8 },
    // ---- the session's own fields
    Rename { session: u8, is_generated: bool },
    Owner { session: u8, owner: u8 },
    State { session: u8, change: Change },
    Metadata { session: u8, change: Change },
    Summary { session: u8, from: u8 },
    Withdraw { session: u8, summary: u8 },
    Context { session: u8 },
    // ---- the past
    Fork { session: u8, at: u8 },
    Rewind { session: u8, to: u8 },
    // ---- what is kept
    Policy { session: u8, run: Option<u8>, keep: Keep },
    Compact { session: Option<u8>, keep: Keep },
    EraseMessage { session: u8, message: u8 },
    EraseRun { session: u8, run: u8 },
    Delete { session: u8 },
    // ---- what is refused, or stored already
    Stale { session: u8, offset: i8 },
    Retry { session: u8, event: u8 },
    BadRun { session: u8 },
    Intrude { session: u8 },
    // ---- reading
    Look { session: u8, at: u8 },
    List { owner: u8 },
    // ---- the end of a process, or of the power
    Reopen { fault: Option<Fault> },
    Crash { session: u8, in_flight: u8 },
    // ---- faults of the disk
    FailAppend(Fault),
    FillDisk { room: u16 },
    FailRead { session: u8, after: u8 },
}

/// A change of the state or the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Set { key: u8 },
    SetInside { key: u8, inner: u8 },
    Remove { key: u8 },
    Merge { key: u8, inner: u8 },
}

fn any_change() -> impl Strategy<Value = Change> {
    let key = 0_u8..3;
    prop_oneof![
        key.clone().prop_map(|key| Change::Set { key }),
        (key.clone(), 0_u8..3).prop_map(|(key, inner)| Change::SetInside { key, inner }),
        key.clone().prop_map(|key| Change::Remove { key }),
        (key, 0_u8..3).prop_map(|(key, inner)| Change::Merge { key, inner }),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Write), Just(Fault::Tear), Just(Fault::Sync)]
}

fn any_end() -> impl Strategy<Value = RunStatus> {
    prop_oneof![
        3 => Just(RunStatus::Completed),
        1 => Just(RunStatus::Cancelled),
        1 => Just(RunStatus::Error),
        1 => Just(RunStatus::Regenerated),
    ]
}

fn any_keep() -> impl Strategy<Value = Keep> {
    let says = || prop_oneof![2 => Just(None), 2 => Just(Some(false)), 1 => Just(Some(true))];
    let runs = prop::option::weighted(0.4, (1_u64..3, any::<bool>()));
    (says(), says(), runs).prop_map(|(tools, history, runs)| Keep { tools, history, runs })
}

/// Any operation that needs no fault.
pub(super) fn any_op() -> BoxedStrategy<Op> {
    let s = || 0..SESSIONS;
    let n = || any::<u8>();
    prop_oneof![
        4 => (s(), 1_u16..60, any::<bool>())
            .prop_map(|(session, events, with_ids)| Op::Customs { session, events, with_ids }),
        // Past a snapshot in one commit.
        1 => (s(), 250_u16..300)
            .prop_map(|(session, events)| Op::Customs { session, events, with_ids: false }),
        3 => (s(), 0_u8..12).prop_map(|(session, messages)| Op::Turn { session, messages }),
        2 => (s(), 0_u8..3).prop_map(|(session, run)| Op::NamedTurn { session, run }),
        1 => (s(), 2_u8..9).prop_map(|(session, appends)| Op::Burst { session, appends }),
        4 => (s(), 0_u8..6, prop::bool::weighted(0.2))
            .prop_map(|(session, run, is_member)| Op::Start { session, run, is_member }),
        6 => (s(), n(), n()).prop_map(|(session, run, said)| Op::Say { session, run, said }),
        2 => (s(), n()).prop_map(|(session, run)| Op::Tool { session, run }),
        2 => (s(), n()).prop_map(|(session, run)| Op::Pause { session, run }),
        2 => (s(), n()).prop_map(|(session, run)| Op::Resume { session, run }),
        3 => (s(), n(), any_end(), 0_u8..9).prop_map(|(session, run, status, tokens)| {
            Op::Finish { session, run, status, tokens }
        }),
        2 => (s(), prop::bool::weighted(0.3))
            .prop_map(|(session, is_generated)| Op::Rename { session, is_generated }),
        1 => (s(), 0_u8..3).prop_map(|(session, owner)| Op::Owner { session, owner }),
        3 => (s(), any_change()).prop_map(|(session, change)| Op::State { session, change }),
        1 => (s(), any_change()).prop_map(|(session, change)| Op::Metadata { session, change }),
        2 => (s(), prop_oneof![Just(0), n()])
            .prop_map(|(session, from)| Op::Summary { session, from }),
        1 => (s(), n()).prop_map(|(session, summary)| Op::Withdraw { session, summary }),
        1 => s().prop_map(|session| Op::Context { session }),
        2 => (s(), n()).prop_map(|(session, at)| Op::Fork { session, at }),
        3 => (s(), n()).prop_map(|(session, to)| Op::Rewind { session, to }),
        2 => (s(), prop::option::weighted(0.4, n()), any_keep())
            .prop_map(|(session, run, keep)| Op::Policy { session, run, keep }),
        2 => (prop::option::weighted(0.7, s()), any_keep())
            .prop_map(|(session, keep)| Op::Compact { session, keep }),
        2 => (s(), n()).prop_map(|(session, message)| Op::EraseMessage { session, message }),
        1 => (s(), n()).prop_map(|(session, run)| Op::EraseRun { session, run }),
        1 => s().prop_map(|session| Op::Delete { session }),
        2 => (s(), -2_i8..3).prop_map(|(session, offset)| Op::Stale { session, offset }),
        3 => (s(), n()).prop_map(|(session, event)| Op::Retry { session, event }),
        1 => s().prop_map(|session| Op::BadRun { session }),
        1 => s().prop_map(|session| Op::Intrude { session }),
        3 => (s(), n()).prop_map(|(session, at)| Op::Look { session, at }),
        1 => (0_u8..4).prop_map(|owner| Op::List { owner }),
        2 => Just(Op::Reopen { fault: None }),
    ]
    .boxed()
}

/// Conversations in a few sessions that share much, and what is done to what is kept of them.
pub(super) fn any_op_of_keeping() -> BoxedStrategy<Op> {
    let s = || 0_u8..4;
    let n = || any::<u8>();
    prop_oneof![
        6 => any_op(),
        4 => (s(), 1_u8..4).prop_map(|(session, messages)| Op::Turn { session, messages }),
        3 => (s(), 0_u8..4).prop_map(|(session, run)| {
            Op::Start { session, run, is_member: false }
        }),
        9 => (s(), n(), n()).prop_map(|(session, run, said)| Op::Say { session, run, said }),
        2 => (s(), n(), any_end())
            .prop_map(|(session, run, status)| Op::Finish { session, run, status, tokens: 1 }),
        4 => (s(), n()).prop_map(|(session, at)| Op::Fork { session, at }),
        2 => (s(), any::<bool>())
            .prop_map(|(session, is_generated)| Op::Rename { session, is_generated }),
        3 => (s(), n()).prop_map(|(session, from)| Op::Summary { session, from }),
        4 => (prop::option::weighted(0.7, s()), any_keep())
            .prop_map(|(session, keep)| Op::Compact { session, keep }),
        4 => (s(), n()).prop_map(|(session, message)| Op::EraseMessage { session, message }),
        2 => (s(), n()).prop_map(|(session, run)| Op::EraseRun { session, run }),
        1 => s().prop_map(|session| Op::Delete { session }),
    ]
    .boxed()
}

/// Any operation, on a disk that fails.
pub(super) fn any_op_or_fault() -> BoxedStrategy<Op> {
    let s = || 0..SESSIONS;
    prop_oneof![
        8 => any_op(),
        5 => any_op_of_keeping(),
        2 => any_fault().prop_map(Op::FailAppend),
        1 => (0_u16..20_000).prop_map(|room| Op::FillDisk { room }),
        1 => (s(), 0_u8..12).prop_map(|(session, after)| Op::FailRead { session, after }),
        1 => any_fault().prop_map(|fault| Op::Reopen { fault: Some(fault) }),
        2 => (s(), 0_u8..5).prop_map(|(session, in_flight)| Op::Crash { session, in_flight }),
    ]
    .boxed()
}
