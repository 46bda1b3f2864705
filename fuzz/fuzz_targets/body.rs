//! Any bytes as the body of any kind of event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionlog::{EventKind, testing};

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    let kind = EventKind::ALL[usize::from(kind) % EventKind::ALL.len()];
    let _ = testing::read_body(kind as u16, bytes);
});
