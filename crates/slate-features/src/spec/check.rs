//! What of a config is accepted: ranges, names of features, columns that may be one.

use super::{Categorical, Embedding, FeatureSpec, HistorySpec, MultiValued, Numeric, Transform};
use crate::FeatureError;

/// Columns that would tell the answer, with the reason.
const LABELS: [&str; 7] = [
    "grade",
    "click",
    "purchase",
    "matured",
    "attribution",
    "click_lag",
    "purchase_lag",
];
/// Columns that name the row itself.
const ROW_IDS: [&str; 3] = ["impression_id", "list_id", "page_id"];
/// Columns that follow from the logged order.
const LOGGED_ORDER: [&str; 2] = ["slot", "propensity"];

impl FeatureSpec {
    /// Checks ranges, double names and columns that may not be features. Whether the columns
    /// exist is known only with the examples.
    ///
    /// # Errors
    /// [`FeatureError::Option`] with the key.
    pub fn check(&self) -> Result<(), FeatureError> {
        self.feature_names().map(drop)
    }

    /// The names of its features, once it is checked. An input of the dataset is called so, or by such a name
    /// with more after `_`.
    ///
    /// # Errors
    /// As [`FeatureSpec::check`].
    pub fn feature_names(&self) -> Result<Vec<String>, FeatureError> {
        self.list_limit()?;
        self.check_tastes()?;
        let mut names: Vec<(String, String)> = Vec::new();
        for (i, numeric) in self.numeric.iter().enumerate() {
            let key = format!("features.numeric[{i}]");
            may_be_feature(&format!("{key}.column"), &numeric.column)?;
            numeric.check(&key)?;
            let name = numeric.name();
            if numeric.quantile_bins.is_some() {
                names.push((format!("{name}_bin"), key));
            } else {
                names.push((format!("{name}_missing"), key.clone()));
                names.push((name, key));
            }
        }
        for (i, rate) in self.rate.iter().enumerate() {
            let key = format!("features.rate[{i}]");
            may_be_feature(&format!("{key}.numerator"), &rate.numerator)?;
            may_be_feature(&format!("{key}.denominator"), &rate.denominator)?;
            if !(rate.smoothing > 0.0 && rate.smoothing.is_finite()) {
                return Err(FeatureError::option(
                    format!("{key}.smoothing"),
                    rate.smoothing,
                    "a number above 0",
                ));
            }
            unrepeated(&format!("{key}.transforms"), &rate.transforms)?;
            names.push((rate.name.clone(), key));
        }
        for (i, relative) in self.relative.iter().enumerate() {
            let key = format!("features.relative[{i}]");
            may_be_feature(&format!("{key}.column"), &relative.column)?;
            unrepeated(&format!("{key}.to"), &relative.to)?;
            for comparison in &relative.to {
                names.push((
                    format!("{}_{}", relative.column, comparison.suffix()),
                    key.clone(),
                ));
            }
        }
        for (i, cyclic) in self.cyclic.iter().enumerate() {
            let key = format!("features.cyclic[{i}]");
            may_be_feature(&format!("{key}.column"), &cyclic.column)?;
            for part in ["sin", "cos"] {
                let name = format!("{}_{}_{part}", cyclic.name(), cyclic.period.name());
                names.push((name, key.clone()));
            }
        }
        if self.position {
            names.push(("position".to_owned(), "features.position".to_owned()));
        }
        let dense = names.len();
        for (i, categorical) in self.categorical.iter().enumerate() {
            let key = format!("features.categorical[{i}]");
            may_be_feature(&format!("{key}.column"), &categorical.column)?;
            categorical.check(&key)?;
            names.push((categorical.name().to_owned(), key));
        }
        for (i, cross) in self.cross.iter().enumerate() {
            let key = format!("features.cross[{i}]");
            if cross.columns.len() < 2 {
                return Err(FeatureError::option(
                    format!("{key}.columns"),
                    format!("{:?}", cross.columns),
                    "two columns or more",
                ));
            }
            unrepeated(&format!("{key}.columns"), &cross.columns)?;
            for column in &cross.columns {
                may_be_feature(&format!("{key}.columns"), column)?;
            }
            let categorical = cross.as_categorical();
            categorical.check(&key)?;
            names.push((categorical.name().to_owned(), key));
        }
        for (i, multi) in self.multi_valued.iter().enumerate() {
            let key = format!("features.multi_valued[{i}]");
            may_be_feature(&format!("{key}.column"), &multi.column)?;
            check_ids(&key, multi.min_count, multi.max_ids, multi.buckets)?;
            in_range(format!("{key}.max_values"), multi.max_values, 1024)?;
            if multi.separator.is_empty() {
                return Err(FeatureError::option(
                    format!("{key}.separator"),
                    "empty",
                    "the text between two values",
                ));
            }
            names.push((multi.name().to_owned(), key));
        }
        for (i, embedding) in self.embedding.iter().enumerate() {
            let key = format!("features.embedding[{i}]");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if embedding.name.is_empty() || !embedding.name.chars().all(plain) {
                return Err(FeatureError::option(
                    format!("{key}.name"),
                    format!("`{}`", embedding.name),
                    "letters, digits, `_` and `-`: it names a file",
                ));
            }
            names.push((embedding.name.clone(), key));
        }
        if let Some(history) = &self.history {
            let key = "features.history";
            check_ids(key, history.min_count, history.max_ids, history.buckets)?;
            in_range(format!("{key}.max_events"), history.max_events, 10_000)?;
            names.push(("history".to_owned(), key.to_owned()));
            self.check_history_vectors(history, &mut names)?;
        }
        unique(&names[..dense])?;
        unique(&names[dense..])?;
        self.check_alike(&names)?;
        if names.is_empty() {
            return Err(FeatureError::option(
                "features",
                "empty",
                "at least one entry, for instance in `numeric` or `categorical`",
            ));
        }
        for (grade, &weight) in self.weights.iter().enumerate() {
            if !(weight > 0.0 && weight.is_finite()) {
                let key = format!("features.weights[{grade}]");
                return Err(FeatureError::option(key, weight, "a number above 0"));
            }
        }
        let alike = self.alike.iter().map(|alike| alike.name().to_owned());
        let names = names.into_iter().map(|(name, _)| name);
        Ok(names.chain(alike).collect())
    }
}

impl FeatureSpec {
    fn check_history_vectors(
        &self,
        history: &HistorySpec,
        names: &mut Vec<(String, String)>,
    ) -> Result<(), FeatureError> {
        let is_by_item = |own: &&Embedding| matches!(&own.column[..], "item_id" | "seed_item_id");
        let known: Vec<&str> = self
            .embedding
            .iter()
            .filter(is_by_item)
            .map(|own| own.name.as_str())
            .collect();
        for (i, of) in history.vectors.iter().enumerate() {
            let key = format!("features.history.vectors[{i}]");
            if !known.contains(&of.as_str()) {
                let known = if known.is_empty() {
                    "there is none yet".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(FeatureError::option(
                    key,
                    format!("`{of}`"),
                    format!("an entry of `features.embedding` by item: {known}"),
                ));
            }
            names.push((HistorySpec::vector_name(of), key));
        }
        if history.prior_events > 1000 {
            return Err(FeatureError::option(
                "features.history.prior_events",
                history.prior_events,
                "a number from 0 to 1000",
            ));
        }
        Ok(())
    }

    /// `names` are those of all other entries.
    fn check_alike(&self, names: &[(String, String)]) -> Result<(), FeatureError> {
        let mut targets: Vec<String> = Vec::new();
        for numeric in &self.numeric {
            let name = numeric.name();
            targets.push(match numeric.quantile_bins {
                Some(_) => format!("{name}_bin"),
                None => name,
            });
        }
        let plain = self.categorical.iter().map(Categorical::name);
        let multi = self.multi_valued.iter().map(MultiValued::name);
        targets.extend(plain.chain(multi).map(str::to_owned));
        let mut taken: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        for (i, alike) in self.alike.iter().enumerate() {
            let key = format!("features.alike[{i}]");
            may_be_feature(&format!("{key}.column"), &alike.column)?;
            if !targets.contains(&alike.to) {
                return Err(FeatureError::option(
                    format!("{key}.to"),
                    format!("`{}`", alike.to),
                    format!(
                        "an input of `numeric`, `categorical` or `multi_valued`: {}",
                        targets.join(", ")
                    ),
                ));
            }
            if alike.name().is_empty() {
                return Err(FeatureError::option(
                    format!("{key}.name"),
                    "empty",
                    "a name, or nothing",
                ));
            }
            if taken.contains(&alike.name()) {
                let given = format!("a second feature `{}`", alike.name());
                return Err(FeatureError::option(
                    key,
                    given,
                    "a name of its own: set `name`",
                ));
            }
            taken.push(alike.name());
        }
        Ok(())
    }
}

impl Numeric {
    fn check(&self, key: &str) -> Result<(), FeatureError> {
        unrepeated(&format!("{key}.transforms"), &self.transforms)?;
        if let Some([low, high]) = self.clip
            && !(low < high && low.is_finite() && high.is_finite())
        {
            return Err(FeatureError::option(
                format!("{key}.clip"),
                format!("[{low}, {high}]"),
                "two finite numbers, the smaller first",
            ));
        }
        let Some(bins) = self.quantile_bins else {
            return Ok(());
        };
        if !(2..=4096).contains(&bins) {
            return Err(FeatureError::option(
                format!("{key}.quantile_bins"),
                bins,
                "a number from 2 to 4096",
            ));
        }
        let plain = self.clip.is_none() && self.missing_indicator.is_none();
        if !plain || self.transforms.contains(&Transform::Log1p) {
            return Err(FeatureError::option(
                format!("{key}.quantile_bins"),
                "set beside `log1p`, `clip` or `missing_indicator`",
                "to stand alone, since bins replace the number; list the column twice for both",
            ));
        }
        Ok(())
    }
}

impl Categorical {
    fn check(&self, key: &str) -> Result<(), FeatureError> {
        if self.buckets.is_some() && (self.min_count.is_some() || self.max_ids.is_some()) {
            return Err(FeatureError::option(
                format!("{key}.buckets"),
                "set beside `min_count` or `max_ids`",
                "either `buckets` or a vocabulary",
            ));
        }
        for (name, value) in [
            ("min_count", self.min_count),
            ("max_ids", self.max_ids.map(u64::from)),
            ("buckets", self.buckets.map(u64::from)),
        ] {
            // One id more than buckets or values must still be a u32.
            if value.is_some_and(|value| value == 0 || value >= u64::from(u32::MAX)) {
                return Err(FeatureError::option(
                    format!("{key}.{name}"),
                    value.unwrap_or_default(),
                    "a whole number from 1 to 4294967294",
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn may_be_feature(key: &str, column: &str) -> Result<(), FeatureError> {
    let refused = |why: &str| {
        Err(FeatureError::option(
            key,
            format!("`{column}`"),
            format!("a column that {why}"),
        ))
    };
    if LABELS.contains(&column) {
        return refused("is known before the outcome: this one is a label");
    }
    if ROW_IDS.contains(&column) {
        return refused("can repeat: this one names a single row, list or page");
    }
    if LOGGED_ORDER.contains(&column) {
        return refused(
            "is known before ranking: this one follows from the logged order (`position = true` \
             asks for the slot)",
        );
    }
    Ok(())
}

fn unrepeated<T: PartialEq + std::fmt::Debug>(key: &str, list: &[T]) -> Result<(), FeatureError> {
    for (i, entry) in list.iter().enumerate() {
        if list[..i].contains(entry) {
            return Err(FeatureError::option(
                key,
                format!("{list:?}"),
                "each entry once",
            ));
        }
    }
    Ok(())
}

fn unique(names: &[(String, String)]) -> Result<(), FeatureError> {
    for (i, (name, key)) in names.iter().enumerate() {
        if let Some((_, other)) = names[..i].iter().find(|(other, _)| other == name) {
            return Err(FeatureError::option(
                key,
                format!("a second feature `{name}`"),
                format!("a name of its own (`{other}` has this one): set `name`"),
            ));
        }
    }
    Ok(())
}

/// Checks how ids are given, wherever that is chosen.
fn check_ids(
    key: &str,
    min_count: Option<u64>,
    max_ids: Option<u32>,
    buckets: Option<u32>,
) -> Result<(), FeatureError> {
    let categorical = Categorical {
        column: String::new(),
        name: None,
        min_count,
        max_ids,
        buckets,
    };
    categorical.check(key)
}

pub(super) fn in_range(key: String, given: u32, most: u32) -> Result<(), FeatureError> {
    if (1..=most).contains(&given) {
        Ok(())
    } else {
        let expected = format!("a whole number from 1 to {most}");
        Err(FeatureError::option(key, given, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message a config is refused with, or "fine".
    fn verdict(text: &str) -> String {
        match toml::from_str::<FeatureSpec>(text) {
            Err(error) => error.message().to_owned(),
            Ok(spec) => spec
                .check()
                .map_or_else(|error| error.to_string(), |()| "fine".to_owned()),
        }
    }

    #[test]
    fn sound_specs_pass() {
        assert_eq!(verdict(r#"numeric = [{ column = "price" }]"#), "fine");
        assert_eq!(
            verdict(r#"categorical = [{ column = "item_id", buckets = 64 }]"#),
            "fine"
        );
        assert_eq!(
            verdict(r#"numeric = [{ column = "price" }, { column = "price", quantile_bins = 8 }]"#),
            "fine"
        );
    }

    #[test]
    fn unsound_specs_are_named() {
        for (text, expected) in [
            ("", "`features` is empty, expected at least one entry"),
            (r#"numeric = [{ column = "click" }]"#, "this one is a label"),
            (
                r#"numeric = [{ column = "slot" }]"#,
                "`position = true` asks for the slot",
            ),
            (
                r#"categorical = [{ column = "page_id" }]"#,
                "names a single row",
            ),
            (
                r#"numeric = [{ column = "a", clip = [2, 1] }]"#,
                "the smaller first",
            ),
            (
                r#"numeric = [{ column = "a" }, { column = "a" }]"#,
                "a second feature `a",
            ),
            (
                r#"numeric = [{ column = "a", quantile_bins = 1 }]"#,
                "from 2 to 4096",
            ),
            (
                r#"numeric = [{ column = "a", log = true }]"#,
                "unknown field `log`",
            ),
            (
                r#"categorical = [{ column = "a", buckets = 9, max_ids = 3 }]"#,
                "either `buckets`",
            ),
            (
                r#"rate = [{ name = "r", numerator = "a", denominator = "b", smoothing = 0 }]"#,
                "`features.rate[0].smoothing` is 0, expected a number above 0",
            ),
            (
                r#"numeric = [{ column = "a" }]
                alike = [{ column = "b", to = "c" }]"#,
                "`features.alike[0].to` is `c`, expected an input of `numeric`, `categorical` or \
                 `multi_valued`: a",
            ),
            (
                r#"numeric = [{ column = "a" }]
                alike = [{ column = "a", to = "a" }]"#,
                "a second feature `a`",
            ),
            (
                "position = true\nweights = [1.0, -1.0]",
                "`features.weights[1]` is -1",
            ),
        ] {
            let message = verdict(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
