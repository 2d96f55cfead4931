//! What a job is given to write to, and what it says in the end.

use std::path::Path;

use serde::Serialize;

use crate::{ClusterReport, JoinReport, RejectCount};

/// What [`crate::examples`] read, wrote and left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExamplesSummary {
    /// Rows written, one for each placement.
    pub rows: u64,
    /// Lists they form.
    pub lists: u64,
    /// Rows whose longest label window had closed by `label_as_of`.
    pub matured_rows: u64,
    /// Rows with a click.
    pub clicks: u64,
    /// Rows with a purchase that was not cancelled.
    pub purchases: u64,
    /// Placements shown after `label_as_of`, left out.
    pub after_label_as_of: u64,
    /// Rows of the log set aside as unusable, by table and reason.
    pub rejects: Vec<RejectCount>,
    /// Columns that are not passed on, as `table.column`, because they are neither numbers nor text
    /// or because a column of that name is written anyway.
    pub ignored_columns: Vec<String>,
    /// Where the events went.
    pub join: JoinReport,
    /// Earliest page, UTC microseconds.
    pub first_ts: i64,
    /// Latest page, UTC microseconds.
    pub last_ts: i64,
    /// The date of the labels, UTC microseconds: the one asked for, or the last page or event.
    pub label_as_of: i64,
    /// The same as RFC 3339.
    pub label_as_of_text: String,
    /// Hash of the rows that depends on neither order, partitioning nor engine.
    pub hash: String,
    /// What the cluster did, if there was one.
    pub cluster: Option<ClusterReport>,
}

/// Where [`crate::examples`] writes: new files.
#[derive(Debug, Clone, Copy)]
pub struct ExampleFiles<'a> {
    /// The examples. A work folder lies beside it meanwhile.
    pub examples: &'a Path,
    /// Unusable rows; written only if there are some.
    pub rejects: &'a Path,
    /// What users did last before each list; written only if the config asks for it.
    pub sequences: &'a Path,
}

impl ExampleFiles<'_> {
    /// Nothing half-written stays behind; the first error is the one to tell.
    pub(crate) fn remove(&self) {
        for file in [self.examples, self.rejects, self.sequences] {
            // What was not made need not go.
            let _ = std::fs::remove_file(file);
        }
    }
}
