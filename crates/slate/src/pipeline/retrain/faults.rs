//! What an error is about.

use slate_eval::EvalError;
use slate_logs::LogError;

use crate::console::Refusal;

/// Whether an error is about data that came in, rather than about this machine and its disk.
pub(super) fn is_about_data(error: &anyhow::Error) -> bool {
    let of_logs = error.downcast_ref::<LogError>();
    let of_disk = |error: &LogError| {
        matches!(error, LogError::Io { .. } | LogError::Write { .. }) || error.is_transient()
    };
    of_logs.is_some_and(|error| !of_disk(error))
        && !error
            .chain()
            .any(<dyn std::error::Error>::is::<std::io::Error>)
}

/// Whether the program refused something that it understood.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some() || error.downcast_ref::<EvalError>().is_some()
}
