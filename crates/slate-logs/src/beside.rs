//! What is known of items and pages, laid beside placements that are in order already.
//!
//! Joined before the sort, these columns would be sorted along: most of its bytes. Items are held and
//! looked up; pages stream by in the order of their placements and are not.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{cast, concat_batches, interleave, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::LogError;
use crate::engine::{Batches, Engine};
use crate::history::{IdMap, Texts};
use crate::tables::Extra;
use crate::{plan, rows};

const STAGE: &str = "look up items and pages";

/// The item table in memory.
pub(crate) struct Items {
    rows: IdMap<i64, u32>,
    sellers: Int64Array,
    categories: Int64Array,
    /// Columns that are passed on of the placement's item.
    of_item: Passed,
    /// Columns that are passed on of the page's seed item.
    of_seed: Passed,
}

/// Columns of the item table and the names they have in an example.
#[derive(Default)]
struct Passed {
    columns: Vec<ArrayRef>,
    fields: Vec<Arc<Field>>,
}

impl Passed {
    fn push(&mut self, column: &ArrayRef, name: &str) {
        let field = Field::new(name, column.data_type().clone(), true);
        self.columns.push(column.clone());
        self.fields.push(Arc::new(field));
    }

    /// Their values at these rows.
    fn at(&self, rows: &UInt32Array) -> Result<Vec<ArrayRef>, LogError> {
        let columns = self.columns.iter();
        columns
            .map(|values| take(values, rows, None).map_err(failed))
            .collect()
    }
}

impl Items {
    /// Reads the items, with those columns that are `shown`, of placements or of their seeds, and these
    /// extra ones.
    pub(crate) fn read(
        engine: &Engine,
        shown: &[&str],
        [of_items, of_seeds]: [&[Extra]; 2],
        categories: &mut Texts,
    ) -> Result<Self, LogError> {
        let has = |extras: &[Extra], name: &str| extras.iter().any(|extra| extra.name == name);
        let of_seeds_alone = of_seeds.iter().filter(|seed| !has(of_items, &seed.name));
        let extras: Vec<&Extra> = of_items.iter().chain(of_seeds_alone).collect();
        let mut stream = engine.stream(STAGE, &plan::items(&extras))?;
        let schema = stream.schema();
        let mut batches = Vec::new();
        while let Some(batch) = stream.next()? {
            batches.push(batch);
        }
        let table = concat_batches(&schema, &batches).map_err(failed)?;
        let ids = table.column(0).as_primitive::<Int64Type>();
        let rows = ids.values().iter().zip(0..).map(|(&id, row)| (id, row));
        let texts = table.column(2).as_string::<i32>();
        let codes = texts
            .iter()
            .map(|text| text.map(|text| categories.code(text)));
        let own = table.num_columns() - extras.len();
        let (mut of_item, mut of_seed) = (Passed::default(), Passed::default());
        for at in 2..table.num_columns() {
            let item_name = schema.field(at).name();
            let plain = plan::of_item_column(item_name);
            let seed_name = plan::seed_column(plain);
            let wanted = |name: &str, extras: &[Extra]| {
                if at < own {
                    shown.contains(&name)
                } else {
                    has(extras, plain)
                }
            };
            if wanted(item_name, of_items) {
                of_item.push(table.column(at), item_name);
            }
            if wanted(&seed_name, of_seeds) {
                of_seed.push(table.column(at), &seed_name);
            }
        }
        Ok(Self {
            rows: rows.collect(),
            sellers: table.column(1).as_primitive::<Int64Type>().clone(),
            categories: codes.collect(),
            of_item,
            of_seed,
        })
    }

    /// Row of each item, null where it is unknown.
    fn find(&self, items: &ArrayRef) -> UInt32Array {
        let items = items.as_primitive::<Int64Type>().iter();
        items.map(|item| self.rows.get(&item?).copied()).collect()
    }
}

/// Pages in the order of their placements, and where we are.
pub(crate) struct Pages<'a> {
    batches: Batches<'a>,
    current: Option<RecordBatch>,
    at: usize,
}

impl<'a> Pages<'a> {
    /// Pages up to this time, with those columns that are `shown` and only passed on.
    pub(crate) fn read(engine: &'a Engine, as_of: i64, shown: &[&str]) -> Result<Self, LogError> {
        Ok(Self {
            batches: engine.stream(STAGE, &plan::pages(as_of, shown))?,
            current: None,
            at: 0,
        })
    }

    /// The columns of these pages, which follow those asked for before.
    fn next(&mut self, pages: &ArrayRef) -> Result<Vec<ArrayRef>, LogError> {
        let mut passed: Vec<RecordBatch> = self.current.take().into_iter().collect();
        let mut places = Vec::with_capacity(pages.len());
        for &page in pages.as_primitive::<Int64Type>().values() {
            loop {
                let ids = passed
                    .last()
                    .map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
                match ids.and_then(|ids| ids.get(self.at)) {
                    Some(&id) if id == page => break,
                    Some(_) => self.at += 1,
                    None => {
                        let more = self.batches.next()?;
                        passed.push(more.expect("every usable placement has a usable page"));
                        self.at = 0;
                    }
                }
            }
            places.push((passed.len() - 1, self.at));
        }
        let columns = 1..self.batches.schema().fields().len();
        let columns = columns.map(|column| {
            let parts: Vec<&dyn Array> = passed
                .iter()
                .map(|batch| batch.column(column).as_ref())
                .collect();
            interleave(&parts, &places).map_err(failed)
        });
        let columns = columns.collect();
        self.current = passed.pop();
        columns
    }
}

/// Both, for as much of them as a job passes on.
pub(crate) struct Beside<'a> {
    items: Option<Items>,
    pages: Option<Pages<'a>>,
    /// Row of the item of each placement of the last batch.
    found: UInt32Array,
    /// Row of the seed item of each, where something is asked of it.
    found_seed: UInt32Array,
}

impl<'a> Beside<'a> {
    pub(crate) fn new(items: Option<Items>, pages: Option<Pages<'a>>) -> Self {
        Self {
            items,
            pages,
            found: UInt32Array::new_null(0),
            found_seed: UInt32Array::new_null(0),
        }
    }

    /// The columns of [`Beside::rest`].
    fn fields(&self) -> Vec<Arc<Field>> {
        let pages = self.pages.as_ref().map(|pages| pages.batches.schema());
        let pages = pages.iter().flat_map(|schema| &schema.fields()[1..]);
        let items = self.items.iter();
        let items =
            items.flat_map(|items| items.of_item.fields.iter().chain(&items.of_seed.fields));
        pages.chain(items).cloned().collect()
    }

    /// The columns of [`rows::COLUMNS`] for a batch of placements: the item's seller where the
    /// placement names none, and the code of the item's category.
    fn known(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LogError> {
        let (_, given) = rows::COLUMNS.split_last().expect("there are columns");
        let mut known: Vec<ArrayRef> = Vec::with_capacity(rows::COLUMNS.len());
        for name in given {
            let values = cast(column(batch, name), &DataType::Int64);
            known.push(values.map_err(failed)?);
        }
        let Some(items) = &self.items else {
            known.push(Arc::new(Int64Array::new_null(batch.num_rows())));
            return Ok(known);
        };
        self.found = items.find(column(batch, "item_id"));
        let of_item = |values: &dyn Array| take(values, &self.found, None).map_err(failed);
        for (name, values) in given.iter().zip(&mut known) {
            if *name == "seed_item_id" && !items.of_seed.fields.is_empty() {
                self.found_seed = items.find(values);
            }
            if *name == "seller_id" && values.null_count() > 0 {
                let own = values.as_primitive::<Int64Type>().iter();
                let other = of_item(&items.sellers)?;
                let other = other.as_primitive::<Int64Type>().iter();
                let either = own.zip(other).map(|(own, other)| own.or(other));
                *values = Arc::new(either.collect::<Int64Array>());
            }
        }
        known.push(of_item(&items.categories)?);
        Ok(known)
    }

    /// The columns of [`Beside::fields`] for the batch that [`Beside::known`] was asked about last.
    fn rest(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LogError> {
        let mut rest = Vec::new();
        if let Some(pages) = &mut self.pages {
            rest.extend(pages.next(column(batch, "page_id"))?);
        }
        if let Some(items) = &self.items {
            rest.extend(items.of_item.at(&self.found)?);
            rest.extend(items.of_seed.at(&self.found_seed)?);
        }
        Ok(rest)
    }
}

/// Batches of a query made into the two halves of a row: [`rows::COLUMNS`], and all the rest.
pub(crate) struct Halves<'a> {
    beside: Beside<'a>,
    /// Columns of the query that go to the rest.
    own: Vec<usize>,
    narrow: SchemaRef,
    rest: SchemaRef,
}

impl<'a> Halves<'a> {
    /// For a query with these columns.
    pub(crate) fn new(beside: Beside<'a>, given: &Schema) -> Self {
        let own: Vec<usize> = (0..given.fields().len())
            .filter(|&at| !rows::COLUMNS.contains(&given.field(at).name().as_str()))
            .collect();
        let narrow = rows::COLUMNS.map(|name| Field::new(name, DataType::Int64, true));
        let mut rest: Vec<Arc<Field>> = own.iter().map(|&at| given.fields()[at].clone()).collect();
        rest.extend(beside.fields());
        Self {
            beside,
            own,
            narrow: Arc::new(Schema::new(narrow.to_vec())),
            rest: Arc::new(Schema::new(rest)),
        }
    }

    /// The columns of both.
    pub(crate) fn schemas(&self) -> [&SchemaRef; 2] {
        [&self.narrow, &self.rest]
    }

    /// The first half of the next batch of the query.
    pub(crate) fn narrow(&mut self, batch: &RecordBatch) -> Result<RecordBatch, LogError> {
        RecordBatch::try_new(self.narrow.clone(), self.beside.known(batch)?).map_err(failed)
    }

    /// The second half of the same batch, whose rows must be in order.
    pub(crate) fn rest(&mut self, batch: &RecordBatch) -> Result<RecordBatch, LogError> {
        let own = self.own.iter().map(|&at| batch.column(at).clone());
        let mut rest: Vec<ArrayRef> = own.collect();
        rest.extend(self.beside.rest(batch)?);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.rest.clone(), rest, &options).map_err(failed)
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch
        .column_by_name(name)
        .expect("the query names every known column")
}

fn failed(source: ArrowError) -> LogError {
    LogError::Engine {
        stage: STAGE,
        source: Box::new(source.into()),
    }
}
