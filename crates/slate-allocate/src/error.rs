//! What a policy cannot do.

use slate_types::Hint;

/// Why a policy cannot order a list.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// A value to order by is NaN or infinite.
    #[error("the value of row {row} is {value}, expected a finite number")]
    NotFinite {
        /// First such row of the list, counted from 0.
        row: usize,
        /// The value.
        value: f64,
    },
    /// A setting is outside its range.
    #[error("`{what}` is {given}, expected {expected}")]
    Setting {
        /// Name of the setting.
        what: &'static str,
        /// Its value.
        given: f64,
        /// Its range in words.
        expected: &'static str,
    },
}

impl Hint for AllocateError {
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Refuses values that order nothing.
pub(crate) fn finite(values: &[f64]) -> Result<(), AllocateError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(AllocateError::NotFinite {
            row,
            value: values[row],
        }),
        None => Ok(()),
    }
}
