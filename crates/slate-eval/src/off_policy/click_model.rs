//! Where users look: two models of clicks, fitted without knowing how lists were made.
//!
//! The position-based model says `P(click) = θ_slot · γ_item` (Richardson et al. 2007): a slot is
//! looked at or not, whatever stands around it. The cascade model says that users go from the top and
//! stop at the first click (Craswell et al. 2008). θ and γ of the first are told apart only where items
//! stood in several slots; θ of slot 0 is set to 1.

use std::collections::BTreeMap;

use crate::EvalError;

/// How often an item was shown in a slot, and clicked there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Number of the item.
    pub item: u32,
    /// From 0.
    pub slot: u32,
    /// Times shown, above 0.
    pub shown: f64,
    /// Times clicked, from 0 to `shown`.
    pub clicks: f64,
}

impl Cell {
    /// Adds up `(item, slot, times shown, times clicked)`, in order of item and slot.
    pub fn count(views: impl IntoIterator<Item = (u32, u32, f64, f64)>) -> Vec<Self> {
        let mut counts: BTreeMap<(u32, u32), [f64; 2]> = BTreeMap::new();
        for (item, slot, shown, clicks) in views {
            let cell = counts.entry((item, slot)).or_default();
            cell[0] += shown;
            cell[1] += clicks;
        }
        let cell = |((item, slot), [shown, clicks]): ((u32, u32), [f64; 2])| Self {
            item,
            slot,
            shown,
            clicks,
        };
        counts.into_iter().map(cell).collect()
    }
}

/// A fitted position-based model.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionModel {
    /// θ of each slot, in `[0, 1]` but for rounding; 1 for slot 0.
    pub examination: Vec<f64>,
    /// γ of each item: how likely it is clicked where slot 0 would be looked at.
    pub attraction: Vec<f64>,
    /// Of the clicks.
    pub log_likelihood: f64,
}

impl PositionModel {
    /// Fits θ and γ by expectation-maximisation. `prior` are the clicks and the views without one that
    /// every item is taken to have had before. Ends where no θ moves by 1e-10, or after `steps`.
    ///
    /// # Errors
    /// [`EvalError::NoRows`] without cells; [`EvalError::Weight`] for a cell whose counts cannot be;
    /// [`EvalError::NothingToMeasure`] where slot 0 was never shown or never clicked.
    pub fn fit(cells: &[Cell], prior: [f64; 2], steps: usize) -> Result<Self, EvalError> {
        if cells.is_empty() {
            return Err(EvalError::NoRows);
        }
        let impossible = |c: &Cell| !(c.shown > 0.0 && c.clicks >= 0.0 && c.clicks <= c.shown);
        if let Some(row) = cells.iter().position(impossible) {
            let value = cells[row].clicks;
            return Err(EvalError::Weight { row, value });
        }
        let most = |of: fn(&Cell) -> u32| cells.iter().map(of).max().unwrap_or(0) as usize + 1;
        let (slots, items) = (most(|c| c.slot), most(|c| c.item));
        let mut examination = vec![0.5; slots];
        let mut attraction = vec![0.5; items];
        for _ in 0..steps {
            let mut looked = vec![[0.0; 2]; slots];
            let mut liked = vec![[prior[0], prior[0] + prior[1]]; items];
            for cell in cells {
                let (slot, item) = (cell.slot as usize, cell.item as usize);
                let (theta, gamma) = (examination[slot], attraction[item]);
                let passed = cell.shown - cell.clicks;
                let none = f64::max(1.0 - theta * gamma, f64::MIN_POSITIVE);
                looked[slot][0] += cell.clicks + passed * theta * (1.0 - gamma) / none;
                looked[slot][1] += cell.shown;
                liked[item][0] += cell.clicks + passed * gamma * (1.0 - theta) / none;
                liked[item][1] += cell.shown;
            }
            let mut moved = 0.0_f64;
            for (theta, [sum, shown]) in examination.iter_mut().zip(looked) {
                let next = if shown > 0.0 { sum / shown } else { 0.0 };
                moved = moved.max((next - *theta).abs());
                *theta = next;
            }
            for (gamma, [sum, shown]) in attraction.iter_mut().zip(liked) {
                *gamma = if shown > 0.0 { sum / shown } else { 0.0 };
            }
            if moved < 1e-10 {
                break;
            }
        }
        let log_likelihood = cells
            .iter()
            .map(|cell| {
                let p = examination[cell.slot as usize] * attraction[cell.item as usize];
                let term = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
                term(cell.clicks, p) + term(cell.shown - cell.clicks, 1.0 - p)
            })
            .sum();
        let first = examination[0];
        if first <= 0.0 {
            return Err(EvalError::NothingToMeasure {
                metric: "examination".to_owned(),
                why: "slot 0 has no click",
            });
        }
        Ok(Self {
            examination: examination.iter().map(|theta| theta / first).collect(),
            attraction: attraction.iter().map(|gamma| gamma * first).collect(),
            log_likelihood,
        })
    }
}

/// A fitted cascade model.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeModel {
    /// How likely each item is clicked where it is looked at; the prior's mean for one never seen.
    pub attraction: Vec<f64>,
    /// Of the clicks.
    pub log_likelihood: f64,
}

impl CascadeModel {
    /// Fits the attraction of each of `items` items from lists of items and whether each was clicked,
    /// slot 0 first; what stands below the first click was not looked at. `prior` as in
    /// [`PositionModel::fit`].
    pub fn fit<'a>(
        lists: impl IntoIterator<Item = &'a [(u32, bool)]>,
        items: usize,
        prior: [f64; 2],
    ) -> Self {
        let mut counts = vec![[0.0; 2]; items];
        for list in lists {
            for &(item, clicked) in list {
                counts[item as usize][1] += 1.0;
                if clicked {
                    counts[item as usize][0] += 1.0;
                    break;
                }
            }
        }
        let of = |[clicks, looked]: &[f64; 2]| {
            let looked = looked + prior[0] + prior[1];
            if looked > 0.0 {
                (clicks + prior[0]) / looked
            } else {
                0.0
            }
        };
        let attraction: Vec<f64> = counts.iter().map(of).collect();
        let term = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
        let log_likelihood = counts.iter().zip(&attraction);
        let log_likelihood = log_likelihood
            .map(|([clicks, looked], p)| term(*clicks, *p) + term(looked - clicks, 1.0 - p))
            .sum();
        Self {
            attraction,
            log_likelihood,
        }
    }

    /// Probability of a click on each of these items, shown in this order.
    pub fn clicks(&self, items: impl IntoIterator<Item = u32>) -> Vec<f64> {
        let mut open = 1.0;
        let clicks = items.into_iter().map(|item| {
            let attraction = self.attraction.get(item as usize).copied().unwrap_or(0.0);
            let click = open * attraction;
            open *= 1.0 - attraction;
            click
        });
        clicks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;
    use serde_json::Value;

    /// From `tests/data/gold_backtest.py`: the same steps in NumPy, the end held to a search.
    #[test]
    fn positions_are_those_of_the_reference() {
        for name in ["pbm", "pbm_rare"] {
            let case = golden(name);
            let floats =
                |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
            let column = |key: &str| floats(&case["cells"][key]);
            let (items, slots) = (column("item"), column("slot"));
            let (shown, clicks) = (column("shown"), column("clicks"));
            let cells: Vec<Cell> = (0..items.len())
                .map(|at| Cell {
                    item: items[at] as u32,
                    slot: slots[at] as u32,
                    shown: shown[at],
                    clicks: clicks[at],
                })
                .collect();
            // After 100 steps to rounding, and where it ends.
            let step = &case["trace"]["100"];
            let (theta, gamma) = (floats(&step["theta"]), floats(&step["gamma"]));
            let theta_then: Vec<f64> = theta.iter().map(|t| t / theta[0]).collect();
            let gamma_then: Vec<f64> = gamma.iter().map(|g| g * theta[0]).collect();
            for (steps, theta, gamma, told, tolerance) in [
                (100, theta_then, gamma_then, step, 1e-11),
                (
                    5000,
                    floats(&case["theta"]),
                    floats(&case["gamma"]),
                    &case,
                    1e-4,
                ),
            ] {
                let model = PositionModel::fit(&cells, [0.5, 0.5], steps).unwrap();
                let pairs = model.examination.iter().zip(&theta);
                for (a, b) in pairs.chain(model.attraction.iter().zip(&gamma)) {
                    assert!((a - b).abs() < tolerance, "{name} {steps} {a} {b}");
                }
                let theirs = told["log_likelihood"].as_f64().unwrap();
                assert!((model.log_likelihood - theirs).abs() < 10.0 * tolerance);
            }
        }
    }

    /// From the same file.
    #[test]
    fn cascades_are_those_of_the_reference() {
        let case = golden("cascade_click");
        let items: Vec<Vec<u32>> = serde_json::from_value(case["list_items"].clone()).unwrap();
        let clicks: Vec<Vec<u8>> = serde_json::from_value(case["clicks"].clone()).unwrap();
        let lists: Vec<Vec<(u32, bool)>> = items
            .iter()
            .zip(&clicks)
            .map(|(items, clicks)| {
                let pairs = items.iter().zip(clicks);
                pairs.map(|(&item, &click)| (item, click == 1)).collect()
            })
            .collect();
        let model = CascadeModel::fit(lists.iter().map(Vec::as_slice), 8, [0.0, 0.0]);
        let theirs: Vec<f64> = serde_json::from_value(case["gamma"].clone()).unwrap();
        for (a, b) in model.attraction.iter().zip(theirs) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        let theirs = case["log_likelihood"].as_f64().unwrap();
        assert!((model.log_likelihood - theirs).abs() < 1e-9);
        // Some click, or none to the end.
        let all: f64 = model.clicks([0, 3, 5]).iter().sum();
        let passed: f64 = [0, 3, 5]
            .iter()
            .map(|&i: &usize| 1.0 - model.attraction[i])
            .product();
        assert!((all + passed - 1.0).abs() < 1e-12);
    }

    #[test]
    fn impossible_counts_are_refused() {
        let cell = Cell {
            item: 0,
            slot: 0,
            shown: 1.0,
            clicks: 2.0,
        };
        assert!(PositionModel::fit(&[cell], [0.5, 0.5], 10).is_err());
        assert!(PositionModel::fit(&[], [0.5, 0.5], 10).is_err());
    }
}
