//! What a job tells while it works: stages with totals that come true.

use std::sync::Mutex;

use slate_logs::{AttributionOptions, EngineOptions, PairOptions, SequenceOptions};
use slate_types::Progress;

use crate::log::{DAY, Log, MINUTE, START, run_telling};

/// A stage, how many rows it said it had, and how many it went through.
type Stage = (String, Option<u64>, u64);

/// Remembers what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<Stage>>);

impl Progress for Heard {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        assert_eq!(unit, "rows");
        self.0.lock().unwrap().push((stage.to_owned(), total, 0));
    }

    fn advance(&self, by: u64) {
        let mut stages = self.0.lock().unwrap();
        let stage = stages
            .last_mut()
            .expect("a stage begins before it advances");
        stage.2 += by;
    }

    fn note(&self, _text: &str) {}

    fn end(&self) {}
}

/// What a job with halo and sequences tells in so many passes; without them where `alone`.
fn heard(passes: u32, alone: bool) -> Vec<Stage> {
    let mut log = Log::default();
    for page in 0..40 {
        let ts = START + page * DAY / 4;
        log.page(ts, page % 5, &[1, 2, 3]);
        log.event("click", ts + MINUTE, page % 5, 1 + page % 3);
        if page % 3 == 0 {
            log.event("purchase", ts + 5 * MINUTE, page % 5, 1 + page % 3);
        }
    }
    let options = AttributionOptions {
        halo: !alone,
        pairs: Some(PairOptions {
            days: 30,
            ..PairOptions::default()
        }),
        sequence: (!alone).then(SequenceOptions::default),
        ..AttributionOptions::default()
    };
    let engine = EngineOptions {
        threads: 2,
        passes: Some(passes),
        ..EngineOptions::default()
    };
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let heard = Heard::default();
    run_telling(dir.path(), &options, &engine, &heard).unwrap();
    heard.0.into_inner().unwrap()
}

#[test]
fn stages_go_through_as_many_rows_as_they_said() {
    for passes in [1, 3] {
        let stages = heard(passes, false);
        let names: Vec<&str> = stages.iter().map(|stage| stage.0.as_str()).collect();
        assert_eq!(
            names,
            [
                "check the log",
                "read events",
                "load events",
                "order placements",
                "match events",
                "attribute events",
                "write sequences",
                "count history",
                "write examples",
            ]
        );
        for (name, total, rows) in &stages {
            match (name.as_str(), total) {
                // How often tables are read to check them depends on what is found.
                ("check the log", Some(total)) => assert!(*rows > 0 && rows <= total),
                (name, total) => {
                    assert_eq!(Some(*rows), *total, "`{name}` in {passes} passes");
                }
            }
        }
    }
}

#[test]
fn a_log_that_is_seen_once_is_written_at_once() {
    let stages = heard(1, true);
    let names: Vec<&str> = stages.iter().map(|stage| stage.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "check the log",
            "read events",
            "load events",
            "count history",
            "order placements",
            "match events",
            "attribute events",
            "write labels",
        ]
    );
    for (name, total, rows) in &stages {
        if ["order placements", "write labels"].contains(&name.as_str()) {
            assert_eq!((*total, *rows), (Some(120), 120), "`{name}`");
        }
    }
}
