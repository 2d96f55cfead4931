//! How likely the logger was to show what it showed.

use anyhow::Result;

use super::targets::Propensities;
use crate::console::Refusal;
use crate::pipeline::shown::Shown;

/// Propensities this near to 1 left no choice.
const CERTAIN: f64 = 1.0 - 1e-9;

/// Where propensities come from.
pub(crate) enum Asked {
    /// A column.
    Column(String),
    /// Lists were in random order.
    Uniform,
    /// The logged order was the only one, and users look at places with these probabilities, given
    /// several times over to say how sure that is.
    Examination {
        of_place: Vec<f64>,
        draws: Vec<Vec<f64>>,
    },
    /// Several loggers: columns with the probability of each placement under each, and how many lists
    /// each showed.
    Balanced(Vec<String>, Vec<f64>),
}

/// Reads propensities and refuses those that leave nothing to weigh.
///
/// # Errors
/// A column that is missing, values that are no probabilities, a log of one order, places past a curve.
pub(super) fn read(shown: &Shown, asked: &Asked, top: Option<usize>) -> Result<Propensities> {
    let (name, values) = match asked {
        Asked::Uniform => return Ok(Propensities::Uniform),
        Asked::Examination { of_place, .. } => {
            let deepest = shown
                .places
                .iter()
                .max()
                .map_or(0, |deepest| *deepest as usize + 1);
            let counted = top.map_or(deepest, |top| top.min(deepest));
            if counted > of_place.len() {
                let known = of_place.len();
                let told = format!(
                    "examination is known of {known} places, and {counted} count in this log"
                );
                return Err(Refusal::new(told)
                    .hint(format!("pass --top {known}, or examine more places"))
                    .into());
            }
            return Ok(Propensities::Examination(of_place.clone()));
        }
        Asked::Balanced(names, lists) => {
            let columns: Vec<Vec<f64>> = names
                .iter()
                .map(|name| shown.table.numeric(name))
                .collect::<Result<_>>()?;
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            let mixture = slate_eval::off_policy::balanced_propensities(&columns, lists)?;
            ("balanced".to_owned(), mixture)
        }
        Asked::Column(name) => (name.clone(), column(shown, name)?),
    };
    let choice = shown
        .lists()
        .iter()
        .filter(|rows| rows.len() > 1 || shown.is_single());
    let certain = |rows: std::ops::Range<usize>| rows.into_iter().all(|row| values[row] >= CERTAIN);
    let (mut lists, mut fixed) = (0, 0);
    for rows in choice {
        lists += 1;
        fixed += usize::from(certain(rows));
    }
    if lists > 0 && fixed == lists {
        return Err(Refusal::new(
            "every propensity is 1: the logger showed one order and would have shown no other, so \
             nothing is known of any other",
        )
        .hint(
            "log some lists in random order (even 1 % helps), or weigh clicks by what users look at: \
             --examination FILE (`slate backtest examine`), or take the model's word: --estimators dm \
             --main dm",
        )
        .into());
    }
    Ok(Propensities::Known { name, values })
}

fn column(shown: &Shown, name: &str) -> Result<Vec<f64>> {
    let values = match shown.table.get(name) {
        Some(values) => values.to_vec(),
        None if shown.table.has(name) => shown.table.numeric(name)?,
        None => {
            return Err(
                Refusal::new(format!("the placements have no column `{name}`"))
                    .hint(
                        "without logged propensities: --propensity uniform for lists in random \
                         order, --examination for what users look at (`slate backtest examine`), \
                         or --estimators dm --main dm",
                    )
                    .into(),
            );
        }
    };
    if let Some(row) = values.iter().position(|p| *p > 1.0 || *p < 0.0) {
        let told = format!(
            "`{name}` at row {row} is {}, expected a number above 0 and up to 1",
            values[row]
        );
        return Err(Refusal::new(told).into());
    }
    Ok(values)
}
