//! Two towers over seed and candidate: from a log to vectors of items nobody has seen.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::concat;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::embed::{floats, npy};
use super::program::{config, slate};

/// A small market with pictures, embedded and made into a dataset in `folder`.
fn dataset(folder: &Path) -> String {
    dataset_of(folder, &config("similar_item.toml").display().to_string())
}

/// The same by another configuration.
fn dataset_of(folder: &Path, config: &str) -> String {
    let line = format!(
        "-c {config} --set simulate.pages=500 --set simulate.users=200 --set simulate.items=400 \
         --set simulate.purchase_rate=0.06 --set train.epochs=2 --set train.network.hidden=8 \
         --set train.network.layers=1 --set evaluate.draws=100"
    );
    for step in [
        "simulate --out logs",
        "embed --items logs --out vectors",
        "features --logs logs --out dataset",
    ] {
        slate(folder, &format!("{step} {line}")).done();
    }
    line
}

fn ids(path: &Path) -> Vec<i64> {
    let (_, bytes) = npy(path);
    let eight = bytes.chunks_exact(8);
    eight
        .map(|eight| i64::from_le_bytes(eight.try_into().unwrap()))
        .collect()
}

/// Adds an item to the table of items: the first one again under another id and title.
fn add_item(folder: &Path, id: i64) {
    let path = folder.join("logs/item.parquet");
    let file = File::open(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let parts: Vec<&dyn Array> = batches
                .iter()
                .map(|batch| batch.column_by_name(field.name()).unwrap().as_ref())
                .collect();
            let first = parts[0].slice(0, 1);
            let new: ArrayRef = match field.name().as_str() {
                "item_id" => Arc::new(Int64Array::from(vec![id])),
                "title" => {
                    let title = first.as_string::<i32>().value(0).to_owned();
                    Arc::new(StringArray::from(vec![format!("{title}, as new")]))
                }
                _ => first,
            };
            let parts: Vec<&dyn Array> = parts.into_iter().chain([new.as_ref()]).collect();
            concat(&parts).unwrap()
        })
        .collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn an_item_of_today_has_its_vector_today() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = dataset(folder);
    slate(folder, &format!("train {line} --data dataset --out run")).done();
    let scored = slate(
        folder,
        "score --run run --data dataset --split test --out scores.parquet --json",
    );
    assert!(scored.done().json()["rows"].as_u64().unwrap() > 100);

    let export = format!("similar export {line} --run run --items logs --json");
    let told = slate(folder, &format!("{export} --out before"))
        .done()
        .json();
    let width = 32;
    assert_eq!(told["width"], width);
    let items = told["items"].as_u64().unwrap() as usize;
    let seed = floats(&folder.join("before/seed.npy"));
    assert_eq!(seed.len(), items * width);
    for vector in seed.chunks_exact(width) {
        let square: f32 = vector.iter().map(|value| value * value).sum();
        assert!((square - 1.0).abs() < 1e-5, "{square}");
    }
    // One tower, and the same of both sides: an item is the same vector on either.
    assert_eq!(
        fs::read(folder.join("before/seed.npy")).unwrap(),
        fs::read(folder.join("before/candidate.npy")).unwrap()
    );
    assert_eq!(
        slate(folder, &format!("{export} --out again"))
            .done()
            .json()["items"],
        told["items"]
    );
    for name in ["item_id.npy", "seed.npy", "candidate.npy"] {
        let of = |out: &str| fs::read(folder.join(out).join(name)).unwrap();
        assert!(of("before") == of("again"), "{name}");
    }

    let new = 1_000_000;
    let first = ids(&folder.join("before/item_id.npy"))[0];
    add_item(folder, new);
    let embedded = slate(
        folder,
        &format!("embed --items logs --out vectors {line} --json"),
    );
    assert_eq!(embedded.done().json()["computed"]["title"], 1);
    slate(folder, &format!("{export} --out after")).done();
    let (after, known) = (folder.join("after"), folder.join("before"));
    assert_eq!(ids(&after.join("item_id.npy")).len(), items + 1);
    let vectors = floats(&after.join("candidate.npy"));
    assert_eq!(
        vectors[..items * width],
        floats(&known.join("candidate.npy"))
    );

    let query = |line: &str| slate(folder, &format!("similar query {line} --json"));
    let found = query(&format!("{new} --vectors after --k 3")).done().json();
    assert_eq!(found["by"], serde_json::json!(["towers"]));
    // Picture, category and price are those of the first item, and the title nearly.
    let near = &found["nearest"][0];
    assert_eq!(near["item_id"], first);
    let last = &vectors[items * width..];
    let cosine: f32 = last.iter().zip(&vectors).map(|(a, b)| a * b).sum();
    assert!((near["score"].as_f64().unwrap() - f64::from(cosine)).abs() < 1e-6);
    query(&format!("{new} --vectors after --by title"))
        .refused(&["has vectors of a trained network", "hint: leave --by out"]);
    query("-5 --vectors after").refused(&["there is no item -5"]);

    // What is not embedded yet is said, and what would be destroyed is refused.
    add_item(folder, new + 1);
    let late = slate(folder, &format!("{export} --out late")).done().json();
    assert_eq!(
        late["without"],
        serde_json::json!({ "image": 1, "title": 1 })
    );
    for of in ["logs", "run"] {
        slate(folder, &format!("{export} --out {of} --force"))
            .refused(&["is in --out, which would be replaced"]);
    }
    slate(folder, "report after --out page.html").done();
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.contains("Similar items") && page.contains("data:image/png;base64,"));
    slate(folder, "validate after").done();
    let cut = fs::read(folder.join("after/candidate.npy")).unwrap();
    fs::write(folder.join("after/candidate.npy"), &cut[..cut.len() - 4]).unwrap();
    query("1 --vectors after").refused(&["candidate.npy", "slate similar export` again"]);
    assert_eq!(slate(folder, "validate after").code, Some(2));
}

#[test]
fn a_table_of_ids_and_a_context_of_placements_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let similar = config("similar_item.toml");
    let text = fs::read_to_string(similar).unwrap();
    let text = text.replacen(
        "numeric = [",
        "numeric = [\n    { column = \"similarity\" },",
        1,
    );
    fs::write(folder.join("my.toml"), text).unwrap();
    let line = dataset_of(folder, "my.toml");
    slate(folder, &format!("train {line} --data dataset --out run")).done();
    fs::write(
        folder.join("few.csv"),
        "item_id,price\n3,1200\n5,-7\n3,90\n4,\n",
    )
    .unwrap();
    let export = format!(
        "similar export {line} --run run --items few.csv --out few --json --set attribution.max_reject_share=1"
    );
    let told = slate(folder, &export).done().json();
    assert_eq!((&told["items"], &told["rejects"]), (&3.into(), &1.into()));
    assert_eq!(
        told["set_aside"],
        serde_json::json!({ "`price` is negative": 1 })
    );
    assert_eq!(ids(&folder.join("few/item_id.npy")), [3, 4, 5]);
    slate(folder, &format!("{export} --force --as-of 1900-01-01"))
        .refused(&["--as-of is `1900-01-01`, expected a time from 2000 to 2099"]);

    // Vectors of another encoder are not those that the towers learned to read.
    let manifest = folder.join("vectors/items/manifest.json");
    let other = fs::read_to_string(&manifest).unwrap();
    let at = other.find("\"fingerprint\": \"").unwrap() + 16;
    let other = format!("{}{}{}", &other[..at], "0".repeat(64), &other[at + 64..]);
    fs::write(&manifest, other).unwrap();
    slate(folder, &format!("{export} --force")).refused(&["of another encoder"]);
}

#[test]
fn towers_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = dataset(folder);
    let train = |sets: &str, out: &str| {
        slate(
            folder,
            &format!("train {line} {sets} --data dataset --out {out}"),
        )
    };
    train("--set train.network.towers.seed=[\"titel\"] --set train.network.towers.candidate=[\"title\"]", "x").refused(&[
        "`train.network.towers.seed` is `titel`, expected inputs of the dataset: item_price, ",
    ]);
    train("--set train.network.towers.seed=[\"title\"] --set train.network.towers.candidate=[\"title\"]", "x").refused(&[
        "both have `title`, expected each input on one side",
    ]);
    train("--set train.network.towers.seed=[\"seed_price\"] --set train.network.towers.candidate=[\"item_category\"]", "x")
        .refused(&[
            "the shared tower would read `seed_price` as it does `item_category`",
            "alike = [{ column = \"seed_price\", to = \"item_category\" }]",
        ]);
    train("--set train.network.kind=\"mlp\"", "x").refused(&["`train.network.towers` is set"]);

    // What a placement has, an item by itself has not.
    train(
        "--set train.network.towers.shared=false --set train.network.towers.candidate=[\"price_log_ratio\",\"title\"] \
         --set train.network.towers.context=[]",
        "placed",
    )
    .done();
    let export = |run: &str| {
        slate(
            folder,
            &format!("similar export {line} --run {run} --items logs --out y"),
        )
    };
    export("placed").refused(&[
        "the towers read `price_log_ratio`, which is made of `price`: an item by itself has none",
    ]);
    let mlp = "format = 1\n[train]\nepochs = 1\n[train.network]\nkind = \"mlp\"\nhidden = 4\n";
    fs::write(folder.join("mlp.toml"), mlp).unwrap();
    slate(folder, "train -c mlp.toml --data dataset --out mlp").done();
    export("mlp").refused(&[
        "is a network of kind `mlp`",
        "`train.network.kind = \"similar\"`",
    ]);
    assert!(!folder.join("y").exists());
    slate(
        folder,
        &format!("similar export {line} --as-of soon --run placed --items logs --out y"),
    )
    .refused(&["--as-of is `soon`, expected a date"]);
}
