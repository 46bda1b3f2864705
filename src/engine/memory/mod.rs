//! The memories of a user: facts in a stream of the user's own, the same in every session.

mod erase;
mod learn;
mod new;
mod query;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::learn::{Draft, Lesson};
pub use self::new::{MemoryPatch, NewMemory};
pub use self::query::MemoryQuery;

use super::session::Session;
use super::{Engine, StoredEvent};
use crate::access::Access;
use crate::commit::{Append, Expected, Ticket};
use crate::error::{Context, Error, ErrorKind, Result, check_limit};
use crate::event::{
    Created, Event, EventBody, MemoryDeleted, MemoryUpserted, NewEvent, SessionType,
};
use crate::id::{Digest, StreamName, check_name, generate_name};
use crate::index::Entry;
use crate::limits::{CONFLICT_TRIES_MAX, MEMORIES_MAX};
use crate::log::{Order, Scan, key};
use crate::message::Message;
use crate::projection::{Memory, SessionView};
use crate::replay::Point;

/// From here on one adds at a time, so that two do not both take the last place.
const CROWDED: usize = MEMORIES_MAX / 2;

/// The memories of one user. Cheap to clone, usable from many threads.
///
/// They are a stream of events of their own, with the chain, the seal and the erasure that
/// sessions have, and no session: no list, export or search of sessions shows them. Every call
/// looks at them as they are then.
///
/// ```
/// use sessionlog::{Engine, MemoryQuery, NewMemory};
///
/// let engine = Engine::in_memory()?;
/// let memories = engine.memories("alice")?;
/// let (memory_id, ticket) = memories.add(NewMemory::new("Likes tea.").topics(["drinks"]))?;
/// ticket.wait()?;
///
/// let session = engine.session("any of hers").user("alice").open()?;
/// assert_eq!(session.memories()?.get(&memory_id)?.memory, "Likes tea.");
/// assert!(engine.memories("bob")?.get(&memory_id).is_err());
/// assert_eq!(memories.list(&MemoryQuery::new().topic("drinks"))?.len(), 1);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Memories {
    stream: Session,
}

/// A memory at one moment of its past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryChange {
    /// The seq of the change, in the user's memories.
    pub seq: u64,
    /// When it was made, in microseconds since 1970.
    pub recorded_at_us: i64,
    /// The memory after it; `None` where it was deleted.
    pub memory: Option<Memory>,
}

impl Engine {
    /// The memories of a user, in that user's name. There may be none yet.
    pub fn memories(&self, user_id: impl AsRef<str>) -> Result<Memories> {
        let user_id = user_id.as_ref();
        check_name("user id", user_id)?;
        Ok(Memories::new(self, user_id, Access::User(user_id.to_owned())))
    }
}

impl Engine {
    /// The users of whom there are memories, or were, as far as the access reaches: all of them for
    /// the admin, in the order of their ids. Reads the whole catalog.
    pub fn memory_users(&self, access: &Access) -> Result<Vec<String>> {
        let mut users = Vec::new();
        let log = &self.inner.log;
        for record in Scan::new(&**log, key::class_range(key::Class::Catalog, Order::Ascending)) {
            let entry = Entry::from_bytes(&record?.value)?;
            if entry.is_memories() && access.check(entry.user_id.as_deref()).is_ok() {
                users.push(entry.session_id);
            }
        }
        users.sort_unstable();
        Ok(users)
    }
}

impl Session {
    /// The memories of the session's owner, under the session's access.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the session belongs to nobody.
    pub fn memories(&self) -> Result<Memories> {
        self.check_access()?;
        let Some(user_id) = self.owner()? else {
            let reason = "it belongs to nobody, and nobody has memories: open it under a user";
            return Err(Error::invalid(reason).context(self.place()));
        };
        Ok(Memories::new(self.engine(), &user_id, self.access().clone()))
    }

    /// The message at a seq, and the stream that holds it.
    pub(crate) fn message_at(&self, seq: u64) -> Result<(Digest, Message)> {
        let (lineage, _) = self.resolve(&Point::Seq(seq))?;
        let event = self.events_from(seq, Point::Seq(seq))?.next().transpose()?;
        match event.map(|event| event.body) {
            Some(EventBody::MessageAdded(added)) if !added.message.omitted.message => {
                Ok((lineage.holder(seq), added.message))
            }
            _ => Err(Error::not_found("message").context(format!("{}: seq {seq}", self.place()))),
        }
    }
}

impl Memories {
    fn new(engine: &Engine, user_id: &str, access: Access) -> Self {
        let stream = Session::new(engine.clone(), StreamName::Memories(user_id), access);
        Self { stream }
    }

    /// Whose they are.
    pub fn user_id(&self) -> &str {
        self.stream.id()
    }

    // ---- writing

    /// Remembers a fact. Returns its id, and the promise that it will be durable.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where it is too long or the user has
    /// [`limits::MEMORIES_MAX`](crate::limits::MEMORIES_MAX) already, and where it names a message:
    /// [`ErrorKind::NotFound`] and [`ErrorKind::Forbidden`] where that is not there, or another
    /// user's.
    pub fn add(&self, memory: NewMemory) -> Result<(String, Ticket)> {
        let source_stream = match &memory.source {
            Some(source) => self.find_source(&source.session_id, source.seq)?.to_bytes(),
            None => [0; 16],
        };
        let memory_id = generate_name();
        let upserted = memory.into_event(memory_id.clone(), source_stream);
        let ticket = self.change(|view| {
            check_room(view.memories.len() + 1)?;
            let is_crowded = view.memories.len() >= CROWDED;
            let expected = if is_crowded { Expected::Seq(view.seq) } else { Expected::Any };
            Ok((expected, vec![NewEvent::new(upserted.clone())]))
        });
        Ok((memory_id, some(ticket.with_context(|| self.place())?)?))
    }

    /// Changes a memory. What it said before stays readable in [`Memories::history`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user has no such memory.
    pub fn update(&self, memory_id: &str, patch: &MemoryPatch) -> Result<Ticket> {
        let ticket = self.change(|view| {
            let before = view.memories.get(memory_id);
            let before = before.ok_or_else(|| Error::not_found("memory"))?;
            let event = NewEvent::new(patch.applied(before));
            Ok((Expected::Unchanged(view.seq), vec![event]))
        });
        some(ticket.with_context(|| self.place_of(memory_id))?)
    }

    /// Deletes a memory. What it said stays readable in [`Memories::history`], until it is
    /// erased.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user has no such memory.
    pub fn delete(&self, memory_id: &str) -> Result<Ticket> {
        self.delete_all([memory_id])
    }

    /// Deletes memories, all of them or none.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user does not have one of them, and
    /// [`ErrorKind::Invalid`] where none is named.
    pub fn delete_all<'a>(&self, memory_ids: impl IntoIterator<Item = &'a str>) -> Result<Ticket> {
        let memory_ids: BTreeSet<&str> = memory_ids.into_iter().collect();
        let ticket = self.change(|view| {
            let mut events = Vec::with_capacity(memory_ids.len());
            for memory_id in &memory_ids {
                if !view.memories.contains_key(*memory_id) {
                    return Err(Error::not_found("memory").context(format!("memory {memory_id}")));
                }
                events.push(deletion(memory_id));
            }
            Ok((Expected::Unchanged(view.seq), events))
        });
        some(ticket.with_context(|| self.place())?)
    }

    /// Deletes all memories of the user. Returns how many, once that is durable.
    pub fn clear(&self) -> Result<usize> {
        let mut count = 0;
        let clear = self.change(|view| {
            count = view.memories.len();
            let events = view.memories.keys().map(|memory_id| deletion(memory_id)).collect();
            Ok((Expected::Unchanged(view.seq), events))
        });
        if let Some(ticket) = clear.with_context(|| self.place())? {
            ticket.wait()?;
        }
        Ok(count)
    }

    // ---- reading

    /// A memory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user has no such memory.
    pub fn get(&self, memory_id: &str) -> Result<Memory> {
        let memory = self.all()?.remove(memory_id);
        memory.ok_or_else(|| Error::not_found("memory").context(self.place_of(memory_id)))
    }

    /// The memories that a query asks for, the one that was changed last first.
    pub fn list(&self, query: &MemoryQuery) -> Result<Vec<Memory>> {
        Ok(query.select(self.all()?))
    }

    /// The memories that hold all words of a text, in what they say, in a topic or in what they
    /// were learned from. Those that say it come first. Case makes no difference, and with feature
    /// `search` neither do accents and forms of writing, as in a search of sessions.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the text has no word.
    pub fn search(&self, text: &str) -> Result<Vec<Memory>> {
        let words = query::words(text);
        if words.is_empty() {
            return Err(Error::invalid("a search needs a word").context(self.place()));
        }
        Ok(query::search(self.all()?, &words))
    }

    /// What the memories are about, in alphabetical order.
    pub fn topics(&self) -> Result<Vec<String>> {
        let topics = self.all()?.into_values().flat_map(|memory| memory.topics);
        Ok(topics.collect::<BTreeSet<String>>().into_iter().collect())
    }

    /// The memories as they were at a point of their own past, the one that was changed last
    /// first. A point is a seq, an event or a time here: they have no runs.
    pub fn at(&self, point: Point) -> Result<Vec<Memory>> {
        match self.stream.at(point) {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            at => Ok(MemoryQuery::new().select(at?.into_view().memories)),
        }
    }

    /// What a memory said from a seq of the user's memories on: whoever kept [`Memory::seq`] finds
    /// the very text again, whatever became of the memory since.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where no text is at that seq, or it is erased.
    pub fn text_at(&self, seq: u64) -> Result<MemoryUpserted> {
        let missing = || Error::not_found("memory").context(format!("{}: seq {seq}", self.place()));
        let events = match self.stream.events_from(seq, Point::Seq(seq)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Err(missing());
            }
            events => events,
        };
        match events?.next().transpose()?.map(|event| event.body) {
            Some(EventBody::MemoryUpserted(upserted)) => Ok(upserted),
            _ => Err(missing()),
        }
    }

    /// What became of a memory, the oldest first: its texts, and whether it was deleted. What was
    /// erased is left out. Reads all that ever happened to the user's memories.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where nothing is known of such a memory.
    pub fn history(&self, memory_id: &str) -> Result<Vec<MemoryChange>> {
        let mut changes: Vec<MemoryChange> = Vec::new();
        for event in self.events()? {
            let event = event?;
            let memory = match &event.body {
                EventBody::MemoryUpserted(upserted) if upserted.memory_id == memory_id => {
                    let before = changes.last().and_then(|change| change.memory.as_ref());
                    Some(Memory::after(before, upserted, &event))
                }
                EventBody::MemoryDeleted(deleted) if deleted.memory_id == memory_id => None,
                _ => continue,
            };
            let (seq, recorded_at_us) = (event.seq, event.recorded_at_us);
            changes.push(MemoryChange { seq, recorded_at_us, memory });
        }
        if changes.is_empty() {
            return Err(Error::not_found("memory").context(self.place_of(memory_id)));
        }
        Ok(changes)
    }

    /// How many texts of memories are stored, those of the past included: what
    /// [`Memories::erase_all`] would take.
    pub fn count_texts(&self) -> Result<usize> {
        let mut texts = 0;
        for event in self.events()? {
            texts += usize::from(matches!(event?.body, EventBody::MemoryUpserted(_)));
        }
        Ok(texts)
    }

    /// Every event of theirs, with all that is stored of it.
    pub(crate) fn stored_events(&self) -> Result<impl Iterator<Item = Result<StoredEvent>>> {
        let events = match self.stream.stored_events() {
            Err(error) if is_missing(&error) => None,
            events => Some(events?),
        };
        Ok(events.into_iter().flatten())
    }

    /// All that ever happened to them and was not erased.
    fn events(&self) -> Result<impl Iterator<Item = Result<Event>>> {
        let events = match self.stream.events(Point::Head) {
            Err(error) if is_missing(&error) => None,
            events => Some(events?),
        };
        Ok(events.into_iter().flatten())
    }

    /// All of them, by id.
    fn all(&self) -> Result<BTreeMap<String, Memory>> {
        Ok(self.view()?.memories)
    }

    /// The stream as it is now; as before its first event where there is none.
    fn view(&self) -> Result<SessionView> {
        match self.stream.view() {
            Err(error) if is_missing(&error) => Ok(SessionView::default()),
            view => view,
        }
    }

    /// Appends what follows from the memories as they are, and looks again if what the writer
    /// insists on no longer holds. `None` where nothing follows.
    fn change(
        &self,
        mut make: impl FnMut(&SessionView) -> Result<(Expected, Vec<NewEvent>)>,
    ) -> Result<Option<Ticket>> {
        let mut tries = 1;
        loop {
            let view = self.view()?;
            let (mut expected, mut events) = make(&view)?;
            if events.is_empty() {
                return Ok(None);
            }
            if view.seq == 0 {
                expected = Expected::Seq(0);
                events.insert(0, self.beginning());
            }
            // What insists on nothing is done once it is queued.
            let insists = expected != Expected::Any || events.iter().any(has_source);
            let access = self.stream.access().clone();
            let append = Append::prepare(self.stream.stream(), access, expected, events)?;
            let ticket = self.stream.queue(append)?;
            if !insists {
                return Ok(Some(ticket));
            }
            match ticket.share().wait() {
                Err(error) if is_late(&error) && tries < CONFLICT_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
                Ok(_) => return Ok(Some(ticket)),
            }
        }
    }

    fn beginning(&self) -> NewEvent {
        NewEvent::new(Created {
            session_id: self.user_id().to_owned(),
            session_type: SessionType::Memories,
            user_id: Some(self.user_id().to_owned()),
            ..Created::default()
        })
    }

    /// The stream that holds a message of one of the user's sessions.
    fn find_source(&self, session_id: &str, seq: u64) -> Result<Digest> {
        let session = self.stream.engine().session(session_id).user(self.user_id());
        let (stream, _) = session.open_existing()?.message_at(seq)?;
        Ok(stream)
    }

    fn place(&self) -> String {
        self.stream.place()
    }

    fn place_of(&self, memory_id: &str) -> String {
        format!("{}: memory {memory_id}", self.place())
    }
}

fn deletion(memory_id: &str) -> NewEvent {
    NewEvent::new(MemoryDeleted { memory_id: memory_id.to_owned() })
}

fn has_source(event: &NewEvent) -> bool {
    matches!(&event.body, EventBody::MemoryUpserted(upserted) if upserted.source.is_some())
}

fn check_room(memories: usize) -> Result<()> {
    check_limit("memories of a user", memories, MEMORIES_MAX)
}

fn some(ticket: Option<Ticket>) -> Result<Ticket> {
    ticket.ok_or_else(|| Error::invalid("no memory is named"))
}

/// Whether there is no such stream, or no more.
fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound { what: "session" })
}

/// Whether it is worth another try: others changed the memories, or erased them all.
fn is_late(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict { .. }) || is_missing(error)
}
