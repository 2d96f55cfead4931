//! Expedia personalised sort: hotel searches with positions, prices, clicks and bookings.
//!
//! In: the training file of the ICDM 2013 competition, whole or the first rows, with `NULL` for a
//! missing value; dates as published or as a spreadsheet wrote them. Each search becomes a page
//! with one list. `slot` is the shown position counted from 0; positions that the source leaves
//! out (they held other offers) stay gaps. Prices and bookings are US dollars, kept in cents.
//! `random_bool` becomes the traffic class `random` or `prod`. The source times the search only:
//! a click is put 1 s after it and a booking 2 s.
//!
//! Features of a slot are the other columns under their own names: text for country and
//! destination numbers, since they only name something, and numbers for the rest.
//!
//! Refused rows: a hotel or position that the search already has, a row whose date, site or
//! `random_bool` differs from the first row of its search, and any cell that is not a number.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use slate_types::Progress;

use super::canonical::{EventRow, Feature, FeatureKind, ItemRow, PageRow, SlotRow};
use super::csv_file::CsvFile;
use super::log_writer::LogWriter;
use super::record::{Column, parse_cents};
use super::table_writer::Cell;
use super::time::{SECOND, parse_time};
use super::{Format, ImportError, ImportSummary, sources};

/// Columns with a place in the schema.
const COLUMNS: [&str; 10] = [
    "srch_id",
    "date_time",
    "site_id",
    "prop_id",
    "position",
    "price_usd",
    "random_bool",
    "click_bool",
    "gross_bookings_usd",
    "booking_bool",
];

/// Columns that name something and become text features.
const NAMING: [&str; 3] = [
    "visitor_location_country_id",
    "prop_country_id",
    "srch_destination_id",
];

/// Columns that become numeric features, without those of the eight competitors.
const NUMERIC: [&str; 17] = [
    "visitor_hist_starrating",
    "visitor_hist_adr_usd",
    "prop_starrating",
    "prop_review_score",
    "prop_brand_bool",
    "prop_location_score1",
    "prop_location_score2",
    "prop_log_historical_price",
    "promotion_flag",
    "srch_length_of_stay",
    "srch_booking_window",
    "srch_adults_count",
    "srch_children_count",
    "srch_room_count",
    "srch_saturday_night_bool",
    "srch_query_affinity_score",
    "orig_destination_distance",
];

/// What all rows of a search share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Query {
    ts: i64,
    site: String,
    random: bool,
}

struct Search {
    query: Query,
    /// Hotel and slot of each row so far.
    shown: Vec<(i64, i64)>,
}

pub(super) fn import(
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    let file = CsvFile::open(&sources::only_csv(src)?, b',', &COLUMNS)?;
    let found: Vec<(Feature, Column)> = features()
        .into_iter()
        .filter_map(|feature| Some((file.find(&feature.name)?, feature)))
        .map(|(column, feature)| (feature, column))
        .collect();
    let named: Vec<Feature> = found.iter().map(|(feature, _)| feature.clone()).collect();
    let mut log = LogWriter::new(Format::Expedia, src, out, &named, &[]);
    log.note(
        "slot is the shown position counted from 0; positions that held other offers are gaps",
    );
    log.note("times have no zone in the source and are taken as UTC");
    log.note(
        "a click is put 1 s and a booking 2 s after its search: the source does not time them",
    );
    log.note("the source names no users; clicks and bookings carry their impression_id");
    log.note("prices are US cents");

    let srch_id = file.column(&["srch_id"])?;
    let date_time = file.column(&["date_time"])?;
    let site_id = file.column(&["site_id"])?;
    let prop_id = file.column(&["prop_id"])?;
    let position = file.column(&["position"])?;
    let price_usd = file.column(&["price_usd"])?;
    let random_bool = file.column(&["random_bool"])?;
    let click_bool = file.column(&["click_bool"])?;
    let gross_bookings_usd = file.column(&["gross_bookings_usd"])?;
    let booking_bool = file.column(&["booking_bool"])?;

    let mut searches: HashMap<i64, Search> = HashMap::new();
    let mut hotels = HashSet::new();
    let mut last_impression = 0;
    file.for_each(&mut log, progress, |row, log| {
        let page_id = row.id(srch_id)?;
        let item_id = row.id(prop_id)?;
        let slot = row.parse(position, "a whole number from 1 up", |text| {
            text.parse()
                .ok()
                .filter(|place: &i64| (1..=10_000).contains(place))
        })? - 1;
        let amount = "an amount in dollars from 0 up";
        let price = row.parse_optional(price_usd, amount, parse_cents)?;
        let sale_total = row.parse_optional(gross_bookings_usd, amount, parse_cents)?;
        let clicked = row.flag(click_bool)?;
        let booked = row.flag(booking_bool)?;
        let query = Query {
            ts: row.parse(date_time, "a time from 2000 to 2099", parse_time)?,
            site: row.text(site_id)?.to_owned(),
            random: row.flag(random_bool)?,
        };
        let ts = query.ts;
        let mut features = Vec::with_capacity(found.len());
        for (feature, column) in &found {
            features.push(match feature.kind {
                FeatureKind::Number => Cell::from(row.optional_number(*column)?),
                FeatureKind::Text => Cell::from(row.optional_text(*column)?),
            });
        }
        if let Some(search) = searches.get(&page_id) {
            if search.query != query {
                let reason = "expected one date, site and `random_bool` a search";
                return Err(row.reject(srch_id, reason).into());
            }
            if search.shown.iter().any(|(hotel, _)| *hotel == item_id) {
                return Err(row
                    .reject(prop_id, "expected each hotel once in a search")
                    .into());
            }
            if search.shown.iter().any(|(_, taken)| *taken == slot) {
                return Err(row
                    .reject(position, "expected each position once a search")
                    .into());
            }
        } else {
            log.page(&PageRow {
                page_id,
                ts,
                site: Some(&query.site),
                traffic_class: Some(if query.random { "random" } else { "prod" }),
                ..PageRow::default()
            })?;
        }
        let search = searches.entry(page_id).or_insert_with(|| Search {
            query,
            shown: Vec::new(),
        });
        search.shown.push((item_id, slot));
        if hotels.insert(item_id) {
            log.item(
                &ItemRow {
                    item_id,
                    category: None,
                },
                &[],
            )?;
        }
        last_impression += 1;
        let impression_id = Some(last_impression);
        let shown = SlotRow {
            impression_id: last_impression,
            page_id,
            list_id: page_id,
            slot,
            item_id,
            price,
            ..SlotRow::default()
        };
        log.slot(&shown, &features)?;
        if clicked {
            let ts = ts + SECOND;
            log.event(&EventRow {
                ts,
                what: "click",
                item_id,
                impression_id,
                ..EventRow::default()
            })?;
        }
        if booked {
            log.event(&EventRow {
                ts: ts + 2 * SECOND,
                what: "purchase",
                item_id,
                impression_id,
                sale_total,
                ..EventRow::default()
            })?;
        }
        Ok(())
    })?;
    log.finish()
}

/// Every feature column the format has, in a fixed order.
fn features() -> Vec<Feature> {
    let competitors = (1..=8).flat_map(|k| {
        ["rate", "inv", "rate_percent_diff"].map(|what| Feature::number(format!("comp{k}_{what}")))
    });
    NAMING
        .into_iter()
        .map(Feature::text)
        .chain(NUMERIC.into_iter().map(Feature::number))
        .chain(competitors)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_and_features_make_the_54_published_columns() {
        assert_eq!(COLUMNS.len() + features().len(), 54);
    }
}
