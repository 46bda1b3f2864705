//! Any bytes as a transcript: imported or refused, and importing again adds nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionlog::Engine;
use sessionlog::transcript::{Format, ImportOptions, import_text};

fuzz_target!(|bytes: &[u8]| {
    for format in [None, Some(Format::OpenAi), Some(Format::TauBench), Some(Format::ClaudeCode)] {
        let engine = Engine::in_memory().unwrap();
        let options = ImportOptions { format, ..ImportOptions::default() };
        let Ok(_) = import_text(&engine, "fuzz", bytes, &options) else { continue };
        let events = engine.stats().unwrap().events;
        import_text(&engine, "fuzz", bytes, &options).unwrap();
        assert_eq!(engine.stats().unwrap().events, events);
        let report = engine.verify().unwrap();
        assert!(report.ok, "{:?}", report.problems);
    }
});
