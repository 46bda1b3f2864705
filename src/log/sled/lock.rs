//! Waiting for a lock that may be let go in a moment.

use std::fs::{File, TryLockError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::LOCK_WAIT_MS_MAX;

const PAUSE_MS: u64 = 5;

/// Tries until it is let go, for a bounded time. `attempt` gives `None` while it is held.
pub(super) fn wait_for<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..LOCK_WAIT_MS_MAX / PAUSE_MS {
        if let Some(held) = attempt()? {
            return Ok(held);
        }
        std::thread::sleep(Duration::from_millis(PAUSE_MS));
    }
    Err(Error::new(ErrorKind::Locked))
}

/// Locks a file.
pub(super) fn lock(file: &File) -> Result<()> {
    wait_for(|| match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io(error)),
    })
}
