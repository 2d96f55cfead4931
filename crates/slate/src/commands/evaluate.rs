//! `slate evaluate`: how good scores are, and how sure that is.

use anyhow::Result;
use serde_json::json;

use super::Context;
use crate::artefacts::scores::ScoreTable;
use crate::artefacts::write_file;
use crate::cli::{EvaluateArgs, Label};
use crate::console::Outcome;
use crate::pipeline::evaluation::{self, Labels, Measure};

pub(super) fn run(context: &Context, args: &EvaluateArgs) -> Result<Outcome> {
    let section = &context.config.file.evaluate;
    let mut measure = Measure::new(section, &args.metrics, &args.convention, context.seed)?;
    measure.weighted = args.weighted;
    let table = ScoreTable::read(&args.scores)?;
    if args.metrics.is_empty() && table.get("probability").is_none() {
        let (fewer, left_out) = measure.without_probabilities();
        measure = fewer;
        if left_out {
            context.console.say(
                "note: the scores have no `probability`, so metrics of probabilities are left out; \
                 `slate calibrate --apply` adds it",
            );
        }
    }
    let labels = Labels::of(&table, args.label)?;
    if args.label.is_none() && labels.label == Label::Click && table.get("purchase").is_some() {
        context
            .console
            .say("note: there is no purchase in the scores, so clicks are the outcome");
    }
    let metrics = evaluation::evaluate(&table, &labels, None, &measure)?;
    let mut text = evaluation::metric_table(&metrics);
    let mut against = Vec::new();
    if let Some(path) = &args.against {
        let other = ScoreTable::read(path)?;
        let differences = evaluation::compare((&table, None), (&other, None), &labels, &measure)?;
        let name = path.display().to_string();
        text.push_str(&format!(
            "\n{}",
            evaluation::difference_table(&name, &differences)
        ));
        against.push((name, differences));
    }
    if let Some(out) = &args.out {
        let name = args.name.clone().unwrap_or_else(|| table.scorer.clone());
        let document = evaluation::document(
            &name,
            &table,
            &labels,
            &metrics,
            &against,
            &measure,
            &context.command,
        );
        let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
        write_file(out, text.as_bytes(), context.force)?;
    }
    let against = against
        .into_iter()
        .next()
        .map(|(_, differences)| differences);
    let json = json!({ "metrics": metrics, "against": against.unwrap_or_default() });
    Ok(Outcome::done(json, text))
}
