//! What was said in a session, as a model is shown it: the words of user and assistant, without
//! instructions and tools.
//!
//! The rules are those of Agno's summaries, but for its defects: a message that only calls tools
//! says nothing, so it is not shown.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use crate::context::without_tags;
use crate::engine::{Session, SessionAt};
use crate::error::Result;
use crate::event::{Event, EventBody, RunStatus};
use crate::id::Digest;
use crate::limits::{SHOWN_MESSAGE_BYTES_MAX, SUMMARY_OPEN_RUN_WAITS};
use crate::message::{Content, Message, Part, Role};
use crate::replay::Point;

/// Between these stands what was said; nothing that was said can end it.
const BEGIN: &str = "<conversation>";
const END: &str = "</conversation>";

/// Kinds of media, in the order they are told, and what the types of parts or the names of members
/// have in them.
const MEDIA: [(&str, &str); 4] =
    [("image", "image"), ("audio", "audio"), ("video", "video"), ("file", "")];
/// Members of a message that hold lists of media.
const MEDIA_MEMBERS: [(&str, &str); 4] =
    [("images", "image"), ("audio", "audio"), ("videos", "video"), ("files", "file")];

/// One message as it is shown, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) seq: u64,
    pub(super) is_user: bool,
    /// What it says, in nobody's words but the speaker's.
    pub(super) text: String,
    /// `[Provided 1 image]` where media came with it, else nothing.
    media: String,
}

impl Shown {
    /// `None` where the message says nothing to anyone.
    fn new(seq: u64, message: &Message) -> Option<Self> {
        if message.from_history || message.omitted.message {
            return None;
        }
        let is_user = match &message.role {
            Role::User => true,
            Role::Assistant => false,
            Role::Other(label) if label == "model" => false,
            _ => return None,
        };
        let text = cut(message.content.text().trim(), SHOWN_MESSAGE_BYTES_MAX);
        let media = is_user.then(|| media_words(message)).flatten();
        let media = media.map(|media| format!("[Provided {media}]")).unwrap_or_default();
        let says_something = !text.is_empty() || !media.is_empty();
        says_something.then(|| Self { seq, is_user, text: without_tags(&text), media })
    }

    /// The same with no more than so many bytes of what it says.
    pub(super) fn shortened(self, bytes_max: usize) -> Self {
        Self { text: cut(&self.text, bytes_max), ..self }
    }

    /// Bytes of what it is shown to say.
    pub(super) fn said_bytes(&self) -> usize {
        self.text.len() + self.media.len()
    }

    /// Bytes of the line that shows it.
    pub(super) fn bytes(&self) -> usize {
        self.said_bytes() + "Assistant:  \n".len()
    }
}

/// The messages between the tags.
pub(super) fn render(messages: &[Shown]) -> String {
    let mut text = String::from(BEGIN);
    for message in messages {
        let speaker = if message.is_user { "User" } else { "Assistant" };
        let _ = write!(text, "\n{speaker}:");
        for said in [&message.text, &message.media] {
            if !said.is_empty() {
                let _ = write!(text, " {said}");
            }
        }
    }
    text.push('\n');
    text.push_str(END);
    text
}

/// The beginning and the end of a text that is too long to be shown.
fn cut(text: &str, bytes_max: usize) -> String {
    let Some(left_out @ 1..) = text.len().checked_sub(bytes_max) else { return text.to_owned() };
    let half = bytes_max / 2;
    let begin = (0..=half).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    let end = (text.len() - half..=text.len()).find_map(|at| text.get(at..)).unwrap_or_default();
    format!("{begin} [... {left_out} bytes left out ...] {end}")
}

/// `2 images, 1 file`, if there are any.
fn media_words(message: &Message) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    if let Content::Parts(parts) = &message.content {
        for part in parts.iter().filter(|part| part.text().is_none()) {
            if let Some(kind) = media_kind(part) {
                *counts.entry(kind).or_default() += 1;
            }
        }
    }
    for (member, kind) in MEDIA_MEMBERS {
        let value = message.extra(member).map(crate::json::Json::to_value);
        let count = value.and_then(|value| value.as_array().map(Vec::len)).unwrap_or(0);
        *counts.entry(kind).or_default() += count;
    }
    let words: Vec<String> = MEDIA
        .iter()
        .filter_map(|(kind, _)| Some((kind, *counts.get(kind).filter(|count| **count > 0)?)))
        .map(|(kind, count)| format!("{count} {kind}{}", if count == 1 { "" } else { "s" }))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn media_kind(part: &Part) -> Option<&'static str> {
    let kind = part.kind();
    let is_medium = crate::message::media::is_media_part(&kind);
    let known = MEDIA.iter().find(|(_, has)| kind.contains(has));
    known.filter(|_| is_medium).map(|(kind, _)| *kind)
}

/// What is known of a run before its messages are looked at.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_member: bool,
    status: RunStatus,
    /// The seq that its part of the stretch begins at.
    first_seq: u64,
    /// The seq of what was last recorded of it.
    last_seq: u64,
}

/// Takes open runs for interrupted that nothing was heard of while so many later ones came and
/// went: whoever wrote them has most likely dropped them, and would hold every summary back.
fn mark_abandoned(runs: &mut HashMap<Digest, Known>) -> HashSet<Digest> {
    let ended = runs.values().filter(|run| run.status != RunStatus::Running);
    let mut begun: Vec<u64> = ended.map(|run| run.first_seq).collect();
    begun.sort_unstable();
    let mut abandoned = HashSet::new();
    for (run, known) in runs.iter_mut().filter(|(_, known)| known.status == RunStatus::Running) {
        let later = begun.len() - begun.partition_point(|first| *first < known.last_seq);
        if later >= SUMMARY_OPEN_RUN_WAITS {
            known.status = RunStatus::Interrupted;
            abandoned.insert(*run);
        }
    }
    abandoned
}

/// The seqs behind which no run is under way.
fn ends(changes: &[(u64, Digest, RunStatus)], abandoned: &HashSet<Digest>) -> Vec<u64> {
    let (mut open, mut ends) = (HashSet::new(), Vec::new());
    for (seq, run, status) in changes {
        if *status == RunStatus::Running && !abandoned.contains(run) {
            open.insert(*run);
        } else {
            open.remove(run);
        }
        if open.is_empty() {
            ends.push(*seq);
        }
    }
    ends
}

impl Known {
    fn is_shown(self) -> bool {
        let is_left_out =
            matches!(self.status, RunStatus::Cancelled | RunStatus::Error | RunStatus::Regenerated);
        !self.is_member && !is_left_out
    }
}

/// A part of a session that counts, from a seq on, up to where every run has ended or waits for
/// someone: a run that is under way is not yet what it will be. One that was abandoned is as if it
/// had been interrupted; what it says after all is in the next part.
pub(super) struct Reading {
    session: Session,
    /// What counts, by first and last seq.
    stretches: Vec<(u64, u64)>,
    runs: HashMap<Digest, Known>,
    /// The seqs behind which no run is under way, in order.
    ends: Vec<u64>,
    last_seq: u64,
}

impl Reading {
    pub(super) fn new(at: &SessionAt, first_seq: u64) -> Result<Self> {
        let mut reading = Self::everything(at, first_seq)?;
        reading.look_at_runs(at)?;
        let open = reading.runs.values().filter(|run| run.status == RunStatus::Running);
        if let Some(first) = open.map(|run| run.first_seq).min() {
            reading.last_seq = first.saturating_sub(1);
        }
        Ok(reading)
    }

    /// What counts from a seq on, nothing known of its runs yet.
    fn everything(at: &SessionAt, first_seq: u64) -> Result<Self> {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for stretch in at.stretches()? {
            if stretch.last >= first_seq {
                stretches.push((stretch.first.max(first_seq), stretch.last));
            }
        }
        let (session, last_seq) = (at.session().clone(), at.seq());
        Ok(Self { session, stretches, runs: HashMap::new(), ends: Vec::new(), last_seq })
    }

    /// The first runs, under way or not.
    pub(super) fn first_runs(at: &SessionAt, count: usize) -> Result<Self> {
        let mut reading = Self::everything(at, 1)?;
        let count = count as u64;
        if at.view().run_count > count {
            reading.last_seq = at.session().at(Point::run(count))?.seq().min(at.seq());
        }
        reading.look_at_runs(at)?;
        Ok(reading)
    }

    fn look_at_runs(&mut self, at: &SessionAt) -> Result<()> {
        let mut runs: HashMap<Digest, Known> = HashMap::new();
        let mut changes = Vec::new();
        for event in self.events() {
            let event = event?;
            let status = match &event.body {
                EventBody::RunStarted(_) | EventBody::RunResumed(_) => RunStatus::Running,
                EventBody::RunPaused(_) => RunStatus::Paused,
                EventBody::RunFinished(finished) => finished.status,
                // One that was taken for abandoned goes on in the part.
                EventBody::MessageAdded(_) if !event.run.is_none() => RunStatus::Running,
                _ => continue,
            };
            if runs.get(&event.run).is_none_or(|run| run.status != status) {
                changes.push((event.seq, event.run, status));
            }
            match runs.entry(event.run) {
                Entry::Occupied(mut run) => {
                    let run = run.get_mut();
                    (run.status, run.last_seq) = (status, event.seq);
                }
                Entry::Vacant(run) => {
                    // What began before the part does not say in it whose part it is.
                    let is_member = match &event.body {
                        EventBody::RunStarted(started) => started.parent_run_id.is_some(),
                        _ => at.is_member_run(event.run)?,
                    };
                    let (first_seq, last_seq) = (event.seq, event.seq);
                    run.insert(Known { is_member, status, first_seq, last_seq });
                }
            }
        }
        let abandoned = mark_abandoned(&mut runs);
        (self.ends, self.runs) = (ends(&changes, &abandoned), runs);
        Ok(())
    }

    /// The last seq from one on and before another behind which no run is under way.
    pub(super) fn whole_until(&self, from: u64, before: u64) -> Option<u64> {
        let count = self.ends.partition_point(|end| *end < before);
        let end = self.ends.get(..count)?.last()?;
        (*end >= from).then_some(*end)
    }

    /// The events of the part, oldest first, without what rewinds left behind.
    fn events(&self) -> impl Iterator<Item = Result<Event>> + use<> {
        let (session, last_seq) = (self.session.clone(), self.last_seq);
        let stretches =
            self.stretches.clone().into_iter().filter(move |(first, _)| *first <= last_seq);
        stretches.flat_map(move |(first, last)| {
            let events = session.events_from(first, Point::Seq(last.min(last_seq)));
            let (events, failed) = match events {
                Ok(events) => (Some(events), None),
                Err(error) => (None, Some(Err(error))),
            };
            failed.into_iter().chain(events.into_iter().flatten())
        })
    }

    /// What was said in it, as it is shown, oldest first.
    pub(super) fn messages(&self) -> impl Iterator<Item = Result<Shown>> {
        self.said()
            .filter_map(|said| said.map(|(seq, message)| Shown::new(seq, &message)).transpose())
    }

    /// The messages of the runs that are shown, each with its seq, oldest first.
    pub(super) fn said(&self) -> impl Iterator<Item = Result<(u64, Message)>> {
        self.events().filter_map(|event| {
            let event = match event {
                Ok(event) => event,
                Err(error) => return Some(Err(error)),
            };
            let EventBody::MessageAdded(added) = event.body else { return None };
            let is_shown = self.runs.get(&event.run).is_none_or(|run| run.is_shown());
            if !is_shown || event.run.is_none() {
                return None;
            }
            Some(Ok((event.seq, added.message)))
        })
    }

    /// The first seq that it may cover.
    pub(super) fn first_seq(&self) -> u64 {
        self.stretches.first().map_or(0, |(first, _)| *first)
    }

    /// The last seq that it covers; smaller than the first where nothing is there.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The top-level runs that began in it or went on.
    pub(super) fn run_count(&self) -> u64 {
        let is_in = |run: &&Known| !run.is_member && run.first_seq <= self.last_seq;
        self.runs.values().filter(is_in).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let text = format!("first {} last", "é".repeat(SHOWN_MESSAGE_BYTES_MAX));
        let short = cut(&text, SHOWN_MESSAGE_BYTES_MAX);
        assert!(short.starts_with("first é") && short.ends_with("é last"));
        assert!(short.len() <= SHOWN_MESSAGE_BYTES_MAX + 64, "{}", short.len());
        assert_eq!(cut("short", 5), "short");
    }
}
