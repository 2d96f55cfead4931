//! A batch of the placement table held against the checks, and made into rows of the query.
//!
//! That is two steps, because rows that come out of order are sorted between them: first what is the
//! placement's own ([`Slots`]), then what its page says.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, UInt32Type};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use slate_types::log::SLOT_IMPRESSION;

use super::pages::{KNOWN, Pages, failed};
use crate::LogError;
use crate::faults::Fault;
use crate::layout::ROW;
use crate::plan::OWN;
use crate::source::TableSource;
use crate::tables::{self, Extra};

/// Columns of every row, after [`ROW`], in the order of the query; those that [`KNOWN`] names are the page's.
const OF_EVERY_ROW: [&str; 4] = ["seller_id", "user_id", "session_id", "seed_item_id"];

/// Where a column of the output comes from.
enum Place {
    /// A column of [`Slots`].
    Slot(usize),
    /// A column of the page.
    Page(usize),
    /// The log has none.
    Absent,
}

/// A column of the table that is read.
struct Column {
    /// Its name in the file.
    name: String,
    /// Its type in canonical form.
    target: DataType,
    /// What its values must not be.
    faults: Vec<Fault>,
}

/// What a batch must be, and what becomes of it.
pub(super) struct Sound {
    pages: Pages,
    as_of: i64,
    columns: Vec<Column>,
    page_id: usize,
    /// Columns that are passed on, in the order of [`Slots::columns`].
    passed_on: Vec<usize>,
    places: Vec<Place>,
    output: SchemaRef,
}

/// Placements without what their pages say.
pub(super) struct Slots {
    pub(super) columns: Vec<ArrayRef>,
    /// Where the page of each is.
    pub(super) pages: UInt32Array,
}

impl Slots {
    /// What their columns hold.
    pub(super) fn bytes(&self) -> u64 {
        let columns = self.columns.iter();
        columns
            .map(|column| column.get_array_memory_size() as u64)
            .sum()
    }

    /// Some of them.
    pub(super) fn slice(&self, first: usize, rows: usize) -> Self {
        let columns = self.columns.iter();
        Self {
            columns: columns.map(|column| column.slice(first, rows)).collect(),
            pages: self.pages.slice(first, rows),
        }
    }
}

/// The ids of the impressions of a batch, those of pages that do not count among them.
pub(super) struct Impressions {
    /// The first and the last; none of an empty batch.
    pub(super) ends: Option<(i64, i64)>,
    /// Whether each is larger than the one before.
    pub(super) ascend: bool,
}

impl Impressions {
    fn of(ids: &[i64]) -> Self {
        Self {
            ends: ids.first().copied().zip(ids.last().copied()),
            ascend: ids.is_sorted_by(|a, b| a < b),
        }
    }
}

impl Sound {
    pub(super) fn new(
        source: &TableSource,
        pages: Pages,
        as_of: i64,
        shown: &[&str],
        extras: &[&Extra],
    ) -> Self {
        let all_extras = tables::extras(source).0;
        let mut columns = Vec::new();
        let mut add = |name: &str, target: DataType, checked_as: &str| {
            if source.schema.field_with_name(name).is_ok() {
                columns.push((name.to_owned(), checked_as.to_owned(), target));
            }
        };
        for column in tables::columns(source.table) {
            add(
                column.name,
                tables::canonical_type(column.kind),
                column.name,
            );
        }
        for extra in &all_extras {
            add(&extra.name, extra.data_type(), &extra.alias);
        }
        let checks = tables::checks(source.table, &all_extras);
        let columns: Vec<Column> = columns
            .into_iter()
            .map(|(name, checked_as, target)| {
                let own = checks.iter().filter(|check| check.tested == checked_as);
                Column {
                    name,
                    target,
                    faults: own.map(|check| check.fault).collect(),
                }
            })
            .collect();

        let (mut places, mut fields) = (Vec::new(), Vec::<FieldRef>::new());
        let mut passed_on = Vec::new();
        let mut pass_on = |name: &str, target: DataType| {
            let of_page = KNOWN.iter().position(|known| *known == name);
            let of_slot = columns.iter().position(|column| column.name == name);
            places.push(match (of_page, of_slot) {
                (Some(at), _) => Place::Page(at),
                (None, Some(at)) => {
                    passed_on.push(at);
                    Place::Slot(passed_on.len() - 1)
                }
                (None, None) => Place::Absent,
            });
            fields.push(Arc::new(Field::new(name, target, true)));
        };
        for name in ROW.into_iter().chain(OF_EVERY_ROW) {
            pass_on(name, DataType::Int64);
        }
        for name in OWN.iter().filter(|name| shown.contains(name)) {
            let column = SLOT_IMPRESSION.column(name).expect("the schema has it");
            pass_on(name, tables::canonical_type(column.kind));
        }
        for extra in extras {
            pass_on(&extra.name, extra.data_type());
        }
        for (field, at) in pages.passed_on().iter().zip(KNOWN.len()..) {
            places.push(Place::Page(at));
            fields.push(field.clone());
        }
        let page_id = columns.iter().position(|column| column.name == "page_id");
        Self {
            pages,
            as_of,
            page_id: page_id.expect("the table has it"),
            columns,
            passed_on,
            places,
            output: Arc::new(Schema::new(fields)),
        }
    }

    /// The columns of the rows.
    pub(super) fn schema(&self) -> SchemaRef {
        self.output.clone()
    }

    /// The pages.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Columns of [`Slots`] that order the rows of a page: list, slot and impression.
    pub(super) fn order_within_page(&self) -> [usize; 3] {
        ["list_id", "slot", "impression_id"].map(|name| {
            let mut names = self.passed_on.iter().map(|&at| &self.columns[at].name);
            names
                .position(|passed_on| passed_on == name)
                .expect("it is required")
        })
    }

    /// Which columns of a row group have to be read: those that are passed on, and those whose values
    /// could be unsound for all that its statistics say. None where the file has become another.
    pub(super) fn columns_of(
        &self,
        file: &ArrowReaderMetadata,
        group: usize,
    ) -> Option<Vec<usize>> {
        let metadata = file.metadata();
        let wanted = self.columns.iter().enumerate().filter(|(at, column)| {
            self.passed_on.contains(at)
                || (!column.faults.is_empty() && !vouched(column, metadata, group))
        });
        let place = |name: &str| file.schema().index_of(name).ok();
        let roots = wanted.map(|(_, column)| place(&column.name));
        let mut roots: Vec<usize> = roots.collect::<Option<_>>()?;
        roots.sort_unstable();
        Some(roots)
    }

    /// The placements of a batch whose pages count; none where one of them is not sound. Columns that
    /// were not read are sound.
    pub(super) fn slots(
        &self,
        batch: &RecordBatch,
    ) -> Result<Option<(Slots, Impressions)>, LogError> {
        let mut read: Vec<Option<ArrayRef>> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(given) = batch.column_by_name(&column.name) else {
                read.push(None);
                continue;
            };
            let values = cast(given, &column.target).map_err(failed)?;
            if !column.faults.iter().all(|fault| fault.is_absent(&values)) {
                return Ok(None);
            }
            read.push(Some(values));
        }
        let pages = read[self.page_id].as_ref().expect("it is always read");
        let Some(pages) = self.pages.find(pages.as_primitive::<Int64Type>().values()) else {
            return Ok(None);
        };
        let read = |&at: &usize| read[at].clone().expect("what is passed on is read");
        let slots = Slots {
            columns: self.passed_on.iter().map(read).collect(),
            pages,
        };
        let shown = self.pages.shown();
        let counts = |&page: &u32| shown[page as usize] <= self.as_of;
        let [_, _, impression] = self.order_within_page();
        let ids = slots.columns[impression].as_primitive::<Int64Type>();
        let impressions = Impressions::of(ids.values());
        if slots.pages.values().iter().all(counts) {
            return Ok(Some((slots, impressions)));
        }
        let counts = slots.pages.values().iter().map(|page| Some(counts(page)));
        let counts: BooleanArray = counts.collect();
        let kept = |values: &dyn Array| filter(values, &counts).map_err(failed);
        let columns = slots.columns.iter().map(|values| kept(values));
        let slots = Slots {
            columns: columns.collect::<Result<_, _>>()?,
            pages: kept(&slots.pages)?.as_primitive::<UInt32Type>().clone(),
        };
        Ok(Some((slots, impressions)))
    }

    /// The same with what their pages say.
    pub(super) fn rows(&self, slots: &Slots) -> Result<RecordBatch, LogError> {
        let pages = self.pages.columns(&slots.pages)?;
        let columns = self.places.iter().zip(self.output.fields());
        let columns = columns.map(|(place, field)| match place {
            Place::Slot(at) => slots.columns[*at].clone(),
            Place::Page(at) => pages[*at].clone(),
            Place::Absent => new_null_array(field.data_type(), slots.pages.len()),
        });
        RecordBatch::try_new(self.output.clone(), columns.collect()).map_err(failed)
    }
}

/// Whether the statistics of a row group leave no doubt about a column.
fn vouched(column: &Column, metadata: &ParquetMetaData, group: usize) -> bool {
    let group = metadata.row_group(group);
    let chunk = group.columns().iter().find(|chunk| {
        let path = chunk.column_path().parts();
        path.len() == 1 && path[0] == column.name
    });
    let range = match chunk.and_then(|chunk| chunk.statistics()) {
        Some(Statistics::Int64(values)) => values.min_opt().copied().zip(values.max_opt().copied()),
        Some(Statistics::Int32(values)) => {
            let ends = values.min_opt().zip(values.max_opt());
            ends.map(|(&least, &most)| (least.into(), most.into()))
        }
        _ => None,
    };
    range.is_some_and(|(least, most)| {
        let mut faults = column.faults.iter();
        faults.all(|fault| *fault != Fault::Null && fault.spares(least, most))
    })
}
