//! Rows of a part with named columns.
//!
//! What is known of a placement keeps its name; inputs of the network are `x_NAME`, as they go into
//! it. Unknown numbers are null. Inputs of several values are lists of ids; a table of vectors is
//! given by the row of `embedding_NAME.npy`, 0 for an unknown item. Histories, which all rows of a
//! list share, stand in `PART.history.parquet`, oldest event first; the vector of an event's item is
//! given by the row of that table, `NAME_row`.

use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
        TimestampMicrosecondArray, UInt8Array, UInt32Array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use slate_types::Split;

use super::{create, rows_of};
use crate::{FeatureError, FeatureMap, data::SplitData};

const ROW_GROUP: usize = 131_072;

/// The open files of a part.
pub(super) struct ParquetPart {
    rows: Table,
    history: Option<Table>,
    widths: (usize, usize),
}

struct Table {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
}

impl ParquetPart {
    pub(super) fn create(out: &Path, split: Split, map: &FeatureMap) -> Result<Self, FeatureError> {
        let part = split.name();
        let history = map.history.as_ref().map(|_| {
            let path = out.join(format!("{part}.history.parquet"));
            Table::create(path, history_fields(map))
        });
        Ok(Self {
            rows: Table::create(out.join(format!("{part}.parquet")), row_fields(map))?,
            history: history.transpose()?,
            widths: (map.dense.len(), map.categorical.len()),
        })
    }

    pub(super) fn write(
        &mut self,
        data: &SplitData,
        lists: Range<usize>,
    ) -> Result<(), FeatureError> {
        let rows = rows_of(data, &lists);
        if rows.is_empty() {
            return Ok(());
        }
        self.rows
            .write(row_columns(data, &lists, &rows, self.widths))?;
        if let (Some(table), Some(history)) = (&mut self.history, &data.extras.history) {
            let (offsets, values) = ragged(&history.offsets, &lists);
            let list = |field: &DataType, items: ArrayRef| -> ArrayRef {
                let field = Arc::new(Field::new("item", field.clone(), false));
                Arc::new(ListArray::new(field, offsets.clone(), items, None))
            };
            let items = UInt32Array::from(history.item[values.clone()].to_vec());
            let kinds = UInt8Array::from(history.kind[values.clone()].to_vec());
            let ages = Float32Array::from(history.age[values.clone()].to_vec());
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(data.list_id[lists].to_vec())),
                list(&DataType::UInt32, Arc::new(items)),
                list(&DataType::UInt8, Arc::new(kinds)),
                list(&DataType::Float32, Arc::new(ages)),
            ];
            for vectors in &history.vectors {
                let rows = UInt32Array::from(vectors.rows[values.clone()].to_vec());
                columns.push(list(&DataType::UInt32, Arc::new(rows)));
            }
            table.write(columns)?;
        }
        Ok(())
    }

    /// The files, durable.
    pub(super) fn finish(self) -> Result<Vec<PathBuf>, FeatureError> {
        let mut paths = vec![self.rows.finish()?];
        if let Some(history) = self.history {
            paths.push(history.finish()?);
        }
        Ok(paths)
    }
}

impl Table {
    fn create(path: PathBuf, fields: Vec<Field>) -> Result<Self, FeatureError> {
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            .set_created_by("slate".to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let writer = ArrowWriter::try_new(create(&path)?, schema.clone(), Some(properties))
            .map_err(FeatureError::parquet(&path))?;
        Ok(Self {
            path,
            schema,
            writer,
        })
    }

    fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), FeatureError> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(FeatureError::arrow(&self.path))?;
        self.writer
            .write(&batch)
            .map_err(FeatureError::parquet(&self.path))
    }

    fn finish(self) -> Result<PathBuf, FeatureError> {
        let file = self
            .writer
            .into_inner()
            .map_err(FeatureError::parquet(&self.path))?;
        file.sync_all()
            .map_err(FeatureError::io("write", &self.path))?;
        Ok(self.path)
    }
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn list_of(items: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", items, false)))
}

fn history_fields(map: &FeatureMap) -> Vec<Field> {
    let mut fields = vec![
        Field::new("list_id", DataType::Int64, false),
        Field::new("item", list_of(DataType::UInt32), false),
        Field::new("type", list_of(DataType::UInt8), false),
        Field::new("age", list_of(DataType::Float32), false),
    ];
    let vectors = map.history_vectors();
    fields.extend(vectors.map(|(vector, _)| {
        let name = format!("{}_row", vector.of);
        Field::new(name, list_of(DataType::UInt32), false)
    }));
    fields
}

/// In the order of [`row_columns`].
fn row_fields(map: &FeatureMap) -> Vec<Field> {
    let known = |name: &str, data_type| Field::new(name, data_type, false);
    let mut fields = vec![
        known("list_id", DataType::Int64),
        known("list_ts", time()),
        known("impression_id", DataType::Int64),
        known("item_id", DataType::Int64),
        known("slot", DataType::UInt32),
        known("grade", DataType::UInt8),
        known("click", DataType::UInt8),
        known("purchase", DataType::UInt8),
        known("weight", DataType::Float32),
    ];
    for name in ["propensity", "price", "ad_rate", "raw_score"] {
        fields.push(Field::new(name, DataType::Float64, true));
    }
    let mut input = |name: &str, data_type| fields.push(known(&format!("x_{name}"), data_type));
    for feature in &map.dense {
        input(feature.name(), DataType::Float32);
    }
    for feature in &map.categorical {
        input(feature.name(), DataType::UInt32);
    }
    for feature in &map.multi_valued {
        input(&feature.name, list_of(DataType::UInt32));
    }
    for feature in &map.embedding {
        input(&format!("{}_row", feature.name), DataType::UInt32);
    }
    fields
}

fn row_columns(
    data: &SplitData,
    lists: &Range<usize>,
    rows: &Range<usize>,
    (d, c): (usize, usize),
) -> Vec<ArrayRef> {
    let each_row = |values: &[i64]| -> Vec<i64> {
        let of_list = |list: usize| std::iter::repeat_n(values[list], data.lists.range(list).len());
        lists.clone().flat_map(of_list).collect()
    };
    let bytes =
        |values: &[u8]| -> ArrayRef { Arc::new(UInt8Array::from(values[rows.clone()].to_vec())) };
    let ids =
        |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values[rows.clone()].to_vec())) };
    let maybe = |values: &[f64]| -> ArrayRef {
        let values = values[rows.clone()].iter();
        let known = values.map(|value| (!value.is_nan()).then_some(*value));
        Arc::new(known.collect::<Float64Array>())
    };
    let times = TimestampMicrosecondArray::from(each_row(&data.list_ts)).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(each_row(&data.list_id))),
        Arc::new(times),
        ids(&data.impression),
        ids(&data.item),
        Arc::new(UInt32Array::from(data.slot[rows.clone()].to_vec())),
        bytes(&data.grade),
        bytes(&data.click),
        bytes(&data.purchase),
        Arc::new(Float32Array::from(data.weight[rows.clone()].to_vec())),
        maybe(&data.propensity),
        maybe(&data.price),
        maybe(&data.ad_rate),
        maybe(&data.raw_score),
    ];
    for at in 0..d {
        let values = rows.clone().map(|row| data.dense[row * d + at]);
        columns.push(Arc::new(Float32Array::from_iter_values(values)));
    }
    for at in 0..c {
        let values = rows.clone().map(|row| data.categorical[row * c + at]);
        columns.push(Arc::new(UInt32Array::from_iter_values(values)));
    }
    for feature in &data.extras.multi_valued {
        let (offsets, values) = ragged(&feature.offsets, rows);
        let values = UInt32Array::from(feature.values[values].to_vec());
        let field = Arc::new(Field::new("item", DataType::UInt32, false));
        columns.push(Arc::new(ListArray::new(
            field,
            offsets,
            Arc::new(values),
            None,
        )));
    }
    for vectors in &data.extras.vectors {
        columns.push(Arc::new(UInt32Array::from(
            vectors.index[rows.clone()].to_vec(),
        )));
    }
    columns
}

/// Where the values of each entry of `range` begin among their own, and which values these are.
fn ragged(offsets: &[u64], range: &Range<usize>) -> (OffsetBuffer<i32>, Range<usize>) {
    let (first, last) = (offsets[range.start], offsets[range.end]);
    let own = offsets[range.start..=range.end]
        .iter()
        .map(|&offset| (offset - first) as i32);
    let own: ScalarBuffer<i32> = own.collect();
    (OffsetBuffer::new(own), first as usize..last as usize)
}
