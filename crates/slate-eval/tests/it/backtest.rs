//! Intervals, tests and plans of backtests and experiments. From `tests/data/gold_backtest.py`: `SciPy`,
//! statsmodels, and formulas in NumPy.

use serde_json::Value;
use slate_eval::experiment::{
    Arms, Cuped, MixtureTest, assignment_check, power_reached, smallest_difference, units_needed,
};
use slate_eval::off_policy::{
    Estimate, Estimator, IntervalMethod, Intervals, Log, LoggerEstimate, Per, Target,
    balanced_propensities, bca_ends, bernstein, estimate, estimate_independent, slope,
    weighted_loggers,
};
use slate_types::ListOffsets;

fn golden(name: &str) -> Value {
    let text = include_str!("../data/backtest.json");
    serde_json::from_str::<Value>(text).unwrap()[name].clone()
}

fn cases(name: &str, count: usize) -> Vec<Value> {
    let cases = golden(name).as_array().unwrap().clone();
    assert_eq!(cases.len(), count);
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn near(ours: f64, theirs: f64, tolerance: f64) {
    let size = theirs.abs().max(1.0);
    assert!((ours - theirs).abs() < tolerance * size, "{ours} {theirs}");
}

fn delta() -> Intervals {
    Intervals {
        method: IntervalMethod::Delta,
        ..Intervals::default()
    }
}

/// A ratio of sums over clusters, as an estimate per unit: rewards `y`, units `x`, one list of as many
/// rows as units, all of the reward in its first row.
fn ratio(case: &Value, extra: Option<&Value>) -> slate_eval::off_policy::Estimates {
    let x: Vec<u64> = floats(&case["x"]).iter().map(|x| *x as u64).collect();
    let lists = ListOffsets::from_lengths(x).unwrap();
    let rows = lists.rows();
    let slots = vec![0; rows];
    let mut rewards = vec![0.0; rows];
    let mut weights = vec![1.0; rows];
    let second = extra.map(|extra| floats(&extra["y"]));
    for (list, (range, y)) in lists.iter().zip(floats(&case["y"])).enumerate() {
        rewards[range.start] = y;
        if let Some(second) = &second {
            weights[range.start] = second[list] / y;
        }
    }
    let ones = vec![1.0; rows];
    let mut log = Log::new(&lists, &rewards, &slots);
    log.per = Per::Placement;
    let targets = [Target::new(&weights), Target::new(&ones)];
    estimate(&log, &targets, "ips".parse().unwrap(), &delta()).unwrap()
}

#[test]
fn ratios_over_clusters_have_the_sandwich_s_error() {
    let case = golden("ratio_delta");
    let check = |ours: &Estimate, theirs: &Value| {
        near(ours.value, number(&theirs["estimate"]), 1e-12);
        near(ours.error, number(&theirs["se"]), 1e-12);
        near(ours.low, number(&theirs["lo"]), 1e-9);
        near(ours.high, number(&theirs["hi"]), 1e-9);
    };
    let a = ratio(&case["a"], None).policies[0];
    let c = ratio(&case["c"], None).policies[0];
    check(&a, &case["ratio_a"]);
    check(&c, &case["ratio_c"]);
    let count = |name: &str| floats(&case[name]["x"]).len();
    let change = estimate_independent((&c, count("c")), (&a, count("a")), 0.95).unwrap();
    let theirs = &case["unpaired_a_minus_c"];
    near(change.difference, number(&theirs["estimate"]), 1e-12);
    near(change.error, number(&theirs["se"]), 1e-12);
    near(change.low, number(&theirs["lo"]), 1e-9);
    near(change.p, number(&theirs["p"]), 1e-9);
}

#[test]
fn bias_corrected_ends_are_those_of_the_formula() {
    for case in cases("bca", 3) {
        let (value, a) = (number(&case["estimate"]), number(&case["a"]));
        let ends = bca_ends(&floats(&case["replicates"]), value, a, 0.95).unwrap();
        let (low, high) = ends.unwrap();
        near(low, number(&case["lo"]), 1e-9);
        near(high, number(&case["hi"]), 1e-9);
    }
    assert_eq!(bca_ends(&[1.0; 9], 1.0, 0.0, 0.95), Ok(Some((1.0, 1.0))));
    assert_eq!(bca_ends(&[2.0, 3.0], 1.0, 0.0, 0.95), Ok(None));
}

#[test]
fn empirical_bernstein_is_the_formula() {
    for case in cases("bernstein", 5) {
        let (x, bound) = (floats(&case["x"]), number(&case["b"]));
        let (low, high) = bernstein(&x, bound, number(&case["level"])).unwrap();
        near(low, number(&case["lo"]), 1e-12);
        near(high, number(&case["hi"]), 1e-12);
    }
    assert!(bernstein(&[0.5, 1.5], 1.0, 0.95).is_err());
    assert!(bernstein(&[0.5], 1.0, 0.95).is_err());
}

#[test]
fn sequential_tests_are_the_formula() {
    for case in cases("msprt", 135) {
        let at = |key: &str| number(&case[key]);
        let level = 1.0 - at("alpha");
        let mut test = MixtureTest::new(at("tau2"), level).unwrap();
        near(test.half_width(at("v")), at("half"), 1e-9);
        near(test.read(at("d"), at("v")), at("p"), 1e-12);
    }
}

#[test]
fn plans_are_those_of_statsmodels() {
    for case in cases("power", 6) {
        let at = |key: &str| number(&case[key]);
        let arms = Arms {
            deviation_a: at("sd_a"),
            deviation_b: at("sd_b"),
            ratio: at("ratio"),
            level: at("level"),
        };
        let units = units_needed(&arms, at("delta"), at("power")).unwrap();
        assert!(
            (units / at("n_a") - 1.0).abs() < 1e-9,
            "{units} {}",
            at("n_a")
        );
        let given = at("given_n_a");
        let reached = power_reached(&arms, at("delta"), given).unwrap();
        near(reached, at("given_power"), 1e-9);
        let smallest = smallest_difference(&arms, given, at("power")).unwrap();
        near(smallest, at("given_mde"), 1e-9);
    }
}

#[test]
fn assignment_is_checked_as_scipy_does() {
    for case in cases("srm", 7) {
        let observed: Vec<u64> = serde_json::from_value(case["observed"].clone()).unwrap();
        let check = assignment_check(&observed, &floats(&case["share"])).unwrap();
        near(check.statistic, number(&case["statistic"]), 1e-9);
        near(check.p, number(&case["p"]), 1e-9);
    }
    assert!(assignment_check(&[3], &[1.0]).is_err());
    assert!(assignment_check(&[3, 4], &[1.0, 0.0]).is_err());
}

/// From `tests/data/gold_test.py`.
#[test]
fn covariates_take_variance_away() {
    let text = include_str!("../data/tests.json");
    let case = serde_json::from_str::<Value>(text).unwrap()["cuped"].clone();
    let (x, y, arm) = (floats(&case["x"]), floats(&case["y"]), floats(&case["arm"]));
    let cuped = Cuped::fit(&y, &x).unwrap();
    near(cuped.theta, number(&case["theta"]), 1e-9);
    let effect = |of: &dyn Fn(usize) -> f64| {
        let mean = |wanted: f64| {
            let rows: Vec<usize> = (0..y.len()).filter(|&row| arm[row] == wanted).collect();
            rows.iter().map(|&row| of(row)).sum::<f64>() / rows.len() as f64
        };
        mean(1.0) - mean(0.0)
    };
    near(effect(&|row| y[row]), number(&case["effect_raw"]), 1e-9);
    let adjusted = effect(&|row| cuped.adjust(y[row], x[row]));
    near(adjusted, number(&case["effect_cuped"]), 1e-9);
    let variance = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
    };
    let left = variance(
        (0..y.len())
            .map(|row| cuped.adjust(y[row], x[row]))
            .collect(),
    );
    near(left / variance(y.clone()), number(&case["var_ratio"]), 1e-9);
    assert_eq!(Cuped::fit(&[1.0, 2.0], &[3.0, 3.0]).unwrap().theta, 0.0);
}

#[test]
fn cells_share_their_mean_weight() {
    let case = golden("mips");
    let (w, rewards) = (floats(&case["w"]), floats(&case["reward"]));
    let (actions, slots) = (numbers(&case["action"]), numbers(&case["position"]));
    let category = numbers(&case["category"]);
    let cells: Vec<u32> = actions
        .iter()
        .zip(&slots)
        .map(|(&action, &slot)| 3 * slot + category[action as usize])
        .collect();
    let lists = ListOffsets::from_lengths(vec![1; w.len()]).unwrap();
    let log = Log::new(&lists, &rewards, &slots);
    let mut target = Target::new(&w);
    target.cells = Some(&cells);
    let of = |name: &str| {
        let estimator: Estimator = name.parse().unwrap();
        estimate(&log, &[target], estimator, &delta())
            .unwrap()
            .policies[0]
            .value
    };
    near(of("mips"), number(&case["value"]), 1e-12);
    near(of("ips"), number(&case["value_ips"]), 1e-12);
}

#[test]
fn loggers_are_put_together() {
    let case = golden("balanced");
    let (rewards, target) = (floats(&case["reward"]), floats(&case["target"]));
    let of: Vec<Vec<f64>> = serde_json::from_value(case["propensity"].clone()).unwrap();
    let each = [0, 1].map(|j: usize| of.iter().map(|row| row[j]).collect::<Vec<f64>>());
    let mixture = balanced_propensities(&[&each[0], &each[1]], &floats(&case["logger_n"])).unwrap();
    for (ours, theirs) in mixture.iter().zip(floats(&case["mixture"])) {
        near(*ours, theirs, 1e-12);
    }
    let lists = ListOffsets::from_lengths(vec![1; rewards.len()]).unwrap();
    let slots = vec![0; rewards.len()];
    let log = Log::new(&lists, &rewards, &slots);
    let weights: Vec<f64> = target.iter().zip(&mixture).map(|(e, b)| e / b).collect();
    let balanced = estimate(
        &log,
        &[Target::new(&weights)],
        "ips".parse().unwrap(),
        &delta(),
    );
    near(
        balanced.unwrap().policies[0].value,
        number(&case["balanced"]),
        1e-12,
    );
    let (means, variances) = (
        floats(&case["logger_mean"]),
        floats(&case["logger_variance"]),
    );
    let counts = floats(&case["logger_n"]);
    let parts: Vec<LoggerEstimate> = (0..2)
        .map(|j| LoggerEstimate {
            value: means[j],
            error: (variances[j] / counts[j]).sqrt(),
        })
        .collect();
    let together = weighted_loggers(&parts, 0.95).unwrap();
    near(together.value, number(&case["weighted"]), 1e-12);
    near(together.error, number(&case["weighted_se"]), 1e-12);
    assert!(balanced_propensities(&[&[0.0]], &[1.0]).is_err());
    assert!(weighted_loggers(&[], 0.95).is_err());
}

/// Held to `obp` 0.5.5: its order of candidates, its intervals, its choice.
#[test]
fn slope_chooses_as_the_open_bandit_pipeline_does() {
    for case in cases("slope", 4) {
        let lambdas: Vec<String> = serde_json::from_value(case["lambdas"].clone()).unwrap();
        let name = case["kind"].as_str().unwrap().replace('-', "_");
        let candidates: Vec<Estimator> = lambdas
            .iter()
            .map(|lambda| format!("{name}@{lambda}").parse().unwrap())
            .collect();
        let (w, rewards) = (floats(&case["w"]), floats(&case["reward"]));
        let (forecast, expected) = (floats(&case["q_logged"]), floats(&case["dm"]));
        let lists = ListOffsets::from_lengths(vec![1; w.len()]).unwrap();
        let slots = vec![0; w.len()];
        let log = Log::new(&lists, &rewards, &slots);
        let mut target = Target::new(&w);
        target.forecast = Some(&forecast);
        target.expected = Some(&expected);
        for (candidate, theta) in candidates.iter().zip(floats(&case["theta"])) {
            let ours = estimate(&log, &[target], *candidate, &delta()).unwrap();
            near(ours.policies[0].value, theta, 1e-12);
        }
        let chosen = slope(&log, &target, &candidates).unwrap();
        assert_eq!(
            chosen as u64,
            case["slope_best"].as_u64().unwrap(),
            "{name}"
        );
    }
}
