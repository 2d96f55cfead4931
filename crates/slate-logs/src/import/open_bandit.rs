//! Open Bandit Dataset: fashion recommendations with true propensities.
//!
//! In: a folder `random|bts / all|men|women` with `<campaign>.csv` and `item_context.csv` in
//! each, or one of the folders inside it. Rows are one item shown at one of three positions,
//! so each becomes a page with a list of one slot, whose `slot` is the position counted from 0.
//! `propensity` is the published score, `policy_id` the policy, `traffic_class` `random` or
//! `prod`, `site` the campaign. A click has no time of its own and comes 1 µs after its
//! impression. Item numbers repeat between campaigns, so `item_id` is 1000 × campaign + number,
//! with campaigns `all` 0, `men` 1, `women` 2.
//!
//! Features of a slot: `affinity`, the user's affinity to the shown item, and the four hashed
//! `user_feature_*`. Features of an item: `feature_0`, a number, and `feature_1` to `feature_3`.
//!
//! The context files of the two policies hash the same categories differently: the texts differ,
//! the partition they make is the same. An item keeps the hashes of the policy read first
//! (`random`), and the other file is held to saying the same under other names.
//!
//! Refused rows: a position outside 1–3, a propensity outside (0, 1], an item that is not in the
//! context file, or one whose context contradicts the other policy's.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use slate_types::Progress;

use super::canonical::{EventRow, Feature, ItemRow, PageRow, SlotRow};
use super::csv_file::CsvFile;
use super::log_writer::LogWriter;
use super::record::{Column, Record, Reject, RowError, parse_number};
use super::table_writer::Cell;
use super::time::parse_time;
use super::{Format, ImportError, ImportSummary, sources};

/// Each policy and the traffic class it makes.
const POLICIES: [(&str, &str); 2] = [("random", "random"), ("bts", "prod")];
const CAMPAIGNS: [&str; 3] = ["all", "men", "women"];
/// Room for the items of one campaign in the id space.
const ITEMS_PER_CAMPAIGN: i64 = 1000;

const LOG_COLUMNS: [&str; 9] = [
    "timestamp",
    "item_id",
    "position",
    "click",
    "propensity_score",
    "user_feature_0",
    "user_feature_1",
    "user_feature_2",
    "user_feature_3",
];
const ITEM_COLUMNS: [&str; 5] = [
    "item_id",
    "item_feature_0",
    "item_feature_1",
    "item_feature_2",
    "item_feature_3",
];

/// One policy on one campaign.
struct Part {
    policy: &'static str,
    traffic_class: &'static str,
    campaign: usize,
    dir: PathBuf,
}

/// What the context file says of an item.
#[derive(Debug)]
struct Context {
    number: Option<f64>,
    texts: [Option<String>; 3],
}

/// Hashes of one file for the hashes of another, one to one.
#[derive(Debug, Default)]
struct Renaming {
    given_for: HashMap<String, String>,
    known_for: HashMap<String, String>,
}

impl Renaming {
    /// Whether `given` can be another name of `known`, in view of all pairs before.
    fn allows(&mut self, known: Option<&str>, given: Option<&str>) -> bool {
        let (Some(known), Some(given)) = (known, given) else {
            return known == given;
        };
        let same = |map: &mut HashMap<String, String>, from: &str, to: &str| {
            map.entry(from.to_owned()).or_insert_with(|| to.to_owned()) == to
        };
        same(&mut self.given_for, known, given) && same(&mut self.known_for, given, known)
    }
}

/// Items of each campaign by their number in it.
type Items = BTreeMap<usize, BTreeMap<i64, Context>>;

pub(super) fn import(
    src: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<ImportSummary, ImportError> {
    let parts = find_parts(src)?;
    let mut slot_features = vec![Feature::number("affinity")];
    slot_features.extend((0..4).map(|k| Feature::text(format!("user_feature_{k}"))));
    let mut item_features = vec![Feature::number("feature_0")];
    item_features.extend((1..4).map(|k| Feature::text(format!("feature_{k}"))));
    let mut log = LogWriter::new(Format::OpenBandit, src, out, &slot_features, &item_features);
    log.note("each row is one item at one of three positions; lists have one slot");
    log.note("a click has no time in the source and is put 1 µs after its impression");
    log.note("feature_1 to feature_3 of an item are hashed anew by each policy; `random` is kept");
    log.note("an item_id is 1000 × campaign (all 0, men 1, women 2) + the number in the source");

    let mut items = Items::new();
    let mut last_impression = 0;
    for part in &parts {
        read_items(
            part,
            items.entry(part.campaign).or_default(),
            &mut log,
            progress,
        )?;
        read_log(
            part,
            &items[&part.campaign],
            &mut last_impression,
            &mut log,
            progress,
        )?;
    }
    log.finish()
}

/// The parts below `src`, or the one that `src` is; `random` before `bts`.
fn find_parts(src: &Path) -> Result<Vec<Part>, ImportError> {
    let dir = if src.is_dir() {
        src
    } else {
        src.parent().unwrap_or(src)
    };
    let full = std::fs::canonicalize(dir).map_err(|source| ImportError::Read {
        path: dir.to_owned(),
        line: 0,
        source,
    })?;
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let own = name(&full);
    let above = full.parent().map(name).unwrap_or_default();

    let mut parts = Vec::new();
    for (policy, traffic_class) in POLICIES {
        for (campaign, campaign_name) in CAMPAIGNS.into_iter().enumerate() {
            let below = dir.join(policy).join(campaign_name);
            let dir = if below.is_dir() {
                below
            } else if own == policy && dir.join(campaign_name).is_dir() {
                dir.join(campaign_name)
            } else if own == campaign_name && above == policy {
                dir.to_owned()
            } else {
                continue;
            };
            parts.push(Part {
                policy,
                traffic_class,
                campaign,
                dir,
            });
        }
    }
    if parts.is_empty() {
        let expected = "folder `random` or `bts` with a folder `all`, `men` or `women` in it";
        return Err(ImportError::NoSource {
            path: src.to_owned(),
            expected: expected.to_owned(),
        });
    }
    Ok(parts)
}

/// Reads the context file of a part; writes items that are new.
fn read_items(
    part: &Part,
    known: &mut BTreeMap<i64, Context>,
    log: &mut LogWriter,
    progress: &dyn Progress,
) -> Result<(), ImportError> {
    let path = sources::require(&part.dir, "item_context.csv")?;
    let file = CsvFile::open(&path, b',', &ITEM_COLUMNS)?;
    let item = file.column(&["item_id"])?;
    let number = file.column(&["item_feature_0"])?;
    let texts = columns(
        &file,
        ["item_feature_1", "item_feature_2", "item_feature_3"],
    )?;
    let campaign = CAMPAIGNS[part.campaign];
    let mut renamings: [Renaming; 3] = Default::default();
    file.for_each(log, progress, |row, log| {
        let id = item_number(row, item)?;
        let [first, second, third] = texts;
        let owned = |column| {
            row.optional_text(column)
                .map(|text| text.map(str::to_owned))
        };
        let context = Context {
            number: row.optional_number(number)?,
            texts: [owned(first)?, owned(second)?, owned(third)?],
        };
        if let Some(other) = known.get(&id) {
            let mut agrees = other.number == context.number;
            let texts = other.texts.iter().zip(&context.texts);
            for (renaming, (known, given)) in renamings.iter_mut().zip(texts) {
                agrees &= renaming.allows(known.as_deref(), given.as_deref());
            }
            let reason = "expected the features of the other policy, each under one other name";
            return if agrees {
                Ok(())
            } else {
                Err(row.reject(item, reason).into())
            };
        }
        let item_id = part.campaign as i64 * ITEMS_PER_CAMPAIGN + id;
        log.ids
            .keep("item_id", item_id, &format!("{campaign}/{id}"))?;
        let features: Vec<Cell<'_>> = std::iter::once(context.number.into())
            .chain(context.texts.iter().map(|text| text.as_deref().into()))
            .collect();
        log.item(
            &ItemRow {
                item_id,
                category: None,
            },
            &features,
        )?;
        known.insert(id, context);
        Ok(())
    })
}

/// Reads the impressions of a part.
fn read_log(
    part: &Part,
    items: &BTreeMap<i64, Context>,
    last_impression: &mut i64,
    log: &mut LogWriter,
    progress: &dyn Progress,
) -> Result<(), ImportError> {
    let campaign = CAMPAIGNS[part.campaign];
    let path = sources::require(&part.dir, &format!("{campaign}.csv"))?;
    let file = CsvFile::open(&path, b',', &LOG_COLUMNS)?;
    let [timestamp, item, position, click, propensity_score] = columns(
        &file,
        [
            "timestamp",
            "item_id",
            "position",
            "click",
            "propensity_score",
        ],
    )?;
    let users = columns(
        &file,
        [
            "user_feature_0",
            "user_feature_1",
            "user_feature_2",
            "user_feature_3",
        ],
    )?;
    let affinities: BTreeMap<i64, Column> = items
        .keys()
        .filter_map(|id| Some((*id, file.find(&format!("user-item_affinity_{id}"))?)))
        .collect();
    file.for_each(log, progress, |row, log| {
        let ts = row.parse(timestamp, "a time from 2000 to 2099", parse_time)?;
        let id = item_number(row, item)?;
        if !items.contains_key(&id) {
            return Err(row
                .reject(item, "expected an item of `item_context.csv`")
                .into());
        }
        let slot = row.parse(position, "1, 2 or 3", |text| match text {
            "1" => Some(0),
            "2" => Some(1),
            "3" => Some(2),
            _ => None,
        })?;
        let propensity = row.parse(
            propensity_score,
            "a probability above 0 and at most 1",
            |text| parse_number(text).filter(|p| *p > 0.0 && *p <= 1.0),
        )?;
        let clicked = row.flag(click)?;
        let affinity = match affinities.get(&id) {
            Some(column) => row.optional_number(*column)?,
            None => None,
        };
        let mut features = vec![Cell::from(affinity)];
        for column in users {
            features.push(row.optional_text(column)?.into());
        }

        *last_impression += 1;
        let (impression_id, item_id) = (
            *last_impression,
            part.campaign as i64 * ITEMS_PER_CAMPAIGN + id,
        );
        log.page(&PageRow {
            page_id: impression_id,
            ts,
            site: Some(campaign),
            traffic_class: Some(part.traffic_class),
            ..PageRow::default()
        })?;
        let shown = SlotRow {
            impression_id,
            page_id: impression_id,
            list_id: impression_id,
            slot,
            item_id,
            policy_id: Some(part.policy),
            propensity: Some(propensity),
            ..SlotRow::default()
        };
        log.slot(&shown, &features)?;
        if clicked {
            log.event(&EventRow {
                ts: ts + 1,
                what: "click",
                item_id,
                impression_id: Some(impression_id),
                ..EventRow::default()
            })?;
        }
        Ok::<(), RowError>(())
    })
}

fn columns<const N: usize>(file: &CsvFile, names: [&str; N]) -> Result<[Column; N], ImportError> {
    let mut found = [Column(0); N];
    for (column, name) in found.iter_mut().zip(names) {
        *column = file.column(&[name])?;
    }
    Ok(found)
}

fn item_number(row: &Record<'_>, column: Column) -> Result<i64, Reject> {
    let id = row.id(column)?;
    if id >= ITEMS_PER_CAMPAIGN {
        return Err(row.reject(column, "expected a number from 0 to 999"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policies and campaigns found below `path`.
    fn found(path: &Path) -> String {
        match find_parts(path) {
            Ok(parts) => parts
                .iter()
                .map(|part| format!("{}/{}", part.policy, CAMPAIGNS[part.campaign]))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn any_level_of_the_folder_can_be_named() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["bts/men", "random/women", "random/all"] {
            std::fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        let file = dir.path().join("bts/men/men.csv");
        std::fs::write(&file, "").unwrap();
        assert_eq!(found(dir.path()), "random/all random/women bts/men");
        assert_eq!(found(&dir.path().join("random")), "random/all random/women");
        assert_eq!(found(&dir.path().join("bts/men")), "bts/men");
        assert_eq!(found(&file), "bts/men");

        let empty = tempfile::tempdir().unwrap();
        assert!(found(empty.path()).contains("holds no folder `random` or `bts`"));
    }
}
