//! `slate demo`: the whole chain on a simulated marketplace, each step through the same functions
//! as its command.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use slate_eval::Metric;
use slate_features::Dataset;
use slate_logs::EngineOptions;
use slate_model::{DeviceSpec, NetworkKind, NetworkOptions, TrainOptions};
use slate_types::Split;

use super::score::write_scores;
use super::{Context, shell_line};
use crate::artefacts::scores::ScoreTable;
use crate::artefacts::{Staged, manifest, write_file};
use crate::cli::{DemoArgs, Label};
use crate::console::{Align, Outcome, Table};
use crate::pipeline::calibration::{self, Comparison};
use crate::pipeline::evaluation::{self, Given, Labels, Measure};
use crate::pipeline::featurise;
use crate::pipeline::scoring::{self, Baseline};
use crate::pipeline::training::{self, Setting};
use crate::pipeline::truth::{self, Truth};
use crate::report;

/// The configuration of the demo, also in `configs/demo.toml`.
pub(super) const CONFIG: &str = include_str!("../../../../configs/demo.toml");

/// Bins of the chart of calibrated against true probabilities.
const BINS: usize = 12;

pub(super) fn run(context: &Context, args: &DemoArgs) -> Result<Outcome> {
    let staged = Staged::folder(&args.out, context.force)?;
    let out = staged.path();
    simulate(context, &out.join("logs"))?;
    features(context, &out.join("logs"), &out.join("dataset"))?;
    train(context, &out.join("dataset"), out)?;

    let dataset = Dataset::open(&out.join("dataset"))?;
    let tables = score(context, &dataset, out)?;
    let measure = Measure::new(&context.config.file.evaluate, &[], "slate", context.seed)?;
    let orders = evaluate(context, &tables, &measure, out)?;
    let comparison = calibrate(context, &tables, &measure, out)?;
    let truth = Truth::read(&out.join("logs/truth.parquet"))?;
    let told = tell_truth(&truth, &tables, &comparison, &measure)?;
    manifest::write_json(&out.join("truth.json"), &told)?;

    context.console.say("report");
    let parts = report::collect(&[out.to_owned()])?;
    let html = report::page("Slate demo: a simulated marketplace", &parts, None);
    write_file(&out.join("report.html"), html.as_bytes(), false)?;
    staged.commit()?;

    let report = args.out.join("report.html");
    let json = json!({
        "orders": orders.iter().map(|(name, metrics)| ((*name).to_owned(), json!(metrics)))
            .collect::<serde_json::Map<_, _>>(),
        "calibration": comparison.methods.iter()
            .map(|judged| (judged.name.clone(), json!(judged.metrics)))
            .collect::<serde_json::Map<_, _>>(),
        "verdict": comparison.verdict,
        "truth": { "orders": told["orders"], "probabilities": told["probabilities"],
                   "mean_distance": mean_distances(&told) },
        "report": report,
    });
    let text = format!(
        "{}\n{}\n{}report: {}\n",
        orders_table(&orders, &told),
        probabilities_table(&comparison, &told)?,
        super::calibrate::verdict_text(&comparison),
        report.display()
    );
    Ok(Outcome::done(json, text))
}

/// The name of the trained order: the kind of its network.
fn model_name(context: &Context) -> &'static str {
    let train = context.config.file.train.as_ref();
    train
        .map_or(NetworkKind::Transformer, |train| train.network.kind)
        .name()
}

/// A step of the demo as its own command, with the configuration, seed and overrides in force.
fn command_of(context: &Context, words: &str) -> String {
    let config = match &context.config.path {
        Some(path) => path.display().to_string(),
        None => "configs/demo.toml".to_owned(),
    };
    let mut line: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    line.extend([
        "--config".to_owned(),
        config,
        "--seed".to_owned(),
        context.seed.0.to_string(),
    ]);
    for one in &context.set {
        line.extend(["--set".to_owned(), one.clone()]);
    }
    shell_line(line)
}

fn simulate(context: &Context, logs: &Path) -> Result<()> {
    let market = context
        .config
        .file
        .simulate
        .clone()
        .unwrap_or_default()
        .check()?;
    let staged = Staged::folder(logs, false)?;
    slate_sim::simulate(&market, context.seed, staged.path(), &context.console.bar())?;
    staged.commit()
}

fn features(context: &Context, logs: &Path, dataset: &Path) -> Result<()> {
    let config = &context.config;
    let staged = Staged::folder(dataset, false)?;
    let bar = context.console.bar();
    let job = featurise::Job {
        attribution: config.file.attribution.clone().unwrap_or_default(),
        features: config.need(config.file.features.as_ref(), "features")?,
        split: config.need(config.file.split.as_ref(), "split")?,
        feature_map: slate_features::MapSource::Fit,
        formats: &std::collections::BTreeSet::from([slate_features::Format::Npy]),
        engine: &EngineOptions {
            threads: context.threads,
            ..EngineOptions::default()
        },
        seed: context.seed,
        command: &command_of(context, "features --logs logs --out dataset"),
        progress: &bar,
    };
    let root = logs.to_string_lossy();
    let logs = featurise::Logs::new(Some(&root), None)?;
    featurise::features(job, &logs, staged.path())?;
    staged.commit()
}

/// Baselines that are trained, by the name of their order, with the folder of their run.
const TRAINED: [(&str, &str); 2] = [("linear", "run-linear"), ("trees", "run-trees")];

/// Folder of the run that all is about.
const RUN: &str = "run";

/// Purchase rate of the item in the last 30 days, the usual order without a model.
const HEURISTIC: &str = "item_purchase_rate_30d";

/// Trains into an empty folder.
type Train<'a> = dyn Fn(&Setting<'_>, &Path) -> Result<()> + 'a;

/// Trains the ranker, and the baselines it is measured against.
fn train(context: &Context, dataset: &Path, out: &Path) -> Result<()> {
    let config = &context.config;
    let options = config.need(config.file.train.as_ref(), "train")?;
    let bar = context.console.bar();
    let device = DeviceSpec::Auto.find()?.name;
    let linear = TrainOptions {
        network: NetworkOptions {
            kind: NetworkKind::Linear,
            ..NetworkOptions::default()
        },
        ..options.clone()
    };
    let trees = config.file.trees.clone().unwrap_or_default();
    let run = |name: &str, flags: &str, train: &Train<'_>| {
        let staged = Staged::folder(&out.join(name), false)?;
        let setting = Setting {
            data: dataset,
            device,
            replicas: None,
            seed: context.seed,
            update: None,
            command: &command_of(
                context,
                &format!("train --data dataset --out {name} {flags}"),
            ),
            progress: &bar,
            events: false,
            stop: None,
            keep: None,
        };
        train(&setting, staged.path())?;
        staged.commit()
    };
    run(RUN, "", &|setting, out| {
        training::train(options, setting, out).map(drop)
    })?;
    let [(_, linear_run), (_, trees_run)] = TRAINED;
    run(
        linear_run,
        "--set train.network={kind=\"linear\"}",
        &|setting, out| training::train(&linear, setting, out).map(drop),
    )?;
    run(trees_run, "--ranker trees", &|setting, out| {
        training::grow(&trees, setting, out).map(drop)
    })
}

/// Score tables of the demo.
struct Tables {
    /// Name of the trained order.
    model: &'static str,
    /// Its scores of the calibration split.
    calibrate: ScoreTable,
    /// Every order on the test split, in the order of the table.
    test: Vec<(&'static str, ScoreTable)>,
}

impl Tables {
    fn model(&self) -> Result<&ScoreTable> {
        let found = self.test.iter().find(|(name, _)| *name == self.model);
        Ok(&found.context("the demo scores its model")?.1)
    }
}

fn score(context: &Context, dataset: &Dataset, out: &Path) -> Result<Tables> {
    let folder = out.join("scores");
    let model = model_name(context);
    let bar = context.console.bar();
    let by_run = |run: &str, split| {
        scoring::by_runs(&[out.join(run)], dataset, split, DeviceSpec::Auto, &bar)
    };
    let calibrate = by_run(RUN, Split::Calibrate)?;
    write_scores(
        &calibrate,
        &folder.join(format!("{model}.calibrate.parquet")),
        false,
    )?;
    let by_baseline = |name: &str| -> Result<ScoreTable> {
        scoring::by_baseline(&Baseline::parse(name)?, dataset, Split::Test)
    };
    let mut test = vec![
        ("logged", by_baseline("logged")?),
        ("random", by_baseline("random")?),
    ];
    // Another configuration may have no such input.
    if dataset
        .manifest()
        .dense
        .iter()
        .any(|name| name == HEURISTIC)
    {
        test.push(("popular", by_baseline(&format!("feature:{HEURISTIC}"))?));
    }
    for (name, run) in TRAINED.into_iter().filter(|(name, _)| *name != model) {
        test.push((name, by_run(run, Split::Test)?));
    }
    test.push((model, by_run(RUN, Split::Test)?));
    let oracle = Baseline::Oracle(out.join("logs/truth.parquet"));
    test.push((
        "oracle",
        scoring::by_baseline(&oracle, dataset, Split::Test)?,
    ));
    for (name, table) in &test {
        write_scores(table, &folder.join(format!("{name}.test.parquet")), false)?;
    }
    Ok(Tables {
        model,
        calibrate,
        test,
    })
}

type Orders = Vec<(&'static str, Vec<Metric>)>;

fn evaluate(context: &Context, tables: &Tables, measure: &Measure, out: &Path) -> Result<Orders> {
    let (measure, _) = measure.without_probabilities();
    let folder = out.join("evaluations");
    std::fs::create_dir(&folder).context("cannot create the folder of evaluations")?;
    let mut orders = Vec::new();
    for (at, (name, table)) in tables.test.iter().enumerate() {
        let labels = Labels::of(table, Some(Label::Purchase))?;
        let metrics = evaluation::evaluate(Given::of(table), &labels, &measure)?;
        let mut against = Vec::new();
        if *name == tables.model {
            for (other, scores) in &tables.test {
                if *other != tables.model {
                    let differences = evaluation::compare(
                        Given::of(table),
                        Given::of(scores),
                        &labels,
                        &measure,
                    )?;
                    against.push(((*other).to_owned(), differences));
                }
            }
        }
        let metric_names: Vec<&str> = metrics.iter().map(|m| m.name.as_str()).collect();
        let words = format!(
            "evaluate --scores scores/{name}.test.parquet --label purchase -m {}",
            metric_names.join(",")
        );
        let command = command_of(context, &words);
        let document =
            evaluation::document(name, table, &labels, &metrics, &against, &measure, &command);
        // Numbered, so that a report lists the orders as the table does.
        manifest::write_json(&folder.join(format!("{}-{name}.json", at + 1)), &document)?;
        orders.push((*name, metrics));
    }
    Ok(orders)
}

fn calibrate(
    context: &Context,
    tables: &Tables,
    measure: &Measure,
    out: &Path,
) -> Result<Comparison> {
    let section = &context.config.file.calibrate;
    let methods = calibration::methods(&section.methods)?;
    let staged = Staged::folder(&out.join("calibrators"), false)?;
    let job = calibration::Job {
        fit: &tables.calibrate,
        test: Some(tables.model()?),
        methods: &methods,
        label: Some(Label::Purchase),
        fitting: &calibration::Fitting::default(),
        skip: false,
        weighing: calibration::Weighing::default(),
        test_weighing: calibration::Weighing::default(),
        top: section.top,
        measure,
        seed: context.seed,
        in_sample: false,
        command: &command_of(
            context,
            &format!(
                "calibrate --scores scores/{model}.calibrate.parquet \
                 --test scores/{model}.test.parquet --label purchase --out calibrators",
                model = tables.model
            ),
        ),
        progress: &context.console.bar(),
    };
    let comparison = calibration::calibrate(&job, staged.path())?;
    staged.commit()?;
    Ok(comparison)
}

/// What the simulator knows: what each order would earn, and how far each calibrator is from the
/// true probabilities.
fn tell_truth(
    truth: &Truth,
    tables: &Tables,
    comparison: &Comparison,
    measure: &Measure,
) -> Result<Value> {
    let model = tables.model()?;
    let rows = truth.rows_of(model)?;
    let probability: Vec<f64> = rows.iter().map(|&row| truth.purchase[row]).collect();
    let mut orders = serde_json::Map::new();
    for (name, table) in &tables.test {
        let rows = truth.rows_of(table)?;
        orders.insert(
            (*name).to_owned(),
            json!({ "ptr@3": truth::true_ptr(truth, &rows, table, 3) }),
        );
    }
    let labels = Labels::of(model, Some(Label::Purchase))?;
    let names: Vec<&str> = comparison.methods[0]
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    let known = evaluation::evaluate(
        Given::of(model).promising(&probability),
        &labels,
        &measure.with(&names)?,
    )?;
    let mut calibration = serde_json::Map::new();
    for judged in &comparison.methods {
        let distance = judged
            .probabilities
            .iter()
            .zip(&probability)
            .map(|(p, q)| (p - q).abs());
        calibration.insert(
            judged.name.clone(),
            json!({
                "mean_distance": distance.sum::<f64>() / probability.len() as f64,
                "bins": bins(&judged.probabilities, &probability),
            }),
        );
    }
    Ok(json!({
        "format": manifest::FORMAT,
        "kind": "truth",
        "orders": orders,
        "probabilities": { "metrics": known },
        "calibration": calibration,
    }))
}

/// Mean calibrated and mean true probability in bins of about equal size; equal probabilities
/// share a bin.
fn bins(calibrated: &[f64], truth: &[f64]) -> Vec<Value> {
    let mut order: Vec<usize> = (0..calibrated.len()).collect();
    order.sort_by(|&a, &b| calibrated[a].total_cmp(&calibrated[b]).then(a.cmp(&b)));
    let size = calibrated.len().div_ceil(BINS).max(1);
    let mut bins = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let mut end = (start + size).min(order.len());
        while end < order.len() && calibrated[order[end]] == calibrated[order[end - 1]] {
            end += 1;
        }
        let mean = |values: &[f64]| {
            order[start..end]
                .iter()
                .map(|&row| values[row])
                .sum::<f64>()
                / (end - start) as f64
        };
        bins.push(json!({
            "probability": mean(calibrated), "truth": mean(truth), "rows": end - start,
        }));
        start = end;
    }
    bins
}

fn mean_distances(told: &Value) -> Value {
    let methods = told["calibration"].as_object().into_iter().flatten();
    methods
        .map(|(name, method)| (name.clone(), method["mean_distance"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn orders_table(orders: &Orders, told: &Value) -> String {
    let names: Vec<&str> = orders[0]
        .1
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    let mut header = vec![("order of the page", Align::Left)];
    header.extend(names.iter().map(|&name| (name, Align::Right)));
    header.push(("true ptr@3", Align::Right));
    let mut table = Table::new(&header);
    for (name, metrics) in orders {
        let mut cells = vec![(*name).to_owned()];
        cells.extend(metrics.iter().map(evaluation::with_interval));
        cells.push(
            told["orders"][*name]["ptr@3"]
                .as_f64()
                .map_or(String::new(), |v| format!("{v:.5}")),
        );
        table.row(cells);
    }
    table.render()
}

fn probabilities_table(comparison: &Comparison, told: &Value) -> Result<String> {
    let mut table = Table::new(&[
        ("purchase probability", Align::Left),
        ("log loss", Align::Right),
        ("PCOC", Align::Right),
        ("distance from the truth", Align::Right),
    ]);
    let pick = |metrics: &[Metric], name: &str| {
        metrics
            .iter()
            .find(|m| m.name == name)
            .map(evaluation::with_interval)
            .unwrap_or_default()
    };
    for judged in &comparison.methods {
        let distance = told["calibration"][&judged.name]["mean_distance"].as_f64();
        table.row([
            judged.name.clone(),
            pick(&judged.metrics, "logloss"),
            pick(&judged.metrics, "pcoc"),
            distance.map_or(String::new(), |d| format!("{d:.5}")),
        ]);
    }
    let known: Vec<Value> = serde_json::from_value(told["probabilities"]["metrics"].clone())?;
    let cell = |name: &str| {
        let found = known.iter().find(|metric| metric["name"] == name);
        found.map_or(String::new(), |m| {
            let v = |key: &str| m[key].as_f64().unwrap_or(f64::NAN);
            let d = evaluation::decimals(v("value"));
            format!("{:.d$} [{:.d$}, {:.d$}]", v("value"), v("low"), v("high"))
        })
    };
    table.row([
        "the truth itself".to_owned(),
        cell("logloss"),
        cell("pcoc"),
        "0".to_owned(),
    ]);
    Ok(table.render())
}
