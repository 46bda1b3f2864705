//! What a search costs among many messages, and what it costs to make the index.
//!
//! The messages are drawn from a vocabulary in which the n-th word is n times as rare as the
//! first, as words are; a tenth of them is Japanese. They belong to a thousand users.
//!
//! Prints one JSON line each: name, value (milliseconds, p50), and the times behind it. The naive
//! scan reads every message and looks for the word in it. `SESSIONLOG_BENCH_MESSAGES` says how
//! many messages there are; a million otherwise.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement"
)]
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]
#![expect(clippy::cast_sign_loss, reason = "nothing is below zero")]

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sessionlog::{
    Access, Durability, Engine, EventBody, Message, Metrics, Point, SearchQuery, SessionQuery,
    limits,
};

const USERS: usize = 1_000;
const RUN_MESSAGES: usize = 20;
const SESSION_RUNS: usize = 10;
const VOCABULARY: f64 = 50_000.0;
const WARM_SEARCHES: usize = 200;
const KANJI: &str =
    "日本東京大阪都市会社電車新聞学校生活時間世界音楽料理天気旅行写真映画言語文化歴史自然科学";

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }

    /// The number of a word: low ones are common.
    fn word(&mut self) -> u64 {
        let share = self.next() as f64 / f64::from(1_u32 << 31);
        VOCABULARY.powf(share) as u64
    }
}

fn message(numbers: &mut Numbers) -> String {
    if numbers.next().is_multiple_of(10) {
        let signs: Vec<char> = KANJI.chars().collect();
        return (0..40).map(|_| signs[numbers.next() as usize % signs.len()]).collect();
    }
    let words: Vec<String> = (0..30).map(|_| format!("word{}", numbers.word())).collect();
    words.join(" ")
}

fn main() {
    let messages = std::env::var("SESSIONLOG_BENCH_MESSAGES").ok();
    let messages = messages.map_or(1_000_000, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("search.db");
    write(&path, messages);
    let engine = Engine::open(&path).unwrap();
    let begun = Instant::now();
    engine.index_search(&mut |_| ()).unwrap();
    let spent = begun.elapsed();
    let rate = messages as f64 / spent.as_secs_f64();
    let bytes = bytes_of(&path.join("search"));
    say(
        "index_rate",
        rate,
        &json!({"messages": messages, "seconds": spent.as_secs_f64(), "bytes": bytes}),
    );
    drop(engine);
    let queries = [
        ("rare_word", Access::Admin, "word49876"),
        ("common_word", Access::Admin, "word1"),
        ("two_words", Access::Admin, "word7 word40"),
        ("phrase", Access::Admin, "\"word2 word3\""),
        ("prefix", Access::Admin, "word4321*"),
        ("cjk", Access::Admin, "東京大"),
        ("one_users", Access::User(String::from("user-7")), "word1"),
    ];
    let mut colds = Vec::new();
    for (_, access, words) in &queries {
        // Opened anew: nothing of the index is in the process yet.
        let engine = Engine::open(&path).unwrap();
        let query = SearchQuery::new(access.clone(), *words);
        colds.push(ms(&time(|| engine.search(&query).unwrap().hits.len())));
    }
    let engine = Engine::open(&path).unwrap();
    let naive = ms(&time(|| scan(&engine, "word49876")));
    for ((name, access, words), cold) in queries.iter().zip(colds) {
        let query = SearchQuery::new(access.clone(), *words);
        let hits = engine.search(&query).unwrap().hits.len();
        let mut times: Vec<Duration> = (0..WARM_SEARCHES)
            .map(|_| time(|| engine.search(&query).unwrap().hits.len()))
            .collect();
        times.sort_unstable();
        let (p50, p99) = (ms(&times[WARM_SEARCHES / 2]), ms(&times[WARM_SEARCHES * 99 / 100]));
        let detail = json!({
            "p99_ms": p99, "cold_ms": cold, "hits": hits,
            "scan_ms": naive, "scan_against_search": naive / p50,
        });
        say(name, p50, &detail);
    }
    // What a search costs right behind an append, which it takes in first.
    let session = engine.session("session-0-0").admin().open_existing().unwrap();
    let query = SearchQuery::new(Access::Admin, "word49876");
    let mut times: Vec<Duration> = (0..WARM_SEARCHES)
        .map(|_| {
            let run = [Message::user("word49876 again")];
            session.record_run(run, Metrics::default()).unwrap().wait().unwrap();
            time(|| engine.search(&query).unwrap().hits.len())
        })
        .collect();
    times.sort_unstable();
    // Among so many appends the tail in memory goes to disk once.
    let (p99, most) = (ms(&times[WARM_SEARCHES * 99 / 100]), ms(&times[WARM_SEARCHES - 1]));
    let detail = json!({"p99_ms": p99, "max_ms": most});
    say("behind_an_append", ms(&times[WARM_SEARCHES / 2]), &detail);
    let last = session.seq().unwrap() - 1;
    let erase = ms(&time(|| session.erase_message(last, None).unwrap().events as usize));
    say("erase_a_message", erase, &json!({}));
}

fn write(path: &Path, messages: usize) {
    let engine = Engine::builder().durability(Durability::Volatile).open(path).unwrap();
    let mut numbers = Numbers(7);
    let (mut written, mut session, mut last) = (0, 0, None);
    while written < messages {
        let user = session % USERS;
        let id = format!("session-{}-{user}", session / USERS);
        let opened = engine.session(id).user(format!("user-{user}")).open().unwrap();
        for _ in 0..SESSION_RUNS {
            let wanted = RUN_MESSAGES.min(messages - written);
            let run: Vec<Message> = (0..wanted)
                .map(|at| match at % 2 {
                    0 => Message::user(message(&mut numbers)),
                    _ => Message::assistant(message(&mut numbers)),
                })
                .collect();
            last = Some(opened.record_run(run, Metrics::default()).unwrap());
            written += wanted;
        }
        session += 1;
    }
    last.unwrap().wait().unwrap();
}

/// Reads every message of every session, and looks for a word in it.
fn scan(engine: &Engine, word: &str) -> usize {
    let mut found = 0;
    for number in 1.. {
        let query = SessionQuery::new(Access::Admin).limit(limits::LIST_PAGE_MAX).page(number);
        let page = engine.sessions(&query).unwrap();
        if page.sessions.is_empty() {
            break;
        }
        for view in page.sessions {
            let session = engine.session(view.session_id).admin().open_existing().unwrap();
            for event in session.events(Point::Head).unwrap() {
                if let EventBody::MessageAdded(added) = event.unwrap().body {
                    let text = added.message.content.text().to_lowercase();
                    found += usize::from(text.split_whitespace().any(|said| said == word));
                }
            }
        }
    }
    found
}

fn time(call: impl FnOnce() -> usize) -> Duration {
    let begun = Instant::now();
    std::hint::black_box(call());
    begun.elapsed()
}

fn ms(time: &Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn say(name: &str, value: f64, detail: &serde_json::Value) {
    println!("{}", json!({"name": name, "value": value, "detail": detail}));
}

fn bytes_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => bytes_of(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}
