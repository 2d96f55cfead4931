//! One log, stored in every way: the rows that come out are the same.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use serde_json::Value;

use super::bucket::Bucket;
use super::program::{Ran, SMALL, config, logs, parquet_rows, slate, slate_with};

const TABLES: [&str; 4] = ["page_impression", "slot_impression", "event", "item"];

/// The hash of everything that is known of the placements of a log.
fn hash_of(folder: &Path, out: &str, options: &str, environment: &[(&str, String)]) -> Value {
    let ran = features(folder, out, options, environment).done();
    ran.json()["hash"].clone()
}

fn features(folder: &Path, out: &str, options: &str, environment: &[(&str, String)]) -> Ran {
    let line = format!(
        "features -c {} {SMALL} --json --out {out} {options}",
        config("demo.toml").display()
    );
    slate_with(folder, &line, environment)
}

fn stored() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let options = format!("--logs {}", logs().display());
    hash_of(folder.path(), "plain", &options, &[])
}

/// Columns that text can hold.
fn columns(batch: &RecordBatch) -> Vec<(String, usize)> {
    let fields = batch.schema();
    let fields = fields.fields().iter().enumerate();
    fields
        .filter(|(_, field)| *field.data_type() != DataType::Binary)
        .map(|(at, field)| (field.name().clone(), at))
        .collect()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Timestamp(..))
}

fn csv(batch: &RecordBatch) -> String {
    let columns = columns(batch);
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut text = names.join(",") + "\n";
    for row in 0..batch.num_rows() {
        for (i, (_, at)) in columns.iter().enumerate() {
            let column = batch.column(*at);
            let comma = if i > 0 { "," } else { "" };
            text.push_str(comma);
            if column.is_null(row) {
                continue;
            }
            let value = array_value_to_string(column, row).unwrap();
            if is_text(column.data_type()) {
                let _ = write!(text, "\"{}\"", value.replace('"', "\"\""));
            } else {
                text.push_str(&value);
            }
        }
        text.push('\n');
    }
    text
}

fn json_lines(batch: &RecordBatch) -> String {
    let columns = columns(batch);
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let mut object = serde_json::Map::new();
        for (name, at) in &columns {
            let column = batch.column(*at);
            if column.is_null(row) {
                continue;
            }
            let value = array_value_to_string(column, row).unwrap();
            let value = if is_text(column.data_type()) {
                Value::String(value)
            } else {
                serde_json::from_str(&value).unwrap()
            };
            object.insert(name.clone(), value);
        }
        text.push_str(&Value::Object(object).to_string());
        text.push('\n');
    }
    text
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn table(name: &str) -> RecordBatch {
    parquet_rows(&logs().join(format!("{name}.parquet")))
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn text_and_partitions_give_the_rows_of_parquet() {
    let expected = stored();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    for name in TABLES {
        let batch = table(name);
        write(
            folder.join(format!("csv/{name}.csv.gz")),
            gzip(&csv(&batch)),
        );
        let half = batch.num_rows() / 2;
        for (part, batch) in [
            ("dt=2026-02-01", batch.slice(half, batch.num_rows() - half)),
            ("dt=2026-01-01", batch.slice(0, half)),
        ] {
            let packed = zstd::encode_all(json_lines(&batch).as_bytes(), 1).unwrap();
            write(
                folder.join(format!("json/{name}/{part}/a.jsonl.zst")),
                packed,
            );
        }
        write(folder.join(format!("json/{name}/_SUCCESS")), "");
        write(
            folder.join(format!("json/{name}/_temporary/b.jsonl")),
            "no row",
        );
    }
    assert_eq!(hash_of(folder, "a", "--logs csv", &[]), expected);
    assert_eq!(hash_of(folder, "b", "--logs json", &[]), expected);
    // Some tables in the folder, some elsewhere, by pattern and by file.
    let mixed = format!(
        "--logs csv --set logs.slot_impression=json/slot_impression/dt=2026-0[12]-*/*.jsonl.zst \
         --set logs.item={}/item.parquet",
        logs().display()
    );
    assert_eq!(hash_of(folder, "c", &mixed, &[]), expected);
    // Nothing of the conversion stays.
    let mut left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["a", "b", "c", "csv", "json"]);
}

#[test]
fn rows_of_text_that_cannot_be_read_are_set_aside_with_their_place() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    for name in TABLES {
        let mut text = csv(&table(name));
        if name == "event" {
            let columns = text.lines().next().unwrap().split(',').count();
            let named = |values: &[(&str, &str)]| {
                let header = text.lines().next().unwrap();
                let value = |column: &str| {
                    let found = values.iter().find(|(name, _)| *name == column);
                    found.map_or("", |(_, value)| *value)
                };
                header.split(',').map(value).collect::<Vec<_>>().join(",")
            };
            let bad_id = named(&[
                ("event_id", "900001"),
                ("ts", "2026-02-01 00:00:00"),
                ("type", "click"),
                ("item_id", "007"),
            ]);
            let bad_time = named(&[
                ("event_id", "900002"),
                ("ts", "soon"),
                ("type", "click"),
                ("item_id", "7"),
            ]);
            assert!(columns > 3);
            text = format!("{text}{bad_id}\n{bad_time}\nshort,row\n");
        }
        if name == "slot_impression" {
            text.push_str("short,row\n");
        }
        write(folder.join(format!("logs/{name}.csv")), text);
    }
    let [lines, slot_lines] = ["event", "slot_impression"].map(|name| {
        let text = fs::read_to_string(folder.join(format!("logs/{name}.csv")));
        text.unwrap().lines().count()
    });
    let json = features(folder, "out", "--logs logs", &[]).done().json();
    assert_eq!(json["hash"], stored());
    let rejects = parquet_rows(&folder.join("out/rejects.parquet"));
    let texts: Vec<String> = (0..rejects.num_rows())
        .map(|row| {
            let cell = |at: usize| array_value_to_string(rejects.column(at), row).unwrap();
            (0..5).map(cell).collect::<Vec<_>>().join("|")
        })
        .collect();
    let at = |line: usize| format!("(line {line} of logs/event.csv)");
    for expected in [
        format!(
            "event|900001|item_id|007 {}|is no whole number",
            at(lines - 2)
        ),
        format!("event|900002|ts|soon {}|is no time", at(lines - 1)),
        format!(
            "event|||short,row {}|has another number of columns than the header",
            at(lines)
        ),
        format!(
            "slot_impression|||short,row (line {slot_lines} of logs/slot_impression.csv)|\
             has another number of columns than the header"
        ),
    ] {
        assert!(texts.contains(&expected), "{expected} in {texts:#?}");
    }
    assert_eq!(json["rejects"].as_array().unwrap().len(), 4);
}

#[test]
fn places_that_cannot_be_read_are_named() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let refused = |options: &str, words: &[&str]| {
        features(folder, "out", options, &[]).refused(words);
        assert!(!folder.join("out").exists());
    };
    refused(
        "--logs ftp://host/logs",
        &["unknown scheme `ftp`", "s3, gs, az"],
    );
    refused("--logs nowhere", &["nowhere"]);
    refused("", &["no logs are given", "[logs]"]);
    let with = |table: &str| format!("--logs {} --set logs.event={table}", logs().display());
    refused(
        &with("parts/*.parquet"),
        &["parts/*.parquet", "no file matches"],
    );
    write(folder.join("mixed/a.csv"), "event_id\n");
    write(folder.join("mixed/b.jsonl"), "{}\n");
    refused(&with("mixed"), &["mixed", "CSV and JSON lines parts"]);
    write(folder.join("a.csv.gz"), "event_id,ts,type,item_id\n");
    refused(&with("a.csv.gz"), &["cannot read `a.csv.gz`", "gzip"]);
    write(
        folder.join("cut.csv.gz"),
        &gzip(&csv(&table("event")))[..200],
    );
    refused(&with("cut.csv.gz"), &["cannot read `cut.csv.gz`"]);
    write(folder.join("a.txt"), "");
    refused(&with("a.txt"), &["a.txt", ".jsonl"]);
    write(folder.join("few.csv"), "event_id,ts,kind\n1,2,3\n");
    refused(&with("few.csv"), &["few.csv", "no column `type`"]);
    write(folder.join("false.parquet"), "PAR1 and more");
    refused(
        &with("false.parquet"),
        &["false.parquet", "not a whole Parquet file"],
    );
    fs::create_dir(folder.join("empty")).unwrap();
    refused(&with("empty"), &["empty", "without files", "dt=2026-01-03"]);
}

/// A web server that knows the files of a folder and nothing else.
fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let words: Vec<&str> = request.split(' ').collect();
            let answer = match fs::read(folder.join(words[1].trim_start_matches('/'))) {
                Ok(bytes) => {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        bytes.len()
                    );
                    let body = if words[0] == "HEAD" {
                        Vec::new()
                    } else {
                        bytes
                    };
                    [head.into_bytes(), body].concat()
                }
                Err(_) => {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_vec()
                }
            };
            // A client that has hung up has what it wanted.
            let _ = stream.write_all(&answer);
        }
    });
    port
}

#[test]
fn a_web_server_is_a_source() {
    let expected = stored();
    let place = tempfile::tempdir().unwrap();
    let port = serve(logs().to_owned());
    let options = format!("--logs http://127.0.0.1:{port}");
    assert_eq!(hash_of(place.path(), "out", &options, &[]), expected);
    let one = format!(
        "--logs {} --set logs.event=http://127.0.0.1:{port}/none.parquet",
        logs().display()
    );
    features(place.path(), "no", &one, &[]).refused(&["none.parquet", "no such file"]);
    let pattern = one.replace("none", "*");
    features(place.path(), "no", &pattern, &[]).refused(&["cannot list files"]);
}

#[test]
fn a_bucket_is_a_source() {
    let place = tempfile::tempdir().unwrap();
    let (folder, source) = (place.path(), place.path().join("source"));
    for name in ["page_impression", "event", "item"] {
        let to = source.join(format!("{name}.parquet"));
        fs::create_dir_all(&source).unwrap();
        fs::copy(logs().join(format!("{name}.parquet")), to).unwrap();
    }
    let slots = table("slot_impression");
    let half = slots.num_rows() / 2;
    for (part, batch) in [
        ("dt=2026-01-01/0.csv", slots.slice(0, half)),
        (
            "dt=2026-01-02/0.csv",
            slots.slice(half, slots.num_rows() - half),
        ),
    ] {
        write(source.join(format!("slot_impression/{part}")), csv(&batch));
    }
    write(source.join("slot_impression/_SUCCESS"), "");
    let Some(mut bucket) = Bucket::with(&source) else {
        return;
    };
    let environment = bucket.environment("key");
    let expected = stored();
    assert_eq!(
        hash_of(folder, "a", "--logs s3://shop/logs", &environment),
        expected
    );
    let pattern = "--logs s3://shop/logs \
                   --set logs.slot_impression=s3://shop/logs/slot_impression/dt=2026-01-*/*.csv";
    assert_eq!(hash_of(folder, "b", pattern, &environment), expected);

    let refused = |options: &str, environment: &[(&str, String)], words: &[&str]| {
        let ran = features(folder, "no", options, environment).refused(words);
        assert!(!ran.stderr.contains("secret-word"), "{}", ran.stderr);
        assert!(!folder.join("no").exists());
    };
    refused(
        "--logs s3://shop/none",
        &environment,
        &["s3://shop/none", "page_impression"],
    );
    refused("--logs s3://other/logs", &environment, &["s3://other"]);
    let pattern = "--logs s3://shop/logs --set logs.event=s3://shop/logs/ev*/*.csv";
    refused(pattern, &environment, &["no file matches"]);
    bucket.lock();
    refused(
        "--logs s3://shop/logs",
        &bucket.environment("a-key-of-nobody"),
        &[
            "cannot look for `s3://shop/logs/page_impression.parquet`",
            "AWS_ACCESS_KEY_ID",
        ],
    );
}

#[test]
fn a_bucket_that_is_not_there_is_told_soon() {
    let place = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let environment = [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret-word".to_owned()),
    ];
    features(place.path(), "no", "--logs s3://shop/logs", &environment)
        .refused(&["s3://shop", "AWS_ENDPOINT_URL"]);
    // A plan needs the log too.
    let line = format!("label --logs {} --dry-run --json", logs().display());
    assert!(slate(place.path(), &line).done().json()["stages"].is_array());
}
