//! What is gathered over the training rows for each entry of the spec.

use crate::{
    Block, FeatureError,
    apply::{rate, transformed},
    map::{CategoricalFeature, DenseFeature, Scale},
    moments::{Moments, Sample},
    spec::{Categorical, DEFAULT_MIN_COUNT, Numeric, Rate, RateTransform, Transform},
    value::{self, Counts},
};

/// Most numbers kept for the quantiles of one column (8 MiB).
const SAMPLE: usize = 1 << 20;

/// What is gathered for one entry of the spec.
pub(crate) enum Fitter<'a> {
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
        with: &'a [String],
        counts: Counts,
    },
    Hashed {
        spec: &'a Categorical,
        with: &'a [String],
        buckets: u32,
    },
}

pub(crate) struct RateFitter<'a> {
    pub(crate) spec: &'a Rate,
    successes: f64,
    trials: f64,
    moments: Moments,
}

impl<'a> Fitter<'a> {
    pub(crate) fn numeric(spec: &'a Numeric) -> Self {
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

    pub(crate) fn rate(spec: &'a Rate) -> Self {
        Self::Rate(RateFitter {
            spec,
            successes: 0.0,
            trials: 0.0,
            moments: Moments::default(),
        })
    }

    /// Of the column alone, or crossed with others.
    pub(crate) fn categorical(spec: &'a Categorical, with: &'a [String]) -> Self {
        match spec.buckets {
            Some(buckets) => Self::Hashed {
                spec,
                with,
                buckets,
            },
            None => Self::Vocabulary {
                spec,
                with,
                counts: Counts::default(),
            },
        }
    }

    pub(crate) fn is(&self, numeric: &Numeric) -> bool {
        matches!(self, Self::Numeric { spec, .. } if std::ptr::eq(*spec, numeric))
    }

    pub(crate) fn columns(&self) -> Vec<&'a str> {
        match self {
            Self::Numeric { spec, .. } | Self::Bins { spec, .. } => vec![&spec.column],
            Self::Rate(rate) => vec![&rate.spec.numerator, &rate.spec.denominator],
            Self::Vocabulary { spec, with, .. } | Self::Hashed { spec, with, .. } => {
                let with = with.iter().map(String::as_str);
                std::iter::once(spec.column.as_str()).chain(with).collect()
            }
        }
    }

    pub(crate) fn observe(&mut self, block: &Block, used: &[bool]) -> Result<(), FeatureError> {
        match self {
            Self::Numeric {
                spec,
                moments,
                missing,
            } => {
                let log1p = spec.transforms.contains(&Transform::Log1p);
                for (row, value) in used_rows(block, &spec.column, spec.time_since, used)? {
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
                used_rows(block, &spec.column, spec.time_since, used)?
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
            Self::Vocabulary { spec, with, counts } => {
                value::for_each_crossed(block, &spec.column, with, |row, value| {
                    if let Some(value) = value.filter(|_| used[row]) {
                        counts.add(value);
                    }
                })?;
            }
            Self::Hashed { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn finish(
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
                let name = spec.name();
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
                    time_since: spec.time_since,
                    clip: spec.clip,
                    log1p: spec.transforms.contains(&Transform::Log1p),
                    scale: standardise.then(|| moments.scale()),
                    fill: if standardise { 0.0 } else { mean },
                });
                if spec.missing_indicator.unwrap_or(missing > 0) {
                    dense.push(DenseFeature::Missing {
                        name: format!("{name}_missing"),
                        column,
                        time_since: spec.time_since,
                    });
                }
            }
            Self::Bins { spec, bins, sample } => categorical.push(CategoricalFeature::Bins {
                name: format!("{}_bin", spec.name()),
                column: spec.column.clone(),
                time_since: spec.time_since,
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
            Self::Vocabulary { spec, with, counts } => {
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
                    with: with.to_vec(),
                    values,
                });
            }
            Self::Hashed {
                spec,
                with,
                buckets,
            } => categorical.push(CategoricalFeature::Hashed {
                name: spec.name().to_owned(),
                column: spec.column.clone(),
                with: with.to_vec(),
                buckets,
            }),
        }
    }
}

impl RateFitter<'_> {
    pub(crate) fn standardised(&self) -> bool {
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
        let numerator = used_rows(block, &self.spec.numerator, false, used)?;
        let denominator = used_rows(block, &self.spec.denominator, false, used)?;
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

    pub(crate) fn observe_rates(
        &mut self,
        block: &Block,
        used: &[bool],
    ) -> Result<(), FeatureError> {
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
    time_since: bool,
    used: &[bool],
) -> Result<Vec<(usize, f64)>, FeatureError> {
    let values = block.numbers_or_hours(column, time_since)?;
    Ok(values
        .into_iter()
        .enumerate()
        .filter(|(row, _)| used[*row])
        .collect())
}
