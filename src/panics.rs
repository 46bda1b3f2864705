//! Panics of code that is not ours, met where they become errors.

use std::cell::Cell;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose panics become errors. A panic hook that asks [`is_quiet_panic`] keeps
/// them out of the terminal.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> T {
    IS_QUIET.set(true);
    let result = call();
    IS_QUIET.set(false);
    result
}

/// Whether a panic of this thread is about to become an
/// [`Error`](crate::Error). For the panic hook of a
/// program that wants its errors on one line.
pub fn is_quiet_panic() -> bool {
    IS_QUIET.get()
}
