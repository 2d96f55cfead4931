//! Experiments with arms: how long they must run, and what they found; what users look at,
//! interleavings, recipes over months.

use std::fmt::Write as _;

use serde_json::Value;

use super::backtest::{estimate, market, truth, unsure, write};
use super::bucket::Bucket;
use super::program::{SMALL, config, slate, slate_with};

/// A log of one order: examination is estimated, and clicks are weighed by it.
#[test]
fn one_order_is_weighed_by_what_users_look_at() {
    let folder = market();
    let line =
        "backtest examine --log shown/labels.parquet --top 6 --out curve.json --force --json";
    let json = slate(folder, line).done().json();
    let harvested = &json["curves"][0];
    assert_eq!(harvested["curve"], "harvested");
    let curve: Vec<f64> = serde_json::from_value(harvested["examination"].clone()).unwrap();
    assert_eq!(curve[0], 1.0);
    assert!(
        curve.windows(2).all(|pair| pair[1] < pair[0] + 0.1),
        "{curve:?}"
    );
    let line = "backtest --log shown/labels.parquet --a logged.toml --b worst.toml --reward click \
                --examination curve.json --json";
    let refused = line.replace("--json", "--main snips");
    slate(folder, &refused).refused(&["`snips` cannot be weighed by examination"]);
    let raw = line.replace("worst.toml", "raw.toml");
    let json = slate(folder, &raw).json();
    let [truth, _] = truth(folder);
    let found = estimate(&json, "raw", "ips");
    let value = found["value"].as_f64().unwrap();
    assert!((value - truth).abs() < 0.25 * truth, "{value} {truth}");
}

/// One list for both finds with fewer lists what arms would find.
#[test]
fn interleaving_takes_fewer_lists_than_arms() {
    let folder = market();
    let line = "backtest interleave --log shown/labels.parquet --a random.toml --b raw.toml --reward click \
                --depth 6 --json";
    let json = slate(folder, line).done().json();
    for merging in json["mergings"].as_array().unwrap() {
        assert!(merging["second"].as_f64().unwrap() > 0.5, "{merging}");
        assert!(
            merging["lists"].as_f64().unwrap() < json["arms"].as_f64().unwrap(),
            "{json}"
        );
    }
    let revenue = line.replace("--reward click", "--reward revenue");
    slate(folder, &revenue).refused(&["`revenue` is no vote"]);
}

#[test]
fn experiments_are_planned() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |line: &str| slate(folder.path(), &format!("backtest plan {line}"));
    let json = plan("--rate 0.02 --change 0.05 --per-day 40000 --json")
        .done()
        .json();
    // statsmodels' NormalIndPower says 314 k for equal deviations; here the second arm's is its own.
    assert_eq!(json["units"][0].as_f64(), Some(315_204.0));
    assert_eq!(json["days"].as_f64(), Some(16.0));
    let fewer = plan("--rate 0.02 --change 0.05 --explained 0.5 --json")
        .done()
        .json();
    assert_eq!(fewer["units"][0].as_f64(), Some(157_602.0));
    plan("--rate 0.02 --change 0").refused(&["--change is 0"]);
    plan("--rate 2 --change 0.1").refused(&["--rate is 2"]);
    plan("--rate 0.02").refused(&["--change"]);
}

/// Users of two arms, in the second of which more is bought.
fn arms(users: usize, second: f64) -> String {
    let mut text =
        "list_id,page_id,slot,item_id,user_id,ts,arm,device,click,purchase,price,before\n"
            .to_owned();
    for user in 0..users {
        let arm = ["a", "b"][user % 2];
        let luck = (user * 7919 % 1000) as f64 / 1000.0;
        let rate = if arm == "a" { 0.2 } else { second };
        for list in 0..2 {
            let id = 2 * user + list;
            let bought = u8::from(luck < rate && list == 0);
            let day = 1_767_225_600_000_000_i64 + (user % 5) as i64 * 86_400_000_000;
            let device = ["m", "d"][user % 3 % 2];
            let before = f64::from(u8::from(luck < 0.25));
            let _ = writeln!(
                text,
                "{id},{id},0,{},{user},{day},{arm},{device},{bought},{bought},500,{before}",
                id % 9
            );
        }
    }
    text
}

#[test]
fn experiments_are_read_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let online = |more: &str| {
        slate(
            path,
            &format!("backtest online --log arms.csv --arm arm {more}"),
        )
    };
    write(path, "arms.csv", &arms(4000, 0.3));
    let json = online("--by device --before before --json").done().json();
    assert_eq!(json["verdict"], "different");
    assert_eq!(json["arms"][0]["clusters"], 2000);
    let metrics = json["metrics"].as_array().unwrap();
    let names: Vec<&str> = metrics
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "clicks per placement",
            "purchases per placement",
            "revenue per page",
            "clicks per unit, less before",
            "purchases per unit, less before",
            "revenue per unit, less before",
        ]
    );
    let of = |at: usize, key: &str| metrics[at][key].as_f64().unwrap();
    assert!((of(1, "difference") - 0.05).abs() < 0.005, "{}", metrics[1]);
    // What was known before explains most of who buys.
    assert!(of(4, "error") < 0.8 * 2.0 * of(1, "error"));
    assert_eq!(json["segments"].as_array().unwrap().len(), 2);
    assert_eq!(json["days"].as_array().unwrap().len(), 5);
    assert!(json["trend"]["p"].as_f64().is_some());
    online("--by device --out found.json").done();
    slate(path, "report found.json --out found.html").done();
    let page = std::fs::read_to_string(path.join("found.html")).unwrap();
    for words in [
        "Experiment",
        "b - a: purchases per placement differ",
        "Segments",
        "Days",
    ] {
        assert!(page.contains(words), "no `{words}`");
    }
    let daily = online("--daily 0.1 --json").json();
    let width = |json: &Value| {
        let one = &json["metrics"][1];
        one["high"].as_f64().unwrap() - one["low"].as_f64().unwrap()
    };
    assert!(
        width(&daily) > 1.1 * width(&json),
        "reading daily costs width"
    );

    write(path, "arms.csv", &arms(4000, 0.2));
    let told = unsure(online("")).stdout;
    assert!(
        told.starts_with("No difference in purchases per placement is shown"),
        "{told}"
    );
    assert!(!told.contains("by itself"), "{told}");
    // The interval of one of three metrics leaves 0 out, which one of three does by chance.
    write(path, "arms.csv", &arms(4000, 0.229));
    let told = unsure(online("")).stdout;
    for words in [
        "is shown; the interval of b - a goes from +",
        "without 0 by itself",
        "of 3 comparisons",
    ] {
        assert!(told.contains(words), "no `{words}`: {told}");
    }
    write(path, "arms.csv", &arms(4000, 0.2));
    let unequal = unsure(online("--planned a=0.9,b=0.1 --json")).json();
    assert_eq!(unequal["verdict"], "unequal_assignment");

    let mixed = arms(4000, 0.3).replacen(
        "0,0,0,0,0,1767225600000000,a",
        "0,0,0,0,0,1767225600000000,b",
        1,
    );
    write(path, "arms.csv", &mixed);
    assert_eq!(online("--json").json()["mixed"], 1);
    online("--control c").refused(&["no list is of arm `c`", "arms are: a, b"]);
    online("--planned c=1").refused(&["--planned names arm `c`"]);
    slate(path, "backtest online --log arms.csv --arm group").refused(&["no column `group`"]);
    write(path, "arms.csv", &arms(4000, 0.3).replace(",b,", ",a,"));
    online("").refused(&["names 1 arm"]);
}

/// Each month is scored by what was known when it began; what is there is not made again.
#[test]
fn recipes_are_compared_month_by_month() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let demo = config("demo.toml");
    let made = format!(
        "simulate -c {} {SMALL} --set simulate.pages=1200 --set simulate.users=800 --set simulate.items=800 --out logs",
        demo.display()
    );
    slate(path, &made).done();
    let text = std::fs::read_to_string(&demo).unwrap();
    write(path, "long.toml", &text);
    write(
        path,
        "short.toml",
        &text.replace("epochs = 8", "epochs = 1"),
    );
    let small = SMALL.replace("--set train.epochs=2 ", "");
    let line = format!(
        "backtest months --a short.toml --b long.toml --logs logs --months 2026-04..2026-05 \
         --cache stages -m ndcg@10,logloss --json {small}"
    )
    .replace("--set train.epochs=8", "");
    let first = slate(path, &format!("{line} --out one"));
    assert!(matches!(first.code, Some(0 | 1)), "{}", first.stderr);
    let json = first.json();
    assert_eq!(json["months"].as_array().unwrap().len(), 2);
    assert_eq!(json["differences"][0]["name"], "ndcg@10");
    // Both recipes ask for the same datasets.
    assert!(first.stderr.contains("2026-04 short: "), "{}", first.stderr);
    assert!(first.stderr.contains("long: ") && first.stderr.contains("2 of 3 stages were there"));
    let document = std::fs::read_to_string(path.join("one/manifest.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    for stage in document["stages"].as_array().unwrap() {
        let begins = if stage["month"] == "2026-04" {
            1_775_001_600_000_000
        } else {
            1_777_593_600_000_000_i64
        };
        // Windows of 30 days were still open for the month before.
        let latest = stage["latest_seen"].as_i64().unwrap();
        assert!(latest < begins - 29 * 86_400_000_000, "{stage}");
    }
    slate(path, "report one --out one.html").done();
    let page = std::fs::read_to_string(path.join("one.html")).unwrap();
    assert!(page.contains("Recipes over months") && page.contains("2026-05"));
    let again = slate(path, &format!("{line} --out two"));
    assert!(!again.stderr.contains("2 of 3"), "{}", again.stderr);
    assert_eq!(json, again.json());
    let both = |out: &str| std::fs::read(path.join(out).join("both.parquet")).unwrap();
    assert_eq!(both("one"), both("two"));
    // From a bucket the same, and what is there is known by what the bucket says of its files.
    if let Some(bucket) = Bucket::with(&path.join("logs")) {
        let line = line
            .replace("--logs logs", "--logs s3://shop/logs")
            .replace("2026-04..2026-05", "2026-04")
            .replace("--cache stages", "--cache from-bucket");
        let environment = bucket.environment("key");
        let ran = |out: &str| slate_with(path, &format!("{line} --out {out}"), &environment);
        let first = ran("three");
        assert_eq!(
            first.json()["months"][0],
            json["months"][0],
            "{}",
            first.stderr
        );
        let again = ran("four");
        assert!(
            again.stderr.contains("short: ") && again.stderr.contains("3 of 3 stages were there")
        );
    }
    let elsewhere = |logs: &str| line.replace("--logs logs", &format!("--logs {logs}"));
    for logs in ["http://127.0.0.1:9/logs", "nowhere"] {
        slate(path, &format!("{} --out x", elsewhere(logs))).refused(&["--cache cannot know"]);
    }
    let url = elsewhere(&format!("file://{}", path.join("logs").display()));
    let ran = slate(
        path,
        &format!("{url} --out five").replace("2026-04..2026-05", "2026-04"),
    );
    assert_eq!(ran.json()["months"][0], json["months"][0], "{}", ran.stderr);
    let judged = "backtest --log one/both.parquet --a one/short.policy.toml --b one/long.policy.toml \
                  --reward click --set evaluate.draws=50 --json";
    assert_eq!(unsure(slate(path, judged)).json()["verdict"], "cannot_tell");
    let wrong = |more: &str| {
        slate(
            path,
            &format!("{line} --out x").replace("2026-04..2026-05", more),
        )
    };
    wrong("2026-05..2026-04").refused(&["end before they begin"]);
    wrong("2027-04").refused(&["2027-04"]);
    slate(
        path,
        &format!("{line} --out x").replace("ndcg@10,logloss", "pcoc"),
    )
    .refused(&["`pcoc` is best near a value"]);
}
