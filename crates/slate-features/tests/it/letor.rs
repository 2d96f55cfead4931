//! LETOR files to datasets: hand-written ones, and LightGBM's example where it is at hand.

use std::{fmt::Write, path::Path};

use slate_features::{
    Dataset, DatasetSummary, FeatureError, Origin,
    letor::{LetorOptions, MOST_FEATURES, import_letor},
};
use slate_types::{Seed, Silent, Split};
use tempfile::TempDir;

fn import(
    files: &[(&str, &str)],
    options: &LetorOptions,
) -> (TempDir, Result<DatasetSummary, FeatureError>) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    for (name, text) in files {
        std::fs::write(source.join(name), text).unwrap();
    }
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let result = run(&source, &folder.path().join("out"), options);
    (folder, result)
}

fn run(source: &Path, out: &Path, options: &LetorOptions) -> Result<DatasetSummary, FeatureError> {
    let origin = Origin {
        command: "test".into(),
        ..Origin::default()
    };
    import_letor(source, out, options, origin, &Silent)
}

fn open(folder: &TempDir) -> Dataset {
    let dataset = Dataset::open(&folder.path().join("out")).unwrap();
    dataset.verify().unwrap();
    dataset
}

/// Twenty training queries; query `q` has `1 + q % 3` rows.
fn train_text() -> String {
    let mut text = String::new();
    for query in 0..20 {
        for row in 0..=query % 3 {
            let grade = (query + row) % 5;
            writeln!(text, "{grade} qid:{query} 2:{row}.5 7:{query}").unwrap();
        }
    }
    text
}

#[test]
fn files_become_parts_and_queries_lists() {
    let (folder, result) = import(
        &[
            ("train.txt", &train_text()),
            ("vali.txt", "1 qid:a 2:1\n0 qid:a 9:4\n"),
            ("test.txt", "4 qid:b 7:2\n0 qid:c 2:3\n3 qid:c\n"),
        ],
        &LetorOptions {
            standardise: false,
            ..LetorOptions::default()
        },
    );
    let summary = result.unwrap();
    let lists = Split::ALL.map(|split| summary.splits[&split].lists);
    assert_eq!(
        lists,
        [17, 1, 3, 2],
        "only calibrate is taken from the training file"
    );
    assert_eq!(
        summary.notes,
        ["1 features are in no training query and were left out"]
    );

    let dataset = open(&folder);
    assert_eq!(dataset.manifest().dense, ["f2", "f7"]);
    let test = dataset.split(Split::Test).unwrap();
    assert_eq!(test.lists.as_slice(), [0, 1, 3]);
    assert_eq!(test.dense, [0.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
    assert_eq!(
        (test.grade, test.click, test.purchase),
        (vec![4, 0, 3], vec![1, 0, 1], vec![1, 0, 1])
    );
    assert_eq!(test.slot, [0, 0, 1]);
    assert_eq!(test.list_id, [21, 22], "lists are counted over all files");
    assert_eq!(
        dataset.split(Split::Valid).unwrap().dense,
        [1.0, 0.0, 0.0, 0.0]
    );
}

#[test]
fn one_file_is_divided_by_query() {
    let options = LetorOptions {
        seed: Seed(5),
        ..LetorOptions::default()
    };
    let (folder, result) = import(&[("train.txt", &train_text())], &options);
    let summary = result.unwrap();
    assert_eq!(
        Split::ALL.map(|split| summary.splits[&split].lists),
        [10, 3, 3, 4]
    );
    let dataset = open(&folder);
    let mut ids: Vec<i64> = Split::ALL
        .into_iter()
        .flat_map(|split| dataset.split(split).unwrap().list_id)
        .collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        (0..20).collect::<Vec<_>>(),
        "each query is in one part"
    );

    let train = dataset.split(Split::Train).unwrap();
    for feature in 0..2 {
        let values = train.dense.iter().skip(feature).step_by(2);
        let n = train.rows() as f64;
        let mean = values.clone().map(|&x| f64::from(x)).sum::<f64>() / n;
        let square = values.map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!(
            mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6,
            "{mean} {square}"
        );
    }

    let again = import(&[("train.txt", &train_text())], &options);
    assert_eq!(
        open(&again.0).split(Split::Train).unwrap().list_id,
        train.list_id
    );
    let other = LetorOptions {
        seed: Seed(6),
        ..options
    };
    let other = import(&[("train.txt", &train_text())], &other);
    assert_ne!(
        open(&other.0).split(Split::Train).unwrap().list_id,
        train.list_id
    );
}

#[test]
fn what_cannot_become_a_dataset_is_named() {
    let message = |files: &[(&str, &str)]| {
        let (folder, result) = import(files, &LetorOptions::default());
        assert!(folder.path().join("out/manifest.json").metadata().is_err());
        result
            .unwrap_err()
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(
        message(&[("train.txt", "1 qid:1 1:1\n0 qid:2 1:1\n")]),
        "`source` has 2 usable lists (0 left out), expected at least 4"
    );
    assert_eq!(
        message(&[("train.txt", &train_text()), ("test.txt", "")]),
        "the test split has no list: its file has no query"
    );
    let zeros = train_text()
        .replace("1 qid", "0 qid")
        .replace("2 qid", "0 qid");
    let zeros = zeros.replace("3 qid", "0 qid").replace("4 qid", "0 qid");
    assert_eq!(
        message(&[("train.txt", &zeros)]),
        "no clicks and no purchases in the training window (10 lists)"
    );
    let wide: Vec<String> = (0..=MOST_FEATURES)
        .map(|feature| format!("{feature}:1"))
        .collect();
    let wide = wide.join(" ");
    let rows: Vec<String> = (0..9)
        .map(|query| format!("1 qid:{query} {wide}"))
        .collect();
    let wide = rows.join(
        "
",
    );
    assert!(message(&[("train.txt", &wide)]).contains("more than 10000 distinct features"));
    let sizes = [
        ("rank.train", "1 1:1\n0 1:2\n"),
        ("rank.train.query", "1\n2\n"),
    ];
    assert_eq!(
        message(&sizes),
        "line 2 of `source/rank.train`: the rows end here, but the queries of \
         `source/rank.train.query` have 3 rows"
    );
}

/// Only the shares that are taken from the training file have to leave some of it.
#[test]
fn shares_with_a_file_of_their_own_do_not_count() {
    let options = LetorOptions {
        valid: 0.5,
        calibrate: 0.4,
        ..LetorOptions::default()
    };
    let train = train_text();
    let (_folder, result) = import(&[("train.txt", &train)], &options);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("less than 1 in all"), "{message}");
    let test = "4 qid:b 7:2\n0 qid:b 2:3\n";
    let (_folder, result) = import(&[("train.txt", &train), ("test.txt", test)], &options);
    assert_eq!(result.unwrap().splits[&Split::Test].lists, 1);
}

#[test]
fn options_out_of_range_are_named() {
    let verdict = |text: &str| match toml::from_str::<LetorOptions>(text) {
        Ok(options) => options
            .check()
            .map_or_else(|e| e.to_string(), |()| "fine".into()),
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(verdict(""), "fine");
    assert_eq!(
        verdict("valid = 0.0"),
        "`valid` is 0, expected a fraction between 0 and 1"
    );
    assert!(verdict("purchase_grade = 0").contains("at least `click_grade`, 1"));
    assert!(verdict("seeds = 3").contains("unknown field `seeds`"));
}

/// Counts as in the data's README: 3,005 rows in 201 queries and 768 in 50; labels of the test
/// file 206/256/252/44/10.
#[test]
fn lightgbms_example_has_the_counts_of_its_readme() {
    let Some(shared) = std::env::var_os("SLATE_SHARED") else {
        println!("skipped: SLATE_SHARED does not name the folder with real data");
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let source = Path::new(&shared).join("data/lightgbm_rank");
    let summary = run(&source, out.path(), &LetorOptions::default()).unwrap();
    let from_train = [Split::Train, Split::Valid, Split::Calibrate].map(|s| summary.splits[&s]);
    assert_eq!(from_train.iter().map(|split| split.lists).sum::<u64>(), 201);
    assert_eq!(from_train.iter().map(|split| split.rows).sum::<u64>(), 3005);
    assert_eq!(from_train.map(|split| split.lists), [141, 30, 30]);
    let test = summary.splits[&Split::Test];
    assert_eq!((test.lists, test.rows), (50, 768));
    assert_eq!(
        (test.clicks, test.purchases),
        (256 + 252 + 44 + 10, 44 + 10)
    );

    let dataset = Dataset::open(out.path()).unwrap();
    // Of the indices up to 300 the training file uses 218.
    assert!((215..=218).contains(&summary.dense), "{}", summary.dense);
    let mut lengths: Vec<usize> = Split::ALL
        .into_iter()
        .flat_map(|s| {
            dataset
                .split(s)
                .unwrap()
                .lists
                .iter()
                .map(|r| r.len())
                .collect::<Vec<_>>()
        })
        .collect();
    lengths.sort_unstable();
    assert_eq!(
        (lengths[0], lengths[250]),
        (1, 27),
        "from a list of one to 27 rows"
    );
    let grades = dataset.split(Split::Test).unwrap().grade;
    let mut counts = [0; 5];
    for grade in grades {
        counts[usize::from(grade)] += 1;
    }
    assert_eq!(counts, [206, 256, 252, 44, 10]);
}
