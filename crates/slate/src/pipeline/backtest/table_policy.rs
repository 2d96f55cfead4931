//! Policies over the items that a slot could hold, for logs whose lists have one row each.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::targets::{OfItems, items};
use crate::artefacts::scores::ScoreTable;
use crate::config::Source;
use crate::console::Refusal;
use crate::pipeline::policy::Policy;
use crate::pipeline::shown::Shown;

/// How far the probabilities of a slot may be from 1 together.
const ROUNDING: f64 = 1e-6;

/// Probabilities by item and slot.
///
/// # Errors
/// A policy that orders rows, a table that is no policy.
pub(super) fn of(policy: &Policy, shown: &Shown) -> Result<OfItems> {
    match &policy.source {
        Source::Random => {
            let known: BTreeSet<i64> = items(shown)?.iter().copied().collect();
            let slots: BTreeSet<u32> = shown.slots.iter().copied().collect();
            let even = 1.0 / known.len() as f64;
            let cells = known
                .iter()
                .flat_map(|&item| slots.iter().map(move |&slot| (item, slot)));
            Ok(cells.map(|cell| (cell, even)).collect())
        }
        Source::Table(path) => {
            read(path).with_context(|| format!("cannot use the table `{}`", path.display()))
        }
        _ => Err(Refusal::new(format!(
            "the policy `{}` orders rows, and here each list has one row",
            policy.name
        ))
        .hint(
            "logs of single placements are judged by policies over items: ranker = \"random\", \
             \"logged\" or \"table:FILE\" with columns item_id, slot, probability",
        )
        .into()),
    }
}

fn read(path: &Path) -> Result<OfItems> {
    let table = ScoreTable::read_beside(path)?;
    let whole = |name: &str| {
        let values = table.get_integers(name);
        values.ok_or_else(|| {
            anyhow::Error::from(
                Refusal::new(format!("there is no column `{name}`"))
                    .hint("a policy over items has the columns item_id, slot and probability"),
            )
        })
    };
    let (items, slots) = (whole("item_id")?, whole("slot")?);
    let probabilities = table.need("probability")?;
    let mut policy = OfItems::with_capacity(items.len());
    let mut sums: std::collections::BTreeMap<u32, f64> = std::collections::BTreeMap::new();
    for (row, ((&item, &slot), &p)) in items.iter().zip(slots).zip(probabilities).enumerate() {
        let slot = u32::try_from(slot).map_err(|_| {
            Refusal::new(format!(
                "`slot` at row {row} is {slot}, expected 0, 1, 2, …"
            ))
        })?;
        if policy.insert((item, slot), p).is_some() {
            let told = format!("item {item} in slot {slot} is there again at row {row}");
            return Err(Refusal::new(told).into());
        }
        *sums.entry(slot).or_default() += p;
    }
    if let Some((slot, sum)) = sums.iter().find(|(_, sum)| (**sum - 1.0).abs() > ROUNDING) {
        let told = format!("probabilities of slot {slot} add up to {sum}, expected 1");
        return Err(Refusal::new(told).into());
    }
    Ok(policy)
}
