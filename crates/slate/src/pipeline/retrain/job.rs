//! What a month's retrain is of: the month, the model in use, the window of lists, and who asks.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slate_features::{FeatureSpec, SplitSpec};
use slate_logs::{AttributionOptions, EngineOptions, RemoteLog};
use slate_model::DeviceSpec;
use slate_types::{FormatVersion, Seed};

use super::log_files::LogFiles;
use crate::artefacts::manifest;
use crate::artefacts::registry::{Promotion, Registry, Version};
use crate::config::{ConfigFile, EmbedSection, RetrainSection};
use crate::console::Refusal;
use crate::pipeline::calendar::{DAY, Month};
use crate::pipeline::stages::Takes;

/// The model in use when the month's retrain began.
#[derive(Debug, Clone)]
pub(super) struct Champion {
    pub(super) version: Version,
    /// Number of the promotion that brought it into use.
    pub(super) number: u64,
    pub(super) folder: PathBuf,
    pub(super) reads: Reads,
}

/// How a model reads logs; kept with it, as the configuration may change under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reads {
    format: FormatVersion,
    kind: String,
    pub(super) features: FeatureSpec,
    /// Days that history features look back, in the attribution.
    pub(super) history_days: Vec<u32>,
    /// What made the vectors that it reads.
    embed: Option<EmbedSection>,
}

impl Reads {
    pub(super) const FILE: &str = "reads.json";

    /// As a configuration has it.
    pub(super) fn of(file: &ConfigFile) -> Self {
        let attribution = file.attribution.clone().unwrap_or_default();
        Self {
            format: manifest::FORMAT,
            kind: "reads".to_owned(),
            features: file.features.clone().unwrap_or_default(),
            history_days: attribution.history_days,
            embed: file.embed.clone(),
        }
    }

    fn read(file: &Path) -> Result<Self> {
        let told = || format!("`{}` does not say how a model reads logs", file.display());
        let value = manifest::read_json(file).with_context(told)?;
        anyhow::ensure!(manifest::kind(&value)? == "reads", told());
        serde_json::from_value(value).with_context(told)
    }
}

/// Profiles of earlier data, as the model in use reads them; its own where there is no later one.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// Of the last month that was sound: what its volume and labels are held to.
    pub(super) sound: PathBuf,
    /// Of the last month that was looked at: what features are held to. A change that stays is told once,
    /// and a market that moves is not held to where it was long ago.
    pub(super) seen: PathBuf,
}

/// All that the stages of a month share.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) month: Month,
    pub(super) file: ConfigFile,
    pub(super) section: RetrainSection,
    pub(super) registry: Registry,
    pub(super) champion: Option<Champion>,
    /// End of the last earlier month whose data were refused: nothing before it is learned from.
    pub(super) sound_from: i64,
    /// The profiles that the month's data are held to.
    pub(super) before: Option<Before>,
    /// The logs that the month can see.
    pub(super) logs: LogFiles,
    pub(super) seed: Seed,
    pub(super) threads: usize,
    pub(super) device: DeviceSpec,
    /// The command that manifests name: that of the month, however it was started.
    pub(super) command: String,
    /// Bytes for all stages that run together.
    pub(super) memory: u64,
    /// What tells this process's files from another's.
    pub(super) mark: String,
}

impl Job {
    /// Whether the model in use is updated; otherwise one is trained from nothing.
    pub(super) fn updates(&self) -> bool {
        let is_network = self.file.train.is_some();
        let every = self.section.full_every;
        is_network
            && self.section.update
            && self.champion.as_ref().is_some_and(|champion| {
                // A champion from this month or a later one is not what this month is updated from.
                let about = &champion.version.about;
                let in_time = every == 0 || about.updates < every;
                in_time && about.month < self.month.to_string() && self.is_same_network(champion)
            })
    }

    /// Whether the model in use is of the network and the features that are configured; another one begins
    /// with nothing.
    fn is_same_network(&self, champion: &Champion) -> bool {
        if json!(champion.reads) != json!(Reads::of(&self.file)) {
            return false;
        }
        let own = json!(self.file.train);
        let told = manifest::read_json(&champion.folder.join("manifest.json"));
        told.is_ok_and(|told| {
            let old = &told["config"]["train"];
            ["network", "losses", "entire_space"]
                .iter()
                .all(|key| old[key] == own[key])
        })
    }

    /// When labels are read.
    pub(super) fn as_of(&self) -> String {
        date(self.sees_until())
    }

    /// Time from which no log is read: with the month's end, events up to the labels' date still count.
    pub(super) fn sees_until(&self) -> i64 {
        super::until(&self.section, self.month)
    }

    /// Time before which no log is read: what features look back on begins here.
    pub(super) fn sees_from(&self) -> i64 {
        let begins = self.window_begins();
        let days = 31 * i64::from(self.section.history_months);
        begins.saturating_sub(days * DAY)
    }

    /// The first list that may be learned from: for an update the first that the model in use has not
    /// been trained on.
    fn window_begins(&self) -> i64 {
        let begins = match &self.champion {
            Some(champion) if self.updates() => champion.version.about.trained_until,
            _ => self.month.before(self.section.window_months - 1).begins(),
        };
        begins.max(self.sound_from)
    }

    /// Labels are the same for every model; what features look back on is a model's own.
    pub(super) fn attribution(&self, reads: &Reads) -> AttributionOptions {
        AttributionOptions {
            label_as_of: Some(self.as_of()),
            history_days: reads.history_days.clone(),
            ..self.file.attribution.clone().unwrap_or_default()
        }
    }

    /// The lists that are learned from and judged on.
    pub(super) fn split(&self) -> SplitSpec {
        let own = self.file.split.clone().unwrap_or_default();
        SplitSpec {
            from: Some(moment(self.window_begins())),
            until: Some(date(self.month.next().begins())),
            ..own
        }
    }

    /// Words about logs, with the name of their folder in place of that of the links to them.
    pub(super) fn by_its_name(&self, told: &str) -> String {
        let words = told.split('`').map(|word| {
            let below = word.split_once(".unfinished/logs");
            below.map_or_else(
                || word.to_owned(),
                |(_, below)| format!("{}{below}", self.section.logs),
            )
        });
        words.collect::<Vec<_>>().join("`")
    }

    pub(super) fn engine(&self) -> EngineOptions {
        EngineOptions {
            threads: self.threads,
            memory: Some(self.share_of_memory()),
            ..EngineOptions::default()
        }
    }

    /// What one of the stages that hold much may take.
    fn share_of_memory(&self) -> u64 {
        self.memory / 2
    }

    /// What a stage that holds much takes, on the device that trains or not.
    pub(super) fn takes(&self, device: bool) -> Takes {
        Takes {
            memory: self.share_of_memory(),
            device,
        }
    }

    /// What stages over the logs depend on beside the configuration.
    pub(super) fn logs_seen(&self) -> Value {
        json!({ "files": self.logs.hash(), "tables": self.file.logs })
    }

    /// What stages over the model in use depend on.
    pub(super) fn champion_id(&self) -> Value {
        json!(self.champion.as_ref().map(|champion| &champion.version.id))
    }

    /// What checks depend on.
    pub(super) fn before_hashes(&self) -> Result<Value> {
        let hash = |before: &Before| -> Result<Value> {
            let files = [&before.sound, &before.seen];
            let hashes = files.map(|path| manifest::sha256(path));
            let hashes: Vec<String> = hashes.into_iter().collect::<Result<_>>()?;
            Ok(json!(hashes))
        };
        self.before.as_ref().map_or(Ok(Value::Null), hash)
    }

    /// The model in use, for stages that there are only with one.
    pub(super) fn champion(&self) -> Result<&Champion> {
        self.champion.as_ref().context("no model is in use")
    }

    /// Refuses a configuration that cannot be retrained by the month.
    pub(super) fn check_config(file: &ConfigFile) -> Result<RetrainSection> {
        let section = file.retrain.clone().unwrap_or_default();
        section.check()?;
        for (there, name) in [
            (file.features.is_some(), "features"),
            (file.train.is_some() || file.trees.is_some(), "train"),
            (file.retrain.is_some(), "retrain"),
        ] {
            if !there {
                let told = format!("the configuration has no section `[{name}]`");
                return Err(Refusal::new(told)
                    .hint("configs/monthly_retrain.toml is a complete example")
                    .into());
            }
        }
        let split = file.split.clone().unwrap_or_default();
        for (key, date) in [
            ("from", &split.from),
            ("until", &split.until),
            ("valid_from", &split.valid_from),
            ("test_from", &split.test_from),
        ] {
            if date.is_some() {
                let told = format!("`split.{key}` is a date, but every month has dates of its own");
                return Err(Refusal::new(told)
                    .hint("give `valid`, `calibrate` and `test` as shares")
                    .into());
            }
        }
        let pictures = file
            .embed
            .as_ref()
            .is_some_and(|embed| embed.image.is_some());
        if pictures && RemoteLog::is_remote(&section.logs) {
            let told =
                "[embed.image] reads pictures below `retrain.logs`, which is an object store";
            return Err(Refusal::new(told)
                .hint("pictures are read from folders alone: mount the store, or embed titles only")
                .into());
        }
        if file.logs.is_some() {
            return Err(Refusal::new(
                "[logs] names tables elsewhere, which a retrain does not watch",
            )
            .hint("put or link all tables below `retrain.logs`")
            .into());
        }
        Ok(section)
    }
}

impl Champion {
    /// The version that a promotion brought into use.
    ///
    /// # Errors
    /// A version that is not there or is damaged.
    pub(super) fn of(registry: &Registry, promotion: &Promotion) -> Result<Self> {
        registry.verify_version(&promotion.version)?;
        Ok(Self {
            version: registry.version(&promotion.version)?,
            number: promotion.number,
            reads: Reads::read(&registry.path(&promotion.version).join(Reads::FILE))?,
            folder: registry.path(&promotion.version),
        })
    }
}

/// A JSON file that a stage wrote, as a value.
pub(super) fn read(folder: &Path, name: &str) -> Result<Value> {
    manifest::read_json(&folder.join(name))
}

/// The day of a time.
pub(super) fn date(micros: i64) -> String {
    text(micros, "%Y-%m-%d")
}

/// A time to the microsecond.
fn moment(micros: i64) -> String {
    text(micros, "%Y-%m-%dT%H:%M:%S%.6fZ")
}

fn text(micros: i64, format: &str) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros);
    time.map_or_else(String::new, |time| time.format(format).to_string())
}
