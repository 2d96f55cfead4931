//! A shard on disk: written beside, checked row by row, renamed when it is what the log says.

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use twox_hash::XxHash64;

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

/// Rows of a batch on disk. The merge holds one of every shard.
const ROWS: usize = 1024;

/// What the name of a shard begins with; the hash of its bytes follows.
fn stem(shard: u32, census: &Census) -> String {
    format!("shard-{shard}-of-{}-", census.shards.len())
}

/// A whole shard, if there is one: its name has the hash of its bytes, so that no damaged file is
/// decoded, and its rows are what the census says.
pub(super) fn find(folder: &Path, shard: u32, census: &Census) -> Option<PathBuf> {
    let stem = stem(shard, census);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "arrow"))
        .collect();
    paths.sort_unstable();
    paths.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(stem.as_bytes())
            && hash_of(path).is_ok_and(|hash| name == format!("{stem}{hash:016x}.arrow").as_str())
            && holds(path, shard, census).is_ok()
    })
}

fn hash_of(path: &Path) -> io::Result<u64> {
    let mut hasher = Hashing {
        inner: io::sink(),
        hash: XxHash64::default(),
    };
    io::copy(
        &mut BufReader::with_capacity(1 << 18, File::open(path)?),
        &mut hasher,
    )?;
    Ok(hasher.hash.finish())
}

/// Holds the rows of a file against the census.
fn holds(path: &Path, shard: u32, census: &Census) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let batches = StreamReader::try_new(BufReader::with_capacity(1 << 18, file), None)
        .map_err(|error| error.to_string())?;
    let mut checker = Checker::new(shard, census);
    for batch in batches {
        checker.add(&batch.map_err(|error| error.to_string())?)?;
    }
    checker.finish()
}

/// Holds rows against the census as they come.
pub(super) struct Checker {
    shard: u32,
    shards: u32,
    schema: SchemaRef,
    /// What the log says of this shard.
    expected: Sum,
    last: Option<Place>,
    sum: Sum,
    hasher: RowHasher,
}

impl Checker {
    pub(super) fn new(shard: u32, census: &Census) -> Self {
        Self {
            shard,
            shards: census.shards.len() as u32,
            schema: census.schema.clone(),
            expected: census.shards[shard as usize],
            last: None,
            sum: Sum::default(),
            hasher: RowHasher::default(),
        }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let given = batch.schema();
        let types = |schema: &Schema| -> Vec<_> {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        if types(&given) != types(&self.schema) {
            return Err(format!("columns came as {given}, expected {}", self.schema));
        }
        if shards_of(batch, self.shards).any(|shard| shard != self.shard) {
            return Err("a row of another shard came".to_owned());
        }
        let places = Places::of(batch);
        for at in 0..places.len() {
            let here = places.at(at);
            match self.last {
                Some(last) if last == here => {
                    return Err(format!("impression {} came twice", here[4]));
                }
                Some(last) if last > here => {
                    return Err(format!(
                        "impression {} came after impression {}, out of order",
                        here[4], last[4]
                    ));
                }
                _ => self.last = Some(here),
            }
        }
        for row in self.hasher.hash(batch.columns()) {
            self.sum.add(row);
        }
        if self.sum.rows > self.expected.rows {
            return Err(self.complaint("at least "));
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        if self.sum.rows != self.expected.rows {
            return Err(self.complaint(""));
        }
        if self.sum.hash != self.expected.hash {
            return Err("its rows are as many as in the log, but not the same".to_owned());
        }
        Ok(())
    }

    fn complaint(&self, how: &str) -> String {
        format!(
            "it gave {how}{} rows where the log has {}",
            self.sum.rows, self.expected.rows
        )
    }
}

/// Hashes what is written through it.
struct Hashing<W> {
    inner: W,
    hash: XxHash64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.write(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A shard on its way to disk.
pub(super) struct ShardWriter {
    folder: PathBuf,
    stem: String,
    partial: PathBuf,
    writer: StreamWriter<Hashing<BufWriter<File>>>,
    checker: Checker,
}

impl ShardWriter {
    pub(super) fn create(folder: &Path, shard: u32, census: &Census) -> Result<Self, LogError> {
        let stem = stem(shard, census);
        let partial = folder.join(format!("{stem}.partial"));
        let file = File::create(&partial).map_err(|source| LogError::Io {
            action: "create",
            path: partial.clone(),
            source,
        })?;
        let file = Hashing {
            inner: BufWriter::with_capacity(1 << 20, file),
            hash: XxHash64::default(),
        };
        let writer =
            StreamWriter::try_new(file, &census.schema).map_err(|error| failed(&partial, error))?;
        Ok(Self {
            folder: folder.to_owned(),
            stem,
            partial,
            writer,
            checker: Checker::new(shard, census),
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.checker.add(batch).map_err(Failure::Cluster)?;
        for first in (0..batch.num_rows()).step_by(ROWS) {
            let rows = ROWS.min(batch.num_rows() - first);
            self.writer
                .write(&batch.slice(first, rows))
                .map_err(|error| Failure::Ours(failed(&self.partial, error)))?;
        }
        Ok(())
    }

    /// Checks the whole and puts it in place, which is returned.
    pub(super) fn finish(mut self) -> Result<PathBuf, Failure> {
        self.checker.finish().map_err(Failure::Cluster)?;
        self.writer
            .finish()
            .map_err(|error| Failure::Ours(failed(&self.partial, error)))?;
        let file = self.writer.get_mut();
        let hash = file.hash.finish();
        let target = self.folder.join(format!("{}{hash:016x}.arrow", self.stem));
        let placed = file
            .flush()
            .and_then(|()| file.inner.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.partial, &target));
        match placed {
            Ok(()) => Ok(target),
            Err(source) => Err(Failure::Ours(LogError::Io {
                action: "put in place",
                path: target,
                source,
            })),
        }
    }

    /// Removes what was written.
    pub(super) fn discard(self) {
        // What cannot be removed goes with the folder.
        let _ = fs::remove_file(&self.partial);
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
    ) -> Result<PathBuf, String> {
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
            at_byte in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let census = census(&rows, shards);
            let shard = share::of(rows[0].5, rows[0].0, shards);
            let right = share_of(&rows, shard, shards);
            let mut given = right.clone();
            let at = at.index(given.len());
            match harm {
                // Lost, doubled at once, doubled at the end, changed, swapped, given to somebody else.
                0 => drop(given.remove(at)),
                1 => given.insert(at, given[at]),
                2 => given.push(given[at]),
                3 => given[at].6 += 0.5,
                4 => given.swap(0, at),
                5 => given[at].5 = Some(1_000),
                _ => {}
            }
            let written = write(folder.path(), shard, &census, &given);
            prop_assert_eq!(written.is_ok(), given == right, "{:?}", written);
            let found = find(folder.path(), shard, &census);
            prop_assert_eq!(found.is_some(), given == right);
            if let Some(path) = found {
                // Nor is it believed with one bit changed, wherever that is.
                let mut bytes = std::fs::read(&path).unwrap();
                let at = at_byte.index(bytes.len());
                bytes[at] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                prop_assert_eq!(find(folder.path(), shard, &census), None);
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
        assert_eq!(complain(&twice[1..]), "impression 2 came twice");
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
