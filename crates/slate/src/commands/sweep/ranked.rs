//! Points of a sweep by what their trainings came to: for a person, for files.

use std::path::Path;

use serde_json::{Value, json};

use super::super::shell_line;
use super::trial::{Ended, Trial};
use crate::config::Point;
use crate::console::{Align, Table};

/// Points and failures shown on the terminal; the files have all.
const SHOWN: usize = 20;

/// A point with what its trainings came to.
pub(super) struct Ranked {
    /// Place in the list of points.
    point: usize,
    set: Point,
    metric: Option<String>,
    /// Mean over the seeds; none where a training failed.
    mean: Option<f64>,
    /// Smallest and largest of the seeds.
    ends: Option<(f64, f64)>,
    failed: usize,
    trials: Vec<Value>,
}

impl Ranked {
    /// As in the manifest.
    pub(super) fn told(&self) -> Value {
        let set = self
            .set
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)));
        json!({
            "point": self.point + 1,
            "set": set.collect::<serde_json::Map<_, _>>(),
            "mean": self.mean,
            "low": self.ends.map(|ends| ends.0),
            "high": self.ends.map(|ends| ends.1),
            "failed": self.failed,
            "trials": self.trials,
        })
    }

    /// Its mean, or how many trainings failed.
    fn value(&self) -> String {
        match self.mean {
            Some(mean) => format!("{mean:.4}"),
            None if self.trials.len() == 1 => "failed".to_owned(),
            None => format!("{} of {} failed", self.failed, self.trials.len()),
        }
    }

    /// Epochs or trees that its trainings stopped at.
    fn lengths(&self) -> String {
        let length = |trial: &Value| {
            let best = &trial["best"];
            let length = best["epoch"].as_u64().or(best["trees"].as_u64());
            length.map_or("–".to_owned(), |length| length.to_string())
        };
        let lengths: Vec<String> = self.trials.iter().map(length).collect();
        lengths.join(", ")
    }
}

/// Points by their mean metric, best first, those with failures last.
pub(super) fn rank(points: &[Point], trials: &[Trial], ended: &[Ended]) -> Vec<Ranked> {
    let of_point = |point: usize| {
        let own = trials.iter().zip(ended);
        let own = own.filter(move |(trial, _)| trial.point == point);
        let trials: Vec<Value> = own
            .map(|(trial, ended)| match ended {
                Ended::Run { best, diverged } => json!({
                    "run": format!("trials/{}", trial.name()), "seed": trial.seed, "best": best,
                    "diverged": diverged,
                }),
                Ended::Failed(reason) => json!({ "seed": trial.seed, "failed": reason }),
            })
            .collect();
        let values: Vec<f64> = trials
            .iter()
            .filter_map(|trial| trial["best"]["value"].as_f64())
            .collect();
        let failed = trials.len() - values.len();
        let whole = failed == 0;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let metrics = trials
            .iter()
            .find_map(|trial| trial["best"]["metric"].as_str());
        Ranked {
            point,
            set: points[point].clone(),
            metric: metrics.map(str::to_owned),
            mean: whole.then(|| values.iter().sum::<f64>() / values.len() as f64),
            ends: whole.then_some((low, high)),
            failed,
            trials,
        }
    };
    let mut ranked: Vec<Ranked> = (0..points.len()).map(of_point).collect();
    let key = |ranked: &Ranked| ranked.mean.unwrap_or(f64::NEG_INFINITY);
    ranked.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.point.cmp(&b.point)));
    ranked
}

pub(super) fn metric(ranked: &[Ranked]) -> &str {
    let told = ranked.iter().find_map(|one| one.metric.as_deref());
    told.unwrap_or("metric")
}

/// A value as a person types it.
pub(super) fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        // Without a page of zeros.
        toml::Value::Float(number) if number.abs() >= 1e15 || number.abs() < 1e-4 => {
            format!("{number:e}")
        }
        other => other.to_string(),
    }
}

pub(super) fn table(points: &[Point], ranked: &[Ranked], seeds: usize) -> String {
    let metric = metric(ranked);
    let keys: Vec<&str> = points[0].iter().map(|(key, _)| key.as_str()).collect();
    let mut header = vec![("point", Align::Right)];
    header.extend(keys.iter().map(|&key| (key, Align::Right)));
    header.push((metric, Align::Right));
    if seeds > 1 {
        header.push(("of its seeds", Align::Left));
    }
    let mut trials = ranked.iter().flat_map(|one| &one.trials);
    let trees = trials.any(|trial| trial["best"]["trees"].is_u64());
    header.push((if trees { "trees" } else { "epoch" }, Align::Right));
    let mut table = Table::new(&header);
    for one in ranked.iter().take(SHOWN) {
        let mut cells = vec![(one.point + 1).to_string()];
        cells.extend(one.set.iter().map(|(_, value)| plain(value)));
        cells.push(one.value());
        if seeds > 1 {
            let ends = one.ends.map(|(low, high)| format!("{low:.4} to {high:.4}"));
            cells.push(ends.unwrap_or_default());
        }
        cells.push(one.lengths());
        table.row(cells);
    }
    let mut text = table.render();
    if ranked.len() > SHOWN {
        text.push_str(&format!(
            "and {} more in points.csv\n",
            ranked.len() - SHOWN
        ));
    }
    let failures = ranked.iter().flat_map(|one| {
        let failed = one
            .trials
            .iter()
            .filter(|trial| trial["failed"].is_string());
        failed.map(|trial| {
            let reason = trial["failed"].as_str().unwrap_or_default();
            format!(
                "point {}, seed {}: {reason}\n",
                one.point + 1,
                trial["seed"]
            )
        })
    });
    text.extend(failures.take(SHOWN));
    text
}

/// What to do with the best point.
pub(super) fn advice(ranked: &[Ranked], out: &Path) -> String {
    let best = &ranked[0];
    if best.mean.is_none() {
        return "\nno point was trained without a failure\n".to_owned();
    }
    let run = out.join(best.trials[0]["run"].as_str().unwrap_or_default());
    let words = best
        .set
        .iter()
        .flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={}", plain(value))]);
    let flags = shell_line(words);
    format!(
        "\nbest on the validation split, which chose it: {}\nits run: {}\n",
        flags.trim_start_matches("slate "),
        run.display()
    )
}

/// The points as text for other programs, one line each, best first.
pub(super) fn csv(points: &[Point], ranked: &[Ranked]) -> String {
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
