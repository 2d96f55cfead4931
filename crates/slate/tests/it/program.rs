//! Runs the program and looks at what it leaves behind.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// A finished process.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// It ended well.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        self
    }

    /// It ended with exit code 2 and said all of `words`.
    pub(crate) fn refused(self, words: &[&str]) -> Self {
        assert_eq!(
            self.code,
            Some(2),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        assert!(
            self.stdout.is_empty(),
            "a refusal leaves stdout empty: {}",
            self.stdout
        );
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no `{word}` in: {}",
                self.stderr
            );
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in stdout: {}", self.stdout))
    }
}

/// Runs `slate` with the words of `line` in `folder`.
pub(crate) fn slate(folder: &Path, line: &str) -> Ran {
    slate_with(folder, line, &[])
}

/// The same in this environment.
pub(crate) fn slate_with(folder: &Path, line: &str, environment: &[(&str, String)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_slate"))
        .args(line.split_whitespace())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .output()
        .expect("the program starts");
    Ran::new(output)
}

/// Starts the program and does not wait for it.
pub(crate) fn start(folder: &Path, line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_slate"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Asks a started program to end, as Ctrl-C does, and waits for it.
pub(crate) fn interrupt(child: Child) -> Ran {
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.expect("a signal is sent").success());
    Ran::new(child.wait_with_output().expect("it ends"))
}

/// Runs one of the Python scripts in `tests/data`.
pub(crate) fn script(python: &OsStr, name: &str, arguments: &[PathBuf]) -> Ran {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let output = Command::new(python)
        .arg(data.join(name))
        .args(arguments)
        .output()
        .expect("Python starts");
    Ran::new(output)
}

/// Runs a shell line in `folder`; `slate` is on its path as `$SLATE`.
pub(crate) fn shell(folder: &Path, line: &str) -> Ran {
    let output = Command::new("sh")
        .args(["-c", line])
        .env("SLATE", env!("CARGO_BIN_EXE_slate"))
        .current_dir(folder)
        .output()
        .expect("a shell starts");
    Ran::new(output)
}

/// Everything under a folder, hidden files too, as sorted relative paths.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// The repository's configuration of this name.
pub(crate) fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../configs")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// Overrides that make the demo's configuration small enough for a test.
pub(crate) const SMALL: &str = "--set simulate.pages=500 --set simulate.users=200 \
    --set simulate.items=400 --set simulate.pictures=false --set train.epochs=2 \
    --set train.network.hidden=8 --set train.network.layers=1 --set train.network.heads=2 \
    --set train.network.feed_forward=8 --set evaluate.draws=100 --set simulate.purchase_rate=0.06";

/// A small simulated log, made once.
pub(crate) fn logs() -> &'static Path {
    static LOGS: OnceLock<TempDir> = OnceLock::new();
    let folder = LOGS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let demo = config("demo.toml");
        slate(
            folder.path(),
            &format!("simulate -c {} {SMALL} --out logs", demo.display()),
        )
        .done();
        folder
    });
    Box::leak(folder.path().join("logs").into_boxed_path())
}

/// A dataset of that log, made once.
pub(crate) fn dataset() -> &'static Path {
    static DATASET: OnceLock<TempDir> = OnceLock::new();
    let folder = DATASET.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (demo, logs) = (config("demo.toml"), logs());
        let line = format!(
            "features -c {} {SMALL} --logs {} --out dataset",
            demo.display(),
            logs.display()
        );
        slate(folder.path(), &line).done();
        folder
    });
    Box::leak(folder.path().join("dataset").into_boxed_path())
}

/// A copy of the small log that a test may spoil.
pub(crate) fn spoiled(edit: impl FnOnce(&Path)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("logs");
    fs::create_dir(&copy).unwrap();
    for name in listing(logs()) {
        fs::copy(logs().join(&name), copy.join(&name)).unwrap();
    }
    edit(&copy);
    folder
}

/// Replaces the rows of a Parquet file by what `edit` makes of them.
pub(crate) fn rewrite(file: &Path, edit: impl FnOnce(RecordBatch) -> RecordBatch) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let batch = edit(arrow::compute::concat_batches(&schema, &batches).unwrap());
    let mut writer =
        ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The `features` line for the small configuration.
pub(crate) fn features_line() -> String {
    format!(
        "features -c {} {SMALL} --logs logs --out dataset",
        config("demo.toml").display()
    )
}

/// All rows of a Parquet file.
pub(crate) fn parquet_rows(file: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Result<Vec<_>, _> = builder.build().unwrap().collect();
    arrow::compute::concat_batches(&schema, &batches.unwrap()).unwrap()
}
