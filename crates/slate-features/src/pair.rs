//! Inputs that describe one item of a pair: columns read alike, and where inputs stand by their names.

use slate_types::InputPlaces;

use crate::{
    FeatureError, FeatureMap,
    map::{CategoricalFeature, DenseFeature, EmbeddingFeature, HistoryVector, MultiValuedFeature},
    spec::Alike,
};

impl FeatureMap {
    /// Adds the input `alike`, read as the one that it names.
    pub(crate) fn read_alike(&mut self, alike: &Alike) {
        let (column, name) = (alike.column.as_str(), alike.name());
        let missing = format!("{}_missing", alike.to);
        let dense = self.dense.iter().filter_map(|feature| {
            let name = match feature.name() {
                to if to == alike.to => name.to_owned(),
                to if to == missing => format!("{name}_missing"),
                _ => return None,
            };
            numeric_of(feature, column, name)
        });
        let dense: Vec<DenseFeature> = dense.collect();
        self.dense.extend(dense);
        let categorical = self.categorical.iter().filter(|own| own.name() == alike.to);
        let categorical: Vec<CategoricalFeature> = categorical
            .map(|feature| categorical_of(feature, column, name))
            .collect();
        self.categorical.extend(categorical);
        let several = self.multi_valued.iter().filter(|own| own.name == alike.to);
        let several: Vec<MultiValuedFeature> = several
            .map(|feature| MultiValuedFeature {
                name: name.to_owned(),
                column: column.to_owned(),
                ..feature.clone()
            })
            .collect();
        self.multi_valued.extend(several);
    }

    /// Where the inputs with these names stand in a batch. The name of an embedding means its vector, and
    /// `history_NAME` that of a history.
    ///
    /// # Errors
    /// [`FeatureError::Option`] with `key` for a name that no input has, or that is given twice.
    pub fn places(&self, names: &[String], key: &str) -> Result<InputPlaces, FeatureError> {
        let mut places = InputPlaces::default();
        for (at, name) in names.iter().enumerate() {
            let found = self.places_of(name);
            if found == InputPlaces::default() {
                let known = self.input_names().join(", ");
                return Err(FeatureError::option(
                    key,
                    format!("`{name}`"),
                    format!("inputs of the dataset: {known}"),
                ));
            }
            if names[..at].contains(name) {
                return Err(FeatureError::option(
                    key,
                    format!("`{name}` twice"),
                    "each input once",
                ));
            }
            places.vectors.extend(found.vectors);
            places.numbers.extend(found.numbers);
            places.categorical.extend(found.categorical);
            places.multi_valued.extend(found.multi_valued);
        }
        Ok(places)
    }

    /// Names of all inputs but the events of histories, vectors by the name of their embedding.
    pub fn input_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let dense = self.dense.iter().map(DenseFeature::name);
        let vectors = self.vector_inputs().map(|(name, _)| name);
        let ids = self.categorical.iter().map(CategoricalFeature::name);
        let several = self.multi_valued.iter().map(|own| own.name.as_str());
        for name in dense.chain(vectors).chain(ids).chain(several) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Columns of the examples that the input of this name reads: none where it is of a history.
    pub fn columns_of(&self, name: &str) -> Vec<&str> {
        let found = self.named(name);
        let dense = found.dense.into_iter();
        let ids = found.categorical.into_iter();
        let several = found.multi_valued.into_iter();
        let vectors = self.embedding.iter().filter(|own| own.name == name);
        dense
            .flat_map(|(_, own)| own.columns())
            .chain(ids.flat_map(|(_, own)| own.columns()))
            .chain(several.map(|(_, own)| own.column.as_str()))
            .chain(vectors.map(|own| own.column.as_str()))
            .collect()
    }

    /// Whether two inputs turn the same value into the same numbers: two vectors, where they are of one
    /// width, encoder and scale.
    pub fn reads_alike(&self, one: &str, other: &str) -> bool {
        let unnamed = |name: &str| {
            let found = self.named(name);
            let dense = found.dense.iter();
            let dense = dense.map(|(_, own)| numeric_of(own, "", String::new()).ok_or(*own));
            let ids = found.categorical.iter();
            let several = found.multi_valued.iter();
            let several = several.map(|(_, own)| (&own.separator, own.max_values, &own.ids));
            let vectors = found.vectors.iter();
            (
                dense.collect::<Vec<_>>(),
                ids.map(|(_, own)| categorical_of(own, "", ""))
                    .collect::<Vec<_>>(),
                several.collect::<Vec<_>>(),
                vectors
                    .map(|(_, own)| (own.width, &own.encoder, &own.scale))
                    .collect::<Vec<_>>(),
            )
        };
        unnamed(one) == unnamed(other)
    }

    /// Mean vectors of histories, each with the place of the embedding whose vectors they are.
    pub(crate) fn history_vectors(&self) -> impl Iterator<Item = (&HistoryVector, usize)> {
        let entries = self.history.iter().flat_map(|history| &history.vectors);
        entries.filter_map(|entry| {
            let mut embedding = self.embedding.iter();
            let at = embedding.position(|feature| feature.name == entry.of)?;
            Some((entry, at))
        })
    }

    /// Names of the inputs that are a vector, in the order of their numbers, which follow all other dense
    /// inputs; each with the embedding whose vectors they are.
    pub(crate) fn vector_inputs(&self) -> impl Iterator<Item = (&str, &EmbeddingFeature)> {
        let own = self.embedding.iter();
        let own = own.map(|feature| (feature.name.as_str(), feature));
        let past = self.history_vectors();
        own.chain(past.map(|(entry, at)| (entry.name.as_str(), &self.embedding[at])))
    }

    /// The embedding whose vectors of a history are the input of this name.
    pub fn history_vector_of(&self, name: &str) -> Option<&str> {
        let mut vectors = self.history_vectors();
        let found = vectors.find(|(own, _)| own.name == name);
        found.map(|(own, _)| own.of.as_str())
    }

    /// How many vectors of zeros the means of histories count beside those of events, where there are any.
    pub fn history_prior(&self) -> Option<u32> {
        let mut vectors = self.history_vectors();
        vectors.next().map(|(own, _)| own.prior_events)
    }

    fn places_of(&self, name: &str) -> InputPlaces {
        fn at<T>(found: Vec<(usize, &T)>) -> Vec<usize> {
            found.into_iter().map(|(at, _)| at).collect()
        }
        let found = self.named(name);
        let vectors = found.vectors.into_iter();
        InputPlaces {
            vectors: vectors
                .map(|(start, own)| start..start + own.width as usize)
                .collect(),
            numbers: at(found.dense),
            categorical: at(found.categorical),
            multi_valued: at(found.multi_valued),
        }
    }

    /// The inputs of this name, each with its place among those of its kind; a vector with its first number.
    fn named(&self, name: &str) -> Named<'_> {
        fn of<T>(all: &[T], is_named: impl Fn(&T) -> bool) -> impl Iterator<Item = (usize, &T)> {
            let all = all.iter().enumerate();
            all.filter(move |(_, own)| is_named(own))
        }
        let vectors = self
            .vector_inputs()
            .scan(self.dense.len(), |next, (name, own)| {
                let start = *next;
                *next += own.width as usize;
                Some((name, start, own))
            });
        Named {
            dense: of(&self.dense, |own| own.name() == name).collect(),
            categorical: of(&self.categorical, |own| own.name() == name).collect(),
            multi_valued: of(&self.multi_valued, |own| own.name == name).collect(),
            vectors: vectors
                .filter(|(own, ..)| *own == name)
                .map(|(_, start, own)| (start, own))
                .collect(),
        }
    }
}

/// Inputs of one name, with their places.
struct Named<'a> {
    dense: Vec<(usize, &'a DenseFeature)>,
    categorical: Vec<(usize, &'a CategoricalFeature)>,
    multi_valued: Vec<(usize, &'a MultiValuedFeature)>,
    vectors: Vec<(usize, &'a EmbeddingFeature)>,
}

/// The same reading of another column; none where it is not of one column alone.
fn numeric_of(feature: &DenseFeature, to: &str, named: String) -> Option<DenseFeature> {
    let mut twin = feature.clone();
    match &mut twin {
        DenseFeature::Numeric { name, column, .. } | DenseFeature::Missing { name, column, .. } => {
            (*name, *column) = (named, to.to_owned());
            Some(twin)
        }
        DenseFeature::Rate { .. } | DenseFeature::Relative { .. } | DenseFeature::Cyclic { .. } => {
            None
        }
    }
}

/// The same reading of another column.
fn categorical_of(feature: &CategoricalFeature, to: &str, named: &str) -> CategoricalFeature {
    let mut twin = feature.clone();
    match &mut twin {
        CategoricalFeature::Vocabulary { name, column, .. }
        | CategoricalFeature::Hashed { name, column, .. }
        | CategoricalFeature::Bins { name, column, .. } => {
            (*name, *column) = (named.to_owned(), to.to_owned());
        }
    }
    twin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{IdRule, Scale};

    fn map() -> FeatureMap {
        let mut map = FeatureMap {
            dense: vec![
                DenseFeature::Numeric {
                    name: "price".into(),
                    column: "item_price".into(),
                    time_since: false,
                    clip: None,
                    log1p: true,
                    scale: Some(Scale { mean: 3.0, sd: 2.0 }),
                    fill: 0.0,
                },
                DenseFeature::Missing {
                    name: "price_missing".into(),
                    column: "item_price".into(),
                    time_since: false,
                },
            ],
            categorical: vec![CategoricalFeature::Vocabulary {
                name: "kind".into(),
                column: "item_category".into(),
                with: vec![],
                values: vec!["lamp".into(), "rug".into()],
            }],
            multi_valued: vec![MultiValuedFeature {
                name: "tags".into(),
                column: "item_tags".into(),
                separator: "|".into(),
                max_values: 4,
                ids: IdRule::Hashed { buckets: 9 },
            }],
            embedding: vec![
                EmbeddingFeature {
                    name: "title".into(),
                    column: "item_id".into(),
                    width: 5,
                    encoder: None,
                    scale: None,
                },
                EmbeddingFeature {
                    name: "seed_title".into(),
                    column: "seed_item_id".into(),
                    width: 5,
                    encoder: None,
                    scale: None,
                },
            ],
            ..FeatureMap::default()
        };
        for (column, to) in [
            ("seed_price", "price"),
            ("seed_kind", "kind"),
            ("seed_tags", "tags"),
        ] {
            map.read_alike(&Alike {
                column: column.into(),
                to: to.into(),
                name: None,
            });
        }
        map
    }

    #[test]
    fn a_column_is_read_as_the_other_is() {
        let map = map();
        assert_eq!(
            map.input_names().join(" "),
            "price price_missing seed_price seed_price_missing title seed_title kind seed_kind tags \
             seed_tags"
        );
        assert_eq!(map.columns_of("seed_price"), ["seed_price"]);
        assert_eq!(map.columns_of("seed_price_missing"), ["seed_price"]);
        assert_eq!(map.columns_of("seed_title"), ["seed_item_id"]);
        for (one, other) in [
            ("price", "seed_price"),
            ("price_missing", "seed_price_missing"),
            ("kind", "seed_kind"),
            ("tags", "seed_tags"),
            ("title", "seed_title"),
        ] {
            assert!(map.reads_alike(one, other), "{one}");
        }
        assert!(!map.reads_alike("price", "price_missing"));
        assert!(!map.reads_alike("kind", "tags"));
    }

    #[test]
    fn names_are_found_where_a_batch_has_them() {
        let map = map();
        let names = ["seed_title", "seed_price", "seed_kind", "seed_tags"].map(str::to_owned);
        let places = map.places(&names, "train.network.towers.seed").unwrap();
        // Four numbers and a vector of five stand before it.
        assert_eq!(places.vectors.first(), Some(&(9..14)));
        assert_eq!(places.numbers, [2]);
        assert_eq!(
            (places.categorical, places.multi_valued),
            (vec![1], vec![1])
        );
        let refused = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            map.places(&names, "k").unwrap_err().to_string()
        };
        assert!(
            refused(&["titel"])
                .starts_with("`k` is `titel`, expected inputs of the dataset: price,")
        );
        assert_eq!(
            refused(&["title", "title"]),
            "`k` is `title` twice, expected each input once"
        );
    }
}
