//! The door: every column is checked here before a metric reads it, and errors name the row.

use rayon::prelude::*;

use crate::EvalError;

/// Same length as the lists or the other columns.
pub(crate) fn length(what: &'static str, given: usize, expected: usize) -> Result<(), EvalError> {
    if given == expected {
        Ok(())
    } else {
        Err(EvalError::Length {
            what,
            given,
            expected,
        })
    }
}

/// At least one row, `expected` of them, all finite.
pub(crate) fn scores(scores: &[f64], expected: usize) -> Result<(), EvalError> {
    length("scores", scores.len(), expected)?;
    if scores.is_empty() {
        return Err(EvalError::NoRows);
    }
    finite("scores", scores)
}

/// No NaN, no infinity.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<(), EvalError> {
    // Whole chunks first, without leaving early, which the compiler makes wide operations of.
    let sound = values.par_chunks(1 << 14).all(|chunk| {
        chunk
            .iter()
            .fold(true, |all, value| all & value.is_finite())
    });
    if sound {
        return Ok(());
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(EvalError::NotFinite {
            what,
            row,
            value: values[row],
        }),
        None => Ok(()),
    }
}

/// At least one row, `expected` of them, all from 0 to 1.
pub(crate) fn probabilities(probabilities: &[f64], expected: usize) -> Result<(), EvalError> {
    length("probabilities", probabilities.len(), expected)?;
    if probabilities.is_empty() {
        return Err(EvalError::NoRows);
    }
    match probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(row) => Err(EvalError::Probability {
            row,
            value: probabilities[row],
        }),
        None => Ok(()),
    }
}

/// `expected` rows, each 0 or 1.
pub(crate) fn labels(labels: &[u8], expected: usize) -> Result<(), EvalError> {
    length("labels", labels.len(), expected)?;
    match labels.iter().position(|&label| label > 1) {
        Some(row) => Err(EvalError::Label {
            row,
            value: labels[row],
        }),
        None => Ok(()),
    }
}

/// `expected` rows, each finite and not negative.
pub(crate) fn weights(weights: Option<&[f64]>, expected: usize) -> Result<(), EvalError> {
    let Some(weights) = weights else {
        return Ok(());
    };
    length("weights", weights.len(), expected)?;
    match weights
        .iter()
        .position(|weight| !weight.is_finite() || *weight < 0.0)
    {
        Some(row) => Err(EvalError::Weight {
            row,
            value: weights[row],
        }),
        None => Ok(()),
    }
}

/// `expected` rows, each above 0 and up to 1.
pub(crate) fn propensities(propensities: &[f64], expected: usize) -> Result<(), EvalError> {
    length("propensities", propensities.len(), expected)?;
    match propensities.iter().position(|&p| !(p > 0.0 && p <= 1.0)) {
        Some(row) => Err(EvalError::Propensity {
            row,
            value: propensities[row],
        }),
        None => Ok(()),
    }
}

/// `lists` numbers below `lists`.
pub(crate) fn numbers(what: &'static str, column: &[u32], lists: usize) -> Result<(), EvalError> {
    length(what, column.len(), lists)?;
    match column.iter().position(|&number| number as usize >= lists) {
        Some(list) => Err(EvalError::Number {
            what,
            list,
            value: column[list],
            lists,
        }),
        None => Ok(()),
    }
}

/// A level strictly between 0 and 1.
pub(crate) fn level(level: f64) -> Result<(), EvalError> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(EvalError::Level(level))
    }
}

/// How many clusters or other units the numbers of lists name; each list is one where there are none.
pub(crate) fn count(numbers: Option<&[u32]>, lists: usize) -> usize {
    numbers.map_or(lists, |numbers| {
        numbers.iter().max().map_or(0, |most| *most as usize + 1)
    })
}
