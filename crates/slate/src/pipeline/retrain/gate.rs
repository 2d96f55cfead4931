//! The gate: may the new model replace the one in use?

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slate_eval::{Difference, MetricName};
use slate_types::FormatVersion;

use super::job::{Job, read};
use super::judging::{Backtest, Compared, Judge, JudgePart, Judgement, Latency};
use crate::artefacts::manifest;
use crate::config::{GateSection, Rule};
use crate::pipeline::evaluation;
use crate::pipeline::stages::{Given, Need, Stage};

/// What a month comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The new model is in use.
    Promoted,
    /// The model that was in use stays.
    Kept,
    /// The data were too bad to make one.
    Failed,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Kept => "kept",
            Self::Failed => "failed",
        }
    }
}

/// One question the gate asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) question: String,
    /// `yes`, `no` or `cannot tell`; only yes lets the new model pass.
    #[serde(rename = "answer")]
    pub(crate) pass: Pass,
    /// With its numbers.
    pub(crate) why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pass {
    #[serde(rename = "yes")]
    Yes,
    #[serde(rename = "no")]
    No,
    #[serde(rename = "cannot tell")]
    CannotTell,
}

/// What the gate decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    format: FormatVersion,
    kind: String,
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<String>,
    pub(crate) answers: Vec<Answer>,
}

impl Decision {
    pub(super) const FILE: &str = "verdict.json";

    pub(super) fn read(folder: &Path) -> Result<Self> {
        Ok(serde_json::from_value(read(folder, Self::FILE)?)?)
    }

    /// That of a month whose data were refused.
    pub(super) fn failed(reasons: Vec<String>) -> Self {
        Self::new(Verdict::Failed, reasons, Vec::new())
    }

    fn new(verdict: Verdict, reasons: Vec<String>, answers: Vec<Answer>) -> Self {
        Self {
            format: manifest::FORMAT,
            kind: "verdict".to_owned(),
            verdict,
            reasons,
            answers,
        }
    }
}

/// Decides.
pub(super) struct Gate(pub(super) Arc<Job>);

impl Gate {
    pub(super) const NAME: &str = "gate";
}

impl Stage for Gate {
    fn name(&self) -> String {
        Self::NAME.to_owned()
    }

    fn needs(&self) -> Vec<Need> {
        vec![
            Need::stage(Judge::NAME),
            Need::AddedBy(Judge::NAME.to_owned()),
            Need::stage(Backtest::NAME),
            Need::stage(Latency::NAME),
        ]
    }

    fn inputs(&self) -> Result<Value> {
        Ok(json!({ "gate": self.0.section.gate, "champion": self.0.champion_id() }))
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        let gate = &self.0.section.gate;
        let judgement = Judgement::read(given.output(Judge::NAME))?;
        let mut answers = Vec::new();
        for rule in &gate.rules {
            // A name may be written in several ways, and a rule is never passed over.
            let name = rule.metric.parse::<MetricName>()?;
            let metrics = judgement.metrics.iter();
            let mut named = metrics.filter(|own| own.challenger.name.parse() == Ok(name));
            let compared = named.next();
            let compared =
                compared.with_context(|| format!("`{}` was not computed", rule.metric))?;
            answers.extend(by_rule(rule, compared)?);
        }
        for folder in given.outputs_like(JudgePart::BEGINNING) {
            answers.extend(by_part(gate, &Judgement::read(folder)?)?);
        }
        if gate.backtest {
            answers.push(by_backtest(&read(
                given.output(Backtest::NAME),
                Backtest::FILE,
            )?));
        }
        let latency = read(given.output(Latency::NAME), Latency::FILE)?;
        answers.extend(by_size(gate, &latency));
        let decision = decide(self.0.champion.is_some(), &judgement, answers);
        let value = serde_json::to_value(&decision)?;
        manifest::write_json(&given.out.join(Decision::FILE), &value)
    }
}

fn decide(has_champion: bool, judgement: &Judgement, answers: Vec<Answer>) -> Decision {
    let against: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.pass != Pass::Yes)
        .collect();
    if !against.is_empty() {
        let reasons = against.iter().map(|answer| answer.why.clone()).collect();
        return Decision::new(Verdict::Kept, reasons, answers);
    }
    let reason = if has_champion {
        format!(
            "the new model is not worse than the one in use in any of {} questions, on {} held-out lists",
            answers.len(),
            judgement.lists
        )
    } else {
        "no model is in use yet, and this one keeps to the bounds".to_owned()
    };
    Decision::new(Verdict::Promoted, vec![reason], answers)
}

/// Answers to one rule.
fn by_rule(rule: &Rule, compared: &Compared) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let value = compared.challenger.value;
    let d = evaluation::decimals(value);
    for (bound, holds, word) in [
        (
            rule.at_least,
            rule.at_least.is_none_or(|least| value >= least),
            "at least",
        ),
        (
            rule.at_most,
            rule.at_most.is_none_or(|most| value <= most),
            "at most",
        ),
    ] {
        if let Some(bound) = bound {
            answers.push(Answer {
                question: format!("{} {word} {bound}", rule.metric),
                pass: if holds { Pass::Yes } else { Pass::No },
                why: format!("{} is {value:.d$}, expected {word} {bound}", rule.metric),
            });
        }
    }
    if let (Some(margin), Some(difference)) = (rule.worse_by, &compared.difference) {
        answers.push(not_worse(&rule.metric, margin, difference, "")?);
    }
    Ok(answers)
}

/// Whether the whole interval is on the good side of the margin.
fn not_worse(metric: &str, margin: f64, difference: &Difference, place: &str) -> Result<Answer> {
    let name: MetricName = metric.parse()?;
    // The ends of what speaks for the new model.
    let (worst, best) = if name.larger_is_better() == Some(false) {
        (-difference.high, -difference.low)
    } else {
        (difference.low, difference.high)
    };
    let cell = evaluation::difference_cell(difference);
    let question = format!("{metric}{place} not worse by more than {margin}");
    let (pass, why) = if worst >= -margin {
        (
            Pass::Yes,
            format!("{metric}{place} changes by {cell}, within the margin of {margin}"),
        )
    } else if best < -margin {
        (
            Pass::No,
            format!("{metric}{place} is worse: {cell}, beyond the margin of {margin}"),
        )
    } else {
        // Half the interval shrinks with the root of the number of lists.
        let half = (best - worst) / 2.0;
        let room = margin + f64::midpoint(best, worst);
        let more = if room > 0.0 && half.is_finite() {
            let lists = difference.n as f64 * (half / room).powi(2);
            let lists = evaluation::about(lists);
            format!("; if it stays as it is, about {lists} lists would tell")
        } else {
            String::new()
        };
        (
            Pass::CannotTell,
            format!(
                "{metric}{place} cannot be told within the margin of {margin}: {cell} on {} {}s{more}",
                difference.n, difference.unit
            ),
        )
    };
    Ok(Answer {
        question,
        pass,
        why,
    })
}

/// Whether a part of the traffic is much worse off: parts are small, so only what is certain counts.
fn by_part(gate: &GateSection, judgement: &Judgement) -> Result<Option<Answer>> {
    let (Some(part), Some(compared)) = (&judgement.part, judgement.metrics.first()) else {
        return Ok(None);
    };
    let Some(difference) = &compared.difference else {
        return Ok(None);
    };
    let place = format!(" where {} is {}", part.feature, part.value);
    let metric = &gate.segment_metric;
    let mut answer = not_worse(metric, gate.segment_worse_by, difference, &place)?;
    if answer.pass == Pass::CannotTell {
        answer.pass = Pass::Yes;
        answer.why = format!(
            "{metric}{place} changes by {}, not certainly beyond the margin of {}",
            evaluation::difference_cell(difference),
            gate.segment_worse_by
        );
    }
    Ok(Some(answer))
}

/// Whether the log says that the model in use would have earned more.
fn by_backtest(backtest: &Value) -> Answer {
    let question = "the log does not say that the model in use would have earned more".to_owned();
    let sentence = backtest["sentences"][0].as_str();
    let sentence = sentence.or(backtest["why"].as_str()).unwrap_or_default();
    let pass = if backtest["verdict"] == "a_better" {
        Pass::No
    } else {
        Pass::Yes
    };
    Answer {
        question,
        pass,
        why: format!("off-policy comparison: {sentence}"),
    }
}

fn by_size(gate: &GateSection, latency: &Value) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (key, most, what) in [
        ("latency", gate.latency, "time to score a list"),
        ("size", gate.size, "bytes of the weights"),
    ] {
        if most == 0.0 || latency["champion_bytes"].is_null() {
            continue;
        }
        let (pass, told) = match latency[key].as_f64() {
            Some(times) if times > most => {
                (Pass::No, format!("{times:.2}, expected at most {most}"))
            }
            Some(times) => (Pass::Yes, format!("{times:.2}, at most {most}")),
            // What was measured and fits is not told: it is another number each time.
            None => (Pass::Yes, format!("at most {most}")),
        };
        answers.push(Answer {
            question: format!("{what} at most {most} times that of the model in use"),
            pass,
            why: format!("{what}, times that of the model in use: {told}"),
        });
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(low: f64, high: f64) -> Difference {
        Difference {
            name: "ndcg@10".to_owned(),
            difference: f64::midpoint(low, high),
            relative: 0.0,
            low,
            high,
            p: 0.5,
            p_holm: 0.5,
            n: 100,
            unit: "list".to_owned(),
            convention: String::new(),
        }
    }

    fn answer(metric: &str, low: f64, high: f64) -> (Pass, String) {
        let answer = not_worse(metric, 0.01, &difference(low, high), "").unwrap();
        (answer.pass, answer.why)
    }

    #[test]
    fn only_an_interval_within_the_margin_passes() {
        assert_eq!(answer("ndcg@10", -0.009, 0.02).0, Pass::Yes);
        assert_eq!(answer("ndcg@10", -0.05, -0.02).0, Pass::No);
        let (pass, why) = answer("ndcg@10", -0.03, 0.03);
        assert_eq!(pass, Pass::CannotTell);
        // Half of it is 0.03 and the room 0.01, so nine times the lists.
        assert!(why.contains("about 900 lists"), "{why}");
        // Worse than the margin in the middle: more lists would not help.
        let (pass, why) = answer("ndcg@10", -0.05, 0.01);
        assert!(
            pass == Pass::CannotTell && !why.contains("would tell"),
            "{why}"
        );
    }

    #[test]
    fn less_is_better_for_losses() {
        assert_eq!(answer("logloss", -0.02, 0.009).0, Pass::Yes);
        assert_eq!(answer("logloss", 0.02, 0.05).0, Pass::No);
    }

    #[test]
    fn an_interval_that_is_unknown_does_not_pass() {
        assert_eq!(answer("ndcg@10", f64::NAN, f64::NAN).0, Pass::CannotTell);
    }

    #[test]
    fn a_log_that_cannot_tell_refuses_no_one() {
        let told = |verdict: &str| by_backtest(&json!({ "verdict": verdict })).pass;
        assert_eq!(told("cannot_tell"), Pass::Yes);
        assert_eq!(told("a_better"), Pass::No);
    }
}
