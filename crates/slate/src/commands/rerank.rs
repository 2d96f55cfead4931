//! `slate rerank`: the lists a policy would show.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::UInt32Array;
use serde_json::json;

use super::{Context, backtest, score};
use crate::artefacts::scores::ScoreTable;
use crate::cli::RerankArgs;
use crate::config::Source;
use crate::console::{Outcome, Refusal};
use crate::pipeline::backtest::Rewards;
use crate::pipeline::policy::{Policy, Values};
use crate::pipeline::shown::Shown;

/// What was observed where rows were shown, and is not known of where they would be.
const OBSERVED: [&str; 9] = [
    "grade",
    "click",
    "purchase",
    "weight",
    "attribution",
    "matured",
    "click_lag",
    "purchase_lag",
    "click_score",
];

pub(super) fn run(context: &Context, args: &RerankArgs) -> Result<Outcome> {
    let policy = Policy::read(&args.policy)?;
    if matches!(policy.source, Source::Table(_) | Source::Chances(_)) {
        let told = format!(
            "`{}` says how likely placements are, and orders none",
            policy.name
        );
        return Err(Refusal::new(told).into());
    }
    let shown = backtest::shown(&args.shown)?;
    // Only popularity reads rewards, and a log without any can be ordered by everything else.
    let rewards = Rewards::of(&shown.table, None).ok();
    let rewards = rewards.as_ref().map(|rewards| rewards.of_rows.as_slice());
    let device = args.shown.device.parse()?;
    let values = policy.values(&shown, rewards, device, &context.console.bar())?;
    let table = reranked(&shown, &policy, &values, context.seed.derive("rerank"))?;
    let moved = moved(&shown, &table);
    score::write_scores(&table, &args.out, context.force)?;
    let lists = shown.lists().len();
    let json = json!({
        "out": args.out, "policy": policy.name, "lists": lists, "rows": table.rows(), "moved": moved,
    });
    let text = format!(
        "{} rows in {lists} lists as `{}` would show them are in {}; {moved} of them stand elsewhere\n",
        table.rows(),
        policy.name,
        args.out.display()
    );
    Ok(Outcome::done(json, text))
}

/// Rows in the order of a policy, with their probability of being there.
fn reranked(
    shown: &Shown,
    policy: &Policy,
    values: &Values,
    seed: slate_types::Seed,
) -> Result<ScoreTable> {
    let mut rows = Vec::with_capacity(shown.table.rows());
    let mut propensities = Vec::with_capacity(rows.capacity());
    let mut slots = Vec::with_capacity(rows.capacity());
    for (list, range) in shown.lists().iter().enumerate() {
        let of_list = &values.of_rows[range.clone()];
        let in_list = || format!("cannot order list {}", shown.table.list_name(list));
        let id = shown.table.list_id[range.start] as u64;
        let order = values
            .explore
            .draw(of_list, seed.index(id))
            .with_context(in_list)?;
        let chances = values.explore.marginals(of_list).with_context(in_list)?;
        for (slot, row) in order.into_iter().enumerate() {
            rows.push(range.start + row);
            propensities.push(chances.at(row, slot));
            slots.push(slot as i64);
        }
    }
    let mut table = shown.table.rows_of(&rows)?;
    for name in OBSERVED {
        table.remove(name);
    }
    table.score = rows.iter().map(|&row| values.of_rows[row]).collect();
    table.scorer = format!("policy:{}", policy.name);
    table.set_integers("slot", slots);
    table.set("propensity", propensities);
    let logged: UInt32Array = rows.iter().map(|&row| shown.slots[row]).collect();
    table.set_other("logged_slot", Arc::new(logged));
    Ok(table)
}

/// Rows that stand at another place of their list than they were shown at.
fn moved(shown: &Shown, table: &ScoreTable) -> usize {
    let key = |table: &ScoreTable, row: usize| {
        table
            .get_integers("impression")
            .or_else(|| table.get_integers("item_id"))
            .map(|ids| ids[row])
    };
    let mut moved = 0;
    for range in shown.lists().iter() {
        let mut logged: Vec<usize> = range.clone().collect();
        logged.sort_by_key(|&row| shown.places[row]);
        let pairs = range.zip(logged);
        moved += pairs
            .filter(|&(now, before)| key(table, now) != key(&shown.table, before))
            .count();
    }
    moved
}
