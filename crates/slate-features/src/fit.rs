//! Fitting a spec to the training window, and to nothing after it.
//!
//! Rows are read in order until the first list at or after the end of the window; lists with a
//! label that can still change are left out, since they are in no part of the dataset. Numbers,
//! vocabularies and quantiles take one pass; rates that are standardised take a second one over
//! their columns, because their prior must be known first. Each feature sees the rows in file
//! order on one thread, so sums do not depend on the number of threads.

use std::path::Path;

use rayon::prelude::*;

use crate::{
    Block, FeatureError,
    apply::{rate, transformed},
    examples::Examples,
    map::{CategoricalFeature, DenseFeature, FEATURE_MAP_FORMAT, FeatureMap, FittedOn, Scale},
    moments::{Moments, Sample},
    spec::{Categorical, DEFAULT_MIN_COUNT, FeatureSpec, Numeric, Rate, RateTransform, Transform},
    value::{self, Counts},
};

/// Most numbers kept for the quantiles of one column (8 MiB).
const SAMPLE: usize = 1 << 20;

/// A map and what a person should know about it.
pub(crate) struct Fitted {
    pub(crate) map: FeatureMap,
    pub(crate) notes: Vec<String>,
}

impl FeatureMap {
    /// Fits `spec` to the lists of `examples` before `until` (UTC microseconds).
    ///
    /// # Errors
    /// [`FeatureError::Option`] for an unsound spec, [`FeatureError::MissingColumn`] and
    /// [`FeatureError::ColumnType`] where the spec and the file disagree,
    /// [`FeatureError::Value`] for a value that a transform cannot take.
    pub fn fit(examples: &Path, spec: &FeatureSpec, until: i64) -> Result<Self, FeatureError> {
        spec.check()?;
        let examples = Examples::open(examples)?;
        require_columns(&examples, spec)?;
        Ok(fit(&examples, spec, until, &|_| {})?.map)
    }
}

/// Every column of the spec must be there.
pub(crate) fn require_columns(examples: &Examples, spec: &FeatureSpec) -> Result<(), FeatureError> {
    for (i, numeric) in spec.numeric.iter().enumerate() {
        examples.require(&numeric.column, &format!("`features.numeric[{i}]`"))?;
    }
    for (i, rate) in spec.rate.iter().enumerate() {
        examples.require(&rate.numerator, &format!("`features.rate[{i}].numerator`"))?;
        examples.require(
            &rate.denominator,
            &format!("`features.rate[{i}].denominator`"),
        )?;
    }
    for (i, relative) in spec.relative.iter().enumerate() {
        examples.require(&relative.column, &format!("`features.relative[{i}]`"))?;
    }
    for (i, categorical) in spec.categorical.iter().enumerate() {
        examples.require(&categorical.column, &format!("`features.categorical[{i}]`"))?;
    }
    Ok(())
}

/// Fits after all checks; `advance` is told the rows of each block.
pub(crate) fn fit(
    examples: &Examples,
    spec: &FeatureSpec,
    until: i64,
    advance: &dyn Fn(u64),
) -> Result<Fitted, FeatureError> {
    let position = spec.position.then(position);
    let numeric = spec.numeric.iter().chain(&position);
    let mut fitters: Vec<Fitter> = numeric
        .map(Fitter::numeric)
        .chain(spec.rate.iter().map(Fitter::rate))
        .chain(spec.categorical.iter().map(Fitter::categorical))
        .collect();
    let mut columns: Vec<&str> = fitters.iter().flat_map(Fitter::columns).collect();
    columns.push("matured");

    let fitted_on = training_rows(examples, &columns, until, |block, used| {
        fitters
            .par_iter_mut()
            .try_for_each(|fitter| fitter.observe(block, used))?;
        advance(block.rows() as u64);
        Ok(())
    })?;
    fit_rate_scales(examples, &mut fitters, until)?;

    let mut notes = Vec::new();
    let mut dense = Vec::new();
    let mut last = Vec::new();
    let mut categorical = Vec::new();
    for fitter in fitters {
        let is_position = position
            .as_ref()
            .is_some_and(|position| fitter.is(position));
        let into = if is_position { &mut last } else { &mut dense };
        fitter.finish(into, &mut categorical, &mut notes);
    }
    for relative in &spec.relative {
        for &to in &relative.to {
            dense.push(DenseFeature::Relative {
                name: format!("{}_{}", relative.column, to.suffix()),
                column: relative.column.clone(),
                to,
            });
        }
    }
    dense.append(&mut last);
    Ok(Fitted {
        map: FeatureMap {
            format: FEATURE_MAP_FORMAT,
            fitted_on,
            dense,
            categorical,
        },
        notes,
    })
}

/// The logged slot as a feature.
fn position() -> Numeric {
    Numeric {
        column: "slot".to_owned(),
        name: Some("position".to_owned()),
        transforms: vec![Transform::Log1p, Transform::Standardise],
        clip: None,
        missing_indicator: Some(false),
        quantile_bins: None,
    }
}

/// Gives each block of the window to `observe`, with the rows that may be used.
fn training_rows(
    examples: &Examples,
    columns: &[&str],
    until: i64,
    mut observe: impl FnMut(&Block, &[bool]) -> Result<(), FeatureError>,
) -> Result<FittedOn, FeatureError> {
    let mut seen = FittedOn::default();
    for block in examples.blocks(columns)? {
        let block = block?;
        let ts = block.integers("ts")?.values();
        let matured = block.integers("matured")?.values();
        let mut used = vec![false; block.rows()];
        for rows in block.lists().iter() {
            let moment = ts[rows.start];
            if moment >= until {
                break;
            }
            if rows.clone().all(|row| matured[row] == 1) {
                seen.lists += 1;
                seen.rows += rows.len() as u64;
                seen.first_ts = seen.first_ts.or(Some(moment));
                seen.last_ts = Some(moment);
                used[rows].fill(true);
            }
        }
        observe(&block, &used)?;
        if ts.last().is_some_and(|&moment| moment >= until) {
            break;
        }
    }
    Ok(seen)
}

/// The second pass: mean and deviation of the rates that ask for them.
fn fit_rate_scales(
    examples: &Examples,
    fitters: &mut [Fitter],
    until: i64,
) -> Result<(), FeatureError> {
    let mut rates: Vec<&mut RateFitter> = fitters
        .iter_mut()
        .filter_map(|fitter| match fitter {
            Fitter::Rate(rate) if rate.standardised() => Some(rate),
            _ => None,
        })
        .collect();
    if rates.is_empty() {
        return Ok(());
    }
    let mut columns = vec!["matured"];
    for rate in &rates {
        let spec = rate.spec;
        columns.extend([spec.numerator.as_str(), spec.denominator.as_str()]);
    }
    training_rows(examples, &columns, until, |block, used| {
        rates
            .par_iter_mut()
            .try_for_each(|rate| rate.observe_rates(block, used))
    })?;
    Ok(())
}

/// What is gathered for one entry of the spec.
enum Fitter<'a> {
    Numeric {
        spec: &'a Numeric,
        moments: Moments,
        missing: u64,
    },
    Bins {
        spec: &'a Numeric,
        bins: u32,
        sample: Sample,
    },
    Rate(RateFitter<'a>),
    Vocabulary {
        spec: &'a Categorical,
        counts: Counts,
    },
    Hashed {
        spec: &'a Categorical,
        buckets: u32,
    },
}

struct RateFitter<'a> {
    spec: &'a Rate,
    successes: f64,
    trials: f64,
    moments: Moments,
}

impl<'a> Fitter<'a> {
    fn numeric(spec: &'a Numeric) -> Self {
        match spec.quantile_bins {
            Some(bins) => Self::Bins {
                spec,
                bins,
                sample: Sample::new(SAMPLE),
            },
            None => Self::Numeric {
                spec,
                moments: Moments::default(),
                missing: 0,
            },
        }
    }

    fn rate(spec: &'a Rate) -> Self {
        Self::Rate(RateFitter {
            spec,
            successes: 0.0,
            trials: 0.0,
            moments: Moments::default(),
        })
    }

    fn categorical(spec: &'a Categorical) -> Self {
        match spec.buckets {
            Some(buckets) => Self::Hashed { spec, buckets },
            None => Self::Vocabulary {
                spec,
                counts: Counts::default(),
            },
        }
    }

    fn is(&self, numeric: &Numeric) -> bool {
        matches!(self, Self::Numeric { spec, .. } if std::ptr::eq(*spec, numeric))
    }

    fn columns(&self) -> Vec<&'a str> {
        match self {
            Self::Numeric { spec, .. } | Self::Bins { spec, .. } => vec![&spec.column],
            Self::Rate(rate) => vec![&rate.spec.numerator, &rate.spec.denominator],
            Self::Vocabulary { spec, .. } | Self::Hashed { spec, .. } => vec![&spec.column],
        }
    }

    fn observe(&mut self, block: &Block, used: &[bool]) -> Result<(), FeatureError> {
        match self {
            Self::Numeric {
                spec,
                moments,
                missing,
            } => {
                let log1p = spec.transforms.contains(&Transform::Log1p);
                for (row, value) in used_rows(block, &spec.column, used)? {
                    if value.is_nan() {
                        *missing += 1;
                    } else {
                        moments.add(transformed(
                            block,
                            &spec.column,
                            row,
                            value,
                            spec.clip,
                            log1p,
                        )?);
                    }
                }
            }
            Self::Bins { spec, sample, .. } => {
                used_rows(block, &spec.column, used)?
                    .into_iter()
                    .filter(|(_, value)| !value.is_nan())
                    .for_each(|(_, value)| sample.add(value));
            }
            Self::Rate(rate) => {
                for (_, successes, trials) in rate.counts(block, used)? {
                    rate.successes += successes;
                    rate.trials += trials;
                }
            }
            Self::Vocabulary { spec, counts } => {
                value::for_each(block, &spec.column, |row, value| {
                    if let Some(value) = value.filter(|_| used[row]) {
                        counts.add(value);
                    }
                })?;
            }
            Self::Hashed { .. } => {}
        }
        Ok(())
    }

    fn finish(
        self,
        dense: &mut Vec<DenseFeature>,
        categorical: &mut Vec<CategoricalFeature>,
        notes: &mut Vec<String>,
    ) {
        match self {
            Self::Numeric {
                spec,
                moments,
                missing,
            } => {
                let name = spec.name().to_owned();
                let column = spec.column.clone();
                if moments.count == 0 {
                    notes.push(format!(
                        "`{column}` is empty in the training window: `{name}` is the same in every row"
                    ));
                }
                let Scale { mean, .. } = moments.scale();
                let standardise = spec.transforms.contains(&Transform::Standardise);
                dense.push(DenseFeature::Numeric {
                    name: name.clone(),
                    column: column.clone(),
                    clip: spec.clip,
                    log1p: spec.transforms.contains(&Transform::Log1p),
                    scale: standardise.then(|| moments.scale()),
                    fill: if standardise { 0.0 } else { mean },
                });
                if spec.missing_indicator.unwrap_or(missing > 0) {
                    dense.push(DenseFeature::Missing {
                        name: format!("{name}_missing"),
                        column,
                    });
                }
            }
            Self::Bins { spec, bins, sample } => categorical.push(CategoricalFeature::Bins {
                name: format!("{}_bin", spec.name()),
                column: spec.column.clone(),
                edges: sample.edges(bins),
            }),
            Self::Rate(rate) => dense.push(DenseFeature::Rate {
                name: rate.spec.name.clone(),
                numerator: rate.spec.numerator.clone(),
                denominator: rate.spec.denominator.clone(),
                smoothing: rate.spec.smoothing,
                prior: rate.prior(),
                log: rate.log(),
                scale: rate.standardised().then(|| rate.moments.scale()),
            }),
            Self::Vocabulary { spec, counts } => {
                let min_count = spec.min_count.unwrap_or(DEFAULT_MIN_COUNT);
                let values = counts.vocabulary(min_count, spec.max_ids);
                if values.is_empty() {
                    notes.push(format!(
                        "no value of `{}` is in {min_count} training rows: `{}` is 0 in every row",
                        spec.column,
                        spec.name()
                    ));
                }
                categorical.push(CategoricalFeature::Vocabulary {
                    name: spec.name().to_owned(),
                    column: spec.column.clone(),
                    values,
                });
            }
            Self::Hashed { spec, buckets } => categorical.push(CategoricalFeature::Hashed {
                name: spec.name().to_owned(),
                column: spec.column.clone(),
                buckets,
            }),
        }
    }
}

impl RateFitter<'_> {
    fn standardised(&self) -> bool {
        self.spec.transforms.contains(&RateTransform::Standardise)
    }

    fn log(&self) -> bool {
        self.spec.transforms.contains(&RateTransform::Log)
    }

    /// The rate of the window. Where nothing succeeded (or nothing was tried) half a success is
    /// assumed: a prior of 0 has no logarithm.
    fn prior(&self) -> f64 {
        if self.successes > 0.0 && self.trials > 0.0 {
            self.successes / self.trials
        } else {
            0.5 / (self.trials + 1.0)
        }
    }

    /// Row, successes and trials of the rows that may be used.
    fn counts(&self, block: &Block, used: &[bool]) -> Result<Vec<(usize, f64, f64)>, FeatureError> {
        let numerator = used_rows(block, &self.spec.numerator, used)?;
        let denominator = used_rows(block, &self.spec.denominator, used)?;
        numerator
            .into_iter()
            .zip(denominator)
            .map(|((row, n), (_, d))| {
                let n = crate::apply::count(block, &self.spec.numerator, row, n)?;
                let d = crate::apply::count(block, &self.spec.denominator, row, d)?;
                Ok((row, n, d))
            })
            .collect()
    }

    fn observe_rates(&mut self, block: &Block, used: &[bool]) -> Result<(), FeatureError> {
        let (prior, log) = (self.prior(), self.log());
        for (_, n, d) in self.counts(block, used)? {
            self.moments
                .add(rate(n, d, self.spec.smoothing, prior, log));
        }
        Ok(())
    }
}

/// Row and value of the rows that may be used, NaN where missing.
fn used_rows(
    block: &Block,
    column: &str,
    used: &[bool],
) -> Result<Vec<(usize, f64)>, FeatureError> {
    let values = block.numbers(column)?;
    Ok(values
        .into_iter()
        .enumerate()
        .filter(|(row, _)| used[*row])
        .collect())
}
