//! Estimates of other policies, held to all logs there could have been and to markets whose truth is known.

use slate_eval::Bootstrap;
use slate_eval::off_policy::{
    Change, Estimates, Estimator, IntervalMethod, Intervals, Log, OutcomeModel, Outcomes, Per,
    Target, estimate,
};
use slate_types::{ListOffsets, Seed};

/// Intervals cost time and are not asked for.
pub(crate) fn none() -> Intervals {
    Intervals {
        method: IntervalMethod::Delta,
        ..Intervals::default()
    }
}

pub(crate) fn value(log: &Log<'_>, target: Target<'_>, name: &str) -> f64 {
    let estimator: Estimator = name.parse().unwrap();
    estimate(log, &[target], estimator, &none())
        .unwrap()
        .policies[0]
        .value
}

/// A logger of three rows that shows each order with a known probability, a policy likewise, and what
/// each row earns in each slot.
struct Small {
    orders: Vec<[usize; 3]>,
    logger: Vec<f64>,
    policy: Vec<f64>,
    truth: [[f64; 3]; 3],
}

impl Small {
    fn new() -> Self {
        Self {
            orders: vec![
                [0, 1, 2],
                [0, 2, 1],
                [1, 0, 2],
                [1, 2, 0],
                [2, 0, 1],
                [2, 1, 0],
            ],
            logger: vec![0.3, 0.2, 0.1, 0.1, 0.2, 0.1],
            policy: vec![0.05, 0.05, 0.4, 0.2, 0.0, 0.3],
            truth: [[5.0, 2.0, 1.0], [3.0, 3.0, 0.5], [1.0, 0.0, 4.0]],
        }
    }

    fn marginal(&self, law: &[f64], item: usize, slot: usize) -> f64 {
        let pairs = self.orders.iter().zip(law);
        pairs
            .filter(|(order, _)| order[slot] == item)
            .map(|(_, p)| p)
            .sum()
    }

    fn prefix(&self, law: &[f64], order: &[usize; 3], slot: usize) -> f64 {
        let same = |other: &[usize; 3]| other[..=slot] == order[..=slot];
        let pairs = self.orders.iter().zip(law);
        pairs.filter(|(other, _)| same(other)).map(|(_, p)| p).sum()
    }

    fn earns(&self, law: &[f64]) -> f64 {
        let of = |order: &[usize; 3]| (0..3).map(|k| self.truth[order[k]][k]).sum::<f64>();
        self.orders
            .iter()
            .zip(law)
            .map(|(order, p)| p * of(order))
            .sum()
    }
}

/// The mean over all logs the logger could have written is what the policy earns: for each estimator
/// that promises it, whatever the outcome model says.
#[test]
fn unbiased_estimators_are_unbiased() {
    let small = Small::new();
    let lists = ListOffsets::from_lengths([3]).unwrap();
    let model = |item: usize, slot: usize| 0.7 * item as f64 - 0.4 * slot as f64 + 1.0;
    let truth = small.earns(&small.policy);
    for name in ["ips", "dr", "list_ips", "rips"] {
        let mut mean = 0.0;
        for (order, p) in small.orders.iter().zip(&small.logger) {
            // Rows stand in the order of items; item i was shown in slot slots[i].
            let mut slots = [0_u32; 3];
            for (slot, &item) in order.iter().enumerate() {
                slots[item] = slot as u32;
            }
            let at = |item: usize| slots[item] as usize;
            let of = |f: &dyn Fn(usize) -> f64| (0..3).map(f).collect::<Vec<f64>>();
            let rewards = of(&|i| small.truth[i][at(i)]);
            let weights = of(&|i| {
                small.marginal(&small.policy, i, at(i)) / small.marginal(&small.logger, i, at(i))
            });
            let prefixes = of(&|i| {
                small.prefix(&small.policy, order, at(i))
                    / small.prefix(&small.logger, order, at(i))
            });
            let forecast = of(&|i| model(i, at(i)));
            let expected = of(&|i| {
                (0..3)
                    .map(|k| small.marginal(&small.policy, i, k) * model(i, k))
                    .sum()
            });
            let log = Log::new(&lists, &rewards, &slots);
            let mut target = Target::new(&weights);
            target.prefix_weights = Some(&prefixes);
            target.forecast = Some(&forecast);
            target.expected = Some(&expected);
            mean += p * value(&log, target, name);
        }
        assert!((mean - truth).abs() < 1e-12, "{name} {mean} {truth}");
    }
}

/// Lists of three rows, users of several lists: rewards, weights of two policies, and their truth.
struct Simulated {
    lists: ListOffsets,
    rewards: Vec<f64>,
    slots: Vec<u32>,
    users: Vec<u32>,
    weights: [Vec<f64>; 2],
    truth: [f64; 2],
}

impl Simulated {
    fn new(lists: usize, seed: Seed) -> Self {
        let small = Small::new();
        let (draw, luck, taste) = (
            seed.derive("order"),
            seed.derive("luck"),
            seed.derive("taste"),
        );
        let other: Vec<f64> = vec![0.2, 0.1, 0.2, 0.1, 0.2, 0.2];
        let mut simulated = Self {
            lists: ListOffsets::from_lengths(vec![3; lists]).unwrap(),
            rewards: vec![],
            slots: vec![],
            users: (0..lists as u32).map(|list| list / 4).collect(),
            weights: [vec![], vec![]],
            truth: [small.earns(&small.policy) * 0.1, small.earns(&other) * 0.1],
        };
        for list in 0..lists as u64 {
            let mut unit = draw.index(list).unit();
            let mut at = 0;
            while at < 5 && unit >= small.logger[at] {
                unit -= small.logger[at];
                at += 1;
            }
            // What a user likes moves all lists of that user together; 1 on average.
            let taste = 0.2 + 1.6 * taste.index(list / 4).unit();
            let order = small.orders[at];
            for item in 0..3 {
                let slot = order.iter().position(|&shown| shown == item).unwrap();
                let p = 0.1 * small.truth[item][slot] * taste;
                let bought = luck.index(3 * list + item as u64).unit() < p;
                simulated.rewards.push(f64::from(u8::from(bought)));
                simulated.slots.push(slot as u32);
                for (weights, law) in simulated.weights.iter_mut().zip([&small.policy, &other]) {
                    weights.push(
                        small.marginal(law, item, slot) / small.marginal(&small.logger, item, slot),
                    );
                }
            }
        }
        simulated
    }

    fn log(&self) -> Log<'_> {
        let mut log = Log::new(&self.lists, &self.rewards, &self.slots);
        log.clusters = Some(&self.users);
        log
    }

    fn estimates(&self, name: &str, method: IntervalMethod) -> Estimates {
        let targets = [0, 1].map(|at: usize| Target::new(&self.weights[at]));
        let intervals = Intervals {
            method,
            bootstrap: Bootstrap {
                draws: 400,
                ..Bootstrap::default()
            },
            largest_reward: None,
        };
        estimate(&self.log(), &targets, name.parse().unwrap(), &intervals).unwrap()
    }
}

/// 95 % intervals of the difference hold the truth in 95 % of 300 logs of 400 lists.
#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    for (name, method) in [
        ("ips", IntervalMethod::Bca),
        ("snips", IntervalMethod::Bca),
        ("snips", IntervalMethod::Percentile),
        ("ips", IntervalMethod::Delta),
    ] {
        let logs = 300;
        let held = (0..logs).filter(|&at| {
            let simulated = Simulated::new(400, Seed(21).index(at));
            let truth = simulated.truth[1] - simulated.truth[0];
            let change = simulated.estimates(name, method).changes[0];
            change.low <= truth && truth <= change.high
        });
        let share = held.count() as f64 / logs as f64;
        // Four standard errors of a share of 95 % of 300.
        assert!((0.90..=0.99).contains(&share), "{name} {method:?} {share}");
    }
}

#[test]
fn methods_agree_on_a_large_log() {
    let simulated = Simulated::new(6000, Seed(3));
    for name in ["ips", "snips"] {
        let [bca, percentile, delta] = [
            IntervalMethod::Bca,
            IntervalMethod::Percentile,
            IntervalMethod::Delta,
        ]
        .map(|method| simulated.estimates(name, method).changes[0]);
        let width = |change: Change| change.high - change.low;
        for other in [bca, percentile] {
            assert_eq!(other.difference, delta.difference);
            let ratio = width(other) / width(delta);
            assert!((0.85..1.15).contains(&ratio), "{name} {ratio}");
        }
        assert!(
            (delta.difference - (simulated.truth[1] - simulated.truth[0])).abs()
                < 4.0 * delta.error
        );
    }
}

/// Of very many clusters neighbours are resampled together, which no interval shows.
#[test]
fn very_many_clusters_have_the_same_intervals() {
    let mut simulated = Simulated::new(40_000, Seed(4));
    simulated.users = (0..40_000).collect();
    for name in ["ips", "snips"] {
        let bca = simulated.estimates(name, IntervalMethod::Bca).changes[0];
        let delta = simulated.estimates(name, IntervalMethod::Delta).changes[0];
        let ratio = (bca.high - bca.low) / (delta.high - delta.low);
        // Ends of 400 resamples are known to about 7 %.
        assert!((0.86..1.14).contains(&ratio), "{name} {ratio}");
    }
}

/// Values per list, placement and user are the same sum over other units.
#[test]
fn units_divide_one_sum() {
    let simulated = Simulated::new(2000, Seed(5));
    let target = Target::new(&simulated.weights[0]);
    let mut log = simulated.log();
    let of_list = value(&log, target, "ips");
    log.per = Per::Placement;
    assert!((value(&log, target, "ips") * 3.0 - of_list).abs() < 1e-12);
    log.per = Per::Numbered(&simulated.users);
    assert!((value(&log, target, "ips") - 4.0 * of_list).abs() < 1e-12);
    // Lists of one user depend on each other: errors over lists alone are too small.
    let ones = vec![1.0; simulated.rewards.len()];
    let error = |log: &Log<'_>| {
        let estimator = "ips".parse().unwrap();
        let shown = Target::new(&ones);
        estimate(log, &[shown], estimator, &none())
            .unwrap()
            .policies[0]
            .error
    };
    log.per = Per::List;
    let over_users = error(&log);
    log.clusters = None;
    assert!(
        over_users > 1.1 * error(&log),
        "{over_users} {}",
        error(&log)
    );
}

/// A model that was fitted elsewhere takes variance away and moves nothing in expectation.
#[test]
fn a_fair_model_narrows_the_interval() {
    let simulated = Simulated::new(3000, Seed(13));
    let rows = simulated.rewards.len();
    // An item in a slot has a coefficient of its own: nine features of one slot.
    let cell = |row: usize, slot: u32| {
        let mut features = [0.0; 9];
        features[3 * (row % 3) + slot as usize] = 1.0;
        features
    };
    let features: Vec<f64> = (0..rows)
        .flat_map(|row| cell(row, simulated.slots[row]))
        .collect();
    let no_slots = vec![0; rows];
    let folds: Vec<u32> = (0..rows).map(|row| simulated.users[row / 3] % 3).collect();
    let outcomes = Outcomes {
        features: &features,
        width: 9,
        slots: &no_slots,
        rewards: &simulated.rewards,
    };
    let model = OutcomeModel::Logistic
        .cross_fit(&outcomes, &folds, 3)
        .unwrap();
    let ask = |row: usize, slot: u32| {
        let mut q = 0.0;
        model.forecast(folds[row], &cell(row, slot), [0], |forecast| q = forecast);
        q
    };
    let small = Small::new();
    let forecast: Vec<f64> = (0..rows)
        .map(|row| ask(row, simulated.slots[row]))
        .collect();
    let expected: Vec<f64> = (0..rows)
        .map(|row| {
            let of =
                |slot: usize| small.marginal(&small.policy, row % 3, slot) * ask(row, slot as u32);
            (0..3).map(of).sum()
        })
        .collect();
    let mut target = Target::new(&simulated.weights[0]);
    target.forecast = Some(&forecast);
    target.expected = Some(&expected);
    let log = simulated.log();
    let of = |name: &str| {
        let estimator: Estimator = name.parse().unwrap();
        estimate(&log, &[target], estimator, &none())
            .unwrap()
            .policies[0]
    };
    let (ips, dr) = (of("ips"), of("dr"));
    assert!(dr.error < ips.error, "{} {}", dr.error, ips.error);
    assert!((dr.value - simulated.truth[0]).abs() < 4.0 * dr.error);
    assert!((of("dm").value - simulated.truth[0]).abs() < 0.05);
}

/// Bernstein's interval promises more than the others and is wider; what has no bound is refused.
#[test]
fn bernstein_intervals_are_wide_and_for_bounded_sums_only() {
    let simulated = Simulated::new(2000, Seed(17));
    let mut log = simulated.log();
    log.clusters = None;
    let targets = [0, 1].map(|at: usize| Target::new(&simulated.weights[at]));
    let of = |name: &str, method: IntervalMethod| {
        let intervals = Intervals {
            method,
            ..Intervals::default()
        };
        estimate(&log, &targets, name.parse().unwrap(), &intervals)
    };
    let wide = of("ips@4", IntervalMethod::Bernstein).unwrap();
    let delta = of("ips@4", IntervalMethod::Delta).unwrap();
    let pairs = wide.policies.iter().zip(&delta.policies);
    for (wide, delta) in pairs {
        assert!(wide.low < delta.low && delta.high < wide.high);
    }
    assert!(wide.changes[0].low < delta.changes[0].low);
    // Rewards that could be larger than those seen: wider still. None may be above the largest there can be.
    let bounded = |largest: f64| {
        let intervals = Intervals {
            method: IntervalMethod::Bernstein,
            largest_reward: Some(largest),
            ..Intervals::default()
        };
        estimate(&log, &targets, "ips@4".parse().unwrap(), &intervals)
    };
    assert!(bounded(5.0).unwrap().changes[0].low < wide.changes[0].low);
    assert!(
        bounded(0.5)
            .unwrap_err()
            .to_string()
            .contains("above the largest")
    );
    for name in ["ips", "snips"] {
        let refused = of(name, IntervalMethod::Bernstein).unwrap_err().to_string();
        assert!(refused.contains("bernstein"), "{refused}");
    }
}

#[test]
fn bad_columns_are_named() {
    let lists = ListOffsets::from_lengths([2]).unwrap();
    let log = Log::new(&lists, &[1.0, 0.0], &[0, 1]);
    let refused = |weights: &[f64], name: &str| {
        let estimator: Estimator = name.parse().unwrap();
        estimate(&log, &[Target::new(weights)], estimator, &none())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[1.0], "ips").contains("`weights` has 1 rows, expected 2"));
    assert!(refused(&[1.0, f64::INFINITY], "ips").contains("`weights` at row 1 is inf"));
    assert!(refused(&[1.0, 1.0], "dr").contains("`dr` needs `forecasts`"));
    assert!(refused(&[1.0, 1.0], "rips").contains("`rips` needs `prefix weights`"));
    assert!(refused(&[0.0, 0.0], "snips").contains("nothing was ever shown"));
    let short = Log::new(&lists, &[1.0], &[0, 1]);
    let error = estimate(&short, &[], Estimator::Snips, &none()).unwrap_err();
    assert_eq!(error.to_string(), "`rewards` has 1 rows, expected 2");
}
