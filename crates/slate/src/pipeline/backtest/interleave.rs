//! What an interleaving of two policies would find, simulated on the lists of a log.
//!
//! Clicks are drawn from the outcome model: each row's chance of a reward in the slot the merged list puts
//! it in. So the answer is as good as the model, and good for one thing: how many lists it would take.

use anyhow::Result;
use serde::Serialize;
use slate_eval::experiment::{Arms, Interleaving, Preference, prefer, units_needed};
use slate_model::DeviceSpec;
use slate_types::{Progress, Seed};

use super::forecasts::{Forecasts, OutcomeKind};
use super::rewards::Rewards;
use crate::console::Refusal;
use crate::pipeline::policy::{Policy, Values};
use crate::pipeline::shown::Shown;

/// Times each list is shown.
const ROUNDS: u64 = 20;

/// What is simulated.
pub(crate) struct Asked<'a> {
    pub(crate) reward: Option<&'a str>,
    pub(crate) depth: usize,
    pub(crate) outcome: OutcomeKind,
    pub(crate) level: f64,
    pub(crate) power: f64,
    pub(crate) seed: Seed,
    pub(crate) device: DeviceSpec,
}

/// What one way of merging would find.
#[derive(Serialize)]
pub(crate) struct Merging {
    pub(crate) name: &'static str,
    /// Share of the lists in which one of both is preferred.
    pub(crate) decided: f64,
    /// Of these, the share that prefers the second.
    pub(crate) second: f64,
    /// Lists that tell this share from a half; none where it is a half.
    pub(crate) lists: Option<f64>,
}

/// Beside what an experiment with two arms would need for the same.
#[derive(Serialize)]
pub(crate) struct Simulated {
    pub(crate) mergings: Vec<Merging>,
    /// Rewards per list that the model expects of each policy.
    pub(crate) expected: [f64; 2],
    /// Lists of both arms together.
    pub(crate) arms: Option<f64>,
}

/// Simulates.
///
/// # Errors
/// Rewards that are no chances, lists of one row, what policies and models refuse.
pub(crate) fn simulate(
    shown: &Shown,
    policies: [&Policy; 2],
    asked: &Asked<'_>,
    progress: &dyn Progress,
) -> Result<Simulated> {
    let rewards = Rewards::of(&shown.table, asked.reward)?;
    if rewards.scale.is_some() || rewards.of_rows.iter().any(|r| !(0.0..=1.0).contains(r)) {
        let told = format!(
            "`{}` is no vote: interleaving counts clicks or purchases",
            rewards.name
        );
        return Err(Refusal::new(told).into());
    }
    if shown.is_single() {
        return Err(Refusal::new("lists of one row cannot be interleaved").into());
    }
    let of = |policy: &Policy| policy.values(shown, Some(&rewards.of_rows), asked.device, progress);
    let values = [of(policies[0])?, of(policies[1])?];
    let seed = asked.seed.derive("interleaving");
    let forecasts = Forecasts::fit(
        asked.outcome,
        shown,
        &rewards,
        &[&values[0], &values[1]],
        None,
        seed,
    )?;
    let mut expected = [0.0; 2];
    let mut squares = [0.0; 2];
    let mut tallies = [[0_u64; 3]; 2];
    progress.begin("interleave", Some(shown.lists().len() as u64), "lists");
    for (list, range) in shown.lists().iter().enumerate() {
        let list_seed = seed.index(list as u64);
        let count = range.len();
        let chances: Vec<Vec<f64>> = range
            .clone()
            .map(|row| {
                let mut of_row = Vec::with_capacity(count);
                forecasts.of(row, 0..count as u32, |q| of_row.push(q.clamp(0.0, 1.0)));
                of_row
            })
            .collect();
        for (at, values) in values.iter().enumerate() {
            let placed = values.explore.marginals(&values.of_rows[range.clone()])?;
            let (mut sum, mut variance) = (0.0, 0.0);
            for (row, chances) in chances.iter().enumerate() {
                for (place, p) in chances.iter().enumerate().take(asked.depth) {
                    sum += placed.at(row, place) * p;
                    variance += placed.at(row, place) * p * (1.0 - p);
                }
            }
            expected[at] += sum;
            squares[at] += variance + sum * sum;
        }
        for round in 0..ROUNDS {
            let round_seed = list_seed.index(round);
            let draw = |values: &Values, which: &str| -> Result<Vec<u32>> {
                let of_list = &values.of_rows[range.clone()];
                let order = values.explore.draw(of_list, round_seed.derive(which))?;
                Ok(order.into_iter().map(|row| row as u32).collect())
            };
            let orders = [draw(&values[0], "first")?, draw(&values[1], "second")?];
            for (kind, tally) in KINDS.iter().zip(&mut tallies) {
                let seed = round_seed.derive(kind.1);
                let merged =
                    kind.0
                        .merge(&orders[0], &orders[1], asked.depth, seed.derive("merge"));
                let clicked: Vec<usize> = (0..merged.items.len())
                    .filter(|&place| {
                        let luck = seed.index(place as u64).unit();
                        luck < chances[merged.items[place] as usize][place]
                    })
                    .collect();
                let preference = prefer(kind.0, &merged, &orders[0], &orders[1], &clicked);
                tally[match preference {
                    Preference::First => 0,
                    Preference::Second => 1,
                    Preference::Tie => 2,
                }] += 1;
            }
        }
        progress.advance(1);
    }
    progress.end();
    let lists = shown.lists().len() as f64;
    let mergings = KINDS
        .iter()
        .zip(tallies)
        .map(|(kind, [first, second, ties])| {
            let decided = (first + second) as f64;
            let share = if decided > 0.0 {
                second as f64 / decided
            } else {
                0.5
            };
            let sample = Arms {
                deviation_a: (share * (1.0 - share)).sqrt(),
                deviation_b: 0.0,
                ratio: 1.0,
                level: asked.level,
            };
            let decided = decided / (decided + ties as f64);
            let needed = units_needed(&sample, share - 0.5, asked.power).ok();
            Merging {
                name: kind.1,
                decided,
                second: share,
                lists: needed.map(|lists| (lists / decided).ceil()),
            }
        })
        .collect();
    let means = expected.map(|sum| sum / lists);
    let deviation = |at: usize| f64::max(squares[at] / lists - means[at] * means[at], 0.0).sqrt();
    let two = Arms {
        deviation_a: deviation(0),
        deviation_b: deviation(1),
        ratio: 1.0,
        level: asked.level,
    };
    let arms = units_needed(&two, means[1] - means[0], asked.power).ok();
    Ok(Simulated {
        mergings,
        expected: means,
        arms: arms.map(|units| (2.0 * units).ceil()),
    })
}

const KINDS: [(Interleaving, &str); 2] = [
    (Interleaving::TeamDraft, "team draft"),
    (Interleaving::Balanced, "balanced"),
];
