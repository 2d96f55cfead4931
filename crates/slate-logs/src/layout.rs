//! The columns of `examples.parquet`: what was shown, extra columns, history, labels.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::rows;
use crate::tables::{Extra, Extras};
use crate::{Attribution, plan};

/// The columns of the output.
pub(crate) struct Layout {
    /// Columns before the extra ones.
    pub(crate) shown: Vec<&'static str>,
    pub(crate) schema: SchemaRef,
    pub(crate) slot_extras: Vec<Extra>,
    pub(crate) item_extras: Vec<Extra>,
    /// Those of the page's seed item.
    pub(crate) seed_extras: Vec<Extra>,
    /// Columns of the log that are not passed on, as `table.column`.
    pub(crate) ignored: Vec<String>,
    /// Which history columns there are, in the order of [`Attribution::history_columns`].
    pub(crate) history: Vec<bool>,
    /// Index of `grade`, the first of the labels.
    pub(crate) labels_at: usize,
}

/// Which columns examples have beside ids and labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExampleColumns {
    /// All there are.
    All,
    /// These, if the log has all of them: nothing else is read, counted or written. All there are
    /// where it lacks one, so that whoever misses it sees what there is.
    Only(BTreeSet<String>),
}

/// Columns before the extra ones: name, type, whether null is possible.
const SHOWN: [(&str, DataType, bool); 30] = [
    ("list_id", DataType::Int64, false),
    ("page_id", DataType::Int64, false),
    ("impression_id", DataType::Int64, false),
    ("ts", DataType::Int64, false),
    ("slot", DataType::Int32, false),
    ("item_id", DataType::Int64, false),
    ("seller_id", DataType::Int64, true),
    ("user_id", DataType::Int64, true),
    ("session_id", DataType::Int64, true),
    ("kind", DataType::Utf8, true),
    ("price", DataType::Int64, true),
    ("shipping", DataType::Int64, true),
    ("ad_rate", DataType::Float64, true),
    ("raw_score", DataType::Float64, true),
    ("propensity", DataType::Float64, true),
    ("site", DataType::Utf8, true),
    ("device", DataType::Utf8, true),
    ("page_type", DataType::Utf8, true),
    ("traffic_class", DataType::Utf8, true),
    ("seed_item_id", DataType::Int64, true),
    ("item_category", DataType::Utf8, true),
    ("item_condition", DataType::Utf8, true),
    ("item_price", DataType::Int64, true),
    ("item_start", DataType::Int64, true),
    ("item_end", DataType::Int64, true),
    ("seed_category", DataType::Utf8, true),
    ("seed_condition", DataType::Utf8, true),
    ("seed_price", DataType::Int64, true),
    ("seed_start", DataType::Int64, true),
    ("seed_end", DataType::Int64, true),
];

/// Columns that say which placement a row is.
pub(crate) const ROW: [&str; 6] = [
    "list_id",
    "page_id",
    "impression_id",
    "ts",
    "slot",
    "item_id",
];

/// Columns that say whose page it is.
const PERSON: [&str; 2] = ["user_id", "session_id"];

/// Whether a column stands beside labels where these are all that is asked for.
fn is_labelled(name: &str) -> bool {
    ROW.contains(&name) || PERSON.contains(&name)
}

/// The last columns.
const LABELS: [(&str, DataType, bool); 7] = [
    ("grade", DataType::UInt8, false),
    ("click", DataType::UInt8, false),
    ("purchase", DataType::UInt8, false),
    ("matured", DataType::Boolean, false),
    ("attribution", DataType::Utf8, true),
    ("click_lag", DataType::Int64, true),
    ("purchase_lag", DataType::Int64, true),
];

impl Layout {
    pub(crate) fn new(
        extras: &Extras,
        attribution: &Attribution,
        columns: &ExampleColumns,
    ) -> Self {
        let field = |(name, data_type, nullable): &(&str, DataType, bool)| {
            Field::new(*name, data_type.clone(), *nullable)
        };
        let history = attribution.history_columns();
        let mut taken: BTreeSet<String> = history.iter().cloned().collect();
        taken.extend(
            SHOWN
                .iter()
                .chain(&LABELS)
                .map(|column| column.0.to_owned()),
        );
        let mut ignored: Vec<String> = extras
            .ignored
            .iter()
            .map(|(table, column)| format!("{table}.{column}"))
            .collect();

        let mut choose = |extras: &[Extra], table: &str, name: fn(&str) -> String| {
            let mut chosen = Vec::new();
            for extra in extras {
                if taken.insert(name(&extra.name)) {
                    chosen.push(extra.clone());
                } else {
                    ignored.push(format!("{table}.{}", extra.name));
                }
            }
            chosen
        };
        let mut slot_extras = choose(&extras.slot, "slot_impression", str::to_owned);
        let mut item_extras = choose(&extras.item, "item", plan::item_column);
        let mut seed_extras = extras.item.clone();
        seed_extras.retain(|extra| taken.insert(plan::seed_column(&extra.name)));
        let mut shown: Vec<&(&str, DataType, bool)> = SHOWN.iter().collect();
        let mut counted = vec![true; history.len()];
        if let ExampleColumns::Only(only) = columns
            && only.is_subset(&taken)
        {
            shown.retain(|(name, _, _)| ROW.contains(name) || only.contains(*name));
            slot_extras.retain(|extra| only.contains(&extra.name));
            item_extras.retain(|extra| only.contains(&plan::item_column(&extra.name)));
            seed_extras.retain(|extra| only.contains(&plan::seed_column(&extra.name)));
            for (name, counted) in history.iter().zip(&mut counted) {
                *counted = only.contains(name);
            }
        }

        let extra = |extra: &Extra, name: String| Field::new(name, extra.data_type(), true);
        let mut fields: Vec<Field> = shown.iter().copied().map(field).collect();
        fields.extend(slot_extras.iter().map(|x| extra(x, x.name.clone())));
        fields.extend(
            item_extras
                .iter()
                .map(|x| extra(x, plan::item_column(&x.name))),
        );
        fields.extend(
            seed_extras
                .iter()
                .map(|x| extra(x, plan::seed_column(&x.name))),
        );
        let counted_names = history
            .iter()
            .zip(&counted)
            .filter(|(_, counted)| **counted);
        fields.extend(counted_names.map(|(name, _)| Field::new(name, DataType::Int32, false)));
        let labels_at = fields.len();
        fields.extend(LABELS.iter().map(field));
        Self {
            shown: shown.iter().map(|column| column.0).collect(),
            schema: Arc::new(Schema::new(fields)),
            slot_extras,
            item_extras,
            seed_extras,
            ignored,
            history: counted,
            labels_at,
        }
    }

    /// Ids and labels alone.
    pub(crate) fn labels() -> Self {
        let ids = SHOWN.iter().filter(|column| is_labelled(column.0));
        let ids: Vec<&(&'static str, DataType, bool)> = ids.collect();
        let labels_at = ids.len();
        let field = |(name, data_type, nullable): &(&'static str, DataType, bool)| {
            Field::new(*name, data_type.clone(), *nullable)
        };
        let fields: Vec<Field> = ids.iter().copied().chain(&LABELS).map(field).collect();
        Self {
            shown: ids.iter().map(|column| column.0).collect(),
            schema: Arc::new(Schema::new(fields)),
            slot_extras: Vec::new(),
            item_extras: Vec::new(),
            seed_extras: Vec::new(),
            ignored: Vec::new(),
            history: Vec::new(),
            labels_at,
        }
    }

    /// All columns before the extra ones, or those beside labels alone.
    pub(crate) fn all_shown(whole: bool) -> Vec<&'static str> {
        let all = SHOWN.iter().map(|column| column.0);
        all.filter(|name| whole || is_labelled(name)).collect()
    }

    /// Where the columns before history stand in the two files of rows.
    pub(crate) fn places(&self, rest: &[String]) -> Places {
        let extras = self.slot_extras.iter().map(|extra| extra.name.clone());
        let item_extras = self
            .item_extras
            .iter()
            .map(|extra| plan::item_column(&extra.name));
        let seed_extras = self
            .seed_extras
            .iter()
            .map(|extra| plan::seed_column(&extra.name));
        let names = self
            .shown
            .iter()
            .map(|column| (*column).to_owned())
            .chain(extras)
            .chain(item_extras)
            .chain(seed_extras);
        let place = |name: String| {
            let known = rows::COLUMNS.iter().position(|column| *column == name);
            match rest.iter().position(|column| *column == name) {
                Some(at) => (true, at),
                None => (false, known.expect("the query names every column")),
            }
        };
        Places(names.map(place).collect())
    }
}

/// For each column whether it is in the second file, and where.
pub(crate) struct Places(Vec<(bool, usize)>);

impl Places {
    pub(crate) fn columns(&self, known: &RecordBatch, rest: &RecordBatch) -> Vec<ArrayRef> {
        let column = |&(in_rest, at): &(bool, usize)| {
            let batch = if in_rest { rest } else { known };
            batch.column(at).clone()
        };
        self.0.iter().map(column).collect()
    }
}
