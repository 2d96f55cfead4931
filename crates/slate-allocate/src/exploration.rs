//! How a policy leaves its own order, with the exact probability of what it then shows.

use serde::{Deserialize, Serialize};
use slate_types::{PlackettLuce, Seed};

use crate::error::finite;
use crate::{AllocateError, Placements};

/// What a policy does beside ordering by value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Exploration {
    /// Nothing: the order by falling value. Rows of equal value stand in any order among
    /// themselves.
    #[default]
    None,
    /// On this share of the lists, any order of the rows, all equally likely.
    Epsilon {
        /// From 0 to 1.
        share: f64,
    },
    /// Slot by slot, a row of those left with probability proportional to exp(value ÷ temperature)
    /// (Plackett and Luce).
    Softmax {
        /// Above 0; near 0 is the order by value, large is any order.
        temperature: f64,
    },
}

impl Exploration {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`AllocateError::Setting`].
    pub fn check(self) -> Result<(), AllocateError> {
        match self {
            Self::Epsilon { share } if !(0.0..=1.0).contains(&share) => {
                Err(AllocateError::Setting {
                    what: "share",
                    given: share,
                    expected: "a number from 0 to 1",
                })
            }
            Self::Softmax { temperature } if !(temperature > 0.0 && temperature.is_finite()) => {
                Err(AllocateError::Setting {
                    what: "temperature",
                    given: temperature,
                    expected: "a finite number above 0",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a list of distinct values can be shown in one order only.
    pub fn is_deterministic(self) -> bool {
        match self {
            Self::None => true,
            Self::Epsilon { share } => share == 0.0,
            Self::Softmax { .. } => false,
        }
    }

    /// Probability of each row of a list at each of its places.
    ///
    /// # Errors
    /// [`AllocateError::NotFinite`].
    pub fn marginals(self, values: &[f64]) -> Result<Placements, AllocateError> {
        finite(values)?;
        let rows = values.len();
        let mut placements = Placements::empty(rows);
        if let Self::Softmax { temperature } = self {
            return Ok(Placements::of_table(rows, law(values, temperature).table()));
        }
        let mut first = 0;
        for group in tied(values) {
            for &row in &group {
                for place in first..first + group.len() {
                    placements.set(row, place, 1.0 / group.len() as f64);
                }
            }
            first += group.len();
        }
        if let Self::Epsilon { share } = self {
            placements.mix(share);
        }
        Ok(placements)
    }

    /// Probability that the first 1, 2, … places hold exactly what `order` holds there; `order` has
    /// every row once. The last number is that of the whole list.
    ///
    /// # Errors
    /// [`AllocateError::NotFinite`].
    pub fn prefixes(self, values: &[f64], order: &[usize]) -> Result<Vec<f64>, AllocateError> {
        finite(values)?;
        debug_assert_eq!(values.len(), order.len());
        if let Self::Softmax { temperature } = self {
            let mut product = 1.0;
            let given = law(values, temperature).given_prefix(order);
            let prefixes = given.into_iter().map(|chance| {
                product *= chance;
                product
            });
            return Ok(prefixes.collect());
        }
        let share = if let Self::Epsilon { share } = self {
            share
        } else {
            0.0
        };
        let (mut own, mut any) = (1.0, 1.0);
        let mut prefixes = Vec::with_capacity(order.len());
        for (place, &row) in order.iter().enumerate() {
            let left = &order[place..];
            let best = left.iter().map(|&i| values[i]).fold(f64::MIN, f64::max);
            own *= if values[row] == best {
                1.0 / left.iter().filter(|&&i| values[i] == best).count() as f64
            } else {
                0.0
            };
            any /= left.len() as f64;
            prefixes.push((1.0 - share) * own + share * any);
        }
        Ok(prefixes)
    }

    /// One order of the rows, drawn with these probabilities.
    ///
    /// # Errors
    /// [`AllocateError::NotFinite`].
    pub fn draw(self, values: &[f64], seed: Seed) -> Result<Vec<usize>, AllocateError> {
        finite(values)?;
        let mut next = 0;
        let mut unit = || {
            next += 1;
            seed.index(next).unit()
        };
        let any = match self {
            Self::Softmax { temperature } => {
                let exponential = || -(1.0 - unit()).ln();
                return Ok(law(values, temperature).draw(values.len(), exponential));
            }
            Self::Epsilon { share } => unit() < share,
            Self::None => false,
        };
        // Ties and explored lists: by random keys.
        let keys: Vec<f64> = values.iter().map(|_| unit()).collect();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| {
            let by_value = if any {
                std::cmp::Ordering::Equal
            } else {
                values[b].total_cmp(&values[a])
            };
            by_value.then(keys[a].total_cmp(&keys[b])).then(a.cmp(&b))
        });
        Ok(order)
    }
}

fn law(values: &[f64], temperature: f64) -> PlackettLuce {
    let log_weights: Vec<f64> = values.iter().map(|value| value / temperature).collect();
    PlackettLuce::new(&log_weights)
}

/// Rows in groups of equal value, largest first.
fn tied(values: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for row in order {
        match groups.last_mut() {
            Some(group) if values[group[0]] == values[row] => group.push(row),
            _ => groups.push(vec![row]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Exploration> {
        prop_oneof![
            Just(Exploration::None),
            (0.0..=1.0).prop_map(|share| Exploration::Epsilon { share }),
            (0.1..3.0).prop_map(|temperature| Exploration::Softmax { temperature }),
        ]
    }

    /// All orders of `n` rows.
    fn orders(n: usize) -> Vec<Vec<usize>> {
        let mut all = vec![vec![]];
        for _ in 0..n {
            all = all
                .into_iter()
                .flat_map(|order: Vec<usize>| {
                    (0..n)
                        .filter(|row| !order.contains(row))
                        .map(|row| {
                            let mut longer = order.clone();
                            longer.push(row);
                            longer
                        })
                        .collect::<Vec<_>>()
                })
                .collect();
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// The marginal of a placement is the sum over all orders that have it.
        #[test]
        fn marginals_and_orders_agree(
            values in prop::collection::vec(prop_oneof![Just(1.0), -2.0..2.0_f64], 1..=5),
            kind in kinds(),
        ) {
            let n = values.len();
            let marginals = kind.marginals(&values).unwrap();
            let mut sums = vec![0.0; n * n];
            let mut total = 0.0;
            for order in orders(n) {
                let prefixes = kind.prefixes(&values, &order).unwrap();
                prop_assert!(prefixes.windows(2).all(|pair| pair[1] <= pair[0] + 1e-15));
                total += prefixes[n - 1];
                for (place, &row) in order.iter().enumerate() {
                    sums[row * n + place] += prefixes[n - 1];
                }
            }
            prop_assert!((total - 1.0).abs() < 1e-9, "{total}");
            for row in 0..n {
                for place in 0..n {
                    let (ours, summed) = (marginals.at(row, place), sums[row * n + place]);
                    prop_assert!((ours - summed).abs() < 1e-8, "{ours} {summed}");
                }
                prop_assert!((marginals.of(row).iter().sum::<f64>() - 1.0).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn draws_are_as_likely_as_they_say() {
        let values = [1.0, 0.0, 1.0];
        for kind in [
            Exploration::None,
            Exploration::Epsilon { share: 0.5 },
            Exploration::Softmax { temperature: 0.7 },
        ] {
            let n = 20_000;
            let mut first = [0.0; 3];
            for i in 0..n {
                first[kind.draw(&values, Seed(3).index(i)).unwrap()[0]] += 1.0 / n as f64;
            }
            let expected = kind.marginals(&values).unwrap();
            for (row, share) in first.iter().enumerate() {
                let chance = expected.at(row, 0);
                let error = (chance * (1.0 - chance) / n as f64).sqrt();
                assert!(
                    (share - chance).abs() <= 4.0 * error,
                    "{kind:?} {share} {chance}"
                );
            }
        }
    }

    #[test]
    fn settings_and_values_out_of_range_are_refused() {
        assert!(Exploration::Epsilon { share: 1.5 }.check().is_err());
        assert!(Exploration::Softmax { temperature: 0.0 }.check().is_err());
        let error = Exploration::None.marginals(&[0.0, f64::NAN]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the value of row 1 is NaN, expected a finite number"
        );
        assert!(Exploration::Epsilon { share: 0.0 }.is_deterministic());
        assert!(!Exploration::Softmax { temperature: 1.0 }.is_deterministic());
    }
}
