//! Runs of gradient-boosted trees.

use std::fs;
use std::time::{Duration, Instant};

use super::program::{SMALL, config, dataset, interrupt, script, slate, start};

fn line(out: &str) -> String {
    format!(
        "train -c {} --ranker trees --set trees.trees=40 --data {} --out {out}",
        config("demo.toml").display(),
        dataset().display()
    )
}

fn score(run: &str, out: &str) -> String {
    format!(
        "score --run {run} --data {} --split test --out {out}",
        dataset().display()
    )
}

#[test]
fn trees_go_through_the_whole_chain() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let trained = slate(folder, &format!("{} --json", line("run")))
        .done()
        .json();
    let best = &trained["run"]["best"];
    assert_eq!(best["metric"], "purchase_ndcg@10");
    let importance = trained["run"]["importance"].as_array().unwrap();
    let gains: f64 = importance
        .iter()
        .map(|one| one["gain"].as_f64().unwrap())
        .sum();
    assert!((gains - 1.0).abs() < 1e-9);
    let lines = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    let told: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let metrics = told.iter().filter_map(|event| event["metric"].as_f64());
    assert_eq!(metrics.fold(0.0, f64::max), best["value"].as_f64().unwrap());
    assert_eq!(told.last().unwrap()["event"], "stopped");

    slate(folder, &score("run", "trees.parquet")).done();
    let random = format!(
        "score --baseline random --data {} --out random.parquet",
        dataset().display()
    );
    slate(folder, &random).done();
    let evaluate =
        "evaluate --scores trees.parquet --against random.parquet -m ndcg@10 --out e.json";
    let judged = slate(folder, &format!("{evaluate} --json")).done().json();
    let low = judged["against"][0]["low"].as_f64();
    assert!(low.unwrap() > 0.0, "{judged}");
    slate(folder, "report run e.json --out report.html").done();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("share of the gain") && page.contains("lambdamart on purchase"));
    let sound = slate(folder, "validate run").done();
    assert!(sound.stdout.contains("run: run, sound"), "{}", sound.stdout);

    // Beside a network, as an ensemble.
    let network = format!(
        "train -c {} {SMALL} --data {} --out network",
        config("demo.toml").display(),
        dataset().display()
    );
    slate(folder, &network).done();
    let both = format!("{} --run network --json", score("run", "both.csv"));
    let scorer = slate(folder, &both).done().json()["scorer"].clone();
    assert!(scorer.as_str().unwrap().contains('+'), "{scorer}");
    slate(folder, &score("run", "one.csv")).done();
    slate(folder, &score("network", "other.csv")).done();
    let column = |file: &str, name: &str| -> Vec<f64> {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let at = text
            .lines()
            .next()
            .unwrap()
            .split(',')
            .position(|cell| cell == name)
            .unwrap();
        let cells = text
            .lines()
            .skip(1)
            .map(|line| line.split(',').nth(at).unwrap());
        cells.map(|cell| cell.parse().unwrap()).collect()
    };
    let lists = column("both.csv", "list_id");
    let (one, other) = (column("one.csv", "score"), column("other.csv", "score"));
    for (row, score) in column("both.csv", "score").iter().enumerate() {
        let list: Vec<usize> = (0..lists.len())
            .filter(|&at| lists[at] == lists[row])
            .collect();
        let standard = |scores: &[f64]| {
            let mean = list.iter().map(|&at| scores[at]).sum::<f64>() / list.len() as f64;
            let squares = list
                .iter()
                .map(|&at| (scores[at] - mean).powi(2))
                .sum::<f64>();
            let deviation = (squares / list.len() as f64).sqrt();
            (scores[row] - mean) / if deviation > 0.0 { deviation } else { 1.0 }
        };
        let wanted = f64::midpoint(standard(&one), standard(&other));
        assert!(
            (score - wanted).abs() < 1e-9,
            "row {row}: {score}, {wanted}"
        );
    }

    // The same trees again, at any number of threads; and nothing to do where they are.
    slate(folder, &format!("{} --threads 1", line("again"))).done();
    for name in ["model.ubj", "model.json", "metrics.jsonl"] {
        let file = |run: &str| fs::read(folder.join(run).join(name)).unwrap();
        assert!(file("run") == file("again"), "{name}");
    }
    let again = slate(folder, &format!("{} --resume", line("run"))).done();
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    let other = format!("{} --resume --set trees.leaves=7", line("run"));
    slate(folder, &other).refused(&["`run` already exists"]);
    fs::write(folder.join("run/model.ubj"), "no trees").unwrap();
    slate(folder, &score("run", "x.csv")).refused(&["holds no readable trees", "hint: "]);
}

#[test]
fn what_trees_cannot_do_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let with = |flags: &str| format!("{} {flags}", line("run"));
    slate(folder, &with("--device gpu:0")).refused(&["trees grow on the processor"]);
    slate(folder, &with("--keep 3")).refused(&["--keep is set", "no checkpoints"]);
    slate(folder, &with("--set trees.leaves=1")).refused(&["`trees.leaves` is 1, expected"]);
    slate(folder, &with("--set trees.leafs=9")).refused(&["`leafs`", "did you mean `leaves`?"]);
    fs::write(folder.join("none.toml"), "format = 1\n").unwrap();
    let none = format!(
        "train -c none.toml --ranker trees --data {} --out run",
        dataset().display()
    );
    slate(folder, &none).refused(&["no section `[trees]`"]);
    assert!(!folder.join("run").exists() && !folder.join(".run.partial").exists());
}

/// A config with `[trees]` alone needs no flag.
#[test]
fn a_configuration_of_trees_trains_trees() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "format = 1\n[trees]\nobjective = \"logistic\"\nlabel = \"click\"\ntrees = 5\n";
    fs::write(folder.join("trees.toml"), text).unwrap();
    let line = format!(
        "train -c trees.toml --data {} --out run",
        dataset().display()
    );
    let done = slate(folder, &line).done();
    assert!(
        done.stdout.contains("best click_ndcg@10"),
        "{}",
        done.stdout
    );
}

#[test]
fn two_trainings_of_one_output_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long = format!(
        "{} --set trees.trees=100000 --set trees.patience=0",
        line("run")
    );
    let mut first = start(folder, &long);
    let began = Instant::now();
    let log = folder.join(".run.partial/metrics.jsonl");
    while fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        assert!(first.try_wait().unwrap().is_none(), "it grows for a while");
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no tree in a minute"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    slate(folder, &long).refused(&["another process is writing `run`"]);
    assert!(log.exists(), "the second one touched nothing");
    let ended = interrupt(first);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("interrupted after tree"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "nothing is left");
}

#[test]
fn xgboost_opens_a_run_and_scores_it_the_same() {
    let Some(python) = std::env::var_os("SLATE_PYTHON") else {
        println!("skipped: SLATE_PYTHON is not set, so XGBoost cannot be asked");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Splits on ids are what two programs most easily write differently.
    slate(
        folder,
        &format!(
            "{} --set trees.trees=150 --set trees.patience=0",
            line("run")
        ),
    )
    .done();
    slate(folder, &score("run", "scores.csv")).done();
    let arguments = [
        folder.join("run"),
        dataset().join("test"),
        folder.join("scores.csv"),
    ];
    let ran = script(&python, "xgboost_scores.py", &arguments).done();
    let told = &ran.stdout;
    let mut words = told.split_whitespace();
    let worst: f64 = words.next().unwrap().parse().unwrap();
    let splits_on_ids: usize = words.next().unwrap().parse().unwrap();
    assert!(worst < 1e-5 && splits_on_ids > 10, "{told}");
}
