//! Media: stored once, put back where they are needed, gone when nothing refers to them.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use sessionlog::{
    BlobName, BlobStore, BlobWriter, CompactionPlan, Engine, Error, ErrorKind, Json, Media,
    MemoryBlobs, MemoryLog, Message, Metrics, Part, Point, Policy, Result, Session, StaticKey,
    check_anthropic, check_openai,
};

use crate::support::shapes::{assert_sound, memory};
use crate::support::{Disk, record_turn};

fn image(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + usize::from(seed) * 31) as u8).collect()
}

fn picture(bytes: &[u8]) -> Message {
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
    let part = json!({"type": "image_url", "image_url": {"url": url}});
    Message::user("What is this?").with_part(Part::Json(Json::from(part)))
}

fn say(session: &Session, message: Message) {
    let messages = [message, Message::assistant("A picture.")];
    session.record_run(messages, Metrics::tokens(9, 1)).unwrap().wait().unwrap();
}

#[test]
fn the_same_image_sent_often_is_stored_once_and_comes_back_as_it_was() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let message = picture(&image(1, 100_000));
    for _ in 0..50 {
        say(&session, message.clone());
    }
    let blobs = engine.blobs().unwrap();
    assert_eq!((blobs.len(), blobs[0].uses), (1, 50));
    let history = session.window().all_runs().messages().unwrap();
    assert_eq!(history[0], message);
    assert!(engine.stats().unwrap().frame_bytes < 100_000);
    let references = session.window().all_runs().media_as_references().messages().unwrap();
    assert!(references[0].to_json().as_str().len() < 500);
    let mut written = Vec::new();
    session.window().all_runs().write_openai(&mut written).unwrap();
    let written: Vec<serde_json::Value> = serde_json::from_slice(&written).unwrap();
    assert_eq!(written, session.window().all_runs().openai().unwrap());
    check_openai(&written).unwrap();
    check_anthropic(&session.window().all_runs().anthropic().unwrap()).unwrap();
    assert_sound(&engine);
}

#[test]
fn a_file_is_streamed_into_the_session() {
    let disk = Disk::new();
    let path = disk.path().with_file_name("photo.png");
    let bytes = [b"\x89PNG\r\n\x1a\n".as_slice(), &image(2, 300_000)].concat();
    std::fs::write(&path, &bytes).unwrap();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let photo = session.store_media(Media::path(&path)).unwrap();
    let reference = photo.reference().unwrap().clone();
    assert_eq!((reference.media_type(), reference.size()), ("image/png", bytes.len() as u64));
    say(&session, Message::user("Look.").with_part(photo.part()));
    drop(photo);
    assert_eq!(engine.collect_blobs(false).unwrap(), []);
    let mut read = Vec::new();
    session.open_media(&reference).unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, bytes);
    assert!(session.store_media(Media::path("/no/such/file.png")).is_err());
    let url = session.store_media(Media::url("https://example.com/a.png")).unwrap();
    assert!(url.reference().is_none());
}

/// A medium that several sessions hold is free once the last of them lets go of it.
#[test]
fn a_plan_for_several_sessions_counts_what_all_of_them_let_go() {
    let engine = memory(Policy::new());
    for id in ["a", "b", "c"] {
        let session = engine.session(id).open().unwrap();
        let photo = Media::bytes("image/png", image(1, 5_000));
        let photo = session.store_media(photo).unwrap();
        let message = Message::user("look").with_part(photo.part());
        session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    }
    let bytes = |plans: Vec<CompactionPlan>| plans.iter().map(|plan| plan.blob_bytes).sum::<u64>();
    let no_media = Policy::new().store_media(false);
    let of = |ids: &[&str]| engine.compaction().policy(no_media).sessions(ids.iter().copied());
    assert_eq!(bytes(of(&["a", "b"]).plan().unwrap()), 0);
    let planned = bytes(engine.compaction().policy(no_media).plan().unwrap());
    assert!(planned > 5_000);
    assert_eq!(bytes(engine.compaction().policy(no_media).run().unwrap()), planned);
}

#[test]
fn nobody_reaches_another_sessions_media_by_naming_them() {
    let engine = memory(Policy::new());
    let alice = engine.session("a").user("alice").open().unwrap();
    say(&alice, picture(&image(3, 5_000)));
    let window = alice.window().media_as_references();
    let stolen = window.messages().unwrap().remove(0);
    let bob = engine.session("b").user("bob").open().unwrap();
    let refused = bob.record_run([stolen.clone()], Metrics::default()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Invalid { .. }));
    let text = stolen.to_json().as_str().to_owned();
    let from = text.find("sessionlog:blob/").unwrap();
    let reference = text[from..].split('"').next().unwrap().parse().unwrap();
    assert!(bob.open_media(&reference).is_err());
    assert!(alice.open_media(&reference).is_ok());
    // The session's own may come again: a copy of history, say.
    alice.record_run([stolen], Metrics::default()).unwrap().wait().unwrap();
}

#[test]
fn media_go_with_the_last_message_that_refers_to_them() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    say(&session, picture(&image(4, 20_000)));
    say(&session, picture(&image(5, 20_000)));
    let other = engine.session("other").open().unwrap();
    say(&other, picture(&image(5, 20_000)));
    let no_media = Policy::new().store_media(false);
    let plan = session.compaction().policy(no_media).plan().unwrap();
    assert!(plan[0].blob_bytes >= 20_000 && plan[0].blob_bytes < 30_000);
    session.compaction().policy(no_media).run().unwrap();
    let blobs = engine.blobs().unwrap();
    assert_eq!((blobs.len(), blobs[0].uses), (1, 1));
    assert_eq!(other.window().messages().unwrap()[0], picture(&image(5, 20_000)));
    other.delete(None).unwrap();
    assert_eq!(engine.blobs().unwrap(), []);
    assert_sound(&engine);
}

#[test]
fn an_erased_message_takes_its_image_with_it() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    say(&session, picture(&image(6, 20_000)));
    record_turn(&session, "q", "a");
    let receipt = session.erase_message(3, None).unwrap();
    assert_eq!(receipt.blobs.len(), 1);
    assert_eq!(engine.blobs().unwrap(), []);
    assert_sound(&engine);
}

#[test]
fn where_media_are_not_kept_nothing_of_them_is_stored() {
    let engine = memory(Policy::new().store_media(false));
    let session = engine.session("s").open().unwrap();
    say(&session, picture(&image(7, 20_000)));
    assert_eq!(engine.blobs().unwrap(), []);
    let message = &session.at(Point::Head).unwrap().runs().unwrap()[0].messages[0].1;
    assert_eq!((message.omitted.media, message.content.text().as_str()), (1, "What is this?"));
}

#[test]
fn what_a_fork_shares_keeps_its_media_when_the_parent_goes() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let message = picture(&image(8, 20_000));
    say(&session, message.clone());
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    session.delete(None).unwrap();
    assert_eq!(fork.window().messages().unwrap()[0], message);
    fork.delete(None).unwrap();
    assert_eq!(engine.blobs().unwrap(), []);
    assert_sound(&engine);
}

#[test]
fn a_dump_brings_its_media_along() {
    use sessionlog::transcript::{Format, ImportOptions, export, import_text};
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let message = picture(&image(9, 20_000));
    say(&session, message.clone());
    let dump: Vec<String> = export(&session, Format::Jsonl)
        .unwrap()
        .into_iter()
        .map(|line| line.as_str().to_owned())
        .collect();
    let other = memory(Policy::new());
    let text = dump.join("\n");
    let report =
        import_text(&other, "dump.jsonl", text.as_bytes(), &ImportOptions::default()).unwrap();
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let restored = other.session("s").open_existing().unwrap();
    assert_eq!(restored.window().messages().unwrap()[0], message);
    assert_eq!(restored.link().unwrap(), session.link().unwrap());
    assert_eq!(other.blobs().unwrap().len(), 1);
    assert_sound(&other);
}

#[test]
fn a_medium_that_is_changed_or_missing_is_found_and_located() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    say(&session, picture(&image(1, 5_000)));
    let name = engine.blobs().unwrap()[0].name.clone();
    let path = disk.path().join("media").join(&name[..2]).join(&name[2..]);
    let bytes = std::fs::read(&path).unwrap();
    assert_sound(&engine);
    for at in [0, 1, 2_500, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let problems = engine.verify().unwrap().problems;
        assert_eq!(problems[0].seq, Some(3), "{problems:?}");
    }
    std::fs::write(&path, &bytes[..100]).unwrap();
    assert!(!engine.verify().unwrap().ok);
    assert!(session.window().messages().is_err());
    std::fs::remove_file(&path).unwrap();
    let problem = &engine.verify().unwrap().problems[0];
    assert!(problem.problem.contains("is missing"), "{problem}");
    assert!(!engine.verify_sessions(&["s".into()]).unwrap().ok);
    std::fs::write(&path, &bytes).unwrap();
    assert_sound(&engine);
}

/// Blobs that nothing removes for a while, as where a process ends before it comes to it.
#[derive(Debug, Default)]
struct Held {
    inner: MemoryBlobs,
    is_held: AtomicBool,
}

impl BlobStore for Held {
    fn create(&self) -> Result<Box<dyn BlobWriter>> {
        self.inner.create()
    }

    fn open(&self, name: BlobName) -> Result<Option<Box<dyn Read + Send>>> {
        self.inner.open(name)
    }

    fn size(&self, name: BlobName) -> Result<Option<u64>> {
        self.inner.size(name)
    }

    fn remove(&self, name: BlobName) -> Result<bool> {
        if self.is_held.load(Ordering::SeqCst) {
            return Err(Error::key("killed"));
        }
        self.inner.remove(name)
    }

    fn names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<(BlobName, u64)>> {
        self.inner.names(after, limit)
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

#[test]
fn an_erasure_that_failed_half_way_is_done_by_the_next_and_not_called_done() {
    type Erasure = fn(&Engine, &Session) -> Result<()>;
    let erasures: [Erasure; 3] = [
        |engine, _| engine.erase_user("alice", None).map(drop),
        |_, session| session.erase_all(None).map(drop),
        |_, session| session.delete(None).map(drop),
    ];
    for erase in erasures {
        let blobs = Arc::new(Held::default());
        let engine = Engine::builder().blobs(Arc::clone(&blobs) as Arc<dyn BlobStore>);
        let engine = engine.open_log(Arc::new(MemoryLog::new())).unwrap();
        let session = engine.session("s").user("alice").open().unwrap();
        say(&session, picture(&image(3, 5_000)));
        blobs.is_held.store(true, Ordering::SeqCst);
        erase(&engine, &session).unwrap_err();
        let again = erase(&engine, &session).unwrap_err();
        assert!(matches!(again.kind(), ErrorKind::Key { .. }), "{again}");
        assert_eq!(blobs.names(None, 9).unwrap().len(), 1);
        blobs.is_held.store(false, Ordering::SeqCst);
        // There is no such session any more; what it left behind goes all the same.
        let _ = erase(&engine, &session);
        assert_eq!(blobs.names(None, 9).unwrap().len(), 0);
        assert_sound(&engine);
    }
}

#[test]
fn media_that_were_to_go_when_the_process_ended_go_when_the_database_is_opened() {
    type Ending = fn(&Session) -> Result<()>;
    let endings: [Ending; 4] = [
        |session| session.delete(None).map(drop),
        |session| session.erase_all(None).map(drop),
        |session| {
            let run = session.at(Point::Head)?.runs()?[0].started.run_id.clone();
            session.erase_run(&run, None).map(drop)
        },
        |session| session.compaction().policy(Policy::new().store_media(false)).run().map(drop),
    ];
    for (number, end) in endings.into_iter().enumerate() {
        let (log, blobs) = (Arc::new(MemoryLog::new()), Arc::new(Held::default()));
        let open = || Engine::builder().blobs(blobs.clone()).open_log(log.clone()).unwrap();
        let engine = open();
        let session = engine.session("s").open().unwrap();
        say(&session, picture(&image(1, 5_000)));
        let other = engine.session("other").open().unwrap();
        say(&other, picture(&image(2, 5_000)));
        blobs.is_held.store(true, Ordering::SeqCst);
        assert!(end(&session).is_err(), "{number}");
        drop((session, other, engine));
        assert_eq!(blobs.names(None, 9).unwrap().len(), 2);
        blobs.is_held.store(false, Ordering::SeqCst);
        let engine = open();
        assert_eq!(blobs.names(None, 9).unwrap().len(), 1, "{number}");
        assert_eq!(engine.stats().unwrap().unused_blob_bytes, 0);
        assert_sound(&engine);
    }
}

/// A claim that is refused must not look, while it is made, like one that was granted.
#[test]
fn many_that_name_anothers_medium_at_once_reach_it_no_more_than_one() {
    let engine = Engine::in_memory().unwrap();
    let alice = engine.session("a").user("alice").open().unwrap();
    let photo = alice.store_media(Media::bytes("image/png", vec![7; 5_000])).unwrap();
    let message = Message::user("look").with_part(photo.part());
    alice.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    let reference = photo.reference().unwrap().clone();
    let bob = engine.session("b").user("bob").open().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reached = (0..2_000).filter(|_| bob.open_media(&reference).is_ok()).count();
                assert_eq!(reached, 0);
            });
        }
    });
}

#[test]
fn a_sealed_medium_that_a_fork_took_over_is_whole_wherever_its_parent_went() {
    // Which of the two sessions comes first in the index differs from name to name.
    for number in 0..8 {
        let key = Arc::new(StaticKey::new([1; 32]));
        let engine = Engine::builder().seal(key).open_log(Arc::new(MemoryLog::new())).unwrap();
        let session = engine.session(format!("s{number}")).open().unwrap();
        let photo = Media::bytes("image/png", image(1, 5_000));
        let photo = session.store_media(photo).unwrap();
        let say = |session: &Session, text: &str| {
            let message = Message::user(text).with_part(photo.part());
            session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
        };
        say(&session, "first");
        let fork = session.fork(Point::Head).id(format!("f{number}")).open().unwrap();
        say(&fork, "again");
        assert_sound(&engine);
        let below = fork.fork(Point::Head).id(format!("g{number}")).open().unwrap();
        fork.delete(None).unwrap();
        assert_sound(&engine);
        session.erase_all(None).unwrap();
        assert_eq!(below.window().messages().unwrap().len(), 1);
        assert_sound(&engine);
    }
}

#[test]
fn a_sealed_blob_under_the_name_of_another_is_found() {
    let disk = Disk::new();
    let key = Arc::new(StaticKey::new([1; 32]));
    let engine = Engine::builder().seal(key).open(disk.path()).unwrap();
    let session = engine.session("s").open().unwrap();
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    for (session, number) in [(&session, 1), (&fork, 2)] {
        let photo = session.store_media(Media::bytes("image/png", image(number, 5_000))).unwrap();
        let message = Message::user("Look.").with_part(photo.part());
        session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    }
    assert_sound(&engine);
    let [one, two] = [0, 1].map(|at| {
        let name = engine.blobs().unwrap()[at].name.clone();
        disk.path().join("media").join(&name[..2]).join(&name[2..])
    });
    std::fs::copy(one, two).unwrap();
    let problems = engine.verify().unwrap().problems;
    assert!(
        problems.iter().any(|it| it.problem.contains("is not what was stored")),
        "{problems:?}"
    );
}
