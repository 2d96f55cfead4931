//! Judgements and runs of TREC: what `trec_eval` reads.
//!
//! Judgements (qrels) have lines `query iteration document grade`, runs `query Q0 document rank score
//! tag`. A query's list is what the run retrieved, and after it, without a rank, what was judged and
//! not retrieved: that counts among what there was to find. Documents nobody judged have grade 0, as
//! have those judged below 0.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::StringArray;

use super::ScoreTable;
use crate::console::Refusal;

/// A run beside its judgements.
pub(crate) struct Judged {
    pub(crate) table: ScoreTable,
    /// Queries of the run that nobody judged: left out.
    pub(crate) unjudged: usize,
    /// Queries judged that the run does not have.
    pub(crate) missing: usize,
}

/// Reads both files. With `complete` queries that the run misses are lists in which nothing was
/// found; without they are left out.
///
/// # Errors
/// A file that cannot be read, a line that is none of the format, a document twice, no query in
/// both.
pub(crate) fn read(qrels: &Path, run: &Path, complete: bool) -> Result<Judged> {
    let grades = judgements(qrels)?;
    let mut retrieved = retrievals(run)?;
    let unjudged = retrieved
        .keys()
        .filter(|query| !grades.contains_key(*query))
        .count();
    let missing = grades
        .keys()
        .filter(|query| !retrieved.contains_key(*query))
        .count();
    if retrieved.len() == unjudged {
        let told = format!(
            "none of the {} queries of `{}` is judged in `{}`",
            retrieved.len(),
            run.display(),
            qrels.display()
        );
        return Err(Refusal::new(told)
            .hint("both files must name queries alike")
            .into());
    }
    let (mut list_id, mut scores, mut columns) = (Vec::new(), Vec::new(), Columns::default());
    let mut names = Vec::new();
    for (query, judged) in &grades {
        let found = match retrieved.remove(query) {
            Some(found) => found,
            None if complete => BTreeMap::new(),
            None => continue,
        };
        let list = names.len() as i64;
        names.push(query.clone());
        let mut add = |document: &String, score: f64, ranked: bool| {
            list_id.push(list);
            scores.push(score);
            columns.documents.push(document.clone());
            columns
                .grades
                .push(judged.get(document).copied().unwrap_or(0.0));
            columns.unranked.push(!ranked);
        };
        for (document, score) in &found {
            add(document, *score, true);
        }
        for document in judged
            .keys()
            .filter(|document| !found.contains_key(*document))
        {
            add(document, 0.0, false);
        }
    }
    let mut table = ScoreTable::new(list_id, scores, &format!("file:{}", run.display()))?;
    table.set("grade", columns.grades);
    let documents = StringArray::from_iter_values(&columns.documents);
    table
        .others
        .push(("document".to_owned(), Arc::new(documents)));
    table.unranked = columns.unranked.contains(&true).then_some(columns.unranked);
    table.list_names = Some(names);
    Ok(Judged {
        table,
        unjudged,
        missing,
    })
}

#[derive(Default)]
struct Columns {
    documents: Vec<String>,
    grades: Vec<f64>,
    unranked: Vec<bool>,
}

/// Grades by query and document.
fn judgements(path: &Path) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    lines(path, "query iteration document grade", |words| {
        let [query, _, document, grade] = words[..] else {
            return None;
        };
        let grade = grade.parse::<f64>().ok()?.max(0.0);
        let sound = grade.fract() == 0.0 && grade <= 30.0;
        sound.then(|| (query.to_owned(), document.to_owned(), grade))
    })
}

/// Scores by query and document.
fn retrievals(path: &Path) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    lines(path, "query Q0 document rank score tag", |words| {
        let [query, _, document, _, score, _] = words[..] else {
            return None;
        };
        let score = score
            .parse::<f64>()
            .ok()
            .filter(|score| score.is_finite())?;
        Some((query.to_owned(), document.to_owned(), score))
    })
}

fn lines(
    path: &Path,
    expected: &str,
    read: impl Fn(&[&str]) -> Option<(String, String, f64)>,
) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut queries: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let place = || format!("line {number} of `{}`", path.display());
        let Some((query, document, value)) = read(&words) else {
            let told = format!("{} is `{line}`, expected `{expected}`", place());
            return Err(Refusal::new(told).into());
        };
        let of_query = queries.entry(query.clone()).or_default();
        if of_query.insert(document.clone(), value).is_some() {
            let told = format!(
                "{} names document `{document}` of query `{query}` again",
                place()
            );
            return Err(Refusal::new(told).into());
        }
    }
    if queries.is_empty() {
        return Err(Refusal::new(format!("`{}` has no line", path.display())).into());
    }
    Ok(queries)
}
