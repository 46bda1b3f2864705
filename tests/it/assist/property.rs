//! Whatever happens to a session: its summaries hold every word that counts, once.

use std::sync::Arc;

use proptest::prelude::*;
use sessionlog::limits::SUMMARY_OPEN_RUN_WAITS;
use sessionlog::{Digest, Engine, Message, Metrics, Point, RunStatus, RunView, Session};

use crate::support::scripted::{Scripted, answer, summary};

/// What happens to a session, in turns.
#[derive(Debug, Clone, Copy)]
enum Op {
    Turn,
    Start,
    Say(u8),
    Pause(u8),
    Complete(u8),
    Cancel(u8),
    Back(u8),
    Summarize,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Turn),
        2 => Just(Op::Start),
        3 => any::<u8>().prop_map(Op::Say),
        1 => any::<u8>().prop_map(Op::Pause),
        2 => any::<u8>().prop_map(Op::Complete),
        1 => any::<u8>().prop_map(Op::Cancel),
        1 => any::<u8>().prop_map(Op::Back),
        3 => Just(Op::Summarize),
    ]
}

/// Answers with all that it is shown, line by line, behind the summary before.
fn collecting() -> Arc<Scripted> {
    Scripted::new(|_, request, _| {
        let asked = request.messages.last().unwrap().content.text();
        let before = asked.strip_prefix("<previous_summary>\n");
        let before = before.and_then(|behind| Some(behind.split_once("\n</previous")?.0));
        let said = asked.split_once("<conversation>").unwrap().1;
        let lines = said.lines().filter_map(|line| line.strip_prefix("User: "));
        let all: Vec<&str> = before.into_iter().chain(lines).collect();
        Ok(answer(&summary(&all.join(" "))))
    })
}

/// What the user said in a stretch of the session as it is, by the list of its runs.
fn said_between(session: &Session, first_seq: u64, last_seq: u64) -> Vec<String> {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let shown = runs.iter().filter(|run| run.status != RunStatus::Cancelled);
    let mut said: Vec<_> = shown.flat_map(|run| run.messages.clone()).collect();
    said.retain(|(seq, _)| (first_seq..=last_seq).contains(seq));
    said.sort_by_key(|(seq, _)| *seq);
    said.into_iter().map(|(_, message)| message.content.text()).collect()
}

/// The first seq from one on of a run that is under way and was not dropped: so many later ones
/// have come to their ends since anything was heard of it.
fn first_open(session: &Session, first: u64) -> Option<u64> {
    let events: Vec<_> = session.events(Point::Head).unwrap().map(Result::unwrap).collect();
    let span = |run: &RunView| {
        let run = Digest::of_run(&run.started.run_id);
        // One that was paused, or taken for dropped, goes on behind the last summary.
        let own = events.iter().filter(|event| event.seq >= first && event.run == run);
        let seqs: Vec<u64> = own.map(|event| event.seq).collect();
        Some((*seqs.first()?, *seqs.last()?))
    };
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let (open, ended): (Vec<_>, Vec<_>) =
        runs.iter().partition(|run| run.status == RunStatus::Running);
    let ended: Vec<_> = ended.into_iter().filter_map(span).collect();
    let is_dropped = |last: u64| {
        ended.iter().filter(|(first, _)| *first > last).count() >= SUMMARY_OPEN_RUN_WAITS
    };
    let open = open.into_iter().filter_map(span);
    open.filter(|(_, last)| !is_dropped(*last)).map(|(first, _)| first).min()
}

fn check_one_more(session: &Session) {
    let before = session.summary().unwrap();
    let head = session.seq().unwrap();
    let first = before.as_ref().map_or(1, |summary| summary.last_seq + 1);
    let last = first_open(session, first).map_or(head, |seq| seq - 1);
    let new = said_between(session, first, last);
    let written = session.summarizer(collecting()).piece_bytes(60).min_runs(0).run().unwrap();
    let Some(written) = written else { return assert_eq!(new, Vec::<String>::new()) };
    assert_eq!(written.last_seq, last);
    let before = before.map(|summary| summary.summary);
    let wanted: Vec<String> = before.into_iter().chain(new).collect();
    assert_eq!(written.summary, wanted.join(" "));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_word_is_shown_once_and_none_of_what_does_not_count(
        ops in prop::collection::vec(op(), 1..40)
    ) {
        let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
        let mut open: Vec<String> = Vec::new();
        let mut paused: Vec<String> = Vec::new();
        let pick = |list: &[String], at: u8| list.get(usize::from(at) % list.len().max(1)).cloned();
        for (step, op) in ops.into_iter().enumerate() {
            let words = Message::user(format!("w{step}"));
            match op {
                Op::Turn => drop(session.record_run([words], Metrics::default()).unwrap().wait()),
                Op::Start => {
                    let run = session.start_run().unwrap();
                    run.push(words).unwrap().wait().unwrap();
                    open.push(run.id().to_owned());
                }
                Op::Say(at) => if let Some(id) = pick(&open, at) {
                    session.existing_run(id).push(words).unwrap().wait().unwrap();
                } else if let Some(id) = pick(&paused, at) {
                    session.existing_run(&*id).resume().unwrap().wait().unwrap();
                    paused.retain(|known| *known != id);
                    session.existing_run(&*id).push(words).unwrap().wait().unwrap();
                    session.existing_run(&*id).complete(Metrics::default()).unwrap().wait().unwrap();
                },
                Op::Pause(at) => if let Some(id) = pick(&open, at) {
                    session.existing_run(&*id).pause("wait").unwrap().wait().unwrap();
                    open.retain(|known| *known != id);
                    paused.push(id);
                },
                Op::Complete(at) | Op::Cancel(at) => if let Some(id) = pick(&open, at) {
                    open.retain(|known| *known != id);
                    let run = session.existing_run(id);
                    let ended = if matches!(op, Op::Cancel(_)) {
                        run.cancel("asked", Metrics::default())
                    } else {
                        run.complete(Metrics::default())
                    };
                    ended.unwrap().wait().unwrap();
                },
                Op::Back(at) => {
                    let head = session.seq().unwrap();
                    session.rewind(Point::seq(1 + u64::from(at) % head)).unwrap().wait().unwrap();
                    // What was under way there is interrupted; what is paused stays so.
                    let runs = session.at(Point::Head).unwrap().runs().unwrap();
                    let with = |status| runs.iter().filter(move |run| run.status == status)
                        .map(|run| run.started.run_id.clone()).collect::<Vec<_>>();
                    (open, paused) = (with(RunStatus::Running), with(RunStatus::Paused));
                }
                Op::Summarize => check_one_more(&session),
            }
        }
        check_one_more(&session);
    }
}
