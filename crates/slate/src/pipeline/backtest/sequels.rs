//! What is still to come in a list, once its first slots are shown: for estimators that go from the top.

use anyhow::Result;
use slate_allocate::Exploration;

/// One list under a policy.
pub(super) struct Sequels<'a> {
    pub(super) explore: Exploration,
    /// What the policy orders the rows by.
    pub(super) values: &'a [f64],
    /// `[rows, places]`: what is expected of each row at each place.
    pub(super) forecasts: &'a [f64],
    /// Places that count.
    pub(super) counted: usize,
}

impl Sequels<'_> {
    /// What is expected from each row's place down, given what `order` has above it: with the row there, and
    /// with what the policy would show. 0 for rows below the places that count.
    pub(super) fn of(&self, order: &[usize]) -> Result<[Vec<f64>; 2]> {
        let count = order.len();
        // Once 0, 1, … rows are shown; nothing comes after the last place that counts.
        let mut after = vec![0.0; count + 1];
        for (shown, after) in after.iter_mut().enumerate().take(self.counted) {
            let first = &order[..shown];
            let chances = self.explore.marginals_after(self.values, first)?;
            let left = (0..count).filter(|row| !first.contains(row));
            for (at, row) in left.enumerate() {
                for place in shown..self.counted {
                    *after += chances.at(at, place - shown) * self.forecasts[row * count + place];
                }
            }
        }
        let mut both = [vec![0.0; count], vec![0.0; count]];
        for (place, &row) in order.iter().enumerate().take(self.counted) {
            both[0][row] = self.forecasts[row * count + place] + after[place + 1];
            both[1][row] = after[place];
        }
        Ok(both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [[usize; 3]; 6] = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];

    /// Over all orders, each as likely as under the policy, what a row brings with it is what was expected
    /// of its place; and what is expected of the first place is that of the whole list.
    #[test]
    fn rows_bring_what_is_expected_of_their_place() {
        let forecasts = [0.3, 0.2, 0.05, 0.9, 0.4, 0.6, 0.1, 0.7, 0.35];
        for explore in [
            Exploration::None,
            Exploration::Epsilon { share: 0.3 },
            Exploration::Softmax { temperature: 0.8 },
        ] {
            for values in [[0.4, 1.0, -0.5], [1.0, 1.0, 0.0]] {
                for counted in 1..=3 {
                    let sequels = Sequels {
                        explore,
                        values: &values,
                        forecasts: &forecasts,
                        counted,
                    };
                    let mut gaps = [0.0; 3];
                    let (mut whole, mut first) = (0.0, f64::NAN);
                    for order in ORDERS {
                        let chance = explore.prefixes(&values, &order).unwrap()[2];
                        let [here, expected] = sequels.of(&order).unwrap();
                        for (place, &row) in order.iter().enumerate() {
                            gaps[place] += chance * (here[row] - expected[row]);
                            if place < counted {
                                whole += chance * forecasts[row * 3 + place];
                            }
                        }
                        first = expected[order[0]];
                    }
                    assert!(gaps.iter().all(|gap| gap.abs() < 1e-9), "{gaps:?}");
                    assert!((whole - first).abs() < 1e-9, "{whole} {first}");
                }
            }
        }
    }
}
