//! What the same call costs in databases of 1,000 to 1,000,000 events.
//!
//! Half of the events lie in one long session, on which the calls are made; the other half in
//! sessions of one run each. The databases are built first; then each call is made on all of them
//! in turn, so that a drifting machine is the same for all.
//!
//! Prints one JSON line each: name, value (the largest database against the smallest), target,
//! and the times behind it; then all of it as a table. `cargo bench --bench growth -- 100000`
//! stops at so many events.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement"
)]
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use sessionlog::{
    Access, Durability, Engine, Message, Metrics, Point, Session, SessionQuery, Ticket,
};

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Of a session of one run: created, run started, four messages, run finished.
const SESSION_EVENTS: usize = 7;
const RUN_EVENTS: usize = 6;

/// A database to measure, open.
struct Sample {
    engine: Engine,
    long: Session,
    random: u64,
}

fn main() {
    let most = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(usize::MAX);
    let sizes: Vec<usize> = SIZES.into_iter().filter(|size| *size <= most).collect();
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = sizes.iter().map(|size| build(directory.path(), *size)).collect();
    let opens = measure_opens(&paths);
    let mut samples: Vec<Sample> = paths.iter().map(|path| Sample::open(path)).collect();
    let rows = [
        ("append_turn", "<= 1.1", measure(&mut samples, 300, Sample::append)),
        ("window_of_5_runs", "<= 1.2", measure(&mut samples, 500, Sample::window)),
        ("view_at_random_point", "<= 2", measure(&mut samples, 300, Sample::view)),
        ("list_page_of_10", "<= 2", measure(&mut samples, 300, Sample::list)),
        ("open", "-", opens),
    ];
    for (name, target, times) in &rows {
        let value = times.last().unwrap() / times[0];
        let value = (value * 1_000.0).round() / 1_000.0;
        let detail = json!({"events": sizes, "p50_us": times});
        println!("{}", json!({"name": name, "value": value, "target": target, "detail": detail}));
    }
    let head: Vec<String> = sizes.iter().map(|size| format!("{size} events")).collect();
    println!("\n| microseconds, p50 | {} |\n|---|{}", head.join(" | "), "---|".repeat(sizes.len()));
    for (name, _, times) in &rows {
        let cells: Vec<String> = times.iter().map(|time| format!("{time:.0}")).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    let cells: Vec<String> = samples
        .iter()
        .map(|sample| format!("{:.1}", sample.engine.stats().unwrap().disk_bytes as f64 / 1e6))
        .collect();
    println!("| megabytes on disk | {} |", cells.join(" | "));
}

/// A turn of four messages, 2.5 KB of text in all.
fn turn(number: usize) -> Vec<Message> {
    let words = "the quick brown fox jumps over a lazy dog while nobody is looking at it ";
    let call = format!("call_{number}");
    vec![
        Message::user(format!("{number} {}", &words.repeat(3)[..190])),
        Message::assistant("").with_call(&call, "search", r#"{"query":"fox","limit":10}"#),
        Message::tool(&call, format!("{number} {}", &words.repeat(20)[..1_400])),
        Message::assistant(format!("{number} {}", &words.repeat(9)[..640])),
    ]
}

fn record(session: &Session, number: usize) -> Ticket {
    session.record_run(turn(number), Metrics::tokens(700, 160)).unwrap()
}

/// Builds a database of so many events and closes it. It need not be durable yet.
fn build(directory: &Path, events: usize) -> PathBuf {
    let path = directory.join(format!("{events}.db"));
    let engine = Engine::builder().durability(Durability::Volatile).open(&path).unwrap();
    let long = engine.session("long").user("alice").open().unwrap();
    for number in 0..events / 2 / RUN_EVENTS {
        drop(record(&long, number));
    }
    for number in 0..events / 2 / SESSION_EVENTS {
        let user = format!("user{}", number % 10);
        let session = engine.session(format!("s{number}")).user(user).open().unwrap();
        drop(record(&session, number));
    }
    long.seq().unwrap();
    path
}

fn measure_opens(paths: &[PathBuf]) -> Vec<f64> {
    let mut times = vec![Vec::new(); paths.len()];
    for _ in 0..5 {
        for (path, times) in paths.iter().zip(&mut times) {
            times.push(time(|| drop(Engine::open(path).unwrap())));
        }
    }
    times.into_iter().map(p50).collect()
}

fn measure(samples: &mut [Sample], rounds: usize, call: fn(&mut Sample)) -> Vec<f64> {
    let mut times = vec![Vec::new(); samples.len()];
    for round in 0..rounds {
        // Forth and back: what one leaves to be done behind it falls on both its neighbours.
        for place in 0..samples.len() {
            let at = if round % 2 == 0 { place } else { samples.len() - 1 - place };
            times[at].push(time(|| call(&mut samples[at])));
        }
    }
    times.into_iter().map(p50).collect()
}

impl Sample {
    fn open(path: &Path) -> Self {
        let engine = Engine::open(path).unwrap();
        let long = engine.session("long").user("alice").open().unwrap();
        Self { engine, long, random: 1 }
    }

    fn append(&mut self) {
        record(&self.long, self.random as usize).wait().unwrap();
    }

    fn window(&mut self) {
        drop(self.long.window().runs(5).messages().unwrap());
    }

    fn view(&mut self) {
        self.random = self.random * 48_271 % 2_147_483_647;
        let seq = self.random % self.long.seq().unwrap() + 1;
        drop(self.long.at(Point::seq(seq)).unwrap());
    }

    fn list(&mut self) {
        let query = SessionQuery::new(Access::User("user3".into())).limit(10);
        assert!(!self.engine.sessions(&query).unwrap().sessions.is_empty(), "no sessions");
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The median, in microseconds.
fn p50(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    (times[times.len() / 2].as_secs_f64() * 1e7).round() / 10.0
}
