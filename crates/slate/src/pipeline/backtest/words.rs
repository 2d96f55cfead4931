//! A comparison in words and tables.

use slate_eval::off_policy::{Change, Doubt, Estimate, Judgement, Verdict, WeightReport};

use super::details::Segment;
use super::{Compared, Row, Settings};
use crate::console::{Align, Table};
use crate::pipeline::evaluation::decimals;

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
            Verdict::BBetter => format!(
                "`{b}` would have earned more than `{a}`: {size:+.d$} {what} ({relative}{level:.0} % interval \
                 {low:+.d$} to {high:+.d$}), by `{by}` over {clusters} {unit}s."
            ),
            Verdict::ABetter => format!(
                "`{b}` would have earned less than `{a}`: {size:+.d$} {what} ({relative}{level:.0} % interval \
                 {low:+.d$} to {high:+.d$}), by `{by}` over {clusters} {unit}s."
            ),
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
            ways.push(format!("about {} {unit}s like these", rounded(needed)));
        }
        if let Some(lists) = self.random_lists[at - 1] {
            ways.push(format!(
                "about {} lists shown in random order",
                rounded(lists)
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
        Doubt::Unseen { policy, share } => format!(
            "{:.0} % of what `{}` shows was never logged in its slot",
            100.0 * share,
            name(policy)
        ),
        Doubt::Clipping { difference } => format!(
            "with its largest weights clipped the difference is {difference:+.d$}, so it hangs on a few \
             placements"
        ),
    }
}

/// Decimals that show the width of an interval.
fn digits(change: &Change) -> usize {
    let width = if change.high > change.low {
        change.high - change.low
    } else {
        change.difference.abs()
    };
    if width > 0.0 && width.is_finite() {
        (1.0 - width.log10().floor()).clamp(0.0, 7.0) as usize
    } else {
        4
    }
}

fn plural(reward: &str) -> String {
    match reward {
        "purchase" | "click" | "fee" => format!("{reward}s"),
        other => other.to_owned(),
    }
}

/// Two significant digits, grouped.
fn rounded(value: f64) -> String {
    let unit = 10.0_f64.powf(value.log10().floor() - 1.0).max(1.0);
    let digits = format!("{:.0}", (value / unit).ceil() * unit);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Every estimator on every policy.
pub(crate) fn estimate_table(names: &[String], rows: &[Row]) -> String {
    let differences: Vec<String> = names[1..]
        .iter()
        .map(|name| format!("{name} - {}", names[0]))
        .collect();
    let mut header = vec![("estimator", Align::Left)];
    header.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    for difference in &differences {
        header.push((difference, Align::Right));
        header.push(("p", Align::Right));
    }
    let several = differences.len() > 1;
    if several {
        header.pop();
        header.push(("p, Holm", Align::Right));
    }
    let mut table = Table::new(&header);
    for row in rows {
        let mut cells = vec![row.estimator.to_string()];
        cells.extend(row.estimates.policies.iter().map(value_cell));
        for (change, p) in row.estimates.changes.iter().zip(&row.p_holm) {
            let d = digits(change);
            cells.push(format!(
                "{:+.d$} [{:+.d$}, {:+.d$}]",
                change.difference, change.low, change.high
            ));
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

/// What each policy's estimate rests on.
pub(crate) fn weight_table(names: &[String], weights: &[WeightReport]) -> String {
    let mut table = Table::new(&[
        ("policy", Align::Left),
        ("lists matched", Align::Right),
        ("mean weight", Align::Right),
        ("effective placements", Align::Right),
        ("effective rewards", Align::Right),
        ("largest weight", Align::Right),
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
        ]);
    }
    table.render()
}

/// The change in each segment.
pub(crate) fn segment_table(column: &str, segments: &[Segment]) -> String {
    let mut table = Table::new(&[
        (column, Align::Left),
        ("lists", Align::Right),
        ("difference", Align::Right),
        ("p", Align::Right),
        ("p, Holm", Align::Right),
    ]);
    for segment in segments {
        let width = segment.high - segment.low;
        let d = if width > 0.0 {
            (1.0 - width.log10().floor()).clamp(0.0, 7.0) as usize
        } else {
            4
        };
        table.row([
            segment.value.clone(),
            segment.lists.to_string(),
            if segment.difference.is_nan() {
                "–".to_owned()
            } else {
                format!(
                    "{:+.d$} [{:+.d$}, {:+.d$}]",
                    segment.difference, segment.low, segment.high
                )
            },
            format!("{:.4}", segment.p),
            format!("{:.4}", segment.p_holm),
        ]);
    }
    table.render()
}
