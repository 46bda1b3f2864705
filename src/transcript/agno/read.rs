//! A file of sessions, of rows, or of both.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use super::run::{Nested, Reader};
use super::session;
use crate::error::Result;
use crate::json::{Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;
use crate::transcript::conversation::{Conversation, Parsed};
use crate::transcript::source::{Broken, Place, Record, Source, elements, members, text_of};

/// Reads a file. Rows of runs join the session of their id, wherever in the file it stands.
pub(super) fn read(source: &Source<'_>, _stem: &str) -> Parsed {
    let mut file = File::default();
    for record in &source.records {
        if let Err(broken) = file.add(record) {
            file.broken.push(broken);
        }
    }
    file.join();
    file.read_nested();
    Parsed { conversations: file.sessions, broken: file.broken, ..Parsed::default() }
}

#[derive(Default)]
struct File {
    sessions: Vec<Conversation>,
    rows: Vec<Row>,
    /// The runs inside runs, each with its session and place.
    nested: VecDeque<(usize, Place, Nested)>,
    broken: Vec<Broken>,
}

/// A run that stands beside its session.
struct Row {
    place: Place,
    session_id: String,
    index: Option<i64>,
    run: JsonObject,
    /// Where in its record the run is.
    path: &'static str,
}

impl File {
    fn add(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let place = record.place;
        let mut object = members(record.text)
            .ok_or_else(|| place.broken("no session: an object with a session_id is expected"))?;
        let session_id = object.get("session_id").and_then(text_of).filter(|id| !id.is_empty());
        let session_id = session_id.ok_or_else(|| place.broken("a record without a session_id"))?;
        if ["run_id", "run_data"].into_iter().any(|name| object.get(name).is_some()) {
            self.rows.push(Row::new(place, session_id, object)?);
            return Ok(());
        }
        let runs = object.take("runs").map(|json| session::decoded(&json));
        check_depth(object.to_json().as_str(), STATE_DEPTH_MAX)
            .map_err(|reason| place.broken(reason))?;
        let mut conversation = session::conversation(session_id, &object, place);
        let runs = runs.filter(|runs| runs.as_str() != "null");
        if let Some(runs) = runs {
            if elements(runs.as_str()).is_none() {
                return Err(place.broken("its runs are no list"));
            }
            let mut reader = Reader::new(place, &mut self.broken);
            reader.read_list(&mut conversation, &runs, "runs", None);
            let at = self.sessions.len();
            self.nested.extend(reader.nested.into_iter().map(|nested| (at, place, nested)));
        }
        self.sessions.push(conversation);
        Ok(())
    }

    /// Puts the rows into their sessions, in the order they say they have.
    fn join(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by_key(|row| row.index.unwrap_or(i64::MAX));
        let places = self.sessions.iter().enumerate();
        let mut places: HashMap<String, usize> =
            places.rev().map(|(at, session)| (session.session_id.clone(), at)).collect();
        for row in rows {
            let at = *places.entry(row.session_id.clone()).or_insert_with(|| {
                self.sessions.push(session::of_run(&row.session_id, &row.run));
                self.sessions.len() - 1
            });
            let Some(conversation) = self.sessions.get_mut(at) else { continue };
            let mut reader = Reader::new(row.place, &mut self.broken);
            let user_id = row.run.get("user_id").and_then(text_of);
            if user_id.is_some() && user_id != conversation.user_id {
                reader.broken(row.path, "a run of another user than its session");
            } else {
                reader.read(conversation, row.run, row.path, None);
            }
            self.nested.extend(reader.nested.into_iter().map(|nested| (at, row.place, nested)));
        }
    }
}

impl File {
    fn read_nested(&mut self) {
        while let Some((at, place, Nested { path, parent, runs })) = self.nested.pop_front() {
            let Some(conversation) = self.sessions.get_mut(at) else { continue };
            let mut reader = Reader::new(place, &mut self.broken);
            reader.read_list(conversation, &runs, &path, Some(&parent));
            self.nested.extend(reader.nested.into_iter().map(|nested| (at, place, nested)));
        }
    }
}

impl Row {
    /// The columns say again what the run says; they count where it does not.
    fn new(place: Place, session_id: String, mut columns: JsonObject) -> Result<Self, Broken> {
        let index = columns.get("run_index").map(Json::to_value);
        let index = index.and_then(|index| i64::deserialize(&index).ok());
        let Some(data) = columns.take("run_data").map(|json| session::decoded(&json)) else {
            return Ok(Self { place, session_id, index, run: columns, path: "" });
        };
        let mut run =
            members(data.as_str()).ok_or_else(|| place.broken("its run_data is no object"))?;
        if let Some(inner) = run.get("run").and_then(|run| members(run.as_str())) {
            run = inner;
        }
        for column in columns.0 {
            let is_said = run.get(&column.name).is_some();
            let is_of_run = !["run_index", "run_type"].contains(&column.name.as_str());
            if !is_said && is_of_run && column.value.to_value() != Value::Null {
                run.0.push(column);
            }
        }
        Ok(Self { place, session_id, index, run, path: "run_data" })
    }
}
