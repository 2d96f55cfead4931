//! The same job on a cluster, while its nodes and its client are killed. What comes out is what comes
//! out without a cluster, to the byte, or an error that says so.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tempfile::TempDir;

use super::program::{Ran, SMALL, config, features_line, listing, rewrite, slate, spoiled};

/// One cluster at a time: there are not cores for more.
static ONE: Mutex<()> = Mutex::new(());

/// A scheduler and two executors on ports of their own, killed in the end.
struct Cluster {
    folder: TempDir,
    address: String,
    _one: MutexGuard<'static, ()>,
}

impl Cluster {
    fn start() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let port = free_ports();
        let mut cluster = Self {
            folder,
            address: String::new(),
            _one: one,
        };
        cluster.address = cluster.script(&["start", "{}", &port.to_string()]);
        cluster
    }

    /// Runs the repository's script; `{}` stands for the folder of this cluster.
    fn script(&self, words: &[&str]) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/loopback-cluster");
        let output = Command::new(script)
            .args(
                words
                    .iter()
                    .map(|&word| if word == "{}" { folder } else { word }),
            )
            .env(
                "SLATE_BALLISTA_NODE",
                env!("CARGO_BIN_EXE_slate-ballista-node"),
            )
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    fn kill(&self, node: &str) {
        let pid = fs::read_to_string(self.folder.path().join(format!("{node}.pid"))).unwrap();
        kill(pid.trim());
    }

    fn line(&self, logs: &Path, more: &str) -> String {
        format!(
            "label --logs {} --out labels --json --engine {} --shard-timeout 15 {more}",
            logs.display(),
            self.address
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.script(&["stop", "{}"]);
    }
}

fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-9", pid]).status().unwrap();
    assert!(killed.success(), "{pid} had ended by itself");
}

/// A port below forty free ones.
fn free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let all_free = port < 60_000
            && (1..40).all(|more| TcpListener::bind(("127.0.0.1", port + more)).is_ok());
        if all_free {
            return port;
        }
    }
    panic!("forty free ports in a row");
}

/// A log of a quarter of a million placements, and the hash of its labels.
fn log() -> (&'static Path, &'static Value) {
    static LOG: OnceLock<(TempDir, Value)> = OnceLock::new();
    let (folder, hash) = LOG.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let demo = config("demo.toml");
        let line = format!(
            "simulate -c {} {SMALL} --set simulate.pages=30000 \
             --set simulate.users=3000 --set simulate.items=2000 --out logs",
            demo.display()
        );
        slate(folder.path(), &line).done();
        let labels = slate(folder.path(), "label --logs logs --out labels --json").done();
        let hash = labels.json()["hash"].clone();
        (folder, hash)
    });
    (
        Box::leak(folder.path().join("logs").into_boxed_path()),
        hash,
    )
}

/// A job that goes on while the test does.
struct Running {
    child: Child,
    shards: PathBuf,
}

impl Running {
    fn start(folder: &Path, line: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_slate"))
            .args(line.split_whitespace())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            shards: folder.join(".labels.shards"),
        }
    }

    /// Waits until so many shards are whole.
    fn wait_for_shards(&mut self, count: usize) {
        let begun = Instant::now();
        while self.whole_shards() < count || !self.shards.exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
            assert!(begun.elapsed() < Duration::from_secs(120), "no shard comes");
            sleep(Duration::from_millis(5));
        }
    }

    fn whole_shards(&self) -> usize {
        let found = fs::read_dir(&self.shards).into_iter().flatten();
        let names = found.map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().ends_with(".arrow"))
            .count()
    }

    fn finish(self) -> Ran {
        Ran::new(self.child.wait_with_output().unwrap())
    }
}

#[test]
fn two_executors_give_what_one_process_gives() {
    let cluster = Cluster::start();
    let folder = spoiled(|logs| {
        // A row twice, so that repeated keys take their way through the cluster too.
        rewrite(&logs.join("slot_impression.parquet"), |rows| {
            let again = rows.slice(3, 2);
            arrow::compute::concat_batches(&rows.schema(), [&rows, &again]).unwrap()
        });
    });
    let line = features_line();
    slate(folder.path(), &line).done();
    let embedded = folder.path().join("embedded");
    fs::rename(folder.path().join("dataset"), &embedded).unwrap();
    let on_cluster = format!("{line} --json --engine {} --shards 5", cluster.address);
    let json = slate(folder.path(), &on_cluster).done().json();
    assert_eq!(json["cluster"]["shards"], 5);
    assert_eq!(json["cluster"]["executors"], 2);
    assert_eq!(json["rejects"][0]["rows"], 2, "{}", json["rejects"]);
    let dataset = folder.path().join("dataset");
    assert_eq!(listing(&dataset), listing(&embedded));
    let mut compared = 0;
    for name in listing(&dataset) {
        // The manifest has the command that was typed.
        if dataset.join(&name).is_file() && name != "manifest.json" {
            let [ours, theirs] = [&dataset, &embedded].map(|of| fs::read(of.join(&name)).unwrap());
            assert!(ours == theirs, "{name} differs");
            compared += 1;
        }
    }
    assert!(compared > 5, "a dataset has more files than that");
    assert!(!folder.path().join(".dataset.shards").exists());
}

#[test]
fn a_job_outlives_an_executor_killed_at_any_moment() {
    let cluster = Cluster::start();
    let (logs, hash) = log();
    let folder = tempfile::tempdir().unwrap();
    let line = cluster.line(logs, "--shards 24 --force");
    let mut calm = Running::start(folder.path(), &line);
    calm.wait_for_shards(0);
    let begun = Instant::now();
    let ran = calm.finish().done();
    let took = begun.elapsed();
    assert_eq!(ran.json()["hash"], *hash);
    assert_eq!(ran.json()["cluster"]["discarded"], Value::Array(Vec::new()));

    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let mut discarded = 0;
    for executor in 1..=10 {
        let moment = took.mul_f64(random.random_range(0.0..0.8));
        let mut job = Running::start(folder.path(), &line);
        job.wait_for_shards(0);
        sleep(moment);
        cluster.kill(&format!("executor-{executor}"));
        let json = job.finish().done().json();
        assert_eq!(json["hash"], *hash, "killed after {moment:?}: {json}");
        let thrown_away = json["cluster"]["discarded"].as_array().unwrap().clone();
        println!("killed after {moment:?}: {thrown_away:?}");
        discarded += thrown_away.len();
        cluster.script(&["add", "{}"]);
    }
    assert!(discarded > 0, "no kill met a shard under way");
}

#[test]
fn a_killed_client_leaves_whole_shards_that_the_next_takes_up() {
    let cluster = Cluster::start();
    let (logs, hash) = log();
    let folder = tempfile::tempdir().unwrap();
    let line = cluster.line(logs, "--shards 24");
    let mut job = Running::start(folder.path(), &line);
    job.wait_for_shards(3);
    kill(&job.child.id().to_string());
    job.child.wait().unwrap();
    let left = job.whole_shards();
    assert!(!folder.path().join("labels").exists());
    // A whole shard that somebody spoilt is not believed.
    let spoilt = fs::read_dir(&job.shards)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "arrow"))
        .unwrap();
    let mut bytes = fs::read(&spoilt).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&spoilt, bytes).unwrap();

    let json = slate(folder.path(), &line).done().json();
    assert_eq!(json["hash"], *hash);
    assert_eq!(json["cluster"]["kept"], left - 1);
    assert_eq!(
        listing(folder.path()),
        ["labels", "labels/join.json", "labels/labels.parquet"]
    );
}

#[test]
fn a_killed_scheduler_is_an_error_and_a_rerun_goes_on() {
    let cluster = Cluster::start();
    let (logs, hash) = log();
    let folder = tempfile::tempdir().unwrap();
    let line = cluster.line(logs, "--shards 24");
    let mut job = Running::start(folder.path(), &line);
    job.wait_for_shards(3);
    cluster.kill("scheduler");
    job.finish().refused(&[
        "cannot use the cluster `ballista://127.0.0.1:",
        "hint: look whether the scheduler and its executors run; a rerun takes up the shards",
    ]);
    assert!(!folder.path().join("labels").exists());

    cluster.script(&["stop", "{}"]);
    for node in ["executor-1", "executor-2"] {
        fs::remove_dir_all(cluster.folder.path().join(node)).unwrap();
    }
    cluster.script(&["start", "{}", cluster.port()]);
    let json = slate(folder.path(), &line).done().json();
    assert_eq!(json["hash"], *hash);
    assert!(json["cluster"]["kept"].as_u64().unwrap() >= 3, "{json}");
}

#[test]
fn what_is_no_cluster_is_refused() {
    let (logs, _) = log();
    let folder = tempfile::tempdir().unwrap();
    let port = free_ports();
    let line = |address: &str| {
        let logs = logs.display();
        format!("label --logs {logs} --out labels --engine ballista://{address}")
    };
    let address = format!("127.0.0.1:{port}");
    let begun = Instant::now();
    slate(folder.path(), &line(&address)).refused(&[
        &format!("cannot use the cluster `ballista://{address}`: "),
        "Connection refused",
        "hint: look whether the scheduler and its executors run",
    ]);
    assert!(begun.elapsed() < Duration::from_secs(60), "it gave up late");
    slate(folder.path(), &line("")).refused(&["cannot use the cluster `ballista://`: "]);
    assert_eq!(listing(folder.path()), Vec::<String>::new());
}
