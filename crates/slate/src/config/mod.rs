//! The configuration file: one TOML file for the whole chain, each command reads its section.
//!
//! Strict: the first key is `format = 1`, unknown keys are refused with their line and the nearest
//! known name, and `--set key.path=value` overrides single keys under the same rules.

mod embed;
mod overrides;
mod policy;
mod retrain;
mod strict;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use slate_types::{FormatVersion, Seed};

use crate::console::Refusal;
pub(crate) use embed::{EmbedSection, HASHED, ImageSection, TitleSection};
pub(crate) use policy::{PolicyFile, Source};
pub(crate) use retrain::{GateSection, RetrainSection, Rule};
pub(crate) use sweep::{Point, SweepSection};

/// Version of the configuration file.
pub(crate) const CONFIG_FORMAT: FormatVersion = FormatVersion(1);

/// Everything a configuration file may say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigFile {
    /// Version of the file's layout; 1.
    pub(crate) format: FormatVersion,
    /// Start of every random choice; `--seed` overrides it.
    #[serde(default = "default_seed")]
    pub(crate) seed: Seed,
    /// `slate simulate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) simulate: Option<slate_sim::MarketConfig>,
    /// `slate features` and `slate label`: tables that are not in the folder of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<slate_logs::LogTables>,
    /// `slate features`: how events are credited to placements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attribution: Option<slate_logs::AttributionOptions>,
    /// `slate features`: which columns become which numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) features: Option<slate_features::FeatureSpec>,
    /// `slate features`: training, validation, calibration and test windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<slate_features::SplitSpec>,
    /// `slate embed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) embed: Option<EmbedSection>,
    /// `slate train` of a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) train: Option<slate_model::TrainOptions>,
    /// `slate train` of gradient-boosted trees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trees: Option<slate_trees::TreesOptions>,
    /// `slate sweep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sweep: Option<SweepSection>,
    /// `slate retrain` and `slate backfill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retrain: Option<RetrainSection>,
    /// `slate calibrate`.
    #[serde(default)]
    pub(crate) calibrate: CalibrateSection,
    /// `slate evaluate`, and every interval the other commands print.
    #[serde(default)]
    pub(crate) evaluate: EvaluateSection,
}

fn default_seed() -> Seed {
    Seed(1)
}

/// `[calibrate]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CalibrateSection {
    /// Calibrators to fit and compare, by name; `all` for all there are.
    pub(crate) methods: Vec<String>,
    /// Slots whose revenue and purchases orders by probability and price are judged by.
    pub(crate) top: usize,
    /// Positives, and negatives, from which on a segment has a map of its own.
    pub(crate) own: f64,
    /// Positives that a segment's belief in its parent's map is worth.
    pub(crate) prior: f64,
}

impl Default for CalibrateSection {
    fn default() -> Self {
        Self {
            methods: ["isotonic", "sigmoid", "exponential"]
                .map(str::to_owned)
                .to_vec(),
            top: 3,
            own: 200.0,
            prior: 20.0,
        }
    }
}

/// `[evaluate]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvaluateSection {
    /// Metrics by name, such as `ndcg@10`.
    pub(crate) metrics: Vec<String>,
    /// Bootstrap draws behind each interval.
    pub(crate) draws: usize,
    /// Coverage of the intervals, between 0 and 1.
    pub(crate) level: f64,
}

impl Default for EvaluateSection {
    fn default() -> Self {
        let metrics = ["ndcg@10", "ptr@3", "logloss", "auc", "pcoc"];
        Self {
            metrics: metrics.map(str::to_owned).to_vec(),
            draws: 1000,
            level: 0.95,
        }
    }
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) file: ConfigFile,
    /// The path, for messages; `None` for the built-in one.
    pub(crate) path: Option<PathBuf>,
}

impl Config {
    /// Reads a file and applies `--set` overrides.
    ///
    /// # Errors
    /// A file that cannot be read, a TOML error, an unknown key (with line and nearest name), a
    /// wrong type, an unknown format.
    pub(crate) fn read(path: &Path, set: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration `{}`", path.display()))?;
        let mut config = Self::parse(&text, set)
            .with_context(|| format!("cannot use the configuration `{}`", path.display()))?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// Parses the text of a configuration and applies overrides.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub(crate) fn parse(text: &str, set: &[String]) -> Result<Self> {
        let mut file: ConfigFile = strict::parse(text)?;
        file.format.check("configuration", CONFIG_FORMAT)?;
        if !set.is_empty() {
            file = overrides::apply(text, set)?;
        }
        Ok(Self { file, path: None })
    }

    /// The configuration without a file: defaults everywhere, and `--set`.
    ///
    /// # Errors
    /// As [`Config::read`], for the overrides.
    pub(crate) fn default_with(set: &[String]) -> Result<Self> {
        Self::parse("format = 1\n", set)
    }

    /// A section a command cannot do without.
    pub(crate) fn need<'a, T>(&self, section: Option<&'a T>, name: &str) -> Result<&'a T> {
        section.ok_or_else(|| {
            let place = match &self.path {
                Some(path) => format!("`{}`", path.display()),
                None => "no configuration was given and the default".to_owned(),
            };
            Refusal::new(format!("{place} has no section `[{name}]`"))
                .hint(format!(
                    "pass --config FILE.toml with a section [{name}]; configs/demo.toml is a complete example"
                ))
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|&s| s.to_owned()).collect();
        format!("{:#}", Config::parse(text, &set).unwrap_err())
    }

    #[test]
    fn a_typo_is_refused_with_its_line_and_the_nearest_name() {
        let error = Config::parse("format = 1\n\n[evaluate]\ndrwas = 10\n", &[]).unwrap_err();
        assert!(
            format!("{error:#}").contains("unknown field `drwas` at line 4"),
            "{error:#}"
        );
        let refusal = error
            .downcast_ref::<Refusal>()
            .expect("a refusal with a hint");
        assert_eq!(
            slate_types::Hint::hint(refusal).unwrap(),
            "did you mean `draws`?"
        );
    }

    #[test]
    fn a_wrong_type_and_an_unknown_format_are_refused() {
        let text = message("format = 1\n[evaluate]\ndraws = \"many\"\n", &[]);
        assert!(text.contains("line 3"), "{text}");
        let text = message("format = 9\n", &[]);
        assert!(
            text.contains("format 9, expected a format from 1 to 1"),
            "{text}"
        );
        let text = message("seed = 3\n", &[]);
        assert!(text.contains("missing field `format`"), "{text}");
    }

    #[test]
    fn set_overrides_single_keys_under_the_same_rules() {
        let set = [
            "evaluate.draws=50".to_owned(),
            "evaluate.metrics=[\"mrr\"]".to_owned(),
        ];
        let config = Config::parse("format = 1\n", &set).unwrap();
        assert_eq!(config.file.evaluate.draws, 50);
        assert_eq!(config.file.evaluate.metrics, ["mrr"]);
        let text = message("format = 1\n", &["evaluate.drwas=50"]);
        assert!(text.contains("unknown field `drwas`"), "{text}");
        let text = message("format = 1\n", &["evaluate.draws"]);
        assert!(text.contains("expected key.path=value"), "{text}");
    }
}
