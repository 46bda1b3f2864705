//! Files into sessions.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;

use super::conversation::{Conversation, Parsed};
use super::files::{self, Files};
use super::format::Format;
use super::jsonl::Dumped;
use super::plan::{Plan, is_refusal};
use super::report::{Counts, ImportOptions, ImportProgress, ImportReport};
use super::source::{NO_CONVERSATION, Source};
use crate::commit::{Expected, Ticket};
use crate::engine::{Engine, Restored};
use crate::error::{ErrorKind, Result};
use crate::event::NewEvent;
use crate::limits::TRANSCRIPT_BYTES_MAX;

/// Imports files and what is in folders: every `*.json`, `*.jsonl` and `*.traj` in them and below,
/// sorted by path, hidden ones left out. A file that is given by its own path is read whatever its
/// name is. `progress` is told before each file and at the end.
///
/// Importing the same again writes nothing, and a file that has grown adds what is new. A file
/// or a record that cannot be read is left out and named in the report.
///
/// # Errors
/// [`ErrorKind::Io`] where a path does not exist, before anything is written. Otherwise only
/// what stops every append: a database that is read-only, closed or failing.
pub fn import_paths(
    engine: &Engine,
    paths: &[PathBuf],
    options: &ImportOptions,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<ImportReport> {
    let mut importer = Importer::new(engine, options);
    importer.paths(paths, progress)?;
    Ok(importer.into_report())
}

/// Imports text from elsewhere, standard input for one, like a file of that name: `name` is
/// what session ids are made of where the text has none.
///
/// # Errors
/// What stops every append: a database that is read-only, closed or failing.
pub fn import_text(
    engine: &Engine,
    name: &str,
    text: &[u8],
    options: &ImportOptions,
) -> Result<ImportReport> {
    let mut importer = Importer::new(engine, options);
    importer.text(name, text)?;
    Ok(importer.into_report())
}

/// Appends of one file that are under way at a time: enough for a group to fill.
const APPENDS_WAITING_MAX: usize = 256;

/// How often an import looks at a session again that others write to.
const TRIES_MAX: u32 = 5;

/// An import of several things, of which is known what it did also where it fails.
///
/// ```
/// use sessionlog::Engine;
/// use sessionlog::transcript::{ImportOptions, Importer};
///
/// let options = ImportOptions::default();
/// let mut importer = Importer::opening(Engine::in_memory, &options);
/// importer.text("broken", b"no transcript")?; // no engine was opened for it
/// importer.text("chat", br#"{"messages":[{"role":"user","content":"Hi"}]}"#)?;
/// let report = importer.into_report();
/// assert_eq!((report.recorded.sessions, report.skipped.len()), (1, 1));
/// # Ok::<(), sessionlog::Error>(())
/// ```
pub struct Importer<'a> {
    engine: Option<Engine>,
    open: Box<dyn FnMut() -> Result<Engine> + 'a>,
    options: &'a ImportOptions,
    report: ImportReport,
    /// Appends of the current file that may not be durable yet, oldest first.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    conversation: Conversation,
    counts: Counts,
    ticket: Ticket,
    tries: u32,
}

impl fmt::Debug for Importer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Importer");
        debug.field("options", self.options).field("report", &self.report).finish_non_exhaustive()
    }
}

impl<'a> Importer<'a> {
    /// An import into an engine.
    pub fn new(engine: &Engine, options: &'a ImportOptions) -> Self {
        let engine = engine.clone();
        Self::opening(move || Ok(engine.clone()), options)
    }

    /// An import into an engine that is opened with the first conversation that was read, and
    /// not at all where there is none.
    pub fn opening(open: impl FnMut() -> Result<Engine> + 'a, options: &'a ImportOptions) -> Self {
        let (report, waiting) = Default::default();
        Self { engine: None, open: Box::new(open), options, report, waiting }
    }

    /// Imports files and folders, as [`import_paths`] does.
    ///
    /// # Errors
    /// As there. What was recorded before is in the report.
    pub fn paths(
        &mut self,
        paths: &[PathBuf],
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<()> {
        let files = Files::find(paths, &mut self.report)?;
        let mut state = ImportProgress {
            files: files.found.len() as u64,
            bytes: files.bytes(),
            ..ImportProgress::default()
        };
        for file in &files.found {
            state.file.clone_from(&file.path);
            progress(state.clone());
            let name = file.path.display().to_string();
            match files::read(&file.path) {
                Ok(bytes) => self.whole_file(&name, &files::stem(&file.path), &bytes)?,
                Err(reason) => self.unreadable(&name, reason),
            }
            state.files_done += 1;
            state.bytes_done += file.bytes;
        }
        progress(state);
        Ok(())
    }

    /// Imports text from elsewhere, as [`import_text`] does.
    ///
    /// # Errors
    /// As there. What was recorded before is in the report.
    pub fn text(&mut self, name: &str, text: &[u8]) -> Result<()> {
        self.whole_file(name, name, text)
    }

    /// What was done so far.
    pub fn into_report(self) -> ImportReport {
        self.report
    }

    fn engine(&mut self) -> Result<Engine> {
        if let Some(engine) = &self.engine {
            return Ok(engine.clone());
        }
        let engine = (self.open)()?;
        Ok(self.engine.insert(engine).clone())
    }

    /// Imports a file. Where that fails, the appends that were under way are still counted.
    fn whole_file(&mut self, name: &str, stem: &str, bytes: &[u8]) -> Result<()> {
        let done = self.file(name, stem, bytes);
        for Waiting { counts, ticket, .. } in std::mem::take(&mut self.waiting) {
            if ticket.wait().is_ok() {
                self.report.recorded += counts;
            }
        }
        done
    }

    fn unreadable(&mut self, name: &str, reason: impl Into<String>) {
        self.report.files += 1;
        self.report.skip(name, None, reason);
    }

    fn file(&mut self, name: &str, stem: &str, bytes: &[u8]) -> Result<()> {
        let parsed = self.read(name, stem, bytes);
        for conversation in parsed.conversations {
            self.conversation(name, conversation)?;
        }
        while self.settle_oldest(name)? {}
        parsed.dumped.iter().try_for_each(|dumped| self.dumped(name, dumped))
    }

    /// Reads a file. What cannot be read of it is named in the report, and taken out of what is
    /// given.
    pub(super) fn read(&mut self, name: &str, stem: &str, bytes: &[u8]) -> Parsed {
        let mut source = match text(bytes).and_then(Source::split) {
            Ok(source) => source,
            Err(reason) => {
                self.unreadable(name, reason);
                return Parsed::default();
            }
        };
        self.report.files += 1;
        source.folder = files::folder(Path::new(name));
        let mut parsed = self.parse(&source, stem);
        let mut broken = std::mem::take(&mut source.broken);
        let is_empty = parsed.is_empty();
        broken.append(&mut parsed.broken);
        if is_empty && broken.is_empty() {
            self.report.skip(name, None, NO_CONVERSATION);
        }
        broken.sort_by_key(|broken| broken.line);
        self.report.skip_broken(name, broken);
        self.report.ignore(std::mem::take(&mut parsed.ignored));
        parsed
    }

    /// Takes over what was dumped. What does not fit is named, and the rest goes on.
    pub(super) fn dumped(&mut self, name: &str, dumped: &Dumped) -> Result<()> {
        // One that was cut inside its first commit has none.
        let is_empty = dumped.events.is_empty();
        if !is_empty {
            self.report.found += dumped.counts(dumped.events.len());
        }
        if self.options.user_id.is_some() {
            let reason = "a dump says whose its sessions are: import it without a user";
            self.report.skip(name, dumped.line, reason);
            return Ok(());
        }
        if dumped.cut > 0 {
            let reason = format!("the last {} events are a part of a commit", dumped.cut);
            self.report.skip(name, dumped.line, reason);
        }
        if is_empty {
            return Ok(());
        }
        match self.engine()?.restore(&dumped.events, &dumped.blobs) {
            Ok(Restored { added: 0, .. }) => {
                let Counts { sessions, memory_users, .. } = dumped.counts(0);
                self.report.unchanged += sessions;
                self.report.unchanged_memory_users += memory_users;
            }
            Ok(restored) => self.report.recorded += dumped.counts(restored.added),
            Err(error) => match error.kind() {
                // Its parent is not here, or somebody writes to it.
                ErrorKind::NotFound { .. } | ErrorKind::Conflict { .. } => {
                    self.report.skip(name, dumped.line, error.to_string());
                }
                kind if is_refusal(kind) => {
                    self.report.skip(name, dumped.line, error.to_string());
                }
                _ => return Err(error),
            },
        }
        Ok(())
    }

    fn parse(&self, source: &Source<'_>, stem: &str) -> Parsed {
        self.options.format.unwrap_or_else(|| Format::detect(source)).read(source, stem)
    }

    fn conversation(&mut self, name: &str, mut conversation: Conversation) -> Result<()> {
        if self.options.user_id.is_some() {
            conversation.user_id.clone_from(&self.options.user_id);
        }
        self.report.found += conversation.counts();
        // A session that this file already writes to is compared with what was written.
        let is_same =
            |waiting: &Waiting| waiting.conversation.session_id == conversation.session_id;
        while self.waiting.len() >= APPENDS_WAITING_MAX || self.waiting.iter().any(is_same) {
            self.settle_oldest(name)?;
        }
        self.record(name, conversation, 1)
    }

    fn record(&mut self, name: &str, conversation: Conversation, tries: u32) -> Result<()> {
        let engine = self.engine()?;
        match Plan::of(&engine, &conversation, name)? {
            Plan::Nothing => self.report.unchanged += 1,
            Plan::Refuse(reason) => self.report.skip(name, conversation.line, reason),
            Plan::Append { expected, events, counts } => {
                match append(&engine, &conversation.session_id, expected, events) {
                    Ok(ticket) => {
                        let waiting = Waiting { conversation, counts, ticket, tries };
                        self.waiting.push_back(waiting);
                    }
                    Err(error) if is_refusal(error.kind()) => {
                        self.report.skip(name, conversation.line, error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Waits for the oldest append. False where there is none.
    fn settle_oldest(&mut self, name: &str) -> Result<bool> {
        let Some(Waiting { conversation, counts, ticket, tries }) = self.waiting.pop_front() else {
            return Ok(false);
        };
        match ticket.wait() {
            Ok(_) => self.report.recorded += counts,
            Err(error) => match error.kind() {
                ErrorKind::Conflict { .. } if tries < TRIES_MAX => {
                    self.record(name, conversation, tries + 1)?;
                }
                kind if is_refusal(kind) || matches!(kind, ErrorKind::Conflict { .. }) => {
                    self.report.skip(name, conversation.line, error.to_string());
                }
                _ => return Err(error),
            },
        }
        Ok(true)
    }
}

/// Appends to a session that need not be there yet, so that its beginning and all that follows
/// are one commit.
fn append(
    engine: &Engine,
    session_id: &str,
    expected: Expected,
    events: Vec<NewEvent>,
) -> Result<Ticket> {
    engine.session(session_id).admin().handle().append_expecting(expected, events)
}

/// The text of a file, or why it has none.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() as u64 > TRANSCRIPT_BYTES_MAX {
        return Err(format!("larger than the limit of {TRANSCRIPT_BYTES_MAX} bytes"));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => whole_characters(bytes, error)?,
    };
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A file that is still being written may end within a character: its last record is torn, and
/// the ones before it are not.
fn whole_characters(bytes: &[u8], error: Utf8Error) -> Result<&str, String> {
    let valid = error.valid_up_to();
    let whole = bytes.get(..valid).filter(|_| error.error_len().is_none());
    let text = whole.and_then(|whole| str::from_utf8(whole).ok());
    text.ok_or_else(|| format!("not UTF-8: byte {} is none of a character", valid + 1))
}
