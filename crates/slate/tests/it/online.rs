//! Experiments with arms: how long they must run, and what they found.

use std::fmt::Write as _;

use serde_json::Value;

use super::backtest::{unsure, write};
use super::program::slate;

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
    let daily = online("--daily 0.02 --json").json();
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
