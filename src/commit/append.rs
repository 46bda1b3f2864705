//! One append as it goes into the queue: encoded, hashed and checked by its own thread, so that
//! the commit thread only has to place it.

use crate::access::Access;
use crate::codec::{self, BodyForm, Commitment, EncodedBody, Frame, Header};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{
    Created, Event, EventBody, EventKind, ForkedFrom, NewEvent, RewoundTo, RunFinished, RunResumed,
    RunStatus, Touch, check_ops,
};
use crate::id::{Digest, EventId, check_name};
use crate::json::check_depth;
use crate::limits;
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
    pub(crate) session_id: String,
    pub(crate) access: Access,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<Prepared>,
}

/// An event whose body is encoded and committed to. What the commit thread adds is its place.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) body: EncodedBody,
    pub(crate) salt: [u8; 16],
    pub(crate) commitment: Commitment,
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
}

impl Append {
    pub(crate) fn prepare(
        session_id: &str,
        access: Access,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Self> {
        check_name("session id", session_id)?;
        if events.is_empty() {
            return Err(Error::invalid("an append needs at least one event"));
        }
        check_limit("commit", events.len(), limits::COMMIT_EVENTS_MAX)?;
        let mut salts = Salts::for_events(events.len())?;
        let mut prepared = Vec::with_capacity(events.len());
        let mut bytes = 0;
        for event in events {
            let event = Prepared::new(event, salts.next())?;
            bytes += event.body.bytes.len();
            check_limit("commit in bytes", bytes, limits::COMMIT_BYTES_MAX)?;
            prepared.push(event);
        }
        let session = Digest::of_session(session_id);
        let session_id = session_id.to_owned();
        Ok(Self { session, session_id, access, expected, events: prepared })
    }
}

impl Append {
    /// Takes over events of another log: their headers stay, and so do their links.
    pub(crate) fn restore(
        session_id: &str,
        expected: Expected,
        frames: &[Frame<'_>],
    ) -> Result<Self> {
        check_name("session id", session_id)?;
        check_limit("commit", frames.len(), limits::COMMIT_EVENTS_MAX)?;
        let mut events = Vec::with_capacity(frames.len());
        for frame in frames {
            let event = Prepared::restore(frame);
            events.push(event.with_context(|| format!("seq {}", frame.header.seq))?);
        }
        let (session, session_id) = (Digest::of_session(session_id), session_id.to_owned());
        Ok(Self { session, session_id, access: Access::Admin, expected, events })
    }
}

impl Prepared {
    /// An event of another log, as it was stored there. Its frame was opened, so header and body
    /// belong together; whether it follows from what is here, its placing shows.
    fn restore(frame: &Frame<'_>) -> Result<Self> {
        if frame.form != BodyForm::Original {
            return Err(Error::invalid("its body was removed or replaced"));
        }
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
        Ok(Self { body: encoded, salt, commitment, id, run, touch, effect, header: None })
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
            Some(name) => check_limit("session name", name.len(), limits::NAME_BYTES_MAX),
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
        EventBody::Custom(custom) => check_depth(custom.data.as_str(), limits::JSON_DEPTH_MAX),
        // They have their place in the format. What they mean for a view is for the version to
        // say that makes them.
        EventBody::Deleted(_)
        | EventBody::PolicySet(_)
        | EventBody::Compacted(_)
        | EventBody::Erased(_)
        | EventBody::MemoryUpserted(_)
        | EventBody::MemoryDeleted(_) => {
            Err(Error::invalid(format!("this version makes no {} events", body.kind())))
        }
        _ => Ok(()),
    }
}

fn check_created(created: &Created) -> Result<()> {
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

fn check_limit(what: &'static str, actual: usize, max: usize) -> Result<()> {
    if actual <= max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit { what, actual: actual as u64, max: max as u64 }))
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
