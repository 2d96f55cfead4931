//! The page table in memory, for placements that come in the order of their pages, or nearly.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{FieldRef, Int64Type};
use arrow::error::ArrowError;

use crate::LogError;
use crate::engine::Engine;
use crate::history::IdMap;
use crate::plan::OF_PAGES;

const STAGE: &str = "read placements";

/// What [`Pages::columns`] gives first, in this order; columns that are only passed on follow.
pub(super) const KNOWN: [&str; 4] = ["ts", "user_id", "session_id", "seed_item_id"];

/// Pages by id.
pub(super) struct Pages {
    ids: Int64Array,
    /// Where each is, unless ids ascend and can be searched.
    places: Option<IdMap<i64, u32>>,
    columns: Vec<ArrayRef>,
    fields: Vec<FieldRef>,
}

impl Pages {
    /// Reads the usable pages, with those columns that are `shown` and only passed on.
    pub(super) fn read(engine: &Engine, shown: &[&str]) -> Result<Self, LogError> {
        let mut names = KNOWN.to_vec();
        names.extend(OF_PAGES.iter().filter(|name| shown.contains(name)));
        let sql = format!("SELECT page_id, {} FROM page_kept", names.join(", "));
        let mut stream = engine.stream_as_stored(STAGE, &sql)?;
        let schema = stream.schema();
        let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); schema.fields().len()];
        while let Some(batch) = stream.next()? {
            for (parts, column) in parts.iter_mut().zip(batch.columns()) {
                parts.push(column.clone());
            }
        }
        // One column at a time, so that no more than one is held twice.
        let mut columns = parts
            .into_iter()
            .zip(schema.fields())
            .map(|(parts, field)| {
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                match parts.as_slice() {
                    [] => Ok(arrow::array::new_empty_array(field.data_type())),
                    parts => concat(parts).map_err(failed),
                }
            });
        let ids = columns.next().expect("the query names the id")?;
        let ids = ids.as_primitive::<Int64Type>().clone();
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let ascending = ids.values().is_sorted_by(|a, b| a < b);
        let places = (!ascending).then(|| {
            let places = ids.values().iter().zip(0..);
            places.map(|(&id, place)| (id, place)).collect()
        });
        Ok(Self {
            ids,
            places,
            columns,
            fields: schema.fields()[1 + KNOWN.len()..].to_vec(),
        })
    }

    /// The columns that are only passed on.
    pub(super) fn passed_on(&self) -> &[FieldRef] {
        &self.fields
    }

    /// When each was shown.
    pub(super) fn shown(&self) -> &[i64] {
        self.columns[0].as_primitive::<Int64Type>().values()
    }

    /// What orders the page at this place: when it was shown, and its id.
    pub(super) fn order_of(&self, place: u32) -> (i64, i64) {
        let place = place as usize;
        (self.shown()[place], self.ids.value(place))
    }

    /// Whether the pages at these places come in the order of the output.
    pub(super) fn ascend(&self, places: &UInt32Array) -> bool {
        let key = |&place: &u32| self.order_of(place);
        places.values().is_sorted_by_key(key)
    }

    /// Where these pages are; none where one of them is unknown.
    pub(super) fn find(&self, pages: &[i64]) -> Option<UInt32Array> {
        let ids = self.ids.values();
        let mut places = Vec::with_capacity(pages.len());
        let mut at = 0_u32;
        for page in pages {
            let here = |at: u32| ids.get(at as usize) == Some(page);
            // Most often the page of the row before, or the page after that.
            if !here(at) {
                at += 1;
                if !here(at) {
                    at = match &self.places {
                        Some(places) => *places.get(page)?,
                        None => ids.binary_search(page).ok()? as u32,
                    };
                }
            }
            places.push(at);
        }
        Some(UInt32Array::from(places))
    }

    /// The columns of the pages at these places.
    pub(super) fn columns(&self, places: &UInt32Array) -> Result<Vec<ArrayRef>, LogError> {
        let columns = self.columns.iter();
        let columns = columns.map(|column| take(column, places, None).map_err(failed));
        columns.collect()
    }
}

pub(super) fn failed(source: ArrowError) -> LogError {
    LogError::Engine {
        stage: STAGE,
        source: Box::new(source.into()),
    }
}
