//! Pages on which a similarity ranker failed: what was bought stood far below what it put first.

use anyhow::Result;

use super::super::evaluation::Labels;
use crate::artefacts::scores::ScoreTable;
use crate::cli::Label;
use crate::console::Refusal;

/// Pages that are told.
const TOLD: usize = 6;
/// Items that are told of each, from the first.
const FIRST: usize = 5;

/// A page by the scores it was given.
pub(super) struct Failure {
    pub(super) list: String,
    /// The item the page is about, where that is known.
    pub(super) seed: Option<i64>,
    /// What was bought, best placed, and its rank from 1: below all of a higher or an equal score.
    pub(super) bought: i64,
    pub(super) rank: usize,
    pub(super) length: usize,
    /// What was put first instead, with scores.
    pub(super) first: Vec<(i64, f64)>,
}

/// The lists of a score file in which what was bought stands lowest, by rank; of equal ranks the shorter list
/// comes first, where it is nearer the end. `run` is the short hash of the weights that have to have scored.
///
/// # Errors
/// A file without items or purchases, or that another run scored.
pub(super) fn worst(table: &ScoreTable, run: &str) -> Result<Vec<Failure>> {
    // A file of text does not say who scored.
    if !table.scorer.is_empty() && table.scorer != format!("run:{run}") {
        let told = format!(
            "--scores are by `{}`, expected those of this run, `run:{run}`",
            table.scorer
        );
        return Err(Refusal::new(told)
            .hint("make them: slate score --run RUN --data DATASET --out FILE.parquet")
            .into());
    }
    let labels = Labels::of(table, Some(Label::Purchase))?;
    let items = table.whole("item_id")?;
    let seeds = if table.has("seed_item_id") {
        Some(table.text("seed_item_id")?)
    } else {
        None
    };
    let mut found: Vec<(usize, usize, usize, usize)> = Vec::new();
    for (list, rows) in table.lists.iter().enumerate() {
        let rank = |row: usize| {
            let above = rows.clone().filter(|&other| other != row);
            1 + above
                .filter(|&other| table.score[other] >= table.score[row])
                .count()
        };
        let bought = rows.clone().filter(|&row| labels.positives[row] > 0);
        if let Some((rank, row)) = bought.map(|row| (rank(row), row)).min() {
            found.push((rank, rows.len(), list, row));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let failed = found.into_iter().filter(|(rank, ..)| *rank > 1).take(TOLD);
    Ok(failed
        .map(|(rank, length, list, row)| {
            let mut order: Vec<usize> = table.lists.range(list).collect();
            order.sort_by(|&a, &b| table.score[b].total_cmp(&table.score[a]).then(a.cmp(&b)));
            order.truncate(FIRST);
            Failure {
                list: table.list_name(list),
                seed: seeds.as_ref().and_then(|seeds| seeds[row].parse().ok()),
                bought: items[row],
                rank,
                length,
                first: order
                    .into_iter()
                    .map(|row| (items[row], table.score[row]))
                    .collect(),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_whose_purchase_stands_lowest_come_first() {
        let lists = [(1, 4), (2, 3), (3, 3), (4, 2)];
        let ids = lists.iter().flat_map(|&(list, rows)| vec![list; rows]);
        // Bought: last of four, second of three with a tie, first of three, and nothing.
        let scores = vec![4.0, 3.0, 2.0, 1.0, 5.0, 5.0, 0.0, 9.0, 8.0, 7.0, 1.0, 0.0];
        let bought = vec![0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0];
        let mut table = ScoreTable::new(ids.collect(), scores, "run:x").unwrap();
        table.set_integers("item_id", (10..22).collect());
        table.set("purchase", bought.into_iter().map(f64::from).collect());
        assert!(worst(&table, "y").is_err());
        let failures = worst(&table, "x").unwrap();
        let told: Vec<(i64, usize, usize)> = failures
            .iter()
            .map(|failure| (failure.bought, failure.rank, failure.length))
            .collect();
        assert_eq!(told, [(13, 4, 4), (14, 2, 3)]);
        assert_eq!(failures[0].first[0], (10, 4.0));
        assert_eq!(failures[0].seed, None);
    }
}
