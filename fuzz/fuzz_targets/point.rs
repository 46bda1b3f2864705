//! Any text as a point: what is taken for one prints as one that is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessionlog::Point;

fuzz_target!(|text: &str| {
    if let Ok(point) = text.parse::<Point>() {
        let again: Point = point.to_string().parse().expect("a printed point is a point");
        assert_eq!(again, point);
    }
});
