//! Bad input ends with exit code 2 and a message a person can act on, or sound rows go on and the
//! others are kept aside. Nothing half-written stays behind.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

use super::program::{
    SMALL, config, dataset, features_line, listing, logs, rewrite, shell, slate, spoiled,
};

/// Runs `slate features` on a spoiled log; it must refuse, say all of `words` and leave nothing.
fn refuses(edit: impl FnOnce(&Path), words: &[&str]) {
    let folder = spoiled(edit);
    let before = listing(folder.path());
    slate(folder.path(), &features_line()).refused(words);
    assert_eq!(listing(folder.path()), before, "nothing is left behind");
}

/// Runs `slate features` on a log with one spoiled row; it must keep that row aside and go on.
fn keeps_aside(edit: impl FnOnce(&Path), reason: &[&str]) {
    let folder = spoiled(edit);
    let ran = slate(folder.path(), &format!("{} --json", features_line())).done();
    let json = ran.json();
    let rejects = json["rejects"].to_string();
    for word in reason {
        assert!(rejects.contains(word), "no `{word}` in {rejects}");
    }
    assert!(folder.path().join("dataset/rejects.parquet").is_file());
}

/// The batch with one column replaced.
fn with(batch: &RecordBatch, name: &str, array: ArrayRef) -> RecordBatch {
    let mut columns: Vec<(String, ArrayRef)> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .collect();
    let at = columns
        .iter()
        .position(|(column, _)| column == name)
        .expect("a column of the log");
    columns[at].1 = array;
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .unwrap()
}

/// The batch with the first number of a column replaced.
fn first_number(batch: &RecordBatch, name: &str, value: f64) -> RecordBatch {
    let column = batch.column_by_name(name).unwrap();
    let array: ArrayRef = if *column.data_type() == DataType::Int64 {
        let mut values: Vec<Option<i64>> = column.as_primitive::<Int64Type>().iter().collect();
        values[0] = Some(value as i64);
        Arc::new(Int64Array::from(values))
    } else {
        let mut values: Vec<Option<f64>> = column.as_primitive::<Float64Type>().iter().collect();
        values[0] = Some(value);
        Arc::new(Float64Array::from(values))
    };
    with(batch, name, array)
}

fn spoil_number(table: &str, column: &str, value: f64) -> impl FnOnce(&Path) {
    let (table, column) = (format!("{table}.parquet"), column.to_owned());
    move |logs| {
        rewrite(&logs.join(table), |batch| {
            first_number(&batch, &column, value)
        });
    }
}

#[test]
fn a_missing_column_is_named() {
    refuses(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                let keep: Vec<usize> = (0..batch.num_columns())
                    .filter(|&i| batch.schema().field(i).name() != "list_id")
                    .collect();
                batch.project(&keep).unwrap()
            });
        },
        &["slot_impression", "`list_id`"],
    );
}

#[test]
fn a_mistyped_column_is_named_with_both_types() {
    refuses(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                let text = cast(batch.column_by_name("item_id").unwrap(), &DataType::Utf8).unwrap();
                with(&batch, "item_id", text)
            });
        },
        &["slot_impression", "`item_id`", "Utf8", "Int64"],
    );
}

#[test]
fn seconds_for_microseconds_are_noticed() {
    refuses(
        |logs| {
            rewrite(&logs.join("page_impression.parquet"), |batch| {
                let ts = cast(batch.column_by_name("ts").unwrap(), &DataType::Int64).unwrap();
                let seconds = ts
                    .as_primitive::<Int64Type>()
                    .iter()
                    .map(|v| v.map(|v| v / 1_000_000));
                with(&batch, "ts", Arc::new(seconds.collect::<Int64Array>()))
            });
        },
        &["page_impression", "`ts`", "seconds"],
    );
}

#[test]
fn single_bad_values_are_kept_aside() {
    keeps_aside(
        spoil_number("slot_impression", "price", -5.0),
        &["price", "slot_impression"],
    );
    keeps_aside(
        spoil_number("slot_impression", "propensity", 1.5),
        &["propensity"],
    );
    keeps_aside(
        spoil_number("slot_impression", "similarity", f64::NAN),
        &["similarity"],
    );
    keeps_aside(
        spoil_number("slot_impression", "affinity", f64::INFINITY),
        &["affinity"],
    );
}

#[test]
fn a_repeated_id_is_kept_aside() {
    keeps_aside(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                concat_batches(&batch.schema(), [&batch, &batch.slice(0, 1)]).unwrap()
            });
        },
        &["impression_id"],
    );
}

#[test]
fn too_many_bad_rows_are_an_error() {
    refuses(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                let bad = Int64Array::from(vec![-1; batch.num_rows()]);
                with(&batch, "price", Arc::new(bad))
            });
        },
        &["slot_impression", "price"],
    );
}

#[test]
fn an_empty_log_is_refused() {
    refuses(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                batch.slice(0, 0)
            });
        },
        &["slot_impression.parquet` has no rows"],
    );
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("logs")).unwrap();
    slate(folder.path(), &features_line()).refused(&["page_impression"]);
}

#[test]
fn one_list_only_is_refused() {
    refuses(
        |logs| {
            let page = std::cell::Cell::new(0);
            rewrite(&logs.join("page_impression.parquet"), |batch| {
                let ids = batch
                    .column_by_name("page_id")
                    .unwrap()
                    .as_primitive::<Int64Type>();
                page.set(ids.value(0));
                batch.slice(0, 1)
            });
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                let ids = batch
                    .column_by_name("page_id")
                    .unwrap()
                    .as_primitive::<Int64Type>();
                let keep = ids.iter().map(|id| Some(id == Some(page.get()))).collect();
                arrow::compute::filter_record_batch(&batch, &keep).unwrap()
            });
        },
        &["1 usable list"],
    );
}

#[test]
fn a_log_without_any_outcome_is_refused() {
    refuses(
        |logs| fs::remove_file(logs.join("event.parquet")).unwrap(),
        &["no click", "training window"],
    );
}

#[test]
fn a_truncated_file_is_refused() {
    refuses(
        |logs| {
            let file = logs.join("slot_impression.parquet");
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["slot_impression.parquet"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let line = format!(
        "features -c {} {SMALL} --logs {} --out file/dataset",
        config("demo.toml").display(),
        logs().display()
    );
    slate(folder.path(), &line).refused(&["cannot create the folder `file`"]);
    if cfg!(target_os = "linux") {
        // Nobody may create a folder there, not even root.
        slate(folder.path(), "simulate --pages 10 --out /proc/slate").refused(&["/proc"]);
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A limit of 64 blocks per file with its signal ignored makes writes fail as on a full disk.
    let line = "trap '' XFSZ; ulimit -f 64; \"$SLATE\" simulate --pages 3000 --out logs";
    shell(folder.path(), line).refused(&["error:"]);
    assert_eq!(
        listing(folder.path()),
        Vec::<String>::new(),
        "nothing is left behind"
    );
}

#[test]
fn scores_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("nan.csv", "list_id,score,purchase\n1,NaN,0\n1,0.5,1\n");
    slate(folder.path(), "evaluate --scores nan.csv").refused(&["`score` at row 0"]);
    write("label.csv", "list_id,score,purchase\n1,0.1,0\n1,0.5,2\n");
    slate(
        folder.path(),
        "evaluate --scores label.csv --label purchase",
    )
    .refused(&["`purchase` at row 1 is 2"]);
    write(
        "zero.csv",
        "list_id,score,purchase\n1,0.1,0\n1,0.5,0\n2,0.5,0\n",
    );
    slate(folder.path(), "evaluate --scores zero.csv").refused(&["no outcome"]);
    slate(
        folder.path(),
        "calibrate --scores zero.csv --label purchase --out c",
    )
    .refused(&["label"]);
    write(
        "train.csv",
        "list_id,score,purchase,split\n1,0.1,0,train\n1,0.5,1,train\n",
    );
    slate(folder.path(), "calibrate --scores train.csv --out c")
        .refused(&["training split", "--allow-in-sample"]);
    write(
        "p.csv",
        "list_id,score,purchase,probability\n1,0.1,0,0.2\n1,0.5,1,1.2\n",
    );
    slate(folder.path(), "evaluate --scores p.csv -m logloss").refused(&["1.2"]);
    slate(folder.path(), "evaluate --scores p.csv -m ndgc@10").refused(&["did you mean `ndcg"]);
    assert!(!folder.path().join("c").exists());
}

#[test]
fn a_damaged_dataset_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("data");
    for name in listing(dataset()) {
        let (from, to) = (dataset().join(&name), copy.join(&name));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if from.is_file() {
            fs::copy(from, to).unwrap();
        }
    }
    slate(folder.path(), "validate data").done();
    let file = copy.join("train/dense.npy");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
    let line = format!(
        "train -c {} {SMALL} --data data --out run",
        config("demo.toml").display()
    );
    slate(folder.path(), &line).refused(&["dense.npy"]);
    let told = slate(folder.path(), "validate data");
    assert_eq!(told.code, Some(2));
    assert!(told.stdout.contains("dense.npy"), "{}", told.stdout);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_text_column_of_unknown_kind_is_kept_aside() {
    keeps_aside(
        |logs| {
            rewrite(&logs.join("event.parquet"), |batch| {
                let types = cast(batch.column_by_name("type").unwrap(), &DataType::Utf8).unwrap();
                let mut types: Vec<String> = types
                    .as_string::<i32>()
                    .iter()
                    .map(|v| v.unwrap().to_owned())
                    .collect();
                types[0] = "teleport".to_owned();
                assert_eq!(types.len(), batch.num_rows());
                with(&batch, "type", Arc::new(StringArray::from(types)))
            });
        },
        &["event", "type"],
    );
}

#[test]
fn validate_names_the_row_of_a_bad_value() {
    let folder = spoiled(|logs| spoil_number("slot_impression", "price", -5.0)(logs));
    let told = slate(folder.path(), "validate logs");
    assert_eq!(told.code, Some(2));
    let expected = "`price` is negative, on 1 rows, the first being row 0";
    assert!(told.stdout.contains(expected), "{}", told.stdout);
}

#[test]
fn an_optional_column_in_another_spelling_is_refused() {
    refuses(
        |logs| {
            rewrite(&logs.join("slot_impression.parquet"), |batch| {
                let fields = batch
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| f.name().clone())
                    .collect::<Vec<_>>();
                let renamed = fields.iter().zip(batch.columns()).map(|(name, column)| {
                    let name = if name == "price" {
                        "Price"
                    } else {
                        name.as_str()
                    };
                    (name.to_owned(), Arc::clone(column), true)
                });
                RecordBatch::try_from_iter_with_nullable(renamed.collect::<Vec<_>>()).unwrap()
            });
        },
        &["`price`", "`Price`"],
    );
}

#[test]
fn an_interrupt_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The shell waits until the command has begun to write, then interrupts it.
    let line = "\"$SLATE\" simulate --pages 400000 --set simulate.users=200000 \
        --set simulate.items=60000 --out logs & \
        tries=0; while [ ! -d .logs.partial ] && [ $tries -lt 2000 ]; do tries=$((tries+1)); sleep 0.01; done; \
        kill -TERM $!; wait $!";
    let ran = shell(folder.path(), line);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(
        listing(folder.path()),
        Vec::<String>::new(),
        "nothing is left behind"
    );
}

#[test]
fn force_spares_folders_that_slate_did_not_write() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/precious.txt"), "x").unwrap();
    slate(folder.path(), "simulate --pages 50 --out mine --force")
        .refused(&["slate did not write"]);
    assert!(folder.path().join("mine/precious.txt").is_file());
}

#[test]
fn only_the_same_rows_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let header = "list_id,item_id,score,purchase\n";
    write(
        "a.csv",
        &format!("{header}1,10,0.9,1\n1,11,0.1,0\n2,12,0.3,0\n2,13,0.2,1\n"),
    );
    write(
        "b.csv",
        &format!("{header}1,11,0.1,0\n1,10,0.9,1\n2,12,0.3,0\n2,13,0.2,1\n"),
    );
    slate(
        folder.path(),
        "evaluate --scores a.csv --against b.csv -m ndcg@10",
    )
    .refused(&["differ in `item_id`"]);
    write(
        "c.csv",
        "list_id,score,purchase\n1,0.9,1\n1,0.1,0\n2,0.3,0\n2,0.2,1\n",
    );
    slate(
        folder.path(),
        "evaluate --scores c.csv --against c.csv -m ndcg@10",
    )
    .refused(&["neither `impression` nor `item_id`"]);
    write("two.csv", "list_id,score,purchase\n1,0.9,2\n1,0.1,2\n");
    slate(folder.path(), "evaluate --scores two.csv").refused(&["`purchase` at row 0 is 2"]);
    slate(
        folder.path(),
        "calibrate --scores a.csv --test a.csv --out c",
    )
    .refused(&["4 rows of --test are also in --scores"]);
}

#[test]
fn engines_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let label = |more: &str| {
        let line = format!("label --logs {} --out labels {more}", logs().display());
        slate(folder.path(), &line)
    };
    label("--engine spark")
        .refused(&["--engine is `spark`, expected `embedded` or `ballista://HOST:PORT`"]);
    label("--shards 4").refused(&[
        "--shards is for a cluster, and there is none",
        "hint: say `--engine ballista://HOST:PORT`",
    ]);
    label("--shard-timeout 4").refused(&["--shard-timeout is for a cluster, and there is none"]);
    label("--shards 0").refused(&["0 is not in 1..=256"]);
    if cfg!(not(feature = "cluster")) {
        label("--engine ballista://127.0.0.1:1").refused(&[
            "cannot use the cluster `ballista://127.0.0.1:1`: this program was built without clusters",
            "hint: build it with `--features cluster`",
        ]);
    }
    assert_eq!(super::program::listing(folder.path()), Vec::<String>::new());
}

#[test]
fn a_network_that_no_machine_holds_is_refused_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let slots = 10_000;
    let list: String = (0..slots)
        .map(|slot| format!("{} 1:{slot}\n", slot % 2))
        .collect();
    for (name, lists) in [("rank.train", 3), ("rank.test", 1)] {
        std::fs::write(folder.join(name), list.repeat(lists)).unwrap();
        let queries = format!("{slots}\n").repeat(lists);
        std::fs::write(folder.join(format!("{name}.query")), queries).unwrap();
    }
    slate(
        folder,
        "import letor . --out data --valid 0.3 --calibrate 0.3",
    )
    .done();
    let train = format!(
        "train -c {} --data data --out run --set train.network.kind=transformer --set train.network.layers=64 \
         --set train.network.heads=64",
        config("lightgbm_rank.toml").display()
    );
    slate(folder, &train).refused(&[
        "out of memory: a step over the longest list, of 10000 slots, needs 15",
        "hint: lower `features.max_list_length`",
    ]);
    assert!(!folder.join("run").exists());
}
