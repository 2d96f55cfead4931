//! Outbrain click prediction: displays of content ads with one click each.
//!
//! In: one CSV file of displays joined with their page view: `uuid`, `display_id`, `ad_id`,
//! `document_id`, `timestamp_view`, `platform`, `geo_location`, `clicked`. Each display becomes a
//! page with one list. The source does not say where an ad was shown: `slot` is the order of the
//! rows in the file. `timestamp_view` is a time, or milliseconds since
//! 2016-06-14 04:00 (minus 2 ms) as in the competition's event file, or milliseconds since 1970.
//!
//! Refused rows: an ad that the display already has, or a row whose user, document, time,
//! platform or place differs from the first row of its display.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use slate_types::Progress;

use super::canonical::{EventRow, Feature, ItemRow, PageRow, SlotRow};
use super::csv_file::CsvFile;
use super::log_writer::LogWriter;
use super::table_writer::Cell;
use super::time::{SECOND, parse_time};
use super::{Format, ImportError, ImportSummary, sources};

const COLUMNS: [&str; 8] = [
    "uuid",
    "display_id",
    "ad_id",
    "document_id",
    "timestamp_view",
    "platform",
    "geo_location",
    "clicked",
];

/// What the competition's times are counted from, in milliseconds since 1970.
const EPOCH_MS: i64 = 1_465_876_799_998;

/// What all rows of a display share.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    ts: i64,
    user: String,
    document: i64,
    device: Option<&'static str>,
    place: Option<String>,
}

struct Display {
    view: View,
    user_id: i64,
    ads: Vec<i64>,
}

pub(super) fn import(
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    let file = CsvFile::open(&sources::only_csv(src)?, b',', &COLUMNS)?;
    let mut log = LogWriter::new(Format::Outbrain, src, out, &[Feature::text("geo")], &[]);
    log.note("the position an ad was shown at is not in the source: slot is the order of rows");
    log.note("a click has no time in the source and is put 1 s after its display");
    log.note("seed_item_id is the number of the document around the ads, never an ad's item_id");

    let uuid = file.column(&["uuid"])?;
    let display_id = file.column(&["display_id"])?;
    let ad_id = file.column(&["ad_id"])?;
    let document_id = file.column(&["document_id"])?;
    let timestamp = file.column(&["timestamp_view"])?;
    let platform = file.column(&["platform"])?;
    let geo_location = file.column(&["geo_location"])?;
    let clicked = file.column(&["clicked"])?;

    let mut displays: HashMap<i64, Display> = HashMap::new();
    let mut ads = HashSet::new();
    let mut last_impression = 0;
    file.for_each(&mut log, progress, |row, log| {
        let page_id = row.id(display_id)?;
        let item_id = row.id(ad_id)?;
        let clicked = row.flag(clicked)?;
        let expected = "1 (desktop), 2 (mobile) or 3 (tablet)";
        let view = View {
            ts: row.parse(
                timestamp,
                "a time from 2000 to 2099, or milliseconds",
                parse_view,
            )?,
            user: row.text(uuid)?.to_owned(),
            document: row.id(document_id)?,
            device: row.parse_optional(platform, expected, parse_platform)?,
            place: row.optional_text(geo_location)?.map(str::to_owned),
        };
        let country = view
            .place
            .as_deref()
            .and_then(|place| place.split('>').next());
        let geo = Cell::from(view.place.as_deref());
        let ts = view.ts;
        if let Some(display) = displays.get(&page_id) {
            if display.view != view {
                let reason = "expected one user, document, time, platform and place a display";
                return Err(row.reject(display_id, reason).into());
            }
            if display.ads.contains(&item_id) {
                return Err(row
                    .reject(ad_id, "expected each ad once in a display")
                    .into());
            }
        } else {
            let user_id = log.ids.number("user_id", &view.user)?;
            log.page(&PageRow {
                page_id,
                ts,
                user_id: Some(user_id),
                site: country,
                device: view.device,
                seed_item_id: Some(view.document),
                ..PageRow::default()
            })?;
            let display = Display {
                view: view.clone(),
                user_id,
                ads: Vec::new(),
            };
            displays.insert(page_id, display);
        }
        if ads.insert(item_id) {
            log.item(
                &ItemRow {
                    item_id,
                    category: None,
                },
                &[],
            )?;
        }
        let display = displays
            .get_mut(&page_id)
            .expect("the display was found or made above");
        last_impression += 1;
        let shown = SlotRow {
            impression_id: last_impression,
            page_id,
            list_id: page_id,
            slot: display.ads.len() as i64,
            item_id,
            kind: Some("promoted"),
            ..SlotRow::default()
        };
        display.ads.push(item_id);
        log.slot(&shown, &[geo])?;
        if clicked {
            log.event(&EventRow {
                ts: ts + SECOND,
                what: "click",
                item_id,
                user_id: Some(display.user_id),
                impression_id: Some(last_impression),
                ..EventRow::default()
            })?;
        }
        Ok(())
    })?;
    log.finish()
}

/// A time as text, as milliseconds since the competition's epoch, or as milliseconds since 1970.
fn parse_view(text: &str) -> Option<i64> {
    let Ok(ms) = text.parse::<i64>() else {
        return parse_time(text);
    };
    // The competition spans two weeks; milliseconds since 1970 in this century have 12 digits up.
    let since_1970 = match ms {
        0..50_000_000_000 => EPOCH_MS + ms,
        946_684_800_000..4_102_444_800_000 => ms,
        _ => return None,
    };
    Some(since_1970 * 1000)
}

fn parse_platform(text: &str) -> Option<&'static str> {
    match text {
        "1" | "1.0" => Some("desktop"),
        "2" | "2.0" => Some("mobile"),
        "3" | "3.0" => Some("tablet"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_spellings_of_a_time_agree() {
        let expected = parse_time("2016-06-14 04:00:00.002");
        assert_eq!(parse_view("2016-06-14 04:00:00.002"), expected);
        assert_eq!(parse_view("4"), expected);
        assert_eq!(parse_view("1465876800002"), expected);
        assert_eq!(parse_view("-1"), None);
        assert_eq!(parse_view("946684799999"), None);
    }
}
