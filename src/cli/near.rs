//! Ids that look like one that is not there.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Ids that are looked at: the newest.
pub(super) const LOOKED_AT_MAX: usize = 1_000;
/// Ids that are named.
const NAMED_MAX: usize = 3;
/// How much of two ids must be the same, from 0 to 1. Two UUIDs that have nothing to do with one
/// another come to about a half.
const RATIO_MIN: f64 = 0.75;

/// The ids that look most like one, the nearest first. One that it is the beginning of does.
pub(super) fn near(wanted: &str, ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<(f64, String)> = ids
        .filter_map(|id| {
            let ratio = if is_beginning(wanted, &id) { 1.0 } else { ratio(wanted, &id) };
            (ratio >= RATIO_MIN).then_some((ratio, id))
        })
        .collect();
    // Among equals the newest first, as they came.
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.into_iter().take(NAMED_MAX).map(|(_, id)| id).collect()
}

fn is_beginning(wanted: &str, id: &str) -> bool {
    const BYTES_MIN: usize = 3;
    wanted.len() >= BYTES_MIN && id.to_lowercase().starts_with(&wanted.to_lowercase())
}

fn ratio(one: &str, other: &str) -> f64 {
    // What differs that much in length cannot be near, and need not be compared.
    let (short, long) = (one.len().min(other.len()), one.len().max(other.len()));
    if short * 2 < long {
        return 0.0;
    }
    let (one, other) = (one.to_lowercase().into_bytes(), other.to_lowercase().into_bytes());
    let ops = capture_diff_slices(Algorithm::Myers, &one, &other);
    let same = ops.iter().map(|op| match op {
        DiffOp::Equal { len, .. } => *len,
        _ => 0,
    });
    2.0 * same.sum::<usize>() as f64 / (one.len() + other.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: &str, ids: &[&str]) -> Vec<String> {
        near(wanted, ids.iter().map(|id| (*id).to_owned()))
    }

    #[test]
    fn a_slip_and_a_beginning_are_near_and_a_stranger_is_not() {
        let ids = ["demo-menu", "demo-parcel", "other", "a19f0c52-4b1e-7c3d-9a8b-5d6e7f809112"];
        assert_eq!(of("demo-parcle", &ids), ["demo-parcel"]);
        assert_eq!(of("DEMO-MENU", &ids), ["demo-menu"]);
        assert_eq!(of("demo", &ids), ["demo-menu", "demo-parcel"]);
        assert_eq!(of("nope", &ids), Vec::<String>::new());
        assert_eq!(of("0f1e2d3c-4b5a-4697-8878-695a4b3c2d1e", &ids), Vec::<String>::new());
    }

    #[test]
    fn no_more_than_a_few_are_named() {
        let ids: Vec<String> = (0..50).map(|at| format!("chat-{at}")).collect();
        assert_eq!(near("chat-", ids.into_iter()).len(), NAMED_MAX);
    }
}
