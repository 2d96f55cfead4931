//! Every estimator equals the Open Bandit Pipeline's.

use serde_json::Value;
use slate_eval::EvalError;
use slate_eval::off_policy::{Estimator, Log, Target, estimate};
use slate_types::ListOffsets;

use super::off_policy::{none, value};

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn ope() -> Value {
    serde_json::from_str(include_str!("../data/ope.json")).unwrap()
}

/// Rounds of one action each, from `tests/data/gold_ope.py`: `obp` 0.5.5 itself.
#[test]
fn rounds_are_those_of_the_open_bandit_pipeline() {
    let golden = &ope()["contextual"];
    let rewards = floats(&golden["reward"]);
    let (actions, slots) = (numbers(&golden["action"]), numbers(&golden["position"]));
    let propensities = floats(&golden["pscore"]);
    let cube = |name: &str| -> Vec<Vec<Vec<f64>>> {
        serde_json::from_value(golden[name].clone()).unwrap()
    };
    let (policy, model) = (cube("action_dist_nAK"), cube("q_hat_nAK"));
    let rows = rewards.len();
    let at = |table: &[Vec<Vec<f64>>], row: usize| {
        table[row][actions[row] as usize][slots[row] as usize]
    };
    let weights: Vec<f64> = (0..rows)
        .map(|row| at(&policy, row) / propensities[row])
        .collect();
    let forecast: Vec<f64> = (0..rows).map(|row| at(&model, row)).collect();
    let expected: Vec<f64> = (0..rows)
        .map(|row| {
            let slot = slots[row] as usize;
            let pairs = policy[row].iter().zip(&model[row]);
            pairs.map(|(p, q)| p[slot] * q[slot]).sum()
        })
        .collect();
    let lists = ListOffsets::from_lengths(vec![1; rows]).unwrap();
    let log = Log::new(&lists, &rewards, &slots);
    let mut target = Target::new(&weights);
    target.forecast = Some(&forecast);
    target.expected = Some(&expected);
    for (theirs, ours) in [
        ("DM", "dm"),
        ("IPW", "ips"),
        ("IPW(clip lambda=2)", "ips@2"),
        ("SNIPW", "snips"),
        ("DR", "dr"),
        ("DR(clip lambda=2)", "dr@2"),
        ("SNDR", "sndr"),
        ("SwitchDR(1.0)", "switch_dr@1"),
        ("DRos(1.0)", "dr_os@1"),
        ("SGIPW(0.1)", "sg_ips@0.1"),
        ("SGDR(0.1)", "sg_dr@0.1"),
    ] {
        let expected = golden["estimates"][theirs].as_f64().unwrap();
        let ours_value = value(&log, target, ours);
        assert!(
            (ours_value - expected).abs() < 1e-12,
            "{ours} {ours_value} {expected}"
        );
    }
    let report = slate_eval::off_policy::report_weights(&log, &target, 0.95).unwrap();
    assert!((report.effective - golden["ess"].as_f64().unwrap()).abs() < 1e-9);
    // No round was matched, so there is nothing to replay: `obp` says 0 here.
    let matched = vec![false; rows];
    target.matched = Some(&matched);
    let replayed = estimate(&log, &[target], Estimator::Replay, &none());
    assert!(matches!(replayed, Err(EvalError::NothingToMeasure { .. })));
}

/// Lists, from the same file.
#[test]
fn lists_are_those_of_the_open_bandit_pipeline() {
    let golden = &ope()["slate"];
    let inputs = &golden["inputs"];
    let rewards = floats(&inputs["reward"]);
    let slots = numbers(&inputs["position"]);
    let lists = ListOffsets::from_runs(&numbers(&inputs["slate_id"]));
    let ratio = |policy: &str, logger: &str| -> Vec<f64> {
        let pairs = floats(&inputs[policy])
            .into_iter()
            .zip(floats(&inputs[logger]));
        pairs.map(|(e, b)| e / b).collect()
    };
    let of_items = ratio("eval_item_position", "pscore_item_position");
    let prefixes = ratio("eval_cascade", "pscore_cascade");
    let joint = ratio("eval_joint", "pscore_joint");
    let (actions, items) = (numbers(&inputs["action"]), 4);
    let (model, policy) = (
        floats(&inputs["q_hat"]),
        floats(&inputs["eval_action_dist"]),
    );
    let here: Vec<f64> = (0..rewards.len())
        .map(|row| model[row * items + actions[row] as usize])
        .collect();
    let expected: Vec<f64> = (0..rewards.len())
        .map(|row| {
            let range = row * items..(row + 1) * items;
            let pairs = model[range.clone()].iter().zip(&policy[range]);
            pairs.map(|(q, p)| q * p).sum()
        })
        .collect();
    let log = Log::new(&lists, &rewards, &slots);
    let mut whole = Target::new(&of_items);
    whole.prefix_weights = Some(&joint);
    let mut target = Target::new(&of_items);
    target.prefix_weights = Some(&prefixes);
    target.to_come = Some((&here, &expected));
    for (theirs, ours, target) in [
        ("SlateStandardIPS", "list_ips", whole),
        ("SNSlateStandardIPS", "list_snips", whole),
        ("SlateIndependentIPS", "ips", target),
        ("SNSlateIndependentIPS", "snips", target),
        ("SlateRewardInteractionIPS", "rips", target),
        ("SNSlateRewardInteractionIPS", "snrips", target),
        ("SlateCascadeDR", "cascade_dr", target),
    ] {
        let expected = golden["estimates"][theirs].as_f64().unwrap();
        let ours_value = value(&log, target, ours);
        assert!(
            (ours_value - expected).abs() < 1e-12,
            "{ours} {ours_value} {expected}"
        );
    }
}

/// The small release of the Open Bandit Dataset, values by `obp` 0.5.5 with a table of smoothed rates
/// as its outcome model.
#[test]
fn the_open_bandit_logs_give_the_values_of_their_own_program() {
    let Ok(shared) = std::env::var("SLATE_SHARED") else {
        println!("skipped: SLATE_SHARED is not set");
        return;
    };
    let path = std::path::Path::new(&shared).join("golden/obp_obd_small.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let runs = golden["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    for run in runs {
        let (actions, slots) = (numbers(&run["action"]), numbers(&run["position"]));
        let rows = actions.len();
        let mut rewards = vec![0.0; rows];
        for row in numbers(&run["reward_idx"]) {
            rewards[row as usize] = 1.0;
        }
        let items = run["n_actions"].as_u64().unwrap() as usize;
        let even = vec![vec![1.0 / items as f64; 3]; items];
        let policy: Vec<Vec<f64>> = match run.get("pi_e") {
            Some(policy) => serde_json::from_value(policy.clone()).unwrap(),
            None => even,
        };
        let propensities = match run.get("pscore") {
            Some(propensities) => floats(propensities),
            None => vec![1.0 / items as f64; rows],
        };
        let mut counts = vec![[[0.0; 2]; 3]; items];
        for row in 0..rows {
            let cell = &mut counts[actions[row] as usize][slots[row] as usize];
            cell[0] += rewards[row];
            cell[1] += 1.0;
        }
        let rate = |item: usize, slot: usize| {
            let [clicks, shown] = counts[item][slot];
            (clicks + 1.0) / (shown + 200.0)
        };
        let at = |row: usize| (actions[row] as usize, slots[row] as usize);
        let weights: Vec<f64> = (0..rows)
            .map(|row| policy[at(row).0][at(row).1] / propensities[row])
            .collect();
        let forecast: Vec<f64> = (0..rows).map(|row| rate(at(row).0, at(row).1)).collect();
        let expected: Vec<f64> = (0..rows)
            .map(|row| {
                let slot = at(row).1;
                (0..items)
                    .map(|item| policy[item][slot] * rate(item, slot))
                    .sum()
            })
            .collect();
        let lists = ListOffsets::from_lengths(vec![1; rows]).unwrap();
        let log = Log::new(&lists, &rewards, &slots);
        let mut target = Target::new(&weights);
        target.forecast = Some(&forecast);
        target.expected = Some(&expected);
        for (theirs, ours) in [
            ("dm", "dm"),
            ("ipw", "ips"),
            ("snipw", "snips"),
            ("dr", "dr"),
            ("sndr", "sndr"),
            ("switch-dr", "switch_dr@10"),
            ("dr-os", "dr_os@100"),
            ("sg-dr", "sg_dr@0.05"),
        ] {
            let Some(expected) = run["qtable"][theirs].as_f64() else {
                panic!("{theirs} is not among {}", run["qtable"]);
            };
            let ours_value = value(&log, target, ours);
            assert!(
                (ours_value - expected).abs() < 1e-10 * expected.abs().max(1e-3),
                "{} {} {ours} {ours_value} {expected}",
                run["campaign"],
                run["behavior"]
            );
        }
        let report = slate_eval::off_policy::report_weights(&log, &target, 0.95).unwrap();
        for (ours, key) in [
            (report.mean, "w_mean"),
            (report.largest, "w_max"),
            (report.effective, "ess"),
        ] {
            let expected = run[key].as_f64().unwrap();
            assert!(
                (ours - expected).abs() < 1e-9 * expected,
                "{key} {ours} {expected}"
            );
        }
    }
}
