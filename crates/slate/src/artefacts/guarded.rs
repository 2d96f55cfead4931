//! Libraries that panic on damaged files, made to return errors.
//!
//! The Parquet reader holds some of what a file says of itself with assertions. A file is no
//! programming error, so a panic while one is read becomes an error, and nothing of it is printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use anyhow::{Result, anyhow};

thread_local! {
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Calls `read`, on this thread; a panic inside is an error with its words.
///
/// # Errors
/// What `read` returns, and panics.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !READING.get() {
                before(panic);
            }
        }));
    });
    READING.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    result.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!(
            "the file is damaged: {}",
            words.unwrap_or("it cannot be decoded")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = guarded(|| -> Result<()> { panic!("length {} is negative", -3) });
        assert_eq!(
            error.unwrap_err().to_string(),
            "the file is damaged: length -3 is negative"
        );
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
