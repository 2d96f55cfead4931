//! Judged lists in LETOR text (`grade qid:7 1:0.3 2:…`), with scores in a file of their own, one per
//! line: what LightGBM, XGBoost and `RankLib` read and print.
//!
//! Where lines have no `qid`, a file of list lengths beside the data says which belong together
//! (LightGBM's `NAME.query`).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::ScoreTable;
use crate::console::Refusal;

/// Reads judged lists and their scores.
///
/// # Errors
/// A file that cannot be read, a line that is none of the format, counts that differ.
pub(crate) fn read(data: &Path, scores: &Path) -> Result<ScoreTable> {
    let text = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let (mut grades, mut qids) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text(data)?.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let bad = |what: &str, given: &str| {
            Refusal::new(format!(
                "line {number} of `{}` has {what} `{given}`",
                data.display()
            ))
            .hint("expected lines such as `2 qid:7 1:0.5 2:0.25`")
        };
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        let grade: f64 = first.parse().map_err(|_| bad("the grade", first))?;
        if !(0.0..=30.0).contains(&grade) || grade.fract() != 0.0 {
            return Err(bad("the grade", first).into());
        }
        grades.push(grade);
        if let Some(qid) = words.next().and_then(|word| word.strip_prefix("qid:")) {
            qids.push(qid.parse::<i64>().map_err(|_| bad("the qid", qid))?);
        }
    }
    let list_id = if qids.len() == grades.len() {
        qids
    } else if qids.is_empty() {
        from_lengths(&query_file(data), grades.len(), data)?
    } else {
        let told = format!(
            "{} of {} rows of `{}` have a `qid:`, expected all or none",
            qids.len(),
            grades.len(),
            data.display()
        );
        return Err(Refusal::new(told).into());
    };
    let mut predicted = Vec::with_capacity(grades.len());
    for (number, line) in (1..).zip(text(scores)?.lines()) {
        let cell = line
            .split_ascii_whitespace()
            .next_back()
            .unwrap_or_default();
        if cell.is_empty() {
            continue;
        }
        let value: f64 = cell.parse().map_err(|_| {
            let what = format!("line {number} of `{}` is `{cell}`", scores.display());
            Refusal::new(format!("{what}, expected a number"))
        })?;
        predicted.push(value);
    }
    if predicted.len() != grades.len() {
        let told = format!(
            "`{}` has {} scores, expected {}, one for each row of `{}`",
            scores.display(),
            predicted.len(),
            grades.len(),
            data.display()
        );
        return Err(Refusal::new(told).into());
    }
    let mut table = ScoreTable::new(list_id, predicted, &format!("file:{}", scores.display()))?;
    table.set("grade", grades);
    Ok(table)
}

/// `NAME.query` beside `NAME`.
fn query_file(data: &Path) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(".query");
    name.into()
}

/// Numbers lists of the lengths in a file.
fn from_lengths(path: &Path, rows: usize, data: &Path) -> Result<Vec<i64>> {
    let text = std::fs::read_to_string(path).map_err(|_| {
        Refusal::new(format!(
            "`{}` has no `qid:` and there is no `{}`",
            data.display(),
            path.display()
        ))
        .hint("lists are named by `qid:N` after the grade, or by a file of their lengths")
    })?;
    let (mut list_id, mut fits) = (Vec::with_capacity(rows), true);
    for (list, word) in (0..).zip(text.split_ascii_whitespace()) {
        let length: usize = word.parse().map_err(|_| {
            Refusal::new(format!(
                "`{}` has a length `{word}`, expected a whole number",
                path.display()
            ))
        })?;
        if length > rows - list_id.len() {
            fits = false;
            break;
        }
        list_id.extend(std::iter::repeat_n(list, length));
    }
    if fits && list_id.len() == rows {
        return Ok(list_id);
    }
    let told = format!(
        "the lengths in `{}` do not add up to the {rows} rows of `{}`",
        path.display(),
        data.display()
    );
    Err(Refusal::new(told).into())
}
