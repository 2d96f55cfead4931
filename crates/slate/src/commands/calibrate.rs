//! `slate calibrate`: scores to probabilities.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_calibrate::{CalibratorFile, Method};
use slate_types::Scores;

use super::Context;
use super::score::write_scores;
use crate::artefacts::Staged;
use crate::artefacts::scores::ScoreTable;
use crate::cli::CalibrateArgs;
use crate::console::{Align, Outcome, Table};
use crate::pipeline::calibration::{self, Comparison};
use crate::pipeline::evaluation::{self, Measure};

pub(super) fn run(context: &Context, args: &CalibrateArgs) -> Result<Outcome> {
    if let Some(calibrator) = &args.apply {
        return apply(context, args, calibrator);
    }
    let section = &context.config.file;
    let names = if args.methods.is_empty() {
        &section.calibrate.methods
    } else {
        &args.methods
    };
    let methods: Vec<Method> = names
        .iter()
        .map(|name| calibration::method(name))
        .collect::<Result<_>>()?;
    calibration::distinct(&methods)?;
    let measure = Measure::new(&section.evaluate, &[], "slate", context.seed)?;
    let fit = ScoreTable::read(&args.scores)?;
    let in_sample = calibration::refuse_in_sample(&fit, args.allow_in_sample)?;
    if in_sample {
        context
            .console
            .warn("fitting on scores the ranker was trained or chosen on; the files say so");
    }
    let test = args.test.as_deref().map(ScoreTable::read).transpose()?;
    let shared = match &test {
        Some(test) => calibration::refuse_overlap(&fit, test, args.allow_in_sample)?,
        None => false,
    };
    let in_sample = in_sample || shared;
    let staged = Staged::folder(&args.out, context.force)?;
    let job = calibration::Job {
        fit: &fit,
        test: test.as_ref(),
        methods: &methods,
        label: args.label,
        measure: &measure,
        seed: context.seed,
        in_sample,
        command: &context.command,
    };
    let comparison = calibration::calibrate(&job, staged.path())?;
    staged.commit()?;
    let text = format!(
        "{}\n{}\ncalibrators are in {}\n",
        comparison_table(&comparison),
        comparison.verdict,
        args.out.display()
    );
    Ok(Outcome::done(comparison.json, text))
}

/// The comparison for people, one line per calibrator.
pub(super) fn comparison_table(comparison: &Comparison) -> String {
    let names: Vec<&str> = comparison.methods[0]
        .metrics
        .iter()
        .map(|m| m.name.as_str())
        .collect();
    let mut header = vec![("calibrator", Align::Left)];
    header.extend(names.iter().map(|&name| (name, Align::Right)));
    header.push(("log loss against raw", Align::Right));
    let mut table = Table::new(&header);
    for judged in &comparison.methods {
        let mut cells = vec![judged.name.clone()];
        cells.extend(judged.metrics.iter().map(evaluation::with_interval));
        if let Some(d) = &judged.against_raw {
            cells.push(format!(
                "{:+.4} [{:+.4}, {:+.4}]",
                d.difference, d.low, d.high
            ));
        }
        table.row(cells);
    }
    table.render()
}

fn apply(context: &Context, args: &CalibrateArgs, path: &Path) -> Result<Outcome> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the calibrator `{}`", path.display()))?;
    let file = CalibratorFile::from_json(&text)
        .with_context(|| format!("cannot use the calibrator `{}`", path.display()))?;
    let mut table = ScoreTable::read(&args.scores)?;
    let probabilities = file.calibrator.apply_all(&Scores(table.score.clone()))?;
    table.set("probability", probabilities.into_inner());
    write_scores(&table, &args.out, context.force)?;
    let name = file.calibrator.name();
    let json = json!({ "out": args.out, "method": name, "rows": table.rows() });
    let text = format!(
        "{} rows with `probability` by {name} are in {}\n",
        table.rows(),
        args.out.display()
    );
    Ok(Outcome::done(json, text))
}
