//! Two towers over seed and candidate: from a log to vectors of items nobody has seen.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::embed::{floats, npy};
use super::program::{config, rewrite, slate};

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
    for name in ["item_id.npy", "seed.npy", "candidate.npy", "taste.npy"] {
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
    for_a_visitor(folder, &vectors, first);
    by_a_graph(folder);

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

/// A graph of near items, asked with so wide a beam that it sees all of them.
fn by_a_graph(folder: &Path) {
    let query = |line: &str| slate(folder, &format!("similar query 7 {line} --k 20 --json"));
    query("--vectors after --beam 50").refused(&[
        "`after` has no graph of near items",
        "slate similar index --vectors after",
    ]);
    slate(folder, "similar index --vectors vectors")
        .refused(&["`vectors` is no export of item vectors"]);
    let linked = slate(folder, "similar index --vectors after --json").done();
    assert_eq!(
        linked.json()["items"],
        ids(&folder.join("after/item_id.npy")).len()
    );
    let graph = fs::read(folder.join("after/graph.hnsw")).unwrap();
    slate(folder, "similar index --vectors after").refused(&["graph.hnsw", "--force"]);
    slate(folder, "similar index --vectors after --force").done();
    assert!(fs::read(folder.join("after/graph.hnsw")).unwrap() == graph);
    let exact = query("--vectors after").done().json();
    let found = query("--vectors after --beam 1000").done().json();
    let of = |told: &serde_json::Value| -> Vec<i64> {
        let nearest = told["nearest"].as_array().unwrap();
        nearest
            .iter()
            .map(|one| one["item_id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(of(&found), of(&exact));
    slate(folder, "validate after").done();
    let mut torn = graph.clone();
    *torn.last_mut().unwrap() ^= 1;
    for broken in [&graph[..graph.len() / 2], &torn, b"no graph", b""] {
        fs::write(folder.join("after/graph.hnsw"), broken).unwrap();
        query("--vectors after --beam 50")
            .refused(&["`after/graph.hnsw` is no graph of near items", "--force"]);
    }
    let other = String::from_utf8_lossy(&graph).replacen(
        "manifest_sha256\":\"",
        "manifest_sha256\":\"0",
        1,
    );
    fs::write(folder.join("after/graph.hnsw"), other).unwrap();
    query("--vectors after --beam 50").refused(&["was made of another export", "--force"]);
    fs::write(folder.join("after/graph.hnsw"), graph).unwrap();
}

/// Who asks chose items before: what is like those comes first, by the formula of the manifest.
fn for_a_visitor(folder: &Path, vectors: &[f32], item: i64) {
    let query = |line: &str| slate(folder, &format!("similar query {item} {line} --k 5 --json"));
    let ids = ids(&folder.join("after/item_id.npy"));
    let manifest = fs::read_to_string(folder.join("after/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let of = |key: &str| manifest["taste"][key].as_f64().unwrap();
    let (kinds, width, prior) = (
        of("kinds") as usize,
        of("width") as usize,
        of("prior_events"),
    );
    assert_eq!((kinds, width, prior), (2, 32, 3.0));
    let taste = floats(&folder.join("after/taste.npy"));
    let of_item = |row: usize| &taste[row * kinds * width..(row + 1) * kinds * width];
    let chosen = [5, 40];
    let score = |row: usize| -> f64 {
        let towers = |row: usize| &vectors[row * 32..(row + 1) * 32];
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let likes = chosen.map(|own| product(of_item(own), of_item(row)));
        let own = ids.iter().position(|id| *id == item).unwrap();
        product(towers(own), towers(row)) + of("weight") * likes.iter().sum::<f64>() / (2.0 + prior)
    };
    let asked = format!(
        "--vectors after --chosen {},{}",
        ids[chosen[0]], ids[chosen[1]]
    );
    let told = query(&asked).done().json();
    let mut expected: Vec<usize> = (0..ids.len())
        .filter(|row| ids[*row] != item && !chosen.contains(row))
        .collect();
    expected.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
    let nearest = told["nearest"].as_array().unwrap();
    assert_eq!(nearest.len(), 5);
    for (found, row) in nearest.iter().zip(expected) {
        let told = found["score"].as_f64().unwrap();
        assert!((told - score(row)).abs() < 1e-5, "{found}");
        let own = ids
            .iter()
            .position(|id| *id == found["item_id"].as_i64().unwrap());
        assert!((told - score(own.unwrap())).abs() < 1e-5, "{found}");
    }
    let plain = query("--vectors after").done().json();
    assert_ne!(plain["nearest"], told["nearest"]);
    query("--vectors after --chosen -7").refused(&["there is no item -7"]);
    query("--vectors vectors --chosen 5").refused(&["`vectors` has no vectors of tastes"]);
}

#[test]
fn a_table_of_ids_and_a_context_of_placements_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let similar = config("similar_item.toml");
    let text = fs::read_to_string(similar).unwrap();
    let text = text.replacen(
        "numeric = [",
        "numeric = [\n    { column = \"similarity\" },\n    { column = \"taste\" },",
        1,
    ) + "\n[[features.taste]]\nname = \"taste\"\ncolumn = \"affinity\"\n";
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

/// What an input is worth is what is lost without it; the pages a run did worst on are told.
#[test]
fn inputs_are_left_out_and_failures_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = dataset(folder);
    slate(folder, &format!("train {line} --data dataset --out run")).done();
    slate(
        folder,
        &format!("label {line} --logs logs --out shown --with seed_item_id"),
    )
    .done();
    let score = |more: &str| {
        let line = "score --run run --data dataset --split test --beside shown/labels.parquet";
        slate(folder, &format!("{line} {more}"))
    };
    score("--out whole.csv").done();
    score("--out whole.parquet").done();
    score("--without title --out untitled.parquet").done();
    let words = "--without title,image,seed_title,seed_image";
    let told = score(&format!("{words} --out blind.csv --json"))
        .done()
        .json();
    assert!(
        told["scorer"]
            .as_str()
            .unwrap()
            .ends_with(" without title and image and seed_title and seed_image"),
        "{told}"
    );
    score("--without title --without seed_title --out untitled.csv").done();
    let scores = |name: &str| -> Vec<f64> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let mut lines = text.lines();
        let at = lines
            .next()
            .unwrap()
            .split(',')
            .position(|c| c == "score")
            .unwrap();
        lines
            .map(|line| line.split(',').nth(at).unwrap().parse().unwrap())
            .collect()
    };
    let [whole, blind, untitled] = ["whole.csv", "blind.csv", "untitled.csv"].map(scores);
    assert!(whole != blind && blind != untitled && whole.len() == blind.len());
    slate(
        folder,
        "evaluate --scores whole.parquet --against blind.csv --against untitled.csv --label click -m ndcg@10 \
         --set evaluate.draws=50",
    )
    .done();
    score("--without titel --out x.csv").refused(&["`--without` is `titel`", "seed_title"]);
    score("--without title,title --out x.csv").refused(&["`title` twice"]);

    slate(
        folder,
        &format!(
            "similar export {line} --run run --items logs --scores whole.parquet --out vectors-of-run"
        ),
    )
    .done();
    let other =
        format!("similar export {line} --run run --items logs --scores untitled.parquet --out x");
    slate(folder, &other).refused(&["expected those of this run, `run:"]);
    let text = fs::read_to_string(folder.join("vectors-of-run/neighbours.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let failures = told["failures"].as_array().unwrap();
    assert!(!failures.is_empty());
    let ranks: Vec<u64> = failures
        .iter()
        .map(|f| f["rank"].as_u64().unwrap())
        .collect();
    assert!(ranks.is_sorted_by(|a, b| a >= b) && ranks.iter().all(|rank| *rank > 1));
    assert!(
        failures
            .iter()
            .all(|f| f["seed"]["title"].is_string() && f["bought"]["title"].is_string())
    );
    slate(folder, "report vectors-of-run --out page.html").done();
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    assert!(page.contains("Pages on which what was bought stood lowest"));
    slate(folder, "validate vectors-of-run").done();
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
    // Of the visitor there are means of histories, compared with what the candidate has.
    let visitor = |names: &str| format!("--set train.network.towers.visitor=[{names}]");
    train(&visitor("\"title\""), "x").refused(&[
        "`train.network.towers.visitor` is `title`, expected mean vectors of histories",
        "`vectors = [\"title\"]` under [features.history]",
    ]);
    train(
        "--set train.network.towers.seed=[\"seed_title\"] --set train.network.towers.candidate=[\"title\"]",
        "x",
    )
    .refused(&["`history_image` is compared with `image`, which `train.network.towers.candidate` does not have"]);
    let of_seed = "--set train.network.towers.shared=false --set train.network.towers.seed=[\"history_title\"]";
    train(of_seed, "x").refused(&["`history_title` is of the page's visitor and of no item"]);
    let text = fs::read_to_string(config("similar_item.toml")).unwrap();
    let wrong = text.replace("seed = [\"seed_title\"", "seed = [\"seed_titel\"");
    fs::write(folder.join("wrong.toml"), wrong).unwrap();
    let told = slate(folder, "validate wrong.toml");
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    assert!(
        told.stdout
            .contains("`train.network.towers.seed` has `seed_titel`, expected features: "),
        "{}",
        told.stdout
    );
    let wrong = text.replace(
        "visitor = [\"history_title\"",
        "visitor = [\"history_titel\"",
    );
    fs::write(folder.join("wrong.toml"), wrong).unwrap();
    let told = slate(folder, "validate wrong.toml");
    assert_eq!(told.code, Some(2), "{}", told.stderr);
    assert!(
        told.stdout.contains("has `history_titel`, expected what `features.history.vectors` makes: history_title, history_image"),
        "{}",
        told.stdout
    );
    train("--set train.network.kind=\"mlp\"", "x").refused(&["`train.network.towers` is set"]);

    // What a placement has, an item by itself has not.
    train(
        "--set train.network.towers.shared=false --set train.network.towers.candidate=[\"price_log_ratio\",\"title\"] \
         --set train.network.towers.context=[] --set train.network.towers.visitor=[]",
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

/// Pages without a seed item are counted; nothing can be learned where no page has one.
#[test]
fn pages_without_a_seed_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = dataset(folder);
    let ran = |out: &str, keep: fn(usize) -> bool| {
        rewrite(&folder.join("logs/page_impression.parquet"), |batch| {
            let at = batch.schema().index_of("seed_item_id").unwrap();
            let seeds = batch.column(at).as_primitive::<Int64Type>();
            let kept = seeds.iter().enumerate();
            let kept: Int64Array = kept.map(|(row, seed)| seed.filter(|_| keep(row))).collect();
            let mut columns = batch.columns().to_vec();
            columns[at] = Arc::new(kept);
            RecordBatch::try_new(batch.schema(), columns).unwrap()
        });
        slate(folder, &format!("features --logs logs --out {out} {line}")).done();
        slate(
            folder,
            &format!("train {line} --data {out} --out {out}-run --set train.epochs=1"),
        )
    };
    let half = ran("half", |row| row % 2 == 0).done();
    assert!(
        half.stderr
            .contains("% of the training placements are on pages without a seed item"),
        "{}",
        half.stderr
    );
    ran("none", |_| false).refused(&["no page of the training part has a seed item", "hint: "]);
}
