//! The trainings of a sweep, each with its own configuration.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_model::DeviceSpec;

use super::super::{Context, shell_line};
use super::ranked::plain;
use crate::cli::{RankerKind, SweepArgs};
use crate::config::{Config, Point};
use crate::console::Refusal;

/// One training.
pub(super) struct Trial {
    /// Place of its point.
    pub(super) point: usize,
    set: Point,
    /// Number of digits that all names of points take.
    digits: usize,
    pub(super) seed: u64,
    several_seeds: bool,
    pub(super) config: Config,
}

/// What a training came to.
pub(super) enum Ended {
    Run {
        /// The `best` of its run.
        best: Value,
        /// Whether it is that of the epoch before the training diverged.
        diverged: bool,
    },
    Failed(String),
}

impl Trial {
    pub(super) fn name(&self) -> String {
        let point = format!("{:0width$}", self.point + 1, width = self.digits);
        if self.several_seeds {
            format!("{point}-seed{}", self.seed)
        } else {
            point
        }
    }

    pub(super) fn told(&self) -> String {
        let seed = self.several_seeds.then(|| format!("seed {}", self.seed));
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        set.chain(seed).collect::<Vec<_>>().join("  ")
    }

    /// The command that trains it by itself.
    pub(super) fn command(
        &self,
        context: &Context,
        args: &SweepArgs,
        (kind, device): (RankerKind, DeviceSpec),
    ) -> String {
        let mut words = vec!["train".to_owned()];
        if let Some(path) = &context.config.path {
            words.extend(["-c".to_owned(), path.display().to_string()]);
        }
        let out = args.out.join("trials").join(self.name());
        for (flag, value) in [
            ("--data", args.data.display().to_string()),
            ("--out", out.display().to_string()),
            ("--ranker", kind.name().to_owned()),
            ("--device", device.to_string()),
            ("--seed", self.seed.to_string()),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        let by_hand = context.set.iter().cloned();
        let by_hand = by_hand.filter(|set| !set.trim_start().starts_with("sweep"));
        let point = self
            .set
            .iter()
            .map(|(key, value)| format!("{key}={}", plain(value)));
        for set in by_hand.chain(point) {
            words.extend(["--set".to_owned(), set]);
        }
        shell_line(words)
    }

    /// The section it is trained by.
    pub(super) fn section(&self, kind: RankerKind) -> Value {
        match kind {
            RankerKind::Network => json!(self.config.file.train),
            RankerKind::Trees => json!(self.config.file.trees),
        }
    }
}

/// Holds the section `[sweep]` of a configuration to the rest of it.
///
/// # Errors
/// Keys that concern nothing that is trained, and the first point that cannot be trained.
pub(in crate::commands) fn check(config: &Config) -> Result<()> {
    let Some(section) = &config.file.sweep else {
        return Ok(());
    };
    let seeds = section.seeds(config.file.seed)?;
    let points = section.points(config.file.seed)?;
    // With both sections a sweep may be of either.
    let kinds = [
        (RankerKind::Network, config.file.train.is_some()),
        (RankerKind::Trees, config.file.trees.is_some()),
    ];
    let mut first = None;
    for (kind, _) in kinds.into_iter().filter(|(_, there)| *there) {
        match all(config, &[], kind, &points, &seeds[..1]) {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| Refusal::new("there is no section [train] or [trees]").into()))
}

/// The trainings, each configuration checked before the first begins.
pub(super) fn all(
    config: &Config,
    by_hand: &[String],
    kind: RankerKind,
    points: &[Point],
    seeds: &[u64],
) -> Result<Vec<Trial>> {
    concern(points, kind)?;
    let mut trials = Vec::with_capacity(points.len() * seeds.len());
    for (point, set) in points.iter().enumerate() {
        let own = with(config, by_hand, set).and_then(|own| {
            match kind {
                RankerKind::Network => {
                    let options = own.need(own.file.train.as_ref(), "train")?;
                    options.clone().check().map(drop)?;
                }
                RankerKind::Trees => {
                    let options = own.need(own.file.trees.as_ref(), "trees")?;
                    options.clone().check().map(drop)?;
                }
            }
            Ok(own)
        });
        let own = own.with_context(|| {
            let set = set.iter().map(|(key, value)| format!("{key} = {value}"));
            let set = set.collect::<Vec<_>>().join(", ");
            format!("point {} of the sweep cannot be trained: {set}", point + 1)
        })?;
        trials.extend(seeds.iter().map(|&seed| Trial {
            point,
            set: set.clone(),
            digits: points.len().to_string().len(),
            seed,
            several_seeds: seeds.len() > 1,
            config: own.clone(),
        }));
    }
    Ok(trials)
}

/// Refuses keys that change nothing about what is trained.
fn concern(points: &[Point], kind: RankerKind) -> Result<()> {
    let section = match kind {
        RankerKind::Network => "train.",
        RankerKind::Trees => "trees.",
    };
    let mut keys = points.first().into_iter().flatten();
    let Some((key, _)) = keys.find(|(key, _)| !key.starts_with(section)) else {
        return Ok(());
    };
    let told = format!(
        "`sweep.over.{key}` is no key of what is trained, {}",
        kind.name()
    );
    let hint = format!("vary keys that begin with `{section}`, or pass another --ranker");
    Err(Refusal::new(told).hint(hint).into())
}

/// The configuration of a point: the file, what was set by hand, and then the point.
fn with(config: &Config, by_hand: &[String], point: &Point) -> Result<Config> {
    let mut set = by_hand.to_vec();
    set.extend(point.iter().map(|(key, value)| format!("{key}={value}")));
    match &config.path {
        Some(path) => Config::read(path, &set),
        None => Config::default_with(&set),
    }
}
