//! Every stored record of a database in which things were compacted, erased and deleted: a
//! change of any of them is found, and where it lies in an event, it is said where.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessionlog::{
    Batch, BlobStore, Custom, Engine, EngineBuilder, EventId, Json, KeepRuns, Log, Media,
    MemoryBlobs, MemoryLog, Message, Metrics, NewEvent, OlderRuns, Order, PageLimit, Point, Policy,
    PolicySet, Range, Record, Renamed, SummaryWritten,
};

use crate::support::{record_tool_turn, record_turn};

const ORIGINAL: u8 = 0;
const REPLACED: u8 = 1;
const REMOVED: u8 = 2;
/// Where a frame says which form its body has.
const FORM: usize = 200;

/// A database in memory: its records, and its media.
struct Database {
    log: Arc<dyn Log>,
    blobs: Arc<dyn BlobStore>,
}

impl Database {
    fn open(&self) -> Engine {
        self.builder().open_log(Arc::clone(&self.log)).unwrap()
    }

    fn builder(&self) -> EngineBuilder {
        Engine::builder().blobs(Arc::clone(&self.blobs))
    }
}

fn empty() -> Database {
    Database { log: Arc::new(MemoryLog::new()), blobs: Arc::new(MemoryBlobs::new()) }
}

/// A small database of which something of every kind went.
fn database() -> Database {
    let database =
        Database { log: Arc::new(MemoryLog::new()), blobs: Arc::new(MemoryBlobs::new()) };
    let engine = database.open();
    let session = engine.session("s").user("alice").open().unwrap();
    record_tool_turn(&session, "c");
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    let custom = Custom { kind: "k".into(), data: Json::from(serde_json::json!(1)) };
    fork.append([NewEvent::new(custom).with_id(EventId::derive(&[b"x"]))]).unwrap();
    record_tool_turn(&fork, "d");
    record_tool_turn(&fork, "e");
    fork.set_policy(Policy::new().store_tool_messages(false)).unwrap();
    let run = fork.start_run().unwrap();
    let set = PolicySet { policy: Policy::new().store_media(false) };
    fork.append([NewEvent::in_run(run.id(), set)]).unwrap().wait().unwrap();
    run.push(Message::user("needle")).unwrap();
    run.complete(Metrics::tokens(1, 1)).unwrap().wait().unwrap();
    let (first_seq, last_seq) = (1, fork.seq().unwrap());
    let (summary, topics) = (String::from("about it"), Vec::new());
    let written =
        SummaryWritten { summary, topics, first_seq, last_seq, model: None, metrics: None };
    fork.write_summary(written).unwrap().wait().unwrap();
    let renamed = Renamed { name: Some("It".into()), is_generated: true };
    fork.append([NewEvent::new(renamed)]).unwrap().wait().unwrap();
    fork.erase_message(last_seq - 1, Some("asked")).unwrap();
    let older = KeepRuns::Last { runs: 1, older: OlderRuns::Dropped };
    engine.compaction().policy(Policy::new().keep_runs(older)).run().unwrap();
    session.delete(None).unwrap();
    let gone = engine.session("gone").open().unwrap();
    record_turn(&gone, "q", "a");
    gone.delete(None).unwrap();
    let again = engine.session("gone").user("bob").open().unwrap();
    record_turn(&again, "q", "a");
    again.rewind(Point::seq(again.seq().unwrap() - 2)).unwrap().wait().unwrap();
    let photo = again.store_media(Media::bytes("image/png", vec![7; 2_000])).unwrap();
    let message = Message::user("Look.").with_part(photo.part());
    again.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    drop((photo, again, engine));
    database
}

fn records(log: &dyn Log) -> Vec<Record> {
    let everything = Range::prefix(&[], Order::Ascending);
    log.page(&everything, PageLimit::records(100_000)).unwrap()
}

fn change(log: &dyn Log, key: &[u8], value: Option<&[u8]>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.replace(key.to_vec(), value.to_vec()),
        None => batch.remove(key.to_vec()),
    }
    log.apply(&batch).unwrap();
}

/// What is wrong with a database; none where it is refused as a whole.
fn problems(database: &Database, engine: &Engine) -> Option<Vec<String>> {
    let Ok(report) = engine.verify() else { return None };
    let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    // The database's own record is read by whoever opens it.
    let is_refused =
        || database.builder().salvage(true).open_log(Arc::clone(&database.log)).is_err();
    if problems.is_empty() && is_refused() { None } else { Some(problems) }
}

fn is_frame(record: &Record) -> bool {
    record.key[0] == b'f'
}

#[test]
fn the_database_holds_every_kind_of_record_that_can_be_damaged() {
    let database = database();
    let (log, engine) = (&database.log, database.open());
    assert_eq!(problems(&database, &engine), Some(Vec::new()));
    let records = records(&**log);
    let mut classes: Vec<u8> = records.iter().map(|record| record.key[0]).collect();
    classes.dedup();
    assert_eq!(String::from_utf8(classes).unwrap(), "abcdfghikmnqrsuwxz");
    let frames = records.iter().filter(|record| is_frame(record));
    let mut forms = BTreeMap::<u8, usize>::new();
    frames.for_each(|frame| *forms.entry(frame.value[FORM]).or_default() += 1);
    assert_eq!(forms.keys().copied().collect::<Vec<_>>(), [ORIGINAL, REPLACED, REMOVED]);
}

#[test]
fn any_flipped_bit_of_what_went_or_stayed_is_found_and_located() {
    let database = database();
    let (log, engine) = (&database.log, database.open());
    for record in records(&**log).into_iter().filter(is_frame) {
        let seq = u64::from_be_bytes(record.key[17..].try_into().unwrap());
        // Some bits of each, which differ from event to event; all of them where there is time.
        let all = std::env::var_os("SESSIONLOG_ROUNDS").is_some();
        let bits = 0..record.value.len() * 8;
        for bit in bits.filter(|bit| all || bit % 25 == seq as usize % 25) {
            let mut value = record.value.clone();
            value[bit / 8] ^= 1 << (bit % 8);
            change(&**log, &record.key, Some(&value));
            let problems = problems(&database, &engine).unwrap_or_default();
            let named = format!("seq {seq}:");
            assert!(problems.iter().any(|it| it.contains(&named)), "{seq} bit {bit}: {problems:?}");
        }
        change(&**log, &record.key, Some(&record.value));
    }
    assert_eq!(problems(&database, &engine), Some(Vec::new()));
}

#[test]
fn any_changed_byte_of_any_index_is_found_and_any_record_that_is_missing() {
    let database = database();
    let (log, engine) = (&database.log, database.open());
    for record in records(&**log).into_iter().filter(|record| !is_frame(record)) {
        let class = char::from(record.key[0]);
        let found = |what: &str| {
            let is_sound = problems(&database, &engine).is_some_and(|problems| problems.is_empty());
            assert!(!is_sound, "{what} of {class}: {record:?}");
        };
        for at in 0..record.value.len() {
            let mut value = record.value.clone();
            value[at] ^= 1 << (at % 8);
            change(&**log, &record.key, Some(&value));
            found(&format!("byte {at} of the value"));
        }
        change(&**log, &record.key, None);
        // A snapshot can be thrown away, and no count is none.
        let is_nothing = class == 's' || (class == 'k' && record.value == [0; 8]);
        if !is_nothing {
            found("the absence");
        }
        for at in 1..record.key.len() {
            let mut key = record.key.clone();
            key[at] ^= 1 << (at % 8);
            if log.get(&key).unwrap().is_some() {
                continue;
            }
            change(&**log, &key, Some(&record.value));
            if !is_nothing {
                found(&format!("byte {at} of the key"));
            }
            change(&**log, &key, None);
        }
        change(&**log, &record.key, Some(&record.value));
    }
    assert_eq!(problems(&database, &engine), Some(Vec::new()));
}

#[test]
fn a_database_that_says_it_is_another_log_is_found() {
    let database = database();
    let meta = br#"{"format":1,"log_id":"01a1fd0d-d97e-459a-a491-e3b6b4f77cd5"}"#;
    change(&*database.log, b"m", Some(meta));
    let problems = problems(&database, &database.open()).unwrap();
    let wanted = "the database's own record names another log than its events do";
    assert_eq!(problems, [wanted]);
}

/// What makes a body stand where none, or another, should.
fn put_back(form: u8, wanted: &str) {
    let database = database();
    let (log, engine) = (&database.log, database.open());
    let before = records(&**log);
    let others = before.iter().filter(|record| is_frame(record) && record.value[FORM] == form);
    let others: Vec<_> = others.cloned().collect();
    assert!(others.len() > 1);
    for record in &others {
        let seq = u64::from_be_bytes(record.key[17..].try_into().unwrap());
        let donors = before.iter().filter(|it| is_frame(it) && it.value[FORM] != REMOVED);
        for donor in donors.filter(|donor| donor.key != record.key) {
            let mut value = record.value[..FORM].to_vec();
            value.push(REPLACED);
            value.extend_from_slice(&donor.value[FORM + 1..]);
            seal(&mut value);
            change(&**log, &record.key, Some(&value));
            let problems = problems(&database, &engine).unwrap();
            let is_named = |it: &String| it.contains(&format!("seq {seq}: {wanted}"));
            assert!(problems.iter().any(is_named), "{seq}: {problems:?}");
        }
        change(&**log, &record.key, Some(&record.value));
    }
}

fn hash(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// What commits to the body that stands in a frame.
fn commitment(frame: &[u8]) -> [u8; 32] {
    let (salt, body) = frame[FORM + 1..].split_at(16);
    hash("sessionlog v1 body commitment", &[salt, &(body.len() as u64).to_le_bytes(), body])
}

/// Computes the frame's own check again, as whoever knows the format can.
fn seal(frame: &mut [u8]) {
    let link = hash("sessionlog v1 event link", &[&frame[..184]]);
    let present = commitment(frame);
    let mut parts = vec![&link[..], &frame[184..192], &frame[FORM..FORM + 17]];
    if frame[FORM] != ORIGINAL {
        parts.push(&present);
    }
    let check = hash("sessionlog v1 frame check", &parts);
    frame[192..200].copy_from_slice(&check[..8]);
}

#[test]
fn another_body_than_the_one_that_an_event_names_is_found() {
    put_back(REPLACED, "the body was replaced, and no event says so");
}

#[test]
fn a_body_that_stands_where_an_event_says_that_none_does_is_found() {
    put_back(REMOVED, "the body was replaced, and no event says so");
}

#[test]
fn an_event_of_compaction_that_names_something_else_is_found_by_the_chain() {
    let database = database();
    let (log, engine) = (&database.log, database.open());
    let compacted = |record: &&Record| is_frame(record) && record.value[6] == 49;
    let record = records(&**log).iter().find(compacted).unwrap().clone();
    let seq = u64::from_be_bytes(record.key[17..].try_into().unwrap());
    let mut value = record.value.clone();
    let last = value.len() - 40;
    value[last] ^= 1;
    // With a commitment and a check that fit: the next event and the group hold the old link.
    let commitment = commitment(&value);
    value[152..184].copy_from_slice(&commitment);
    seal(&mut value);
    change(&**log, &record.key, Some(&value));
    let problems = problems(&database, &engine).unwrap();
    let is_found = |it: &String| {
        it.contains(&format!("seq {}: it does not follow", seq + 1))
            || it.contains("it does not follow from what it holds")
    };
    assert!(problems.iter().any(is_found), "{problems:?}");
}

#[test]
fn a_snapshot_that_still_holds_what_was_erased_is_found() {
    let database = empty();
    let (log, engine) = (&database.log, database.open());
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "needle", "a");
    let (first_seq, last_seq) = (1, session.seq().unwrap());
    let (summary, topics) = (String::from("needle"), Vec::new());
    let written =
        SummaryWritten { summary, topics, first_seq, last_seq, model: None, metrics: None };
    session.write_summary(written).unwrap().wait().unwrap();
    for _ in 0..70 {
        record_turn(&session, "q", "a");
    }
    // Behind the answers, so that the snapshot is there.
    session.rename("x").unwrap().wait().unwrap();
    let snapshots: Vec<Record> =
        records(&**log).into_iter().filter(|record| record.key[0] == b's').collect();
    assert!(!snapshots.is_empty());
    session.erase_message(3, None).unwrap();
    assert_eq!(problems(&database, &engine), Some(Vec::new()));
    let snapshot = &snapshots[0];
    change(&**log, &snapshot.key, Some(&snapshot.value));
    let problems = problems(&database, &engine).unwrap();
    assert!(problems.iter().any(|it| it.contains("the snapshot is not what the events say")));
}
