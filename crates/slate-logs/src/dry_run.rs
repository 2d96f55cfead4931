//! What a job would do, without doing it.

use serde::Serialize;

use crate::check;
use crate::engine::Engine;
use crate::passes::Memory;
use crate::tables::LATEST;
use crate::validate::work_folder;
use crate::{Attribution, EngineOptions, LogError, LogSource, plan};

/// What [`dry_run`] finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// Rows of each table of the log, bad rows and duplicates included.
    pub tables: Vec<(&'static str, u64)>,
    /// How memory is divided.
    pub memory: Memory,
    /// What would be done, in this order.
    pub stages: Vec<Stage>,
    /// The columns of history that would be counted.
    pub history_columns: Vec<String>,
    /// The engine's plan for putting placements in order: the only query that reads them whole.
    pub plan: String,
}

/// One stage of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// As progress calls it.
    pub name: &'static str,
    /// What it goes through.
    pub reads: &'static str,
    /// Rows of one reading.
    pub rows: u64,
    /// How often it reads them.
    pub times: u32,
}

/// What is asked for: [`crate::examples`] or [`crate::labels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Labels, history and everything known of a placement.
    Examples,
    /// Ids and labels alone.
    Labels,
}

/// Plans a job on a log; reads no more than what the tables say of themselves.
///
/// # Errors
/// As [`crate::examples`], as far as it can be known.
pub fn dry_run(
    source: &LogSource,
    attribution: &Attribution,
    engine: &EngineOptions,
    job: Job,
) -> Result<DryRun, LogError> {
    let only_labels = attribution.without_history();
    let attribution = match job {
        Job::Examples => attribution,
        Job::Labels => &only_labels,
    };
    let memory = Memory::plan(source, attribution, engine)?;
    let engine = Engine::start(engine.threads, memory.pool, work_folder())?;
    let slot = check::define_unchecked(&engine, source)?;
    let slot: Vec<_> = match job {
        Job::Examples => slot.iter().collect(),
        Job::Labels => Vec::new(),
    };
    let as_of = attribution.label_as_of.unwrap_or(LATEST);
    let rows = plan::rows(as_of, job == Job::Examples, &slot);
    Ok(DryRun {
        tables: source.rows(),
        stages: stages(source, attribution, memory.passes),
        memory,
        history_columns: attribution.history_columns(),
        plan: engine.explain(&format!("{rows}{}", plan::ORDER))?,
    })
}

/// The stages of a job in so many passes.
fn stages(source: &LogSource, attribution: &Attribution, passes: u32) -> Vec<Stage> {
    let (all, events): (u64, u64) = {
        let tables = source.rows();
        let of = |name: &str| {
            let found = tables.iter().find(|(table, _)| *table == name);
            found.map_or(0, |(_, rows)| *rows)
        };
        (tables.iter().map(|(_, rows)| rows).sum(), of("event"))
    };
    let placements = source.slot.rows;
    let mut stages = Vec::new();
    let mut add = |name, reads, rows, times| {
        if times > 0 {
            stages.push(Stage {
                name,
                reads,
                rows,
                times,
            });
        }
    };
    add("check the log", "every table", all, 1);
    add("read events", "events", events, 1);
    add("order placements", "placements", placements, 1);
    let again = passes - 1 + u32::from(attribution.halo);
    add("attribute events", "placements", placements, again);
    let counted_before = passes > 1 && !attribution.subjects().is_empty();
    let counting = if counted_before { passes } else { 0 };
    add("count history", "placements", placements, counting);
    let sequences = attribution.sequence.as_ref().map_or(0, |_| passes + 1);
    add("write sequences", "placements", placements, sequences);
    add("write examples", "placements", placements, 1);
    stages
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::AttributionOptions;

    fn write(path: &std::path::Path, columns: &[&str], rows: i64) {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=rows));
        let columns = columns.iter().map(|name| (*name, values.clone()));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// The lines below a line of a plan: its first input, then the others.
    fn inputs<'a>(lines: &[&'a str], at: usize) -> Vec<Vec<&'a str>> {
        let depth = |line: &str| line.len() - line.trim_start().len();
        let below = lines[at + 1..]
            .iter()
            .take_while(|line| depth(line) > depth(lines[at]));
        let mut inputs: Vec<Vec<&str>> = Vec::new();
        for line in below {
            if depth(line) == depth(lines[at]) + 2 {
                inputs.push(Vec::new());
            }
            inputs.last_mut().unwrap().push(line);
        }
        inputs
    }

    #[test]
    fn placements_are_never_the_hashed_side_of_a_join() {
        let dir = tempfile::tempdir().unwrap();
        // The fewer rows the placements have, the more an optimiser would like to hash them.
        for (table, columns, rows) in [
            ("page_impression", &["page_id", "ts", "user_id"][..], 500),
            (
                "slot_impression",
                &["impression_id", "page_id", "list_id", "slot", "item_id"],
                3,
            ),
            ("item", &["item_id", "seller_id"], 900),
        ] {
            write(&dir.path().join(format!("{table}.parquet")), columns, rows);
        }
        let source = LogSource::open(dir.path()).unwrap();
        let attribution = AttributionOptions::default().check().unwrap();
        for threads in [1, 2, 8] {
            let engine = EngineOptions {
                threads,
                ..EngineOptions::default()
            };
            let plan = dry_run(&source, &attribution, &engine, Job::Examples)
                .unwrap()
                .plan;
            let lines: Vec<&str> = plan.lines().collect();
            let joins: Vec<usize> = (0..lines.len())
                .filter(|&at| lines[at].trim_start().starts_with("HashJoinExec"))
                .collect();
            assert_eq!(joins.len(), 1, "pages are joined:\n{plan}");
            for at in joins {
                let inputs = inputs(&lines, at);
                let reads =
                    |input: &[&str]| input.iter().any(|line| line.contains("slot_impression"));
                assert_eq!(
                    inputs.iter().map(|input| reads(input)).collect::<Vec<_>>(),
                    [false, true],
                    "{plan}"
                );
            }
        }
    }

    #[test]
    fn memory_that_cannot_do_is_refused_with_what_would() {
        let dir = tempfile::tempdir().unwrap();
        write(
            &dir.path().join("page_impression.parquet"),
            &["page_id", "ts"],
            5,
        );
        let slot = ["impression_id", "page_id", "list_id", "slot", "item_id"];
        write(&dir.path().join("slot_impression.parquet"), &slot, 5);
        let source = LogSource::open(dir.path()).unwrap();
        let attribution = AttributionOptions::default().check().unwrap();
        let engine = |memory| EngineOptions {
            memory: Some(memory),
            ..EngineOptions::default()
        };
        let error = dry_run(&source, &attribution, &engine(1 << 20), Job::Labels).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("1 MiB of memory is too little for this log, expected at least 1"),
            "{message}"
        );
        assert!(dry_run(&source, &attribution, &engine(256 << 20), Job::Labels).is_ok());
    }
}
