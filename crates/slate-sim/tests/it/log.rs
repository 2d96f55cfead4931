//! A simulated log read back, column by column.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use slate_sim::{MarketConfig, Summary, simulate};
use slate_types::{Seed, Silent};

/// Tables of a log, whole.
pub(crate) struct Log {
    pub(crate) tables: BTreeMap<&'static str, RecordBatch>,
    pub(crate) summary: Summary,
}

/// A market small enough for tests, without pictures.
pub(crate) fn small() -> MarketConfig {
    MarketConfig {
        pages: 2_600,
        users: 1_500,
        items: 1_200,
        months: 3,
        pictures: false,
        ..MarketConfig::default()
    }
}

/// Simulates and reads back.
pub(crate) fn log(config: MarketConfig, seed: u64) -> Log {
    let folder = tempfile::tempdir().unwrap();
    let summary = write(config, seed, folder.path());
    let names = [
        "page_impression",
        "slot_impression",
        "event",
        "item",
        "truth",
    ];
    let tables = names.map(|name| (name, read(&folder.path().join(format!("{name}.parquet")))));
    Log {
        tables: tables.into_iter().collect(),
        summary,
    }
}

/// Simulates into a folder.
pub(crate) fn write(config: MarketConfig, seed: u64, folder: &Path) -> Summary {
    let market = config.check().unwrap();
    simulate(&market, Seed(seed), folder, &Silent).unwrap()
}

/// Reads a Parquet file as one batch.
pub(crate) fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Whole numbers and times of a batch; 0 where null.
pub(crate) fn whole(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let array = batch.column_by_name(column).unwrap();
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return times.values().to_vec();
    }
    let array = array.as_primitive::<Int64Type>();
    array.iter().map(Option::unwrap_or_default).collect()
}

impl Log {
    pub(crate) fn table(&self, table: &str) -> &RecordBatch {
        &self.tables[table]
    }

    pub(crate) fn column(&self, table: &str, column: &str) -> &dyn Array {
        self.tables[table].column_by_name(column).unwrap().as_ref()
    }

    /// Numbers; NaN where null.
    pub(crate) fn numbers(&self, table: &str, column: &str) -> Vec<f64> {
        let array = self.column(table, column).as_primitive::<Float64Type>();
        array
            .iter()
            .map(|value| value.unwrap_or(f64::NAN))
            .collect()
    }

    /// Whole numbers and times; 0 where null.
    pub(crate) fn whole(&self, table: &str, column: &str) -> Vec<i64> {
        whole(self.table(table), column)
    }

    pub(crate) fn flags(&self, table: &str, column: &str) -> Vec<bool> {
        self.column(table, column)
            .as_boolean()
            .values()
            .iter()
            .collect()
    }

    pub(crate) fn texts(&self, table: &str, column: &str) -> Vec<String> {
        let array = self.column(table, column).as_string::<i32>();
        array
            .iter()
            .map(|value| value.unwrap_or_default().to_owned())
            .collect()
    }

    /// Rows of each list, in slot order; lists stand together in the file.
    pub(crate) fn lists(&self) -> Vec<std::ops::Range<usize>> {
        let offsets = slate_types::ListOffsets::from_runs(&self.whole("truth", "list_id"));
        offsets.iter().collect()
    }
}
