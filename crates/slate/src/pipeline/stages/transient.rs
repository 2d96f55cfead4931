//! Faults that pass by themselves.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How often something is tried again where a fault may pass, and when that ends.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// Wait before the first of them; each further one waits four times as long.
    pub(crate) wait: Duration,
    /// Once set no wait goes on.
    pub(crate) stop: &'static AtomicBool,
}

impl Patience {
    /// Does the work, again where its fault may pass; `waits` is told which attempt failed, how, and how
    /// long the wait is.
    ///
    /// # Errors
    /// The last attempt's, or the first that does not pass by itself.
    pub(crate) fn of<T>(
        self,
        mut work: impl FnMut() -> Result<T>,
        waits: impl Fn(u32, Duration, &anyhow::Error),
    ) -> Result<T> {
        let (mut wait, mut attempt) = (self.wait, 0);
        loop {
            attempt += 1;
            let error = match work() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if attempt > self.retries || !is_transient(&error) {
                return Err(error);
            }
            waits(attempt, wait, &error);
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(wait.min(Duration::from_millis(100)));
            }
            wait *= 4;
        }
    }
}

/// Whether the same work may succeed a little later with nothing changed: a connection that was refused,
/// cut or timed out, a file server that was not there for a moment. A full disk, a missing file and bad
/// data are not among these.
fn is_transient(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| passes(error.kind()))
            || cause
                .downcast_ref::<slate_logs::LogError>()
                .is_some_and(slate_logs::LogError::is_transient)
    })
}

fn passes(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::ResourceBusy
            | ErrorKind::StaleNetworkFileHandle
    )
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_transient() {
        let fault = |kind| {
            let error = Err::<(), _>(std::io::Error::from(kind));
            error.context("cannot read the logs").unwrap_err()
        };
        assert!(is_transient(&fault(ErrorKind::TimedOut)));
        assert!(is_transient(&fault(ErrorKind::StaleNetworkFileHandle)));
        assert!(!is_transient(&fault(ErrorKind::StorageFull)));
        assert!(!is_transient(&fault(ErrorKind::NotFound)));
        assert!(!is_transient(&anyhow::anyhow!("purchase is NaN at row 3")));
    }
}
