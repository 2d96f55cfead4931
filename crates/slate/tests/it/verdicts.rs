//! Verdicts that must not be given, and one that must.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use slate_types::Seed;

use super::backtest::{estimate, write};
use super::program::slate;

/// A log of lists in random order: `x` says nothing of who buys.
fn noise(lists: u64, lengths: std::ops::RangeInclusive<u64>) -> String {
    let mut text = "list_id,item_id,slot,x,purchase\n".to_owned();
    let seed = Seed(6);
    for list in 0..lists {
        let seed = seed.index(list);
        let spread = lengths.end() - lengths.start() + 1;
        let length = lengths.start() + (seed.derive("length").unit() * spread as f64) as u64;
        for slot in 0..length {
            let row = seed.index(slot);
            let bought = u8::from(row.derive("buy").unit() < 0.1);
            let x = row.derive("x").unit();
            let _ = writeln!(text, "{list},{},{slot},{x},{bought}", slot % 5);
        }
    }
    text
}

fn verdict(folder: &Path, more: &str) -> (String, Value) {
    let line = format!("backtest --log log.csv --a logged.toml --b x.toml --json {more}");
    let ran = slate(folder, &line);
    assert!(
        matches!(ran.code, Some(0 | 1)),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
    let json = ran.json();
    (json["verdict"].as_str().unwrap().to_owned(), json)
}

fn policies(folder: &Path) {
    write(folder, "logged.toml", "format = 1\nranker = \"logged\"\n");
    write(folder, "random.toml", "format = 1\nranker = \"random\"\n");
    write(folder, "x.toml", "format = 1\nranker = \"column:x\"\n");
}

/// Whatever estimator is asked for: an order that knows nothing is not told from the logged one.
#[test]
fn an_order_that_knows_nothing_is_never_better_or_worse() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    for lengths in [8..=8, 1..=6] {
        write(path, "log.csv", &noise(1500, lengths.clone()));
        for main in [
            "list_ips",
            "list_snips",
            "rips",
            "cascade_dr",
            "replay",
            "sg_ips@0.5",
            "dr_os@0",
            "switch_dr@0",
            "dm",
            "mips",
            "dr",
            "ips@1",
            "snips",
        ] {
            let more = format!(
                "--propensity uniform --cells item_id --main {main} --estimators ips --set evaluate.draws=200"
            );
            let line = format!("backtest --log log.csv --a logged.toml --b x.toml --json {more}");
            let ran = slate(path, &line);
            // Long lists are never matched as a whole: that is a refusal.
            if ran.code == Some(2) {
                assert!(
                    ran.stderr.contains("nothing was ever shown"),
                    "{main} {}",
                    ran.stderr
                );
                continue;
            }
            let json = ran.json();
            assert_eq!(
                json["verdict"], "cannot_tell",
                "{main} {lengths:?} {}",
                json["sentences"]
            );
        }
    }
}

#[test]
fn rounding_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let text = noise(300, 4..=4).replace("x,purchase", "x,purchase,same");
    let same: String = text
        .lines()
        .enumerate()
        .fold(String::new(), |mut all, (at, line)| {
            let _ = writeln!(all, "{line}{}", if at == 0 { "" } else { ",1" });
            all
        });
    write(path, "log.csv", &same);
    write(
        path,
        "x.toml",
        "format = 1\nranker = \"column:same\"\n[explore]\nkind = \"softmax\"\ntemperature = 1\n",
    );
    let more = "--propensity uniform --main ips --estimators ips";
    let line = format!("backtest --log log.csv --a random.toml --b x.toml --json {more}");
    let json = slate(path, &line).json();
    assert_eq!(
        json["doubts"][0][0]["kind"], "same",
        "{}",
        json["sentences"]
    );
}

/// A logger that explores a little, and an order that is plainly worse than its own: large weights decide,
/// rightly.
#[test]
fn a_plain_difference_under_little_exploration_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let mut text = "list_id,item_id,slot,x,click,propensity\n".to_owned();
    let (share, seed) = (0.1, Seed(12));
    for list in 0..20_000 {
        let seed = seed.index(list);
        let explored = seed.derive("explore").unit() < share;
        let swapped = explored && seed.derive("swap").unit() < 0.5;
        for slot in 0..2_u64 {
            // Item 0 is liked, item 1 is not; the logger shows 0 on top, `x` wants 1 there.
            let item = if swapped { 1 - slot } else { slot };
            let own = if item == slot {
                1.0 - share / 2.0
            } else {
                share / 2.0
            };
            let p = [0.5, 0.1][item as usize] * [1.0, 0.4][slot as usize];
            let click = u8::from(seed.derive("click").index(slot).unit() < p);
            let _ = writeln!(text, "{list},{item},{slot},{item},{click},{own}");
        }
    }
    write(path, "log.csv", &text);
    let (told, json) = verdict(path, "--set evaluate.draws=200");
    assert_eq!(told, "a_better", "{}", json["sentences"]);
    // 0.5 + 0.04 against 0.1 + 0.2, but for what is explored.
    let difference = json["difference"]["value"].as_f64().unwrap();
    assert!((difference + 0.228).abs() < 0.04, "{difference}");
}

/// Slots with gaps: a curve by places is applied by places, and places past it are refused.
#[test]
fn examination_goes_by_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let theta = [1.0, 0.5, 0.25];
    let mut text = "list_id,item_id,slot,x,click,all,half\n".to_owned();
    for list in 0..6000_u64 {
        let seed = Seed(8).index(list);
        let first = (seed.derive("order").unit() * 3.0) as u64;
        for place in 0..3_u64 {
            let item = (first + place) % 3;
            let p = theta[place as usize] * (0.1 + 0.2 * item as f64);
            let click = u8::from(seed.index(place).unit() < p);
            let half = list % 2;
            let _ = writeln!(text, "{list},{item},{},{item},{click},1,{half}", 2 * place);
        }
    }
    write(path, "log.csv", &text);
    slate(
        path,
        "backtest examine --log log.csv --top 3 --out curve.json",
    )
    .done();
    let (_, json) = verdict(path, "--examination curve.json --reward click");
    // Items by rising appeal get 1, .5 and .25; on average each place has each.
    let best = 0.5 + 0.3 * 0.5 + 0.1 * 0.25;
    let average = 0.3 * 1.75;
    let difference = json["difference"]["value"].as_f64().unwrap();
    assert!((difference - (best - average)).abs() < 0.03, "{difference}");
    assert_eq!(json["verdict"], "b_better", "{}", json["sentences"]);
    // A segment is as unsure of the curve as the whole, which one of all lists is.
    let segments = |by: &str| -> Vec<Value> {
        let more =
            format!("--examination curve.json --reward click --by {by} --out judged --force");
        verdict(path, &more);
        let text = std::fs::read_to_string(path.join("judged/manifest.json")).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        found["segments"]["of"].as_array().unwrap().clone()
    };
    for end in ["low", "high", "p"] {
        assert_eq!(segments("all")[0][end], json["difference"][end]);
    }
    let width = |of: &Value| of["high"].as_f64().unwrap() - of["low"].as_f64().unwrap();
    let halves = segments("half");
    assert_eq!(halves.len(), 2);
    for segment in halves {
        assert!(width(&segment) > width(&json["difference"]));
    }
    slate(
        path,
        "backtest examine --log log.csv --top 2 --out short.json",
    )
    .done();
    slate(
        path,
        "backtest --log log.csv --a logged.toml --b x.toml --examination short.json --reward click",
    )
    .refused(&["examination is known of 2 places, and 3 count", "--top 2"]);
}

/// Each item stands in one slot only, the better ones higher: numbers that tell appeal make a curve where
/// items cannot.
#[test]
fn items_of_one_slot_are_examined_by_what_tells_their_appeal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let theta = [1.0, 0.5, 0.25];
    let mut text = "list_id,item_id,slot,x,click\n".to_owned();
    for list in 0..6000_u64 {
        for slot in 0..3_u64 {
            let seed = Seed(9).index(list).index(slot);
            let x = seed.derive("x").unit() * 2.0 - 0.5 * slot as f64;
            let p = theta[slot as usize] / (1.0 + (1.0 - 1.5 * x).exp());
            let click = u8::from(seed.derive("click").unit() < p);
            let _ = writeln!(text, "{list},{},{slot},{x},{click}", 3 * list + slot);
        }
    }
    write(path, "log.csv", &text);
    let line = "backtest examine --log log.csv --top 3 --set evaluate.draws=50 --json";
    let ran = slate(
        path,
        &format!("{line} --appeal x --take regression --out curve.json"),
    )
    .done();
    let json = ran.json();
    let curves = json["curves"].as_array().unwrap();
    let curve = curves.iter().find(|c| c["curve"] == "regression").unwrap();
    for (slot, theta) in theta.iter().enumerate() {
        let number = |key: &str| curve[key][slot].as_f64().unwrap();
        let found = number("examination");
        assert!((found - theta).abs() < 0.05, "{curve}");
        assert!(number("low") <= found && found <= number("high"), "{curve}");
    }
    let em = curves.iter().find(|c| c["curve"] == "em").unwrap();
    let blind = em["examination"][1].as_f64().unwrap();
    assert!((blind - theta[1]).abs() > 0.2, "{em}");
    let (_, json) = verdict(path, "--examination curve.json --reward click");
    assert!(
        json["difference"]["value"].as_f64().unwrap() > 0.0,
        "{json}"
    );
    write(path, "holes.csv", &text.replacen("0,0,0,", "0,0,0,nan", 1));
    slate(path, "backtest examine --log holes.csv --appeal x --top 3").refused(&["`x` at row 0"]);
    slate(path, "backtest examine --log log.csv --appeal y").refused(&["`y`"]);
    slate(path, "backtest examine --log log.csv --appeal slot").refused(&["what the curve is of"]);
    slate(path, "backtest examine --log log.csv --take regression").refused(&["--appeal COLUMNS"]);
    slate(path, "backtest examine --log log.csv --take random").refused(&["--random COLUMN=VALUE"]);
}

/// Weights without a floor: the interval itself is in doubt. With one, only the verdict is.
#[test]
fn an_interval_is_sound_where_weights_have_a_variance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let kinds = |text: &Value| -> Vec<String> {
        let doubts = text["doubts"][0].as_array().unwrap().iter();
        doubts
            .map(|doubt| doubt["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut text = "list_id,item_id,slot,x,purchase,propensity\n".to_owned();
    for list in 0..6000_u64 {
        let seed = Seed(10).index(list);
        // The logger shows the first item of two with a probability that comes close to 0.
        let p = seed.derive("p").unit().powi(8).max(1e-9);
        let first = seed.derive("first").unit() < p;
        let chance = if first { p } else { 1.0 - p };
        for slot in 0..2_u64 {
            let item = if first { slot } else { 1 - slot };
            let bought = u8::from(seed.index(slot).unit() < 0.2);
            let _ = writeln!(text, "{list},{item},{slot},{},{bought},{chance}", 1 - item);
        }
    }
    write(path, "log.csv", &text);
    let (told, json) = verdict(path, "--set evaluate.draws=200");
    assert_eq!(
        (told.as_str(), &json["sound"][0]),
        ("cannot_tell", &Value::Bool(false)),
        "{json}"
    );
    assert!(kinds(&json).contains(&"heavy_tail".to_owned()), "{json}");
    write(path, "log.csv", &noise(1500, 8..=8));
    let (told, json) = verdict(path, "--propensity uniform --set evaluate.draws=200");
    assert_eq!(
        (told.as_str(), &json["sound"][0]),
        ("cannot_tell", &Value::Bool(true)),
        "{json}"
    );
    assert_eq!(kinds(&json), ["includes_zero"]);
    let sentence = json["sentences"][0].as_str().unwrap();
    assert!(
        sentence.contains("Nothing speaks against the interval"),
        "{sentence}"
    );
}

#[test]
fn segments_are_of_every_policy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    write(path, "log.csv", &noise(600, 4..=4));
    let line = "backtest --log log.csv --a logged.toml --b x.toml --b random.toml --propensity uniform --by item_id \
                --set evaluate.draws=100";
    let ran = slate(path, &line.replace("--by item_id", "--by kind"));
    ran.refused(&["`kind`"]);
    let text = noise(600, 4..=4);
    let mut lines = text.lines();
    let mut kinds = format!("{},kind\n", lines.next().unwrap());
    for line in lines {
        let list: u64 = line.split(',').next().unwrap().parse().unwrap();
        let _ = writeln!(kinds, "{line},{}", ["old", "new"][(list % 2) as usize]);
    }
    write(path, "log.csv", &kinds);
    let line = line.replace("--by item_id", "--by kind --out judged");
    let told = slate(path, &line).stdout;
    let rows = told
        .lines()
        .filter(|line| line.starts_with("old ") || line.starts_with("new "));
    let policies: Vec<&str> = rows
        .filter_map(|row| row.split_whitespace().nth(1))
        .collect();
    assert_eq!(policies, ["x", "random", "x", "random"], "{told}");
    // Where nothing was earned nothing is known of a difference.
    let mut idle = kinds.lines().next().unwrap().to_owned();
    for line in kinds.lines().skip(1) {
        let line = line.replace(",1,new", ",0,new");
        let _ = write!(idle, "\n{line}");
    }
    write(path, "log.csv", &idle);
    let told = slate(path, &format!("{line} --force")).stdout;
    let row = told.lines().find(|row| row.starts_with("new ")).unwrap();
    assert_eq!(row.matches('–').count(), 3, "{told}");
}

/// Users go from the top and stop at the first click: what a list earns is known list by list.
#[test]
fn a_cascade_forecasts_whole_lists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    let appeal = [0.1, 0.3, 0.5];
    let mut text = "list_id,item_id,slot,x,click\n".to_owned();
    for list in 0..5000_u64 {
        let seed = Seed(11).index(list);
        let mut order: Vec<u64> = (0..3).collect();
        order.sort_by_key(|&item| seed.derive("order").index(item).0);
        let mut open = true;
        for (slot, &item) in order.iter().enumerate() {
            let likes = seed.derive("click").index(item).unit() < appeal[item as usize];
            let _ = writeln!(
                text,
                "{list},{item},{slot},{item},{}",
                u8::from(open && likes)
            );
            open &= !likes;
        }
    }
    write(path, "log.csv", &text);
    let dm = |b: &str, more: &str| {
        let line = format!(
            "backtest --log log.csv --a logged.toml --b {b} --propensity uniform --reward click --top 2 \
             --outcome cascade --set evaluate.draws=100 --json {more}"
        );
        let json = slate(path, &line).json();
        ["logged", b.trim_end_matches(".toml")]
            .map(|name| estimate(&json, name, "dm")["value"].as_f64().unwrap())
    };
    // At most one click among the first two: 1 less what both leave open.
    let pair = |a: usize, b: usize| 1.0 - (1.0 - appeal[a]) * (1.0 - appeal[b]);
    let average = (pair(0, 1) + pair(0, 2) + pair(1, 2)) / 3.0;
    let [logged, best] = dm("x.toml", "");
    assert!((best - pair(2, 1)).abs() < 0.02, "{best}");
    assert!((logged - average).abs() < 0.02, "{logged} {average}");
    let [_, random] = dm("random.toml", "");
    assert!((random - average).abs() < 0.02, "{random} {average}");
    let line =
        "backtest --log log.csv --a logged.toml --b x.toml --propensity uniform --outcome cascade";
    slate(path, &format!("{line} --reward click --main dr"))
        .refused(&["a cascade knows whole lists alone"]);
    write(
        path,
        "log.csv",
        &text.replace(",click", ",grade").replace(",1\n", ",2\n"),
    );
    slate(path, &format!("{line} --reward grade")).refused(&["a cascade is of clicks"]);
}
