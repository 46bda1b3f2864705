//! When a batch of requests stops believing in its model's server.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind};
use crate::limits::BATCH_FAILURES_MAX;

/// Counts the failures in a row of a batch that asks a model for one thing after the other, or for
/// several at once.
///
/// One request may fail because its server was busy for a moment. Where
/// [`limits::BATCH_FAILURES_MAX`](crate::limits::BATCH_FAILURES_MAX) did so one after the other,
/// each after all of its own retries, the server is down or hangs, and the rest of the batch would
/// wait for the same.
///
/// ```
/// use sessionlog::{Error, ModelOutage};
///
/// let outage = ModelOutage::default();
/// let slow = || Error::model("no answer within 120 s", true);
/// assert!(!outage.failed(slow()).is_model_unavailable());
/// assert!(!outage.failed(slow()).is_model_unavailable());
/// assert!(outage.failed(slow()).is_model_unavailable());
/// ```
#[derive(Debug, Default)]
pub struct ModelOutage {
    failures: AtomicUsize,
}

impl ModelOutage {
    /// The model answered: what failed before was of that request.
    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// What a request failed with. It comes back as it is, or, where it was one too many of those
    /// that asking again may help, as one of a model that cannot be asked at all
    /// ([`Error::is_model_unavailable`]), with which a batch ends.
    #[must_use]
    pub fn failed(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Model { is_transient: true, is_unavailable: false, .. } => {}
            ErrorKind::Model { is_unavailable: false, .. } => {
                // The server is there, and says no.
                self.answered();
                return error;
            }
            _ => return error,
        }
        let count = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if count < BATCH_FAILURES_MAX {
            return error;
        }
        error.of_unavailable_model(&format!("{count} failed like this, one after the other"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_that_asking_again_may_help_are_an_outage() {
        let outage = ModelOutage::default();
        let fails = |error: Error| outage.failed(error).is_model_unavailable();
        let slow = || Error::model("slow", true);
        for _ in 0..3 {
            for _ in 1..BATCH_FAILURES_MAX {
                assert!(!fails(slow()));
            }
            outage.answered();
        }
        for _ in 1..BATCH_FAILURES_MAX {
            assert!(!fails(slow()));
        }
        // It says nothing about the server.
        assert!(!fails(Error::not_found("session")));
        assert!(fails(slow()) && fails(slow()));
        // A refusal is an answer.
        assert!(!fails(Error::model("no", false)) && !fails(slow()));
        assert!(fails(Error::model_unavailable("the key is refused", false)));
    }

    #[test]
    fn the_error_that_ends_a_batch_says_where_what_and_how_often() {
        let outage = ModelOutage::default();
        let mut told = String::new();
        for _ in 0..BATCH_FAILURES_MAX {
            let error = outage.failed(Error::model("slow", true).context("session s1"));
            assert!(error.is_retryable());
            told = error.to_string();
        }
        assert_eq!(told, "session s1: slow (3 failed like this, one after the other)");
    }
}
