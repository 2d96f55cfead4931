//! Training that is killed, asked to stop, or given the wrong checkpoint.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::program::{SMALL, config, dataset, interrupt, slate, start};

/// Dropout, accumulation, a running mean and a schedule: all that has a state.
const LONG: &str = "--set train.epochs=12 --set train.patience=0 --set train.batch_lists=8 \
    --set train.ema=0.9 --set train.accumulate=2 --set train.network.dropout=0.2";

fn line(out: &str) -> String {
    format!(
        "train -c {} {SMALL} {LONG} --threads 1 --data {} --out {out}",
        config("demo.toml").display(),
        dataset().display()
    )
}

/// Checkpoints in the folder of an unfinished training, oldest first.
fn checkpoints(folder: &Path, out: &str) -> Vec<String> {
    let folder = folder.join(format!(".{out}.training/checkpoints"));
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

/// Waits for a checkpoint later than `last`; none where the process ended before.
fn next_checkpoint(folder: &Path, out: &str, last: &str, child: &mut Child) -> Option<String> {
    let began = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        let newest = checkpoints(folder, out)
            .pop()
            .filter(|name| name.as_str() > last);
        if newest.is_some() {
            return newest;
        }
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "no checkpoint in a minute"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn file(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_training_killed_at_any_step_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slate(folder, &line("whole")).done();
    let with_checkpoints = format!("{} --checkpoint-steps 3 --resume", line("killed"));
    // Steps at which it is killed: a few milliseconds after a checkpoint, wherever that falls.
    let mut kills = 0;
    let mut last = String::new();
    for delay in [0, 7, 1, 13, 3, 0, 5, 2] {
        let mut child = start(folder, &with_checkpoints);
        let Some(newest) = next_checkpoint(folder, "killed", &last, &mut child) else {
            break;
        };
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        last = newest;
        kills += 1;
    }
    assert!(kills >= 4, "it was killed {kills} times only");
    slate(folder, &with_checkpoints).done();
    for name in ["model.safetensors", "model.json", "metrics.jsonl"] {
        assert!(
            file(folder, &format!("whole/{name}")) == file(folder, &format!("killed/{name}")),
            "{name} differs after {kills} kills"
        );
    }
    assert!(!folder.join(".killed.training").exists());
    let again = slate(folder, &with_checkpoints).done();
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
}

#[test]
fn an_interrupt_saves_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = format!("{} --checkpoint-steps 2", line("run"));
    let mut child = start(folder, &first);
    next_checkpoint(folder, "run", "", &mut child).expect("it runs for a while");
    let ended = interrupt(child);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    for words in ["interrupted after step", "checkpoints/step-", "--resume"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    assert!(!folder.join("run").exists() && !folder.join(".run.partial").exists());

    slate(folder, &first).refused(&["was not finished", "--resume", "--force"]);
    let other = format!("{first} --resume --set train.learning_rate=0.5");
    slate(folder, &other).refused(&["train.learning_rate 0.002, expected 0.5", "--force"]);

    // Counters that no training has.
    let state = folder.join(".run.training/checkpoints");
    let state = state
        .join(checkpoints(folder, "run").last().unwrap())
        .join("state.json");
    let sound = fs::read_to_string(&state).unwrap();
    let mut broken: serde_json::Value = serde_json::from_str(&sound).unwrap();
    broken["progress"]["epoch"] = 99.into();
    fs::write(&state, broken.to_string()).unwrap();
    slate(folder, &format!("{first} --resume"))
        .refused(&["`epoch` 99, expected a number from 1 to 12"]);
    fs::write(&state, sound).unwrap();

    // The newest is cut short: it is refused by name, and the one before is offered.
    let names = checkpoints(folder, "run");
    let [before, newest] = names.as_slice() else {
        panic!("two checkpoints are kept: {names:?}");
    };
    let place = folder.join(".run.training/checkpoints");
    let arrays = place.join(newest).join("state.safetensors");
    let bytes = fs::read(&arrays).unwrap();
    fs::write(&arrays, &bytes[..bytes.len() / 2]).unwrap();
    let resume = format!("{first} --resume");
    slate(folder, &resume).refused(&[newest, "cannot be used", before, "rm -r"]);
    fs::remove_dir_all(place.join(newest)).unwrap();
    slate(folder, &resume).done();
    slate(folder, &line("whole")).done();
    assert!(file(folder, "run/model.safetensors") == file(folder, "whole/model.safetensors"));
}

#[test]
fn a_training_that_replaces_a_run_is_resumed_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let command = format!("{} --checkpoint-steps 2", line("run"));
    slate(folder, &command).done();
    let first = file(folder, "run/model.safetensors");

    // A mistake in the next command touches neither the run nor what is kept beside it.
    let mistaken = format!("{command} --force --set train.losses=[]");
    assert_eq!(slate(folder, &mistaken).code, Some(2));
    assert!(!folder.join(".run.training").exists());

    let other = format!("{command} --seed 5 --force");
    let mut child = start(folder, &other);
    next_checkpoint(folder, "run", "", &mut child).expect("it runs for a while");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(file(folder, "run/model.safetensors") == first);
    // The command of the run in place has nothing to do, and leaves what another one began.
    let first_again = slate(folder, &format!("{command} --resume")).done();
    assert!(first_again.stdout.contains("nothing to do"));
    assert!(
        first_again.stderr.contains("are kept"),
        "{}",
        first_again.stderr
    );
    slate(folder, &command).refused(&["was not finished", "--resume", "--force"]);
    slate(folder, &format!("{other} --resume")).done();
    assert!(!folder.join(".run.training").exists());
    let second = file(folder, "run/model.safetensors");
    assert!(second != first);
    slate(folder, &format!("{} --seed 5", line("whole"))).done();
    assert!(file(folder, "whole/model.safetensors") == second);

    // A kill between the run and the removal of its checkpoints leaves these.
    fs::create_dir_all(folder.join(".run.training/checkpoints")).unwrap();
    slate(folder, &format!("{command} --seed 5 --resume")).done();
    assert!(!folder.join(".run.training").exists());
}

#[test]
fn a_divergence_saves_the_best_epoch_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The rate of the second epoch's steps is beyond all reason.
    let wild = format!(
        "{} --set train.schedule=\"constant\" --set train.learning_rate=1e12 \
         --set train.warmup_steps=400 --set train.ema=0.0 --set train.gradient_clip=0.0",
        line("wild")
    );
    let ran = slate(folder, &wild);
    assert!(ran.code == Some(1) || ran.code == Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("diverged at step"), "{}", ran.stderr);
    assert!(ran.stderr.contains("feature `"), "{}", ran.stderr);
    assert_eq!(
        ran.code == Some(1),
        folder.join("wild/model.safetensors").exists()
    );
}

#[test]
fn losses_are_listed_and_their_gradients_hold() {
    let folder = tempfile::tempdir().unwrap();
    let listed = slate(folder.path(), "losses").done();
    assert!(listed.stdout.contains("lambdaloss"), "{}", listed.stdout);
    let checked = slate(folder.path(), "losses --check --json").done().json();
    assert_eq!(checked["passed"], true);
    assert_eq!(checked["checks"].as_array().unwrap().len(), 11);
    for check in checked["checks"].as_array().unwrap() {
        assert!(check["worst"].as_f64().unwrap() < 1e-4, "{check}");
    }
}
