//! The runner on stages that only write a file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use slate_types::Silent;

use super::*;

/// Writes its inputs and the names of its needs; counts how often it ran.
#[derive(Clone)]
struct Fake {
    name: String,
    needs: Vec<Need>,
    inputs: Value,
    /// What is written, where it is not the inputs.
    writes: Option<String>,
    takes: Takes,
    ran: Arc<Mutex<Vec<String>>>,
    /// Faults before it succeeds, and whether they pass.
    faults: Arc<AtomicU32>,
    passes: bool,
    adds: Vec<Fake>,
}

impl Stage for Fake {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn needs(&self) -> Vec<Need> {
        self.needs.clone()
    }

    fn inputs(&self) -> Result<Value> {
        Ok(self.inputs.clone())
    }

    fn takes(&self) -> Takes {
        self.takes
    }

    fn run(&self, given: &Given<'_>) -> Result<()> {
        self.ran.lock().unwrap().push(self.name.clone());
        if self.faults.load(Ordering::Relaxed) > 0 {
            self.faults.fetch_sub(1, Ordering::Relaxed);
            std::fs::write(given.out.join("half"), "")?;
            if self.passes {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            }
            anyhow::bail!("bad data");
        }
        let own = self.writes.clone();
        let mut text = own.unwrap_or_else(|| self.inputs.to_string());
        for need in &self.needs {
            if let Need::Stage(name) = need {
                let before = std::fs::read_to_string(given.output(name).join("file"))?;
                text.push_str(&format!(" {name}({before})"));
            }
        }
        std::fs::write(given.out.join("file"), text)?;
        Ok(())
    }

    fn adds(&self, _output: &Path) -> Result<Vec<Arc<dyn Stage>>> {
        let adds = self.adds.iter().cloned();
        Ok(adds.map(|fake| Arc::new(fake) as Arc<dyn Stage>).collect())
    }
}

/// A folder, and what ran in it.
struct House {
    dir: tempfile::TempDir,
    ran: Arc<Mutex<Vec<String>>>,
}

static GO_ON: AtomicBool = AtomicBool::new(false);

/// What differs from test to test.
struct Settings<'a> {
    jobs: usize,
    anew: Option<&'a str>,
    observe: &'a (dyn Fn(&Event<'_>) + Sync),
    may_write: &'a (dyn Fn() -> Result<()> + Sync),
}

impl Default for Settings<'_> {
    /// One at a time.
    fn default() -> Self {
        Self {
            jobs: 1,
            anew: None,
            observe: &|_| {},
            may_write: &|| Ok(()),
        }
    }
}

impl House {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            ran: Arc::default(),
        }
    }

    fn stage(&self, name: &str, needs: &[&str]) -> Fake {
        Fake {
            name: name.to_owned(),
            needs: needs.iter().map(|name| Need::stage(name)).collect(),
            inputs: json!(name.len()),
            writes: None,
            takes: Takes::default(),
            ran: Arc::clone(&self.ran),
            faults: Arc::default(),
            passes: false,
            adds: Vec::new(),
        }
    }

    /// How it ended; what ran, in order.
    fn run_with(
        &self,
        stages: Vec<Fake>,
        settings: &Settings<'_>,
        until: Option<&str>,
    ) -> (Result<Vec<Done>>, Vec<String>) {
        self.ran.lock().unwrap().clear();
        let store = Store::open(self.dir.path(), "test").unwrap();
        let runner = Runner {
            store: &store,
            limits: Limits {
                jobs: settings.jobs,
                memory: 100,
            },
            patience: Patience {
                retries: 2,
                wait: Duration::from_millis(1),
                stop: &GO_ON,
            },
            anew: settings.anew,
            settled: &[],
            observe: settings.observe,
            progress: &Silent,
            may_write: settings.may_write,
        };
        let stages = stages.into_iter();
        let stages = stages.map(|fake| Arc::new(fake) as Arc<dyn Stage>);
        let done = runner.run(stages.collect(), until);
        let ran = self.ran.lock().unwrap().clone();
        (done, ran)
    }

    fn run(&self, stages: Vec<Fake>) -> Vec<String> {
        let (done, ran) = self.run_with(stages, &Settings::default(), None);
        done.unwrap();
        ran
    }
}

/// A chain, and a stage beside it.
fn chain(house: &House) -> Vec<Fake> {
    vec![
        house.stage("aside", &[]),
        house.stage("one", &[]),
        house.stage("two", &["one"]),
        house.stage("three", &["two", "aside"]),
    ]
}

#[test]
fn what_is_done_is_not_done_again() {
    let house = House::new();
    // The one that most wait for comes first, not the one submitted first.
    assert_eq!(house.run(chain(&house)), ["one", "aside", "two", "three"]);
    assert_eq!(house.run(chain(&house)), [""; 0]);
    // A changed input makes it and what follows anew; what is beside stays.
    let mut changed = chain(&house);
    changed[1].inputs = json!("other");
    assert_eq!(house.run(changed), ["one", "two", "three"]);
    // The first state is still there.
    assert_eq!(house.run(chain(&house)), [""; 0]);
}

#[test]
fn an_output_that_stays_the_same_stops_the_wave() {
    let house = House::new();
    house.run(chain(&house));
    // Another key, but the same bytes: what follows has nothing to do.
    let mut changed = chain(&house);
    changed[1].writes = Some(changed[1].inputs.to_string());
    changed[1].inputs = json!("other");
    assert_eq!(house.run(changed), ["one"]);
}

#[test]
fn a_damaged_output_is_made_again() {
    let house = House::new();
    let (done, _) = house.run_with(chain(&house), &Settings::default(), None);
    let done = done.unwrap();
    let whole: Vec<String> = done.iter().map(|done| done.output.hash.clone()).collect();
    std::fs::write(done[2].output.path.join("file"), "?").unwrap();
    let (again, ran) = house.run_with(chain(&house), &Settings::default(), None);
    assert_eq!(ran, ["two"]);
    let again: Vec<String> = again
        .unwrap()
        .iter()
        .map(|d| d.output.hash.clone())
        .collect();
    assert_eq!(again, whole);
}

#[test]
fn from_and_until_do_part_of_the_work() {
    let house = House::new();
    let (done, ran) = house.run_with(chain(&house), &Settings::default(), Some("two"));
    assert_eq!(ran, ["one", "two"]);
    assert_eq!(done.unwrap().len(), 2);
    house.run(chain(&house));
    let (_, ran) = house.run_with(
        chain(&house),
        &Settings {
            anew: Some("two"),
            ..Settings::default()
        },
        None,
    );
    assert_eq!(ran, ["two", "three"]);
    let (refused, _) = house.run_with(chain(&house), &Settings::default(), Some("four"));
    let refused = refused.unwrap_err().to_string();
    assert_eq!(refused, "there is no stage `four`");
}

#[test]
fn stages_that_are_added_are_waited_for() {
    let house = House::new();
    let mut parent = house.stage("parent", &[]);
    parent.adds = vec![
        house.stage("child 1", &["parent"]),
        house.stage("child 2", &["parent"]),
    ];
    let mut last = house.stage("last", &[]);
    last.needs = vec![Need::AddedBy("parent".to_owned())];
    let stages = vec![last, parent];
    let all = ["parent", "child 1", "child 2", "last"];
    assert_eq!(house.run(stages.clone()), all);
    // They are known again when nothing runs.
    let (done, ran) = house.run_with(stages, &Settings::default(), None);
    assert_eq!((done.unwrap().len(), ran.len()), (4, 0));
}

#[test]
fn faults_that_may_pass_are_tried_again_and_others_are_not() {
    let house = House::new();
    let mut stage = house.stage("one", &[]);
    stage.passes = true;
    stage.faults = Arc::new(AtomicU32::new(2));
    assert_eq!(house.run(vec![stage.clone()]), ["one"; 3]);
    stage.name = "two".to_owned();
    stage.faults = Arc::new(AtomicU32::new(3));
    let (failed, ran) = house.run_with(vec![stage], &Settings::default(), None);
    assert_eq!((failed.is_err(), ran.len()), (true, 3));
    let mut bad = house.stage("three", &[]);
    bad.faults = Arc::new(AtomicU32::new(1));
    let (failed, ran) = house.run_with(vec![bad], &Settings::default(), None);
    assert_eq!(ran, ["three"]);
    let told = format!("{:#}", failed.unwrap_err());
    assert_eq!(told, "stage `three` failed: bad data");
    // Nothing half-written is left.
    for entry in std::fs::read_dir(house.dir.path()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains("partial"), "{name:?}");
    }
}

#[test]
fn stages_run_together_as_far_as_there_is_room() {
    let house = House::new();
    let most = Arc::new(Mutex::new((0_i32, 0_i32)));
    let together = |memory: u64, device: bool| {
        let stages: Vec<Fake> = (0..4)
            .map(|at| {
                let mut stage = house.stage(&format!("{memory} {device} {at}"), &[]);
                stage.takes = Takes { memory, device };
                stage
            })
            .collect();
        *most.lock().unwrap() = (0, 0);
        let observe = |event: &Event<'_>| {
            let mut counts = most.lock().unwrap();
            match event {
                Event::Begun { .. } => {
                    counts.0 += 1;
                    counts.1 = counts.1.max(counts.0);
                    drop(counts);
                    std::thread::sleep(Duration::from_millis(60));
                }
                Event::Finished { .. } => counts.0 -= 1,
                _ => {}
            }
        };
        let (done, _) = house.run_with(
            stages,
            &Settings {
                jobs: 3,
                observe: &observe,
                ..Settings::default()
            },
            None,
        );
        done.unwrap();
        most.lock().unwrap().1
    };
    assert_eq!(together(10, false), 3, "as many as there may be");
    assert_eq!(together(50, false), 2, "as memory allows");
    assert_eq!(together(200, false), 1, "more than there is runs alone");
    assert_eq!(together(10, true), 1, "there is one device");
}

#[test]
fn a_process_that_may_write_no_more_leaves_nothing() {
    let house = House::new();
    let refuse = || anyhow::bail!("the lease is lost");
    let (failed, _) = house.run_with(
        chain(&house),
        &Settings {
            may_write: &refuse,
            ..Settings::default()
        },
        None,
    );
    assert!(format!("{:#}", failed.unwrap_err()).contains("the lease is lost"));
    assert_eq!(std::fs::read_dir(house.dir.path()).unwrap().count(), 0);
}

#[test]
fn stages_that_wait_for_each_other_are_refused() {
    let house = House::new();
    let stages = vec![house.stage("a", &["b"]), house.stage("b", &["a"])];
    let (refused, _) = house.run_with(stages, &Settings::default(), None);
    assert!(refused.unwrap_err().to_string().contains("in a circle"));
    let (refused, _) = house.run_with(vec![house.stage("a", &["b"])], &Settings::default(), None);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("which there is not")
    );
}
