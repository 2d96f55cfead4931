//! Turning examples into the numbers and ids a network reads, by a feature map.
//!
//! Output is row-major: dense `[rows, d]` as f32 and categorical `[rows, c]` as u32, in the order
//! of the map. Features of one row depend on that row, and relative ones on its list; nothing
//! else. Columns are made in parallel, which does not change a bit of the result.

use rayon::prelude::*;

use crate::{
    Block, FeatureError,
    block::Column,
    date,
    map::{CategoricalFeature, DenseFeature, FeatureMap},
    spec::{Comparison, Period},
    value::{self, Ids},
};

/// Transformed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// `[rows, d]`, row-major, finite.
    pub dense: Vec<f32>,
    /// `[rows, c]`, row-major, each below the cardinality of its column.
    pub categorical: Vec<u32>,
}

/// A feature map made ready: vocabularies are looked up, not searched.
#[derive(Debug)]
pub struct Applier<'a> {
    map: &'a FeatureMap,
    /// The vocabulary of each categorical feature that has one.
    ids: Vec<Option<Ids>>,
}

impl FeatureMap {
    /// Transforms one block. For many blocks make an [`Applier`] once.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub fn apply(&self, block: &Block) -> Result<Features, FeatureError> {
        Applier::new(self).apply(block)
    }
}

impl<'a> Applier<'a> {
    /// Makes the map ready.
    pub fn new(map: &'a FeatureMap) -> Self {
        let ids = map
            .categorical
            .iter()
            .map(|feature| match feature {
                CategoricalFeature::Vocabulary { values, .. } => Some(Ids::new(values)),
                _ => None,
            })
            .collect();
        Self { map, ids }
    }

    /// Transforms whole lists.
    ///
    /// # Errors
    /// [`FeatureError::MissingColumn`] and [`FeatureError::ColumnType`] where the block is not
    /// what the map was made for, [`FeatureError::Value`] for a value without a result: not
    /// finite, below a logarithm's range, or too large for f32.
    pub fn apply(&self, block: &Block) -> Result<Features, FeatureError> {
        let dense: Vec<Vec<f32>> = self
            .map
            .dense
            .par_iter()
            .map(|f| dense_column(f, block))
            .collect::<Result<_, _>>()?;
        let categorical: Vec<Vec<u32>> = self
            .map
            .categorical
            .par_iter()
            .zip(&self.ids)
            .map(|(feature, ids)| categorical_column(feature, ids.as_ref(), block))
            .collect::<Result<_, _>>()?;
        Ok(Features {
            dense: interleave(&dense, block.rows()),
            categorical: interleave(&categorical, block.rows()),
        })
    }
}

/// Columns to rows.
fn interleave<T: Copy>(columns: &[Vec<T>], rows: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(columns.len() * rows);
    for row in 0..rows {
        values.extend(columns.iter().map(|column| column[row]));
    }
    values
}

fn dense_column(feature: &DenseFeature, block: &Block) -> Result<Vec<f32>, FeatureError> {
    let values = match feature {
        DenseFeature::Numeric {
            column,
            time_since,
            clip,
            log1p,
            scale,
            fill,
            ..
        } => {
            let mut values = block.numbers_or_hours(column, *time_since)?;
            for (row, value) in values.iter_mut().enumerate() {
                *value = if value.is_nan() {
                    *fill
                } else {
                    let value = transformed(block, column, row, *value, *clip, *log1p)?;
                    scale.map_or(value, |scale| scale.apply(value))
                };
            }
            values
        }
        DenseFeature::Missing {
            column, time_since, ..
        } => {
            let values = block.numbers_or_hours(column, *time_since)?;
            values
                .iter()
                .map(|value| f64::from(u8::from(value.is_nan())))
                .collect()
        }
        DenseFeature::Rate {
            numerator,
            denominator,
            smoothing,
            prior,
            log,
            scale,
            ..
        } => {
            let mut values = block.numbers(numerator)?;
            let trials = block.numbers(denominator)?;
            for (row, value) in values.iter_mut().enumerate() {
                let n = count(block, numerator, row, *value)?;
                let d = count(block, denominator, row, trials[row])?;
                let rate = rate(n, d, *smoothing, *prior, *log);
                *value = scale.map_or(rate, |scale| scale.apply(rate));
            }
            values
        }
        DenseFeature::Relative { column, to, .. } => relative(block, column, *to)?,
        DenseFeature::Cyclic {
            column,
            period,
            cosine,
            ..
        } => cyclic(block, column, *period, *cosine)?,
    };
    let small: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    match small.iter().position(|value| !value.is_finite()) {
        None => Ok(small),
        Some(row) => {
            let expected = format!("a feature `{}` within f32, by `clip`", feature.name());
            let column = feature.columns()[0];
            Err(block.bad_value(column, row, values[row], expected))
        }
    }
}

impl DenseFeature {
    /// What the feature is where its columns are missing.
    pub fn unknown(&self) -> f32 {
        let value = match self {
            Self::Numeric { fill, .. } => *fill,
            Self::Missing { .. } => 1.0,
            Self::Rate {
                smoothing,
                prior,
                log,
                scale,
                ..
            } => {
                let rate = rate(0.0, 0.0, *smoothing, *prior, *log);
                scale.map_or(rate, |scale| scale.apply(rate))
            }
            Self::Relative { .. } | Self::Cyclic { .. } => 0.0,
        };
        value as f32
    }
}

/// Clip and logarithm of a number that is not missing.
pub(crate) fn transformed(
    block: &Block,
    column: &str,
    row: usize,
    value: f64,
    clip: Option<[f64; 2]>,
    log1p: bool,
) -> Result<f64, FeatureError> {
    let value = clip.map_or(value, |[low, high]| value.clamp(low, high));
    if log1p {
        ln_1p(block, column, row, value)
    } else {
        Ok(value)
    }
}

fn ln_1p(block: &Block, column: &str, row: usize, value: f64) -> Result<f64, FeatureError> {
    if value > -1.0 {
        Ok(value.ln_1p())
    } else {
        let expected = "a number above -1, which has a `log1p` (or a `clip` that makes it one)";
        Err(block.bad_value(column, row, value, expected))
    }
}

/// A count of a rate: null is 0, below 0 is an error.
pub(crate) fn count(
    block: &Block,
    column: &str,
    row: usize,
    value: f64,
) -> Result<f64, FeatureError> {
    if value < 0.0 {
        return Err(block.bad_value(column, row, value, "a count of 0 or more"));
    }
    Ok(if value.is_nan() { 0.0 } else { value })
}

/// The smoothed rate, or its logarithm.
pub(crate) fn rate(n: f64, d: f64, smoothing: f64, prior: f64, log: bool) -> f64 {
    let rate = (n + smoothing * prior) / (d + smoothing);
    if log { rate.ln() } else { rate }
}

/// Each value against those of its list; missing values are 0 and are not compared with.
fn relative(block: &Block, column: &str, to: Comparison) -> Result<Vec<f64>, FeatureError> {
    let mut values = block.numbers(column)?;
    if to == Comparison::LogRatio {
        for (row, value) in values.iter_mut().enumerate() {
            if !value.is_nan() {
                *value = ln_1p(block, column, row, *value)?;
            }
        }
    }
    for rows in block.lists().iter() {
        let list = &mut values[rows];
        let known: Vec<f64> = list
            .iter()
            .copied()
            .filter(|value| !value.is_nan())
            .collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        match to {
            Comparison::LogRatio => list.iter_mut().for_each(|value| *value -= mean),
            Comparison::Z => {
                let squares: f64 = known.iter().map(|value| (value - mean).powi(2)).sum();
                let sd = (squares / known.len() as f64).sqrt();
                // A list of equal values may miss its own mean by a rounding.
                let flat = sd <= 1e-12 * mean.abs();
                for value in list.iter_mut() {
                    *value = if flat { 0.0 } else { (*value - mean) / sd };
                }
            }
            Comparison::Rank => rank(list, known),
        }
        for value in list.iter_mut().filter(|value| value.is_nan()) {
            *value = 0.0;
        }
    }
    Ok(values)
}

/// Where each time stands on the circle of a period.
fn cyclic(
    block: &Block,
    column: &str,
    period: Period,
    cosine: bool,
) -> Result<Vec<f64>, FeatureError> {
    let Column::Integers(times) = block.column(column)? else {
        return Err(block.bad_type(column, "times"));
    };
    let place = |time: Option<i64>| {
        time.map_or(0.0, |time| {
            let angle = std::f64::consts::TAU * date::share(time, period);
            if cosine { angle.cos() } else { angle.sin() }
        })
    };
    Ok(times.iter().map(place).collect())
}

/// Share of the others that are smaller, ties counted half, less ½.
fn rank(list: &mut [f64], mut known: Vec<f64>) {
    known.sort_unstable_by(f64::total_cmp);
    let others = known.len().saturating_sub(1) as f64;
    for value in list.iter_mut().filter(|value| !value.is_nan()) {
        let smaller = known.partition_point(|other| other < value);
        let equal = known.partition_point(|other| other <= value) - smaller;
        let ahead = smaller as f64 + 0.5 * (equal as f64 - 1.0);
        *value = if others > 0.0 {
            ahead / others - 0.5
        } else {
            0.0
        };
    }
}

fn categorical_column(
    feature: &CategoricalFeature,
    ids: Option<&Ids>,
    block: &Block,
) -> Result<Vec<u32>, FeatureError> {
    let mut column = vec![0; block.rows()];
    match (feature, ids) {
        (
            CategoricalFeature::Bins {
                column: name,
                time_since,
                edges,
                ..
            },
            _,
        ) => {
            for (id, value) in column
                .iter_mut()
                .zip(block.numbers_or_hours(name, *time_since)?)
            {
                if !value.is_nan() {
                    *id = 1 + edges.partition_point(|edge| *edge <= value) as u32;
                }
            }
        }
        (
            CategoricalFeature::Hashed {
                column: name,
                with,
                buckets,
                ..
            },
            _,
        ) => {
            value::for_each_crossed(block, name, with, |row, value| {
                column[row] = value.map_or(0, |value| 1 + value.bucket(*buckets));
            })?;
        }
        (
            CategoricalFeature::Vocabulary {
                column: name, with, ..
            },
            Some(ids),
        ) => {
            value::for_each_crossed(block, name, with, |row, value| {
                column[row] = value.map_or(0, |value| ids.id(&value));
            })?;
        }
        (CategoricalFeature::Vocabulary { .. }, None) => {
            unreachable!("every vocabulary was made ready")
        }
    }
    Ok(column)
}
