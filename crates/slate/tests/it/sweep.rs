//! Searches over configurations.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{SMALL, config, dataset, interrupt, listing, slate, start};

const OVER: &str = "--set sweep={search=\"grid\",seeds=2,over={train={learning_rate=[1e-3,4e-3],network={hidden=[8,16]}}}}";

fn line(out: &str) -> String {
    format!(
        "sweep -c {} {SMALL} {OVER} --threads 1 --data {} --out {out}",
        config("demo.toml").display(),
        dataset().display()
    )
}

fn file(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn a_killed_sweep_goes_on_and_ends_with_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = slate(folder, &format!("{} --json", line("whole")))
        .done()
        .json();
    let points = whole["sweep"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 4);
    let means: Vec<f64> = points
        .iter()
        .map(|point| point["mean"].as_f64().unwrap())
        .collect();
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    for point in points {
        // What a point says is what its runs say.
        let trials = point["trials"].as_array().unwrap();
        let mut sum = 0.0;
        for trial in trials {
            let run = folder.join("whole").join(trial["run"].as_str().unwrap());
            let run: Value = serde_json::from_slice(&file(&run.join("manifest.json"))).unwrap();
            assert_eq!(run["seed"], trial["seed"]);
            assert_eq!(
                run["config"]["train"]["learning_rate"],
                point["set"]["train.learning_rate"]
            );
            assert_eq!(
                run["config"]["train"]["network"]["hidden"],
                point["set"]["train.network.hidden"]
            );
            sum += run["best"]["value"].as_f64().unwrap();
        }
        assert!((sum / 2.0 - point["mean"].as_f64().unwrap()).abs() < 1e-12);
    }
    slate(folder, "report whole --out whole.html").done();
    let page = fs::read_to_string(folder.join("whole.html")).unwrap();
    assert!(
        page.contains("train.<wbr>learning_<wbr>rate</th>"),
        "{page}"
    );
    // Each number that was searched over has its chart, each point its dot.
    assert_eq!(page.matches("<circle").count(), 2 * points.len());

    let resume = format!("{} --resume", line("killed"));
    for runs in [1, 3, 6] {
        let mut child = start(folder, &resume);
        let (trials, began) = (folder.join(".killed.sweep/trials"), Instant::now());
        let finished = || {
            let entries = fs::read_dir(&trials).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.starts_with('.')).count()
        };
        while finished() < runs {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "{runs} runs in a minute"
            );
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before {runs} runs"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    slate(folder, &line("killed")).refused(&["is not finished", "--resume"]);
    let other = format!("{resume} --seed 9");
    slate(folder, &other).refused(&["is another one", "--force"]);
    slate(folder, &resume).done();
    let files = listing(&folder.join("whole"));
    assert_eq!(files, listing(&folder.join("killed")));
    for name in files.iter().filter(|name| {
        // Manifests hold the command, which names the output; events tell the time of day.
        !name.contains("manifest.json") && !name.contains("tfevents")
    }) {
        let (a, b) = (
            folder.join("whole").join(name),
            folder.join("killed").join(name),
        );
        assert!(a.is_dir() || file(&a) == file(&b), "`{name}` differs");
    }
    // What a killed move into place leaves: everything but the name.
    fs::rename(folder.join("killed"), folder.join(".killed.sweep")).unwrap();
    slate(folder, &line("killed")).refused(&["is not finished", "--resume"]);
    fs::remove_file(folder.join(".killed.sweep/plan.json")).unwrap();
    slate(folder, &line("killed")).refused(&["is not finished"]);
    slate(folder, &resume).refused(&["is another one"]);
    fs::copy(
        folder.join("whole/plan.json"),
        folder.join(".killed.sweep/plan.json"),
    )
    .unwrap();
    slate(folder, &resume).done();
    for flags in ["", "--force"] {
        let again = slate(folder, &format!("{resume} {flags}")).done();
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    }
    let again = slate(folder, &resume).done();
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);

    // The best run is a run, and the command in it makes it again.
    let best = points[0]["trials"][0]["run"].as_str().unwrap();
    let run: Value = serde_json::from_slice(&file(
        &folder.join("whole").join(best).join("manifest.json"),
    ))
    .unwrap();
    let command = run["command"]
        .as_str()
        .unwrap()
        .trim_start_matches("slate ");
    assert!(!command.contains("sweep="), "{command}");
    let command = command
        .replace("--out whole/", "--out again/")
        .replace('\'', "");
    slate(folder, &command).done();
    let weights = |root: &str| file(&folder.join(root).join(best).join("model.safetensors"));
    assert!(weights("whole") == weights("again"));
    let sweep = format!(
        "score --run whole --data {} --out s.csv",
        dataset().display()
    );
    slate(folder, &sweep).refused(&["`whole` is a sweep", "hint: the best is whole/trials/"]);
    let sound = slate(folder, "validate whole").done();
    assert!(
        sound.stdout.contains("whole: sweep, sound"),
        "{}",
        sound.stdout
    );
    slate(folder, "report whole --out report.html").done();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("4 points of network, 2 trainings each"));
}

#[test]
fn an_interrupted_sweep_says_how_to_go_on_and_others_keep_away() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long = format!(
        "{} --set train.epochs=10000 --set train.patience=0",
        line("out")
    );
    let child = start(folder, &long);
    let began = Instant::now();
    while !folder.join(".out.sweep/trials/.1-seed1.training").exists() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "it trains within a minute"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = interrupt(child);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    for words in [
        "the sweep was interrupted",
        "go on with the same command and --resume",
    ] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let train = format!(
        "train -c {} {SMALL} --data {} --out out",
        config("demo.toml").display(),
        dataset().display()
    );
    slate(folder, &train).refused(&["a sweep with the output `out` was not finished"]);
    let trees = format!("{train} --ranker trees");
    slate(folder, &trees).refused(&["a sweep with the output `out` was not finished"]);
    fs::write(folder.join("file"), "mine").unwrap();
    slate(folder, &format!("{} --force", line("file"))).refused(&["is a file, expected a folder"]);
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "mine");
}

#[test]
fn a_training_that_diverges_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = format!(
        "sweep -c {} {SMALL} --set train.gradient_clip=0 --set train.optimizer=\"sgd\" --set train.warmup_steps=0 \
         --set sweep={{over={{train={{learning_rate=[1e38,1e-3]}}}}}} --data {} --out sweep",
        config("demo.toml").display(),
        dataset().display()
    );
    let done = slate(folder, &line).done();
    assert!(done.stdout.contains("point 1, seed 1: "), "{}", done.stdout);
    assert!(
        done.stdout.contains("training diverged at step"),
        "{}",
        done.stdout
    );
    let sweep: Value = serde_json::from_slice(&file(&folder.join("sweep/manifest.json"))).unwrap();
    let failed = &sweep["points"][1];
    assert_eq!(failed["failed"], 1);
    let reason = failed["trials"][0]["failed"].as_str().unwrap();
    assert!(reason.contains("training diverged at step"), "{reason}");
    let csv = fs::read_to_string(folder.join("sweep/points.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[1].starts_with("2,0.001,0.") && lines[2].ends_with(",,,"),
        "{csv}"
    );
}

#[test]
fn what_cannot_be_searched_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let with = |over: &str, flags: &str| {
        format!(
            "sweep -c {} {SMALL} --set sweep={{over={{{over}}}}} --data {} --out sweep {flags}",
            config("demo.toml").display(),
            dataset().display()
        )
    };
    slate(folder, &with("train={epochs=[1,0]}", "")).refused(&[
        "point 2 of the sweep cannot be trained: train.epochs = 0",
        "`train.epochs` is 0",
    ]);
    slate(folder, &with("train={epochz=[1]}", "")).refused(&["`epochz`", "did you mean `epochs`?"]);
    slate(folder, &with("trees={leaves=[7,15]}", "")).refused(&[
        "`sweep.over.trees.leaves` is no key of what is trained",
        "--ranker",
    ]);
    slate(folder, &with("train={epochs=3}", ""))
        .refused(&["`sweep.over.train.epochs` is one value"]);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    let trees = with(
        "trees={leaves=[7,15]}",
        "--ranker trees --set trees.trees=5",
    );
    let done = slate(folder, &trees).done();
    assert!(
        done.stdout.contains("trees.leaves=") && done.stdout.contains("trees\n"),
        "{}",
        done.stdout
    );
}
