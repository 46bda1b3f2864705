//! Any bytes as a frame or another record of a log: an event or an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionlog::{Digest, testing};

fuzz_target!(|bytes: &[u8]| {
    let session = Digest::of_session("golden");
    let _ = testing::read_frame(bytes, session, 42);
    testing::read_records(bytes);
});
