//! Bringing a fitted map up to date without moving what a model has learned.
//!
//! An update fits the same spec to the new training window and takes from that fit only what the
//! old map lacks: values without an id. Old ids stay where they are, new ones follow in the order
//! of the new fit. Means, deviations, priors and bin edges stay as they are, to the bit, unless they
//! are asked to be refitted: a network has learned to read the old ones.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::{
    FeatureError, FeatureMap, FeatureSpec,
    map::{CategoricalFeature, DenseFeature, EmbeddingFeature, FittedOn, IdRule, Scale},
    taste::TasteFeature,
};

/// One update of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// SHA-256 of the map before.
    pub parent_sha256: String,
    /// The training window of the update.
    pub fitted_on: FittedOn,
    /// New ids of each input that got some.
    pub new_ids: BTreeMap<String, u64>,
    /// Whether means, deviations, priors and bin edges are those of this window.
    pub refitted: bool,
}

impl FeatureMap {
    /// This map with the ids that `fresh`, a fit of `spec` to a later window, adds to it; with
    /// `refit` also with its statistics. Says what a person should know.
    ///
    /// # Errors
    /// [`FeatureError::Option`] where the two maps have other inputs than each other.
    pub(crate) fn extended(
        &self,
        fresh: &Self,
        spec: &FeatureSpec,
        refit: bool,
    ) -> Result<(Self, Vec<String>), FeatureError> {
        let mut map = self.clone();
        let mut update = Update {
            limits: limits(spec),
            new_ids: BTreeMap::new(),
            notes: Vec::new(),
        };
        map.dense = dense(&self.dense, &fresh.dense, refit, &mut update.notes)?;
        same_names(
            self.categorical.iter().map(CategoricalFeature::name),
            fresh.categorical.iter().map(CategoricalFeature::name),
        )?;
        for (old, new) in map.categorical.iter_mut().zip(&fresh.categorical) {
            update.categorical(old, new, refit)?;
        }
        same_names(
            self.multi_valued
                .iter()
                .map(|feature| feature.name.as_str()),
            fresh
                .multi_valued
                .iter()
                .map(|feature| feature.name.as_str()),
        )?;
        for (old, new) in map.multi_valued.iter_mut().zip(&fresh.multi_valued) {
            let alike = old.column == new.column
                && old.separator == new.separator
                && old.max_values == new.max_values;
            unchanged(&old.name, alike)?;
            update.rule(&old.name.clone(), &mut old.ids, &new.ids)?;
        }
        let alike = |old: &EmbeddingFeature, new: &EmbeddingFeature| {
            let scale = old.scale.clone();
            let is_scaled = scale.is_some() == new.scale.is_some();
            is_scaled
                && *old
                    == EmbeddingFeature {
                        scale,
                        ..new.clone()
                    }
        };
        let mut pairs = self.embedding.iter().zip(&fresh.embedding);
        let count = self.embedding.len();
        if count != fresh.embedding.len() || !pairs.all(|(old, new)| alike(old, new)) {
            return Err(changed("embedding"));
        }
        if refit {
            map.embedding.clone_from(&fresh.embedding);
        }
        match (&mut map.history, &fresh.history) {
            (None, None) => {}
            (Some(old), Some(new)) => {
                let alike = old.max_events == new.max_events && old.vectors == new.vectors;
                unchanged("history", alike)?;
                update.rule("history", &mut old.ids, &new.ids)?;
            }
            _ => return Err(changed("history")),
        }
        // Always anew: networks read the column, in the unit of its values, and never the vectors.
        let entry = |taste: &TasteFeature| TasteFeature {
            scale: Scale { mean: 0.0, sd: 0.0 },
            noise: 0.0,
            spread: 0.0,
            items: Vec::new(),
            ..taste.clone()
        };
        let entries = |map: &Self| map.taste.iter().map(entry).collect::<Vec<_>>();
        if entries(self) != entries(fresh) {
            return Err(changed("taste"));
        }
        map.taste.clone_from(&fresh.taste);
        map.format = crate::map::FEATURE_MAP_FORMAT;
        map.extensions.push(Extension {
            parent_sha256: self.hash(),
            fitted_on: fresh.fitted_on,
            new_ids: update.new_ids,
            refitted: refit,
        });
        Ok((map, update.notes))
    }
}

/// What is being gathered on the way.
struct Update {
    /// Most ids of each input that has a limit.
    limits: BTreeMap<String, u32>,
    new_ids: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl Update {
    fn categorical(
        &mut self,
        old: &mut CategoricalFeature,
        new: &CategoricalFeature,
        refit: bool,
    ) -> Result<(), FeatureError> {
        let name = old.name().to_owned();
        unchanged(&name, old.columns() == new.columns())?;
        match (old, new) {
            (
                CategoricalFeature::Vocabulary { values, .. },
                CategoricalFeature::Vocabulary { values: seen, .. },
            ) => {
                self.values(&name, values, seen);
                Ok(())
            }
            (
                CategoricalFeature::Hashed { buckets, .. },
                CategoricalFeature::Hashed { buckets: now, .. },
            ) => unchanged(&name, buckets == now),
            (
                CategoricalFeature::Bins {
                    edges, time_since, ..
                },
                CategoricalFeature::Bins {
                    edges: now,
                    time_since: since,
                    ..
                },
            ) => {
                unchanged(&name, time_since == since)?;
                if refit && edges.len() == now.len() {
                    edges.clone_from(now);
                } else if refit {
                    self.notes.push(format!(
                        "`{name}` keeps its {} bin edges: the new window has {} of them, and a \
                         network counts them",
                        edges.len(),
                        now.len()
                    ));
                }
                Ok(())
            }
            _ => Err(changed(&name)),
        }
    }

    fn rule(&mut self, name: &str, old: &mut IdRule, new: &IdRule) -> Result<(), FeatureError> {
        match (old, new) {
            (IdRule::Vocabulary { values }, IdRule::Vocabulary { values: seen }) => {
                self.values(name, values, seen);
                Ok(())
            }
            (IdRule::Hashed { buckets }, IdRule::Hashed { buckets: now }) => {
                unchanged(name, buckets == now)
            }
            _ => Err(changed(name)),
        }
    }

    /// Appends the values that have no id yet.
    fn values(&mut self, name: &str, values: &mut Vec<String>, seen: &[String]) {
        let known: HashSet<&str> = values.iter().map(String::as_str).collect();
        let mut new: Vec<String> = seen
            .iter()
            .filter(|value| !known.contains(value.as_str()))
            .cloned()
            .collect();
        if let Some(&most) = self.limits.get(name) {
            let room = (most as usize).saturating_sub(values.len());
            if new.len() > room {
                self.notes.push(format!(
                    "{} new values of `{name}` have no id: `max_ids` is {most}",
                    new.len() - room
                ));
                new.truncate(room);
            }
        }
        if !new.is_empty() {
            self.new_ids.insert(name.to_owned(), new.len() as u64);
            values.append(&mut new);
        }
    }
}

/// The old dense inputs, with the statistics of the new where asked for.
fn dense(
    old: &[DenseFeature],
    new: &[DenseFeature],
    refit: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<DenseFeature>, FeatureError> {
    // Whether a column is missing somewhere is for each window to say; the old inputs stay.
    let lasting = |features: &[DenseFeature]| -> Vec<String> {
        let features = features.iter();
        features
            .filter(|feature| !matches!(feature, DenseFeature::Missing { .. }))
            .map(|feature| feature.name().to_owned())
            .collect()
    };
    let (before, now) = (lasting(old), lasting(new));
    same_names(
        before.iter().map(String::as_str),
        now.iter().map(String::as_str),
    )?;
    for feature in new {
        let missing = matches!(feature, DenseFeature::Missing { .. });
        if missing && !old.iter().any(|known| known.name() == feature.name()) {
            notes.push(format!(
                "`{}` is missing in some new rows, but the map has no indicator for it",
                feature.columns()[0]
            ));
        }
    }
    old.iter()
        .map(|feature| {
            let found = new.iter().find(|new| new.name() == feature.name());
            let Some(found) = found else {
                return Ok(feature.clone());
            };
            let alike = without_statistics(feature) == without_statistics(found);
            unchanged(feature.name(), alike)?;
            Ok(if refit { found } else { feature }.clone())
        })
        .collect()
}

/// The same input with nothing fitted in it.
fn without_statistics(feature: &DenseFeature) -> DenseFeature {
    let mut feature = feature.clone();
    match &mut feature {
        DenseFeature::Numeric { scale, fill, .. } => {
            if let Some(scale) = scale {
                (scale.mean, scale.sd) = (0.0, 1.0);
            }
            *fill = 0.0;
        }
        DenseFeature::Rate { prior, scale, .. } => {
            if let Some(scale) = scale {
                (scale.mean, scale.sd) = (0.0, 1.0);
            }
            *prior = 0.5;
        }
        DenseFeature::Missing { .. }
        | DenseFeature::Relative { .. }
        | DenseFeature::Cyclic { .. } => {}
    }
    feature
}

/// Most ids of each input, where the spec says.
fn limits(spec: &FeatureSpec) -> BTreeMap<String, u32> {
    let mut limits = BTreeMap::new();
    let mut limit = |name: &str, most: Option<u32>| {
        if let Some(most) = most {
            limits.insert(name.to_owned(), most);
        }
    };
    for categorical in &spec.categorical {
        limit(categorical.name(), categorical.max_ids);
    }
    for cross in &spec.cross {
        limit(cross.as_categorical().name(), cross.max_ids);
    }
    for multi in &spec.multi_valued {
        limit(multi.name(), multi.max_ids);
    }
    if let Some(history) = &spec.history {
        limit("history", history.max_ids);
    }
    for alike in &spec.alike {
        if let Some(&most) = limits.get(&alike.to) {
            limits.insert(alike.name().to_owned(), most);
        }
    }
    limits
}

fn same_names<'a>(
    old: impl Iterator<Item = &'a str>,
    new: impl Iterator<Item = &'a str>,
) -> Result<(), FeatureError> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.collect(), new.collect());
    if old == new {
        return Ok(());
    }
    let gone = old.iter().find(|name| !new.contains(name));
    let name = gone.or_else(|| new.iter().find(|name| !old.contains(name)));
    Err(changed(name.unwrap_or(&"order of the inputs")))
}

fn unchanged(name: &str, alike: bool) -> Result<(), FeatureError> {
    if alike { Ok(()) } else { Err(changed(name)) }
}

fn changed(name: &str) -> FeatureError {
    FeatureError::option(
        "features",
        format!("another `{name}` than in the feature map"),
        "the same entries as when the map was fitted, since a network was trained on them; fit a new map to change them",
    )
}
