//! What placements earned.

use anyhow::Result;
use slate_eval::off_policy::OutcomeModel;

use crate::artefacts::scores::ScoreTable;
use crate::cli::Label;
use crate::console::Refusal;
use crate::pipeline::columns::{self, Worth};
use crate::pipeline::evaluation::Labels;

/// Rewards, and how a model sees them.
pub(crate) struct Rewards {
    /// `purchase`, `click`, `revenue`, `fee` or the column's name.
    pub(crate) name: String,
    /// What each placement earned.
    pub(crate) of_rows: Vec<f64>,
    /// What the outcome model learns: a reward is this times `scale`.
    pub(crate) outcomes: Vec<f64>,
    /// What an outcome of 1 earns; none for 1.
    pub(crate) scale: Option<Vec<f64>>,
    pub(crate) model: OutcomeModel,
}

impl Rewards {
    /// Takes the reward asked for, or else purchases where there is one, and clicks where there is none.
    ///
    /// # Errors
    /// A column that is missing or incomplete; labels that can still change; no reward at all.
    pub(crate) fn of(table: &ScoreTable, asked: Option<&str>) -> Result<Self> {
        matured(table)?;
        let rewards = match asked {
            None => Self::labels(table, None)?,
            Some("click") => Self::labels(table, Some(Label::Click))?,
            Some("purchase") => Self::labels(table, Some(Label::Purchase))?,
            Some("revenue") => Self::money(table, "revenue", Worth::Price)?,
            Some("fee") => Self::money(table, "fee", Worth::Fee)?,
            Some(name) => Self::column(table, name)?,
        };
        if rewards.of_rows.iter().all(|&reward| reward == 0.0) {
            let told = format!(
                "no placement has a `{}`, so there is nothing to compare",
                rewards.name
            );
            return Err(Refusal::new(told)
                .hint("name another --reward, or take a longer log")
                .into());
        }
        Ok(rewards)
    }

    fn labels(table: &ScoreTable, asked: Option<Label>) -> Result<Self> {
        let labels = Labels::of(table, asked)?;
        let of_rows: Vec<f64> = labels.positives.iter().map(|&y| f64::from(y)).collect();
        Ok(Self {
            name: labels.label.column().to_owned(),
            outcomes: of_rows.clone(),
            of_rows,
            scale: None,
            model: OutcomeModel::Logistic,
        })
    }

    fn money(table: &ScoreTable, name: &str, worth: Worth) -> Result<Self> {
        let labels = Labels::of(table, Some(Label::Purchase))?;
        let scale = columns::worth(table, &labels, worth)?;
        let outcomes: Vec<f64> = labels.positives.iter().map(|&y| f64::from(y)).collect();
        let pairs = outcomes.iter().zip(&scale);
        Ok(Self {
            name: name.to_owned(),
            of_rows: pairs.map(|(y, worth)| y * worth).collect(),
            outcomes,
            scale: Some(scale),
            model: OutcomeModel::Logistic,
        })
    }

    fn column(table: &ScoreTable, name: &str) -> Result<Self> {
        let of_rows = table.numeric(name)?;
        let unit = of_rows.iter().all(|value| (0.0..=1.0).contains(value));
        Ok(Self {
            name: name.to_owned(),
            outcomes: of_rows.clone(),
            of_rows,
            scale: None,
            model: if unit {
                OutcomeModel::Logistic
            } else {
                OutcomeModel::Linear
            },
        })
    }
}

/// Refuses labels that can still change.
///
/// # Errors
/// A row whose `matured` is false.
pub(crate) fn matured(table: &ScoreTable) -> Result<()> {
    if !table.has("matured") {
        return Ok(());
    }
    let values = table.text("matured")?;
    let open = |value: &String| matches!(value.as_str(), "false" | "0");
    let count = values.iter().filter(|value| open(value)).count();
    let Some(row) = values.iter().position(open) else {
        return Ok(());
    };
    let told = format!(
        "{count} placements have labels that can still change (`matured` is false), the first at row {row}"
    );
    Err(Refusal::new(told)
        .hint("pass --where matured=true, or label again when their window has closed (`slate label --as-of`, \
             where the log is complete to that day)")
        .into())
}
