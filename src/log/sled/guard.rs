//! Calls into sled. A damaged file makes it panic in places; that is a fact of the world, not a
//! mistake of the program, so it becomes an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

/// Runs a call into sled.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    // Nothing of ours is half changed when sled unwinds: our side holds no state of its own.
    match crate::panics::quietly(|| catch_unwind(AssertUnwindSafe(call))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(error)),
        Err(panic) => {
            Err(Error::corrupt(format!("sled cannot read its files: {}", words(&*panic))))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave up");
    text.lines().next().unwrap_or_default().to_owned()
}

fn translate(error: sled::Error) -> Error {
    match error {
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            Error::new(ErrorKind::Locked)
        }
        sled::Error::Io(error) => Error::io(error),
        sled::Error::Corruption { .. } => Error::corrupt("a checksum of sled does not fit"),
        sled::Error::Unsupported(reason) => Error::new(ErrorKind::NotADatabase { reason }),
        other => Error::corrupt(format!("sled: {other}")),
    }
}
