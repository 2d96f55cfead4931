//! What the simulator knows and a real log never tells: true probabilities of each placement.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::artefacts::scores::ScoreTable;
use crate::console::Refusal;

/// Columns of `truth.parquet` that judging needs, in file order.
pub(crate) struct Truth {
    /// Which placement.
    pub(crate) impression: Vec<i64>,
    /// Its logged slot.
    pub(crate) slot: Vec<i64>,
    /// Probability that a buyer looks at that slot.
    pub(crate) examination: Vec<f64>,
    /// Probability of a purchase as shown: examination, click and purchase together.
    pub(crate) purchase: Vec<f64>,
    /// The same, had the buyer looked.
    pub(crate) purchase_examined: Vec<f64>,
}

impl Truth {
    /// Reads `truth.parquet`.
    ///
    /// # Errors
    /// A file that cannot be read or lacks a column.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::read_columns(path)
            .with_context(|| format!("cannot read the truth `{}`", path.display()))
    }

    fn read_columns(path: &Path) -> Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let schema = builder.schema().clone();
        let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
        let batch = arrow::compute::concat_batches(&schema, &batches)?;
        let column = |name: &str, to: &DataType| {
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| Refusal::new(format!("required column `{name}` is missing")))?;
            let array = cast(array, to)?;
            if array.null_count() > 0 {
                return Err(
                    Refusal::new(format!("column `{name}` has nulls, expected none")).into(),
                );
            }
            Ok::<_, anyhow::Error>(array)
        };
        let integers = |name: &str| {
            Ok::<_, anyhow::Error>(
                column(name, &DataType::Int64)?
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec(),
            )
        };
        let numbers = |name: &str| {
            Ok::<_, anyhow::Error>(
                column(name, &DataType::Float64)?
                    .as_primitive::<Float64Type>()
                    .values()
                    .to_vec(),
            )
        };
        Ok(Self {
            impression: integers("impression_id")?,
            slot: integers("slot")?,
            examination: numbers("examination")?,
            purchase: numbers("p_purchase")?,
            purchase_examined: numbers("p_purchase_examined")?,
        })
    }

    /// Probability that each slot is examined, from slot 0 on.
    pub(crate) fn examination_by_slot(&self) -> Vec<f64> {
        let mut by_slot = Vec::new();
        for (&slot, &examination) in self.slot.iter().zip(&self.examination) {
            let slot = slot as usize;
            if slot >= by_slot.len() {
                by_slot.resize(slot + 1, f64::NAN);
            }
            by_slot[slot] = examination;
        }
        by_slot
    }

    /// The truth's row of each row of a score table.
    ///
    /// # Errors
    /// A score table without impressions, or with one the truth does not know.
    pub(crate) fn rows_of(&self, table: &ScoreTable) -> Result<Vec<usize>> {
        let ids = table
            .get_integers("impression")
            .context("the scores have no impressions")?;
        let at: HashMap<i64, usize> = self
            .impression
            .iter()
            .enumerate()
            .map(|(row, &id)| (id, row))
            .collect();
        ids.iter()
            .map(|id| {
                at.get(id)
                    .copied()
                    .ok_or_else(|| Refusal::new(format!("the truth has no impression {id}")).into())
            })
            .collect()
    }
}

/// What an order would really earn: the expected purchases among the first `k` slots, divided by
/// the placements there, had the lists been shown in the order of their scores. Rows of equal score
/// stand in any order with equal probability.
pub(crate) fn true_ptr(truth: &Truth, rows: &[usize], table: &ScoreTable, k: usize) -> f64 {
    let examination = truth.examination_by_slot();
    let (mut purchases, mut placements) = (0.0, 0.0);
    for list in table.lists.iter() {
        let mut order: Vec<usize> = list.collect();
        order.sort_by(|&a, &b| table.score[b].total_cmp(&table.score[a]));
        let mut slot = 0;
        for tied in order.chunk_by(|&a, &b| table.score[a] == table.score[b]) {
            let sum: f64 = tied
                .iter()
                .map(|&row| truth.purchase_examined[rows[row]])
                .sum();
            let mean = sum / tied.len() as f64;
            for _ in 0..tied.len().min(k.saturating_sub(slot)) {
                purchases += examination[slot] * mean;
                placements += 1.0;
                slot += 1;
            }
        }
    }
    purchases / placements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        Truth {
            impression: vec![10, 11, 12],
            slot: vec![0, 1, 2],
            examination: vec![1.0, 0.5, 0.25],
            purchase: vec![0.1, 0.2, 0.1],
            purchase_examined: vec![0.1, 0.4, 0.4],
        }
    }

    fn table(score: [f64; 3]) -> ScoreTable {
        let mut table = ScoreTable::new(vec![7; 3], score.to_vec(), "").unwrap();
        table.set_integers("impression", vec![12, 10, 11]);
        table
    }

    #[test]
    fn an_order_earns_what_is_examined_at_its_slots() {
        let best = table([3.0, 1.0, 2.0]);
        let rows = truth().rows_of(&best).unwrap();
        assert_eq!(rows, [2, 0, 1]);
        let expected = f64::midpoint(0.4, 0.5 * 0.4);
        assert!((true_ptr(&truth(), &rows, &best, 2) - expected).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_earn_the_mean_over_all_orders() {
        let tied = table([0.0; 3]);
        let rows = truth().rows_of(&tied).unwrap();
        let (p, e) = ([0.4, 0.1, 0.4], [1.0, 0.5, 0.25]);
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let brute: f64 = orders
            .iter()
            .map(|order| (0..2).map(|slot| e[slot] * p[order[slot]]).sum::<f64>() / 2.0)
            .sum::<f64>()
            / 6.0;
        assert!((true_ptr(&truth(), &rows, &tied, 2) - brute).abs() < 1e-12);
    }

    #[test]
    fn an_unknown_impression_is_named() {
        let mut other = table([0.0; 3]);
        other.set_integers("impression", vec![12, 10, 99]);
        let error = truth().rows_of(&other).unwrap_err().to_string();
        assert_eq!(error, "the truth has no impression 99");
    }
}
