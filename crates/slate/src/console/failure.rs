//! Errors as a person reads them: what failed, the chain of causes, and a hint.

use anyhow::Error;
use slate_types::Hint;

/// A refusal by the program itself, with advice.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    message: String,
    hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Hint for Refusal {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The first hint along the chain of causes.
pub(crate) fn hint_of(error: &Error) -> Option<String> {
    fn of<E: Hint + std::error::Error + 'static>(
        cause: &(dyn std::error::Error + 'static),
    ) -> Option<String> {
        cause.downcast_ref::<E>().and_then(Hint::hint)
    }
    // A refusal that was put around a cause is not an item of the chain, but known to the error.
    let around = error.downcast_ref::<Refusal>().and_then(Hint::hint);
    let along = || {
        error.chain().find_map(|cause| {
            of::<Refusal>(cause)
                .or_else(|| of::<slate_sim::SimError>(cause))
                .or_else(|| of::<slate_logs::LogError>(cause))
                .or_else(|| of::<slate_logs::import::ImportError>(cause))
                .or_else(|| of::<slate_features::FeatureError>(cause))
                .or_else(|| of::<slate_model::ModelError>(cause))
                .or_else(|| of::<slate_trees::TreesError>(cause))
                .or_else(|| of::<slate_embed::EmbedError>(cause))
                .or_else(|| of::<slate_calibrate::FitError>(cause))
                .or_else(|| of::<slate_eval::EvalError>(cause))
        })
    };
    around.or_else(along)
}

/// Writes the error to stderr.
pub(crate) fn print_failure(error: &Error) {
    super::tell(&format!("error: {error}"));
    let mut told = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Wrapped errors often repeat their source in their own message.
        if !told.ends_with(&text) {
            super::tell(&format!("  caused by: {text}"));
        }
        told = text;
    }
    if let Some(hint) = hint_of(error) {
        super::tell(&format!("\nhint: {hint}"));
    }
}
