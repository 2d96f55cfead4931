//! A map for each segment of the traffic, as far as its data carry one.
//!
//! Input: a map of all rows, the rows, and the values of one or more columns (`slot`, `category`,
//! `month`). Output: a tree. The first column divides the rows, the second divides each part, and so
//! on. A segment with enough positives gets a map of its own, mixed with its parent's by
//! `positives / (positives + prior)`. One with fewer keeps its parent's map times the ratio of
//! purchases seen to purchases expected there, both with `prior` added: the posterior mean of a
//! ratio believed to be 1 on the strength of `prior` purchases. So every map stays non-decreasing,
//! and a segment that is small or unknown gets what its parent says.
//! Weights count rows.
//!
//! ```
//! use slate_calibrate::{Method, SegmentOptions, Segments, fit};
//!
//! let scores = [0.0; 40];
//! let labels: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i % 4 == 0 || i < 10))).collect();
//! let slots: Vec<String> = (0..40).map(|i| if i < 20 { "0" } else { "1" }.to_owned()).collect();
//! let map = fit(Method::Sigmoid, &scores, &labels, None)?;
//! let options = SegmentOptions { own: 1000.0, prior: 10.0 };
//! let by = [("slot".to_owned(), slots)];
//! let segments = Segments::fit(&map, Method::Sigmoid, &scores, &labels, None, &by, options)?;
//! let p = map.apply(0.0);
//! assert!(segments.apply(0.0, p, &["0"]) > p && segments.apply(0.0, p, &["1"]) < p);
//! assert_eq!(segments.apply(0.0, p, &["a new slot"]), p);
//! # Ok::<(), slate_calibrate::FitError>(())
//! ```

use std::collections::BTreeMap;

use crate::{Calibrator, FitError, Method, Reads, fit_reading};

/// When a segment stands on its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentOptions {
    /// Positives, and negatives, from which on a segment has a map of its own.
    pub own: f64,
    /// Positives that the belief in the parent's map is worth.
    pub prior: f64,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            own: 200.0,
            prior: 20.0,
        }
    }
}

/// How a segment changes what its parent says.
#[derive(Debug, Clone, PartialEq)]
pub enum Adjustment {
    /// `min(1, ratio * parent)`.
    Ratio(f64),
    /// `share * own + (1 - share) * parent`.
    Own {
        /// From 0 to 1.
        share: f64,
        /// Its own map.
        map: Box<Calibrator>,
    },
}

/// One segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Rows it was fitted on.
    pub rows: u64,
    /// Of these, those with a label above 0.
    pub positives: u64,
    /// What it changes.
    pub adjustment: Adjustment,
}

/// The segments below a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Segments {
    /// Names of the columns, outermost first.
    by: Vec<String>,
    /// By the values of the first one, two, … columns.
    nodes: BTreeMap<Vec<String>, Segment>,
}

impl Segments {
    /// Fits the segments below `map`. `by` has the name and the values, one per row, of each
    /// column, outermost first.
    ///
    /// # Errors
    /// As [`crate::fit()`]; [`FitError::Length`] for a column of another length. A segment whose own map
    /// cannot be fitted gets the ratio.
    pub fn fit(
        map: &Calibrator,
        method: Method,
        scores: &[f64],
        labels: &[f64],
        weights: Option<&[f64]>,
        by: &[(String, Vec<String>)],
        options: SegmentOptions,
    ) -> Result<Self, FitError> {
        for column in [labels.len(), weights.map_or(scores.len(), <[f64]>::len)]
            .into_iter()
            .chain(by.iter().map(|(_, values)| values.len()))
        {
            if column != scores.len() {
                return Err(FitError::Length {
                    what: "segments",
                    given: column,
                    expected: scores.len(),
                });
            }
        }
        // Segments read scores as the map does.
        let reads = if map.reads_probabilities() {
            Reads::Probability
        } else {
            Reads::LogOdds
        };
        let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let mut parent: Vec<f64> = scores.iter().map(|score| map.apply(*score)).collect();
        let mut nodes = BTreeMap::new();
        for depth in 1..=by.len() {
            let mut groups: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
            for row in 0..scores.len() {
                let key = by[..depth].iter().map(|(_, values)| values[row].as_str());
                groups.entry(key.collect()).or_default().push(row);
            }
            for (key, rows) in groups {
                let [mut positive, mut negative, mut expected] = [0.0; 3];
                for &row in &rows {
                    positive += weight(row) * labels[row];
                    negative += weight(row) * (1.0 - labels[row]);
                    expected += weight(row) * parent[row];
                }
                let of = |column: &[f64]| rows.iter().map(|&row| column[row]).collect::<Vec<_>>();
                let own = (positive >= options.own && negative >= options.own).then(|| {
                    let weights = weights.map(of);
                    let (scores, labels) = (of(scores), of(labels));
                    fit_reading(reads, method, &scores, &labels, weights.as_deref())
                });
                let adjustment = match own {
                    Some(Ok(map)) => Adjustment::Own {
                        share: positive / (positive + options.prior),
                        map: Box::new(map),
                    },
                    _ if options.prior + expected > 0.0 => {
                        Adjustment::Ratio((positive + options.prior) / (expected + options.prior))
                    }
                    _ => Adjustment::Ratio(1.0),
                };
                for &row in &rows {
                    parent[row] = adjustment.apply(scores[row], parent[row]);
                }
                let counts = |row: &&usize| weight(**row) > 0.0;
                let segment = Segment {
                    rows: rows.iter().filter(counts).count() as u64,
                    positives: rows
                        .iter()
                        .filter(|row| counts(row) && labels[**row] > 0.0)
                        .count() as u64,
                    adjustment,
                };
                nodes.insert(key.into_iter().map(str::to_owned).collect(), segment);
            }
        }
        let by = by.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { by, nodes })
    }

    /// Takes segments as they are in a file. Returns the first key that is too long or whose parent
    /// is missing.
    pub fn from_nodes(
        by: Vec<String>,
        nodes: BTreeMap<Vec<String>, Segment>,
    ) -> Result<Self, Vec<String>> {
        for key in nodes.keys() {
            let known = match key.len() {
                0 => false,
                1 => true,
                length => nodes.contains_key(&key[..length - 1]),
            };
            if !known || key.len() > by.len() {
                return Err(key.clone());
            }
        }
        Ok(Self { by, nodes })
    }

    /// Names of the columns, outermost first.
    pub fn by(&self) -> &[String] {
        &self.by
    }

    /// The segments, by key.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&[String], &Segment)> + '_ {
        self.nodes.iter().map(|(key, node)| (key.as_slice(), node))
    }

    /// The probability at `score` of a row whose columns have the values `key`, where the map of
    /// all rows says `whole`.
    pub fn apply(&self, score: f64, whole: f64, key: &[&str]) -> f64 {
        let mut path: Vec<String> = Vec::with_capacity(key.len());
        let mut probability = whole;
        for value in key {
            path.push((*value).to_owned());
            let Some(node) = self.nodes.get(&path) else {
                break;
            };
            probability = node.adjustment.apply(score, probability);
        }
        probability
    }
}

impl Adjustment {
    fn apply(&self, score: f64, parent: f64) -> f64 {
        match self {
            Self::Ratio(ratio) => (ratio * parent).min(1.0),
            Self::Own { share, map } => {
                (share * map.apply(score) + (1.0 - share) * parent).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit;

    /// Two segments of opposite base rates, one rare one.
    #[test]
    fn segments_with_data_get_their_own_map_and_others_lean_on_the_parent() {
        let rows = 6000;
        let seed = slate_types::Seed(3);
        let scores: Vec<f64> = (0..rows)
            .map(|i| seed.index(i).unit() * 4.0 - 2.0)
            .collect();
        let segment = |i: usize| match i {
            0..3000 => "a",
            3000..5990 => "b",
            _ => "rare",
        };
        let truth = |i: usize| {
            let lift = if segment(i) == "a" { -2.0 } else { 1.0 };
            1.0 / (1.0 + (-(scores[i] + lift)).exp())
        };
        let labels: Vec<f64> = (0..rows as usize)
            .map(|i| {
                let drawn = seed.derive("label").index(i as u64).unit();
                f64::from(u8::from(drawn < truth(i)))
            })
            .collect();
        let keys: Vec<String> = (0..rows as usize).map(|i| segment(i).to_owned()).collect();
        let map = fit(Method::Sigmoid, &scores, &labels, None).unwrap();
        let by = [("segment".to_owned(), keys)];
        let segments = Segments::fit(
            &map,
            Method::Sigmoid,
            &scores,
            &labels,
            None,
            &by,
            SegmentOptions::default(),
        )
        .unwrap();
        let mut gap = [0.0, 0.0];
        for (i, score) in scores.iter().enumerate().take(5990) {
            let whole = map.apply(*score);
            gap[0] += (whole - truth(i)).abs() / 5990.0;
            gap[1] += (segments.apply(*score, whole, &[segment(i)]) - truth(i)).abs() / 5990.0;
        }
        assert!(gap[0] > 0.2 && gap[1] < 0.03, "{gap:?}");
        let rare = &segments.nodes[&vec!["rare".to_owned()]];
        assert_eq!(rare.rows, 10);
        assert!(matches!(rare.adjustment, Adjustment::Ratio(ratio) if (0.7..1.3).contains(&ratio)));
        assert!(matches!(
            segments.nodes[&vec!["a".to_owned()]].adjustment,
            Adjustment::Own { .. }
        ));
    }
}
