//! What a job would do, without doing it.

use serde::Serialize;

use crate::check;
use crate::engine::Engine;
use crate::faults::LATEST;
use crate::layout::Layout;
use crate::passes::{BASE, Memory};
use crate::validate::work_folder;
use crate::{Attribution, ClusterOptions, EngineOptions, LogError, LogSource, plan};

/// A placement in a sort: what is its own, once as read and once as sorted.
const SORTED_ROW: u64 = 320;
/// An extra column of a placement in a sort, twice too.
const SORTED_EXTRA: u64 = 24;

/// What [`dry_run`] finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// Rows of each table of the log, bad rows and duplicates included.
    pub tables: Vec<(&'static str, u64)>,
    /// What would be done, in order.
    pub stages: Vec<PlannedStage>,
    /// How memory is divided.
    pub memory: Memory,
    /// Most bytes the job is thought to hold at once, by the sizes of the tables.
    pub estimated: u64,
    /// The columns of history that would be counted.
    pub history_columns: Vec<String>,
    /// Jobs for the cluster that puts placements in order, if there is one.
    pub shards: Option<u32>,
    /// The engine's plan for putting placements in order, where it has to: a sound log that fits in memory
    /// is put in order without it.
    pub plan: String,
}

/// A stage of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStage {
    /// What is done.
    pub name: &'static str,
    /// How often it goes through its rows.
    pub passes: u32,
    /// Rows of one pass.
    pub rows: u64,
    /// Bytes held beside what every stage holds, by the sizes of the tables.
    pub memory: u64,
    /// Whether it goes to disk where memory ends.
    pub spills: bool,
}

/// Plans a job on a log, that of [`crate::examples`] or, where not `whole`, of [`crate::labels`]; reads
/// no more than what the tables say of themselves.
///
/// # Errors
/// As [`crate::examples`], as far as it can be known.
pub fn dry_run(
    source: &LogSource,
    attribution: &Attribution,
    options: &EngineOptions,
    whole: bool,
) -> Result<DryRun, LogError> {
    let labels_alone;
    let attribution = if whole {
        attribution
    } else {
        labels_alone = attribution.without_history();
        &labels_alone
    };
    let memory = Memory::plan(source, attribution, options)?;
    let cluster = options.cluster.as_ref();
    cluster.map_or(Ok(()), ClusterOptions::check)?;
    let engine = Engine::start(options.threads, memory.pool, work_folder())?;
    let slot = check::define_unchecked(&engine, source)?;
    let slot: Vec<_> = if whole {
        slot.iter().collect()
    } else {
        Vec::new()
    };
    let as_of = attribution.label_as_of.unwrap_or(LATEST);
    let rows = plan::rows(as_of, &Layout::all_shown(whole), &slot);
    let stages = stages(source, attribution, &memory, slot.len() as u64);
    let most = stages.iter().map(|stage| stage.memory).max().unwrap_or(0);
    Ok(DryRun {
        tables: source.rows(),
        estimated: BASE + most,
        stages,
        memory,
        history_columns: attribution.history_columns(),
        shards: cluster.map(|cluster| cluster.shards_of(source.slot.rows)),
        plan: engine.explain(&format!("{rows}{}", plan::ORDER))?,
    })
}

/// The stages of [`crate::examples`], in order.
fn stages(
    source: &LogSource,
    attribution: &Attribution,
    memory: &Memory,
    extras: u64,
) -> Vec<PlannedStage> {
    let tables = source.rows();
    let all = tables.iter().map(|(_, rows)| rows).sum();
    let of = |name: &str| {
        let found = tables.iter().find(|(table, _)| *table == name);
        found.map_or(0, |(_, rows)| *rows)
    };
    let (slots, events) = (of("slot_impression"), of("event"));
    // Small sides of joins and sorts share the pool.
    let sort = |bytes: u64| {
        let held = memory.joins + bytes;
        memory.pool.map_or(held, |pool| held.min(pool))
    };
    let stage = |name, passes, rows, memory, spills| PlannedStage {
        name,
        passes,
        rows,
        memory,
        spills,
    };
    let mut stages = vec![
        stage("check the log", 1, all, sort(0), true),
        stage(
            "read events",
            1,
            events,
            sort(events * SORTED_ROW / 2),
            true,
        ),
        stage(
            "order placements",
            1,
            slots,
            memory.attribution + sort(slots * (SORTED_ROW + extras * SORTED_EXTRA)),
            true,
        ),
        stage(
            "attribute events",
            memory.passes,
            slots,
            memory.attribution,
            false,
        ),
    ];
    if !attribution.subjects().is_empty() {
        stages.push(stage(
            "count history",
            memory.passes,
            slots,
            memory.history,
            false,
        ));
    }
    if attribution.sequence.is_some() {
        stages.push(stage(
            "write sequences",
            memory.passes,
            slots,
            memory.sequences,
            false,
        ));
    }
    stages.push(stage("write examples", 1, slots, 0, false));
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
            let plan = dry_run(&source, &attribution, &engine, true).unwrap().plan;
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
        let error = dry_run(&source, &attribution, &engine(1 << 20), true).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("1 MiB of memory is too little for this log, expected at least 1"),
            "{message}"
        );
        assert!(dry_run(&source, &attribution, &engine(256 << 20), true).is_ok());
    }
}
