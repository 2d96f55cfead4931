//! A shard on disk: written beside, checked row by row, renamed when it is what the log says.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::Failure;
use super::census::{Census, Sum, shards_of};
use crate::LogError;
use crate::row_hash::RowHasher;

/// The place of a placement in the output.
pub(super) type Place = [i64; 5];

/// The columns of [`Place`] of a batch.
pub(super) struct Places([ScalarBuffer<i64>; 5]);

impl Places {
    pub(super) fn of(batch: &RecordBatch) -> Self {
        Self(
            ["ts", "page_id", "list_id", "slot", "impression_id"].map(|name| {
                let column = batch
                    .column_by_name(name)
                    .expect("the query names every known column");
                column.as_primitive::<Int64Type>().values().clone()
            }),
        )
    }

    pub(super) fn at(&self, at: usize) -> Place {
        std::array::from_fn(|column| self.0[column][at])
    }

    pub(super) fn len(&self) -> usize {
        self.0[0].len()
    }
}

pub(super) fn path(folder: &Path, shard: u32, census: &Census) -> PathBuf {
    folder.join(format!("shard-{shard}-of-{}.arrow", census.shards.len()))
}

/// Holds rows against the census as they come.
struct Checker<'a> {
    census: &'a Census,
    shard: u32,
    last: Option<Place>,
    sum: Sum,
    hasher: RowHasher,
}

impl<'a> Checker<'a> {
    fn new(shard: u32, census: &'a Census) -> Self {
        Self {
            census,
            shard,
            last: None,
            sum: Sum::default(),
            hasher: RowHasher::default(),
        }
    }

    /// What the log says of this shard.
    fn expected(&self) -> Sum {
        self.census.shards[self.shard as usize]
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let (given, expected) = (batch.schema(), &self.census.schema);
        let types = |schema: &arrow::datatypes::Schema| -> Vec<_> {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        if types(&given) != types(expected) {
            return Err(format!("columns came as {given}, expected {expected}"));
        }
        let shards = self.census.shards.len() as u32;
        if shards_of(batch, shards).any(|shard| shard != self.shard) {
            return Err("a row of another shard came".to_owned());
        }
        let places = Places::of(batch);
        for at in 0..places.len() {
            let here = places.at(at);
            if let Some(last) = self.last.filter(|&last| last >= here) {
                let again = if last == here { " again" } else { "" };
                return Err(format!(
                    "impression {} came{again} after impression {}, out of order",
                    here[4], last[4]
                ));
            }
            self.last = Some(here);
        }
        for row in self.hasher.hash(batch.columns()) {
            self.sum.add(row);
        }
        if self.sum.rows > self.expected().rows {
            return Err(self.complaint("at least "));
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        if self.sum.rows != self.expected().rows {
            return Err(self.complaint(""));
        }
        if self.sum.hash != self.expected().hash {
            return Err("its rows are as many as in the log, but not the same".to_owned());
        }
        Ok(())
    }

    fn complaint(&self, how: &str) -> String {
        format!(
            "it gave {how}{} rows where the log has {}",
            self.sum.rows,
            self.expected().rows
        )
    }
}

/// Whether a shard is there and holds what it must.
pub(super) fn is_whole(folder: &Path, shard: u32, census: &Census) -> bool {
    let mut checker = Checker::new(shard, census);
    let Ok(file) = File::open(path(folder, shard, census)) else {
        return false;
    };
    let Ok(batches) = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None) else {
        return false;
    };
    for batch in batches {
        let added = batch.map_err(|error| error.to_string());
        if added.and_then(|batch| checker.add(&batch)).is_err() {
            return false;
        }
    }
    checker.finish().is_ok()
}

/// A shard on its way to disk.
pub(super) struct ShardWriter<'a> {
    partial: PathBuf,
    target: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
    checker: Checker<'a>,
}

impl<'a> ShardWriter<'a> {
    pub(super) fn create(folder: &Path, shard: u32, census: &'a Census) -> Result<Self, LogError> {
        let target = path(folder, shard, census);
        let partial = target.with_extension("partial");
        let file = File::create(&partial).map_err(|source| LogError::Io {
            action: "create",
            path: partial.clone(),
            source,
        })?;
        let writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &census.schema)
            .map_err(|error| failed(&partial, error))?;
        Ok(Self {
            partial,
            target,
            writer,
            checker: Checker::new(shard, census),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.checker.add(batch).map_err(Failure::Cluster)?;
        self.writer
            .write(batch)
            .map_err(|error| Failure::Ours(failed(&self.partial, error)))
    }

    /// Checks the whole and puts it in place.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.checker.finish().map_err(Failure::Cluster)?;
        let written = self
            .writer
            .finish()
            .map_err(|error| failed(&self.partial, error));
        written.map_err(Failure::Ours)?;
        let place = || -> std::io::Result<()> {
            let file = self.writer.get_mut();
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&self.partial, &self.target)
        };
        let mut place = place;
        place().map_err(|source| {
            Failure::Ours(LogError::Io {
                action: "put in place",
                path: self.target.clone(),
                source,
            })
        })
    }
}

pub(super) fn failed(path: &Path, error: arrow::error::ArrowError) -> LogError {
    LogError::Write {
        path: path.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::share;

    /// A placement: time, page, list, slot, impression, user, price.
    pub(crate) type Row = (i64, i64, i64, i64, i64, Option<i64>, f64);

    fn schema() -> SchemaRef {
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        let mut fields = [
            "ts",
            "page_id",
            "list_id",
            "slot",
            "impression_id",
            "user_id",
        ]
        .map(number)
        .to_vec();
        fields.push(Field::new("price", DataType::Float64, true));
        Arc::new(Schema::new(fields))
    }

    pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
        let number = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<Int64Array>())
        };
        let columns = vec![
            number(|row| Some(row.0)),
            number(|row| Some(row.1)),
            number(|row| Some(row.2)),
            number(|row| Some(row.3)),
            number(|row| Some(row.4)),
            number(|row| row.5),
            Arc::new(rows.iter().map(|row| Some(row.6)).collect::<Float64Array>()),
        ];
        RecordBatch::try_new(schema(), columns).unwrap()
    }

    pub(crate) fn census(rows: &[Row], shards: u32) -> Census {
        let mut census = Census {
            schema: schema(),
            shards: vec![Sum::default(); shards as usize],
        };
        census.add(&batch(rows));
        census
    }

    /// Rows in order, each impression once, users among a few.
    pub(crate) fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (
            0_i64..50,
            0_i64..3,
            0_i64..4,
            prop::option::of(0_i64..6),
            0_u32..9,
        );
        prop::collection::vec(row, 1..60).prop_map(|rows| {
            let mut rows: Vec<Row> = rows
                .into_iter()
                .zip(1..)
                .map(|((ts, page, slot, user, price), id)| {
                    (ts, page, page, slot, id, user, f64::from(price))
                })
                .collect();
            rows.sort_by_key(|row| (row.0, row.1, row.2, row.3, row.4));
            rows
        })
    }

    /// The rows of one shard.
    pub(crate) fn share_of(rows: &[Row], shard: u32, shards: u32) -> Vec<Row> {
        rows.iter()
            .copied()
            .filter(|row| share::of(row.5, row.0, shards) == shard)
            .collect()
    }

    /// Writes these rows as a shard in two batches.
    pub(crate) fn write(
        folder: &Path,
        shard: u32,
        census: &Census,
        rows: &[Row],
    ) -> Result<(), String> {
        let reason = |failure| match failure {
            Failure::Cluster(reason) => reason,
            Failure::Ours(error) => panic!("{error}"),
        };
        let mut writer = ShardWriter::create(folder, shard, census).unwrap();
        let (first, second) = rows.split_at(rows.len() / 2);
        for rows in [first, second] {
            writer.write(&batch(rows)).map_err(reason)?;
        }
        writer.finish().map_err(reason)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_shard_is_whole_or_it_is_not_there(
            rows in rows(), shards in 1_u32..4, harm in 0_u32..7, at in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let census = census(&rows, shards);
            let shard = share::of(rows[0].5, rows[0].0, shards);
            let right = share_of(&rows, shard, shards);
            let mut given = right.clone();
            let at = at.index(given.len());
            match harm {
                // Lost, doubled at once, doubled at the end, changed, swapped, of another shard.
                0 => drop(given.remove(at)),
                1 => given.insert(at, given[at]),
                2 => given.push(given[at]),
                3 => given[at].6 += 0.5,
                4 => given.swap(0, at),
                5 => {
                    let other = (0..).find(|&user| share::of(Some(user), 0, shards + 1) != shard);
                    given[at].5 = if given[at].5 == other { Some(1_000) } else { other };
                }
                _ => {}
            }
            let written = write(folder.path(), shard, &census, &given);
            prop_assert_eq!(written.is_ok(), given == right, "{:?}", written);
            prop_assert_eq!(is_whole(folder.path(), shard, &census), given == right);
            if given == right {
                // Nor is it believed where a file is cut off.
                let path = path(folder.path(), shard, &census);
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
                prop_assert!(!is_whole(folder.path(), shard, &census));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = (1..=4).map(|id| (id, 1, 1, 0, id, Some(7), 0.0)).collect();
        let census = census(&rows, 1);
        let complain = |rows: &[Row]| write(folder.path(), 0, &census, rows).unwrap_err();
        assert_eq!(complain(&rows[1..]), "it gave 3 rows where the log has 4");
        let twice = [rows[0], rows[1], rows[1], rows[2]];
        assert_eq!(complain(&twice[..2]), "it gave 2 rows where the log has 4");
        assert_eq!(
            complain(&twice[1..]),
            "impression 2 came again after impression 2, out of order"
        );
        let mut other = rows.clone();
        other[2].6 = 1.0;
        assert_eq!(
            complain(&other),
            "its rows are as many as in the log, but not the same"
        );
        let more: Vec<Row> = (1..=5).map(|id| (id, 1, 1, 0, id, Some(7), 0.0)).collect();
        assert_eq!(
            complain(&more),
            "it gave at least 5 rows where the log has 4"
        );
    }
}
