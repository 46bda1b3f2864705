//! Disks that are full, writes that fail, syncs that fail: the error says where, nothing more is
//! written, and what was acknowledged is there when the database is opened again.

use std::path::Path;

use sessionlog::{Engine, Message, Metrics};

use crate::disk::{Images, Mount, lacking, make_image, may_mount, run, text};
use crate::writer::{Acknowledged, Ending, Writer, check};

/// Whoever wrote when it failed was told where, and everyone after that to open it again.
fn assert_told(ending: &Ending, database: &Path, acknowledged: &Acknowledged) {
    assert!(!acknowledged.is_empty(), "it failed before anything was written");
    assert!(!ending.failed.is_empty(), "nothing failed");
    for error in ending.failed.iter().chain(&ending.refused) {
        assert!(error.contains(text(database)), "it does not name the path: {error}");
        assert!(!error.contains("<a second line>"), "{error}");
    }
    for error in &ending.refused {
        assert!(error.contains("closed for writing after a failed write"), "{error}");
        assert!(error.ends_with("open the database again"), "{error}");
    }
    // The very first may have gone to a ticket that nobody waited for; the others name it too.
    eprintln!("{} acknowledged, then: {}", acknowledged.len(), ending.failed[0]);
}

/// What is removed to make room: opening does again what the journal holds, and sled writes many
/// times what it takes in.
const BALLAST_BYTES: usize = 32 * 1024 * 1024;

/// Fills a file system, makes room, and checks.
fn fill(mount: &Mount, notes: &Path, value_bytes: usize) {
    let (ballast, database) = (mount.directory.join("ballast"), mount.directory.join("full.db"));
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let mut acknowledged = Acknowledged::new();
    let ending = Writer::start(&database, value_bytes, notes).finish(&mut acknowledged);
    assert_told(&ending, &database, &acknowledged);
    std::fs::remove_file(&ballast).unwrap();
    check(&database, &acknowledged);
    // From now on it is written to like any other.
    let mut writer = Writer::start(&database, 100, notes);
    writer.wait_for(5, &mut acknowledged);
    writer.kill(&mut acknowledged);
    check(&database, &acknowledged);
    std::fs::remove_dir_all(&database).unwrap();
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    if !may_mount() {
        eprintln!("skipped: a full disk needs root");
        return;
    }
    let images = Images::new();
    let (image, notes) = (images.path().join("disk"), images.path().join("notes"));
    let mount = Mount::memory(56, images.path().join("memory"));
    for value_bytes in [5_000, 300_000] {
        fill(&mount, &notes, value_bytes);
    }
    drop(mount);
    if let Some(lacking) = lacking() {
        eprintln!("skipped: a full ext4 needs {lacking}");
        return;
    }
    // Here blocks are given out late, when the file system writes by itself.
    make_image(&image, 110);
    let mount = Mount::image(&image, images.path().join("mount"));
    for value_bytes in [16_000, 3_000_000] {
        fill(&mount, &notes, value_bytes);
    }
}

/// A copy needs room that is not there; the database is as it was, and the room is free again.
#[test]
fn a_rewrite_on_a_full_disk_leaves_the_database_as_it_was() {
    if !may_mount() {
        eprintln!("skipped: a full disk needs root");
        return;
    }
    let images = Images::new();
    let mount = Mount::memory(40, images.path().join("memory"));
    let (ballast, database) = (mount.directory.join("ballast"), mount.directory.join("full.db"));
    let session = Engine::open(&database).unwrap().session("s").open().unwrap();
    for number in 0..40 {
        let messages = [Message::user(format!("{number} ").repeat(50_000))];
        session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
    }
    drop(session);
    let check = || {
        let engine = Engine::open(&database).unwrap();
        assert!(engine.verify().unwrap().ok);
        let session = engine.session("s").open_existing().unwrap();
        assert_eq!(session.view().unwrap().message_count, 40);
    };
    for room_bytes in [0, 100_000, 3_000_000] {
        std::fs::write(&ballast, vec![1; 40 << 20]).unwrap_err();
        let filled = std::fs::metadata(&ballast).unwrap().len();
        let shorter = std::fs::OpenOptions::new().write(true).open(&ballast);
        shorter.unwrap().set_len(filled - room_bytes).unwrap();
        let error = Engine::rewrite(&database).unwrap_err();
        assert!(error.to_string().contains(text(&database)), "{error}");
        std::fs::remove_file(&ballast).unwrap();
        assert!(!database.join("rewritten").exists());
        check();
    }
    Engine::rewrite(&database).unwrap();
    check();
}

#[test]
fn a_failed_write_loses_nothing_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    for (value_bytes, kilobytes) in [(100, 4_600), (16_000, 6_000), (300_000, 9_000)] {
        let database = directory.path().join(format!("limited {value_bytes}.db"));
        let notes = directory.path().join("notes");
        // No file may become larger; a write that goes beyond fails, as the signal is ignored.
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", kilobytes * 2);
        let command = ["sh", "-c", &script, "sh"];
        let mut acknowledged = Acknowledged::new();
        let writer = Writer::start_under(&command, &database, value_bytes, &notes);
        let ending = writer.finish(&mut acknowledged);
        assert_told(&ending, &database, &acknowledged);
        check(&database, &acknowledged);
    }
}

/// One sync fails, and the next would succeed without what it covered.
#[test]
fn after_one_failed_sync_nothing_more_is_written() {
    let directory = tempfile::tempdir().unwrap();
    if !run("strace", &["-qq", "-o", "/dev/null", "true"]) {
        eprintln!("skipped: a single failed sync needs strace, and leave to trace");
        return;
    }
    for (value_bytes, nth) in [(100, 9), (100, 33), (16_000, 20), (300_000, 40)] {
        let database = directory.path().join(format!("{value_bytes} {nth}.db"));
        let inject = format!("inject=fdatasync:error=EIO:when={nth}");
        let command =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        let mut acknowledged = Acknowledged::new();
        let notes = directory.path().join("notes");
        let writer = Writer::start_under(&command, &database, value_bytes, &notes);
        let ending = writer.finish(&mut acknowledged);
        assert_told(&ending, &database, &acknowledged);
        check(&database, &acknowledged);
    }
}
