//! `slate sweep`: trains many configurations on one dataset and says which validates best.
//!
//! Every training is a run of its own under `trials/`. All of them grow in the hidden folder
//! `.NAME.sweep`, which outlives kills: `--resume` goes on with the first one that is not finished.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_model::ModelError;

use super::{Context, shell_line, train};
use crate::artefacts::{Staged, manifest, write_file};
use crate::cli::{RankerKind, SweepArgs, TrainArgs};
use crate::config::{Config, Point};
use crate::console::{Align, Outcome, Refusal, Table};

/// What the sweep in a folder is, so that another is not gone on with by mistake.
const PLAN: &str = "plan.json";

/// Points shown on the terminal; the files have all.
const SHOWN: usize = 20;

pub(super) fn run(context: &Context, args: &SweepArgs) -> Result<Outcome> {
    let config = &context.config;
    let section = config.need(config.file.sweep.as_ref(), "sweep")?;
    let points = section.points(context.seed)?;
    let seeds: Vec<u64> = (0..section.seeds).map(|n| context.seed.0 + n).collect();
    let kind = train::ranker(context, args.ranker);
    concern(&points, kind)?;
    let trials = trials(context, kind, &points, &seeds)?;
    let plan = json!({
        "format": manifest::FORMAT,
        "kind": "sweep-plan",
        "slate": env!("CARGO_PKG_VERSION"),
        "ranker": kind.name(),
        "config": trials.iter().map(|trial| trial.trained(kind)).collect::<Vec<_>>(),
        "data": manifest::sha256(&args.data.join("manifest.json"))
            .with_context(|| format!("cannot open the dataset `{}`", args.data.display()))?,
        "seed": context.seed,
    });
    let plan = format!("{plan:#}\n");
    let finished = args.out.join("manifest.json");
    if args.resume && !context.force && finished.is_file() {
        let sweep = manifest::read_json(&finished)?;
        if sweep["plan_sha256"] == manifest::sha256_of(plan.as_bytes()) {
            let told = format!(
                "the sweep in {} is finished: nothing to do\n",
                args.out.display()
            );
            return Ok(Outcome::done(
                json!({ "out": args.out, "sweep": sweep }),
                told,
            ));
        }
    }
    let staged = Staged::kept(&args.out, context.force, "sweep", |folder| {
        let planned = folder.join(PLAN);
        if !args.resume {
            if planned.exists() && !context.force {
                let told = format!("a sweep in `{}` is not finished", folder.display());
                let hint = "pass --resume to go on with it, or --force to begin anew";
                return Err(Refusal::new(told).hint(hint).into());
            }
            return Ok(false);
        }
        if !planned.exists() || fs::read(&planned)? == plan.as_bytes() {
            return Ok(true);
        }
        let told = format!("the sweep in `{}` is another one", folder.display());
        let hint = "go on with its own configuration, data, seed and version, or leave out --resume \
                    and pass --force to begin anew";
        Err(Refusal::new(told).hint(hint).into())
    })?;
    let folder = staged.path().to_owned();
    fs::create_dir_all(folder.join("trials"))
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    write_file(&folder.join(PLAN), plan.as_bytes(), true)?;

    let mut results = Vec::with_capacity(trials.len());
    for (at, trial) in trials.iter().enumerate() {
        let told = format!("{} of {}: {}", at + 1, trials.len(), trial.told());
        context.console.say(&told);
        results.push(one(context, args, kind, trial, &folder)?);
    }
    let ranked = rank(&points, &trials, &results);
    let mut document = document(context, kind, &ranked, &seeds, &args.data)?;
    document["plan_sha256"] = json!(manifest::sha256_of(plan.as_bytes()));
    manifest::write_json(&folder.join("manifest.json"), &document)?;
    write_file(
        &folder.join("points.csv"),
        csv(&points, &ranked).as_bytes(),
        true,
    )?;
    fs::remove_file(folder.join(PLAN)).context("cannot remove the plan of the sweep")?;
    staged.commit()?;
    let text = format!(
        "{}{}\nthe runs are in {}\n",
        table(&points, &ranked, seeds.len()),
        advice(&ranked, &args.out),
        args.out.display()
    );
    Ok(Outcome::done(
        json!({ "out": args.out, "sweep": document }),
        text,
    ))
}

/// One training of the sweep.
struct Trial {
    point: usize,
    set: Point,
    /// Number of digits that all names of points take.
    digits: usize,
    seed: u64,
    several_seeds: bool,
    config: Config,
}

impl Trial {
    fn name(&self) -> String {
        let point = format!("{:0width$}", self.point + 1, width = self.digits);
        if self.several_seeds {
            format!("{point}-seed{}", self.seed)
        } else {
            point
        }
    }

    fn told(&self) -> String {
        let seed = self.several_seeds.then(|| format!("seed {}", self.seed));
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        set.chain(seed).collect::<Vec<_>>().join("  ")
    }

    /// The command that trains it by itself.
    fn command(&self, context: &Context, args: &SweepArgs, kind: RankerKind) -> String {
        let mut words = vec!["train".to_owned()];
        if let Some(path) = &context.config.path {
            words.extend(["-c".to_owned(), path.display().to_string()]);
        }
        let out = args.out.join("trials").join(self.name());
        for (flag, value) in [
            ("--data", args.data.display().to_string()),
            ("--out", out.display().to_string()),
            ("--ranker", kind.name().to_owned()),
            ("--seed", self.seed.to_string()),
        ] {
            words.extend([flag.to_owned(), value]);
        }
        let point = self
            .set
            .iter()
            .map(|(key, value)| format!("{key}={}", plain(value)));
        for set in context.set.iter().cloned().chain(point) {
            words.extend(["--set".to_owned(), set]);
        }
        shell_line(words)
    }

    /// The section it is trained by.
    fn trained(&self, kind: RankerKind) -> Value {
        match kind {
            RankerKind::Network => json!(self.config.file.train),
            RankerKind::Trees => json!(self.config.file.trees),
        }
    }
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

/// The trainings, each configuration checked before the first begins.
fn trials(
    context: &Context,
    kind: RankerKind,
    points: &[Point],
    seeds: &[u64],
) -> Result<Vec<Trial>> {
    let mut trials = Vec::with_capacity(points.len() * seeds.len());
    for (point, set) in points.iter().enumerate() {
        let config = with(context, set).and_then(|config| {
            match kind {
                RankerKind::Network => {
                    let options = config.need(config.file.train.as_ref(), "train")?;
                    options.clone().check().map(drop)?;
                }
                RankerKind::Trees => {
                    let options = config.need(config.file.trees.as_ref(), "trees")?;
                    options.clone().check().map(drop)?;
                }
            }
            Ok(config)
        });
        let set_text = || {
            let set = set.iter().map(|(key, value)| format!("{key} = {value}"));
            set.collect::<Vec<_>>().join(", ")
        };
        let config = config.with_context(|| {
            format!(
                "point {} of the sweep cannot be trained: {}",
                point + 1,
                set_text()
            )
        })?;
        trials.extend(seeds.iter().map(|&seed| Trial {
            point,
            set: set.clone(),
            digits: points.len().to_string().len(),
            seed,
            several_seeds: seeds.len() > 1,
            config: config.clone(),
        }));
    }
    Ok(trials)
}

/// The configuration of a point: the file, what was set by hand, and then the point.
fn with(context: &Context, point: &Point) -> Result<Config> {
    let mut set = context.set.clone();
    set.extend(point.iter().map(|(key, value)| format!("{key}={value}")));
    match &context.config.path {
        Some(path) => Config::read(path, &set),
        None => Config::default_with(&set),
    }
}

/// What a training came to: the `best` of its run, or why there is none.
type Ended = std::result::Result<Value, String>;

/// Trains one configuration, or reads what it came to before.
fn one(
    context: &Context,
    args: &SweepArgs,
    kind: RankerKind,
    trial: &Trial,
    folder: &Path,
) -> Result<Ended> {
    let out = folder.join("trials").join(trial.name());
    let failed = folder
        .join("trials")
        .join(format!("{}.failed.json", trial.name()));
    if failed.exists() {
        let told = manifest::read_json(&failed)?;
        return Ok(Err(told["reason"].as_str().unwrap_or_default().to_owned()));
    }
    let own = Context {
        console: context.console,
        config: trial.config.clone(),
        seed: slate_types::Seed(trial.seed),
        threads: context.threads,
        force: false,
        set: context.set.clone(),
        command: trial.command(context, args, kind),
    };
    let train_args = TrainArgs {
        data: args.data.clone(),
        out,
        ranker: Some(kind),
        resume: true,
        checkpoint_steps: None,
        keep: None,
        device: args.device.clone(),
        replicas: None,
    };
    match train::run(&own, &train_args) {
        Ok(outcome) => Ok(Ok(outcome.json["run"]["best"].clone())),
        // Too large a step is a finding; anything else would fail for all.
        Err(error) if matches!(error.downcast_ref(), Some(ModelError::Diverged { .. })) => {
            let reason = format!("{error}");
            let told = json!({ "format": manifest::FORMAT, "kind": "failed", "reason": reason });
            write_file(&failed, format!("{told}\n").as_bytes(), true)?;
            Ok(Err(reason))
        }
        Err(error) => Err(error),
    }
}

/// A point with what its trainings came to.
struct Ranked {
    /// Place in the list of points.
    point: usize,
    set: Point,
    metric: Option<String>,
    /// Mean over the seeds; none where one of them failed.
    mean: Option<f64>,
    /// Smallest and largest of the seeds.
    ends: Option<(f64, f64)>,
    trials: Vec<Value>,
}

/// Points by their mean metric, best first, failed ones last.
fn rank(points: &[Point], trials: &[Trial], results: &[Ended]) -> Vec<Ranked> {
    let of_point = |point: usize| {
        let own = trials
            .iter()
            .zip(results)
            .filter(move |(trial, _)| trial.point == point);
        let trials: Vec<Value> = own
            .clone()
            .map(|(trial, result)| match result {
                Ok(best) => json!({
                    "run": format!("trials/{}", trial.name()), "seed": trial.seed, "best": best,
                }),
                Err(reason) => json!({ "seed": trial.seed, "failed": reason }),
            })
            .collect();
        let values = own.map(|(_, result)| result.as_ref().ok()?["value"].as_f64());
        let values: Option<Vec<f64>> = values.collect();
        let ends = values.as_ref().map(|values| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            (
                low,
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            )
        });
        Ranked {
            point,
            set: points[point].clone(),
            metric: trials[0]["best"]["metric"].as_str().map(str::to_owned),
            mean: values.map(|values| values.iter().sum::<f64>() / values.len() as f64),
            ends,
            trials,
        }
    };
    let mut ranked: Vec<Ranked> = (0..points.len()).map(of_point).collect();
    let key = |ranked: &Ranked| ranked.mean.unwrap_or(f64::NEG_INFINITY);
    ranked.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.point.cmp(&b.point)));
    ranked
}

fn metric(ranked: &[Ranked]) -> &str {
    let told = ranked.iter().find_map(|one| one.metric.as_deref());
    told.unwrap_or("metric")
}

fn document(
    context: &Context,
    kind: RankerKind,
    ranked: &[Ranked],
    seeds: &[u64],
    data: &Path,
) -> Result<Value> {
    let points: Vec<Value> = ranked
        .iter()
        .map(|one| {
            let set = one
                .set
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)));
            json!({
                "point": one.point + 1,
                "set": set.collect::<serde_json::Map<_, _>>(),
                "mean": one.mean,
                "low": one.ends.map(|ends| ends.0),
                "high": one.ends.map(|ends| ends.1),
                "trials": one.trials,
            })
        })
        .collect();
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "sweep",
        "command": context.command,
        "slate": env!("CARGO_PKG_VERSION"),
        "config": { "sweep": context.config.file.sweep },
        "ranker": kind.name(),
        "seeds": seeds,
        "data": { "manifest_sha256": manifest::sha256(&data.join("manifest.json"))? },
        "metric": metric(ranked),
        "points": points,
    }))
}

fn plain(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Epochs or trees that the trainings of a point stopped at, with commas between.
fn lengths(one: &Ranked) -> String {
    let length = |trial: &Value| {
        let best = &trial["best"];
        best["epoch"].as_u64().or(best["trees"].as_u64())
    };
    let told = one
        .trials
        .iter()
        .map(|trial| length(trial).map_or("–".to_owned(), |n| n.to_string()));
    told.collect::<Vec<_>>().join(", ")
}

fn table(points: &[Point], ranked: &[Ranked], seeds: usize) -> String {
    let metric = metric(ranked);
    let keys: Vec<&str> = points[0].iter().map(|(key, _)| key.as_str()).collect();
    let mut header = vec![("point", Align::Right)];
    header.extend(keys.iter().map(|&key| (key, Align::Right)));
    header.push((metric, Align::Right));
    if seeds > 1 {
        header.push(("of its seeds", Align::Left));
    }
    let trees = ranked
        .iter()
        .any(|one| one.trials[0]["best"]["trees"].is_u64());
    header.push((if trees { "trees" } else { "epoch" }, Align::Right));
    let mut table = Table::new(&header);
    for one in ranked.iter().take(SHOWN) {
        let mut cells = vec![(one.point + 1).to_string()];
        cells.extend(one.set.iter().map(|(_, value)| plain(value)));
        cells.push(
            one.mean
                .map_or("diverged".to_owned(), |mean| format!("{mean:.4}")),
        );
        if seeds > 1 {
            cells.push(one.ends.map_or(String::new(), |(low, high)| {
                format!("{low:.4} to {high:.4}")
            }));
        }
        cells.push(lengths(one));
        table.row(cells);
    }
    let mut text = table.render();
    if ranked.len() > SHOWN {
        text.push_str(&format!(
            "and {} more in points.csv\n",
            ranked.len() - SHOWN
        ));
    }
    text
}

/// What to do with the best point.
fn advice(ranked: &[Ranked], out: &Path) -> String {
    let best = &ranked[0];
    if best.mean.is_none() {
        return "\nevery training diverged: lower train.learning_rate\n".to_owned();
    }
    let run: PathBuf = out.join(best.trials[0]["run"].as_str().unwrap_or_default());
    let flags: Vec<String> = best
        .set
        .iter()
        .map(|(key, value)| format!("--set {key}={}", plain(value)))
        .collect();
    format!(
        "\nbest on the validation split, which chose it: {}\nits run: {}\n",
        flags.join(" "),
        run.display()
    )
}

/// The points as text for other programs, one line each, best first.
fn csv(points: &[Point], ranked: &[Ranked]) -> String {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let keys = points[0].iter().map(|(key, _)| quoted(key));
    let header: Vec<String> = std::iter::once("point".to_owned())
        .chain(keys)
        .chain(["mean", "low", "high"].map(str::to_owned))
        .collect();
    let mut text = format!("{}\n", header.join(","));
    for one in ranked {
        let mut cells = vec![(one.point + 1).to_string()];
        cells.extend(one.set.iter().map(|(_, value)| quoted(&plain(value))));
        cells.push(number(one.mean));
        cells.push(number(one.ends.map(|ends| ends.0)));
        cells.push(number(one.ends.map(|ends| ends.1)));
        text.push_str(&format!("{}\n", cells.join(",")));
    }
    text
}
