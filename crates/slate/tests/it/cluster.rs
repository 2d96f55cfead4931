//! The same job on a cluster, while its nodes and its client are killed. What comes out is what comes
//! out without a cluster, to the byte, or an error that says so. Kills come at moments drawn from a seed
//! and measured in time: hence the sleeps, which decide nothing but when a node dies.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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
    fn start(how: &[&str]) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Made before there are nodes that could miss their heartbeats meanwhile.
        log();
        let folder = tempfile::tempdir().unwrap();
        let port = free_ports();
        let mut cluster = Self {
            folder,
            address: String::new(),
            _one: one,
        };
        cluster.address =
            cluster.script(&[&["start", "{}", "--port", &port.to_string()], how].concat());
        cluster
    }

    /// Runs the repository's script, which must succeed; `{}` stands for the folder of this cluster.
    fn script(&self, words: &[&str]) -> String {
        let output = self.try_script(words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn try_script(&self, words: &[&str]) -> Output {
        let folder = self.folder.path().to_str().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/loopback-cluster");
        Command::new(script)
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
            .unwrap()
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
        // A test that has failed already has more to say than this.
        let _ = self.try_script(&["stop", "{}"]);
    }
}

fn is_whole_shard(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "arrow")
}

fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-9", pid]).status().unwrap();
    assert!(killed.success(), "{pid} had ended by itself");
}

/// A port before forty free ones, below those that outgoing connections are given.
fn free_ports() -> u16 {
    let mut random = ChaCha8Rng::seed_from_u64(std::process::id().into());
    for _ in 0..100 {
        let port = random.random_range(20_000..32_000);
        if (0..40).all(|more| TcpListener::bind(("127.0.0.1", port + more)).is_ok()) {
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
            assert!(begun.elapsed() < Duration::from_mins(2), "no shard comes");
            sleep(Duration::from_millis(5));
        }
    }

    fn whole_shards(&self) -> usize {
        let found = fs::read_dir(&self.shards).into_iter().flatten();
        found
            .filter(|entry| is_whole_shard(&entry.as_ref().unwrap().path()))
            .count()
    }

    fn finish(self) -> Ran {
        Ran::new(self.child.wait_with_output().unwrap())
    }
}

#[test]
fn two_executors_give_what_one_process_gives() {
    let cluster = Cluster::start(&[]);
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
    outlives_executors(&Cluster::start(&[]), 10);
}

#[test]
fn so_it_does_where_the_scheduler_hands_tasks_out() {
    outlives_executors(&Cluster::start(&["--push"]), 3);
}

fn outlives_executors(cluster: &Cluster, kills: u32) {
    let (logs, hash) = log();
    let folder = tempfile::tempdir().unwrap();
    let line = cluster.line(logs, "--shards 24 --force");
    let mut calm = Running::start(folder.path(), &line);
    calm.wait_for_shards(0);
    let begun = Instant::now();
    calm.wait_for_shards(23);
    let took = begun.elapsed();
    assert_eq!(calm.finish().done().json()["hash"], *hash);

    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let mut discarded = 0;
    for executor in 1..=kills {
        let moment = took.mul_f64(random.random_range(0.0..0.9));
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
    let cluster = Cluster::start(&[]);
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
        .find(|path| is_whole_shard(path))
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
fn two_jobs_do_not_share_a_folder_of_shards() {
    let cluster = Cluster::start(&[]);
    let (logs, hash) = log();
    let folder = tempfile::tempdir().unwrap();
    let line = cluster.line(logs, "--shards 24 --force");
    let mut job = Running::start(folder.path(), &line);
    job.wait_for_shards(1);
    let shards = fs::File::open(folder.path().join(".labels.shards/lock")).unwrap();
    assert!(shards.try_lock().is_err(), "the job keeps others out");
    assert_eq!(job.finish().done().json()["hash"], *hash);
    // Somebody else's lock, the other way round.
    fs::create_dir(folder.path().join(".labels.shards")).unwrap();
    let other = fs::File::create(folder.path().join(".labels.shards/lock")).unwrap();
    other.lock().unwrap();
    slate(folder.path(), &line).refused(&[
        "another job keeps its shards in `",
        "hint: wait until it has ended, or choose another --out",
    ]);
}

#[test]
fn a_killed_scheduler_is_an_error_and_a_rerun_goes_on() {
    let cluster = Cluster::start(&[]);
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
    cluster.script(&["start", "{}", "--port", cluster.port()]);
    let json = slate(folder.path(), &line).done().json();
    assert_eq!(json["hash"], *hash);
    assert!(json["cluster"]["kept"].as_u64().unwrap() >= 3, "{json}");
}

#[test]
fn what_is_no_cluster_is_refused() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    assert!(begun.elapsed() < Duration::from_mins(1), "it gave up late");
    slate(folder.path(), &line("")).refused(&["cannot use the cluster `ballista://`: "]);
    // Something that listens and is no scheduler: it answers every question with "not found".
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    slate(folder.path(), &line(&address)).refused(&["what answers there is no Ballista scheduler"]);
    assert_eq!(listing(folder.path()), Vec::<String>::new());
}
