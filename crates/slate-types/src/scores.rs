//! A score orders; a probability promises. The types keep them apart.

/// Scores of a ranker: finite, larger is more relevant, no unit, comparable within a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores(pub Vec<f64>);

/// Probabilities, each in `[0, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Probabilities(Vec<f64>);

/// A value that is no probability.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("probability at row {row} is {value}, expected a number from 0 to 1")]
pub struct NotAProbability {
    /// Row of the first such value, counted from 0.
    pub row: usize,
    /// The value.
    pub value: f64,
}

impl Probabilities {
    /// Takes values from 0 to 1, both included.
    ///
    /// # Errors
    /// [`NotAProbability`] names the first value outside, NaN included.
    pub fn new(values: Vec<f64>) -> Result<Self, NotAProbability> {
        let sound = |p: &f64| (0.0..=1.0).contains(p);
        // All of them first, without leaving early, which the compiler makes wide operations of.
        if values.iter().fold(true, |all, p| all & sound(p)) {
            return Ok(Self(values));
        }
        match values.iter().position(|p| !sound(p)) {
            Some(row) => Err(NotAProbability {
                row,
                value: values[row],
            }),
            None => Ok(Self(values)),
        }
    }

    /// The values, in row order.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// The values, in row order.
    pub fn into_inner(self) -> Vec<f64> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_from_zero_to_one_are_probabilities() {
        assert!(Probabilities::new(vec![0.0, 0.5, 1.0]).is_ok());
        assert_eq!(Probabilities::new(vec![0.5, 1.5]).unwrap_err().row, 1);
        assert_eq!(Probabilities::new(vec![f64::NAN]).unwrap_err().row, 0);
    }
}
