//! `slate calibrate`: scores to probabilities.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_calibrate::{CalibratorFile, Reads, SegmentOptions};

use super::Context;
use super::score::write_scores;
use crate::artefacts::Staged;
use crate::artefacts::scores::ScoreTable;
use crate::cli::{CalibrateArgs, ScoresAre};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::calibration::{self, Comparison, Fitting, Weighing};
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
    let methods = calibration::methods(names)?;
    let mut measure = Measure::new(&section.evaluate, &[], "slate", context.seed)?;
    measure.cluster = args.cluster;
    let fitting = fitting(context, args)?;
    calibration::check_segments(&fitting.by)?;
    let weighing = weighing(args)?;
    let fit = ScoreTable::read(&args.scores)?;
    let in_sample = calibration::refuse_in_sample(&fit, args.allow_in_sample)?;
    if in_sample {
        context
            .console
            .warn("fitting on scores the ranker was trained or chosen on; the files say so");
    }
    warn_of_scale(context, &fit, fitting.reads);
    let test = args.test.as_deref().map(ScoreTable::read).transpose()?;
    let seen = match &test {
        Some(test) => calibration::refuse_in_sample(test, args.allow_in_sample)?,
        None => false,
    };
    let shared = match &test {
        Some(test) => calibration::refuse_overlap(&fit, test, args.allow_in_sample)?,
        None => false,
    };
    let in_sample = in_sample || seen || shared;
    let staged = Staged::folder(&args.out, context.force)?;
    let job = calibration::Job {
        fit: &fit,
        test: test.as_ref(),
        methods: &methods,
        skip: names.iter().any(|name| name.trim() == "all"),
        label: args.label,
        fitting: &fitting,
        weighing,
        test_weighing: Weighing {
            negatives_kept: args.test_negatives_kept,
            ..weighing
        },
        top: section.calibrate.top,
        measure: &measure,
        seed: context.seed,
        in_sample,
        command: &context.command,
        progress: &context.console.bar(),
    };
    let comparison = calibration::calibrate(&job, staged.path())?;
    staged.commit()?;
    let text = format!(
        "{}calibrators are in {}\n",
        comparison_text(&comparison),
        args.out.display()
    );
    Ok(Outcome::done(comparison.json, text))
}

fn fitting(context: &Context, args: &CalibrateArgs) -> Result<Fitting> {
    let section = &context.config.file.calibrate;
    for (key, value) in [("own", section.own), ("prior", section.prior)] {
        if !(value >= 0.0 && value.is_finite()) {
            let told = format!("calibrate.{key} is {value}, expected a number from 0 up");
            return Err(Refusal::new(told).into());
        }
    }
    if section.top == 0 {
        return Err(Refusal::new("calibrate.top is 0, expected at least 1").into());
    }
    Ok(Fitting {
        reads: match args.scores_are {
            ScoresAre::LogOdds => Reads::LogOdds,
            ScoresAre::Probability => Reads::Probability,
        },
        by: args.by.iter().map(|name| name.trim().to_owned()).collect(),
        segments: SegmentOptions {
            own: section.own,
            prior: section.prior,
        },
    })
}

fn weighing(args: &CalibrateArgs) -> Result<Weighing> {
    for (flag, share) in [
        ("--negatives-kept", args.negatives_kept),
        ("--test-negatives-kept", args.test_negatives_kept),
    ] {
        if let Some(share) = share
            && !(share > 0.0 && share <= 1.0)
        {
            let told = format!("{flag} is {share}, expected a number above 0 and up to 1");
            return Err(Refusal::new(told).into());
        }
    }
    if !(0.0..=1.0).contains(&args.propensity_floor) {
        let floor = args.propensity_floor;
        let told = format!("--propensity-floor is {floor}, expected a number from 0 to 1");
        return Err(Refusal::new(told).into());
    }
    Ok(Weighing {
        column: args.weighted,
        inverse_propensity: args.inverse_propensity.then_some(args.propensity_floor),
        negatives_kept: args.negatives_kept,
    })
}

/// Says so where scores look like something else than they are taken for.
fn warn_of_scale(context: &Context, table: &ScoreTable, reads: Reads) {
    let between = table.score.iter().all(|score| (0.0..=1.0).contains(score));
    let differ = table.score.iter().any(|score| *score != table.score[0]);
    if reads == Reads::LogOdds && between && differ {
        context.console.warn(
            "all scores lie between 0 and 1; if they are probabilities pass \
             `--scores-are probability`",
        );
    }
    if !differ {
        context
            .console
            .warn("all scores are equal, so every map gives every row the same probability");
    }
    if table.scorer.contains('+') {
        context.console.warn(
            "these are scores of an ensemble, standardised list by list: they order lists and say \
             nothing of one list beside another",
        );
    }
}

/// The comparison for people.
pub(super) fn comparison_text(comparison: &Comparison) -> String {
    let mut text = calibration_table(comparison);
    if let Some(formula) = comparison.formula {
        text.push_str(&format!("\n{}", blended_table(comparison, formula)));
    }
    for why in &comparison.left_out {
        text.push_str(&format!("\nleft out: {why}"));
    }
    text.push_str(&format!("\n{}", conventions(comparison)));
    text.push_str(&format!("\n{}", verdict_text(comparison)));
    text
}

/// What each number of the tables is by convention, a line for each metric.
fn conventions(comparison: &Comparison) -> String {
    let mut told = Vec::new();
    for judged in &comparison.methods {
        let blended = judged.blended.iter().flat_map(|blended| &blended.metrics);
        for metric in judged.metrics.iter().chain(blended) {
            let line = format!("{}: {}\n", metric.name, metric.convention);
            if !told.contains(&line) {
                told.push(line);
            }
        }
    }
    told.concat()
}

/// What became of the order, and the verdict, a sentence in each line.
pub(super) fn verdict_text(comparison: &Comparison) -> String {
    let verdict = comparison.verdict.replace(". ", ".\n");
    format!("{}\n{verdict}\n", comparison.order)
}

/// Metrics of probabilities, one line per calibrator.
fn calibration_table(comparison: &Comparison) -> String {
    let first = &comparison.methods[0].metrics;
    let against = format!("log loss − {}", comparison.reference);
    let mut header = vec![("calibrator", Align::Left)];
    header.extend(first.iter().map(|m| (m.name.as_str(), Align::Right)));
    header.push((&against, Align::Right));
    header.push(("values", Align::Right));
    let mut table = Table::new(&header);
    for judged in &comparison.methods {
        let mut cells = vec![judged.name.clone()];
        cells.extend(judged.metrics.iter().map(evaluation::with_interval));
        cells.push(
            judged
                .against
                .first()
                .map(evaluation::difference_cell)
                .unwrap_or_default(),
        );
        cells.push(judged.distinct.to_string());
        table.row(cells);
    }
    table.render()
}

/// Orders by probability and money, one line per calibrator.
fn blended_table(comparison: &Comparison, formula: &str) -> String {
    let blended = comparison
        .methods
        .iter()
        .find_map(|judged| judged.blended.as_ref());
    let Some(blended) = blended else {
        return String::new();
    };
    let head = format!("order by {formula}");
    let against = format!("{} − {}", blended.metrics[0].name, comparison.reference);
    let mut header = vec![(head.as_str(), Align::Left), ("w", Align::Right)];
    header.extend(
        blended
            .metrics
            .iter()
            .map(|m| (m.name.as_str(), Align::Right)),
    );
    header.push((&against, Align::Right));
    let mut table = Table::new(&header);
    for judged in &comparison.methods {
        if let Some(blended) = &judged.blended {
            let mut cells = vec![judged.name.clone(), blended.weight.to_string()];
            cells.extend(blended.metrics.iter().map(evaluation::with_interval));
            let difference = blended.against.first();
            cells.push(
                difference
                    .map(evaluation::difference_cell)
                    .unwrap_or_default(),
            );
            table.row(cells);
        }
    }
    table.render()
}

fn apply(context: &Context, args: &CalibrateArgs, path: &Path) -> Result<Outcome> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the calibrator `{}`", path.display()))?;
    let file = CalibratorFile::from_json(&text)
        .with_context(|| format!("cannot use the calibrator `{}`", path.display()))?;
    let mut table = ScoreTable::read(&args.scores)?;
    let probabilities = calibration::apply(&file, &table)?;
    table.set("probability", probabilities);
    let unknown = calibration::unknown_segments(&file, &table)?;
    if unknown > 0 {
        let rows = table.rows();
        context.console.warn(&format!(
            "{unknown} of {rows} rows are of no segment that the calibrator knows and get the map of \
             all rows"
        ));
    }
    let intervals: Option<Vec<[f64; 2]>> = table
        .score
        .iter()
        .map(|score| file.calibrator.interval(*score))
        .collect();
    // Segments move the probability, and not the interval of the map of all rows.
    if let Some(intervals) = intervals.filter(|_| file.segments.is_none()) {
        table.set(
            "probability_low",
            intervals.iter().map(|ends| ends[0]).collect(),
        );
        table.set(
            "probability_high",
            intervals.iter().map(|ends| ends[1]).collect(),
        );
    }
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
