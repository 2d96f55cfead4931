//! Whether a log can tell two policies apart.

use serde::Serialize;
use statrs::distribution::ContinuousCDF;

use super::estimate::Change;
use super::intervals::normal;
use super::weights::WeightReport;

/// Placements that the weighted ones must be worth.
const LEAST_EFFECTIVE: f64 = 100.0;
/// Rewards that those which decide must be worth: intervals of sums of fewer are made up.
const LEAST_REWARDED: f64 = 20.0;
/// Mean weights this far from 1 speak against the propensities where chance does not explain them, and
/// such a share of what was never logged against an estimate of it.
const TOLERANCE: f64 = 0.05;
/// Share of all weight that one placement may have.
const MOST_OF_ONE: f64 = 0.05;
/// Shape that the tail of weights may have. Half is where a variance ends. Smoothed weights can be relied on up
/// to 0.7, these are not smoothed.
const HEAVIEST_TAIL: f64 = 0.5;
/// Differences and errors this small beside what policies earn are rounding.
const ROUNDING: f64 = 1e-8;
/// Chance of finding a difference of the estimated size, for the lists that would suffice.
const POWER: f64 = 0.8;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first policy earns more.
    ABetter,
    /// The second policy earns more.
    BBetter,
    /// This log does not say.
    CannotTell,
}

/// Why a log does not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Doubt {
    /// The interval of the difference has 0 inside.
    IncludesZero,
    /// There is no interval: too few clusters or resamples.
    NoInterval,
    /// Both policies show the same.
    Same,
    /// The estimate is the outcome model's word alone, which no interval over clusters holds to account.
    ModelOnly,
    /// The weighted placements are worth too few.
    FewPlacements {
        /// `a` or `b`.
        policy: &'static str,
        /// What they are worth.
        effective: f64,
        /// What they must be worth.
        least: f64,
    },
    /// The rewards that decide are worth too few.
    FewRewards {
        /// What they are worth.
        effective: f64,
        /// What they must be worth.
        least: f64,
    },
    /// The mean weight is not 1: propensities are not those of the log, or the logger could not have
    /// shown what the policy shows.
    MeanWeight {
        /// `a` or `b`.
        policy: &'static str,
        /// The mean.
        mean: f64,
        /// Its interval.
        low: f64,
        /// Its interval.
        high: f64,
    },
    /// One placement has much of all weight.
    OneWeight {
        /// `a` or `b`.
        policy: &'static str,
        /// Its share.
        share: f64,
    },
    /// The largest weights are so much larger than all others that their sum has hardly a variance: a
    /// placement that was not logged, and could have been, may count for more than all that were.
    HeavyTail {
        /// `a` or `b`.
        policy: &'static str,
        /// Shape of the tail, [`WeightReport::tail`].
        shape: f64,
        /// What it may be.
        most: f64,
    },
    /// The policy shows items that were never logged in their slot.
    Unseen {
        /// `a` or `b`.
        policy: &'static str,
        /// Share of what it shows.
        share: f64,
    },
    /// The estimator takes bias for less variance, and the one of its kind that takes none says something
    /// outside its interval.
    Bias {
        /// The difference without bias.
        difference: f64,
    },
    /// With clipped weights the interval lies elsewhere.
    Clipping {
        /// The difference with clipped weights.
        difference: f64,
    },
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// What comes out.
    pub verdict: Verdict,
    /// Why it cannot be told; empty where it can.
    pub doubts: Vec<Doubt>,
    /// Whether no doubt is about the interval itself, though 0 may lie in it.
    pub sound: bool,
    /// Clusters like these in which a difference of the estimated size would be found in 80 % of all
    /// logs; none where the difference is 0 or has no error.
    pub clusters_needed: Option<f64>,
    /// The difference that this log would find in 80 % of all logs.
    pub detectable: f64,
}

/// What a difference is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The difference.
    pub change: &'a Change,
    /// Clusters it was estimated from.
    pub clusters: usize,
    /// The level of its interval.
    pub level: f64,
    /// Weights of both policies, where the estimate rests on weights.
    pub weights: Option<[&'a WeightReport; 2]>,
    /// What the rewards that decide are worth ([`crate::off_policy::deciding_rewards`]), where the estimate
    /// rests on weights.
    pub rewards: Option<f64>,
    /// Whether weights average 1 where propensities are right, as those of placements do.
    pub centred: bool,
    /// Share of what each policy shows that was never logged in its slot.
    pub unseen: [f64; 2],
    /// Whether the estimate is an outcome model's alone.
    pub model_only: bool,
    /// What either policy earns: differences that are nothing beside it are none.
    pub scale: f64,
    /// The difference by the estimator's unbiased kin, where it is not its own.
    pub unbiased: Option<&'a Change>,
    /// The difference with the largest weights clipped.
    pub clipped: Option<&'a Change>,
}

/// Judges a difference.
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let Evidence {
        change,
        clusters,
        level,
        weights,
        clipped,
        ..
    } = *evidence;
    let mut doubts = Vec::new();
    let nothing = |value: f64| value.abs() <= ROUNDING * evidence.scale;
    if nothing(change.difference) && nothing(change.error) {
        doubts.push(Doubt::Same);
    } else if change.low.is_nan() || change.high.is_nan() {
        doubts.push(Doubt::NoInterval);
    } else if change.low <= 0.0 && change.high >= 0.0 {
        doubts.push(Doubt::IncludesZero);
    }
    if evidence.model_only {
        doubts.push(Doubt::ModelOnly);
    }
    if let Some(effective) = evidence.rewards
        && effective < LEAST_REWARDED
        && !doubts.contains(&Doubt::Same)
    {
        doubts.push(Doubt::FewRewards {
            effective,
            least: LEAST_REWARDED,
        });
    }
    for (policy, report) in ["a", "b"].into_iter().zip(weights.into_iter().flatten()) {
        let effective = report.effective;
        if effective < LEAST_EFFECTIVE {
            doubts.push(Doubt::FewPlacements {
                policy,
                effective,
                least: LEAST_EFFECTIVE,
            });
        }
        let (mean, low, high) = (report.mean, report.mean_low, report.mean_high);
        let outside = evidence.centred && !(low <= 1.0 && 1.0 <= high);
        if outside && (mean - 1.0).abs() > TOLERANCE {
            doubts.push(Doubt::MeanWeight {
                policy,
                mean,
                low,
                high,
            });
        }
        if report.largest_share > MOST_OF_ONE && report.largest > 1.0 {
            let share = report.largest_share;
            doubts.push(Doubt::OneWeight { policy, share });
        }
        if let Some(shape) = report.tail.filter(|shape| *shape > HEAVIEST_TAIL) {
            doubts.push(Doubt::HeavyTail {
                policy,
                shape,
                most: HEAVIEST_TAIL,
            });
        }
    }
    for (policy, share) in ["a", "b"].into_iter().zip(evidence.unseen) {
        if share > TOLERANCE {
            doubts.push(Doubt::Unseen { policy, share });
        }
    }
    if let Some(unbiased) = evidence.unbiased {
        let difference = unbiased.difference;
        if !(change.low <= difference && difference <= change.high) {
            doubts.push(Doubt::Bias { difference });
        }
    }
    if let Some(clipped) = clipped {
        let difference = clipped.difference;
        let crosses = difference != 0.0 && difference.signum() != change.difference.signum();
        let outside = difference < change.low || difference > change.high;
        if crosses || outside {
            doubts.push(Doubt::Clipping { difference });
        }
    }
    let verdict = if !doubts.is_empty() {
        Verdict::CannotTell
    } else if change.difference > 0.0 {
        Verdict::BBetter
    } else {
        Verdict::ABetter
    };
    let sound = doubts.iter().all(|doubt| *doubt == Doubt::IncludesZero);
    let law = normal();
    let reach = law.inverse_cdf(f64::midpoint(1.0, level)) + law.inverse_cdf(POWER);
    let detectable = reach * change.error;
    let ratio = detectable / change.difference;
    let needed = clusters as f64 * ratio * ratio;
    Judgement {
        verdict,
        doubts,
        sound,
        clusters_needed: (needed.is_finite() && needed > 0.0).then(|| needed.ceil()),
        detectable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(difference: f64, low: f64, high: f64) -> Change {
        Change {
            difference,
            low,
            high,
            error: (high - low) / 3.92,
            p: 0.01,
            relative: 0.1,
            freedom: 999.0,
        }
    }

    fn evidence(change: &Change) -> Evidence<'_> {
        Evidence {
            change,
            clusters: 1000,
            level: 0.95,
            weights: None,
            rewards: None,
            centred: true,
            unseen: [0.0; 2],
            model_only: false,
            scale: 1.0,
            unbiased: None,
            clipped: None,
        }
    }

    fn sound() -> WeightReport {
        WeightReport {
            placements: 5000,
            matched: 2000,
            matched_lists: 900,
            lists: 1000,
            mean: 1.01,
            mean_low: 0.97,
            mean_high: 1.05,
            effective: 900.0,
            largest: 12.0,
            largest_share: 0.003,
            tail: Some(0.2),
            rewarded: 120,
            rewarded_effective: 90.0,
            edges: vec![],
            histogram: vec![],
        }
    }

    #[test]
    fn a_clear_difference_of_sound_weights_is_told() {
        let weights = sound();
        let told = |change: Change| {
            let mut evidence = evidence(&change);
            evidence.weights = Some([&weights, &weights]);
            judge(&evidence).verdict
        };
        assert_eq!(told(change(0.2, 0.1, 0.3)), Verdict::BBetter);
        assert_eq!(told(change(-0.2, -0.3, -0.1)), Verdict::ABetter);
        assert_eq!(told(change(0.2, -0.1, 0.5)), Verdict::CannotTell);
        // Too wide for a verdict is not wrong; from weights that are wrong it is.
        let wide = change(0.2, -0.1, 0.5);
        let mut evidence = evidence(&wide);
        evidence.weights = Some([&weights, &weights]);
        assert!(judge(&evidence).sound);
        evidence.unseen = [0.0, 0.3];
        assert!(!judge(&evidence).sound);
    }

    /// (2.8016 · error ÷ difference)² times the clusters: z of 97.5 % and of 80 % together.
    #[test]
    fn clusters_needed_follow_the_power() {
        let unsure = judge(&evidence(&change(0.1, -0.096, 0.296)));
        assert_eq!(unsure.doubts, [Doubt::IncludesZero]);
        assert!((unsure.detectable - 0.280_16).abs() < 1e-4);
        assert!((unsure.clusters_needed.unwrap() - 7849.0).abs() < 2.0);
    }

    #[test]
    fn every_weakness_is_named() {
        let clear = change(0.2, 0.1, 0.3);
        let fine = sound();
        let doubts = |spoil: fn(&mut WeightReport)| {
            let mut report = sound();
            spoil(&mut report);
            let mut evidence = evidence(&clear);
            evidence.weights = Some([&fine, &report]);
            judge(&evidence).doubts
        };
        let named = |doubts: &[Doubt]| serde_json::to_value(doubts).unwrap()[0]["kind"].clone();
        assert_eq!(named(&doubts(|r| r.effective = 2.0)), "few_placements");
        assert_eq!(named(&doubts(|r| r.largest_share = 0.69)), "one_weight");
        assert_eq!(named(&doubts(|r| r.tail = Some(0.9))), "heavy_tail");
        assert!(doubts(|r| r.tail = None).is_empty());
        let off = doubts(|r| (r.mean, r.mean_low, r.mean_high) = (3.1, 2.0, 4.2));
        assert_eq!(named(&off), "mean_weight");
        // Off by chance, or by too little to matter.
        assert!(doubts(|r| (r.mean, r.mean_low, r.mean_high) = (1.3, 0.9, 1.7)).is_empty());
        assert!(doubts(|r| (r.mean, r.mean_low, r.mean_high) = (1.03, 1.02, 1.04)).is_empty());
        let clipped = change(-0.05, -0.1, 0.0);
        let mut one = evidence(&clear);
        one.rewards = Some(5.0);
        assert_eq!(named(&judge(&one).doubts), "few_rewards");
        one.rewards = Some(500.0);
        one.clipped = Some(&clipped);
        assert_eq!(named(&judge(&one).doubts), "clipping");
        one.clipped = None;
        one.unseen = [0.0, 0.3];
        assert_eq!(named(&judge(&one).doubts), "unseen");
        one.unseen = [0.0; 2];
        one.model_only = true;
        assert_eq!(named(&judge(&one).doubts), "model_only");
        one.model_only = false;
        one.unbiased = Some(&clipped);
        assert_eq!(named(&judge(&one).doubts), "bias");
        let rounding = judge(&evidence(&change(-1e-12, -2e-12, -1e-13)));
        assert_eq!(rounding.doubts, [Doubt::Same]);
        let same = judge(&evidence(&change(0.0, 0.0, 0.0)));
        assert_eq!(same.doubts, [Doubt::Same]);
        let none = judge(&evidence(&change(0.1, f64::NAN, f64::NAN)));
        assert_eq!(none.doubts, [Doubt::NoInterval]);
    }
}
