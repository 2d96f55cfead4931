//! Parts of a network that an update trains at rates of their own, told by a weight's name.

/// A part of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Embedding tables of ids.
    Tables,
    /// The last layer, and what a slot adds to its columns.
    Heads,
    /// All others.
    Body,
}

impl Part {
    /// The part of the weight of this name.
    pub(crate) fn of(name: &str) -> Self {
        let mut path = name.split('.');
        match path.clone().next() {
            Some("heads" | "position") => return Self::Heads,
            Some("history") if matches!(path.clone().nth(1), Some("item" | "kind")) => {
                return Self::Tables;
            }
            _ => {}
        }
        if path.any(|step| step == "embeddings" || step == "several") {
            Self::Tables
        } else {
            Self::Body
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::{Device, Tensor};
    use slate_types::{FeatureShape, HistoryShape, InputPlaces, PairInputs, Seed, VisitorPlaces};

    use super::*;
    use crate::network::Network;
    use crate::{
        HistoryChoice, HistoryOptions, InputNorm, NetworkKind, NetworkOptions, TowersOptions,
        weights,
    };

    /// Paths of the parameters that stand in a module of one type.
    struct In(&'static str, Vec<(String, String)>, BTreeSet<String>);

    impl ModuleVisitor for In {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.1
                .push((name.to_lowercase(), container_type.to_owned()));
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.1.pop();
        }

        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
            if self.1.iter().any(|(_, kind)| kind.contains(self.0)) {
                let names: Vec<&str> = self.1.iter().map(|(name, _)| name.as_str()).collect();
                self.2.insert(names.join("."));
            }
        }
    }

    fn network(kind: NetworkKind, encoder: HistoryChoice) -> Network {
        let side = |vector: Range<usize>, id: usize| InputPlaces {
            vectors: vec![vector],
            numbers: vec![],
            categorical: vec![id],
            multi_valued: vec![id],
        };
        let similar = kind == NetworkKind::Similar;
        let options = NetworkOptions {
            kind,
            hidden: 4,
            layers: 1,
            input_norm: Some(InputNorm::Layer),
            towers: similar.then(|| TowersOptions {
                seed: vec!["some".to_owned()],
                candidate: vec!["others".to_owned()],
                width: 3,
                shared: encoder == HistoryChoice::Gru,
                ..Default::default()
            }),
            history: Some(HistoryOptions {
                encoder,
                hidden: 4,
                layers: 1,
            }),
            ..Default::default()
        };
        let mut config = options.check().unwrap();
        config.position_slots = 3;
        let shape = FeatureShape {
            dense: 5,
            categorical: vec![3, 3, 4],
            multi_valued: vec![4, 4, 5],
            history: Some(HistoryShape { items: 5, kinds: 2 }),
            pair: similar.then(|| PairInputs {
                seed: side(0..2, 0),
                candidate: side(2..4, 1),
                context: InputPlaces {
                    numbers: vec![4],
                    categorical: vec![2],
                    multi_valued: vec![2],
                    ..InputPlaces::default()
                },
                visitor: vec![VisitorPlaces {
                    visitor: 0..2,
                    candidate: 2..4,
                }],
            }),
        };
        Network::new(&config, &shape, 2, Seed(1), &Device::flex()).unwrap()
    }

    #[test]
    fn every_table_of_every_kind_of_network_is_known_by_its_name() {
        for (kind, encoder) in [
            (NetworkKind::Linear, HistoryChoice::Gru),
            (NetworkKind::Mlp, HistoryChoice::Gru),
            (NetworkKind::Transformer, HistoryChoice::Transformer),
            (NetworkKind::Gru, HistoryChoice::Gru),
            (NetworkKind::Similar, HistoryChoice::Gru),
            (NetworkKind::Similar, HistoryChoice::Transformer),
        ] {
            let network = network(kind, encoder);
            let mut tables = In("Embedding", Vec::new(), BTreeSet::new());
            network.visit(&mut tables);
            let names: Vec<String> = weights::read(&network).into_keys().collect();
            let of = |part: Part| -> BTreeSet<String> {
                let own = names.iter().filter(|name| Part::of(name) == part);
                own.cloned().collect()
            };
            let heads = ["heads.bias", "heads.weight", "position.weight"];
            assert_eq!(of(Part::Heads), heads.map(str::to_owned).into(), "{kind:?}");
            // What a slot adds to the columns is a table to Burn, and of the heads to us.
            assert!(tables.2.remove("position.weight"), "{kind:?}");
            assert!(tables.2.len() >= 4, "{kind:?}: {:?}", tables.2);
            assert_eq!(of(Part::Tables), tables.2, "{kind:?}");
            assert!(!of(Part::Body).is_empty(), "{kind:?}");
        }
    }
}
