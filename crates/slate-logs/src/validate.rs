//! Every problem of a log with its place, not only the first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde::Serialize;
use slate_types::log::{EVENT, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION, Table};

use crate::LogError;
use crate::check::check_table;
use crate::engine::Engine;
use crate::source::{LogSource, TableSource, inspect};
use crate::tables::{self, Extra};

/// What [`validate`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidationReport {
    /// Tables that could be opened and their rows.
    pub tables: Vec<(String, u64)>,
    /// All problems, those of the schema first. A log without problems is sound.
    pub problems: Vec<Problem>,
}

/// One thing wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or the folder where the problem is with all its parts.
    pub file: PathBuf,
    /// The column, where there is one.
    pub column: Option<String>,
    /// The first row with the problem, counted from 0 in the file, where it is known.
    pub row: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl ValidationReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Looks at a whole log: the schema of each table, the values of each row, repeated ids, unknown
/// pages, lists on more than one page. Values are looked at only when the schema is right.
///
/// # Errors
/// Only what keeps it from looking, such as a failing disk. What is wrong with the log is in the
/// report.
pub fn validate(dir: &Path) -> Result<ValidationReport, LogError> {
    let (source, errors) = inspect(dir);
    let mut report = ValidationReport {
        tables: Vec::new(),
        problems: Vec::new(),
    };
    for error in &errors {
        report.problems.push(problem(error, dir));
    }
    let Some(source) = source else {
        return Ok(report);
    };
    report.tables = source
        .rows()
        .into_iter()
        .map(|(name, rows)| (name.to_owned(), rows))
        .collect();
    if errors.is_empty() {
        match look_at_rows(&source, &mut report.problems) {
            Ok(()) => {}
            Err(error @ LogError::Engine { .. }) => {
                let damaged = source.damaged_file().ok_or(error)?;
                report.problems.push(problem(&damaged, dir));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

fn problem(error: &LogError, dir: &Path) -> Problem {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Problem {
        file: error.path().unwrap_or(dir).to_owned(),
        column: error.column().map(str::to_owned),
        row: None,
        message,
    }
}

fn look_at_rows(source: &LogSource, problems: &mut Vec<Problem>) -> Result<(), LogError> {
    // One thread reads a file from its first row to its last, so that rows can be numbered.
    let engine = Engine::start(1, None, work_folder())?;
    let tables: [(&'static Table, &str, Option<&TableSource>); 4] = [
        (&PAGE_IMPRESSION, "page", Some(&source.page)),
        (&SLOT_IMPRESSION, "slot", Some(&source.slot)),
        (&EVENT, "event", source.event.as_ref()),
        (&ITEM, "item", source.item.as_ref()),
    ];
    for (table, short, source) in tables {
        let extras = source
            .map(|source| tables::extras(source).0)
            .unwrap_or_default();
        let checked = match check_table(&engine, table, short, source, &extras, &|_| {}) {
            Ok(checked) => checked,
            Err(error @ LogError::Unit { .. }) => {
                problems.push(problem(&error, Path::new("")));
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(source) = source else { continue };
        let by_file = bad_values(&engine, short, source, &extras)?;
        for reject in &checked.rejects {
            let placed: Vec<_> = by_file
                .iter()
                .filter(|bad| bad.column == reject.column && bad.reason == reject.reason)
                .collect();
            for bad in &placed {
                problems.push(Problem {
                    file: bad.file.clone(),
                    column: Some(bad.column.clone()),
                    row: Some(bad.first),
                    message: format!(
                        "`{}` {}, on {} rows, the first being row {}",
                        bad.column, bad.reason, bad.rows, bad.first
                    ),
                });
            }
            if placed.is_empty() {
                problems.push(Problem {
                    file: source.path.clone(),
                    column: Some(reject.column.clone()),
                    row: None,
                    message: format!(
                        "`{}` {}, on {} rows",
                        reject.column, reject.reason, reject.rows
                    ),
                });
            }
        }
        if table.name == SLOT_IMPRESSION.name {
            lists_on_many_pages(&engine, source, problems)?;
        }
    }
    Ok(())
}

/// Bad values of one column of one file.
struct BadValues {
    file: PathBuf,
    column: String,
    reason: String,
    rows: u64,
    /// Index of the first such row in the file.
    first: u64,
}

fn bad_values(
    engine: &Engine,
    short: &str,
    source: &TableSource,
    extras: &[Extra],
) -> Result<Vec<BadValues>, LogError> {
    let checks = tables::checks(source.table, extras);
    let list = tables::canonical(source.table, Some(source), extras);
    let code = tables::code(&checks);
    let mut found = Vec::new();
    for (i, file) in source.files.iter().enumerate() {
        let name = format!("{short}_file_{i}");
        engine.register(&name, std::slice::from_ref(file), &source.schema)?;
        let sql = format!(
            "SELECT bad, count(*), min(place) FROM \
             (SELECT CAST({code} AS BIGINT) AS bad, place FROM \
              (SELECT {list}, CAST(row_number() OVER () AS BIGINT) - 1 AS place FROM {name})) \
             WHERE bad > 0 GROUP BY bad ORDER BY bad"
        );
        for batch in engine.collect("look at the rows of the log", &sql)? {
            let column = |i: usize| batch.column(i).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let check = &checks[column(0).value(row) as usize - 1];
                found.push(BadValues {
                    file: file.clone(),
                    column: check.column.clone(),
                    reason: check.reason.clone(),
                    rows: column(1).value(row) as u64,
                    first: column(2).value(row) as u64,
                });
            }
        }
    }
    Ok(found)
}

fn lists_on_many_pages(
    engine: &Engine,
    source: &TableSource,
    problems: &mut Vec<Problem>,
) -> Result<(), LogError> {
    const STAGE: &str = "look at the lists of the log";
    let scattered = "SELECT list_id, min(page_id), max(page_id) FROM slot_kept GROUP BY list_id \
         HAVING min(page_id) <> max(page_id) ORDER BY list_id LIMIT 1";
    for batch in engine.collect(STAGE, scattered)? {
        if batch.num_rows() > 0 {
            let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
            let error = LogError::ListOnManyPages {
                list_id: number(0),
                first: number(1),
                second: number(2),
            };
            problems.push(Problem {
                file: source.path.clone(),
                column: Some("list_id".to_owned()),
                row: None,
                message: error.to_string(),
            });
        }
    }
    Ok(())
}

/// A folder of our own among the temporary files: a log that is looked at is not written to.
pub(crate) fn work_folder() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("slate-validate-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // A process that had our number and was killed may have left one.
        if !folder.exists() {
            return folder;
        }
    }
}
