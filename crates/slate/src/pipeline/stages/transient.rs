//! Faults that pass by themselves.

use std::io::ErrorKind;

/// Whether the same work may succeed a little later with nothing changed: a connection that was refused,
/// cut or timed out, a file server that was not there for a moment. A full disk, a missing file and bad
/// data are not among these.
pub(crate) fn is_transient(error: &anyhow::Error) -> bool {
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
