//! What an optimiser remembers at the end of a training, for the update that goes on from it.
//!
//! `optimizer.safetensors` has two or three arrays for each parameter: `KIND/NAME#first` and
//! `KIND/NAME#second` of the parameter's shape, as far as the rule has them, and `KIND/NAME#steps` with the
//! steps made, `[steps div 65536, steps mod 65536]`, since `f32` counts to 2²⁴ alone.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bundle::{MODEL_FORMAT, read_arrays, write_arrays, wrong};
use crate::optimizer::Optimizer;
use crate::weights::Weight;
use crate::{ModelError, OptimizerKind};

/// File name of an optimiser's state in a run.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";

const HALF: i32 = 1 << 16;

/// The state of an optimiser, by parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState {
    kind: OptimizerKind,
    /// As [`Optimizer::state`] has them.
    arrays: BTreeMap<String, Weight>,
    steps: BTreeMap<String, i32>,
}

impl OptimizerState {
    /// The rule it belongs to.
    pub fn kind(&self) -> OptimizerKind {
        self.kind
    }

    pub(crate) fn of(optimizer: &Optimizer, names: &[(String, Vec<usize>)]) -> Self {
        let (arrays, steps) = optimizer.state(names);
        let named = names.iter().map(|(name, _)| name.clone());
        Self {
            kind: optimizer.kind(),
            arrays,
            steps: named.zip(steps).collect(),
        }
    }

    /// Puts it into an optimiser of a network of these parameters, of whose tables some may have grown: new
    /// rows begin with zeros.
    ///
    /// # Errors
    /// [`ModelError::Update`] for the state of another rule, or of a parameter of another shape.
    pub(crate) fn begin(
        &self,
        optimizer: &mut Optimizer,
        names: &[(String, Vec<usize>)],
    ) -> Result<(), ModelError> {
        if self.kind != optimizer.kind() {
            return Err(ModelError::Update {
                expected: format!("the `{}` whose state it goes on from", self.kind.name()),
                given: format!("`train.optimizer` `{}`", optimizer.kind().name()),
            });
        }
        let mut arrays = self.arrays.clone();
        for (name, shape) in names {
            for part in ["first", "second"] {
                let Some(array) = arrays.get_mut(&format!("{name}#{part}")) else {
                    continue;
                };
                let sound = array.shape.len() == shape.len()
                    && array.shape[1..] == shape[1..]
                    && array.shape[0] <= shape[0];
                if !sound {
                    return Err(ModelError::Update {
                        expected: format!("{shape:?}"),
                        given: format!(
                            "an optimiser's state of shape {:?} for `{name}`",
                            array.shape
                        ),
                    });
                }
                array.values.resize(shape.iter().product(), 0.0);
                array.shape.clone_from(shape);
            }
        }
        let steps = names.iter().map(|(name, _)| self.steps.get(name).copied());
        let steps: Vec<i32> = steps.map(Option::unwrap_or_default).collect();
        optimizer.restore(names, arrays, &steps);
        Ok(())
    }

    /// Writes `optimizer.safetensors` into a folder that exists, and syncs it.
    ///
    /// # Errors
    /// [`ModelError::Io`] with the file.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let kind = self.kind.name();
        let named = |(name, array): (&String, &Weight)| (format!("{kind}/{name}"), array.clone());
        let mut arrays: BTreeMap<String, Weight> = self.arrays.iter().map(named).collect();
        for (name, steps) in &self.steps {
            let halves = Weight {
                shape: vec![2],
                values: vec![(steps / HALF) as f32, (steps % HALF) as f32],
            };
            arrays.insert(format!("{kind}/{name}#steps"), halves);
        }
        write_arrays(&dir.join(OPTIMIZER_FILE), &arrays, MODEL_FORMAT)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Weights`], and [`ModelError::Tensor`] for an array that no optimiser
    /// has.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(OPTIMIZER_FILE);
        let mut kind = None;
        let (mut arrays, mut steps) = (BTreeMap::new(), BTreeMap::new());
        for (told, array) in read_arrays(&path)? {
            let unknown =
                |expected: &str| wrong(&path, &told, "present".to_owned(), expected.to_owned());
            let split = told.split_once('/');
            let known = |name: &str| {
                OptimizerKind::ALL
                    .into_iter()
                    .find(|kind| kind.name() == name)
            };
            let Some((own, name)) = split.and_then(|(own, name)| Some((known(own)?, name))) else {
                return Err(unknown("the name of an optimiser before it"));
            };
            if *kind.get_or_insert(own) != own {
                return Err(unknown("one optimiser in the file"));
            }
            match (name.strip_suffix("#steps"), &array.values[..]) {
                (Some(name), &[high, low]) => {
                    steps.insert(name.to_owned(), high as i32 * HALF + low as i32);
                }
                (Some(_), _) => return Err(unknown("two numbers in it")),
                (None, _) => {
                    arrays.insert(name.to_owned(), array);
                }
            }
        }
        let kind = kind.ok_or_else(|| {
            let expected = "at least one".to_owned();
            wrong(&path, "steps", "of no parameter".to_owned(), expected)
        })?;
        Ok(Self {
            kind,
            arrays,
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TrainOptions;

    fn names(rows: usize) -> Vec<(String, Vec<usize>)> {
        vec![
            ("table.weight".to_owned(), vec![rows, 2]),
            ("bias".to_owned(), vec![2]),
            ("frozen".to_owned(), vec![1]),
        ]
    }

    fn state() -> OptimizerState {
        let array = |shape: Vec<usize>, values: Vec<f32>| Weight { shape, values };
        let mut optimizer = Optimizer::new(&TrainOptions::default());
        let arrays = BTreeMap::from([
            (
                "table.weight#first".to_owned(),
                array(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
            ),
            (
                "table.weight#second".to_owned(),
                array(vec![2, 2], vec![0.5; 4]),
            ),
            ("bias#first".to_owned(), array(vec![2], vec![7.0, 8.0])),
            ("bias#second".to_owned(), array(vec![2], vec![9.0, 1.0])),
        ]);
        optimizer.restore(&names(2), arrays, &[17_000_001, 3, 0]);
        OptimizerState::of(&optimizer, &names(2))
    }

    #[test]
    fn it_comes_back_as_it_was_and_rows_of_a_grown_table_begin_with_zeros() {
        let folder = tempfile::tempdir().unwrap();
        state().save(folder.path()).unwrap();
        let loaded = OptimizerState::load(folder.path()).unwrap();
        assert_eq!(loaded, state());
        let mut optimizer = Optimizer::new(&TrainOptions::default());
        loaded.begin(&mut optimizer, &names(3)).unwrap();
        let (arrays, steps) = optimizer.state(&names(3));
        assert_eq!(steps, [17_000_001, 3, 0]);
        assert_eq!(arrays["table.weight#first"].shape, [3, 2]);
        assert_eq!(
            arrays["table.weight#first"].values,
            [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]
        );
        assert_eq!(arrays["bias#second"].values, [9.0, 1.0]);
    }

    #[test]
    fn another_rule_and_another_shape_are_refused() {
        let lion = TrainOptions {
            optimizer: OptimizerKind::Lion,
            ..Default::default()
        };
        let told = state().begin(&mut Optimizer::new(&lion), &names(2));
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains("`train.optimizer` `lion`, expected the `adamw`"),
            "{told}"
        );
        let fewer = state().begin(&mut Optimizer::new(&TrainOptions::default()), &names(1));
        assert!(
            fewer
                .unwrap_err()
                .to_string()
                .contains("[2, 2] for `table.weight`")
        );
    }
}
