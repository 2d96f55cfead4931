//! A comparison in words and tables.

use slate_eval::off_policy::{Change, Doubt, Estimate, Judgement, Verdict, WeightReport};

use super::details::Segment;
use super::{Compared, Row, Settings};
use crate::console::{Align, Table};
use crate::pipeline::evaluation::{about, decimals, decimals_of_width, signed_interval};

impl Compared {
    /// The answer in one sentence or two, for the policy `at` (from 1) against the first.
    pub(crate) fn sentence(&self, at: usize, settings: &Settings) -> String {
        let (a, b) = (&self.names[0], &self.names[at]);
        let judgement = &self.judgements[at - 1];
        let change = &self.main.estimates.changes[at - 1];
        let what = format!(
            "{} per {}",
            plural(&self.rewards.name),
            settings.unit.name()
        );
        let level = settings.intervals.bootstrap.level * 100.0;
        let together = if self.names.len() > 2 {
            " for all together"
        } else {
            ""
        };
        let by = self.main.estimator;
        let clusters = self.main.estimates.clusters;
        let unit = settings.cluster.name();
        let d = digits(change);
        let (size, low, high) = (change.difference, change.low, change.high);
        let relative = if change.relative.is_nan() {
            String::new()
        } else {
            format!("{:+.1} %, ", 100.0 * change.relative)
        };
        match judgement.verdict {
            Verdict::BBetter | Verdict::ABetter => {
                let way = if judgement.verdict == Verdict::BBetter {
                    "more"
                } else {
                    "less"
                };
                format!(
                    "`{b}` would have earned {way} than `{a}`: {size:+.d$} {what} ({relative}{level:.0} % \
                     interval{together} {low:+.d$} to {high:+.d$}), by `{by}` over {clusters} {unit}s."
                )
            }
            Verdict::CannotTell => {
                let doubts: Vec<String> = judgement
                    .doubts
                    .iter()
                    .map(|doubt| told(doubt, [a, b], change))
                    .collect();
                let mut text = format!(
                    "This log cannot tell `{b}` from `{a}` in {what}: {}.",
                    doubts.join("; ")
                );
                if judgement.sound {
                    text.push_str(" Nothing speaks against the interval itself: the difference is unlikely to lie outside it.");
                }
                text.push_str(&self.suffices(at, judgement, unit));
                text
            }
        }
    }

    /// What would be enough to tell.
    fn suffices(&self, at: usize, judgement: &Judgement, unit: &str) -> String {
        let mut ways = Vec::new();
        let alone = judgement.doubts.iter().all(|doubt| {
            matches!(
                doubt,
                Doubt::IncludesZero | Doubt::FewPlacements { .. } | Doubt::FewRewards { .. }
            )
        });
        if let (Some(needed), true) = (judgement.clusters_needed, alone) {
            ways.push(format!("about {} {unit}s like these", about(needed)));
        }
        if let Some(lists) = self.random_lists[at - 1] {
            ways.push(format!(
                "about {} lists shown in random order",
                about(lists)
            ));
        }
        if ways.is_empty() {
            return String::new();
        }
        format!(
            " If the difference is as estimated, {} would find it in 80 % of all logs.",
            ways.join(", or ")
        )
    }
}

fn told(doubt: &Doubt, names: [&str; 2], change: &Change) -> String {
    let name = |policy: &str| names[usize::from(policy == "b")];
    let d = digits(change);
    match doubt {
        Doubt::IncludesZero => format!(
            "the difference is {:+.d$}, but its interval goes from {:+.d$} to {:+.d$}",
            change.difference, change.low, change.high
        ),
        Doubt::NoInterval => "there are too few clusters for an interval".to_owned(),
        Doubt::ModelOnly => {
            "it is the outcome model's word alone, and nothing in it is held to what was \
                             shown, so its interval knows nothing of the model's error"
                .to_owned()
        }
        Doubt::Same => "both show the same".to_owned(),
        Doubt::FewPlacements {
            policy,
            effective,
            least,
        } => format!(
            "what was shown as `{}` would show it is worth {effective:.0} placements, less than {least}",
            name(policy)
        ),
        Doubt::FewRewards { effective, least } => format!(
            "the rewards that decide between them are worth {effective:.1}, less than {least}"
        ),
        Doubt::MeanWeight {
            policy,
            mean,
            low,
            high,
        } => format!(
            "the mean weight of `{}` is {mean:.3} ({low:.3} to {high:.3}) and should be 1, so propensities \
             are not those of these lists (if lists were shown in random order, pass --propensity uniform)",
            name(policy)
        ),
        Doubt::OneWeight { policy, share } => format!(
            "one placement has {:.0} % of the weight of `{}`",
            100.0 * share,
            name(policy)
        ),
        Doubt::HeavyTail {
            policy,
            shape,
            most,
        } => format!(
            "the largest weights of `{}` have a tail of shape {shape:.2}, above {most}, so what was not logged \
             may count for more than all that was",
            name(policy)
        ),
        Doubt::Unseen { policy, share } => format!(
            "{:.0} % of what `{}` shows was never logged in its slot",
            100.0 * share,
            name(policy)
        ),
        Doubt::Bias { difference } => format!(
            "without the bias this estimator takes the difference is {difference:+.d$}, which its interval \
             does not hold"
        ),
        Doubt::Clipping { difference } => format!(
            "with its largest weights clipped the difference is {difference:+.d$}, so it hangs on a few \
             placements"
        ),
    }
}

fn digits(change: &Change) -> usize {
    decimals_of_width(change.difference, change.low, change.high)
}

fn plural(reward: &str) -> String {
    match reward {
        "purchase" | "click" | "fee" => format!("{reward}s"),
        other => other.to_owned(),
    }
}

/// Every estimator on every policy.
pub(crate) fn estimate_table(names: &[String], rows: &[Row]) -> String {
    let differences: Vec<String> = names[1..]
        .iter()
        .map(|name| format!("{name} - {}", names[0]))
        .collect();
    let mut header = vec![("estimator", Align::Left)];
    header.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    let several = differences.len() > 1;
    for difference in &differences {
        header.push((difference, Align::Right));
        header.push((if several { "p, Holm" } else { "p" }, Align::Right));
    }
    let mut table = Table::new(&header);
    for row in rows {
        let mut cells = vec![row.estimator.to_string()];
        cells.extend(row.estimates.policies.iter().map(value_cell));
        for (change, p) in row.estimates.changes.iter().zip(&row.p_holm) {
            cells.push(signed_interval(change.difference, change.low, change.high));
            cells.push(format!("{:.4}", if several { *p } else { change.p }));
        }
        table.row(cells);
    }
    table.render()
}

fn value_cell(estimate: &Estimate) -> String {
    let d = decimals(estimate.value);
    format!(
        "{:.d$} [{:.d$}, {:.d$}]",
        estimate.value, estimate.low, estimate.high
    )
}

/// What each policy's estimate rests on; empty where nothing is weighed.
pub(crate) fn weight_table(names: &[String], weights: &[WeightReport]) -> String {
    if weights.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("policy", Align::Left),
        ("lists matched", Align::Right),
        ("mean weight", Align::Right),
        ("effective placements", Align::Right),
        ("effective rewards", Align::Right),
        ("largest weight", Align::Right),
        ("tail", Align::Right),
    ]);
    for (name, report) in names.iter().zip(weights) {
        table.row([
            name.clone(),
            format!("{} of {}", report.matched_lists, report.lists),
            format!(
                "{:.3} [{:.3}, {:.3}]",
                report.mean, report.mean_low, report.mean_high
            ),
            format!("{:.0} of {}", report.effective, report.placements),
            format!("{:.1}", report.rewarded_effective),
            format!("{:.1}", report.largest),
            match report.tail {
                Some(shape) => format!("{shape:.2}"),
                None => "–".to_owned(),
            },
        ]);
    }
    table.render()
}

/// A p value, where there is one.
fn chance(p: f64) -> String {
    if p.is_nan() {
        "–".to_owned()
    } else {
        format!("{p:.4}")
    }
}

/// The change in each segment, of each policy where there are several; a dash where a segment says nothing
/// of how sure it is.
pub(crate) fn segment_table(column: &str, segments: &[Segment]) -> String {
    let several = segments
        .iter()
        .any(|segment| segment.policy != segments[0].policy);
    let mut header = vec![(column, Align::Left)];
    if several {
        header.push(("policy", Align::Left));
    }
    header.extend([
        ("lists", Align::Right),
        ("difference", Align::Right),
        ("p", Align::Right),
        ("p, Holm", Align::Right),
    ]);
    let mut table = Table::new(&header);
    for segment in segments {
        let mut cells = vec![segment.value.clone()];
        if several {
            cells.push(segment.policy.clone());
        }
        cells.extend([
            segment.lists.to_string(),
            if segment.low.is_nan() {
                "–".to_owned()
            } else {
                signed_interval(segment.difference, segment.low, segment.high)
            },
            chance(segment.p),
            chance(segment.p_holm),
        ]);
        table.row(cells);
    }
    table.render()
}
