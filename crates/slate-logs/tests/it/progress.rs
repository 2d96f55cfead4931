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

fn heard(passes: u32) -> Vec<Stage> {
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
        halo: true,
        pairs: Some(PairOptions {
            days: 30,
            ..PairOptions::default()
        }),
        sequence: Some(SequenceOptions::default()),
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
        let stages = heard(passes);
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
                "count history",
                "write sequences",
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
