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
    examples::Examples,
    fitter::{Fitter, RateFitter},
    map::{
        DenseFeature, EmbeddingFeature, FEATURE_MAP_FORMAT, FeatureMap, FittedOn, HistoryFeature,
        HistoryVector, IdRule, MultiValuedFeature,
    },
    multi,
    sequences::Sequences,
    shown::Shown,
    spec::{
        Categorical, DEFAULT_MIN_COUNT, FeatureSpec, HistorySpec, Numeric, Rate, RateTransform,
        Transform,
    },
    taste::{self, TasteFeature},
    value::{Counts, Value},
    vectors::VectorTable,
};

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
    pub fn fit(
        examples: &Path,
        sequences: Option<&Path>,
        spec: &FeatureSpec,
        until: i64,
    ) -> Result<Self, FeatureError> {
        spec.check()?;
        require_sequences(spec.history.is_some(), sequences)?;
        let examples = Examples::open(examples)?.limited(spec.list_limit()?);
        require_columns(&examples, spec)?;
        let tables = tables(spec)?;
        let mut notes = Vec::new();
        let fitted = |taste| taste::fit(&examples, taste, until, &|_| {}, &mut notes);
        let tastes = spec.taste.iter().map(fitted).collect::<Result<_, _>>()?;
        Ok(fit(&examples, spec, until, sequences, &tables, tastes, &|_| {})?.map)
    }
}

/// Every column of the spec must be there.
pub(crate) fn require_columns(examples: &Examples, spec: &FeatureSpec) -> Result<(), FeatureError> {
    for (column, wanted_by) in spec.inputs() {
        examples.require(column, &format!("`{wanted_by}`"))?;
    }
    Ok(())
}

/// How often [`fit`] reads the training window.
pub(crate) fn readings(spec: &FeatureSpec) -> u64 {
    let scaled = |rate: &Rate| rate.transforms.contains(&RateTransform::Standardise);
    let again = spec.rate.iter().any(scaled);
    1 + u64::from(again) + u64::from(spec.history.is_some())
}

/// Fits after all checks, the entries of `tastes` before; `advance` is told the rows of each block.
pub(crate) fn fit(
    examples: &Examples,
    spec: &FeatureSpec,
    until: i64,
    sequences: Option<&Path>,
    tables: &[VectorTable],
    tastes: Vec<TasteFeature>,
    advance: &dyn Fn(u64),
) -> Result<Fitted, FeatureError> {
    let examples = &examples.with(&tastes)?;
    let position = spec.position.then(position);
    let numeric = spec.numeric.iter().chain(&position);
    let crossed: Vec<(Categorical, &[String])> = spec
        .cross
        .iter()
        .map(|cross| (cross.as_categorical(), &cross.columns[1..]))
        .collect();
    let mut fitters: Vec<Fitter> = numeric
        .map(Fitter::numeric)
        .chain(spec.rate.iter().map(Fitter::rate))
        .chain(
            spec.categorical
                .iter()
                .map(|spec| Fitter::categorical(spec, &[])),
        )
        .chain(
            crossed
                .iter()
                .map(|(spec, with)| Fitter::categorical(spec, with)),
        )
        .collect();
    let mut multi_counts: Vec<Counts> = spec
        .multi_valued
        .iter()
        .map(|_| Counts::default())
        .collect();
    let mut columns: Vec<&str> = fitters.iter().flat_map(Fitter::columns).collect();
    columns.extend(spec.multi_valued.iter().map(|multi| multi.column.as_str()));
    let mut shown = Shown::new(spec, tables);
    columns.extend(shown.columns());
    columns.push("matured");

    let fitted_on = training_rows(examples, &columns, until, |block, used| {
        fitters
            .par_iter_mut()
            .try_for_each(|fitter| fitter.observe(block, used))?;
        for (multi, counts) in spec.multi_valued.iter().zip(&mut multi_counts) {
            multi::count(block, &multi.column, &multi.separator, used, counts)?;
        }
        shown.observe(block, used)?;
        advance(block.rows() as u64);
        Ok(())
    })?;
    fit_rate_scales(examples, &mut fitters, until, advance)?;
    let history = match (&spec.history, sequences) {
        (Some(history), Some(path)) => Some(fit_history(examples, history, path, until, advance)?),
        _ => None,
    };

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
    for cyclic in &spec.cyclic {
        for (part, cosine) in [("sin", false), ("cos", true)] {
            dense.push(DenseFeature::Cyclic {
                name: format!("{}_{}_{part}", cyclic.name(), cyclic.period.name()),
                column: cyclic.column.clone(),
                period: cyclic.period,
                cosine,
            });
        }
    }
    dense.append(&mut last);
    let mut map = FeatureMap {
        format: FEATURE_MAP_FORMAT,
        fitted_on,
        dense,
        categorical,
        multi_valued: spec
            .multi_valued
            .iter()
            .zip(multi_counts)
            .map(|(multi, counts)| MultiValuedFeature {
                name: multi.name().to_owned(),
                column: multi.column.clone(),
                separator: multi.separator.clone(),
                max_values: multi.max_values,
                ids: ids(counts, multi.min_count, multi.max_ids, multi.buckets),
            })
            .collect(),
        embedding: spec
            .embedding
            .iter()
            .zip(tables)
            .map(|(embedding, table)| EmbeddingFeature {
                name: embedding.name.clone(),
                column: embedding.column.clone(),
                width: table.width as u32,
                encoder: table.encoder.clone(),
                scale: shown.scale(embedding, &mut notes),
            })
            .collect(),
        history,
        taste: tastes,
        extensions: Vec::new(),
    };
    for alike in &spec.alike {
        map.read_alike(alike);
    }
    Ok(Fitted { map, notes })
}

/// The rule that counts lead to.
fn ids(
    counts: Counts,
    min_count: Option<u64>,
    max_ids: Option<u32>,
    buckets: Option<u32>,
) -> IdRule {
    match buckets {
        Some(buckets) => IdRule::Hashed { buckets },
        None => IdRule::Vocabulary {
            values: counts.vocabulary(min_count.unwrap_or(DEFAULT_MIN_COUNT), max_ids),
        },
    }
}

/// The tables of the spec's embeddings.
pub(crate) fn tables(spec: &FeatureSpec) -> Result<Vec<VectorTable>, FeatureError> {
    spec.embedding.iter().map(VectorTable::read).collect()
}

/// Histories need the file they come from.
pub(crate) fn require_sequences(
    wanted: bool,
    sequences: Option<&Path>,
) -> Result<(), FeatureError> {
    if wanted && sequences.is_none() {
        return Err(FeatureError::option(
            "features.history",
            "set",
            "`[attribution.sequence]` beside it, which says what a sequence holds",
        ));
    }
    Ok(())
}

/// Counts the items in the sequences of the training window.
fn fit_history(
    examples: &Examples,
    spec: &HistorySpec,
    path: &Path,
    until: i64,
    advance: &dyn Fn(u64),
) -> Result<HistoryFeature, FeatureError> {
    let mut counts = Counts::default();
    let mut sequences = Sequences::open(path, examples.is_windowed())?;
    training_rows(examples, &["matured"], until, |block, used| {
        let lists = block.integers("list_id")?;
        for rows in block.lists().iter() {
            let steps = sequences.next(lists.value(rows.start), spec.max_events as usize)?;
            if used[rows.start] {
                for step in steps {
                    counts.add(Value::Integer(step.item));
                }
            }
        }
        advance(block.rows() as u64);
        Ok(())
    })?;
    Ok(HistoryFeature {
        max_events: spec.max_events,
        ids: ids(counts, spec.min_count, spec.max_ids, spec.buckets),
        vectors: spec
            .vectors
            .iter()
            .map(|of| HistoryVector {
                name: HistorySpec::vector_name(of),
                of: of.clone(),
                prior_events: spec.prior_events,
            })
            .collect(),
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
        time_since: false,
        quantile_bins: None,
    }
}

/// Gives each block of the window to `observe`, with the rows that may be used.
pub(crate) fn training_rows(
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
    advance: &dyn Fn(u64),
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
        advance(block.rows() as u64);
        rates
            .par_iter_mut()
            .try_for_each(|rate| rate.observe_rates(block, used))
    })?;
    Ok(())
}
