//! What each feature reads and does, in words and values.

use std::collections::BTreeMap;

use arrow::array::Array;
use serde_json::{Value, json};

use crate::{
    Block, FeatureError,
    apply::{count, rate},
    block::Column,
    data::SplitData,
    date,
    map::{CategoricalFeature, DenseFeature, FeatureMap, IdRule, MultiValuedFeature, Scale},
    spec::Comparison,
    value,
};

use super::FeatureTrace;

/// One feature of all rows of a block, but for what the map makes of it.
pub(super) struct Explained {
    name: String,
    kind: &'static str,
    place: String,
    /// Of each row.
    inputs: Vec<BTreeMap<String, Value>>,
    /// Of each row.
    before: Vec<Value>,
    mapping: String,
    /// Said instead of `mapping` where the value is missing.
    missing: Option<String>,
    target: Target,
}

/// Where the result is.
#[derive(Debug, Clone, Copy)]
enum Target {
    Dense(usize),
    Categorical(usize),
    MultiValued(usize),
    Vectors(usize),
    HistoryVectors(usize),
}

/// Explains every feature of a map on a block.
pub(super) fn columns(map: &FeatureMap, block: &Block) -> Result<Vec<Explained>, FeatureError> {
    let mut all = Vec::new();
    for (at, feature) in map.dense.iter().enumerate() {
        let (kind, mapping, missing) = dense_words(feature);
        let mapping = with_origin(map, &feature.columns(), mapping);
        all.push(Explained {
            name: feature.name().to_owned(),
            kind,
            place: format!("dense[{at}]"),
            inputs: inputs(block, &feature.columns())?,
            before: dense_values(feature, block)?,
            mapping,
            missing,
            target: Target::Dense(at),
        });
    }
    for (at, feature) in map.categorical.iter().enumerate() {
        let (kind, mapping) = categorical_words(feature);
        let mapping = with_origin(map, &feature.columns(), mapping);
        all.push(Explained {
            name: feature.name().to_owned(),
            kind,
            place: format!("categorical[{at}]"),
            inputs: inputs(block, &feature.columns())?,
            before: categorical_values(feature, block)?,
            mapping,
            missing: Some("missing: id 0".to_owned()),
            target: Target::Categorical(at),
        });
    }
    for (at, feature) in map.multi_valued.iter().enumerate() {
        all.push(multi_valued(feature, at, block)?);
    }
    for (at, feature) in map.embedding.iter().enumerate() {
        let inputs = inputs(block, &[&feature.column])?;
        all.push(Explained {
            name: feature.name.clone(),
            kind: "embedding",
            place: format!("vector_{}", feature.name),
            before: inputs
                .iter()
                .map(|row| row[&feature.column].clone())
                .collect(),
            inputs,
            mapping: format!(
                "row of a table of {} numbers each; 0: unknown",
                feature.width
            ),
            missing: Some("missing: row 0, all zeros".to_owned()),
            target: Target::Vectors(at),
        });
    }
    for (at, (feature, table)) in map.history_vectors().enumerate() {
        let of = &map.embedding[table];
        all.push(Explained {
            name: feature.name.clone(),
            kind: "history vector",
            place: format!("{}_row", feature.name),
            before: vec![Value::Null; block.rows()],
            inputs: inputs(block, &[])?,
            mapping: format!(
                "mean of the rows of `{}` of the history's items, {} numbers; {} rows of zeros beside them",
                of.name, of.width, feature.prior_events
            ),
            missing: None,
            target: Target::HistoryVectors(at),
        });
    }
    Ok(all)
}

/// The features of one row.
pub(super) fn row(
    map: &FeatureMap,
    explained: &[Explained],
    data: &SplitData,
    row: usize,
) -> Vec<FeatureTrace> {
    let (d, c) = (map.dense.len(), map.categorical.len());
    let one = |feature: &Explained| {
        let after = match feature.target {
            Target::Dense(at) => json!(data.dense[row * d + at]),
            Target::Categorical(at) => json!(data.categorical[row * c + at]),
            Target::MultiValued(at) => json!(data.extras.multi_valued[at].of(row)),
            Target::Vectors(at) => json!(data.extras.vectors[at].index[row]),
            Target::HistoryVectors(at) => {
                let offsets = data.lists.as_slice();
                let list = offsets.partition_point(|&first| first <= row as u64) - 1;
                let history = data.extras.history.as_ref();
                json!(history.map(|own| own.table_rows(at, list)))
            }
        };
        let before = feature.before[row].clone();
        let mapping = match &feature.missing {
            Some(missing) if before.is_null() => missing.clone(),
            _ => feature.mapping.clone(),
        };
        FeatureTrace {
            name: feature.name.clone(),
            kind: feature.kind,
            place: feature.place.clone(),
            inputs: feature.inputs[row].clone(),
            before,
            mapping,
            after,
        }
    };
    explained.iter().map(one).collect()
}

/// The values of these columns, by row.
fn inputs(block: &Block, columns: &[&str]) -> Result<Vec<BTreeMap<String, Value>>, FeatureError> {
    let mut rows = vec![BTreeMap::new(); block.rows()];
    for &name in columns {
        let column = block.column(name)?;
        for (row, values) in rows.iter_mut().enumerate() {
            let value = match &column {
                Column::Integers(array) if array.is_valid(row) => json!(array.value(row)),
                Column::Numbers(array) if array.is_valid(row) => json!(array.value(row)),
                Column::Texts(array) if array.is_valid(row) => json!(array.value(row)),
                _ => Value::Null,
            };
            values.insert(name.to_owned(), value);
        }
    }
    Ok(rows)
}

/// Numbers as JSON, NaN as null.
fn numbers(values: Vec<f64>) -> Vec<Value> {
    values.into_iter().map(|value| json!(value)).collect()
}

fn dense_values(feature: &DenseFeature, block: &Block) -> Result<Vec<Value>, FeatureError> {
    match feature {
        DenseFeature::Numeric {
            column, time_since, ..
        }
        | DenseFeature::Missing {
            column, time_since, ..
        } => Ok(numbers(block.numbers_or_hours(column, *time_since)?)),
        DenseFeature::Relative { column, .. } => Ok(numbers(block.numbers(column)?)),
        DenseFeature::Rate {
            numerator,
            denominator,
            smoothing,
            prior,
            ..
        } => {
            let (wins, trials) = (block.numbers(numerator)?, block.numbers(denominator)?);
            let each = (0..block.rows()).map(|row| {
                let n = count(block, numerator, row, wins[row])?;
                let d = count(block, denominator, row, trials[row])?;
                Ok(rate(n, d, *smoothing, *prior, false))
            });
            Ok(numbers(each.collect::<Result<_, FeatureError>>()?))
        }
        DenseFeature::Cyclic { column, period, .. } => {
            let Column::Integers(times) = block.column(column)? else {
                return Err(block.bad_type(column, "times"));
            };
            let share = |time: Option<i64>| time.map(|time| date::share(time, *period));
            Ok(times.iter().map(|time| json!(share(time))).collect())
        }
    }
}

fn categorical_values(
    feature: &CategoricalFeature,
    block: &Block,
) -> Result<Vec<Value>, FeatureError> {
    let (column, with) = match feature {
        CategoricalFeature::Bins {
            column, time_since, ..
        } => return Ok(numbers(block.numbers_or_hours(column, *time_since)?)),
        CategoricalFeature::Vocabulary { column, with, .. }
        | CategoricalFeature::Hashed { column, with, .. } => (column, with),
    };
    let mut values = vec![Value::Null; block.rows()];
    value::for_each_crossed(block, column, with, |row, value| {
        values[row] = value.map_or(Value::Null, |value| match value {
            value::Value::Integer(number) => json!(number),
            value::Value::Text(text) => json!(text),
        });
    })?;
    Ok(values)
}

fn multi_valued(
    feature: &MultiValuedFeature,
    at: usize,
    block: &Block,
) -> Result<Explained, FeatureError> {
    let Column::Texts(texts) = block.column(&feature.column)? else {
        return Err(block.bad_type(&feature.column, "text"));
    };
    let known = |row: usize| {
        texts.is_valid(row).then(|| {
            let values = crate::multi::values(texts.value(row), &feature.separator);
            let kept = values.into_iter().take(feature.max_values as usize);
            kept.collect::<Vec<&str>>()
        })
    };
    let rule = match &feature.ids {
        IdRule::Vocabulary { values } => format!("ids in a vocabulary of {}", values.len()),
        IdRule::Hashed { buckets } => format!("hashed to {buckets} ids"),
    };
    Ok(Explained {
        name: feature.name.clone(),
        kind: "multi_valued",
        place: format!("multi_{}", feature.name),
        inputs: inputs(block, &[&feature.column])?,
        before: (0..block.rows()).map(|row| json!(known(row))).collect(),
        mapping: format!("the first {} values, {rule}", feature.max_values),
        missing: Some("missing: no ids".to_owned()),
        target: Target::MultiValued(at),
    })
}

/// What is done to a column, behind how the column is made where it is.
fn with_origin(map: &FeatureMap, columns: &[&str], mapping: String) -> String {
    let mut made = columns
        .iter()
        .filter_map(|column| map.taste.iter().find_map(|taste| taste.words(column)));
    match made.next() {
        None => mapping,
        Some(words) => format!("{words}; {mapping}"),
    }
}

/// Kind, what is done, and what is done with a missing value.
fn dense_words(feature: &DenseFeature) -> (&'static str, String, Option<String>) {
    match feature {
        DenseFeature::Numeric {
            time_since,
            clip,
            log1p,
            scale,
            fill,
            ..
        } => {
            let mut steps = Vec::new();
            if *time_since {
                steps.push("hours to the page".to_owned());
            }
            if let Some([low, high]) = clip {
                steps.push(format!("clip to {low}…{high}"));
            }
            if *log1p {
                steps.push("ln(1 + x)".to_owned());
            }
            steps.extend(scale.map(scaling));
            let mapping = if steps.is_empty() {
                "as it is".to_owned()
            } else {
                steps.join(", ")
            };
            let missing = format!("missing: {}", short(*fill));
            ("numeric", mapping, Some(missing))
        }
        DenseFeature::Missing { .. } => (
            "missing",
            "0, as it is known".to_owned(),
            Some("missing: 1".to_owned()),
        ),
        DenseFeature::Rate {
            smoothing,
            prior,
            log,
            scale,
            ..
        } => {
            let (s, p) = (short(*smoothing), short(*prior));
            let mut steps = vec![format!("(n + {s} × {p}) / (d + {s})")];
            if *log {
                steps.push("ln(x)".to_owned());
            }
            steps.extend(scale.map(scaling));
            ("rate", steps.join(", "), None)
        }
        DenseFeature::Relative { to, .. } => {
            let mapping = match to {
                Comparison::Z => "(x − mean) / sd of the list",
                Comparison::LogRatio => "ln(1 + x) less its mean over the list",
                Comparison::Rank => "share of the list that is smaller, less ½",
            };
            let missing = Some("missing: 0".to_owned());
            ("relative", mapping.to_owned(), missing)
        }
        DenseFeature::Cyclic { period, cosine, .. } => {
            let wave = if *cosine { "cosine" } else { "sine" };
            let mapping = format!("{wave} of the share of the {}", period.name());
            ("cyclic", mapping, Some("missing: 0".to_owned()))
        }
    }
}

fn categorical_words(feature: &CategoricalFeature) -> (&'static str, String) {
    match feature {
        CategoricalFeature::Vocabulary { values, .. } => (
            "vocabulary",
            format!("id in a vocabulary of {}; 0: unknown", values.len()),
        ),
        CategoricalFeature::Hashed { buckets, .. } => {
            ("hashed", format!("hashed to {buckets} ids"))
        }
        CategoricalFeature::Bins {
            edges, time_since, ..
        } => {
            let hours = if *time_since {
                "hours to the page, "
            } else {
                ""
            };
            ("bins", format!("{hours}bin of {}", edges.len() + 1))
        }
    }
}

fn scaling(scale: Scale) -> String {
    let sign = if scale.mean < 0.0 { '+' } else { '−' };
    let (mean, sd) = (short(scale.mean.abs()), short(scale.sd));
    format!("(x {sign} {mean}) / {sd}")
}

/// A number with about five digits.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (4 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (20.0, "20"),
            (0.031_234_567, "0.031235"),
            (-1234.56789, "-1234.6"),
            (1e-9, "0.000000001"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
