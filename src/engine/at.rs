//! A session as of a point, and the window that ends there.

use std::io::Write;
use std::sync::Arc;

use serde_json::Value;

use super::session::Session;
use crate::error::{Context, Error, Result};
use crate::event::RunStatus;
use crate::id::Digest;
use crate::index::{RunRecord, Stretch, Timeline};
use crate::message::media::write_attached;
use crate::message::{
    Anthropic, MediaRef, Message, Repair, Role, ToolCall, to_anthropic, to_openai,
};
use crate::projection::{
    Diff, Projection, RunCount, RunView, Runs, Selected, SessionView, Window, session_record,
    tool_calls,
};
use crate::replay::{self, End, Point};
use crate::stream::LiveEvents;

/// A session as it was at a point. The view is at hand; runs and messages are read when asked
/// for, up to the same point.
#[derive(Debug, Clone)]
pub struct SessionAt {
    session: Session,
    view: SessionView,
}

impl SessionAt {
    pub(super) fn new(session: Session, view: SessionView) -> Self {
        Self { session, view }
    }

    /// The seq of the last event before the point.
    pub fn seq(&self) -> u64 {
        self.view.seq
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The session without its runs and messages.
    pub fn view(&self) -> &SessionView {
        &self.view
    }

    /// The same, by value.
    pub fn into_view(self) -> SessionView {
        self.view
    }

    /// All runs with all their messages as they were stored, in the order they started.
    pub fn runs(&self) -> Result<Vec<RunView>> {
        let read = || {
            let (lineage, last) = self.session.resolve(&Point::Seq(self.view.seq))?;
            let mut runs = Runs::default();
            for event in LiveEvents::new(self.session.inner().log(), &lineage, last)? {
                runs.apply(&event?);
            }
            let mut runs = runs.into_vec();
            runs.retain(|run| !run.is_dropped());
            Ok(runs)
        };
        read().with_context(|| self.session.place())
    }

    /// The seqs that count at the point.
    pub(crate) fn stretches(&self) -> Result<Vec<Stretch>> {
        let read = || {
            let (lineage, last) = self.session.resolve(&Point::Seq(self.view.seq))?;
            Timeline::at(&**self.session.inner().log(), &lineage, last).into_stretches()
        };
        read().with_context(|| self.session.place())
    }

    /// Whether a run counts at the point and is a part of another.
    pub(crate) fn is_member_run(&self, run: Digest) -> Result<bool> {
        let read = || {
            let (lineage, last) = self.session.resolve(&Point::Seq(self.view.seq))?;
            let log = &**self.session.inner().log();
            let mut timeline = Timeline::at(log, &lineage, last);
            let record = RunRecord::load(log, &lineage, &mut timeline, run)?;
            Ok(record.is_some_and(|record| record.number == 0))
        };
        read().with_context(|| self.session.place())
    }

    /// All messages that may go to a model, tools and the newest system message included:
    /// `get_messages` of Agno. They can be sent as they are.
    pub fn messages(&self) -> Result<Vec<Message>> {
        self.window().all_runs().messages()
    }

    /// What user and assistant said in top-level runs of any status: `get_chat_history` of Agno.
    pub fn chat_history(&self) -> Result<Vec<Message>> {
        let window = self.window().all_runs().all_statuses().skip_role(Role::Tool);
        let mut messages = window.messages()?;
        messages.retain(|message| matches!(message.role, Role::User | Role::Assistant));
        Ok(messages)
    }

    /// The tool calls of the newest run first, at most `limit`: `get_tool_calls` of Agno.
    pub fn tool_calls(&self, limit: Option<usize>) -> Result<Vec<ToolCall>> {
        Ok(tool_calls(&self.runs()?, limit))
    }

    /// What is different at another point, of this session or of another that the other handle
    /// reaches. The cost follows what lies between them, not what both share.
    ///
    /// ```
    /// use sessionlog::{Engine, Message, Metrics, Point, Side};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").open()?;
    /// session.record_run([Message::user("Draft one")], Metrics::default())?.wait()?;
    /// let before = session.at(Point::Head)?;
    /// session.record_run([Message::user("Draft two")], Metrics::default())?.wait()?;
    /// let diff = before.diff(&session.at(Point::Head)?)?;
    /// assert_eq!((diff.messages_in_both, diff.messages.len()), (1, 1));
    /// assert_eq!(diff.messages[0].side, Side::New);
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a point in another database.
    pub fn diff(&self, other: &Self) -> Result<Diff> {
        let (from, to) = (&self.session, &other.session);
        if !Arc::ptr_eq(from.inner().log(), to.inner().log()) {
            return Err(Error::invalid("the two points lie in different databases"));
        }
        let (from_lineage, _) = from.resolve(&Point::Seq(self.view.seq))?;
        let (to_lineage, _) = to.resolve(&Point::Seq(other.view.seq))?;
        let from_end = End { lineage: &from_lineage, view: &self.view };
        let to_end = End { lineage: &to_lineage, view: &other.view };
        replay::compare(from.inner().log(), &from_end, &to_end).with_context(|| from.place())
    }

    /// The window that ends at this point.
    pub fn window(&self) -> SessionWindow {
        SessionWindow::new(self.session.clone(), Some(Point::Seq(self.view.seq)))
    }

    /// The session with its runs, as a record of Agno's storage schema.
    pub fn to_record(&self) -> Result<Value> {
        let mut record = session_record(&self.view, Some(&self.runs()?));
        // Before its first event the session has no name of its own yet.
        if let Some(fields) = record.as_object_mut() {
            fields.insert(String::from("session_id"), self.session.id().into());
        }
        Ok(record)
    }
}

/// The part of a session's history that goes to the model.
///
/// By default the last three runs (`num_history_runs` of Agno), without the runs
/// of team members, without what was paused, cancelled, failed or replaced, and without copies
/// of earlier history; the newest system message comes first, wherever it is. Whatever is cut,
/// the messages that come out can be sent to a provider as they are.
///
/// ```
/// use sessionlog::{Engine, Message, Metrics};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").open()?;
/// session.record_run([
///     Message::system("Be brief."),
///     Message::user("How warm is it in Oslo?"),
///     Message::assistant("").with_call("call_1", "weather", r#"{"city":"Oslo"}"#),
///     Message::tool("call_1", "4 degrees"),
///     Message::assistant("4 degrees."),
/// ], Metrics::tokens(80, 20))?.wait()?;
///
/// // Cut between the call and its result: the result goes with its call.
/// let prompt = session.window().last_messages(3).openai()?;
/// let roles: Vec<_> = prompt.iter().map(|message| message["role"].as_str().unwrap()).collect();
/// assert_eq!(roles, ["system", "assistant"]);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[must_use = "a window is read by `messages`"]
#[derive(Debug, Clone)]
pub struct SessionWindow {
    session: Session,
    /// Where it ends; `None` for wherever the session ends when it is read.
    point: Option<Point>,
    window: Window,
    keeps_references: bool,
}

impl SessionWindow {
    pub(super) fn new(session: Session, point: Option<Point>) -> Self {
        Self { session, point, window: Window::default(), keeps_references: false }
    }

    /// The last `count` runs of those that are taken. Others in between (failed and cancelled ones,
    /// those of members) are read past: what a window costs follows how many of them there are.
    pub fn runs(mut self, count: usize) -> Self {
        self.window.runs = RunCount::Last(count);
        self
    }

    /// Every run.
    pub fn all_runs(mut self) -> Self {
        self.window.runs = RunCount::All;
        self
    }

    /// At most the last `count` messages, the system message counted in. Where
    /// [`SessionWindow::runs`] is given as well, the stricter of the two decides; otherwise the
    /// messages come from as many runs as it takes.
    pub fn last_messages(mut self, count: usize) -> Self {
        self.window.messages = Some(count);
        self
    }

    /// The results of at most the last `count` tool calls; older calls go with their results.
    pub fn max_tool_calls(mut self, count: usize) -> Self {
        self.window.max_tool_calls = Some(count);
        self
    }

    /// Reads no more than so many events back, whatever else is asked for.
    pub(crate) fn looking_back(mut self, events: usize) -> Self {
        self.window.events = Some(events);
        self
    }

    /// No message of this role.
    pub fn skip_role(mut self, role: Role) -> Self {
        self.window.skip_roles.insert(role);
        self
    }

    /// Runs of this status too.
    pub fn include_status(mut self, status: RunStatus) -> Self {
        self.window.statuses.insert(status);
        self
    }

    /// Runs of any status.
    pub fn all_statuses(mut self) -> Self {
        self.window.statuses.extend([
            RunStatus::Paused,
            RunStatus::Cancelled,
            RunStatus::Error,
            RunStatus::Regenerated,
        ]);
        self
    }

    /// The runs of team members too.
    pub fn include_member_runs(mut self) -> Self {
        self.window.include_member_runs = true;
        self
    }

    /// Messages that are copies of earlier history too.
    pub fn include_history(mut self) -> Self {
        self.window.include_history = true;
        self
    }

    /// The messages, oldest first. The cost follows the window, not the session.
    ///
    /// Media that are stored apart stand in them again, unless
    /// [`SessionWindow::media_as_references`] says otherwise.
    pub fn messages(&self) -> Result<Vec<Message>> {
        self.read().map(|(messages, _)| messages)
    }

    /// Leaves media where they are stored, and references to them in the messages: a window full
    /// of images then takes no more memory than one of words. [`Session::open_media`] reads one,
    /// [`SessionWindow::write_openai`] and [`SessionWindow::write_anthropic`] write them all.
    pub fn media_as_references(mut self) -> Self {
        self.keeps_references = true;
        self
    }

    fn attached(&self, messages: Vec<Message>) -> Result<Vec<Message>> {
        if self.keeps_references {
            return Ok(messages);
        }
        let attach = || -> Result<Vec<Message>> {
            let streams = self.session.media_streams()?;
            messages.into_iter().map(|message| self.session.attach(&streams, message)).collect()
        };
        attach().with_context(|| self.session.place())
    }

    /// Writes the messages as a JSON list, as OpenAI's chat completions take them, a medium at a
    /// time: it takes no more memory than the words.
    pub fn write_openai(&self, out: &mut dyn Write) -> Result<()> {
        let messages = to_openai(&self.select()?.messages);
        self.write(&Value::Array(messages), out)
    }

    /// Writes an object with `system` and `messages`, as Anthropic's messages API takes them, in
    /// the same manner.
    pub fn write_anthropic(&self, out: &mut dyn Write) -> Result<()> {
        let prompt = to_anthropic(&self.select()?.opened());
        let mut document = serde_json::json!({ "messages": prompt.messages });
        // A provider takes no system prompt for none, but not for null.
        if let (Some(system), Some(fields)) = (prompt.system, document.as_object_mut()) {
            fields.insert(String::from("system"), system.into());
        }
        self.write(&document, out)
    }

    fn write(&self, value: &Value, out: &mut dyn Write) -> Result<()> {
        let mut write = || {
            let streams = self.session.media_streams()?;
            let inner = self.session.inner();
            let mut open = |reference: &MediaRef| inner.media().open(&streams, reference.digest());
            write_attached(&value.to_string(), &mut open, out)
        };
        write().with_context(|| self.session.place())
    }

    /// The messages, and what was done to make them legal: where a window or a fork begins or
    /// ends between a call and its result, one of the two is left out.
    pub fn read(&self) -> Result<(Vec<Message>, Vec<Repair>)> {
        let Selected { messages, repairs, .. } = self.select()?;
        Ok((self.attached(messages)?, repairs))
    }

    fn select(&self) -> Result<Selected> {
        let session = &self.session;
        let (lineage, last) = session.resolve(self.point.as_ref().unwrap_or(&Point::Head))?;
        replay::read_window(session.inner().log(), &lineage, last, &self.window)
            .with_context(|| session.place())
    }

    /// The messages as OpenAI's chat completions take them.
    pub fn openai(&self) -> Result<Vec<Value>> {
        Ok(to_openai(&self.messages()?))
    }

    /// The messages as Anthropic's messages API takes them. Its requests begin with the person, so
    /// where [`SessionWindow::last_messages`] cuts a run after that, the person's last message
    /// before the cut comes in front.
    pub fn anthropic(&self) -> Result<Anthropic> {
        Ok(to_anthropic(&self.attached(self.select()?.opened())?))
    }
}
