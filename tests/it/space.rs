//! Room that is no longer needed, and how it is given back.

use sessionlog::log::open_sled;
use sessionlog::{
    Batch, Durability, Engine, ErrorKind, Log, Order, PageLimit, Point, Range, Record,
};

use crate::support::{Disk, lies_in, record_tool_turn, record_turn};

/// A class that nothing looks for.
const JUNK: u8 = b'z';

fn everything(log: &dyn Log) -> Vec<Record> {
    let mut range = Range::prefix(b"", Order::Ascending);
    let mut records = Vec::new();
    loop {
        let page = log.page(&range, PageLimit::default()).unwrap();
        let Some(last) = page.last() else { return records };
        range = range.behind(&last.key);
        records.extend(page);
    }
}

/// 2,000 events, and as many bytes again that were there and are not any more.
fn with_holes() -> Disk {
    let disk = Disk::new();
    {
        let engine = Engine::builder().durability(Durability::ProcessCrash).open(disk.path());
        let engine = engine.unwrap();
        for number in 0..20 {
            let session = engine.session(format!("s{number}")).open().unwrap();
            for turn in 0..25 {
                record_turn(&session, &format!("question {turn}"), &"answer ".repeat(400));
            }
            record_tool_turn(&session, "call");
            record_turn(&session, "q", &"long ".repeat(30_000));
            session.fork(Point::run(2)).id(format!("fork {number}")).open().unwrap();
        }
        assert!(engine.stats().unwrap().events >= 2_000);
    }
    let log = open_sled(&disk.path()).unwrap();
    let live: usize =
        everything(&*log).iter().map(|record| record.key.len() + record.value.len()).sum();
    let junk = |number: usize| [&[JUNK], number.to_be_bytes().as_slice()].concat();
    let count = live / 3_000;
    for number in 0..count {
        let mut batch = Batch::new();
        // In the order of no other key, so that it lies between what stays.
        batch.insert(junk(number), vec![7; 3_000]);
        log.append(&batch, Durability::ProcessCrash, 0).unwrap();
    }
    for number in 0..count {
        let mut batch = Batch::new();
        batch.remove(junk(number));
        log.append(&batch, Durability::ProcessCrash, 0).unwrap();
    }
    disk
}

#[test]
fn a_rewritten_database_is_smaller_and_reads_the_same() {
    let disk = with_holes();
    let before = everything(&*open_sled(&disk.path()).unwrap());
    let (report, stats) = {
        let engine = disk.open();
        (engine.verify().unwrap(), engine.stats().unwrap())
    };
    assert!(report.ok, "{:?}", report.problems);
    let rewritten = Engine::rewrite(disk.path()).unwrap();
    assert!(rewritten.after_bytes < rewritten.before_bytes, "{rewritten:?}");
    assert!(everything(&*open_sled(&disk.path()).unwrap()) == before);
    let engine = disk.open();
    assert_eq!(engine.verify().unwrap(), report);
    let now = engine.stats().unwrap();
    assert_eq!((now.events, now.live_bytes), (stats.events, stats.live_bytes));
    assert!(now.dead_bytes < stats.dead_bytes, "{now:?} after {stats:?}");
    // It is a database like any other, which can be rewritten again.
    let session = engine.session("s1").open_existing().unwrap();
    record_turn(&session, "and now?", "the same");
    let view = session.view().unwrap();
    drop((session, engine));
    assert!(Engine::rewrite(disk.path()).unwrap().records > rewritten.records);
    assert_eq!(disk.open().session("s1").open_existing().unwrap().view().unwrap(), view);
}

/// sled keeps what it removed, and the journal what sled has taken from it.
#[test]
fn after_an_erasure_and_a_rewrite_no_word_is_left_in_any_file() {
    let disk = Disk::new();
    {
        let engine = disk.open();
        let session = engine.session("s1").user("agnes").open().unwrap();
        for number in 0..60 {
            let question = format!("PLUTONIUM{number} {}", "and so on ".repeat(200));
            record_turn(&session, &question, "An answer.");
        }
        record_turn(&engine.session("s2").user("bob").open().unwrap(), "COPPER", "Yes.");
        engine.erase_user("agnes", None).unwrap();
    }
    Engine::rewrite(disk.path()).unwrap();
    assert!(!lies_in(&disk.path(), b"PLUTONIUM") && !lies_in(&disk.path(), b"agnes"));
    assert!(lies_in(&disk.path(), b"COPPER"));
    assert!(disk.open().verify().unwrap().problems.is_empty());
}

#[test]
fn what_is_open_or_not_there_is_not_rewritten() {
    let disk = Disk::new();
    let error = Engine::rewrite(disk.path()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotFound { what: "database" });
    assert!(!disk.path().exists());
    let engine = disk.open();
    let error = Engine::rewrite(disk.path()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Locked);
    assert!(error.is_retryable() && error.to_string().contains("test.db: in use"), "{error}");
    drop(engine);
    assert!(Engine::rewrite(disk.path()).unwrap().records > 0);
    let file = disk.path().join("media").join("ab");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "kept").unwrap();
    Engine::rewrite(disk.path()).unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
}

/// A rewrite of what is left would make it look whole.
#[test]
fn a_database_that_lost_events_is_not_rewritten() {
    let disk = Disk::new();
    {
        let session = disk.open().session("s").open().unwrap();
        record_turn(&session, "q", "a");
    }
    {
        let log = open_sled(&disk.path()).unwrap();
        let groups = log.page(&Range::prefix(b"g", Order::Descending), PageLimit::records(1));
        let mut batch = Batch::new();
        batch.remove(groups.unwrap().remove(0).key);
        log.apply(&batch).unwrap();
    }
    let error = Engine::rewrite(disk.path()).unwrap_err();
    assert!(error.to_string().contains("its files were damaged"), "{error}");
}

#[test]
fn live_bytes_are_those_of_the_records_and_in_memory_nothing_is_dead() {
    let engine = Engine::in_memory().unwrap();
    record_turn(&engine.session("s").open().unwrap(), "q", "a");
    let stats = engine.stats().unwrap();
    assert_eq!(stats.live_bytes, stats.frame_bytes + stats.snapshot_bytes + stats.index_bytes);
    assert!(stats.live_bytes > 0);
    assert_eq!(stats.dead_bytes, 0);
    let disk = Disk::new();
    let engine = disk.open();
    record_turn(&engine.session("s").open().unwrap(), "q", "a");
    let before = engine.stats().unwrap();
    // What lies beside the records is not theirs.
    std::fs::create_dir(disk.path().join("media")).unwrap();
    std::fs::write(disk.path().join("media/picture"), vec![1; 1_000_000]).unwrap();
    let stats = engine.stats().unwrap();
    assert!(stats.disk_bytes >= before.disk_bytes + 1_000_000);
    assert!(stats.dead_bytes < before.dead_bytes + 1_000_000);
}
