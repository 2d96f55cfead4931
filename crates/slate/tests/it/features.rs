//! `slate features` beyond its defaults: updates, other formats, histories and several values.

use super::program::{SMALL, config, logs, slate};

fn line(out: &str, more: &str) -> String {
    format!(
        "features -c {} {SMALL} --logs {} --out {out} {more}",
        config("demo.toml").display(),
        logs().display()
    )
}

#[test]
fn a_map_is_extended_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    slate(folder.path(), &line("first", "")).done();
    slate(
        folder.path(),
        &line("next", "--feature-map first/feature_map.json --extend"),
    )
    .done();
    let map = |name: &str| -> serde_json::Value {
        let file = folder.path().join(name).join("feature_map.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    let (first, mut next) = (map("first"), map("next"));
    let update = next["extensions"].take();
    assert_eq!(update[0]["refitted"], false);
    assert_eq!(update[0]["new_ids"], serde_json::json!({}));
    next.as_object_mut().unwrap().remove("extensions");
    assert_eq!(next, first, "the same log adds nothing");
    slate(folder.path(), &line("other", "--extend")).refused(&["--feature-map"]);
    let other = "--feature-map first/feature_map.json --extend --set features.position=true";
    slate(folder.path(), &line("other", other)).refused(&["position", "feature map"]);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_taste_is_a_column_and_takes_no_name_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let taste = |name: &str| {
        format!(
            "--set features.numeric=[{{column=\"{name}\"}}] --set features.relative=[] \
             --set features.taste=[{{name=\"{name}\",column=\"affinity\",width=2,half_life_days=30}}]"
        )
    };
    for name in ["item_rating", "device", "item_clicks_30d"] {
        let refused =
            format!("`features.taste[0].name` is `{name}`, the name of a column of the log");
        slate(folder.path(), &line("data", &taste(name))).refused(&[&refused]);
        assert!(!folder.path().join("data").exists());
    }
    slate(folder.path(), &line("data", &taste("taste"))).done();
    let file = folder.path().join("data/feature_map.json");
    let map: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(map["dense"][0]["column"], "taste");
    assert!(map["taste"][0]["items"].as_array().unwrap().len() > 10);
}

#[test]
fn other_formats_are_not_for_training() {
    let folder = tempfile::tempdir().unwrap();
    slate(folder.path(), &line("data", "--format parquet,letor")).done();
    assert!(folder.path().join("data/train.parquet").exists());
    assert!(!folder.path().join("data/train").exists());
    let train = format!(
        "train -c {} {SMALL} --data data --out run",
        config("demo.toml").display()
    );
    slate(folder.path(), &train).refused(&["no `.npy` arrays", "--format npy"]);
    slate(folder.path(), &line("more", "--format csv"))
        .refused(&["csv", "npy, npz, parquet, letor"]);
}

#[test]
fn histories_and_several_values_are_trained_on_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "--set features.multi_valued=[{column=\"item_category\",name=\"path\",separator=\">\"}] \
        --set features.history={max_events=5,min_count=2} --set attribution.sequence={length=5}";
    slate(folder.path(), &line("data", spec)).done();
    let train = |out: &str, more: &str| {
        let line = format!(
            "train -c {} {SMALL} --data data --out {out} {more}",
            config("demo.toml").display()
        );
        slate(folder.path(), &line).done()
    };
    train("run", "");
    let described = std::fs::read_to_string(folder.path().join("run/model.json")).unwrap();
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["network"]["history"]["encoder"], "gru");
    assert_eq!(
        described["shape"]["multi_valued"].as_array().unwrap().len(),
        1
    );
    slate(
        folder.path(),
        "score --run run --data data --out scores.parquet",
    )
    .done();
    let ran = train("plain", "--set train.network.history.encoder=\"none\"");
    assert!(
        ran.stderr
            .contains("left unread, as the configuration says: history")
    );
}
