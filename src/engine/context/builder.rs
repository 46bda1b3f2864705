//! What goes into a context, as its caller says.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::context::{
    ContextMemory, Cut, EstimatedTokens, Fitted, Parts, Tally, TokenCounter, begins, fit, is_over,
    prompt_digest, tool_tokens,
};
use crate::error::{Context as _, Result, check_limit};
use crate::event::{ContextRecorded, Instructions, MemoryRef, PromptFormat, SeqSpan};
use crate::index::Lineage;
use crate::limits::{CONTEXT_MEMORIES_MAX, CONTEXT_MESSAGES_MAX};
use crate::message::{Message, Role, to_anthropic, to_openai};
use crate::model::ToolDefinition;
use crate::projection::{Chosen, Memory, RunCount, RunView, SessionView, Window};
use crate::replay::{self, Recent};

use super::super::memory::MemoryQuery;
use super::super::run::Run;
use super::super::session::Session;
use super::Context;

/// What the next model call is to be given. Made by [`Session::context`] and [`Run::context`],
/// ended by [`ContextBuilder::build`].
///
/// By default the last three runs of the history, chosen as [`Session::window`] chooses them,
/// behind the newest system message of the session. What else is asked for joins that message, so
/// that there is one, in this order: the session's system message, instructions, summary,
/// memories, state.
///
/// ```
/// use sessionlog::{Engine, Message, Metrics};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").user("alice").open()?;
/// session.record_run(
///     [Message::user("I am Alice."), Message::assistant("Hello Alice!")],
///     Metrics::tokens(12, 5),
/// )?.wait()?;
///
/// let run = session.start_run()?;
/// run.push(Message::user("Who am I?"))?;
/// let context = run.context().instructions("Be brief.").token_budget(4_000).build()?;
/// assert_eq!(context.openai().len(), 4); // system, two of the history, the question
/// context.record(&run)?; // what this call was given, to be looked up later
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[must_use = "a context is made by `build`"]
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether it goes in")]
pub struct ContextBuilder {
    session: Session,
    run_id: Option<String>,
    window: Window,
    has_history: bool,
    has_summary: bool,
    has_state: bool,
    has_memories: bool,
    is_tail: bool,
    memories: Vec<ContextMemory>,
    instructions: Option<String>,
    tools: Vec<ToolDefinition>,
    budget: Option<u64>,
    counter: Arc<dyn TokenCounter>,
    format: PromptFormat,
    keeps_references: bool,
}

/// Runs that are read at first where only a budget bounds the history.
const RUNS_FIRST: usize = 4;

impl Session {
    /// What the next model call is to be given.
    pub fn context(&self) -> ContextBuilder {
        ContextBuilder::new(self.clone(), None)
    }
}

impl Run {
    /// What the next model call of this run is to be given: its own messages come last, behind the
    /// history, and all of them stay whatever the budget.
    pub fn context(&self) -> ContextBuilder {
        ContextBuilder::new(self.session().clone(), Some(self.id().to_owned()))
    }
}

impl ContextBuilder {
    fn new(session: Session, run_id: Option<String>) -> Self {
        let window = Window { without_run: run_id.clone(), ..Window::default() };
        Self {
            session,
            run_id,
            window,
            has_history: true,
            has_summary: false,
            has_state: false,
            has_memories: false,
            is_tail: false,
            memories: Vec::new(),
            instructions: None,
            tools: Vec::new(),
            budget: None,
            counter: Arc::new(EstimatedTokens),
            format: PromptFormat::default(),
            keeps_references: false,
        }
    }

    /// Whether the history goes in. It does unless this says otherwise: Agno's documents have it
    /// so, its code has it the other way round.
    pub fn add_history_to_context(mut self, add: bool) -> Self {
        self.has_history = add;
        self
    }

    /// The history of the last `count` runs. Three unless this, a number of messages or a budget
    /// is given. A run under way that is not this one counts as well.
    pub fn num_history_runs(mut self, count: usize) -> Self {
        self.window.runs = RunCount::Last(count);
        self
    }

    /// At most the last `count` messages of the history, from as many runs as it takes. Where
    /// [`ContextBuilder::num_history_runs`] is given as well, the stricter of the two decides.
    pub fn num_history_messages(mut self, count: usize) -> Self {
        self.window.messages = Some(count);
        self
    }

    /// The results of at most the last `count` tool calls of the history; older calls go with
    /// their results. Those of the run under way all stay.
    pub fn max_tool_calls_from_history(mut self, count: usize) -> Self {
        self.window.max_tool_calls = Some(count);
        self
    }

    /// No message of these roles from the history; for [`Role::System`], not the session's system
    /// message.
    pub fn skip_roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.window.skip_roles.extend(roles);
        self
    }

    /// Whether the session's current summary goes in, in Agno's words. It does not by default. The
    /// history stays as it is.
    pub fn add_session_summary_to_context(mut self, add: bool) -> Self {
        self.has_summary = add;
        self
    }

    /// Whether the history only begins behind what the session's current summary covers, however
    /// many runs that are: so a session that outgrows every window goes on as summary and tail.
    /// It does not by default, and changes nothing where there is no summary. The summary
    /// goes in with it. Where it covers everything, the person's last turn follows it.
    pub fn history_after_summary(mut self, only: bool) -> Self {
        self.is_tail = only;
        self
    }

    /// Whether the session's state goes in, as JSON. It does not by default; nor does an empty
    /// one.
    pub fn add_session_state_to_context(mut self, add: bool) -> Self {
        self.has_state = add;
        self
    }

    /// Whether what is remembered of the session's owner goes in, in Agno's words, by seq, the
    /// oldest first. It does not by default; a session without an owner has nobody to remember.
    pub fn add_memories_to_context(mut self, add: bool) -> Self {
        self.has_memories = add;
        self
    }

    /// These of the owner's memories and no others: those that a search found, for one.
    pub fn memories(mut self, memories: impl IntoIterator<Item = ContextMemory>) -> Self {
        self.memories = memories.into_iter().collect();
        self.memories.sort_by(by_seq);
        self
    }

    /// Instructions of the caller's own, which are not in the log. They stand behind the session's
    /// system message and stay whatever the budget.
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// The tools that the model may call: those of [`Session::tools`] and any others. They count
    /// against the budget and stay whatever it is, and [`Context::request`] has them. A manifest
    /// does not name them: it is of the messages.
    pub fn tools(mut self, tools: &[ToolDefinition]) -> Self {
        self.tools = tools.to_vec();
        self
    }

    /// No more tokens than this, in either format, by the counter in use, the tools included. Where
    /// nothing else bounds the history, it goes back as far as the budget reaches.
    ///
    /// What is too much goes in this order: the history, oldest first, so that it still begins
    /// with the person (whose last words stay where nothing else is said); memories, oldest first;
    /// the summary; the state. What is counted is said at [`TokenCounter`].
    pub fn token_budget(mut self, tokens: u64) -> Self {
        self.budget = Some(tokens);
        self
    }

    /// Who counts tokens: [`EstimatedTokens`] unless this says otherwise.
    pub fn counter(mut self, counter: Arc<dyn TokenCounter>) -> Self {
        self.counter = counter;
        self
    }

    /// The format that the prompt is sent in, for its manifest. OpenAI's by default; the context
    /// can be had in both.
    pub fn format(mut self, format: PromptFormat) -> Self {
        self.format = format;
        self
    }

    /// Leaves media where they are stored, and references to them in the messages.
    pub fn media_as_references(mut self) -> Self {
        self.keeps_references = true;
        self
    }

    /// Puts the context together. The same session, settings and memories give the same bytes.
    ///
    /// Where what was asked for holds no words of the person (all of it is summed up, or the last
    /// runs are the model's alone), the person's last words come with it, with what followed them
    /// where there is room: no provider takes a request without
    /// ([`Rule::NotEmpty`](crate::Rule::NotEmpty)). So the list is empty only where the person has
    /// said nothing, or where no history was asked for and the run under way has none either.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) where what may not go (the session's system
    /// message, the instructions, the tools, the run under way or else the person's last words) is
    /// larger than the budget, or the history has more than
    /// [`limits::CONTEXT_MESSAGES_MAX`](crate::limits::CONTEXT_MESSAGES_MAX) messages;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where the run is not there.
    pub fn build(&self) -> Result<Context> {
        self.build_now().with_context(|| self.session.place())
    }

    fn build_now(&self) -> Result<Context> {
        let (lineage, head) = self.session.head()?;
        let place = Place { lineage: &lineage, head };
        let mut read = self.read(&place)?;
        let tally = Tally::new(&*self.counter);
        let tokens = |tool: &ToolDefinition| {
            tool_tokens(&tool.name, &tool.description, &tool.parameters.to_value(), &tally)
        };
        read.parts.tools = self.tools.iter().map(tokens).fold(0, u64::saturating_add);
        self.read_history(&place, &mut read, &tally)?;
        self.read_person(&place, &mut read)?;
        check_limit("context in memories", read.parts.memories.len(), CONTEXT_MEMORIES_MAX)?;
        let messages = read.parts.history.len() + read.parts.run.len();
        check_limit("context in messages", messages, CONTEXT_MESSAGES_MAX)?;
        let fitted = fit(&read.parts, self.budget, &tally)?;
        self.finish(&read, fitted, head)
    }

    /// Everything but the history.
    fn read(&self, place: &Place<'_>) -> Result<Read> {
        let log = self.session.inner().log();
        let view = self.session.view_at_head(place.lineage, place.head)?;
        let covered = view.summary().filter(|_| self.is_tail).map(|summary| summary.last_seq);
        let system = replay::newest_system_message(log, place.lineage, place.head)?;
        let is_there = |message: &Message| !message.omitted.message;
        let mut parts = Parts {
            system: system.filter(|(_, message)| is_there(message)),
            instructions: self.instructions.clone(),
            summary: self.summary(&view),
            memories: self.remembered(&view)?,
            state: self.has_state.then_some((place.head, view.state)),
            max_tool_calls: self.window.max_tool_calls,
            ..Parts::default()
        };
        if self.window.skip_roles.contains(&Role::System) {
            parts.system = None;
        }
        let mut earlier = None;
        if let Some(run_id) = &self.run_id {
            let Recent { runs, context } =
                replay::read_run(log, place.lineage, place.head, run_id)?;
            earlier = context;
            parts.run = runs.into_iter().flat_map(own_messages).collect();
        }
        Ok(Read { parts, policy_seq: view.policy_seq, earlier, covered })
    }

    /// The memories that were given, or the owner's.
    fn remembered(&self, view: &SessionView) -> Result<Vec<ContextMemory>> {
        if !self.memories.is_empty() || !self.has_memories || view.user_id.is_none() {
            return Ok(self.memories.clone());
        }
        let memories = self.session.memories()?.list(&MemoryQuery::new())?;
        let mut memories: Vec<ContextMemory> = memories.into_iter().map(Into::into).collect();
        memories.sort_by(by_seq);
        Ok(memories)
    }

    fn summary(&self, view: &SessionView) -> Option<(u64, String)> {
        let summary = view.summary().filter(|_| self.has_summary || self.is_tail)?;
        Some((summary.seq, summary.summary.clone()))
    }

    /// Reads as much of the history as is asked for, or as the budget reaches.
    fn read_history(&self, place: &Place<'_>, read: &mut Read, tally: &Tally<'_>) -> Result<()> {
        if !self.has_history {
            return Ok(());
        }
        let is_bounded = self.window.runs != RunCount::Default || self.window.messages.is_some();
        if is_bounded || (self.budget.is_none() && read.covered.is_none()) {
            self.read_window(place, &self.window, read)?;
            return Ok(());
        }
        let budget = self.budget.unwrap_or(u64::MAX);
        let mut window = self.window.clone();
        let mut runs = RUNS_FIRST;
        loop {
            window.runs = RunCount::Last(runs);
            let Found { runs: found, is_covered } = self.read_window(place, &window, read)?;
            // Every message counts for something, so what the budget holds of runs is bounded
            // even where they say nothing.
            let is_enough = found < runs
                || is_covered
                || runs as u64 > budget
                || read.parts.history.len() > CONTEXT_MESSAGES_MAX
                || is_over(&read.parts, budget, tally);
            if is_enough {
                return Ok(());
            }
            runs = runs.saturating_mul(2);
        }
    }

    /// Reads back to the last words of the person where nobody says anything in what was read: all
    /// of it is summed up, or the last runs are the model's alone.
    fn read_person(&self, place: &Place<'_>, read: &mut Read) -> Result<()> {
        let is_asked = self.has_history
            && self.window.runs_max() != Some(0)
            && self.window.messages != Some(0)
            && !self.window.skip_roles.contains(&Role::User);
        if !is_asked || read.parts.can_be_sent(&Cut::NOTHING) {
            return Ok(());
        }
        let Some(mut said) = self.since_person(place)? else { return Ok(()) };
        if self.window.messages.is_some_and(|count| said.len() > count) {
            said.truncate(1);
        }
        if !read.parts.history.is_empty() {
            read.parts.opening = said.first().cloned();
            if read.parts.can_be_sent(&Cut::NOTHING) {
                return Ok(());
            }
        }
        (read.parts.history, read.parts.opening) = (said, None);
        Ok(())
    }

    /// The history from the last words of the person on.
    fn since_person(&self, place: &Place<'_>) -> Result<Option<Vec<(u64, Message)>>> {
        let log = self.session.inner().log();
        let mut window = Window { messages: None, ..self.window.clone() };
        let mut count = 1;
        loop {
            window.runs = RunCount::Last(count);
            let runs = replay::read_recent(log, place.lineage, place.head, &window)?.runs;
            let mut messages = window.choose(&runs, None).messages;
            if let Some(at) = messages.iter().rposition(|(_, message)| begins(message)) {
                return Ok(Some(messages.split_off(at)));
            }
            let found = runs.iter().filter(|run| window.takes_run(run)).count();
            if found < count || messages.len() > CONTEXT_MESSAGES_MAX {
                return Ok(None);
            }
            count = count.saturating_mul(2);
        }
    }

    fn read_window(&self, place: &Place<'_>, window: &Window, read: &mut Read) -> Result<Found> {
        let log = self.session.inner().log();
        let Recent { runs, context } = replay::read_recent(log, place.lineage, place.head, window)?;
        let Chosen { messages, opening } = window.choose(&runs, window.messages);
        (read.parts.history, read.parts.opening) = (messages, opening);
        let is_covered = |seq: u64| read.covered.is_some_and(|covered| seq <= covered);
        let is_known = runs.first().is_some_and(|run| is_covered(run.first_seq));
        read.parts.history.retain(|(seq, _)| !is_covered(*seq));
        read.earlier = read.earlier.take().max_by_seq(context);
        let runs = runs.iter().filter(|run| window.takes_run(run)).count();
        Ok(Found { runs, is_covered: is_known })
    }

    fn finish(&self, read: &Read, fitted: Fitted, as_of_seq: u64) -> Result<Context> {
        let Fitted { cut, composed, tokens } = fitted;
        let manifest = self.manifest(read, &cut);
        let repairs = composed.repairs.clone();
        let messages = composed.messages.clone();
        let opened = composed.opened();
        let (sent, digest) = match self.format {
            PromptFormat::OpenAi => (tokens.openai, prompt_digest(&to_openai(&messages), None)),
            PromptFormat::Anthropic => (tokens.anthropic, to_anthropic(&opened).digest()),
        };
        Ok(Context {
            session: self.session.clone(),
            run_id: self.run_id.clone(),
            messages: self.attached(messages)?,
            opened: self.attached(opened)?,
            repairs,
            tools: self.tools.clone(),
            tokens,
            manifest: ContextRecorded { tokens: sent, prompt_digest: Some(digest), ..manifest },
            as_of_seq,
        })
    }

    fn attached(&self, messages: Vec<Message>) -> Result<Vec<Message>> {
        if self.keeps_references {
            return Ok(messages);
        }
        let streams = self.session.media_streams()?;
        messages.into_iter().map(|message| self.session.attach(&streams, message)).collect()
    }

    /// Instructions, without their text where an earlier manifest has it.
    fn noted(&self, text: &str, earlier: Option<&(u64, ContextRecorded)>) -> Instructions {
        let found = earlier.and_then(|(at, manifest)| match manifest.instructions.as_ref()? {
            Instructions::Text(said) => (said == text).then_some(*at),
            Instructions::Earlier { seq } => {
                let first = self.session.recorded_context(*seq).ok()?;
                let is_same = matches!(
                    &first.manifest().instructions,
                    Some(Instructions::Text(said)) if said == text
                );
                is_same.then_some(*seq)
            }
        });
        match found {
            Some(seq) => Instructions::Earlier { seq },
            None => Instructions::Text(text.to_owned()),
        }
    }

    /// What is left of the parts, by where it stands.
    fn manifest(&self, read: &Read, cut: &Cut) -> ContextRecorded {
        let Read { parts, policy_seq, earlier, .. } = read;
        let seq_of = |part: &Option<(u64, Message)>| part.as_ref().map(|(seq, _)| *seq);
        let history = parts.kept(cut);
        let memories = parts.memories.get(cut.memories..).unwrap_or_default();
        let memory = |memory: &ContextMemory| MemoryRef {
            memory_id: memory.memory_id.clone(),
            seq: memory.seq,
        };
        let state = parts.state.as_ref().filter(|(_, state)| cut.has_state && !state.is_empty());
        let summary = parts.summary.as_ref().filter(|_| cut.has_summary);
        let instructions = parts.instructions.as_ref();
        ContextRecorded {
            rules: ContextRecorded::RULES,
            format: self.format,
            system_seq: seq_of(&parts.system),
            instructions: instructions.map(|text| self.noted(text, earlier.as_ref())),
            summary_seq: summary.map(|(seq, _)| *seq),
            memories: memories.iter().map(memory).collect(),
            state_seq: state.map(|(seq, _)| *seq),
            opening_seq: parts.kept_opening(cut).map(|(seq, _)| *seq),
            history_seqs: SeqSpan::of(history.iter().map(|(seq, _)| *seq)),
            run_seqs: SeqSpan::of(parts.run.iter().map(|(seq, _)| *seq)),
            max_tool_calls: parts.max_tool_calls.map(|count| count as u64),
            policy_seq: *policy_seq,
            counter: self.counter.name().to_owned(),
            ..ContextRecorded::default()
        }
    }
}

/// Where a context is read from.
struct Place<'a> {
    lineage: &'a Lineage,
    head: u64,
}

/// What was read.
struct Read {
    parts: Parts,
    policy_seq: Option<u64>,
    /// The newest manifest that was met.
    earlier: Option<(u64, ContextRecorded)>,
    /// The last seq that the summary stands for, where the history begins behind it.
    covered: Option<u64>,
}

/// How far back a history was read.
struct Found {
    /// How many runs there were to choose from.
    runs: usize,
    /// Whether all that the summary does not cover is among them.
    is_covered: bool,
}

trait MaxBySeq {
    fn max_by_seq(self, other: Self) -> Self;
}

impl MaxBySeq for Option<(u64, ContextRecorded)> {
    fn max_by_seq(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) => Some(if one.0 < other.0 { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}

/// The messages of the run under way that are its own.
fn own_messages(run: RunView) -> impl Iterator<Item = (u64, Message)> {
    run.messages.into_iter().filter(|(_, message)| {
        message.role != Role::System && !message.omitted.message && !message.from_history
    })
}

fn by_seq(a: &ContextMemory, b: &ContextMemory) -> Ordering {
    (a.seq, &a.memory_id).cmp(&(b.seq, &b.memory_id))
}

impl From<Memory> for ContextMemory {
    fn from(Memory { memory_id, seq, memory, .. }: Memory) -> Self {
        Self { memory_id, seq, memory }
    }
}
