//! `slate calibrate` as its users meet it: segments, weights, scales, verdicts on simulated truths.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use slate_types::Seed;

use crate::program::slate;

/// A market whose probability of a purchase is known.
struct Market {
    /// True probability at a score of a row in a slot.
    truth: fn(f64, usize) -> f64,
    lists: u64,
    seed: u64,
}

const ROWS: usize = 5;

impl Market {
    /// Writes scores and outcomes; other rows for each `part`.
    fn write(&self, path: &Path, split: &str, part: &str) {
        let seed = Seed(self.seed).derive(part);
        let mut text = String::from("list_id,item_id,slot,score,purchase,price,split\n");
        for list in 0..self.lists {
            for slot in 0..ROWS {
                let row = seed.index(list * ROWS as u64 + slot as u64);
                let score = 4.0 * row.derive("score").unit() - 2.0;
                let bought = row.derive("purchase").unit() < (self.truth)(score, slot);
                let price = (100.0 + 900.0 * row.derive("price").unit()).floor();
                let id = 1_000_000 * u64::from(part == "test") + list;
                let item = slot;
                let _ = writeln!(
                    text,
                    "{id},{item},{slot},{score},{},{price},{split}",
                    u8::from(bought)
                );
            }
        }
        fs::write(path, text).expect("a file in a new folder");
    }

    /// Calibrates on one draw, judges on another, and returns `--json`.
    fn compare(&self, options: &str) -> serde_json::Value {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(&folder.path().join("fit.csv"), "calibrate", "fit");
        self.write(&folder.path().join("test.csv"), "test", "test");
        let line = format!(
            "calibrate --scores fit.csv --test test.csv --out c --set evaluate.draws=200 \
             --json {options}"
        );
        slate(folder.path(), &line).done().json()
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn verdict(json: &serde_json::Value) -> &str {
    json["verdict"].as_str().expect("a verdict")
}

#[test]
fn a_sigmoid_truth_is_told_as_one() {
    let market = Market {
        truth: |score, _| logistic(1.7 * score - 1.5),
        lists: 1500,
        seed: 1,
    };
    let json = market.compare("");
    let text = verdict(&json);
    assert!(text.contains("`sigmoid` (-"), "{text}");
    assert!(text.contains("better than `isotonic` here"), "{text}");
    assert!(
        text.contains("`exponential` (+"),
        "an exponential is no sigmoid: {text}"
    );
    assert!(text.contains("Fitted on 7500 rows with "), "{text}");
}

#[test]
fn an_exponential_truth_is_told_as_one() {
    let market = Market {
        truth: |score, _| (1.5 * score - 3.2).exp().min(1.0),
        lists: 3000,
        seed: 2,
    };
    let text = verdict(&market.compare("")).to_owned();
    assert!(text.contains("`exponential` (-"), "{text}");
    assert!(text.contains("better than `isotonic` here"), "{text}");
}

#[test]
fn a_kinked_truth_is_isotonics() {
    let market = Market {
        truth: |score, _| {
            if score < 0.5 {
                0.03
            } else {
                0.03 + 0.45 * (score - 0.5)
            }
        },
        lists: 4000,
        seed: 3,
    };
    let json = market.compare("");
    let text = verdict(&json);
    assert!(text.contains("`isotonic` has the least log loss"), "{text}");
    for method in ["raw", "sigmoid", "exponential"] {
        let loss = &json["methods"][method]["against"][0];
        assert!(loss["low"].as_f64().unwrap() > 0.0, "{method} {loss}");
    }
    // The order of the score stays, that of the expected revenue does not.
    assert!(json["order"]["largest_change"].as_f64().unwrap().abs() < 1e-12);
    let blended = &json["methods"]["sigmoid"]["blended"];
    assert_eq!(json["blend"], "log p + w log price");
    assert_ne!(
        blended["metrics"],
        json["methods"]["isotonic"]["blended"]["metrics"]
    );
}

#[test]
fn segments_have_their_own_maps_and_are_applied() {
    // A slot further down is looked at less.
    let market = Market {
        truth: |score, slot| logistic(1.2 * score) / (1.0 + slot as f64),
        lists: 2000,
        seed: 4,
    };
    let whole = market.compare("--methods isotonic,sigmoid");
    let by_slot = market.compare("--methods isotonic,sigmoid --by slot");
    for method in ["isotonic", "sigmoid"] {
        let loss =
            |json: &serde_json::Value| json["methods"][method]["metrics"][0]["value"].as_f64();
        assert!(
            loss(&by_slot).unwrap() < loss(&whole).unwrap() - 0.02,
            "{method}"
        );
    }
    assert!(
        by_slot["order"]["words"]
            .as_str()
            .unwrap()
            .contains("segments have maps")
    );

    let folder = tempfile::tempdir().unwrap();
    market.write(&folder.path().join("fit.csv"), "calibrate", "fit");
    let run = |line: &str| slate(folder.path(), line);
    run("calibrate --scores fit.csv --by slot --methods sigmoid --out c --set evaluate.draws=50")
        .done();
    run("calibrate --apply c/sigmoid.json --scores fit.csv --out p.csv").done();
    let line = "evaluate --scores p.csv -m pcoc --by slot --set evaluate.draws=50 --json";
    let json = run(line).done().json();
    let segments = json["by"]["segments"].as_array().unwrap();
    assert_eq!(segments.len(), ROWS);
    for segment in segments {
        // A slot of 250 purchases leans on the map of all slots by a twelfth.
        let pcoc = segment["metrics"][0]["value"].as_f64().unwrap();
        assert!((pcoc - 1.0).abs() < 0.1, "{segment}");
    }
    fs::write(folder.path().join("bare.csv"), "list_id,score\n1,0.5\n").unwrap();
    run("calibrate --apply c/sigmoid.json --scores bare.csv --out q.csv")
        .refused(&["segments by columns", "no column `slot`"]);
}

#[test]
fn sampled_negatives_are_weighed_back() {
    let market = Market {
        truth: |score, _| logistic(score - 3.0),
        lists: 6000,
        seed: 5,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.csv");
    market.write(&path, "calibrate", "fit");
    let all = fs::read_to_string(&path).unwrap();
    // One in four rows without a purchase is kept.
    let kept: Vec<&str> = (0..)
        .zip(all.lines())
        .filter(|(row, line)| *row == 0 || line.split(',').nth(4) == Some("1") || row % 4 == 0)
        .map(|(_, line)| line)
        .collect();
    fs::write(folder.path().join("kept.csv"), kept.join("\n") + "\n").unwrap();
    let run = |line: &str| slate(folder.path(), line);
    let fit = "calibrate --scores kept.csv --methods sigmoid --set evaluate.draws=50";
    run(&format!("{fit} --out plain")).done();
    run(&format!("{fit} --negatives-kept 0.25 --out weighed")).done();
    let pcoc = |folder: &str| {
        let apply =
            format!("calibrate --apply {folder}/sigmoid.json --scores all.csv --out p.csv --force");
        run(&apply).done();
        let line = "evaluate --scores p.csv -m pcoc --set evaluate.draws=50 --json";
        run(line).done().json()["metrics"][0]["value"]
            .as_f64()
            .unwrap()
    };
    assert!(pcoc("plain") > 2.5, "{}", pcoc("plain"));
    assert!((pcoc("weighed") - 1.0).abs() < 0.06, "{}", pcoc("weighed"));
    let comparison = fs::read_to_string(folder.path().join("weighed/comparison.json")).unwrap();
    assert!(comparison.contains("1/0.25 of each row without the event"));
    run(&format!("{fit} --negatives-kept 25 --out no")).refused(&["--negatives-kept is 25"]);
}

#[test]
fn equal_weights_of_any_size_change_nothing() {
    let market = Market {
        truth: |score, _| logistic(score - 1.0),
        lists: 150,
        seed: 9,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.csv");
    market.write(&path, "calibrate", "fit");
    let plain = fs::read_to_string(&path).unwrap();
    let weighed: Vec<String> = plain
        .lines()
        .enumerate()
        .map(|(row, line)| format!("{line},{}", if row == 0 { "weight" } else { "0.0001" }))
        .collect();
    fs::write(folder.path().join("weighed.csv"), weighed.join("\n")).unwrap();
    let run = |line: &str| slate(folder.path(), line).done();
    let options = "--methods all --by slot --set evaluate.draws=20 --set calibrate.own=20";
    run(&format!("calibrate --scores plain.csv --out a {options}"));
    run(&format!(
        "calibrate --scores weighed.csv --out b {options} --weighted"
    ));
    let probabilities = |calibrators: &str, method: &str| -> Vec<f64> {
        let line = format!(
            "calibrate --apply {calibrators}/{method}.json --scores plain.csv --out p.csv --force"
        );
        run(&line);
        let text = fs::read_to_string(folder.path().join("p.csv")).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let at = header
            .iter()
            .position(|name| *name == "probability")
            .unwrap();
        let cell = |line: &str| line.split(',').nth(at).unwrap().parse().unwrap();
        text.lines().skip(1).map(cell).collect()
    };
    for method in [
        "isotonic",
        "sigmoid",
        "spline",
        "beta",
        "histogram",
        "venn_abers",
        "power",
    ] {
        let (a, b) = (probabilities("a", method), probabilities("b", method));
        let gap = a
            .iter()
            .zip(&b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(gap < 1e-7, "{method} {gap}");
    }
    let read = |name: &str| -> serde_json::Value {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    // The diagram counts what the metrics count.
    let steps = read("b/comparison.json")["methods"]["sigmoid"]["reliability"]["steps"].clone();
    let weight: f64 = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["weight"].as_f64().unwrap())
        .sum();
    assert!((weight - 750.0).abs() < 1e-6, "{weight}");
}

#[test]
fn no_row_is_judged_that_was_learned_from() {
    let market = Market {
        truth: |score, _| logistic(score),
        lists: 40,
        seed: 10,
    };
    let folder = tempfile::tempdir().unwrap();
    market.write(&folder.path().join("fit.csv"), "calibrate", "fit");
    market.write(&folder.path().join("seen.csv"), "train", "test");
    let all = fs::read_to_string(folder.path().join("fit.csv")).unwrap();
    let half: Vec<&str> = all.lines().take(101).collect();
    fs::write(folder.path().join("half.csv"), half.join("\n")).unwrap();
    let run = |line: &str| slate(folder.path(), line);
    run("calibrate --scores fit.csv --test half.csv --out c").refused(&["100 rows of --test"]);
    run("calibrate --scores fit.csv --test seen.csv --out c").refused(&["training split"]);
    run("calibrate --scores fit.csv --by purchase --out c").refused(&["`purchase` is an outcome"]);
    run("calibrate --scores fit.csv --by slot,slot --out c").refused(&["names `slot` twice"]);
    run("calibrate --scores fit.csv --apply x.json --weighted --out c")
        .refused(&["cannot be used with"]);
}

#[test]
fn of_all_methods_those_that_do_not_suit_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("list_id,score,purchase\n");
    for row in 0..40 {
        let _ = writeln!(text, "{},{row},{}", row / 2, u8::from(row >= 20));
    }
    fs::write(folder.path().join("divided.csv"), text).unwrap();
    let told = slate(
        folder.path(),
        "calibrate --scores divided.csv --methods all --out c",
    )
    .done();
    for method in ["beta", "spline"] {
        assert!(
            told.stdout
                .contains(&format!("left out: cannot fit `{method}`")),
            "{}",
            told.stdout
        );
        assert!(!folder.path().join(format!("c/{method}.json")).exists());
    }
    assert!(folder.path().join("c/isotonic.json").exists());
}

#[test]
fn scales_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("list_id,score,purchase\n");
    for row in 0..400_u64 {
        let p = 0.02 + 0.9 * Seed(6).index(row).unit();
        let bought = Seed(7).index(row).unit() < p;
        let _ = writeln!(text, "{},{p},{}", row / 4, u8::from(bought));
    }
    fs::write(folder.path().join("p.csv"), &text).unwrap();
    fs::write(folder.path().join("odds.csv"), text.replace("0,0.", "0,7.")).unwrap();
    let run = |line: &str| slate(folder.path(), line);
    let told = run("calibrate --scores p.csv --out a --set evaluate.draws=50").done();
    assert!(
        told.stderr.contains("if they are probabilities"),
        "{}",
        told.stderr
    );
    let told = run(
        "calibrate --scores p.csv --scores-are probability --methods beta,sigmoid,isotonic --out b \
         --set evaluate.draws=50",
    )
    .done();
    assert!(!told.stderr.contains("if they are probabilities"));
    let file = fs::read_to_string(folder.path().join("b/beta.json")).unwrap();
    assert!(file.contains("\"reads\": \"probability\""), "{file}");
    let file = fs::read_to_string(folder.path().join("b/isotonic.json")).unwrap();
    assert!(!file.contains("reads"), "{file}");
    run("calibrate --scores odds.csv --scores-are probability --out c")
        .refused(&["expected a probability"]);
}

#[test]
fn venn_abers_says_how_little_it_knows() {
    let market = Market {
        truth: |score, _| logistic(score),
        lists: 60,
        seed: 8,
    };
    let folder = tempfile::tempdir().unwrap();
    market.write(&folder.path().join("fit.csv"), "calibrate", "fit");
    let run = |line: &str| slate(folder.path(), line);
    run("calibrate --scores fit.csv --methods all --out c --set evaluate.draws=20").done();
    run("validate c").done();
    run("calibrate --apply c/venn_abers.json --scores fit.csv --out p.csv").done();
    let text = fs::read_to_string(folder.path().join("p.csv")).unwrap();
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let at = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (p, low, high) = (
        at("probability"),
        at("probability_low"),
        at("probability_high"),
    );
    for line in text.lines().skip(1) {
        let cells: Vec<f64> = line
            .split(',')
            .map(|cell| cell.parse().unwrap_or(0.0))
            .collect();
        assert!(cells[low] < cells[high], "{line}");
        assert!((cells[low]..=cells[high]).contains(&cells[p]), "{line}");
    }
}

#[test]
fn fits_that_cannot_be_are_told_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "divided.csv",
        "list_id,score,purchase\n1,1,0\n1,2,0\n2,3,1\n2,4,1\n",
    );
    let run = |line: &str| slate(folder.path(), line);
    run("calibrate --scores divided.csv --methods isotonic,beta --out c").refused(&[
        "cannot fit `beta`",
        "divides positives from negatives",
        "longer calibration",
    ]);
    assert!(!folder.path().join("c").exists());
    run("calibrate --scores divided.csv --methods isotonic,isotonic --out c")
        .refused(&["named twice"]);
    run("calibrate --scores divided.csv --methods isotonik --out c")
        .refused(&["unknown calibrator"]);
    run("calibrate --scores divided.csv --by shop --out c").refused(&["no column `shop`"]);
    run("calibrate --scores divided.csv --weighted --out c").refused(&["no column `weight`"]);
    run("calibrate --scores divided.csv --inverse-propensity --out c")
        .refused(&["no column `propensity`"]);
    run("calibrate --scores divided.csv --set calibrate.prior=-1 --out c")
        .refused(&["calibrate.prior is -1"]);
    write(
        "nan.csv",
        "list_id,score,purchase,weight\n1,1,0,0\n1,2,1,0\n",
    );
    run("calibrate --scores nan.csv --weighted --out c").refused(&["all 2 weights are 0"]);
}

/// With users as the unit, what is said of a user is said by maps that never saw one of theirs.
#[test]
fn folds_keep_users_together() {
    let folder = tempfile::tempdir().expect("a folder");
    // One score and one outcome for all ten lists of a user, and nothing in common: a map that has seen one
    // of the ten knows the others.
    let mut text = String::from("list_id,user_id,score,purchase,split\n");
    for user in 0..300 {
        let draw = Seed(11).index(user);
        let (score, bought) = (
            draw.derive("score").unit(),
            draw.derive("bought").unit() < 0.4,
        );
        for list in 0..10 {
            let id = user * 10 + list;
            let _ = writeln!(text, "{id},{user},{score},{},calibrate", u8::from(bought));
        }
    }
    fs::write(folder.path().join("s.csv"), text).expect("a file");
    let entropy = |cluster: &str| {
        let line = format!(
            "calibrate --scores s.csv --cluster {cluster} --methods isotonic --set evaluate.draws=50 \
             --out {cluster} --json"
        );
        let json = slate(folder.path(), &line).done().json();
        let metrics = json["methods"]["isotonic"]["metrics"]
            .as_array()
            .unwrap()
            .clone();
        let own = metrics
            .iter()
            .find(|metric| metric["name"] == "ne")
            .unwrap();
        own["value"].as_f64().unwrap()
    };
    assert!(entropy("user") > 1.02, "{}", entropy("user"));
    assert!(entropy("list") < 1.0, "{}", entropy("list"));
}
