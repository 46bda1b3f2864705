//! Whether transcripts can be sent as they are, and what they are when mended.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sessionlog::transcript::{Format, Skipped, Validated, validate_text};
use sessionlog::{
    Place, Violation, left_out_of_anthropic, left_out_of_openai, to_anthropic, to_openai,
    validate_anthropic, validate_openai,
};

use super::args::{Provider, ValidateArgs};
use super::context::left_out_words;
use super::failure::{Failure, Outcome, Result};
use super::import::{STDIN_NAME, check_path, read_file, read_stdin};
use super::output::{BAD, FAINT, GOOD, LABEL, Output};
use super::text;

pub(super) fn run(args: &ValidateArgs, out: &mut Output) -> Result<Outcome> {
    args.files.iter().filter(|path| !is_stdin(path)).try_for_each(|path| check_path(path))?;
    let mut report = Report::default();
    for path in &args.files {
        let (name, text) = if is_stdin(path) {
            (String::from(STDIN_NAME), read_stdin()?)
        } else {
            (path.display().to_string(), read_file(path)?)
        };
        let (found, skipped) = validate_text(&name, &text, args.format.0)?;
        report.found.extend(found.into_iter().map(|found| (name.clone(), found)));
        report.skipped.extend(skipped);
    }
    let shown = if out.is_json() {
        out.json(&report.to_json(args))
    } else if args.repair {
        report.write_repaired(args, out)
    } else {
        report.write(args, out)
    };
    Failure::or_seen(shown)?;
    let is_whole = report.skipped.is_empty() && !report.found.is_empty();
    let is_legal = if args.repair { report.is_mended(args) } else { report.violations() == 0 };
    let is_fine = is_whole && is_legal;
    Ok(if is_fine { Outcome::Fine } else { Outcome::Troubled })
}

/// Says something of a conversation, which may be called what its file is.
fn complain(file: &str, found: &Validated, words: &str) {
    let place = if file == found.session_id { "" } else { &format!("{}: ", found.session_id) };
    super::complain(&format!("{file}: {place}{words}"));
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN_NAME)
}

/// What was found in all files, each conversation with the name of its file.
#[derive(Default)]
struct Report {
    found: Vec<(String, Validated)>,
    skipped: Vec<Skipped>,
}

impl Report {
    fn violations(&self) -> usize {
        self.found.iter().map(|(_, found)| found.violations.len()).sum()
    }

    fn is_mended(&self, args: &ValidateArgs) -> bool {
        self.found.iter().all(|(_, found)| Mended::of(found, args).violations.is_empty())
    }

    fn to_json(&self, args: &ValidateArgs) -> Value {
        let conversations: Vec<Value> = self
            .found
            .iter()
            .map(|(file, found)| {
                let mut conversation = json!({
                    "file": file,
                    "session_id": found.session_id,
                    "format": found.format.as_str(),
                    "line": found.line,
                    "messages": found.messages,
                    "violations": violations(&found.violations),
                    "repairs": found.repairs.iter().map(ToString::to_string).collect::<Vec<_>>(),
                });
                if let Some(members) = conversation.as_object_mut().filter(|_| args.repair) {
                    let mended = Mended::of(found, args);
                    members.insert(String::from("repaired"), mended.request);
                    let unmended = violations(&mended.violations);
                    members.insert(String::from("unmended"), unmended.into());
                    members.insert(String::from("left_out"), json!(left_out(found, args)));
                }
                conversation
            })
            .collect();
        let is_legal = self.violations() == 0 && (!args.repair || self.is_mended(args));
        let ok = is_legal && self.skipped.is_empty() && !self.found.is_empty();
        json!({ "ok": ok, "conversations": conversations, "skipped": self.skipped })
    }

    fn write(&self, args: &ValidateArgs, out: &mut Output) -> Result<()> {
        let broken = self.found.iter().filter(|(_, found)| !found.violations.is_empty());
        for (file, found) in broken {
            let messages = text::count(found.messages as u64, "message");
            let line = found.line.map(|line| format!(", line {line}")).unwrap_or_default();
            let about = format!("{}, {}{line}, {messages}", found.session_id, found.format);
            let file = text::one_line(file);
            writeln!(out, "{LABEL}{file}{LABEL:#} {FAINT}({}){FAINT:#}", text::one_line(&about))?;
            for violation in &found.violations {
                let words = text::one_line(&violation.to_string());
                writeln!(out, "  {words} {FAINT}[{}]{FAINT:#}", violation.rule)?;
            }
        }
        for line in self.skipped_lines() {
            out.line(&line)?;
        }
        let conversations = text::count(self.found.len() as u64, "conversation");
        match self.violations() {
            0 if self.found.is_empty() => writeln!(out, "{BAD}no conversation was found{BAD:#}")?,
            0 => writeln!(out, "{GOOD}legal to send{GOOD:#}: {conversations}")?,
            count => {
                let count = text::count(count as u64, "violation");
                let hint = match (self.is_mended(args), self.violations()) {
                    (true, 1) => "--repair mends it",
                    (true, _) => "--repair mends them",
                    (false, _) => "--repair mends what can be mended",
                };
                writeln!(out, "{BAD}{count}{BAD:#} in {conversations}; {hint}")?;
            }
        }
        Ok(())
    }

    /// The documents alone go to standard output, so that it can be a file that is sent.
    fn write_repaired(&self, args: &ValidateArgs, out: &mut Output) -> Result<()> {
        for (file, found) in &self.found {
            let mended = Mended::of(found, args);
            out.json(&mended.request)?;
            for repair in &found.repairs {
                complain(file, found, &repair.to_string());
            }
            for (kind, count) in left_out(found, args) {
                complain(file, found, &left_out_words(&kind, count));
            }
            for violation in &mended.violations {
                let words = format!("cannot be mended: {violation} [{}]", violation.rule);
                complain(file, found, &words);
            }
        }
        self.skipped_lines().for_each(|line| super::complain(&line));
        if self.found.is_empty() {
            super::complain("no conversation was found");
        }
        Ok(())
    }

    fn skipped_lines(&self) -> impl Iterator<Item = String> {
        self.skipped.iter().map(|skipped| {
            let line = skipped.line.map(|line| format!(" line {line}")).unwrap_or_default();
            format!("{}{line}: left out: {}", skipped.file, skipped.reason)
        })
    }
}

fn violations(violations: &[Violation]) -> Vec<Value> {
    let violations = violations.iter().map(|violation| {
        let message = match violation.place {
            Place::Message(at) => Some(at),
            Place::System | Place::End => None,
        };
        json!({
            "place": violation.place.to_string(),
            "message": message,
            "rule": violation.rule.as_str(),
            "asks": violation.rule.says(),
            "detail": violation.detail,
        })
    });
    violations.collect()
}

/// Whose request a mended conversation is.
fn provider(found: &Validated, args: &ValidateArgs) -> Provider {
    let own =
        if found.format == Format::Anthropic { Provider::Anthropic } else { Provider::Openai };
    args.provider.unwrap_or(own)
}

/// How many parts of which type it is without.
fn left_out(found: &Validated, args: &ValidateArgs) -> BTreeMap<String, u64> {
    match provider(found, args) {
        Provider::Openai => left_out_of_openai(&found.repaired),
        Provider::Anthropic => left_out_of_anthropic(&found.repaired),
    }
}

/// What a conversation is when mended.
struct Mended {
    /// A request without its other members.
    request: Value,
    /// What a provider would still refuse. Nothing mends a request of no message.
    violations: Vec<Violation>,
}

impl Mended {
    fn of(found: &Validated, args: &ValidateArgs) -> Self {
        match provider(found, args) {
            Provider::Openai => {
                let messages = to_openai(&found.repaired);
                let violations = validate_openai(&messages);
                Self { request: json!({ "messages": messages }), violations }
            }
            Provider::Anthropic => {
                let prompt = to_anthropic(&found.repaired);
                let violations = validate_anthropic(&prompt);
                let mut request = json!({ "messages": prompt.messages });
                if let (Some(system), Some(members)) = (prompt.system, request.as_object_mut()) {
                    members.insert(String::from("system"), system.into());
                }
                Self { request, violations }
            }
        }
    }
}
