//! Configurations: the shipped ones are sound, mistakes are told by line with the nearest name.

use std::fs;

use super::program::{config, slate};

#[test]
fn shipped_configurations_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let files = fs::read_dir(config("demo.toml").parent().unwrap()).unwrap();
    let mut checked = 0;
    for file in files {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|e| e == "toml") {
            let told = slate(folder.path(), &format!("validate {}", file.display())).done();
            assert!(
                told.stdout.contains("configuration, sound"),
                "{}",
                told.stdout
            );
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} configurations found");
    for name in ["logged", "money_first"] {
        let policy = config(&format!("policies/{name}.toml"));
        let told = slate(folder.path(), &format!("validate {}", policy.display())).done();
        assert!(told.stdout.contains("policy, sound"), "{}", told.stdout);
    }
}

#[test]
fn a_typo_is_told_with_its_line_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let text = "format = 1\n\n[train]\nlerning_rate = 0.1\n";
    fs::write(folder.path().join("my.toml"), text).unwrap();
    slate(folder.path(), "train -c my.toml --data d --out r").refused(&[
        "error: cannot use the configuration `my.toml`",
        "unknown field `lerning_rate` at line 4",
        "hint: did you mean `learning_rate`?",
    ]);
    let told = slate(folder.path(), "validate my.toml");
    assert_eq!(told.code, Some(2));
    assert!(told.stdout.contains("at line 4"), "{}", told.stdout);
}

#[test]
fn a_value_out_of_range_is_told_by_validate() {
    let folder = tempfile::tempdir().unwrap();
    let text = "format = 1\n[train]\nlearning_rate = -1.0\n[calibrate]\nmethods = [\"isotonik\"]\n";
    fs::write(folder.path().join("my.toml"), text).unwrap();
    let told = slate(folder.path(), "validate my.toml --json");
    assert_eq!(told.code, Some(2));
    let problems = told.json()["paths"][0]["problems"].to_string();
    assert!(
        problems.contains("learning_rate") && problems.contains("isotonik"),
        "{problems}"
    );
}

#[test]
fn set_is_checked_like_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let demo = config("demo.toml");
    slate(
        folder.path(),
        &format!(
            "simulate -c {} --out x --set simulate.page=5",
            demo.display()
        ),
    )
    .refused(&["unknown field `page`", "did you mean `pages`?"]);
    slate(
        folder.path(),
        &format!(
            "simulate -c {} --out x --set simulate.pages=0",
            demo.display()
        ),
    )
    .refused(&["pages"]);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}
