//! Policies compared on logs, by the program itself: values against a simulator whose truth is known,
//! verdicts, and a clear word for each log that cannot be used.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use serde_json::Value;
use tempfile::TempDir;

use super::program::{Ran, dataset, parquet_rows, slate};

/// Pages that show all their candidates, ordered by a ranker that explores.
const MARKET: &str = "--set simulate.pages=1500 --set simulate.users=500 --set simulate.items=400 \
    --set simulate.candidates=6 --set simulate.slots_min=6 --set simulate.slots_max=6 \
    --set simulate.short_lists=0 --set simulate.explore_share=0 --set simulate.temperature=1 \
    --set simulate.pictures=false --set simulate.click_rate=0.15";

/// Labelled placements of that market under `shown/`, its truth under `logs/`, and policies; made once.
pub(crate) fn market() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        slate(folder.path(), &format!("simulate --out logs {MARKET}")).done();
        let with = "price,propensity,raw_score,user_id,device,ad_rate";
        slate(
            folder.path(),
            &format!("label --logs logs --out shown --with {with} --as-of 2026-08-30"),
        )
        .done();
        policies(folder.path());
        folder
    });
    folder.path()
}

fn policies(folder: &Path) {
    for (name, text) in [
        ("logged", "ranker = \"logged\"\n"),
        ("random", "ranker = \"random\"\n"),
        ("popular", "ranker = \"popularity\"\n"),
        ("raw", "ranker = \"column:raw_score\"\n"),
        ("worst", "ranker = \"column:worst\"\n"),
        (
            "soft",
            "ranker = \"column:raw_score\"\n[explore]\nkind = \"softmax\"\ntemperature = 1\n",
        ),
        (
            "curious",
            "ranker = \"column:raw_score\"\n[explore]\nkind = \"epsilon\"\nshare = 0.5\n",
        ),
    ] {
        fs::write(
            folder.join(format!("{name}.toml")),
            format!("format = 1\n{text}"),
        )
        .unwrap();
    }
}

/// Clicks per list that the simulator says the order by `raw_score` earns, and any order on average.
pub(crate) fn truth(folder: &Path) -> [f64; 2] {
    let truth = parquet_rows(&folder.join("logs/truth.parquet"));
    let shown = parquet_rows(&folder.join("shown/labels.parquet"));
    let of = |batch: &arrow::record_batch::RecordBatch, name: &str| {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
            .values()
            .to_vec()
    };
    let ids = |batch: &arrow::record_batch::RecordBatch| {
        let column = batch.column_by_name("impression_id").unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    let (clicks, examined) = (of(&truth, "p_click"), of(&truth, "examination"));
    let at: std::collections::HashMap<i64, usize> = ids(&truth)
        .into_iter()
        .enumerate()
        .map(|(row, id)| (id, row))
        .collect();
    let slots = shown
        .column_by_name("slot")
        .unwrap()
        .as_primitive::<Int32Type>()
        .values()
        .to_vec();
    let mut by_slot = [0.0; 6];
    for (row, id) in ids(&shown).iter().enumerate() {
        by_slot[slots[row] as usize] = examined[at[id]];
    }
    let scores = of(&shown, "raw_score");
    let mut sums = [0.0; 2];
    let lists = scores.len() / 6;
    for list in 0..lists {
        let mut rows: Vec<usize> = (6 * list..6 * list + 6).collect();
        rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        for (place, row) in rows.into_iter().enumerate() {
            let row = at[&ids(&shown)[row]];
            let appeal = clicks[row] / examined[row];
            sums[0] += appeal * by_slot[place];
            sums[1] += appeal * by_slot.iter().sum::<f64>() / 6.0;
        }
    }
    sums.map(|sum| sum / lists as f64)
}

/// It ended with exit code 1: the log cannot tell.
pub(crate) fn unsure(ran: Ran) -> Ran {
    assert_eq!(ran.code, Some(1), "{} {}", ran.stdout, ran.stderr);
    ran
}

pub(crate) fn estimate<'a>(json: &'a Value, policy: &str, estimator: &str) -> &'a Value {
    let all = json["estimates"].as_array().unwrap();
    let found = all
        .iter()
        .find(|e| e["policy"] == policy && e["estimator"] == estimator);
    found.unwrap_or_else(|| panic!("no {policy} {estimator} in {all:?}"))
}

#[test]
fn estimates_hold_what_the_simulator_knows() {
    let folder = market();
    let [raw, random] = truth(folder);
    let line = "backtest --log shown/labels.parquet --a raw.toml --b random.toml --reward click \
                --cluster user --set evaluate.draws=300 --json";
    let ran = slate(folder, line);
    let json = ran.json();
    for (policy, truth) in [("raw", raw), ("random", random)] {
        for estimator in ["ips", "snips", "dr", "sndr"] {
            let found = estimate(&json, policy, estimator);
            let of = |key: &str| found[key].as_f64().unwrap();
            assert!(of("low") < of("value") && of("value") < of("high"));
            let gap = (of("value") - truth).abs();
            assert!(
                gap < 4.0 * of("error"),
                "{policy} {estimator} {found} {truth}"
            );
        }
    }
    let difference = &json["difference"];
    assert_eq!(difference["name"], "random - raw");
    assert_eq!(difference["unit"], "list");
    assert_eq!(
        difference["convention"],
        "estimator=dr;reward=click;interval=users"
    );
    assert_eq!(
        json,
        slate(folder, line).json(),
        "the same seed, the same numbers"
    );
}

/// The logging policy, described as a policy, has weights of exactly 1, and is the logged policy.
#[test]
fn the_logger_described_is_the_logger() {
    let folder = market();
    let line = "backtest --log shown/labels.parquet --a logged.toml --b soft.toml --reward click --json \
                --estimators ips,snips,dr --set evaluate.draws=50";
    let json = unsure(slate(folder, line)).json();
    for estimator in ["ips", "snips"] {
        let of = |policy: &str| {
            estimate(&json, policy, estimator)["value"]
                .as_f64()
                .unwrap()
        };
        assert!((of("logged") - of("soft")).abs() < 1e-9);
    }
    let weight = estimate(&json, "soft", "ips")["max_weight"]
        .as_f64()
        .unwrap();
    assert!((weight - 1.0).abs() < 1e-9, "{weight}");
}

#[test]
fn a_policy_like_itself_cannot_be_told() {
    let folder = market();
    fs::write(
        folder.join("again.toml"),
        "format = 1\nranker = \"column:raw_score\"\n",
    )
    .unwrap();
    let line = "backtest --log shown/labels.parquet --a raw.toml --b again.toml --reward click";
    let told = unsure(slate(folder, line)).stdout;
    assert!(told.contains("both show the same"), "{told}");
    slate(
        folder,
        "backtest --log shown/labels.parquet --a raw.toml --b raw.toml",
    )
    .refused(&["two policies are called `raw`"]);
}

/// Whatever is shown by a policy, its own log says what it earned; with exploration written down exactly.
#[test]
fn reranked_lists_carry_exact_propensities() {
    let folder = market();
    let line = "rerank --policy curious.toml --log shown/labels.parquet --out curious.csv --force";
    let told = slate(folder, line).done().stdout;
    assert!(
        told.contains("1500 lists as `curious` would show them"),
        "{told}"
    );
    let text = fs::read_to_string(folder.join("curious.csv")).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| header.iter().position(|&column| column == name).unwrap();
    assert!(header.contains(&"logged_slot") && !header.contains(&"click"));
    let mut propensities = Vec::new();
    let mut last: Option<(String, u32)> = None;
    let mut by_value = 0;
    let mut score = f64::MAX;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let (list, slot) = (
            cells[at("list_id")].to_owned(),
            cells[at("slot")].parse::<u32>().unwrap(),
        );
        let expected = match &last {
            Some((before, slot)) if *before == list => slot + 1,
            _ => 0,
        };
        assert_eq!(slot, expected, "{line}");
        let value: f64 = cells[at("score")].parse().unwrap();
        by_value += usize::from(slot > 0 && value <= score);
        score = value;
        propensities.push(cells[at("propensity")].parse::<f64>().unwrap());
        last = Some((list, slot));
    }
    // Half of the lists in order, of the others half of the pairs.
    let share = by_value as f64 / (propensities.len() as f64 * 5.0 / 6.0);
    assert!((share - 0.75).abs() < 0.04, "{share}");
    // Explored or not: 0.5 + 0.5/6 where it would stand anyhow, 0.5/6 elsewhere.
    let near = |p: &f64, to: f64| (p - to).abs() < 1e-12;
    assert!(
        propensities
            .iter()
            .all(|p| near(p, 0.5 + 0.5 / 6.0) || near(p, 0.5 / 6.0))
    );
    let again = line.replace("curious.csv", "curious2.csv");
    slate(folder, &again).done();
    assert_eq!(
        text,
        fs::read_to_string(folder.join("curious2.csv")).unwrap()
    );
}

#[test]
fn the_folder_becomes_a_page() {
    let folder = market();
    let line = "backtest --log shown/labels.parquet --a logged.toml --b popular.toml --b random.toml \
                --reward click --by device --out judged --force --set evaluate.draws=100";
    let told = slate(folder, line).stdout;
    assert!(
        told.contains("device") && told.contains("p, Holm"),
        "{told}"
    );
    slate(folder, "report judged --out judged.html --force").done();
    let page = fs::read_to_string(folder.join("judged.html")).unwrap();
    for words in [
        "Backtest: popular, random against logged",
        "What to do:",
        "How to read this",
        "Weights of random",
        "Lists they order differently",
        "By device",
    ] {
        assert!(page.contains(words), "no `{words}`");
    }
    // Names are set as code, and each doubt stands by itself.
    let first = told.lines().next().unwrap().replace('&', "&amp;");
    for part in first.split(['`', ';']) {
        let part = part.trim();
        assert!(page.contains(part), "the page begins with `{part}`");
    }
}

/// A run, a calibrator and a formula on a dataset.
#[test]
fn runs_are_policies() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset().display();
    let config = super::program::config("demo.toml");
    let small = super::program::SMALL;
    let train = format!(
        "train -c {} {small} --data {data} --out run",
        config.display()
    );
    slate(folder.path(), &train).done();
    policies(folder.path());
    fs::write(
        folder.path().join("run.toml"),
        "format = 1\nname = \"dear\"\nranker = \"run:run\"\ncalibrator = \"raw.json\"\n[order]\nprice = 0.5\n",
    )
    .unwrap();
    let score = format!("score --run run --data {data} --split calibrate --out held.parquet");
    slate(folder.path(), &score).done();
    slate(
        folder.path(),
        "calibrate --scores held.parquet --out calibrators --set evaluate.draws=50",
    )
    .done();
    fs::copy(
        folder.path().join("calibrators/isotonic.json"),
        folder.path().join("raw.json"),
    )
    .unwrap();
    // What the log knows of each page goes beside the scores.
    let label = format!(
        "label --logs {} --out labels --with user_id,page_id,device",
        super::program::logs().display()
    );
    slate(folder.path(), &label).done();
    let score =
        format!("score --run run --data {data} --beside labels/labels.parquet --out test.parquet");
    slate(folder.path(), &score).done();
    let line = "evaluate --scores test.parquet -m ptr@3 --cluster user --by device --json \
                --convention per=page --set evaluate.draws=50";
    let json = slate(folder.path(), line).done().json();
    assert!(
        json["metrics"][0]["convention"]
            .as_str()
            .unwrap()
            .contains("interval=users")
    );
    let line = format!("rerank --policy run.toml --data {data} --out shown.parquet");
    slate(folder.path(), &line).done();
    let rows = parquet_rows(&folder.path().join("shown.parquet"));
    assert!(rows.column_by_name("logged_slot").is_some());
    let line = format!(
        "backtest --data {data} --a logged.toml --b run.toml --reward click --set evaluate.draws=50 --json"
    );
    let ran = slate(folder.path(), &line);
    // Pages show a part of their candidates, so propensities are not those of these rows: it is said.
    let json = unsure(ran).json();
    assert_eq!(json["verdict"], "cannot_tell");
    assert_eq!(json["difference"]["name"], "dear - logged");
    // Runs and score files are told of the lists that are kept.
    let at_random = format!(
        "--data {data} --beside labels/labels.parquet --where device=mobile --propensity uniform"
    );
    fs::write(
        folder.path().join("file.toml"),
        "format = 1\nranker = \"scores:test.parquet\"\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("same.toml"),
        "format = 1\nranker = \"run:run\"\n",
    )
    .unwrap();
    let line = format!("backtest {at_random} --a same.toml --b file.toml --reward click --json");
    let json = unsure(slate(folder.path(), &line)).json();
    assert_eq!(json["doubts"][0][0]["kind"], "same", "{}", json["doubts"]);
    slate(
        folder.path(),
        &format!("backtest --data {data} --a logged.toml --b run.toml --where slot=0"),
    )
    .refused(&[
        "rows of list",
        "choose by columns that all rows of a list share",
    ]);
}

/// A log of two slots in random order, in which the row of the larger `good` is bought.
fn lists(rows: impl IntoIterator<Item = [f64; 4]>) -> String {
    let mut text = "list_id,item_id,slot,good,bad,purchase,propensity\n".to_owned();
    for (row, [slot, good, purchase, propensity]) in rows.into_iter().enumerate() {
        let _ = writeln!(
            text,
            "{},{},{slot},{good},{},{purchase},{propensity}",
            row / 2,
            row % 7,
            -good
        );
    }
    text
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// What stands on top is bought half of the time if it is the good one, never otherwise.
fn clear() -> String {
    lists((0..400).flat_map(|list| {
        let first_good = list % 2 == 0;
        let bought = f64::from(u8::from(first_good && list % 4 == 0));
        let good = |yes: bool| f64::from(u8::from(yes));
        [
            [0.0, good(first_good), bought, 0.5],
            [1.0, good(!first_good), 0.0, 0.5],
        ]
    }))
}

#[test]
fn a_clear_log_says_who_is_better() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "log.csv", &clear());
    for (name, column) in [("good", "good"), ("bad", "bad")] {
        let text = format!("format = 1\nranker = \"column:{column}\"\n");
        write(folder.path(), &format!("{name}.toml"), &text);
    }
    let line = "backtest --log log.csv --a bad.toml --b good.toml --main snips";
    let told = slate(folder.path(), line).done().stdout;
    // Of 200 lists with the good one on top 100 were bought.
    assert!(
        told.starts_with("`good` would have earned more than `bad`: +0.5"),
        "{told}"
    );
    let json = slate(folder.path(), &format!("{line} --json"))
        .done()
        .json();
    assert_eq!(json["verdict"], "b_better");
    let of = |policy: &str, estimator: &str| {
        estimate(&json, policy, estimator)["value"]
            .as_f64()
            .unwrap()
    };
    assert!((of("good", "ips") - 0.5).abs() < 1e-12);
    assert_eq!(of("bad", "snips"), 0.0);
    let turned = slate(
        folder.path(),
        "backtest --log log.csv --a good.toml --b bad.toml --main snips --json",
    );
    assert_eq!(turned.done().json()["verdict"], "a_better");
    let top = slate(
        folder.path(),
        "backtest --log log.csv --a bad.toml --b good.toml --main ips --top 1 --propensity uniform --json",
    );
    assert!((top.done().json()["difference"]["value"].as_f64().unwrap() - 0.5).abs() < 1e-12);
}

#[test]
fn logs_that_cannot_be_used_are_refused_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    write(path, "good.toml", "format = 1\nranker = \"column:good\"\n");
    write(path, "clear.csv", &clear());
    let try_log = |text: &str, more: &str| {
        write(path, "log.csv", text);
        let line = format!("backtest --log log.csv --a random.toml --b good.toml {more}");
        slate(path, &line)
    };
    let base = clear();
    let with = |from: &str, to: &str| base.replacen(from, to, 1);
    try_log(&with("0.5\n", "0\n"), "")
        .refused(&["`propensity` at row 0 is 0", "--propensity uniform"]);
    try_log(&with("0.5\n", "1.5\n"), "").refused(&["`propensity` at row 0 is 1.5"]);
    try_log(&with("0.5\n", "\n"), "").refused(&["`propensity` at row 0 is missing"]);
    try_log(&base.replace("0.5\n", "1\n"), "").refused(&[
        "every propensity is 1",
        "backtest examine",
        "--estimators dm",
    ]);
    try_log(&base.replace("propensity", "chance"), "")
        .refused(&["no column `propensity`", "--propensity uniform"]);
    try_log(&with("0,1,1,", "0,1,0,"), "").refused(&["list 0 has slot 0 at row 0 and at row 1"]);
    let none: String = base
        .lines()
        .map(|line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            if cells[5] == "1" {
                cells[5] = "0";
            }
            format!("{}\n", cells.join(","))
        })
        .collect();
    try_log(&none, "--reward purchase").refused(&["no placement has a `purchase`"]);
    let open: String = base
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!("{line},matured\n"),
            1 => format!("{line},false\n"),
            _ => format!("{line},true\n"),
        })
        .collect();
    try_log(&open, "").refused(&[
        "1 placements have labels that can still change",
        "--where matured=true",
    ]);
    let twice: String = base
        .lines()
        .enumerate()
        .map(|(at, line)| match at {
            0 => format!("{line},impression\n"),
            at => format!("{line},{}\n", if at == 5 { 1 } else { at }),
        })
        .collect();
    try_log(&twice, "").refused(&["`impression` 1 stands at row 0 and at row 4"]);
    try_log(&base, "--main snipss")
        .refused(&["unknown estimator `snipss`", "did you mean `snips`"]);
    try_log(&base, "--main switch_dr").refused(&["a number from 0 up after `@`"]);
    try_log(&base, "--where slot=9").refused(&["no placement has slot=9"]);
    try_log(&base, "--reward good --cluster user").refused(&["no column `user_id`"]);
    slate(
        path,
        "backtest --log clear.csv --a random.toml --b raw.toml",
    )
    .refused(&["no column `raw_score`"]);
    slate(path, "backtest --log clear.csv --a random.toml").refused(&["--b"]);
    slate(
        path,
        "backtest --log clear.csv --a random.toml --b popular.toml",
    )
    .refused(&["no column `ts`, which popularity needs"]);
}

/// Single placements: a policy is a table of items by slot.
#[test]
fn single_placements_are_judged_by_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    policies(path);
    // Item 1 earns half of the time, item 2 never; both shown equally often.
    let mut log = "list_id,item_id,slot,click,propensity\n".to_owned();
    for row in 0..800 {
        let item = 1 + row % 2;
        let click = u8::from(item == 1 && row % 4 == 0);
        let _ = writeln!(log, "{row},{item},0,{click},0.5");
    }
    write(path, "log.csv", &log);
    write(
        path,
        "table.csv",
        "item_id,slot,probability\n1,0,0.9\n2,0,0.1\n",
    );
    write(
        path,
        "table.toml",
        "format = 1\nranker = \"table:table.csv\"\n",
    );
    let line = "backtest --log log.csv --a random.toml --b table.toml --json";
    let json = slate(path, line).done().json();
    let of = |policy: &str, estimator: &str| {
        estimate(&json, policy, estimator)["value"]
            .as_f64()
            .unwrap()
    };
    assert!((of("table", "ips") - 0.45).abs() < 1e-12);
    assert!((of("random", "snips") - 0.25).abs() < 1e-12);
    assert!((of("table", "dr") - 0.45).abs() < 0.02);
    assert_eq!(json["verdict"], "b_better");
    // The same policy by its probability of each placement.
    let with: String = log
        .lines()
        .map(|line| match line.split(',').nth(1) {
            Some("1") => format!("{line},0.9\n"),
            Some("2") => format!("{line},0.1\n"),
            _ => format!("{line},own\n"),
        })
        .collect();
    write(path, "with.csv", &with);
    write(path, "own.toml", "format = 1\nranker = \"chances:own\"\n");
    let own = "backtest --log with.csv --a random.toml --b own.toml --main snips --json";
    let json = slate(path, own).done().json();
    assert!((estimate(&json, "own", "ips")["value"].as_f64().unwrap() - 0.45).abs() < 1e-12);
    slate(path, "rerank --policy own.toml --log with.csv --out x.csv").refused(&["orders none"]);
    write(
        path,
        "table.csv",
        "item_id,slot,probability\n1,0,0.9\n3,0,0.1\n",
    );
    let told = unsure(slate(path, line)).json();
    assert!(
        told["doubts"][0].to_string().contains("unseen"),
        "{}",
        told["doubts"]
    );
    write(
        path,
        "table.csv",
        "item_id,slot,probability\n1,0,0.9\n2,0,0.3\n",
    );
    slate(path, line).refused(&["probabilities of slot 0 add up to 1.2"]);
    slate(
        path,
        "backtest --log log.csv --a random.toml --b popular.toml",
    )
    .refused(&["orders rows, and here each list has one row", "table:FILE"]);
}
