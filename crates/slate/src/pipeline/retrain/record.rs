//! What is known of a month: that it was begun against a model, and what it came to.
//!
//! A record is written when a month begins, so that a month that is killed after it brought its own model
//! into use still knows which model it was made against; and again when it is done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slate_types::FormatVersion;

use super::gate::Verdict;
use super::judging::Judgement;
use crate::artefacts::{manifest, names, replace_file};
use crate::pipeline::calendar::Month;

/// The page of a month, beside its record.
pub(super) const PAGE: &str = "report.html";

/// The record of a month.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) format: FormatVersion,
    pub(crate) kind: String,
    pub(crate) month: String,
    pub(crate) model: String,
    /// Hash of configuration and logs: the month is done anew where it changes.
    pub(crate) of: String,
    /// Hash of the logs of the days in which its labels settled: a month that failed is done anew where
    /// these change too.
    pub(crate) lag: String,
    /// The promotion that was in force when it began, 0 for none.
    pub(crate) champion: u64,
    /// None until it is done.
    pub(crate) ended: Option<Ended>,
}

/// What a month came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<String>,
    /// Whether its lists are not to be learned from later either.
    pub(crate) unsound: bool,
    /// The version it made, where it made one.
    pub(crate) version: Option<String>,
    /// Metrics of the new model and of the one in use on the held-out window.
    pub(crate) metrics: Value,
    /// Folders of its stages, by their names.
    pub(crate) stages: BTreeMap<String, String>,
    /// SHA-256 of the month's page.
    pub(crate) report: String,
}

/// What to do about a record that is damaged.
const HINT: &str = "bring it back from a copy; where there is none, and it is of the last month, remove the \
                    month's folder and run `slate retrain --month MONTH` again";

impl Record {
    pub(super) fn file(months: &Path, month: Month) -> PathBuf {
        months.join(month.to_string()).join("record.json")
    }

    /// The record of a month; none where it was never begun.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn read(months: &Path, month: Month) -> Result<Option<Self>> {
        let file = Self::file(months, month);
        if !file.is_file() {
            return Ok(None);
        }
        let value = manifest::read_sealed(&file, HINT)?;
        let told = || format!("`{}` is no record of a month", file.display());
        anyhow::ensure!(manifest::kind(&value)? == "month record", told());
        Ok(Some(serde_json::from_value(value).with_context(told)?))
    }

    pub(super) fn write(&self, months: &Path, month: Month) -> Result<()> {
        let file = Self::file(months, month);
        fs::create_dir_all(file.parent().unwrap_or(months))
            .with_context(|| format!("cannot create `{}`", months.display()))?;
        let text = manifest::sealed(serde_json::to_value(self)?);
        replace_file(&file, text.as_bytes())
    }

    /// Whether all that are to hear of this record have.
    pub(crate) fn is_told(&self, months: &Path, month: Month) -> bool {
        let told = fs::read_to_string(Self::note(months, month));
        told.is_ok_and(|told| Some(told) == self.seal())
    }

    /// Notes that they have.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(crate) fn note_told(&self, months: &Path, month: Month) -> Result<()> {
        let seal = self.seal().unwrap_or_default();
        replace_file(&Self::note(months, month), seal.as_bytes())
    }

    /// Forgets that they have.
    pub(crate) fn forget_told(months: &Path, month: Month) {
        // Where there was no note there is none to forget.
        let _ = fs::remove_file(Self::note(months, month));
    }

    fn note(months: &Path, month: Month) -> PathBuf {
        months.join(month.to_string()).join("told.sha256")
    }

    /// One hash of all it says.
    fn seal(&self) -> Option<String> {
        let text = serde_json::to_string(self).ok()?;
        Some(manifest::hex(&Sha256::digest(text.as_bytes())))
    }

    /// What is wrong with the records and pages of all months, in words.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn verify(months: &Path) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for month in Self::months(months)? {
            let record = match Self::read(months, month) {
                Ok(record) => record,
                Err(error) => {
                    problems.push(format!("{error:#} ({HINT})"));
                    continue;
                }
            };
            let Some(ended) = record.and_then(|record| record.ended) else {
                continue;
            };
            let page = months.join(month.to_string()).join(PAGE);
            if !manifest::sha256(&page).is_ok_and(|hash| hash == ended.report) {
                problems.push(format!(
                    "`{}` is not the page that the month's record tells of ({HINT})",
                    page.display()
                ));
            }
        }
        Ok(problems)
    }

    /// All months that were begun, in order.
    fn months(months: &Path) -> Result<Vec<Month>> {
        let names = names(months)?.into_iter();
        Ok(names.filter_map(|name| Month::parse(&name).ok()).collect())
    }

    /// All months there are records of, in order.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn all(months: &Path) -> Result<Vec<Self>> {
        let months_begun = Self::months(months)?.into_iter();
        let records = months_begun.map(|month| Self::read(months, month));
        records.filter_map(Result::transpose).collect()
    }

    /// What earlier months came to, in order.
    pub(super) fn before(months: &Path, month: Month) -> Result<Vec<Value>> {
        let month = month.to_string();
        let all = Self::all(months)?.into_iter();
        let done = all.filter(|record| record.month < month);
        let told = done.filter_map(|record| {
            let ended = record.ended?;
            Some(json!({
                "month": record.month, "verdict": ended.verdict, "metrics": ended.metrics,
                "version": ended.version,
            }))
        });
        Ok(told.collect())
    }

    /// The metrics that a record keeps.
    pub(super) fn metrics(judgement: &Judgement) -> Value {
        let metrics = judgement.metrics.iter().map(|compared| {
            json!({
                "name": compared.challenger.name,
                "challenger": compared.challenger.value,
                "champion": compared.champion.as_ref().map(|metric| metric.value),
            })
        });
        metrics.collect()
    }
}
