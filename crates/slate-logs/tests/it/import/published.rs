//! Importers, on the published files: their documented counts must come out.
//!
//! The environment variable `SLATE_SHARED` names a folder with the files in `data/`; without it
//! these tests say what they skip.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use arrow::array::TimestampMicrosecondArray;
use slate_logs::import::Format;

use super::{attribute, batches, import_fresh, rows};

/// The folder of published data, or a line saying what is skipped.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn published(folder: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("SLATE_SHARED").map(|dir| PathBuf::from(dir).join("data").join(folder));
    if found.is_none() {
        println!("skipped: SLATE_SHARED is not set, so `{folder}` cannot be checked");
    }
    found
}

/// One whole-number column; null is `None`.
fn integers(log: &Path, table: &str, column: &str) -> Vec<Option<i64>> {
    rows(log, table, column)
        .iter()
        .map(|text| text.parse().ok())
        .collect()
}

/// One column of times in microseconds.
fn times(log: &Path, table: &str) -> Vec<i64> {
    let mut times = Vec::new();
    for batch in batches(&log.join(format!("{table}.parquet"))) {
        let column = batch.column_by_name("ts").unwrap();
        let column = column
            .as_any()
            .downcast_ref::<TimestampMicrosecondArray>()
            .expect("times are UTC microseconds");
        times.extend(column.values().iter().copied());
    }
    times
}

#[test]
fn published_open_bandit_has_its_documented_counts() {
    let Some(src) = published("obd") else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let summary = import_fresh(Format::OpenBandit, &src, &log).unwrap();
    assert_eq!(summary.rejects, 0);
    assert_eq!(summary.rows("slot_impression"), 60_000);
    assert_eq!(summary.rows("event"), 287);
    assert_eq!(summary.rows("item"), 80 + 34 + 46);
    let shown: Vec<_> = rows(&log, "slot_impression", "policy_id");
    let sites: Vec<_> = rows(&log, "page_impression", "site");
    let mut clicks: BTreeMap<String, u32> = BTreeMap::new();
    for impression in integers(&log, "event", "impression_id") {
        let row = impression.unwrap() as usize - 1;
        *clicks
            .entry(format!("{} {}", shown[row], sites[row]))
            .or_default() += 1;
    }
    let clicks: Vec<_> = clicks
        .into_iter()
        .map(|(part, count)| format!("{part} {count}"))
        .collect();
    assert_eq!(
        clicks,
        [
            "bts all 42",
            "bts men 69",
            "bts women 46",
            "random all 38",
            "random men 46",
            "random women 46"
        ]
    );
}

#[test]
fn published_outbrain_has_its_documented_counts() {
    let Some(src) = published("outbrain_sample") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let summary = import_fresh(Format::Outbrain, &src, &log).unwrap();
    assert_eq!(summary.rejects, 0);
    assert_eq!(summary.rows("page_impression"), 1959);
    assert_eq!(summary.rows("slot_impression"), 9999);
    assert_eq!(summary.rows("event"), 1959);
    assert_eq!(summary.rows("item"), 4319);
    let users: HashSet<_> = integers(&log, "page_impression", "user_id")
        .into_iter()
        .collect();
    assert_eq!(users.len(), 1949);
    let mut lengths: HashMap<_, u32> = HashMap::new();
    for list in integers(&log, "slot_impression", "list_id") {
        *lengths.entry(list).or_default() += 1;
    }
    assert_eq!(lengths.values().min(), Some(&2));
    assert_eq!(lengths.values().max(), Some(&12));
}

#[test]
fn published_expedia_has_its_documented_counts() {
    let Some(src) = published("expedia_preview") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let summary = import_fresh(Format::Expedia, &src, &log).unwrap();
    assert_eq!(summary.rejects, 0);
    assert_eq!(summary.rows("page_impression"), 40);
    assert_eq!(summary.rows("slot_impression"), 999);
    let types = rows(&log, "event", "type");
    assert_eq!(types.iter().filter(|what| *what == "click").count(), 43);
    assert_eq!(types.iter().filter(|what| *what == "purchase").count(), 27);
    let random: HashSet<_> = rows(&log, "page_impression", "page_id traffic_class")
        .iter()
        .filter_map(|row| row.strip_suffix(" random").map(str::to_owned))
        .collect();
    let pages = rows(&log, "slot_impression", "page_id");
    assert_eq!(
        pages.iter().filter(|page| random.contains(*page)).count(),
        335
    );
}

/// A purchase line finds an impression when its session has a page with that item at or before it.
#[test]
fn published_diginetica_purchases_split_into_viewed_and_orphan() {
    let Some(src) = published("diginetica") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let summary = import_fresh(Format::Diginetica, &src, &log).unwrap();
    assert_eq!(summary.rejects, 0);
    assert_eq!(summary.rows("page_impression"), 2986);
    assert_eq!(summary.rows("event"), 18_025);
    assert!(
        !summary
            .notes
            .iter()
            .any(|note| note.contains("do not agree")),
        "{summary:?}"
    );

    let ids = integers(&log, "page_impression", "page_id");
    let sessions: HashMap<_, _> = ids
        .into_iter()
        .zip(times(&log, "page_impression"))
        .collect();
    let shown: HashSet<_> = integers(&log, "slot_impression", "page_id")
        .into_iter()
        .zip(integers(&log, "slot_impression", "item_id"))
        .collect();
    let (mut viewed, mut unviewed, mut elsewhere) = (0, 0, 0);
    let bought = integers(&log, "event", "item_id");
    let in_session = integers(&log, "event", "session_id");
    for ((session, item), ts) in in_session.into_iter().zip(bought).zip(times(&log, "event")) {
        match sessions.get(&session) {
            None => elsewhere += 1,
            Some(page) if shown.contains(&(session, item)) && *page <= ts => viewed += 1,
            Some(_) => unviewed += 1,
        }
    }
    assert_eq!((viewed, unviewed, elsewhere), (121, 135, 17_769));

    // By session 121 lines find a view, one of them after more than the 30 days of the window; one
    // more finds a view of the same user in another session.
    let purchases = attribute(&log, true).join.line("purchase");
    assert_eq!((purchases.attributed, purchases.late), (121, 1));
    assert_eq!(purchases.orphan, 135 + 17_769 - 1);
}

#[test]
fn published_rees46_is_attributed_as_a_nested_loop_would() {
    let Some(src) = published("rees46_sample") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let summary = import_fresh(Format::Rees46, &src, &log).unwrap();
    assert_eq!(summary.rejects, 0);
    assert_eq!(summary.rows("slot_impression"), 488);
    assert_eq!(summary.rows("event"), 128 + 235);
    assert_eq!(summary.rows("item"), 227);

    let of = |table: &str, column: &str| integers(&log, table, column);
    let views: Vec<_> = of("page_impression", "user_id")
        .into_iter()
        .zip(of("slot_impression", "item_id"))
        .zip(times(&log, "page_impression"))
        .collect();
    let events = of("event", "user_id")
        .into_iter()
        .zip(of("event", "item_id"))
        .zip(times(&log, "event"));
    let day = 86_400_000_000;
    let mut expected: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for (what, (who, ts)) in rows(&log, "event", "type").into_iter().zip(events) {
        let window = if what == "cart" { 7 * day } else { 30 * day };
        let mine = views.iter().filter(|(viewer, _)| *viewer == who);
        let latest = mine
            .clone()
            .map(|view| view.1)
            .filter(|seen| *seen <= ts)
            .max();
        let end = match latest {
            Some(seen) if ts - seen <= window => 0,
            Some(_) => 1,
            None => 2,
        };
        expected.entry(what).or_default()[end] += 1;
    }
    let join = attribute(&log, true).join;
    for what in ["cart", "purchase"] {
        let line = join.line(what);
        // A cart, too, may come before any view; then it is an orphan or, if there is one later, early.
        assert_eq!(
            [line.attributed, line.late, line.orphan],
            expected[what],
            "{what}"
        );
    }
}
