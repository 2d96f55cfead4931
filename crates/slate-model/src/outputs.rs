//! What the columns of a network's output mean, and the scores that follow from them.
//!
//! A head has one column, its score, unless its loss asks for more: two under `jrc`, one for each
//! grade under `ordinal`. With `entire_space` the purchase head's own column is about purchase
//! given click, and its score is the log-odds of the product `P(click) P(purchase | click)`, so
//! that it is trained on all placements shown (Ma et al. 2018, ESMM).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::loss::{sigmoid, softplus};
use crate::loss_options::{Loss, LossKind};
use crate::options::refuse;
use crate::{Head, ModelError};

/// The columns of a network's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outputs {
    /// In the order of the columns: click and purchase always, grade where something trains it.
    heads: Vec<Output>,
    /// Whether purchase = click × purchase given click.
    entire_space: bool,
}

/// A head and what its columns mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    head: Head,
    form: Form,
}

/// What the columns of a head mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Form {
    /// One column, the score.
    Score,
    /// A score for "no" and one for "yes"; their difference is the log-odds.
    Pair,
    /// Log-odds that the grade is at least 1, 2, …; the score is the expected grade.
    Ordinal {
        /// Grades above 0.
        levels: usize,
    },
}

impl Form {
    fn columns(self) -> usize {
        match self {
            Self::Score => 1,
            Self::Pair => 2,
            Self::Ordinal { levels } => levels,
        }
    }
}

impl Default for Outputs {
    /// A click score and a purchase score: what models of format 1 have.
    fn default() -> Self {
        let heads = [Head::Click, Head::Purchase].map(|head| Output {
            head,
            form: Form::Score,
        });
        Self {
            heads: heads.to_vec(),
            entire_space: false,
        }
    }
}

impl Outputs {
    /// The columns that the losses of a config ask for.
    ///
    /// # Errors
    /// [`ModelError::Option`] for losses that cannot share a head, and for `entire_space` where a
    /// head of it is not a single score or is not trained.
    pub(crate) fn of(losses: &[Loss], entire_space: bool) -> Result<Self, ModelError> {
        let mut heads = Vec::new();
        for head in Head::ALL {
            let mut own = losses
                .iter()
                .enumerate()
                .filter(|(_, loss)| loss.head == head);
            let form = match own.clone().find(|(_, loss)| loss.function.columns() > 1) {
                None => Form::Score,
                Some((_, loss)) if loss.kind == LossKind::Jrc => Form::Pair,
                Some((_, loss)) => Form::Ordinal {
                    levels: loss.function.columns(),
                },
            };
            let fits = |loss: &Loss| match form {
                Form::Score => true,
                Form::Pair => loss.function.columns() <= 2 && loss.kind != LossKind::Ordinal,
                Form::Ordinal { .. } => loss.kind == LossKind::Ordinal,
            };
            if let Some((place, loss)) = own.find(|(_, loss)| !fits(loss)) {
                let allowed = "a head of its own: an ordinal loss shares its head with no other";
                let given = format!("a {} loss of `{}`", loss.kind.name(), head.name());
                return Err(refuse(&format!("losses[{place}]"), allowed, given));
            }
            if head != Head::Grade || losses.iter().any(|loss| loss.head == head) {
                heads.push(Output { head, form });
            }
        }
        if entire_space {
            for head in [Head::Click, Head::Purchase] {
                if losses.iter().all(|loss| loss.head != head) {
                    let allowed = format!("a loss of the {} head beside it", head.name());
                    return Err(refuse("entire_space", &allowed, "true"));
                }
            }
            let single = |output: &Output| output.head == Head::Grade || output.form == Form::Score;
            if !heads.iter().all(single) {
                let allowed = "no jrc or ordinal loss on click and purchase beside it";
                return Err(refuse("entire_space", allowed, "true"));
            }
        }
        Ok(Self {
            heads,
            entire_space,
        })
    }

    /// Columns of the network's output.
    pub(crate) fn columns(&self) -> usize {
        self.heads.iter().map(|output| output.form.columns()).sum()
    }

    /// Heads that exist, in order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.heads.iter().map(|output| output.head)
    }

    /// Checks what a file says.
    pub(crate) fn is_sound(&self) -> bool {
        let own = |head: Head| self.heads.iter().find(|output| output.head == head);
        let single = |head: Head| own(head).is_some_and(|output| output.form == Form::Score);
        let known: Vec<Head> = self.heads().collect();
        let in_order = known == Head::ALL || known == Head::ALL[..2];
        let levels = |output: &Output| output.form.columns() > 0 && output.form.columns() < 32;
        in_order
            && self.heads.iter().all(levels)
            && (!self.entire_space || (single(Head::Click) && single(Head::Purchase)))
    }

    fn columns_of(&self, head: Head) -> (Range<usize>, Form) {
        let mut start = 0;
        for output in &self.heads {
            let end = start + output.form.columns();
            if output.head == head {
                return (start..end, output.form);
            }
            start = end;
        }
        unreachable!("a checked config asks only for heads that exist")
    }

    /// The score of a head from one row of the network's output.
    ///
    /// Log-odds where a loss on log-odds trained it; the expected grade under an ordinal loss.
    pub(crate) fn score(&self, head: Head, row: &[f64]) -> f64 {
        let (columns, form) = self.columns_of(head);
        match form {
            Form::Score if head == Head::Purchase && self.entire_space => product_log_odds(
                row[self.columns_of(Head::Click).0.start],
                row[columns.start],
            ),
            Form::Score => row[columns.start],
            Form::Pair => row[columns.start + 1] - row[columns.start],
            Form::Ordinal { .. } => row[columns].iter().map(|&odds| sigmoid(odds)).sum(),
        }
    }

    /// What a loss reads of one row: its score, or all columns of its head.
    pub(crate) fn read(&self, loss: &Loss, row: &[f64], into: &mut Vec<f64>) {
        if loss.function.columns() > 1 {
            into.extend_from_slice(&row[self.columns_of(loss.head).0]);
        } else {
            into.push(self.score(loss.head, row));
        }
    }

    /// Carries the slope of what [`read`](Self::read) gave back to the columns of the row.
    pub(crate) fn carry_back(&self, loss: &Loss, row: &[f64], slopes: &[f64], into: &mut [f64]) {
        let (columns, form) = self.columns_of(loss.head);
        if loss.function.columns() > 1 {
            let columns = into[columns].iter_mut().zip(slopes);
            columns.for_each(|(into, slope)| *into += slope);
            return;
        }
        let slope = slopes[0];
        match form {
            Form::Score if loss.head == Head::Purchase && self.entire_space => {
                let click = self.columns_of(Head::Click).0.start;
                let [by_click, by_own] = product_slopes(row[click], row[columns.start]);
                into[click] += slope * by_click;
                into[columns.start] += slope * by_own;
            }
            Form::Score => into[columns.start] += slope,
            Form::Pair => {
                into[columns.start] -= slope;
                into[columns.start + 1] += slope;
            }
            Form::Ordinal { .. } => unreachable!("only an ordinal loss trains an ordinal head"),
        }
    }
}

/// Log-odds of `σ(a) σ(b)`, without overflow.
fn product_log_odds(a: f64, b: f64) -> f64 {
    // 1 / (σ(a) σ(b)) = (1 + e^−a)(1 + e^−b), so the odds are 1 / (e^−a + e^−b + e^−(a+b)).
    let terms = [-a, -b, -(a + b)];
    let most = terms.into_iter().fold(f64::NEG_INFINITY, f64::max);
    -(most
        + terms
            .iter()
            .map(|term| (term - most).exp())
            .sum::<f64>()
            .ln())
}

/// Derivatives of [`product_log_odds`] by `a` and `b`.
fn product_slopes(a: f64, b: f64) -> [f64; 2] {
    // d/da = (e^−a + e^−(a+b)) / (e^−a + e^−b + e^−(a+b)); e^−a (1 + e^−b) = e^(softplus(−b) − a).
    let by = |own: f64, other: f64| (softplus(-other) - own + product_log_odds(a, b)).exp();
    [by(a, b), by(b, a)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_product_of_probabilities_has_its_log_odds(a in -30.0..30.0_f64, b in -30.0..30.0_f64) {
            let product = sigmoid(a) * sigmoid(b);
            let odds = product_log_odds(a, b);
            prop_assert!((sigmoid(odds) - product).abs() < 1e-12);
            let step = 1e-5;
            let by = |da: f64, db: f64| product_log_odds(a + da, b + db);
            let [by_a, by_b] = product_slopes(a, b);
            let near = |slope: f64, upper: f64, lower: f64| {
                (slope - (upper - lower) / (2.0 * step)).abs() < 1e-8
            };
            prop_assert!(near(by_a, by(step, 0.0), by(-step, 0.0)), "{by_a}");
            prop_assert!(near(by_b, by(0.0, step), by(0.0, -step)), "{by_b}");
        }
    }

    #[test]
    fn huge_log_odds_stay_finite() {
        assert_eq!(product_log_odds(1000.0, -1000.0), -1000.0);
        assert_eq!(product_log_odds(-800.0, -800.0), -1600.0);
        assert!(product_log_odds(900.0, 900.0) > 890.0);
        assert!(
            product_slopes(-800.0, 800.0)
                .iter()
                .all(|slope| slope.is_finite())
        );
    }
}
