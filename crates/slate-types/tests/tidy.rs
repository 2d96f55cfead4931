//! The walls and the habits of this house, kept by a test.
//!
//! Walls: which crate may name which dependency, and that the crates of the middle row do not know
//! each other. Habits: a header in each file, files that stay small, no rooms without a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// The crates of the middle row. They meet in `slate`, never in each other.
const MIDDLE: [&str; 9] = [
    "slate-allocate",
    "slate-calibrate",
    "slate-embed",
    "slate-eval",
    "slate-features",
    "slate-logs",
    "slate-model",
    "slate-sim",
    "slate-trees",
];

/// The crates under them, which know none of ours.
const BELOW: [&str; 2] = ["slate-kernels", "slate-types"];

/// Dependencies that one crate alone may name.
const ONLY: [(&str, &str); 23] = [
    ("anyhow", "slate"),
    ("ballista", "slate-logs"),
    ("ballista-scheduler", "slate-logs"),
    ("burn", "slate-model"),
    ("burn-flex", "slate-model"),
    ("candle-core", "slate-embed"),
    ("candle-nn", "slate-embed"),
    ("clap", "slate"),
    ("datafusion", "slate-logs"),
    ("gemm", "slate-kernels"),
    ("good_lp", "slate-allocate"),
    ("hessboost", "slate-trees"),
    ("image", "slate-embed"),
    ("indicatif", "slate"),
    ("linfa", "slate-calibrate"),
    ("memmap2", "slate-embed"),
    ("mimalloc", "slate"),
    ("mozjpeg", "slate-embed"),
    ("safetensors", "slate-model"),
    ("signal-hook", "slate"),
    ("statrs", "slate-eval"),
    ("tokenizers", "slate-embed"),
    ("tokio", "slate-logs"),
];

/// All that the vocabulary may stand on.
const TYPES_MAY_NAME: [&str; 2] = ["serde", "thiserror"];

const MOST_LINES: usize = 600;
const NAMELESS: [&str; 5] = ["common", "helper", "helpers", "misc", "utils"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace root")
}

/// Our crates by name. Reads manifests alone, so it needs no network.
fn packages() -> BTreeMap<String, Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    metadata
        .packages
        .into_iter()
        .filter(|package| package.name.starts_with("slate"))
        .map(|package| (package.name.to_string(), package))
        .collect()
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of ours") {
            let path = entry.expect("an entry of ours").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for name in packages().keys() {
        walk(&root().join("crates").join(name), &mut found);
    }
    found.sort();
    assert!(found.len() > 20, "the walk finds the sources");
    found
}

/// Fails with every complaint, not only the first.
fn none(complaints: &[String], advice: &str) {
    assert!(
        complaints.is_empty(),
        "{}\n\n{advice}",
        complaints.join("\n")
    );
}

#[test]
fn siblings_do_not_know_each_other() {
    let mut complaints = Vec::new();
    for (name, package) in packages() {
        for dependency in &package.dependencies {
            let ours = dependency.name.starts_with("slate");
            let below = BELOW.contains(&dependency.name.as_str());
            let sibling = MIDDLE.contains(&name.as_str()) && !below;
            if ours && (sibling || BELOW.contains(&name.as_str())) {
                complaints.push(format!("`{name}` names `{}`", dependency.name));
            }
        }
    }
    none(
        &complaints,
        "Let them meet in `slate`: through slices, slate-types, or files.",
    );
}

#[test]
fn each_dependency_has_its_crate() {
    let mut complaints = Vec::new();
    for (name, package) in packages() {
        for dependency in &package.dependencies {
            let owner = ONLY.iter().find(|(what, _)| *what == dependency.name);
            if let Some((what, owner)) = owner
                && *owner != name
            {
                complaints.push(format!(
                    "`{name}` names `{what}`, which belongs to `{owner}`"
                ));
            }
            let vocabulary = name == "slate-types" && dependency.kind == DependencyKind::Normal;
            if vocabulary && !TYPES_MAY_NAME.contains(&dependency.name.as_str()) {
                complaints.push(format!("`slate-types` names `{}`", dependency.name));
            }
        }
    }
    none(
        &complaints,
        "A heavy dependency behind one wall keeps builds short and seams clean.",
    );
}

#[test]
fn versions_and_lints_come_from_the_workspace() {
    let mut complaints = Vec::new();
    for (name, package) in packages() {
        let text = fs::read_to_string(&package.manifest_path).expect("a manifest of ours");
        if !text.contains("[lints]\nworkspace = true") {
            complaints.push(format!("`{name}` does not take the workspace's lints"));
        }
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            } else if section.ends_with("dependencies]")
                && !line.trim().is_empty()
                && !line.starts_with('#')
                && !line.contains("workspace = true")
            {
                complaints.push(format!("`{name}`: `{line}`"));
            }
        }
    }
    none(
        &complaints,
        "Write `name.workspace = true`; versions live in the root Cargo.toml.",
    );
}

/// The README says `cargo run`, which refuses to choose among several programs.
#[test]
fn a_crate_of_several_programs_says_which_one_runs() {
    let mut complaints = Vec::new();
    for (name, package) in packages() {
        let programs = package.targets.iter().filter(|target| target.is_bin());
        if programs.count() > 1 && package.default_run.is_none() {
            complaints.push(format!(
                "`{name}` has several programs and no `default-run`"
            ));
        }
    }
    none(&complaints, "Name the one `cargo run` is to run.");
}

#[test]
fn one_integration_binary_per_crate() {
    let mut complaints = Vec::new();
    for (name, package) in packages() {
        let count = package
            .targets
            .iter()
            .filter(|target| target.is_test())
            .count();
        if count > 1 {
            complaints.push(format!("`{name}` has {count} integration-test binaries"));
        }
    }
    none(
        &complaints,
        "Make the second one a module of tests/it/main.rs: each binary links anew.",
    );
}

#[test]
fn files_have_headers_names_and_an_end() {
    let mut complaints = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source of ours");
        let told = path.strip_prefix(root()).expect("under the root").display();
        if !text.starts_with("//! ") {
            complaints.push(format!("{told}: begins without a `//!` header"));
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            complaints.push(format!(
                "{told}: {lines} lines, look for a seam at {MOST_LINES}"
            ));
        }
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if NAMELESS.contains(&stem) {
            complaints.push(format!("{told}: name the file after its concept"));
        }
    }
    none(&complaints, "See CONTRIBUTING.md, “Files”.");
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["#[ig", "nore"].concat(),
    ];
    let mut complaints = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source of ours");
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                complaints.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    none(&complaints, "Finish it or leave it out.");
}
