//! Searches beside a writer, ended at any moment: they find what the log has, all of it and
//! nothing else, and what was erased is in no file of their index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sessionlog::{
    Access, Engine, EventBody, Message, Metrics, Point, Result, SearchQuery, Session, limits,
};

use crate::keeping::existing;
use crate::power_cut::Disk;
use crate::writer::{Acknowledged, Notes, SEARCHES, Writer};
use crate::{random_moment, random_number, rounds};

const SESSIONS: u64 = 3;

/// The word that only this step says.
fn word(step: u64) -> String {
    format!("needle{step}")
}

/// Says words, searches for them, takes them back and makes the index anew, until something fails.
pub(crate) fn search(database: &Path, notes: &Notes) {
    let searched = || -> Result<()> {
        let engine = Engine::open(database)?;
        let first = engine.stats()?.events;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Somebody else writes all the while, so that there is always something to take in.
                if let Ok(session) = engine.session("beside").open() {
                    while say(&session, "green tea").is_ok() {}
                }
            });
            (first..).try_for_each(|step| search_one(&engine, notes, step))
        })
    };
    if let Err(error) = searched() {
        notes.add(&format!("failed {error}"));
    }
}

fn search_one(engine: &Engine, notes: &Notes, step: u64) -> Result<()> {
    let session = engine.session(format!("f{}", step % SESSIONS)).open()?;
    let id = session.id();
    let seq = say(&session, &word(step))?;
    notes.add(&format!("said {id} {seq} {step}"));
    match step % 7 {
        0 => engine.index_search(&mut |_| ())?,
        1 => session.rename(format!("about {}", word(step)))?.wait().map(drop)?,
        2 if step.is_multiple_of(5) => engine.rebuild_search(&mut |_| ())?,
        3 if step.is_multiple_of(5) => {
            session.delete(None)?;
            notes.add(&format!("deleted {id} {seq} {step}"));
        }
        4 | 5 => {
            session.erase_message(seq, None)?;
            notes.add(&format!("erased {id} {seq} {step}"));
        }
        _ => {
            let found = engine.search(&SearchQuery::new(Access::Admin, word(step)))?;
            if !found.hits.iter().any(|hit| (hit.session_id.as_str(), hit.seq) == (id, seq)) {
                notes.add(&format!("failed to find {}", word(step)));
            }
        }
    }
    Ok(())
}

/// A run that says a word; the seq at which it does.
fn say(session: &Session, word: &str) -> Result<u64> {
    let messages =
        [Message::user(format!("the word is {word} today")), Message::assistant("noted")];
    let receipt = session.record_run(messages, Metrics::tokens(2, 1))?.wait()?;
    Ok(receipt.last_seq - 2)
}

/// What was noted, as session, seq and step.
fn noted<'a>(notes: &'a str, what: &str) -> Vec<(&'a str, u64, u64)> {
    let of_kind = notes.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    let numbers = of_kind.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0], words[1].parse().unwrap(), words[2].parse().unwrap())
    });
    numbers.collect()
}

/// The words that were taken back, each for itself or with its session.
fn gone(notes: &str) -> BTreeSet<String> {
    let erased = noted(notes, "erased").into_iter().map(|(_, _, step)| word(step));
    let deleted = noted(notes, "deleted").into_iter().flat_map(|(id, _, last)| {
        let said = noted(notes, "said").into_iter();
        said.filter(move |(of, _, step)| *of == id && *step <= last).map(|(_, _, step)| word(step))
    });
    erased.chain(deleted).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What is in the files of an index.
#[derive(Debug, Default)]
struct Kept {
    /// The words in its dictionaries, those of entries that were taken out included.
    words: BTreeSet<String>,
    /// Files that belong to no part of it.
    loose: Vec<PathBuf>,
}

impl Kept {
    fn of(database: &Path) -> Self {
        let folder = database.join("search").join("index");
        let mut kept = Self::default();
        let Ok(index) = tantivy::Index::open_in_dir(&folder) else {
            kept.loose = files(&folder);
            return kept;
        };
        let text = index.schema().get_field("text").unwrap();
        let reader: tantivy::IndexReader = index.reader().unwrap();
        let mut parts = Vec::new();
        for part in reader.searcher().segment_readers() {
            parts.push(part.segment_id().uuid_string());
            let entries = part.inverted_index(text).unwrap();
            let mut terms = entries.terms().stream().unwrap();
            while terms.advance() {
                kept.words.insert(String::from_utf8(terms.key().to_vec()).unwrap());
            }
        }
        kept.loose = files(&folder);
        kept.loose.retain(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_list = name == "meta.json" || name.starts_with('.');
            !is_list && !parts.iter().any(|part| name.starts_with(part))
        });
        kept
    }
}

/// What a look through everything finds: the places of each word, and each session's name.
fn look_through(engine: &Engine) -> BTreeMap<String, BTreeSet<(String, u64)>> {
    let mut found: BTreeMap<String, BTreeSet<(String, u64)>> = BTreeMap::new();
    let ids = (0..SESSIONS).map(|number| format!("f{number}")).chain([String::from("beside")]);
    for id in ids {
        let Some(session) = existing(engine, &id) else { continue };
        let mut named = None;
        for event in session.events(Point::Head).unwrap() {
            let event = event.unwrap();
            let text = match event.body {
                EventBody::MessageAdded(added) => added.message.content.text(),
                EventBody::Renamed(renamed) => {
                    named = renamed.name.map(|name| (name, event.seq));
                    continue;
                }
                _ => continue,
            };
            for word in text.split_whitespace() {
                found.entry(word.to_owned()).or_default().insert((id.clone(), event.seq));
            }
        }
        if let Some((name, seq)) = named {
            for word in name.split_whitespace() {
                found.entry(word.to_owned()).or_default().insert((id.clone(), seq));
            }
        }
    }
    found
}

/// Searches say the same as a look through everything: for words that are there, and for those
/// that were said and may be gone.
fn check_searches(engine: &Engine, notes: &str) {
    let there = look_through(engine);
    let said = noted(notes, "said").into_iter().map(|(_, _, step)| word(step));
    let words: BTreeSet<String> = there.keys().cloned().chain(said).collect();
    for word in words {
        let query = SearchQuery::new(Access::Admin, &word).limit(limits::SEARCH_HITS_MAX);
        let page = engine.search(&query).unwrap();
        let found: BTreeSet<(String, u64)> =
            page.hits.into_iter().map(|hit| (hit.session_id, hit.seq)).collect();
        let wanted = there.get(&word).cloned().unwrap_or_default();
        if wanted.len() > limits::SEARCH_HITS_MAX {
            assert!(page.has_more && found.is_subset(&wanted), "{word}");
            assert_eq!(found.len(), limits::SEARCH_HITS_MAX, "{word}");
        } else {
            assert_eq!(found, wanted, "{word}");
        }
    }
}

fn random_below(length: usize) -> usize {
    usize::try_from(random_number(length.max(1) as u64)).unwrap()
}

/// Harms one file of the index, as a disk might.
fn harm(database: &Path) {
    let files = files(&database.join("search").join("index"));
    let Some(file) = files.get(random_below(files.len())) else { return };
    let mut bytes = fs::read(file).unwrap();
    match random_number(3) {
        0 => fs::remove_file(file).unwrap(),
        1 => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
        _ => {
            let at = random_below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x55;
            }
            fs::write(file, bytes).unwrap();
        }
    }
}

/// Whether all parts of the index are there. A process that was killed while it made the index anew
/// may have removed some of the old files; the next search throws the others away.
fn can_be_read(database: &Path) -> bool {
    let folder = database.join("search").join("index");
    let Ok(index) = tantivy::Index::open_in_dir(folder) else { return true };
    let text = index.schema().get_field("text").unwrap();
    let reader: tantivy::Result<tantivy::IndexReader> = index.reader();
    reader.is_ok_and(|reader| {
        reader.searcher().segment_readers().iter().all(|part| part.inverted_index(text).is_ok())
    })
}

/// Opens the database, and finds that its index is right, and can be gone on with.
fn check(database: &Path, notes: &str, is_harmed: bool) {
    assert!(!notes.contains("failed"), "{notes}");
    let engine = Engine::open(database).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    let there = look_through(&engine);
    let gone = gone(notes);
    // What is harmed cannot be looked into, nor what a kill left while it was thrown away.
    let is_harmed = is_harmed || !can_be_read(database);
    let kept = if is_harmed { Kept::default() } else { Kept::of(database) };
    for word in gone {
        assert!(!there.contains_key(&word) && !kept.words.contains(&word), "{word} was erased");
    }
    // What nobody has searched for since may still be in a file that the kill left behind.
    let last = noted(notes, "said").into_iter().rev().find(|(id, seq, step)| {
        let places = there.get(&word(*step));
        places.is_some_and(|places| places.contains(&((*id).to_owned(), *seq)))
    });
    if let Some((id, seq, step)) = last {
        let session = engine.session(id).open_existing().unwrap();
        session.erase_message(seq, None).unwrap();
        let kept = Kept::of(database);
        assert!(!kept.words.contains(&word(step)), "{} was erased", word(step));
        assert!(kept.loose.is_empty(), "what is in {:?}?", kept.loose);
    }
    check_searches(&engine, notes);
    say(&engine.session("f0").open().unwrap(), "more").unwrap();
    check_searches(&engine, notes);
    engine.rebuild_search(&mut |_| ()).unwrap();
    check_searches(&engine, notes);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn searches_find_what_the_log_has_and_nothing_that_was_erased_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    for round in 0..rounds(24).div_ceil(4) {
        let database = directory.path().join(format!("{round}.db"));
        // Killed twice: what the first left is gone on from.
        for is_harmed in [round % 2 == 1, false] {
            let writer = Writer::start(&database, SEARCHES, &notes);
            let moment = random_moment(1_200_000);
            writer.kill(&mut Acknowledged::new());
            let lines = fs::read_to_string(&notes).unwrap();
            eprintln!("round {round}: killed after {moment:?}, {} done", lines.lines().count());
            if is_harmed {
                harm(&database);
            }
            check(&database, &lines, is_harmed);
        }
        fs::remove_dir_all(&database).unwrap();
    }
}

#[test]
fn searches_find_what_the_log_has_and_nothing_that_was_erased_after_a_power_cut() {
    let Some(disk) = Disk::new(320) else {
        eprintln!("skipped: a power cut needs root, mkfs.ext4 and loop devices");
        return;
    };
    let writer = disk.start("searched.db", SEARCHES);
    for _ in 0..rounds(24).div_ceil(4) {
        random_moment(500_000);
        disk.cut_and(&writer, |after| check(&after.join("searched.db"), &disk.notes(), false));
        writer.go_on();
    }
    writer.kill(&mut Acknowledged::new());
}
