//! Speed as ratios, each measured in one run: what the engine costs against the least that the
//! same work can cost, and what a long session costs against a short one.
//!
//! Prints one JSON line each: name, value, target, and the times behind it.
//! `cargo bench --bench ratios -- growth` runs those whose name contains `growth`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement"
)]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sessionlog::transcript::{ImportOptions, import_paths};
use sessionlog::{
    Access, Custom, Durability, Engine, EventBody, Json, Message, Metrics, NewEvent, Point,
    Projection, Session, SessionQuery, SessionView,
};

/// A line's name, and what measures and prints it.
type Line = (&'static str, fn(&str));

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let lines: [Line; 11] = [
        // First, while the process is small.
        ("memory_growth", memory_growth),
        ("turn_against_fdatasync", turn_against_fdatasync),
        ("writers_against_bare", writers_against_bare),
        ("append_growth", append_growth),
        ("window_growth", window_growth),
        ("context_growth", context_growth),
        ("packed_window", packed_window),
        ("view_against_replay", view_against_replay),
        ("replay_against_scan", replay_against_scan),
        ("list_growth", list_growth),
        ("disk_against_json", disk_against_json),
    ];
    for (name, measure) in lines {
        if name.contains(&filter) {
            measure(name);
        }
    }
}

fn report(name: &str, value: f64, target: &str, detail: &serde_json::Value) {
    let value = (value * 1_000.0).round() / 1_000.0;
    println!("{}", json!({"name": name, "value": value, "target": target, "detail": detail}));
}

/// The median of measured times, in microseconds.
fn p50(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// A turn of four messages, 2.5 KB of text in all, as agents have them.
fn turn(number: usize) -> Vec<Message> {
    let words = "the quick brown fox jumps over a lazy dog while nobody is looking at it ";
    vec![
        Message::user(format!("{number} {}", &words.repeat(3)[..190])),
        Message::assistant("").with_call(
            format!("call_{number}"),
            "search",
            r#"{"query":"fox","limit":10}"#,
        ),
        Message::tool(format!("call_{number}"), format!("{number} {}", &words.repeat(20)[..1_400])),
        Message::assistant(format!("{number} {}", &words.repeat(9)[..640])),
    ]
}

fn turn_bytes() -> usize {
    turn(1).iter().map(|message| message.to_json().as_str().len()).sum()
}

fn record(session: &Session, number: usize) {
    session.record_run(turn(number), Metrics::tokens(700, 160)).unwrap().wait().unwrap();
}

/// One durable turn alone, against a write and fdatasync of as many bytes to a plain file.
/// The two take turns, so that a drifting disk is the same for both.
fn turn_against_fdatasync(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(directory.path().join("turn.db")).unwrap();
    let session = engine.session("s").open().unwrap();
    let mut file = File::create(directory.path().join("plain")).unwrap();
    let bytes = vec![b'x'; turn_bytes()];
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for number in 0..1_500 {
        ours.push(time(|| record(&session, number)));
        plain.push(time(|| {
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
        }));
    }
    let (ours, plain) = (p50(ours), p50(plain));
    let detail = json!({"ours_us": ours, "plain_us": plain, "bytes": bytes.len()});
    report(name, ours / plain, "<= 1.5", &detail);
}

const WRITERS: usize = 64;
/// Of each writer in one round.
const APPENDS: usize = 60;
/// The three take turns this often; the medians are compared.
const ROUNDS: usize = 9;

/// 64 writers on 64 sessions, one event each at a time, all durable; against bare sled and a
/// bare file that store as many bytes for as many writers, grouped and synced the same way.
fn writers_against_bare(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(directory.path().join("writers.db")).unwrap();
    let sessions: Vec<Session> =
        (0..WRITERS).map(|number| engine.session(format!("s{number}")).open().unwrap()).collect();
    let before = engine.stats().unwrap();
    engine_writers(&sessions);
    let events = WRITERS * APPENDS;
    let stored = engine.stats().unwrap().frame_bytes - before.frame_bytes;
    let frame_bytes = (stored / events as u64) as usize;
    let mut sled = bare_sled(directory.path(), frame_bytes);
    let mut file = bare_file(directory.path(), frame_bytes);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        times[0].push(time(|| engine_writers(&sessions)));
        times[1].push(time(|| grouped_writers(&mut sled)));
        times[2].push(time(|| grouped_writers(&mut file)));
    }
    let [ours, sled, file] = times.map(|times| events as f64 / p50(times) * 1e6);
    let detail = json!({
        "ours_per_s": ours as u64, "sled_per_s": sled as u64, "file_per_s": file as u64,
        "frame_bytes": frame_bytes,
    });
    report(&format!("{name}_sled"), ours / sled, ">= 0.7", &detail);
    report(&format!("{name}_file"), ours / file, ">= 0.4", &detail);
}

fn engine_writers(sessions: &[Session]) {
    let value = "x".repeat(256);
    std::thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| {
                for _ in 0..APPENDS {
                    let data = Json::from(json!(value));
                    let event = NewEvent::new(Custom { kind: "bench".into(), data });
                    session.append([event]).unwrap().wait().unwrap();
                }
            });
        }
    });
}

/// The same writers over anything that commits a group: each waits for its own value, and a
/// thread of its own drains what waits. `commit` is told the writers of the group.
fn grouped_writers(commit: &mut (impl FnMut(&[usize]) + Send)) {
    let (sender, receiver) =
        crossbeam_channel::bounded::<(usize, std::sync::mpsc::Sender<()>)>(1_024);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let sender = sender.clone();
            scope.spawn(move || {
                let (done, wait) = std::sync::mpsc::channel();
                for _ in 0..APPENDS {
                    sender.send((writer, done.clone())).unwrap();
                    wait.recv().unwrap();
                }
            });
        }
        scope.spawn(move || {
            let mut left = WRITERS * APPENDS;
            while left > 0 {
                let mut waiting = vec![receiver.recv().unwrap()];
                waiting.extend(receiver.try_iter());
                left -= waiting.len();
                let writers: Vec<_> = waiting.iter().map(|(writer, _)| *writer).collect();
                commit(&writers);
                for (_, done) in waiting {
                    done.send(()).unwrap();
                }
            }
        });
    });
}

fn bare_sled(directory: &Path, bytes: usize) -> impl FnMut(&[usize]) + Send + use<> {
    let path = directory.join("bare.sled");
    let db = sled::Config::new().path(&path).flush_every_ms(None).open().unwrap();
    let data = File::open(path.join("db")).unwrap();
    let value = vec![b'x'; bytes];
    let mut number = 0_u64;
    move |writers| {
        let mut batch = sled::Batch::default();
        for writer in writers {
            number += 1;
            // As the engine has it: a writer's values lie together.
            let key = [(*writer as u64).to_be_bytes(), number.to_be_bytes()].concat();
            batch.insert(key, value.as_slice());
        }
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
        data.sync_data().unwrap();
    }
}

fn bare_file(directory: &Path, bytes: usize) -> impl FnMut(&[usize]) + Send + use<> {
    let file = File::create(directory.join("bare.file")).unwrap();
    let zeros = vec![0; 1 << 20];
    for at in (0..ROUNDS * WRITERS * APPENDS * bytes + zeros.len()).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64).unwrap();
    }
    file.sync_all().unwrap();
    let value = vec![b'x'; bytes];
    let mut at = 0;
    move |writers| {
        let mut buffer = Vec::with_capacity(writers.len() * bytes);
        for _ in writers {
            buffer.extend_from_slice(blake3::hash(&value).as_bytes());
            buffer.extend_from_slice(&value[32..]);
        }
        file.write_all_at(&buffer, at).unwrap();
        file.sync_data().unwrap();
        at += buffer.len() as u64;
    }
}

/// An engine whose appends need not be durable, for building what is then read.
fn quick_engine(directory: &Path) -> Engine {
    let builder = Engine::builder().durability(Durability::Volatile);
    builder.open(directory.join("quick.db")).unwrap()
}

/// A session of so many runs of a turn each (six events).
fn session_of(engine: &Engine, id: &str, runs: usize) -> Session {
    let session = engine.session(id).open().unwrap();
    for number in 0..runs {
        drop(session.record_run(turn(number), Metrics::tokens(700, 160)).unwrap());
    }
    session.seq().unwrap();
    session
}

fn append_growth(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(directory.path().join("append.db")).unwrap();
    let long = engine.session("long").open().unwrap();
    let events = (0..100_000).map(|number| {
        NewEvent::new(Custom { kind: "bench".into(), data: Json::from(json!(number)) })
    });
    long.append(events).unwrap().wait().unwrap();
    let short = engine.session("short").open().unwrap();
    let (mut of_long, mut of_short) = (Vec::new(), Vec::new());
    for number in 0..600 {
        of_long.push(time(|| record(&long, number)));
        of_short.push(time(|| record(&short, number)));
    }
    let (long, short) = (p50(of_long), p50(of_short));
    report(name, long / short, "<= 1.1", &json!({"long_us": long, "short_us": short}));
}

fn window_growth(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = quick_engine(directory.path());
    let (long, short) = (session_of(&engine, "long", 10_000), session_of(&engine, "short", 10));
    let read = |session: &Session| time(|| drop(session.window().runs(5).messages().unwrap()));
    let (mut of_long, mut of_short) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        of_long.push(read(&long));
        of_short.push(read(&short));
    }
    let (long, short) = (p50(of_long), p50(of_short));
    report(name, long / short, "<= 1.2", &json!({"long_us": long, "short_us": short}));
}

/// What a context of the last five runs costs that is cut to a budget and holds the state.
fn context_growth(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = quick_engine(directory.path());
    let (long, short) = (session_of(&engine, "long", 10_000), session_of(&engine, "short", 10));
    let build = |session: &Session| {
        let builder = session.context().num_history_runs(5).add_session_state_to_context(true);
        let builder = builder.token_budget(2_000);
        time(|| drop(builder.build().unwrap()))
    };
    let (mut of_long, mut of_short) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        of_long.push(build(&long));
        of_short.push(build(&short));
    }
    let (long, short) = (p50(of_long), p50(of_short));
    report(name, long / short, "<= 1.2", &json!({"long_us": long, "short_us": short}));
}

/// What a window of some session costs once a rewrite packed all of them, against before. They
/// are more than the cache of blocks holds.
fn packed_window(name: &str) {
    const SESSIONS: usize = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("packed.db");
    let window = |engine: &Engine| {
        let times = (0..SESSIONS).map(|number| {
            // In an order that no cache likes.
            let id = format!("s{}", number * 1_009 % SESSIONS);
            time(|| {
                let session = engine.session(&id).open_existing().unwrap();
                drop(session.window().runs(5).messages().unwrap());
            })
        });
        p50(times.collect())
    };
    let engine = Engine::builder().durability(Durability::ProcessCrash).open(&path).unwrap();
    for number in 0..SESSIONS {
        drop(session_of(&engine, &format!("s{number}"), 10));
    }
    drop(engine);
    let engine = Engine::open(&path).unwrap();
    let before = window(&engine);
    drop(engine);
    let rewritten = Engine::rewrite(&path).unwrap();
    let engine = Engine::open(&path).unwrap();
    let packed = window(&engine);
    let detail = json!({
        "packed_us": packed, "before_us": before,
        "before_bytes": rewritten.before_bytes, "packed_bytes": rewritten.after_bytes,
    });
    report(name, packed / before, "<= 2", &detail);
}

fn view_against_replay(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = quick_engine(directory.path());
    let session = session_of(&engine, "long", 16_667);
    let head = session.seq().unwrap();
    let replay = time(|| assert!(session.replay().unwrap().all(|step| step.is_ok())));
    let mut times = Vec::new();
    let mut seq = 1;
    for _ in 0..500 {
        seq = (seq * 48_271) % head + 1;
        times.push(time(|| drop(session.at(Point::seq(seq)).unwrap())));
    }
    let mean = times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
    let detail =
        json!({"events": head, "view_us": mean * 1e6, "replay_ms": replay.as_secs_f64() * 1e3});
    report(name, mean / replay.as_secs_f64(), "<= 0.02", &detail);
}

fn replay_against_scan(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let engine = quick_engine(directory.path());
    let session = session_of(&engine, "long", 16_667);
    let head = session.seq().unwrap() as f64;
    let replay = || {
        let mut view = SessionView::default();
        for event in session.events(Point::Head).unwrap() {
            view.apply(&event.unwrap());
        }
        assert_eq!(view.run_count, 16_667);
    };
    // `stats` reads every frame and its header, and nothing more.
    let scan = || drop(engine.stats().unwrap());
    let (mut replays, mut scans) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        replays.push(time(replay));
        scans.push(time(scan));
    }
    let (replay, scan) = (p50(replays), p50(scans));
    let detail = json!({
        "replay_per_s": (head / replay * 1e6) as u64, "scan_per_s": (head / scan * 1e6) as u64,
    });
    report(name, scan / replay, ">= 0.5", &detail);
}

fn list_growth(name: &str) {
    let page_us = |sessions: usize| {
        let directory = tempfile::tempdir().unwrap();
        let engine = quick_engine(directory.path());
        for number in 0..sessions {
            // Ten users, so that the one listed owns a tenth.
            let user = format!("user{}", number % 10);
            drop(engine.session(format!("s{number}")).user(user).open().unwrap());
        }
        // What was just written is still being taken in by sled, on the core that reads need.
        drop(engine);
        let engine = quick_engine(directory.path());
        let query = SessionQuery::new(Access::User("user3".into())).limit(10);
        let times = (0..300).map(|_| time(|| drop(engine.sessions(&query).unwrap()))).collect();
        p50(times)
    };
    let (many, few) = (page_us(100_000), page_us(100));
    report(name, many / few, "<= 2", &json!({"many_us": many, "few_us": few}));
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1_024.0
}

fn memory_growth(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let cache_mib = 64;
    let builder =
        Engine::builder().durability(Durability::ProcessCrash).cache_bytes(cache_mib << 20);
    let engine = builder.open(directory.path().join("memory.db")).unwrap();
    let session = engine.session("s").open().unwrap();
    let before = resident_mib();
    let mut most: f64 = 0.0;
    for round in 0..1_000 {
        let events = (0..1_000).map(|number| {
            NewEvent::new(Custom { kind: "bench".into(), data: Json::from(json!([round, number])) })
        });
        session.append(events).unwrap().wait().unwrap();
        most = most.max(resident_mib());
    }
    let beyond = most - before - cache_mib as f64;
    report(
        name,
        beyond,
        "<= 64",
        &json!({"before_mib": before, "most_mib": most, "cache_mib": cache_mib}),
    );
}

/// A folder of transcripts to import.
const DATA_VARIABLE: &str = "SESSIONLOG_BENCH_DATA";

/// Bytes on disk after importing transcripts, compacting with nothing removed and a rewrite,
/// against those of their messages as JSON. Without a
/// folder of real ones, conversations are made up, which repeat their words.
fn disk_against_json(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.db");
    let engine = Engine::open(&path).unwrap();
    let data = std::env::var_os(DATA_VARIABLE);
    let source = if let Some(folder) = &data {
        let options = ImportOptions::default();
        import_paths(&engine, &[folder.into()], &options, &mut |_| {}).unwrap();
        "the folder given"
    } else {
        for number in 0..200 {
            session_of(&engine, &format!("s{number}"), 10);
        }
        "made up: SESSIONLOG_BENCH_DATA names no folder"
    };
    let json_bytes = message_bytes(&engine);
    let stats = engine.stats().unwrap();
    engine.compaction().run().unwrap();
    drop(engine);
    let imported_bytes = disk_bytes(&path);
    Engine::rewrite(&path).unwrap();
    let disk_bytes = disk_bytes(&path);
    let detail = json!({
        "source": source, "sessions": stats.sessions, "events": stats.events,
        "json_bytes": json_bytes, "frame_bytes": stats.frame_bytes,
        "index_bytes": stats.index_bytes, "snapshot_bytes": stats.snapshot_bytes,
        "disk_bytes": disk_bytes, "disk_bytes_imported": imported_bytes,
        "disk_bytes_open": stats.disk_bytes,
    });
    report(name, disk_bytes as f64 / json_bytes as f64, "<= 1.0", &detail);
}

fn message_bytes(engine: &Engine) -> usize {
    let (mut bytes, mut page) = (0, 1);
    loop {
        let query = SessionQuery::new(Access::Admin).limit(100).page(page);
        let sessions = engine.sessions(&query).unwrap().sessions;
        if sessions.is_empty() {
            return bytes;
        }
        for found in &sessions {
            let builder = engine.session(&found.session_id).admin();
            for event in builder.open_existing().unwrap().events(Point::Head).unwrap() {
                if let EventBody::MessageAdded(added) = event.unwrap().body {
                    bytes += added.message.to_json().as_str().len();
                }
            }
        }
        page += 1;
    }
}

fn disk_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => disk_bytes(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}
