//! `slate backtest examine`: how likely users look at each slot.

use anyhow::Result;
use serde_json::{Value, json};
use slate_eval::Bootstrap;
use slate_eval::off_policy::{Curve, Examination, Views, examine};
use slate_types::Progress as _;

use super::super::Context;
use crate::artefacts::{manifest, write_file};
use crate::cli::{CurveArg, ExamineArgs};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::backtest::Rewards;
use crate::pipeline::columns::{numbers_of, renumbered};
use crate::pipeline::shown::Shown;

/// A slot looked at more rarely than this is unknown: clicks of others would be weighed by hundreds.
const LEAST: f64 = 0.005;
/// Resamples at most: each fits the curve again, and their spread is enough for what they widen.
const MOST_DRAWS: usize = 200;

pub(super) fn run(context: &Context, args: &ExamineArgs) -> Result<Outcome> {
    let shown = super::shown(&args.shown)?;
    let rewards = Rewards::of(&shown.table, Some(&args.reward))?;
    if let Some(row) = rewards.of_rows.iter().position(|r| *r != 0.0 && *r != 1.0) {
        let told = format!(
            "`{}` at row {row} is {}, expected 0 or 1",
            rewards.name, rewards.of_rows[row]
        );
        return Err(Refusal::new(told).into());
    }
    let clusters = args.cluster.of_lists(&shown.table)?;
    let random = random_lists(&shown, args.random.as_deref())?;
    let rows = Rows::new(&shown, &rewards, args, clusters.as_deref())?;
    let bootstrap = Bootstrap {
        draws: context.config.file.evaluate.draws.min(MOST_DRAWS),
        seed: context.seed.derive("examination"),
        level: context.config.file.evaluate.level,
    };
    let bar = context.console.bar();
    let mut asked = vec![CurveArg::Random, CurveArg::Harvested, CurveArg::Em];
    if !args.appeal.is_empty() {
        asked.push(CurveArg::Regression);
    }
    bar.begin("examine", Some(asked.len() as u64), "curves");
    let mut curves: Vec<(CurveArg, usize, Examination)> = Vec::new();
    for curve in asked {
        // Lists in random order make their own curve, and none of the others, which can then be held
        // to it.
        let lists: Vec<usize> = (0..shown.lists().len())
            .filter(|&list| random[list] == (curve == CurveArg::Random))
            .collect();
        if !lists.is_empty() {
            let mut part = rows.of_lists(&shown, &lists);
            if curve == CurveArg::Random {
                part.items = lists_lengths(&shown, &lists);
            }
            match examine(kind(curve), &part.views(), args.top as usize, &bootstrap) {
                Ok(found) => curves.push((curve, lists.len(), found)),
                Err(error) => context
                    .console
                    .say(&format!("note: no {} curve: {error}", name(curve))),
            }
        }
        bar.advance(1);
    }
    bar.end();
    let several = rows.stood_in_several();
    if !random.contains(&true) && args.appeal.is_empty() && several < 0.5 {
        context.console.warn(&format!(
            "only {:.0} % of the placements are of items that stood in more than one slot, so appeal and \
             attention can hardly be told apart",
            100.0 * several
        ));
    }
    let taken = match args.take {
        Some(asked) => curves.iter().find(|(curve, _, _)| *curve == asked),
        None => curves.first(),
    };
    let Some(taken) = taken else {
        let told = match args.take {
            Some(CurveArg::Random) if args.random.is_none() => {
                "there is no curve of lists in random order, as none are named: --random COLUMN=VALUE"
            }
            Some(CurveArg::Regression) if args.appeal.is_empty() => {
                "there is no curve by regression, as nothing says what appeals: --appeal COLUMNS"
            }
            _ => "there is no such curve: its lists have no click in slot 0",
        };
        return Err(Refusal::new(told).into());
    };
    let described: Vec<Value> = curves.iter().map(describe).collect();
    if let Some(out) = &args.out {
        let mut document = describe(taken);
        let known = taken
            .2
            .of_slot
            .iter()
            .take_while(|theta| **theta > LEAST)
            .count();
        let head = |curve: &Vec<f64>| curve[..known.min(curve.len())].to_vec();
        document["format"] = json!(manifest::FORMAT);
        document["kind"] = json!("examination");
        document["command"] = json!(context.command);
        document["reward"] = json!(rewards.name);
        document["examination"] = json!(head(&taken.2.of_slot));
        // A resample in which nobody clicked would weigh a click there without end.
        let floored = |draw: &Vec<f64>| -> Vec<f64> {
            let head = head(draw).into_iter();
            head.map(|theta| if theta < LEAST { LEAST } else { theta })
                .collect()
        };
        document["draws"] = json!(taken.2.draws.iter().map(floored).collect::<Vec<_>>());
        let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
        write_file(out, text.as_bytes(), context.force)?;
    }
    let text = table(&curves, args.top as usize);
    let json = json!({ "curves": described, "taken": name(taken.0), "several_slots": several });
    Ok(Outcome::done(json, text))
}

fn kind(curve: CurveArg) -> Curve {
    match curve {
        // Rows are numbered by the length of their list there.
        CurveArg::Random | CurveArg::Harvested => Curve::Harvested,
        CurveArg::Em => Curve::Em,
        CurveArg::Regression => Curve::Regression,
    }
}

fn name(curve: CurveArg) -> &'static str {
    match curve {
        CurveArg::Random => "random",
        CurveArg::Harvested => "harvested",
        CurveArg::Em => "em",
        CurveArg::Regression => "regression",
    }
}

/// Whether each list was shown in random order.
fn random_lists(shown: &Shown, condition: Option<&str>) -> Result<Vec<bool>> {
    let Some(condition) = condition else {
        return Ok(vec![false; shown.lists().len()]);
    };
    let pairs = super::pairs(&[condition.to_owned()], "--random")?;
    let (column, wanted) = &pairs[0];
    let values = shown.table.text(column)?;
    let random: Vec<bool> = shown
        .lists()
        .iter()
        .map(|rows| values[rows.start] == *wanted)
        .collect();
    if !random.contains(&true) {
        return Err(Refusal::new(format!("no list has {condition}")).into());
    }
    Ok(random)
}

/// The length of each row's list.
fn lists_lengths(shown: &Shown, lists: &[usize]) -> Vec<u32> {
    let lengths = lists.iter().map(|&list| shown.lists().range(list).len());
    lengths
        .flat_map(|length| std::iter::repeat_n(length as u32, length))
        .collect()
}

/// Columns that curves read.
struct Rows {
    items: Vec<u32>,
    slots: Vec<u32>,
    clicks: Vec<u8>,
    clusters: Vec<u32>,
    /// `[rows, width]`, row-major.
    appeal: Vec<f64>,
}

impl Rows {
    fn new(
        shown: &Shown,
        rewards: &Rewards,
        args: &ExamineArgs,
        clusters: Option<&[u32]>,
    ) -> Result<Self> {
        let items = numbers_of(&shown.table, &args.same)?;
        let mut of_rows = vec![0; items.len()];
        for (list, rows) in shown.lists().iter().enumerate() {
            of_rows[rows].fill(clusters.map_or(list as u32, |clusters| clusters[list]));
        }
        Ok(Self {
            items,
            slots: shown.positions().to_vec(),
            clicks: rewards.of_rows.iter().map(|&r| u8::from(r > 0.0)).collect(),
            clusters: of_rows,
            appeal: appeal(shown, &args.appeal)?,
        })
    }

    fn of_lists(&self, shown: &Shown, lists: &[usize]) -> Self {
        let rows: Vec<usize> = lists
            .iter()
            .flat_map(|&list| shown.lists().range(list))
            .collect();
        let pick = |column: &[u32]| rows.iter().map(|&row| column[row]).collect::<Vec<u32>>();
        let clusters = renumbered(rows.iter().map(|&row| self.clusters[row]));
        Self {
            clusters,
            items: pick(&self.items),
            slots: pick(&self.slots),
            clicks: rows.iter().map(|&row| self.clicks[row]).collect(),
            appeal: rows
                .iter()
                .flat_map(|&row| self.appeal_of(row))
                .copied()
                .collect(),
        }
    }

    fn appeal_of(&self, row: usize) -> &[f64] {
        let width = self.appeal.len() / self.items.len().max(1);
        &self.appeal[row * width..(row + 1) * width]
    }

    fn views(&self) -> Views<'_> {
        Views {
            items: &self.items,
            slots: &self.slots,
            clicks: &self.clicks,
            features: &self.appeal,
            clusters: &self.clusters,
        }
    }

    /// Share of the placements whose item stood in more than one slot.
    fn stood_in_several(&self) -> f64 {
        let mut first = std::collections::BTreeMap::new();
        let mut several = std::collections::BTreeSet::new();
        for (item, slot) in self.items.iter().zip(&self.slots) {
            if first.entry(item).or_insert(slot) != &slot {
                several.insert(item);
            }
        }
        let of = self
            .items
            .iter()
            .filter(|item| several.contains(item))
            .count();
        of as f64 / self.items.len() as f64
    }
}

/// Columns side by side, row-major.
fn appeal(shown: &Shown, names: &[String]) -> Result<Vec<f64>> {
    if let Some(name) = names.iter().find(|name| *name == "slot") {
        let told = format!("--appeal names `{name}`, which is what the curve is of");
        return Err(Refusal::new(told)
            .hint("name what a placement is, not where it stood")
            .into());
    }
    let columns: Vec<Vec<f64>> = names
        .iter()
        .map(|name| shown.table.numeric(name))
        .collect::<Result<_>>()?;
    let rows = 0..shown.table.rows();
    Ok(rows
        .flat_map(|row| columns.iter().map(move |column| column[row]))
        .collect())
}

fn describe((curve, lists, found): &(CurveArg, usize, Examination)) -> Value {
    json!({
        "curve": name(*curve), "lists": lists, "examination": found.of_slot, "low": found.low,
        "high": found.high,
    })
}

fn table(curves: &[(CurveArg, usize, Examination)], slots: usize) -> String {
    let heads: Vec<String> = curves
        .iter()
        .map(|(curve, lists, _)| format!("{} ({lists} lists)", name(*curve)))
        .collect();
    let mut header = vec![("slot", Align::Right)];
    header.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    let mut table = Table::new(&header);
    for slot in 0..slots {
        let mut cells = vec![slot.to_string()];
        cells.extend(curves.iter().map(|(_, _, found)| {
            let (value, low, high) = (found.of_slot[slot], found.low[slot], found.high[slot]);
            if value.is_nan() {
                "–".to_owned()
            } else if low.is_nan() {
                // All resamples say the same, or nobody clicked: one number is no interval.
                format!("{value:.3} [–]")
            } else {
                format!("{value:.3} [{low:.3}, {high:.3}]")
            }
        }));
        table.row(cells);
    }
    table.render()
}
