//! Rankers that go to PyTorch and come back.

use std::fs;
use std::path::Path;

use super::program::{SMALL, config, dataset, script, slate};

fn line(verb: &str) -> String {
    format!(
        "{verb} -c {} {SMALL} --set train.network.activation=gelu --threads 1 --data {}",
        config("demo.toml").display(),
        dataset().display()
    )
}

#[test]
fn weights_under_other_names_are_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slate(folder, &format!("{} --out run", line("train"))).done();
    let import = line("import-torch");
    let own = format!("{import} --weights run/model.safetensors --out adopted");
    slate(folder, &own).refused(&["in_proj_", "is missing, expected of shape", "hint: "]);
    let absent = format!("{import} --weights nowhere.safetensors --out adopted");
    slate(folder, &absent).refused(&["cannot read `nowhere.safetensors`"]);
    assert!(!folder.join("adopted").exists());
    let itself = format!("{import} --weights run/model.safetensors --out run --force");
    slate(folder, &itself).refused(&["lies in the output"]);
    assert!(folder.join("run/model.safetensors").exists());
}

/// Numbers of an `.npy` file of `f32`: what follows its header of whole 64 bytes.
fn numbers(file: &Path) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..]
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

#[test]
fn a_run_scores_the_same_in_pytorch_and_comes_back_to_the_byte() {
    let Some(python) = std::env::var_os("SLATE_TORCH") else {
        println!("skipped: SLATE_TORCH names no Python with torch and safetensors");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    slate(
        folder,
        &format!(
            "{} --out run",
            line("train --set train.network.input_norm=batch")
        ),
    )
    .done();
    let arguments = [
        folder.join("run"),
        dataset().join("test"),
        folder.join("columns.npy"),
        folder.join("state.safetensors"),
    ];
    script(&python, "torch_scores.py", &arguments).done();

    let score = format!(
        "score --run run --data {} --split test --out s.csv",
        dataset().display()
    );
    slate(folder, &score).done();
    let text = fs::read_to_string(folder.join("s.csv")).unwrap();
    let mut lines = text.lines();
    let column = lines
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "score")
        .unwrap();
    let scores = lines.map(|line| line.split(',').nth(column).unwrap().parse::<f32>().unwrap());
    let scores: Vec<f32> = scores.collect();
    // Click and purchase.
    let columns = numbers(&folder.join("columns.npy"));
    assert_eq!(columns.len(), 2 * scores.len());
    for (row, score) in columns.chunks_exact(2).zip(&scores) {
        assert!((row[1] - score).abs() < 1e-5, "{row:?} {score}");
    }

    let import = format!(
        "{} --weights state.safetensors --out back",
        line("import-torch --set train.network.input_norm=batch")
    );
    slate(folder, &import).done();
    let weights = |run: &str| fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(weights("run") == weights("back"));
    let resume = format!(
        "{} --resume --out back",
        line("train --set train.network.input_norm=batch")
    );
    slate(folder, &resume).refused(&["already exists"]);
    slate(folder, "report back --out report.html").done();
}
