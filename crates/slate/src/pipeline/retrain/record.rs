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
use slate_types::FormatVersion;

use super::gate::Verdict;
use super::judging::Judgement;
use crate::artefacts::{manifest, replace_file};
use crate::pipeline::calendar::Month;

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
}

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
        let value = manifest::read_json(&file)?;
        let told = || format!("`{}` is no record of a month", file.display());
        anyhow::ensure!(manifest::kind(&value)? == "month record", told());
        Ok(Some(serde_json::from_value(value).with_context(told)?))
    }

    pub(super) fn write(&self, months: &Path, month: Month) -> Result<()> {
        let file = Self::file(months, month);
        fs::create_dir_all(file.parent().unwrap_or(months))
            .with_context(|| format!("cannot create `{}`", months.display()))?;
        let value = serde_json::to_value(self)?;
        replace_file(&file, format!("{value:#}\n").as_bytes())
    }

    /// All months there are records of, in order.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub(crate) fn all(months: &Path) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        let Ok(entries) = fs::read_dir(months) else {
            return Ok(found);
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Ok(month) = Month::parse(&name.to_string_lossy()) {
                found.extend(Self::read(months, month)?);
            }
        }
        found.sort_by(|a, b| a.month.cmp(&b.month));
        Ok(found)
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
