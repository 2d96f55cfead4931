//! `slate backtest months`: recipes trained on the past of each month, compared on the month.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::Float64Array;
use serde_json::{Value, json};
use slate_eval::{Difference, Metric};

use super::super::Context;
use super::super::score::write_scores;
use crate::artefacts::scores::ScoreTable;
use crate::artefacts::{OutputLock, Staged, manifest, neighbour};
use crate::cli::MonthsArgs;
use crate::console::{Align, ExitStatus, Outcome, Refusal, Table};
use crate::pipeline::calendar::Month;
use crate::pipeline::evaluation::{self, Given, Labels, Measure};
use crate::pipeline::months::{Recipe, Rolling, Stage, log_files};

pub(super) fn run(context: &Context, args: &MonthsArgs) -> Result<Outcome> {
    let months = Month::range(&args.months)?;
    let recipes = [
        Recipe::read(&args.a, &context.set)?,
        Recipe::read(&args.b, &context.set)?,
    ];
    if recipes[0].name == recipes[1].name {
        let told = format!("both recipes are called `{}`", recipes[0].name);
        return Err(Refusal::new(told)
            .hint("they are called as their files are: rename one")
            .into());
    }
    let alike = |recipe: &Recipe| json!(recipe.config.attribution);
    if alike(&recipes[0]) != alike(&recipes[1]) {
        return Err(Refusal::new(
            "the recipes attribute events differently, so they are judged by other labels",
        )
        .hint("give both the same [attribution]")
        .into());
    }
    let log_files = log_files(&args.logs)?;
    let elsewhere = recipes.iter().any(|recipe| recipe.config.logs.is_some());
    if args.cache.is_some() && (log_files.is_none() || elsewhere) {
        let told = if elsewhere {
            "--cache cannot know when tables named under [logs] change"
        } else {
            "--cache cannot know when these logs change: expected a folder, or an object store"
        };
        return Err(Refusal::new(told)
            .hint("leave --cache out, or put the logs into one folder")
            .into());
    }
    let section = &context.config.file.evaluate;
    let mut measure = Measure::new(section, &args.metrics, "slate", context.seed)?;
    measure.cluster = args.cluster;
    let first = measure.metrics[0];
    let larger = first.larger_is_better().ok_or_else(|| {
        Refusal::new(format!(
            "`{first}` is best near a value, so it cannot decide"
        ))
        .hint("name another metric first, such as ndcg@10 or logloss")
    })?;
    let staged = Staged::folder(&args.out, context.force)?;
    // Stages outlive a kill, and with --cache this comparison.
    let cache = match &args.cache {
        Some(cache) => cache.clone(),
        None => neighbour(&args.out, "months")?,
    };
    std::fs::create_dir_all(&cache)?;
    let _lock = OutputLock::take(&cache)?;
    let bar = context.console.bar();
    let rolling = Rolling {
        logs: &args.logs,
        log_files: log_files.unwrap_or_default(),
        cache: &cache,
        seed: context.seed,
        threads: context.threads,
        device: args.device.parse()?,
        command: &context.command,
        progress: &bar,
    };
    let mut stages: Vec<Stage> = Vec::new();
    let mut tables: [Vec<ScoreTable>; 2] = [Vec::new(), Vec::new()];
    let mut lines: Vec<Line> = Vec::new();
    for &month in &months {
        let mut of_month = Vec::with_capacity(2);
        for recipe in &recipes {
            let (table, stage) = rolling.month(recipe, month)?;
            let told = format!(
                "{month} {}: {} lists, {} of 3 stages were there",
                recipe.name, stage.lists, stage.reused
            );
            context.console.say(&told);
            stages.push(stage);
            of_month.push(table);
        }
        lines.push(line(
            &month.to_string(),
            [&of_month[0], &of_month[1]],
            &measure,
        )?);
        for (all, table) in tables.iter_mut().zip(of_month) {
            all.push(table);
        }
    }
    let [a, b] = [
        ScoreTable::concat(&tables[0])?,
        ScoreTable::concat(&tables[1])?,
    ];
    let Line {
        differences: mut pooled,
        values,
        ..
    } = line("all", [&a, &b], &measure)?;
    slate_eval::adjust(pooled.iter_mut());
    write_tables(&recipes, [&a, &b], staged.path())?;
    let main = &pooled[0];
    // The ends of what speaks for the second recipe.
    let (low, high) = if larger {
        (main.low, main.high)
    } else {
        (-main.high, -main.low)
    };
    let verdict = if low > 0.0 {
        "b_better"
    } else if high < 0.0 {
        "a_better"
    } else {
        "cannot_tell"
    };
    let names = [recipes[0].name.as_str(), recipes[1].name.as_str()];
    let sentence = sentence(names, main, months.len(), verdict);
    let of_months: Vec<Value> = lines
        .iter()
        .map(|line| {
            let [a, b] = &line.values;
            json!({ "month": line.name, "a": a, "b": b, "differences": line.differences })
        })
        .collect();
    let json = json!({
        "verdict": verdict, "sentence": sentence, "differences": pooled,
        "a": values[0], "b": values[1], "months": of_months,
    });
    let mut document = json.clone();
    document["format"] = json!(manifest::FORMAT);
    document["kind"] = json!("recipes");
    document["command"] = json!(context.command);
    document["recipes"] = json!([
        { "name": names[0], "config": recipes[0].config },
        { "name": names[1], "config": recipes[1].config },
    ]);
    document["stages"] = json!(stages);
    document["intervals"] = measure.intervals();
    manifest::write_json(&staged.path().join("manifest.json"), &document)?;
    staged.commit()?;
    if args.cache.is_none() {
        drop(std::fs::remove_dir_all(&cache));
    }
    let mut outcome = Outcome::done(json, text(&sentence, &lines, &pooled, names));
    if verdict == "cannot_tell" {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}

/// What both recipes are worth in a month, or in all.
struct Line {
    name: String,
    /// The second minus the first.
    differences: Vec<Difference>,
    values: [Vec<Metric>; 2],
}

/// Metrics of both, and the second minus the first, paired.
fn line(name: &str, [a, b]: [&ScoreTable; 2], measure: &Measure) -> Result<Line> {
    let labels = Labels::of(a, None)?;
    let differences = evaluation::compare(Given::of(b), Given::of(a), &labels, measure)?;
    let values = [
        evaluation::evaluate(Given::of(a), &labels, &measure.plain())?,
        evaluation::evaluate(Given::of(b), &labels, &measure.plain())?,
    ];
    Ok(Line {
        name: name.to_owned(),
        differences,
        values,
    })
}

/// Scores of both recipes, and a table with both for `slate backtest --log`.
fn write_tables(
    recipes: &[Recipe; 2],
    tables: [&ScoreTable; 2],
    folder: &std::path::Path,
) -> Result<()> {
    let mut both = tables[0].clone();
    for (recipe, table) in recipes.iter().zip(tables) {
        let name = &recipe.name;
        let file = format!("scores-{name}.parquet");
        write_scores(table, &folder.join(file), false)?;
        let scores = Arc::new(Float64Array::from(table.score.clone()));
        both.set_other(&format!("score_{name}"), scores);
        let policy = format!(
            "format = 1\nname = {}\nranker = {}\n",
            json!(name),
            json!(format!("column:score_{name}"))
        );
        std::fs::write(folder.join(format!("{name}.policy.toml")), policy)?;
    }
    write_scores(&both, &folder.join("both.parquet"), false)
}

fn sentence(names: [&str; 2], main: &Difference, months: usize, verdict: &str) -> String {
    let [a, b] = names;
    let told = match verdict {
        "b_better" => format!("`{b}` is better than `{a}`"),
        "a_better" => format!("`{b}` is worse than `{a}`"),
        _ => format!("`{b}` and `{a}` cannot be told apart"),
    };
    format!(
        "{told} in {} over {months} months, each trained on its past alone: {}. Logged outcomes favour \
         what was logged; `slate backtest --log both.parquet` weighs them where propensities are known.",
        main.name,
        evaluation::difference_cell(main)
    )
}

fn text(sentence: &str, lines: &[Line], pooled: &[Difference], names: [&str; 2]) -> String {
    let mut header = vec![("month", Align::Left)];
    let heads: Vec<String> = pooled
        .iter()
        .flat_map(|one| {
            let [a, b] = names;
            [
                format!("{} {a}", one.name),
                b.to_owned(),
                format!("{b} - {a}"),
            ]
        })
        .collect();
    header.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    let mut table = Table::new(&header);
    for line in lines {
        let mut cells = vec![line.name.clone()];
        let [a, b] = &line.values;
        for ((difference, a), b) in line.differences.iter().zip(a).zip(b) {
            let d = evaluation::decimals(a.value);
            cells.push(format!("{:.d$}", a.value));
            cells.push(format!("{:.d$}", b.value));
            cells.push(evaluation::difference_cell(difference));
        }
        table.row(cells);
    }
    let together = evaluation::difference_table(names[0], "all months", pooled);
    format!("{sentence}\n\n{}\n{together}", table.render())
}
