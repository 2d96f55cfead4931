//! What the comparison says, in words that follow its intervals.

use slate_eval::Difference;

use super::super::evaluation;
use super::Judged;

/// What one method is beside the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Better,
    Worse,
    Alike,
}

impl Standing {
    /// The name in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Alike => "not told apart",
        }
    }
}

/// The standing that an interval and Holm's p value agree on; smaller is better.
pub(super) fn standing(difference: &Difference, level: f64) -> Standing {
    if difference.p_holm >= 1.0 - level {
        return Standing::Alike;
    }
    match (difference.high < 0.0, difference.low > 0.0) {
        (true, _) => Standing::Better,
        (_, true) => Standing::Worse,
        _ => Standing::Alike,
    }
}

/// Data behind a verdict.
pub(super) struct Basis<'a> {
    pub(super) reference: &'a str,
    pub(super) fitted_rows: usize,
    pub(super) fitted_positives: usize,
    pub(super) judged_rows: usize,
    pub(super) judged_positives: usize,
    pub(super) label: &'a str,
    /// What intervals resample.
    pub(super) unit: &'a str,
    pub(super) level: f64,
}

/// Positives below which isotonic regression is often beaten by smoother maps (Niculescu-Mizil and
/// Caruana 2005; experiments/006-calibration-study).
const ISOTONIC_WANTS: usize = 1000;

/// Positives below which nothing is said of who is better: intervals of a handful are no intervals.
const JUDGE_WANTS: usize = 20;

/// The verdict on log loss, and on revenue where orders were blended. Smaller loss is better.
pub(super) fn words(methods: &[Judged], basis: &Basis<'_>) -> String {
    let reference = basis.reference;
    for (what, positives) in [
        ("fitted on", basis.fitted_positives),
        ("judged on", basis.judged_positives),
    ] {
        if positives < JUDGE_WANTS {
            return format!(
                "Nothing is said of who is better: they are {what} rows with {positives} {}s, and it takes \
                 {JUDGE_WANTS} or more ({ISOTONIC_WANTS} for `isotonic`).",
                basis.label
            );
        }
    }
    let compared = methods
        .iter()
        .filter(|judged| !judged.against.is_empty())
        .count();
    let of = |wanted: Standing| -> Vec<String> {
        let others = methods.iter().filter_map(|judged| {
            let difference = judged.against.first()?;
            let same = standing(difference, basis.level) == wanted;
            same.then(|| {
                let cell = evaluation::difference_cell(difference);
                match wanted {
                    // The interval alone may leave out 0 where the adjusted p does not suffice.
                    Standing::Alike => format!("`{}`", judged.name),
                    _ => format!("`{}` ({cell})", judged.name),
                }
            })
        });
        others.collect()
    };
    let (better, worse, alike) = (
        of(Standing::Better),
        of(Standing::Worse),
        of(Standing::Alike),
    );
    let mut told = Vec::new();
    if better.is_empty() {
        told.push(if worse.is_empty() {
            format!("`{reference}` cannot be told apart from any other by log loss")
        } else if alike.is_empty() {
            format!("`{reference}` has the least log loss")
        } else {
            format!("no other has clearly less log loss than `{reference}`")
        });
    } else {
        let verb = if better.len() == 1 { "is" } else { "are" };
        told.push(format!(
            "{} {verb} better than `{reference}` here",
            better.join(", ")
        ));
    }
    if !worse.is_empty() {
        let verb = if worse.len() == 1 { "loses" } else { "lose" };
        told.push(format!("{} {verb} to it", worse.join(", ")));
    }
    let others_told = !better.is_empty() || !worse.is_empty();
    if others_told && !alike.is_empty() {
        told.push(format!("not told apart from it: {}", alike.join(", ")));
    }
    let mut words = format!(
        "Log loss, paired by {}, p adjusted for {compared} comparisons: {}. Fitted on {} rows with \
         {} {}s, judged on {} with {}.",
        basis.unit,
        told.join("; "),
        basis.fitted_rows,
        basis.fitted_positives,
        basis.label,
        basis.judged_rows,
        basis.judged_positives
    );
    if basis.fitted_positives < ISOTONIC_WANTS && reference == "isotonic" {
        words.push_str(&format!(
            " With fewer than {ISOTONIC_WANTS} {}s `spline` and `centred` are often ahead of `isotonic`.",
            basis.label
        ));
    }
    if let Some(revenue) = revenue(methods, basis) {
        words.push(' ');
        words.push_str(&revenue);
    }
    words
}

/// The verdict on the blended orders. Larger revenue is better.
fn revenue(methods: &[Judged], basis: &Basis<'_>) -> Option<String> {
    let reference = basis.reference;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    let mut any = false;
    for judged in methods {
        let Some(difference) = judged.blended.as_ref().and_then(|b| b.against.first()) else {
            continue;
        };
        any = true;
        let name = format!("`{}` ({:+.2} %)", judged.name, 100.0 * difference.relative);
        // A loss is the negative of a revenue.
        match standing(difference, basis.level) {
            Standing::Worse => more.push(name),
            Standing::Better => less.push(name),
            Standing::Alike => {}
        }
    }
    if !any {
        return None;
    }
    Some(match (more.is_empty(), less.is_empty()) {
        (true, true) => {
            "By what the blended orders would have earned (logged purchases, credited to the new \
             order) no method can be told apart from it."
                .to_owned()
        }
        (false, true) => format!(
            "Blended orders earn more than `{reference}` with {}.",
            more.join(", ")
        ),
        (true, false) => format!(
            "Blended orders earn less than `{reference}` with {}.",
            less.join(", ")
        ),
        (false, false) => format!(
            "Blended orders earn more than `{reference}` with {}, less with {}.",
            more.join(", "),
            less.join(", ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, against: Option<(f64, f64, f64, f64)>) -> Judged {
        let difference = |(difference, low, high, p): (f64, f64, f64, f64)| Difference {
            name: "logloss".to_owned(),
            difference,
            relative: 0.0,
            low,
            high,
            p,
            p_holm: p,
            n: 100,
            unit: "row".to_owned(),
            convention: String::new(),
        };
        Judged {
            name: name.to_owned(),
            metrics: Vec::new(),
            probabilities: Vec::new(),
            against: against.map(difference).into_iter().collect(),
            distinct: 0,
            blended: None,
        }
    }

    fn say(methods: &[Judged]) -> String {
        of(methods, 80)
    }

    fn of(methods: &[Judged], fitted_positives: usize) -> String {
        words(
            methods,
            &Basis {
                reference: "isotonic",
                fitted_rows: 5000,
                fitted_positives,
                judged_rows: 4000,
                judged_positives: 70,
                label: "purchase",
                unit: "list",
                level: 0.95,
            },
        )
    }

    #[test]
    fn words_follow_the_intervals() {
        let isotonic = || judged("isotonic", None);
        let text = say(&[
            judged("raw", Some((0.02, 0.01, 0.03, 0.001))),
            isotonic(),
            judged("sigmoid", Some((-0.004, -0.006, -0.002, 0.002))),
            judged("spline", Some((-0.004, -0.009, 0.001, 0.1))),
        ]);
        assert!(
            text.contains("`sigmoid` (-0.0040 [-0.0060, -0.0020]) is better than `isotonic` here"),
            "{text}"
        );
        assert!(
            text.contains("`raw` (+0.020 [+0.010, +0.030]) loses to it"),
            "{text}"
        );
        assert!(text.contains("not told apart from it: `spline`"), "{text}");
        assert!(
            text.contains("Fitted on 5000 rows with 80 purchases"),
            "{text}"
        );
        assert!(
            text.contains("With fewer than 1000 purchases `spline`"),
            "{text}"
        );
        // A handful of purchases is no basis.
        let clear = [
            isotonic(),
            judged("sigmoid", Some((-0.004, -0.006, -0.002, 0.002))),
        ];
        let text = of(&clear, 19);
        assert!(
            text.starts_with("Nothing is said") && text.contains("with 19 purchases"),
            "{text}"
        );
        assert!(of(&clear, 20).contains("is better than"));
        // An interval beside 0 is not enough where many were compared.
        let text = say(&[
            isotonic(),
            judged("sigmoid", Some((-0.004, -0.006, -0.002, 0.06))),
        ]);
        assert!(
            text.contains("cannot be told apart from any other"),
            "{text}"
        );
    }
}
