//! Rows to Arrow batches: the tables of the log, and the truth.
//!
//! Column names and their order are those of `slate_types::log`; named feature columns follow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};

use crate::behaviour::{Outcome, Truth};
use crate::catalogue::{CONDITIONS, Catalogue};
use crate::config::Market;
use crate::events::{Event, Placement};
use crate::pages::Page;
use crate::picture;
use crate::ranking::{Placed, Ranking};

/// A column: its name, its values, and whether the table allows nulls in it.
type Column = (&'static str, ArrayRef, bool);

/// Ids set aside for the placements of one page; a page has at most 60.
const PLACEMENTS_PER_PAGE: i64 = 64;

/// Id of a placement.
pub(crate) fn impression_id(page: &Page, slot: usize) -> i64 {
    page.id * PLACEMENTS_PER_PAGE + slot as i64
}

/// Rows of `page_impression`, one per page.
#[derive(Default)]
pub(crate) struct PageRows {
    id: Vec<i64>,
    ts: Vec<i64>,
    user: Vec<i64>,
    session: Vec<i64>,
    site: Vec<&'static str>,
    device: Vec<&'static str>,
    page_type: Vec<&'static str>,
    seed_item: Vec<i64>,
    traffic_class: Vec<&'static str>,
}

impl PageRows {
    pub(crate) fn push(&mut self, page: &Page, ranking: &Ranking) {
        self.id.push(page.id);
        self.ts.push(page.ts);
        self.user.push(page.user as i64 + 1);
        self.session.push(page.session);
        self.site.push(page.site);
        self.device.push(page.device);
        self.page_type.push(page.kind);
        self.seed_item.push(i64::from(page.seed_item) + 1);
        self.traffic_class.push(ranking.traffic_class);
    }

    pub(crate) fn batch(self) -> RecordBatch {
        batch(vec![
            ("page_id", whole(self.id), false),
            ("ts", times(self.ts), false),
            ("user_id", whole(self.user), true),
            ("session_id", whole(self.session), true),
            ("site", text(self.site), true),
            ("device", text(self.device), true),
            ("page_type", text(self.page_type), true),
            ("seed_item_id", whole(self.seed_item), true),
            ("traffic_class", text(self.traffic_class), true),
        ])
    }
}

/// Rows of `slot_impression`, one per placement.
#[derive(Default)]
pub(crate) struct SlotRows {
    impression: Vec<i64>,
    page: Vec<i64>,
    slot: Vec<i64>,
    item: Vec<i64>,
    price: Vec<i64>,
    seller: Vec<i64>,
    kind: Vec<&'static str>,
    shipping: Vec<i64>,
    ad_rate: Vec<f64>,
    policy: Vec<&'static str>,
    model_version: Vec<Option<&'static str>>,
    raw_score: Vec<Option<f64>>,
    propensity: Vec<f64>,
    similarity: Vec<f64>,
    affinity: Vec<f64>,
}

impl SlotRows {
    pub(crate) fn push(
        &mut self,
        catalogue: &Catalogue,
        page: &Page,
        ranking: &Ranking,
        slot: usize,
    ) {
        let placed = &ranking.placed[slot];
        let candidate = &page.pool[placed.candidate];
        let item = &catalogue.items[candidate.item as usize];
        self.impression.push(impression_id(page, slot));
        self.page.push(page.id);
        self.slot.push(slot as i64);
        self.item.push(i64::from(candidate.item) + 1);
        self.price.push(candidate.price);
        self.seller.push(i64::from(item.seller) + 1);
        self.kind.push(if item.ad_rate > 0.0 {
            "promoted"
        } else {
            "organic"
        });
        self.shipping.push(candidate.shipping);
        self.ad_rate.push(item.ad_rate);
        self.policy.push(ranking.policy.id());
        self.model_version.push(ranking.policy.model_version());
        self.raw_score.push(placed.score);
        self.propensity.push(placed.propensity);
        self.similarity.push(candidate.similarity);
        self.affinity.push(candidate.affinity);
    }

    pub(crate) fn batch(self) -> RecordBatch {
        batch(vec![
            ("impression_id", whole(self.impression), false),
            ("page_id", whole(self.page.clone()), false),
            // One list on each page.
            ("list_id", whole(self.page), false),
            ("slot", whole(self.slot), false),
            ("item_id", whole(self.item), false),
            ("price", whole(self.price), true),
            ("seller_id", whole(self.seller), true),
            ("kind", text(self.kind), true),
            ("shipping", whole(self.shipping), true),
            ("ad_rate", numbers(self.ad_rate), true),
            ("policy_id", text(self.policy), true),
            (
                "model_version",
                Arc::new(StringArray::from(self.model_version)),
                true,
            ),
            (
                "raw_score",
                Arc::new(Float64Array::from(self.raw_score)),
                true,
            ),
            ("propensity", numbers(self.propensity), true),
            ("similarity", numbers(self.similarity), true),
            ("affinity", numbers(self.affinity), true),
        ])
    }
}

/// Rows of `event`.
pub(crate) fn event_batch(events: &[Event]) -> RecordBatch {
    let ids = |value: fn(&Event) -> i64| whole(events.iter().map(value).collect());
    let maybe = |value: fn(&Event) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(value).collect::<Int64Array>())
    };
    let ad_rate: Float64Array = events
        .iter()
        .map(|event| event.sale.map(|sale| sale.ad_rate))
        .collect();
    batch(vec![
        ("event_id", ids(|event| event.id), false),
        (
            "ts",
            times(events.iter().map(|event| event.ts).collect()),
            false,
        ),
        (
            "type",
            text(events.iter().map(|event| event.kind).collect()),
            false,
        ),
        ("item_id", ids(|event| event.item), false),
        ("user_id", ids(|event| event.user), true),
        ("session_id", maybe(|event| event.session), true),
        ("seller_id", ids(|event| event.seller), true),
        ("impression_id", maybe(|event| event.impression), true),
        (
            "order_id",
            maybe(|event| event.sale.map(|sale| sale.order)),
            true,
        ),
        (
            "quantity",
            maybe(|event| event.sale.map(|sale| sale.quantity)),
            true,
        ),
        (
            "sale_total",
            maybe(|event| event.sale.map(|sale| sale.total)),
            true,
        ),
        ("ad_rate_at_sale", Arc::new(ad_rate), true),
    ])
}

/// Rows of `truth`, one per placement, in the order of `slot_impression`.
#[derive(Default)]
pub(crate) struct TruthRows {
    impression: Vec<i64>,
    list: Vec<i64>,
    slot: Vec<i64>,
    item: Vec<i64>,
    examination: Vec<f64>,
    click_probability: Vec<f64>,
    buy_given_click: Vec<f64>,
    purchase_probability: Vec<f64>,
    purchase_examined: Vec<f64>,
    log_odds: Vec<f64>,
    click: Vec<bool>,
    purchase: Vec<bool>,
    given_prefix: Vec<f64>,
    pool_size: Vec<i64>,
}

impl TruthRows {
    pub(crate) fn push(
        &mut self,
        page: &Page,
        slot: usize,
        placement: Placement,
        placed: &Placed,
        truth: &Truth,
        outcome: Outcome,
    ) {
        self.impression.push(placement.impression);
        self.list.push(page.id);
        self.slot.push(slot as i64);
        self.item.push(i64::from(placement.item) + 1);
        self.examination.push(truth.examination);
        self.click_probability.push(truth.click);
        self.buy_given_click.push(truth.buy_given_click);
        self.purchase_probability.push(truth.purchase);
        self.purchase_examined.push(truth.purchase_examined);
        self.log_odds.push(truth.log_odds);
        self.click.push(outcome.clicked);
        self.purchase.push(outcome.bought && !outcome.cancelled);
        self.given_prefix.push(placed.given_prefix);
        self.pool_size.push(page.pool.len() as i64);
    }

    pub(crate) fn batch(self) -> RecordBatch {
        batch(vec![
            ("impression_id", whole(self.impression), false),
            ("list_id", whole(self.list), false),
            ("slot", whole(self.slot), false),
            ("item_id", whole(self.item), false),
            ("examination", numbers(self.examination), false),
            ("p_click", numbers(self.click_probability), false),
            (
                "p_purchase_given_click",
                numbers(self.buy_given_click),
                false,
            ),
            ("p_purchase", numbers(self.purchase_probability), false),
            (
                "p_purchase_examined",
                numbers(self.purchase_examined),
                false,
            ),
            ("log_odds", numbers(self.log_odds), false),
            ("click", Arc::new(BooleanArray::from(self.click)), false),
            (
                "purchase",
                Arc::new(BooleanArray::from(self.purchase)),
                false,
            ),
            ("propensity_given_prefix", numbers(self.given_prefix), false),
            ("pool_size", whole(self.pool_size), false),
        ])
    }
}

/// Rows of `item` for a range of the catalogue.
pub(crate) fn item_batch(
    market: &Market,
    catalogue: &Catalogue,
    range: std::ops::Range<usize>,
) -> RecordBatch {
    let config = market.config();
    let items = &catalogue.items[range.clone()];
    let titles: StringArray = items.iter().map(|item| Some(item.title())).collect();
    let images: BinaryArray = items
        .iter()
        .map(|item| {
            config
                .pictures
                .then(|| picture::draw(item.category as usize, &item.style, config.picture_size))
        })
        .collect();
    let categories: StringArray = items
        .iter()
        .map(|item| Some(catalogue.categories[item.category as usize].path.as_str()))
        .collect();
    let conditions = items
        .iter()
        .map(|item| CONDITIONS[item.condition as usize])
        .collect();
    let ratings: Float64Array = items.iter().map(|item| item.rating).collect();
    batch(vec![
        (
            "item_id",
            whole(range.map(|index| index as i64 + 1).collect()),
            false,
        ),
        ("title", Arc::new(titles), true),
        ("image", Arc::new(images), true),
        ("category", Arc::new(categories), true),
        (
            "price",
            whole(items.iter().map(|item| item.price).collect()),
            true,
        ),
        (
            "seller_id",
            whole(
                items
                    .iter()
                    .map(|item| i64::from(item.seller) + 1)
                    .collect(),
            ),
            true,
        ),
        ("condition", text(conditions), true),
        (
            "start",
            times(items.iter().map(|item| item.start).collect()),
            true,
        ),
        ("rating", Arc::new(ratings), true),
        (
            "reviews",
            whole(items.iter().map(|item| item.reviews).collect()),
            true,
        ),
    ])
}

fn whole(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

fn numbers(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn text(values: Vec<&'static str>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn times(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn batch(columns: Vec<Column>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns)
        .expect("columns of one table are filled row by row, so they have one length")
}
