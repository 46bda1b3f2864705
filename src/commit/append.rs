//! One append as it goes into the queue: encoded, hashed and checked by its own thread, so that
//! the commit thread only has to place it.

use crate::access::Access;
use crate::codec::{self, BodyForm, Commitment, EncodedBody, Frame, Header};
use crate::error::{Context, Error, Result, check_limit};
use crate::event::{
    Created, Event, EventBody, EventKind, ForkedFrom, KeepRuns, MemoryUpserted, NewEvent, Policy,
    Removed, RewoundTo, RunFinished, RunResumed, RunStatus, SessionType, Touch, check_ops,
};
use crate::id::{Digest, EventId, StreamName, check_name};
use crate::index::Sharers;
use crate::json::check_depth;
use crate::limits;
use crate::media::Lease;
use crate::message::Role;

/// What a writer insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Nothing: the events join whatever is there.
    #[default]
    Any,
    /// That the session is where the writer saw it: its last seq is this one; 0 for a session
    /// that does not exist yet.
    Seq(u64),
    /// That nothing which the events change was changed behind this seq. What others write at
    /// the same time is fine as long as it does not meet:
    ///
    /// | events of two writers | meet if they are about |
    /// |---|---|
    /// | renames, changes of owner, summaries, policies, imports | the same of these |
    /// | changes of state, of metadata | the same key, or one inside of the other |
    /// | all events of runs | the same run |
    /// | custom events | the same kind |
    /// | rewinds, compaction, erasure, deletion | always |
    ///
    /// What does not meet commutes: the session's view is the same in whichever order it came.
    /// A writer that is more than
    /// [`limits::CONFLICT_EVENTS_MAX`](crate::limits::CONFLICT_EVENTS_MAX) events behind is
    /// late in any case.
    Unchanged(u64),
}

/// An append, ready to be placed.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) session: Digest,
    /// The stream's name, for errors.
    pub(crate) place: String,
    pub(crate) access: Access,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<Prepared>,
    /// Stored bodies that give way to others with it.
    pub(crate) replacements: Vec<Replacement>,
    /// The name that the session has without what is erased.
    pub(crate) name_left: Option<NameLeft>,
    /// The first and the last seq whose snapshots may say what is erased.
    pub(crate) snapshots_left: Option<(u64, u64)>,
    /// Which sessions share its stream, as far as it was decided by asking them.
    pub(crate) sharers: Option<Sharers>,
    /// The scope of whose the session must still be for its events to be true.
    pub(crate) owner: Option<Digest>,
    /// Whether it is about a session that was deleted, so that it asks none that is there.
    pub(crate) is_of_former: bool,
    /// Keep the blobs that its events refer to until they are in the log.
    pub(crate) leases: Vec<Lease>,
}

/// The name that a session has once something was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameLeft(pub(crate) Option<String>);

/// A stored body of the session's own stream that gives way to another, or to none. An event of
/// the same append names it.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) seq: u64,
    /// The commitment to what stands there now: whoever was faster is not written over.
    pub(crate) present: Commitment,
    /// What shall stand there.
    pub(crate) body: Option<SaltedBody>,
    /// The names of the blobs that it refers to now.
    pub(crate) blobs_before: Vec<[u8; 32]>,
    /// Those among them that it will still refer to.
    pub(crate) blobs_after: Vec<[u8; 32]>,
}

/// A body and the salt it is committed to with.
#[derive(Debug)]
pub(crate) struct SaltedBody {
    pub(crate) salt: [u8; 16],
    pub(crate) body: EncodedBody,
}

impl SaltedBody {
    pub(crate) fn new(body: &EventBody) -> Result<Self> {
        let salt = Salts::for_events(1)?.next();
        Ok(Self { salt, body: EncodedBody::encode(body)? })
    }

    pub(crate) fn commitment(&self) -> Commitment {
        Commitment::to(&self.salt, &self.body.bytes)
    }
}

impl Replacement {
    /// What the event that goes with it says.
    pub(crate) fn named(&self) -> Removed {
        let replacement = self.body.as_ref().map(|body| body.commitment().0);
        Removed { seq: self.seq, replacement }
    }
}

/// An event whose body is encoded and committed to. What the commit thread adds is its place.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) body: EncodedBody,
    pub(crate) salt: [u8; 16],
    pub(crate) commitment: Commitment,
    /// What an event of another log was made there.
    pub(crate) form: BodyForm,
    /// The names of the blobs that it refers to.
    pub(crate) blobs: Vec<[u8; 32]>,
    pub(crate) id: Option<EventId>,
    pub(crate) run: Digest,
    pub(crate) touch: Touch,
    pub(crate) effect: Effect,
    /// The header it has already, where it comes from another log.
    pub(crate) header: Option<Header>,
}

/// What an event changes in the indexes.
#[derive(Debug)]
pub(crate) enum Effect {
    None,
    Created(Box<Created>),
    Forked(Box<ForkedFrom>),
    Rewound(Box<RewoundTo>),
    Renamed(Option<String>),
    OwnerChanged(Option<String>),
    RunStarted {
        run_id: String,
        is_top_level: bool,
    },
    RunStatus(RunStatus),
    Resumed,
    /// Something inside a run, which must be under way.
    InRun,
    SystemMessage,
    /// Of the session.
    PolicySet(Policy),
    /// Of a run.
    RunPolicySet,
    Deleted,
    Erased,
    /// A memory's text came from a message: the stream that holds it, and its seq.
    Learned(Digest, u64),
}

impl Append {
    pub(crate) fn prepare(
        stream: StreamName<'_>,
        access: Access,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Self> {
        if let Some(event) = events.iter().find(|event| is_of_keeping(&event.body)) {
            let kind = event.body.kind();
            return Err(Error::invalid(format!("{kind} is appended by what it records alone")));
        }
        Self::keeping(stream, access, expected, events, Vec::new())
    }

    /// An append that may say that stored bodies gave way, and makes them.
    pub(crate) fn keeping(
        stream: StreamName<'_>,
        access: Access,
        expected: Expected,
        events: Vec<NewEvent>,
        replacements: Vec<Replacement>,
    ) -> Result<Self> {
        stream.check()?;
        Self::of(stream.key(), stream.to_string(), access, (expected, events), replacements)
    }

    /// Bytes of the bodies that it brings.
    pub(crate) fn body_bytes(&self) -> usize {
        let replacing = self.replacements.iter().filter_map(|one| one.body.as_ref());
        let bodies = self.events.iter().map(|event| &event.body);
        bodies.chain(replacing.map(|body| &body.body)).map(|body| body.bytes.len()).sum()
    }

    /// What is told of a session that was deleted, behind its deletion and whatever came since.
    pub(crate) fn of_former(
        session: Digest,
        place: String,
        access: Access,
        event: NewEvent,
        replacements: Vec<Replacement>,
    ) -> Result<Self> {
        let events = (Expected::Any, vec![event]);
        let append = Self::of(session, place, access, events, replacements)?;
        Ok(Self { is_of_former: true, ..append })
    }

    fn of(
        session: Digest,
        place: String,
        access: Access,
        (expected, events): (Expected, Vec<NewEvent>),
        replacements: Vec<Replacement>,
    ) -> Result<Self> {
        let named = events.iter().flat_map(|event| named_by(&event.body)).cloned();
        if !named.eq(replacements.iter().map(Replacement::named)) {
            return Err(Error::invalid("what is replaced is not what is named"));
        }
        if events.is_empty() {
            return Err(Error::invalid("an append needs at least one event"));
        }
        check_limit("commit in events", events.len(), limits::COMMIT_EVENTS_MAX)?;
        let mut salts = Salts::for_events(events.len())?;
        let mut prepared = Vec::with_capacity(events.len());
        let mut bytes = 0;
        for event in events {
            let event = Prepared::new(event, salts.next())?;
            bytes += event.body.bytes.len();
            check_limit("commit in bytes", bytes, limits::COMMIT_BYTES_MAX)?;
            prepared.push(event);
        }
        Ok(Self { replacements, ..Self::plain(session, place, access, expected, prepared) })
    }

    /// One that brings its events and nothing besides.
    fn plain(
        session: Digest,
        place: String,
        access: Access,
        expected: Expected,
        events: Vec<Prepared>,
    ) -> Self {
        Self {
            session,
            place,
            access,
            expected,
            events,
            replacements: Vec::new(),
            name_left: None,
            snapshots_left: None,
            sharers: None,
            owner: None,
            is_of_former: false,
            leases: Vec::new(),
        }
    }

    /// Says which blobs its events refer to, each with the event's place in the append.
    pub(crate) fn refer(&mut self, leases: Vec<(usize, Lease)>) {
        for (at, lease) in leases {
            if let Some(event) = self.events.get_mut(at)
                && !event.blobs.contains(&lease.name().to_bytes())
            {
                event.blobs.push(lease.name().to_bytes());
            }
            self.leases.push(lease);
        }
    }
}

impl Append {
    /// Takes over events of another log: their headers stay, and so do their links.
    pub(crate) fn restore(
        stream: StreamName<'_>,
        expected: Expected,
        frames: &[Frame<'_>],
    ) -> Result<Self> {
        stream.check()?;
        check_limit("commit in events", frames.len(), limits::COMMIT_EVENTS_MAX)?;
        let mut events = Vec::with_capacity(frames.len());
        for frame in frames {
            let event = Prepared::restore(frame);
            events.push(event.with_context(|| format!("seq {}", frame.header.seq))?);
        }
        Ok(Self::plain(stream.key(), stream.to_string(), Access::Admin, expected, events))
    }
}

impl Prepared {
    /// An event of another log, as it was stored there. Its frame was opened, so header and body
    /// belong together; whether it follows from what is here, its placing shows.
    fn restore(frame: &Frame<'_>) -> Result<Self> {
        let Event { id, run, body, .. } = codec::decode(frame)?;
        check_body(&body)?;
        check_run(&body, run)?;
        if frame.header.flags != 0 || frame.header.commit_index >= frame.header.commit_len {
            return Err(Error::invalid("its header says what no header says"));
        }
        let encoded = EncodedBody {
            kind: body.kind(),
            schema_version: frame.header.schema_version,
            bytes: frame.body.to_vec(),
        };
        Ok(Self {
            body: encoded,
            salt: frame.salt,
            commitment: frame.header.commitment,
            form: frame.form,
            blobs: Vec::new(),
            // Which ids a caller gave, no frame tells; to index one more does no harm.
            id: Some(id),
            run,
            touch: Touch::of(&body, run),
            effect: Effect::of(body, !run.is_none()),
            header: Some(frame.header.clone()),
        })
    }

    fn new(event: NewEvent, salt: [u8; 16]) -> Result<Self> {
        let NewEvent { body, run_id, id } = event;
        check_body(&body)?;
        let run = match &run_id {
            Some(run_id) => {
                check_name("run id", run_id)?;
                Digest::of_run(run_id)
            }
            None if needs_run(body.kind()) => {
                return Err(Error::invalid(format!("{} needs a run", body.kind())));
            }
            None => Digest::NONE,
        };
        if let EventBody::RunStarted(started) = &body
            && run_id.as_ref() != Some(&started.run_id)
        {
            return Err(Error::invalid("a run starts under its own id"));
        }
        let encoded = EncodedBody::encode(&body)?;
        let commitment = Commitment::to(&salt, &encoded.bytes);
        let touch = Touch::of(&body, run);
        let effect = Effect::of(body, !run.is_none());
        Ok(Self {
            body: encoded,
            salt,
            commitment,
            form: BodyForm::Original,
            blobs: Vec::new(),
            id,
            run,
            touch,
            effect,
            header: None,
        })
    }
}

impl Effect {
    /// Whether the session begins with it.
    pub(crate) fn is_beginning(&self) -> bool {
        matches!(self, Self::Created(_) | Self::Forked(_))
    }

    fn of(body: EventBody, is_in_run: bool) -> Self {
        match body {
            EventBody::Created(created) => Self::Created(Box::new(created)),
            EventBody::ForkedFrom(forked) => Self::Forked(Box::new(forked)),
            EventBody::RewoundTo(rewound) => Self::Rewound(Box::new(rewound)),
            EventBody::Renamed(renamed) => Self::Renamed(renamed.name),
            EventBody::OwnerChanged(changed) => Self::OwnerChanged(changed.user_id),
            EventBody::RunStarted(started) => Self::RunStarted {
                run_id: started.run_id,
                is_top_level: started.parent_run_id.is_none(),
            },
            EventBody::RunPaused(_) => Self::RunStatus(RunStatus::Paused),
            EventBody::RunResumed(_) => Self::Resumed,
            EventBody::RunFinished(finished) => Self::RunStatus(finished.status),
            EventBody::PolicySet(set) if !is_in_run => Self::PolicySet(set.policy),
            EventBody::PolicySet(_) => Self::RunPolicySet,
            EventBody::Deleted(_) => Self::Deleted,
            EventBody::Erased(_) => Self::Erased,
            EventBody::MemoryUpserted(upserted) => match upserted.source {
                Some(source) => {
                    Self::Learned(Digest::from_bytes(upserted.source_stream), source.seq)
                }
                None => Self::None,
            },
            // What it changed left no trace in the indexes either.
            EventBody::Gone(_) => Self::None,
            EventBody::MessageAdded(added)
                if added.message.role == Role::System && !added.message.from_history =>
            {
                Self::SystemMessage
            }
            _ if is_in_run => Self::InRun,
            _ => Self::None,
        }
    }
}

/// Whether it says what became of stored bodies.
pub(crate) fn is_of_keeping(body: &EventBody) -> bool {
    matches!(body, EventBody::Deleted(_) | EventBody::Compacted(_) | EventBody::Erased(_))
}

/// What a body says that stored bodies were replaced by.
pub(crate) fn named_by(body: &EventBody) -> &[Removed] {
    match body {
        EventBody::Compacted(compacted) => &compacted.removed,
        EventBody::Erased(erased) => &erased.removed,
        _ => &[],
    }
}

fn needs_run(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::RunStarted
            | EventKind::MessageAdded
            | EventKind::ToolExecuted
            | EventKind::RunPaused
            | EventKind::RunResumed
            | EventKind::RunFinished
    )
}

/// Checks what a body says beyond its types.
fn check_body(body: &EventBody) -> Result<()> {
    match body {
        EventBody::Created(created) => check_created(created),
        EventBody::Renamed(renamed) => match &renamed.name {
            Some(name) if name.trim().is_empty() => Err(Error::invalid("a name must not be empty")),
            Some(name) if name.chars().any(char::is_control) => {
                Err(Error::invalid(format!("name {name:?} holds a control character")))
            }
            Some(name) => check_limit("session name in bytes", name.len(), limits::NAME_BYTES_MAX),
            None => Ok(()),
        },
        EventBody::OwnerChanged(changed) => {
            changed.user_id.as_ref().map_or(Ok(()), |user_id| check_name("user id", user_id))
        }
        EventBody::RunFinished(finished) if !finished.status.is_terminal() => {
            Err(Error::invalid(format!("a run does not finish as {}", finished.status)))
        }
        EventBody::RunFinished(RunFinished { metrics: Some(metrics), .. })
        | EventBody::RunResumed(RunResumed { counted: Some(metrics), .. }) => {
            if metrics.is_finite() {
                Ok(())
            } else {
                Err(Error::invalid("metrics must be finite numbers"))
            }
        }
        EventBody::StateChanged(changed) => check_ops(&changed.ops),
        EventBody::MetadataChanged(changed) => check_ops(&changed.ops),
        EventBody::SummaryWritten(written) => {
            if written.first_seq == 0 || written.first_seq > written.last_seq {
                return Err(Error::invalid("a summary covers at least one seq"));
            }
            if written.metrics.is_some_and(|metrics| !metrics.is_finite()) {
                return Err(Error::invalid("metrics must be finite numbers"));
            }
            Ok(())
        }
        EventBody::ForkedFrom(forked) => {
            check_name("session id", &forked.parent_session_id)?;
            forked.user_id.as_ref().map_or(Ok(()), |user_id| check_name("user id", user_id))?;
            check_shared("a fork shares", forked.seq)
        }
        EventBody::RewoundTo(rewound) => {
            if rewound.left_behind.is_some_and(|metrics| !metrics.is_finite()) {
                return Err(Error::invalid("metrics must be finite numbers"));
            }
            check_shared("a rewind keeps", rewound.seq)
        }
        EventBody::ContextRecorded(context) => context.check(),
        EventBody::Custom(custom) => check_depth(custom.data.as_str(), limits::JSON_DEPTH_MAX),
        EventBody::PolicySet(set) => match set.policy.keep_runs {
            Some(KeepRuns::Last { runs: 0, .. }) => {
                Err(Error::invalid("at least one run is kept: delete the session instead"))
            }
            _ => Ok(()),
        },
        EventBody::MemoryUpserted(upserted) => check_memory(upserted),
        EventBody::MemoryDeleted(deleted) => check_name("memory id", &deleted.memory_id),
        _ => Ok(()),
    }
}

fn check_memory(upserted: &MemoryUpserted) -> Result<()> {
    let MemoryUpserted { memory, topics, input, .. } = upserted;
    check_name("memory id", &upserted.memory_id)?;
    check_memory_text(memory, topics)?;
    let input = input.as_ref().map_or(0, String::len);
    check_limit("what a memory was learned from in bytes", input, limits::MEMORY_INPUT_BYTES_MAX)?;
    upserted.agent_id.as_ref().map_or(Ok(()), |agent_id| check_name("agent id", agent_id))?;
    match &upserted.source {
        Some(source) if source.seq == 0 => Err(Error::invalid("no message has seq 0")),
        Some(source) => check_name("session id", &source.session_id),
        None => Ok(()),
    }
}

/// What a memory says and what it is about.
pub(crate) fn check_memory_text(memory: &str, topics: &[String]) -> Result<()> {
    if memory.trim().is_empty() {
        return Err(Error::invalid("a memory needs a text"));
    }
    check_limit("memory in bytes", memory.len(), limits::MEMORY_BYTES_MAX)?;
    check_limit("topics of a memory", topics.len(), limits::MEMORY_TOPICS_MAX)?;
    topics.iter().try_for_each(|topic| check_name("topic", topic))
}

fn check_created(created: &Created) -> Result<()> {
    let is_memories = created.session_type == SessionType::Memories;
    if is_memories && created.user_id.as_ref() != Some(&created.session_id) {
        return Err(Error::invalid("memories are those of one user"));
    }
    let ids = [
        ("user id", &created.user_id),
        ("agent id", &created.agent_id),
        ("team id", &created.team_id),
        ("workflow id", &created.workflow_id),
    ];
    for (what, id) in ids {
        id.as_ref().map_or(Ok(()), |id| check_name(what, id))?;
    }
    for json in [&created.metadata, &created.state].into_iter().flatten() {
        if !json.as_str().starts_with('{') {
            return Err(Error::invalid("metadata and state must be JSON objects"));
        }
        check_depth(json.as_str(), limits::STATE_DEPTH_MAX)?;
    }
    created
        .component_data
        .as_ref()
        .map_or(Ok(()), |data| check_depth(data.as_str(), limits::STATE_DEPTH_MAX))
}

/// What a body says of its run must be what its header says.
fn check_run(body: &EventBody, run: Digest) -> Result<()> {
    let named = match body {
        EventBody::RunStarted(started) => Some(&started.run_id),
        EventBody::RunResumed(resumed) => Some(&resumed.run_id),
        _ => None,
    };
    if let Some(run_id) = named {
        check_name("run id", run_id)?;
        if Digest::of_run(run_id) != run {
            return Err(Error::invalid("it is in another run than it says"));
        }
    }
    if run.is_none() && needs_run(body.kind()) {
        return Err(Error::invalid(format!("{} needs a run", body.kind())));
    }
    Ok(())
}

/// Before the first event there is no session that could go on.
fn check_shared(what: &str, seq: u64) -> Result<()> {
    if seq > 0 { Ok(()) } else { Err(Error::invalid(format!("{what} at least one event"))) }
}

/// Random salts, fetched from the operating system for a whole append at once.
struct Salts(Vec<u8>);

impl Salts {
    fn for_events(events: usize) -> Result<Self> {
        let mut bytes = vec![0; events * 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::io(std::io::Error::other(error.to_string())))?;
        Ok(Self(bytes))
    }

    fn next(&mut self) -> [u8; 16] {
        let rest = self.0.len().saturating_sub(16);
        self.0.split_off(rest).first_chunk().copied().unwrap_or_default()
    }
}
