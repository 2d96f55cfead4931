//! REES46 shops: views, carts and purchases with prices and brands.
//!
//! In: one CSV file, plain or gzip, with a line for each thing a visitor did, as the shops of
//! REES46 publish them. A page here is an item page: each view becomes a page with one list of the
//! one item seen. Carts and purchases become events without an impression, so that attribution has
//! to find the view. Lines that take something out of a cart are counted and left out: they are
//! no cancelled purchase.
//!
//! Users are whole numbers already; sessions, where the file has them, are text and get numbers.
//! Prices are kept in cents, of the view and of the sale. An item's category is its code, or the
//! number of its category where it has no code; category and brand are those of its first line.
//!
//! The file has no ids of events, so lines that are alike in every column are taken for what they
//! say, such as two pieces bought at once, and their number is noted.
//!
//! Refused rows: a time, id or price that is none, and a type of event that is not known.

use std::collections::HashSet;
use std::path::Path;

use slate_types::Progress;

use super::canonical::{EventRow, Feature, ItemRow, PageRow, SlotRow};
use super::csv_file::CsvFile;
use super::log_writer::LogWriter;
use super::record::parse_cents;
use super::table_writer::Cell;
use super::time::parse_time;
use super::{Format, ImportError, ImportSummary, sources};

const COLUMNS: [&str; 8] = [
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
];

/// What a line says of its item, beside the type of event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    ts: i64,
    what: &'static str,
    item: i64,
    user: i64,
    session: Option<i64>,
    price: Option<i64>,
}

pub(super) fn import(
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    let file = CsvFile::open(&sources::only_csv(src)?, b',', &COLUMNS)?;
    let brands = [Feature::text("brand")];
    let mut log = LogWriter::new(Format::Rees46, src, out, &[], &brands);
    log.note("a page is the page of one item: every view is a placement that was looked at");
    log.note("carts and purchases name no impression and need attribution");
    log.note("prices are hundredths of the shop's currency");

    let event_time = file.column(&["event_time"])?;
    let event_type = file.column(&["event_type"])?;
    let product_id = file.column(&["product_id"])?;
    let category_id = file.column(&["category_id"])?;
    let category_code = file.column(&["category_code"])?;
    let brand = file.column(&["brand"])?;
    let price = file.column(&["price"])?;
    let user_id = file.column(&["user_id"])?;
    let user_session = file.find("user_session");

    let mut items = HashSet::new();
    let mut seen = HashSet::new();
    let (mut views, mut alike, mut taken_out) = (0, 0_u64, 0_u64);
    file.for_each(&mut log, progress, |row, log| {
        let what = row.parse(
            event_type,
            "view, cart, remove_from_cart or purchase",
            |text| {
                ["view", "cart", "remove_from_cart", "purchase"]
                    .into_iter()
                    .find(|known| *known == text)
            },
        )?;
        let ts = row.parse(event_time, "a time from 2000 to 2099", |text| {
            parse_time(text.strip_suffix(" UTC").unwrap_or(text))
        })?;
        let (item, user) = (row.id(product_id)?, row.id(user_id)?);
        let price = row.parse_optional(price, "an amount from 0 up", parse_cents)?;
        let (code, number) = (
            row.optional_text(category_code)?,
            row.optional_text(category_id)?,
        );
        let brand = row.optional_text(brand)?;
        let session = match user_session {
            Some(column) => row.optional_text(column)?,
            None => None,
        };
        let session = session
            .map(|text| log.ids.number("session_id", text))
            .transpose()?;
        if items.insert(item) {
            let category = code.or(number);
            let item = ItemRow {
                item_id: item,
                category,
            };
            log.item(&item, &[Cell::from(brand)])?;
        }
        if what == "remove_from_cart" {
            taken_out += 1;
            return Ok(());
        }
        let line = Line {
            ts,
            what,
            item,
            user,
            session,
            price,
        };
        if what == "view" {
            views += 1;
            write_view(views, &line, log)?;
        } else {
            log.event(&EventRow {
                ts,
                what,
                item_id: item,
                user_id: Some(user),
                session_id: session,
                sale_total: price.filter(|_| what == "purchase"),
                ..EventRow::default()
            })?;
        }
        if !seen.insert(line) {
            alike += 1;
        }
        Ok(())
    })?;
    if taken_out > 0 {
        log.note(format!(
            "{taken_out} lines take something out of a cart and are left out"
        ));
    }
    if alike > 0 {
        log.note(format!(
            "{alike} lines are alike to an earlier one and are kept"
        ));
    }
    log.finish()
}

/// A page with one list of one item.
fn write_view(number: i64, line: &Line, log: &mut LogWriter) -> Result<(), ImportError> {
    log.page(&PageRow {
        page_id: number,
        ts: line.ts,
        user_id: Some(line.user),
        session_id: line.session,
        ..PageRow::default()
    })?;
    let slot = SlotRow {
        impression_id: number,
        page_id: number,
        list_id: number,
        slot: 0,
        item_id: line.item,
        price: line.price,
        ..SlotRow::default()
    };
    log.slot(&slot, &[])
}
