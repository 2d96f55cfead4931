//! Rows of the canonical log tables, as plain structs.
//!
//! A field that a format does not know stays `None` and becomes null. Fields that no importer
//! fills are not here; their columns are written all null. Named feature columns follow the
//! schema's columns and are numbers or text.

use arrow::datatypes::{DataType, Field};
use slate_types::log::{EVENT, ITEM, PAGE_IMPRESSION, SLOT_IMPRESSION, Table};

use super::table_writer::{Cell, data_type};

/// A named feature column beyond the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) kind: FeatureKind,
}

/// What a feature column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeatureKind {
    /// A finite number, stored as `f64`.
    Number,
    /// UTF-8 text, for instance a category.
    Text,
}

impl Feature {
    pub(crate) fn number(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: FeatureKind::Number,
        }
    }

    pub(crate) fn text(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: FeatureKind::Text,
        }
    }
}

/// The columns of `table` and, behind them, of `features`.
pub(crate) fn fields(table: &Table, features: &[Feature]) -> Vec<Field> {
    let schema = table
        .columns
        .iter()
        .map(|column| Field::new(column.name, data_type(column.kind), !column.required));
    let named = features.iter().map(|feature| {
        let data_type = match feature.kind {
            FeatureKind::Number => DataType::Float64,
            FeatureKind::Text => DataType::Utf8,
        };
        Field::new(&feature.name, data_type, true)
    });
    schema.chain(named).collect()
}

/// A row of `page_impression`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageRow<'a> {
    pub(crate) page_id: i64,
    pub(crate) ts: i64,
    pub(crate) user_id: Option<i64>,
    pub(crate) session_id: Option<i64>,
    pub(crate) site: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    pub(crate) seed_item_id: Option<i64>,
    pub(crate) traffic_class: Option<&'a str>,
}

impl<'a> PageRow<'a> {
    /// The row in the schema's order.
    pub(crate) fn cells(&self) -> [Cell<'a>; PAGE_IMPRESSION.columns.len()] {
        [
            self.page_id.into(),
            self.ts.into(),
            self.user_id.into(),
            self.session_id.into(),
            self.site.into(),
            self.device.into(),
            Cell::Null, // page_type
            self.seed_item_id.into(),
            Cell::Null, // experiment_arm
            self.traffic_class.into(),
        ]
    }
}

/// A row of `slot_impression`, without its features.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SlotRow<'a> {
    pub(crate) impression_id: i64,
    pub(crate) page_id: i64,
    pub(crate) list_id: i64,
    pub(crate) slot: i64,
    pub(crate) item_id: i64,
    pub(crate) price: Option<i64>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) policy_id: Option<&'a str>,
    pub(crate) propensity: Option<f64>,
}

impl<'a> SlotRow<'a> {
    /// The row in the schema's order.
    pub(crate) fn cells(&self) -> [Cell<'a>; SLOT_IMPRESSION.columns.len()] {
        [
            self.impression_id.into(),
            self.page_id.into(),
            self.list_id.into(),
            self.slot.into(),
            self.item_id.into(),
            self.price.into(),
            Cell::Null, // seller_id
            Cell::Null, // module_id
            self.kind.into(),
            Cell::Null, // shipping
            Cell::Null, // ad_rate
            self.policy_id.into(),
            Cell::Null, // model_version
            Cell::Null, // raw_score
            Cell::Null, // probability
            self.propensity.into(),
        ]
    }
}

/// A row of `event`, without its id: [`super::log_writer::LogWriter`] counts events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EventRow<'a> {
    pub(crate) ts: i64,
    pub(crate) what: &'a str,
    pub(crate) item_id: i64,
    pub(crate) user_id: Option<i64>,
    pub(crate) session_id: Option<i64>,
    pub(crate) impression_id: Option<i64>,
    pub(crate) order_id: Option<i64>,
    pub(crate) sale_total: Option<i64>,
}

impl<'a> EventRow<'a> {
    /// The row in the schema's order.
    pub(crate) fn cells(&self, event_id: i64) -> [Cell<'a>; EVENT.columns.len()] {
        [
            event_id.into(),
            self.ts.into(),
            self.what.into(),
            self.item_id.into(),
            Cell::Null, // ingest_ts
            self.user_id.into(),
            self.session_id.into(),
            Cell::Null, // seller_id
            self.impression_id.into(),
            self.order_id.into(),
            Cell::Null, // quantity
            self.sale_total.into(),
            Cell::Null, // ad_rate_at_sale
        ]
    }
}

/// A row of `item`, without its features.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ItemRow<'a> {
    pub(crate) item_id: i64,
    pub(crate) category: Option<&'a str>,
}

impl<'a> ItemRow<'a> {
    /// The row in the schema's order.
    pub(crate) fn cells(&self) -> [Cell<'a>; ITEM.columns.len()] {
        [
            self.item_id.into(),
            Cell::Null, // title
            Cell::Null, // image
            self.category.into(),
            Cell::Null, // price
            Cell::Null, // seller_id
            Cell::Null, // condition
            Cell::Null, // start
            Cell::Null, // end
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each field that is set lands in the table.
    fn filled(table: &Table, cells: &[Cell<'_>]) -> String {
        let names: Vec<_> = table
            .columns
            .iter()
            .zip(cells)
            .filter(|(_, cell)| **cell != Cell::Null)
            .map(|(column, cell)| format!("{}={cell:?}", column.name))
            .collect();
        names.join(" ")
    }

    #[test]
    fn every_field_stands_in_its_column() {
        let page = PageRow {
            page_id: 1,
            ts: 2,
            user_id: Some(3),
            session_id: Some(4),
            site: Some("s"),
            device: Some("d"),
            seed_item_id: Some(5),
            traffic_class: Some("prod"),
        };
        assert_eq!(
            filled(&PAGE_IMPRESSION, &page.cells()),
            "page_id=Int(1) ts=Int(2) user_id=Int(3) session_id=Int(4) site=Text(\"s\") \
             device=Text(\"d\") seed_item_id=Int(5) traffic_class=Text(\"prod\")"
        );
        let slot = SlotRow {
            impression_id: 1,
            page_id: 2,
            list_id: 3,
            slot: 4,
            item_id: 5,
            price: Some(6),
            kind: Some("organic"),
            policy_id: Some("p"),
            propensity: Some(0.5),
        };
        assert_eq!(
            filled(&SLOT_IMPRESSION, &slot.cells()),
            "impression_id=Int(1) page_id=Int(2) list_id=Int(3) slot=Int(4) item_id=Int(5) \
             price=Int(6) kind=Text(\"organic\") policy_id=Text(\"p\") propensity=Float(0.5)"
        );
        let event = EventRow {
            ts: 2,
            what: "click",
            item_id: 3,
            user_id: Some(4),
            session_id: Some(5),
            impression_id: Some(6),
            order_id: Some(7),
            sale_total: Some(8),
        };
        assert_eq!(
            filled(&EVENT, &event.cells(1)),
            "event_id=Int(1) ts=Int(2) type=Text(\"click\") item_id=Int(3) user_id=Int(4) \
             session_id=Int(5) impression_id=Int(6) order_id=Int(7) sale_total=Int(8)"
        );
        let item = ItemRow {
            item_id: 1,
            category: Some("c"),
        };
        assert_eq!(
            filled(&ITEM, &item.cells()),
            "item_id=Int(1) category=Text(\"c\")"
        );
    }
}
