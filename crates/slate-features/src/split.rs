//! Dividing lists into train, valid, calibrate and test by time: the section `[split]`.
//!
//! Either fractions of the usable lists, or dates at which the later parts begin. Whatever the
//! rule, lists of one timestamp are never divided: a cut that falls between them moves to the
//! nearer end of the tie. Parts follow one another in time and none is empty.
//!
//! ```
//! # use slate_features::SplitSpec;
//! let by_share: SplitSpec = toml::from_str("test = 0.3")?;
//! by_share.check()?;
//! let by_date: SplitSpec = toml::from_str(
//!     "valid_from = '2026-03-01'\ncalibrate_from = '2026-03-08'\ntest_from = '2026-03-15'",
//! )?;
//! by_date.check()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Serialize};
use slate_types::Split;

use crate::{FeatureError, date::parse_micros};

/// Shares of the lists that are used where the config says nothing: valid, calibrate, test.
pub const DEFAULT_FRACTIONS: [f64; 3] = [0.1, 0.15, 0.2];

/// The section `[split]`: fractions or dates, not both. Training gets what is left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// First moment of training: earlier lists are in no part, though histories still count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// End of the last part: lists of this moment and later ones are in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Share of the lists for validation, in (0, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<f64>,
    /// Share of the lists for calibration, in (0, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<f64>,
    /// Share of the lists for testing, in (0, 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// First moment of validation, as `2026-03-01` or `2026-03-01T06:30:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// First moment of calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate_from: Option<String>,
    /// First moment of testing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_from: Option<String>,
}

/// A checked `[split]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rule {
    /// Shares of valid, calibrate and test.
    Fractions([f64; 3]),
    /// Where the later parts begin.
    Boundaries(TimeSplit),
}

/// The moments at which the later parts begin, UTC microseconds, each at or before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSplit {
    /// First moment of validation.
    pub valid_from: i64,
    /// First moment of calibration.
    pub calibrate_from: i64,
    /// First moment of testing.
    pub test_from: i64,
}

impl TimeSplit {
    /// The part a list of this moment belongs to.
    pub fn part(&self, ts: i64) -> Split {
        if ts < self.valid_from {
            Split::Train
        } else if ts < self.calibrate_from {
            Split::Valid
        } else if ts < self.test_from {
            Split::Calibrate
        } else {
            Split::Test
        }
    }
}

impl SplitSpec {
    /// Checks that there is one rule and that it leaves room for every part.
    ///
    /// # Errors
    /// [`FeatureError::Option`] with the key.
    pub fn check(&self) -> Result<(), FeatureError> {
        self.window()?;
        self.rule().map(|_| ())
    }

    /// The moments that lists of any part lie between: the first is in, the second is not.
    pub(crate) fn window(&self) -> Result<Window, FeatureError> {
        let of = |key, date: &Option<String>| {
            let date = date.as_ref();
            date.map(|text| moment_of(key, text)).transpose()
        };
        let from = of("split.from", &self.from)?.unwrap_or(i64::MIN);
        let until = of("split.until", &self.until)?.unwrap_or(i64::MAX);
        if from >= until {
            let given = format!("`{}`", self.until.as_deref().unwrap_or_default());
            let expected = "a date after `split.from`";
            return Err(FeatureError::option("split.until", given, expected));
        }
        Ok(Window { from, until })
    }

    pub(crate) fn rule(&self) -> Result<Rule, FeatureError> {
        let shares = [
            ("valid", self.valid),
            ("calibrate", self.calibrate),
            ("test", self.test),
        ];
        let dates = [
            ("valid_from", &self.valid_from),
            ("calibrate_from", &self.calibrate_from),
            ("test_from", &self.test_from),
        ];
        let Some((first, _)) = dates.iter().find(|(_, date)| date.is_some()) else {
            return fractions(shares);
        };
        if let Some((share, _)) = shares.iter().find(|(_, share)| share.is_some()) {
            return Err(FeatureError::option(
                format!("split.{share}"),
                format!("set beside `split.{first}`"),
                "either fractions or dates",
            ));
        }
        let mut moments = [0; 3];
        for (moment, (name, date)) in moments.iter_mut().zip(dates) {
            let key = format!("split.{name}");
            let Some(text) = date else {
                return Err(FeatureError::option(key, "missing", DATE));
            };
            *moment = moment_of(&key, text)?;
        }
        for i in 1..3 {
            if moments[i] <= moments[i - 1] {
                return Err(FeatureError::option(
                    format!("split.{}", dates[i].0),
                    format!("`{}`", dates[i].1.as_deref().unwrap_or_default()),
                    format!("a date after `split.{}`", dates[i - 1].0),
                ));
            }
        }
        let [valid_from, calibrate_from, test_from] = moments;
        Ok(Rule::Boundaries(TimeSplit {
            valid_from,
            calibrate_from,
            test_from,
        }))
    }
}

/// Moments that lists lie between, UTC microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: i64,
    /// Not in it.
    pub(crate) until: i64,
}

impl Window {
    pub(crate) fn has(self, ts: i64) -> bool {
        (self.from..self.until).contains(&ts)
    }

    /// Whether it leaves nothing out.
    pub(crate) fn is_all(self) -> bool {
        (self.from, self.until) == (i64::MIN, i64::MAX)
    }
}

/// What a moment is to be written like.
const DATE: &str = "a date like 2026-03-01 or 2026-03-01T06:30:00Z";

fn moment_of(key: &str, text: &str) -> Result<i64, FeatureError> {
    parse_micros(text).ok_or_else(|| FeatureError::option(key, format!("`{text}`"), DATE))
}

fn fractions(shares: [(&'static str, Option<f64>); 3]) -> Result<Rule, FeatureError> {
    let mut fractions = DEFAULT_FRACTIONS;
    for (fraction, (name, share)) in fractions.iter_mut().zip(shares) {
        *fraction = share.unwrap_or(*fraction);
        if !(*fraction > 0.0 && *fraction < 1.0) {
            let key = format!("split.{name}");
            return Err(FeatureError::option(
                key,
                *fraction,
                "a fraction between 0 and 1",
            ));
        }
    }
    let sum: f64 = fractions.iter().sum();
    // The margin is for sums such as 0.3 + 0.3 + 0.4, which are not exactly 1.
    if sum > 1.0 - 1e-9 {
        return Err(FeatureError::option(
            "split",
            format!("{sum} in all for valid, calibrate and test"),
            "less than 1, since training gets the rest",
        ));
    }
    Ok(Rule::Fractions(fractions))
}

/// Usable lists of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) ts: i64,
    pub(crate) lists: u64,
    pub(crate) rows: u64,
    pub(crate) clicks: u64,
    pub(crate) purchases: u64,
}

impl Rule {
    /// The moments at which parts begin. `moments` are in strictly growing order of time.
    ///
    /// # Errors
    /// [`FeatureError::EmptySplit`] for the first part that would have no list.
    pub(crate) fn resolve(self, moments: &[Moment]) -> Result<TimeSplit, FeatureError> {
        let split = match self {
            Self::Boundaries(split) => split,
            Self::Fractions(fractions) => cut(fractions, moments),
        };
        for part in Split::ALL {
            if !moments.iter().any(|moment| split.part(moment.ts) == part) {
                let lists: u64 = moments.iter().map(|moment| moment.lists).sum();
                let reason = match self {
                    Self::Boundaries(_) => format!(
                        "the {lists} usable lists run from {} to {} (UTC microseconds)",
                        moments.first().map_or(0, |moment| moment.ts),
                        moments.last().map_or(0, |moment| moment.ts),
                    ),
                    Self::Fractions(_) => format!(
                        "{lists} usable lists at {} different times cannot be divided that way",
                        moments.len()
                    ),
                };
                return Err(FeatureError::EmptySplit {
                    split: part,
                    reason,
                });
            }
        }
        Ok(split)
    }
}

/// Cuts at the moments nearest to the wanted numbers of lists.
fn cut(fractions: [f64; 3], moments: &[Moment]) -> TimeSplit {
    let total: u64 = moments.iter().map(|moment| moment.lists).sum();
    let mut share_before = 1.0 - fractions.iter().sum::<f64>();
    let begin = |share: f64| {
        let wanted = (share * total as f64).round() as u64;
        let mut before = 0;
        for moment in moments {
            let after = before + moment.lists;
            // The cut is before this moment when that is at least as near as after it.
            if wanted <= before || (wanted < after && wanted - before <= after - wanted) {
                return moment.ts;
            }
            before = after;
        }
        i64::MAX
    };
    let valid_from = begin(share_before);
    share_before += fractions[0];
    let calibrate_from = begin(share_before);
    share_before += fractions[1];
    TimeSplit {
        valid_from,
        calibrate_from,
        test_from: begin(share_before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of lists per part, for `lists_at[i]` lists at time `i`.
    fn sizes(spec: &SplitSpec, lists_at: &[u64]) -> Result<Vec<u64>, String> {
        let moments: Vec<Moment> = (0..)
            .zip(lists_at)
            .map(|(ts, &lists)| Moment {
                ts,
                lists,
                ..Moment::default()
            })
            .collect();
        let split = spec
            .rule()
            .and_then(|rule| rule.resolve(&moments))
            .map_err(|e| e.to_string())?;
        Ok(Split::ALL
            .map(|part| {
                moments
                    .iter()
                    .filter(|m| split.part(m.ts) == part)
                    .map(|m| m.lists)
                    .sum()
            })
            .to_vec())
    }

    fn by_share(valid: f64, calibrate: f64, test: f64) -> SplitSpec {
        SplitSpec {
            valid: Some(valid),
            calibrate: Some(calibrate),
            test: Some(test),
            ..SplitSpec::default()
        }
    }

    #[test]
    fn fractions_are_kept_where_times_differ() {
        assert_eq!(
            sizes(&by_share(0.1, 0.2, 0.3), &[1; 10]).unwrap(),
            [4, 1, 2, 3]
        );
        assert_eq!(
            sizes(&SplitSpec::default(), &[1; 100]).unwrap(),
            [55, 10, 15, 20]
        );
    }

    #[test]
    fn lists_of_one_time_stay_together() {
        // The wanted cuts are at 5, 7 and 8 of 10; those inside the tie move to its nearer end.
        assert_eq!(
            sizes(&by_share(0.2, 0.1, 0.2), &[1, 1, 1, 1, 3, 1, 1, 1]).unwrap(),
            [4, 3, 1, 2]
        );
    }

    #[test]
    fn an_empty_part_is_named() {
        let message = sizes(&by_share(0.1, 0.1, 0.1), &[2, 2]).unwrap_err();
        assert!(
            message.starts_with("the valid split has no list: 4 usable lists"),
            "{message}"
        );
    }

    #[test]
    fn dates_cut_where_they_say() {
        let spec = SplitSpec {
            valid_from: Some("1970-01-01T00:00:00.000002Z".into()),
            calibrate_from: Some("1970-01-01T00:00:00.000003Z".into()),
            test_from: Some("1970-01-01T00:00:00.000005Z".into()),
            ..SplitSpec::default()
        };
        assert_eq!(sizes(&spec, &[1, 1, 1, 1, 1, 1]).unwrap(), [2, 1, 2, 1]);
        let message = sizes(&spec, &[1, 1, 1]).unwrap_err();
        assert!(
            message.starts_with("the calibrate split has no list"),
            "{message}"
        );
    }

    #[test]
    fn unsound_rules_are_named() {
        let check = |text: &str| {
            toml::from_str::<SplitSpec>(text)
                .unwrap()
                .check()
                .unwrap_err()
                .to_string()
        };
        assert!(check("valid = 0.5\ntest = 0.5").contains("training gets the rest"));
        assert!(check("valid = 0.0").contains("`split.valid` is 0"));
        assert!(
            check("test = 0.1\ntest_from = '2026-01-01'").contains("either fractions or dates")
        );
        assert!(check("test_from = '2026-01-01'").contains("`split.valid_from` is missing"));
        let unordered = "valid_from = '2026-02-01'\ncalibrate_from = '2026-01-01'\n\
                         test_from = '2026-03-01'";
        assert!(check(unordered).contains("a date after `split.valid_from`"));
        let backwards = "from = '2026-02-01'\nuntil = '2026-02-01'";
        assert!(check(backwards).contains("`split.until` is `2026-02-01`, expected a date after"));
        assert!(check("from = 'May'").contains("`split.from` is `May`"));
    }
}
