//! The sections `[retrain]`, `[retrain.checks]` and `[retrain.gate]`.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::console::Refusal;

/// `[retrain]`: the monthly retrain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetrainSection {
    /// Name of the model in the registry.
    pub(crate) model: String,
    /// Folder of the registry.
    pub(crate) registry: PathBuf,
    /// Folder of stages and months.
    pub(crate) work: PathBuf,
    /// Folder of the logs, or their place in an object store, as in `s3://bucket/logs`.
    pub(crate) logs: String,
    /// Months that a training from nothing learns from.
    pub(crate) window_months: u32,
    /// Months of logs before the first list that is learned from: what features look back on.
    pub(crate) history_months: u32,
    /// Whether a model is updated from the one in use, where there is one.
    pub(crate) update: bool,
    /// Updates after which the next training begins with nothing; 0 for never.
    pub(crate) full_every: u64,
    /// Days after the end of the month at which labels are read.
    pub(crate) lag_days: u64,
    /// Where to compute.
    pub(crate) device: String,
    /// Stages that run at the same time, at most.
    pub(crate) jobs: usize,
    /// Memory for all stages that run together, as in `8GiB`; most of the machine's where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
    /// Attempts after the first where a fault may pass by itself.
    pub(crate) retries: u32,
    /// Wait before the first of these; each further one waits four times as long.
    pub(crate) retry_seconds: f64,
    /// How long a process without a sign of life keeps the model to itself.
    pub(crate) lease_seconds: f64,
    /// Where to write metrics for Prometheus' textfile collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) textfile: Option<PathBuf>,
    /// Where to post the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<String>,
    pub(crate) checks: ChecksSection,
    pub(crate) gate: GateSection,
}

/// `[retrain.checks]`: what the month's data must be like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChecksSection {
    /// Fewest lists of the held-out window.
    pub(crate) lists: u64,
    /// Each day's pages, and its events, as a share of the month's median day: at least this.
    pub(crate) day: f64,
    /// Pages a day, and events a page, over those of the model in use: within this factor, up or down.
    pub(crate) volume: f64,
    /// Clicks and purchases a row over those of the model in use: within this factor, up or down.
    pub(crate) labels: f64,
    /// Share of events that belong to no placement, at most.
    pub(crate) orphans: f64,
    /// Share of events that are there already, at most.
    pub(crate) duplicates: f64,
    /// Share of placements that cannot be used, at most.
    pub(crate) rejects: f64,
    /// Share of missing values of a feature over that of the last month that was looked at: at most so much
    /// more for each month between.
    pub(crate) missing: f64,
    /// Population stability index of a feature beside the last month that was looked at: at most so much for
    /// each month between.
    pub(crate) psi: f64,
}

impl Default for ChecksSection {
    fn default() -> Self {
        Self {
            lists: 200,
            day: 0.3,
            volume: 2.0,
            labels: 1.5,
            orphans: 0.1,
            duplicates: 0.05,
            rejects: 0.05,
            missing: 0.1,
            psi: 0.25,
        }
    }
}

/// `[retrain.gate]`: when a new model may replace the one in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GateSection {
    /// What both are compared by on the held-out window.
    pub(crate) rules: Vec<Rule>,
    /// Categorical features whose values are looked at by themselves.
    pub(crate) segments: Vec<String>,
    /// Lists from which on a segment is looked at.
    pub(crate) segment_lists: u64,
    /// The metric that segments are compared by.
    pub(crate) segment_metric: String,
    /// How much worse it may be in a segment: the model is kept where even the good end of the interval is
    /// worse than this.
    pub(crate) segment_worse_by: f64,
    /// Whether the off-policy comparison must not say that the model in use would have earned more.
    pub(crate) backtest: bool,
    /// Time to score a list over that of the model in use, at most; 0 for any.
    pub(crate) latency: f64,
    /// Bytes of the weights over those of the model in use, at most; 0 for any.
    pub(crate) size: f64,
}

/// One comparison of the gate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Name of the metric, such as `ndcg@10` or `ptr@3:snips`.
    pub(crate) metric: String,
    /// How much worse the new model may be: the whole interval must be on the good side of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worse_by: Option<f64>,
    /// The new model's own value, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<f64>,
    /// The new model's own value, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
}

impl Default for GateSection {
    fn default() -> Self {
        let rule = |metric: &str, worse_by| Rule {
            metric: metric.to_owned(),
            worse_by: Some(worse_by),
            at_least: None,
            at_most: None,
        };
        Self {
            rules: vec![
                rule("ndcg@10", 0.01),
                rule("logloss", 0.001),
                Rule {
                    metric: "pcoc".to_owned(),
                    worse_by: None,
                    at_least: Some(0.8),
                    at_most: Some(1.25),
                },
            ],
            segments: Vec::new(),
            segment_lists: 100,
            segment_metric: "ndcg@10".to_owned(),
            segment_worse_by: 0.02,
            backtest: true,
            latency: 2.0,
            size: 2.0,
        }
    }
}

impl Default for RetrainSection {
    fn default() -> Self {
        Self {
            model: "page-ranker".to_owned(),
            registry: "registry".into(),
            work: "retrain".into(),
            logs: "logs".to_owned(),
            window_months: 3,
            history_months: 2,
            update: true,
            full_every: 6,
            lag_days: 0,
            device: "auto".to_owned(),
            jobs: 2,
            memory: None,
            retries: 3,
            retry_seconds: 5.0,
            lease_seconds: 60.0,
            textfile: None,
            webhook: None,
            checks: ChecksSection::default(),
            gate: GateSection::default(),
        }
    }
}

impl RetrainSection {
    /// Checks ranges and names.
    ///
    /// # Errors
    /// The first key that cannot be, with what is allowed.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |key: &str, given: String, expected: &str| {
            let told = format!("`retrain.{key}` is {given}, expected {expected}");
            Err(Refusal::new(told).into())
        };
        if self.window_months == 0 {
            return refuse("window_months", "0".into(), "1 or more");
        }
        if self.jobs == 0 {
            return refuse("jobs", "0".into(), "1 or more");
        }
        for (key, value, least) in [
            ("retry_seconds", self.retry_seconds, 0.0),
            ("lease_seconds", self.lease_seconds, 0.5),
            ("checks.day", self.checks.day, 0.0),
            ("checks.volume", self.checks.volume, 1.0),
            ("checks.labels", self.checks.labels, 1.0),
            ("checks.orphans", self.checks.orphans, 0.0),
            ("checks.duplicates", self.checks.duplicates, 0.0),
            ("checks.rejects", self.checks.rejects, 0.0),
            ("checks.missing", self.checks.missing, 0.0),
            ("checks.psi", self.checks.psi, 0.0),
            ("gate.segment_worse_by", self.gate.segment_worse_by, 0.0),
            ("gate.latency", self.gate.latency, 0.0),
            ("gate.size", self.gate.size, 0.0),
        ] {
            if !(value.is_finite() && value >= least) {
                return refuse(key, value.to_string(), &format!("a number from {least} up"));
            }
        }
        if self.gate.rules.is_empty() {
            return refuse("gate.rules", "empty".into(), "at least one rule");
        }
        for (place, rule) in self.gate.rules.iter().enumerate() {
            let name: slate_eval::MetricName = rule.metric.parse()?;
            let key = format!("gate.rules[{place}]");
            if let Some(margin) = rule.worse_by {
                if !(margin.is_finite() && margin >= 0.0) {
                    let key = format!("{key}.worse_by");
                    return refuse(&key, margin.to_string(), "a number from 0 up");
                }
                if name.larger_is_better().is_none() {
                    let expected = "it left out: this metric is best near a value; bound it by \
                                    `at_least` and `at_most`";
                    return refuse(&format!("{key}.worse_by"), "set".into(), expected);
                }
            }
            if rule.worse_by.or(rule.at_least).or(rule.at_most).is_none() {
                let expected = "`worse_by`, `at_least` or `at_most` beside the metric";
                return refuse(&key, format!("`{}` alone", rule.metric), expected);
            }
        }
        let metric = &self.gate.segment_metric;
        if metric
            .parse::<slate_eval::MetricName>()?
            .larger_is_better()
            .is_none()
        {
            return refuse(
                "gate.segment_metric",
                format!("`{metric}`"),
                "a metric of which more or less is better",
            );
        }
        Ok(())
    }
}
