//! Standard output: one JSON document for programs, or words and tables for people.

use std::io::{self, BufWriter, Stdout, Write};
use std::ops::Range;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::failure::Result;
use super::text;

/// Headings and labels.
pub(super) const LABEL: Style = Style::new().bold();
/// What matters less.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// A terminal narrower than this is taken for one that does not know its size.
const COLUMNS_MIN: usize = 20;
/// A column gives way no further than this, padding included.
const FLEXIBLE_MIN: Width = Width::Fixed(12);
/// The same as a number, without the padding.
pub(super) const FLEXIBLE_COLUMNS_MIN: usize = 10;

/// A bar for work that is counted in sessions, drawn where standard error is a terminal.
pub(super) fn sessions_bar(sessions: u64) -> ProgressBar {
    bar_of(sessions, "sessions")
}

/// The same for work that is counted in something else.
pub(super) fn bar_of(count: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(count);
    let template = format!("{{bar:30}} {{human_pos}} of {{human_len}} {what}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}

/// Where a command's results go.
pub(super) struct Output {
    is_json: bool,
    columns: Option<usize>,
    stream: BufWriter<AutoStream<Stdout>>,
}

impl Output {
    pub(super) fn new(is_json: bool) -> Self {
        let stream = if is_json {
            AutoStream::new(io::stdout(), ColorChoice::AlwaysAnsi)
        } else {
            AutoStream::auto(io::stdout())
        };
        let columns = Table::new().width().map(usize::from).filter(|width| *width >= COLUMNS_MIN);
        Self { is_json, columns, stream: BufWriter::new(stream) }
    }

    /// How wide the terminal is, if it is one.
    pub(super) fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// Whether a program reads it.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// The document.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<()> {
        write_json(&mut self.stream, document)?;
        Ok(self.stream.write_all(b"\n")?)
    }

    /// Lets the engine write. An error of the output is told from one of the engine's.
    pub(super) fn engine(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> sessionlog::Result<()>,
    ) -> Result<()> {
        let mut noting = Noting { out: self, error: None };
        let written = write(&mut noting);
        match noting.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(written?),
        }
    }

    /// The document `{"name":[...]}`, written as its items come. Where they break off the list
    /// still ends, so that what could be read is a document; the failure is told elsewhere.
    pub(super) fn json_list<T: Serialize>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = Result<T>>,
    ) -> Result<()> {
        write!(self, "{{\"{name}\":[")?;
        let mut outcome = Ok(());
        for (at, item) in items.enumerate() {
            match item {
                Ok(item) => {
                    if at > 0 {
                        self.write_all(b",")?;
                    }
                    write_json(&mut self.stream, &item)?;
                }
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            }
        }
        writeln!(self, "]}}")?;
        outcome
    }

    /// One line of text, cut where a terminal ends.
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        let line = self.fit(&text::flat(line), 0);
        Ok(writeln!(self, "{line}")?)
    }

    /// The same in a style.
    pub(super) fn line_in(&mut self, style: Style, line: &str) -> Result<()> {
        let line = self.fit(&text::flat(line), 0);
        Ok(writeln!(self, "{style}{line}{style:#}")?)
    }

    /// The text, cut where a terminal ends if it begins so many columns in.
    pub(super) fn fit(&self, text: &str, used: usize) -> String {
        match self.columns {
            Some(columns) => text::cut(text, columns.saturating_sub(used)),
            None => text.to_owned(),
        }
    }

    /// A table, its columns aligned to the right where they are among `numbers`. On a terminal
    /// the `flexible` columns give way, and lines that are still too long are cut.
    pub(super) fn table(
        &mut self,
        header: &[&str],
        numbers: Range<usize>,
        flexible: Range<usize>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty().set_truncation_indicator("…");
        if let Some(columns) = self.columns {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
        }
        table.set_header(header.iter().copied());
        for cells in rows {
            let mut row: Row = cells.iter().map(|cell| text::one_line(cell)).into();
            row.max_height(1);
            table.add_row(row);
        }
        for (at, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            column.set_constraint(match self.columns {
                Some(_) if flexible.contains(&at) => ColumnConstraint::LowerBoundary(FLEXIBLE_MIN),
                _ => ColumnConstraint::ContentWidth,
            });
            if numbers.contains(&at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (at, line) in table.lines().enumerate() {
            let line = self.fit(line.trim_end(), 0);
            if at == 0 {
                writeln!(self, "{LABEL}{line}{LABEL:#}")?;
            } else {
                writeln!(self, "{line}")?;
            }
        }
        Ok(())
    }
}

fn write_json(out: impl Write, document: &impl Serialize) -> serde_json::Result<()> {
    document.serialize(&mut Serializer::with_formatter(out, Printable))
}

/// JSON whose strings show a terminal no controls: those that JSON itself lets stand (U+007F to
/// U+009F) are escaped, which means the same.
struct Printable;

impl Printable {
    fn write<W: ?Sized + Write>(out: &mut W, text: &str) -> io::Result<()> {
        for piece in text.split_inclusive(char::is_control) {
            let mut chars = piece.chars();
            match chars.next_back().filter(|last| matches!(last, '\u{7f}'..='\u{9f}')) {
                Some(control) => {
                    out.write_all(chars.as_str().as_bytes())?;
                    write!(out, "\\u{:04x}", u32::from(control))?;
                }
                None => out.write_all(piece.as_bytes())?,
            }
        }
        Ok(())
    }
}

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        Self::write(out, fragment)
    }

    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        Self::write(out, fragment)
    }
}

/// Notes what the output failed with.
struct Noting<'a> {
    out: &'a mut Output,
    error: Option<io::Error>,
}

impl Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn no_control_reaches_a_terminal_and_every_string_means_the_same() {
        let text = "a\u{7f}\u{9b}31m é\u{a0}\u{85}\n\"\u{1}";
        let raw: &RawValue = serde_json::from_str("[\"\u{9b}31m\u{80}\"]").unwrap();
        let mut written = Vec::new();
        write_json(&mut written, &(text, raw)).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(!written.contains(char::is_control), "{written:?}");
        assert!(written.contains("\\u009b31m é\u{a0}\\u0085"), "{written}");
        let read: (String, [String; 1]) = serde_json::from_str(&written).unwrap();
        assert_eq!(read, (text.to_owned(), [String::from("\u{9b}31m\u{80}")]));
    }
}
