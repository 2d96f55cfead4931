//! TensorBoard itself opens the events of a run.

use std::fs;

use serde_json::Value;

use super::program::{SMALL, config, dataset, script, slate};

#[test]
fn tensorboard_reads_what_metrics_say() {
    let Some(python) = std::env::var_os("SLATE_PYTHON") else {
        println!("skipped: SLATE_PYTHON is not set, so TensorBoard cannot be asked");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = |out: &str, flags: &str| {
        let line = format!(
            "train -c {} {SMALL} --data {} --out {out} {flags}",
            config("demo.toml").display(),
            dataset().display()
        );
        slate(folder, &line).done();
    };
    train("network", "");
    train("trees", "--ranker trees --set trees.trees=8");
    for (run, event, counter, tag) in [
        ("network", "epoch", "epoch", "val/purchase_ndcg@10"),
        ("trees", "tree", "trees", "val/purchase_ndcg@10"),
    ] {
        let ran = script(&python, "tensorboard_scalars.py", &[folder.join(run)]).done();
        let curves = ran.json();
        let text = fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
        let told: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let told: Vec<&Value> = told.iter().filter(|one| one["event"] == event).collect();
        let points = curves[tag].as_array().unwrap();
        assert_eq!(points.len(), told.len(), "{run}");
        for (place, (point, told)) in points.iter().zip(&told).enumerate() {
            assert_eq!(told[counter], place + 1);
            let (seen, said) = (point[1].as_f64().unwrap(), told["metric"].as_f64().unwrap());
            // TensorBoard keeps f32.
            assert!((seen - said).abs() < 1e-6, "{run} {place}: {seen} {said}");
        }
        if run == "network" {
            for tag in [
                "train/loss",
                "train/learning_rate",
                "train/lists_per_second",
            ] {
                let points = curves[tag].as_array().unwrap();
                assert!(points.len() > 3, "{tag}");
                let steps: Vec<u64> = points
                    .iter()
                    .map(|point| point[0].as_u64().unwrap())
                    .collect();
                assert!(steps.is_sorted(), "{tag}: {steps:?}");
            }
        }
    }
}
