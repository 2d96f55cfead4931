//! `slate validate`: every problem of the files named, each with its place.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use slate_features::FeatureSpec;
use slate_model::TrainOptions;

use super::Context;
use crate::artefacts::manifest;
use crate::artefacts::scores::ScoreTable;
use crate::cli::ValidateArgs;
use crate::config::Config;
use crate::console::{ExitStatus, Outcome, Refusal};
use crate::pipeline::catalogue;
use crate::pipeline::policy::Policy;

/// What one path turned out to be and what is wrong with it.
struct Verdict {
    what: &'static str,
    problems: Vec<String>,
}

pub(super) fn run(_context: &Context, args: &ValidateArgs) -> Result<Outcome> {
    let mut text = String::new();
    let mut found = Vec::new();
    let mut problems = 0;
    let mut paths = Vec::new();
    for path in &args.paths {
        if !path.exists() {
            return Err(Refusal::new(format!("`{}` does not exist", path.display())).into());
        }
        paths.extend(artefacts(path)?);
    }
    for path in &paths {
        let verdict = judge(path);
        problems += verdict.problems.len();
        if verdict.problems.is_empty() {
            text.push_str(&format!("{}: {}, sound\n", path.display(), verdict.what));
        }
        for problem in &verdict.problems {
            text.push_str(&format!(
                "{}: {}: {problem}\n",
                path.display(),
                verdict.what
            ));
        }
        found.push(json!({
            "path": path, "what": verdict.what, "sound": verdict.problems.is_empty(),
            "problems": verdict.problems,
        }));
    }
    let mut outcome = Outcome::done(json!({ "paths": found, "problems": problems }), text);
    if problems > 0 {
        outcome.status = ExitStatus::BadInput;
    }
    Ok(outcome)
}

/// The artefacts under a path: itself, or what a folder of a whole chain holds.
fn artefacts(path: &Path) -> Result<Vec<PathBuf>> {
    let own = ["manifest.json", "comparison.json"]
        .iter()
        .any(|name| path.join(name).exists());
    let is_log = ["page_impression", "slot_impression"]
        .iter()
        .any(|table| path.join(table).exists() || path.join(format!("{table}.parquet")).exists());
    if !path.is_dir() || own || is_log {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let child = entry?.path();
        if child.is_dir()
            && ["manifest.json", "comparison.json"]
                .iter()
                .any(|n| child.join(n).exists())
        {
            found.push(child);
        }
    }
    found.sort();
    Ok(if found.is_empty() {
        vec![path.to_owned()]
    } else {
        found
    })
}

fn judge(path: &Path) -> Verdict {
    let (what, result): (&'static str, Result<Vec<String>>) = if path.is_dir() {
        folder(path)
    } else {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "toml" if is_policy(path) => ("policy", Policy::read(path).map(|_| Vec::new())),
            "toml" => ("configuration", configuration(path)),
            "json" => json_file(path),
            _ => ("score file", ScoreTable::read(path).map(|_| Vec::new())),
        }
    };
    let problems = result.unwrap_or_else(|error| vec![chain(&error)]);
    Verdict { what, problems }
}

/// Whether a TOML file says what ranks, which no configuration does.
fn is_policy(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| {
        let mut lines = text.lines();
        lines.any(|line| line.trim_start().starts_with("ranker"))
    })
}

/// The causes of an error without the sentence about which file it is, joined by colons.
fn chain(error: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if told.last().is_none_or(|last| !last.ends_with(&text)) {
            told.push(text);
        }
    }
    let mut text = told.join(": ");
    if let Some(hint) = crate::console::hint_of(error) {
        text.push_str(&format!(" ({hint})"));
    }
    text
}

/// Reads the configuration and lets every section check its ranges.
fn configuration(path: &Path) -> Result<Vec<String>> {
    let config = Config::read(path, &[])?;
    let file = config.file.clone();
    let mut problems = Vec::new();
    let mut note = |section: &str, result: Result<()>| {
        if let Err(error) = result {
            problems.push(format!("[{section}]: {}", chain(&error)));
        }
    };
    if let Some(section) = file.simulate {
        note("simulate", section.check().map(|_| ()).map_err(Into::into));
    }
    if let Some(section) = file.attribution {
        note(
            "attribution",
            section.check().map(|_| ()).map_err(Into::into),
        );
    }
    if let Some(section) = &file.features {
        note("features", section.check().map_err(Into::into));
    }
    if let (Some(features), Some(train)) = (&file.features, &file.train) {
        note("train", towers_have_inputs(features, train));
    }
    if let Some(section) = file.split {
        note("split", section.check().map_err(Into::into));
    }
    if let Some(section) = file.train {
        note("train", section.check().map(|_| ()).map_err(Into::into));
    }
    if let Some(section) = file.trees {
        note("trees", section.check().map(|_| ()).map_err(Into::into));
    }
    note("sweep", super::sweep::check(&config));
    for name in &file.calibrate.methods {
        note(
            "calibrate",
            crate::pipeline::calibration::method(name).map(|_| ()),
        );
    }
    let measure =
        crate::pipeline::evaluation::Measure::new(&file.evaluate, &[], "slate", file.seed);
    note("evaluate", measure.map(|_| ()));
    Ok(problems)
}

/// Refuses towers that read what no feature is called.
fn towers_have_inputs(features: &FeatureSpec, train: &TrainOptions) -> Result<()> {
    // What is wrong with them by themselves is told by themselves.
    let (Some(towers), Ok(known)) = (&train.network.towers, features.feature_names()) else {
        return Ok(());
    };
    let is_known = |name: &str| {
        let starts = |known: &String| {
            let rest = name.strip_prefix(known.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        known.iter().any(starts)
    };
    for (side, names) in [
        ("seed", Some(&towers.seed)),
        ("candidate", Some(&towers.candidate)),
        ("context", towers.context.as_ref()),
    ] {
        if let Some(name) = names.into_iter().flatten().find(|name| !is_known(name)) {
            let told = format!(
                "`train.network.towers.{side}` has `{name}`, expected features: {}",
                known.join(", ")
            );
            return Err(Refusal::new(told).into());
        }
    }
    let vectors = features.history.iter().flat_map(|own| &own.vectors);
    let means: Vec<String> = vectors.map(|of| format!("history_{of}")).collect();
    let is_mean = |name: &&String| !means.contains(name);
    if let Some(name) = towers.visitor.iter().find(is_mean) {
        let told = format!(
            "`train.network.towers.visitor` has `{name}`, expected what `features.history.vectors` makes: {}",
            if means.is_empty() {
                "nothing".to_owned()
            } else {
                means.join(", ")
            }
        );
        return Err(Refusal::new(told).into());
    }
    Ok(())
}

fn json_file(path: &Path) -> (&'static str, Result<Vec<String>>) {
    let value = match manifest::read_json(path) {
        Ok(value) => value,
        Err(error) => return ("JSON file", Err(error)),
    };
    if value.get("kind").and_then(Value::as_str) == Some("calibrator") {
        let read = std::fs::read_to_string(path)
            .map_err(Into::into)
            .and_then(|text| Ok(slate_calibrate::CalibratorFile::from_json(&text)?));
        return ("calibrator", read.map(|_| Vec::new()));
    }
    ("JSON file", manifest::kind(&value).map(|_| Vec::new()))
}

fn folder(path: &Path) -> (&'static str, Result<Vec<String>>) {
    let kind = manifest::read_json(&path.join("manifest.json"))
        .and_then(|value| manifest::kind(&value))
        .unwrap_or_default();
    match kind.as_str() {
        "dataset" => ("dataset", dataset(path)),
        "run" => ("run", run_folder(path)),
        "sweep" => ("sweep", sweep(path)),
        // Their one file has been read.
        "backtest" => ("backtest", Ok(Vec::new())),
        "recipes" => ("recipes", Ok(Vec::new())),
        catalogue::KIND => (catalogue::KIND, super::similar::validate(path)),
        _ if path.join("comparison.json").exists() => ("calibrators", calibrators(path)),
        // A log needs no manifest: any folder with the tables is one.
        _ => ("log", log(path)),
    }
}

fn log(path: &Path) -> Result<Vec<String>> {
    let report = slate_logs::validate(path)?;
    let told = |problem: &slate_logs::Problem| {
        let mut place = problem.file.display().to_string();
        if let Some(column) = &problem.column {
            place.push_str(&format!(", column `{column}`"));
        }
        if let Some(row) = problem.row {
            place.push_str(&format!(", row {row}"));
        }
        format!("{place}: {}", problem.message)
    };
    Ok(report.problems.iter().map(told).collect())
}

fn dataset(path: &Path) -> Result<Vec<String>> {
    let dataset = slate_features::Dataset::open(path)?;
    dataset.verify()?;
    Ok(Vec::new())
}

fn run_folder(path: &Path) -> Result<Vec<String>> {
    let value = manifest::read_json(&path.join("manifest.json"))?;
    let mut problems = Vec::new();
    for (name, entry) in value["files"].as_object().into_iter().flatten() {
        let told = entry["sha256"].as_str().unwrap_or_default();
        match manifest::sha256(&path.join(name)) {
            Ok(hash) if hash == told => {}
            Ok(hash) => problems.push(format!(
                "`{name}` has sha256 {hash}, the manifest says {told}"
            )),
            Err(error) => problems.push(chain(&error)),
        }
    }
    crate::pipeline::scoring::load(path, slate_model::DeviceSpec::Cpu)?;
    Ok(problems)
}

fn sweep(path: &Path) -> Result<Vec<String>> {
    let value = manifest::read_json(&path.join("manifest.json"))?;
    let mut problems = Vec::new();
    if !value["points"].is_array() {
        problems.push("`points` in manifest.json is no list".to_owned());
    }
    let trials = value["points"].as_array().into_iter().flatten();
    for trial in trials.flat_map(|point| point["trials"].as_array().into_iter().flatten()) {
        if let Some(run) = trial["run"].as_str() {
            let found = run_folder(&path.join(run)).unwrap_or_else(|error| vec![chain(&error)]);
            problems.extend(found.iter().map(|problem| format!("`{run}`: {problem}")));
        }
    }
    Ok(problems)
}

fn calibrators(path: &Path) -> Result<Vec<String>> {
    let value = manifest::read_json(&path.join("comparison.json"))?;
    manifest::kind(&value)?;
    let mut problems = Vec::new();
    for entry in value["methods"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, entry)| entry)
    {
        if let Some(file) = entry["file"].as_str() {
            let verdict = judge(&path.join(file));
            problems.extend(
                verdict
                    .problems
                    .iter()
                    .map(|problem| format!("`{file}`: {problem}")),
            );
        }
    }
    Ok(problems)
}
