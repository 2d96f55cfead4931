//! A month that breaks: the others stay as they are, and in it happens what was asked for.

use std::collections::BTreeMap;

use slate_sim::{Files, MarketConfig, Shock};

use crate::log::{Log, log, small, write};
use crate::months::bytes;

/// Four months that begin with those of the calendar, by partitions; the third may break.
fn market(shock: Option<Shock>) -> MarketConfig {
    MarketConfig {
        months: 4,
        files: Files::Month,
        shock,
        ..small()
    }
}

fn files(shock: Option<Shock>) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    write(market(shock), 51, folder.path());
    bytes(folder.path())
}

fn shock(tastes: f64, lost_events: f64) -> Shock {
    Shock {
        month: 3,
        tastes,
        lost_events,
    }
}

#[test]
fn lost_events_change_that_months_events_and_nothing_else() {
    let (calm, broken) = (files(None), files(Some(shock(0.0, 0.4))));
    assert!(calm.keys().eq(broken.keys()));
    for (name, bytes) in &calm {
        let changed = ["manifest.json", "event/month=2026-03/part-0.parquet"];
        assert_eq!(
            broken[name] != *bytes,
            changed.contains(&name.as_str()),
            "{name}"
        );
    }
}

#[test]
fn other_months_keep_their_pages_when_tastes_turn() {
    let (calm, broken) = (files(None), files(Some(shock(1.0, 0.0))));
    for (name, bytes) in &calm {
        // A session may run past midnight, and events come up to 40 days after their page.
        let reach = if name.starts_with("event") {
            3..6
        } else {
            3..5
        };
        let touched = reach
            .into_iter()
            .any(|month| name.contains(&format!("2026-0{month}")));
        if !touched && name != "manifest.json" {
            assert!(broken[name] == *bytes, "{name} changed");
        }
    }
    // Of April itself every page, placement, outcome and event is the same.
    let [calm, broken] = [None, Some(shock(1.0, 0.0))].map(|shock| {
        log(
            MarketConfig {
                files: Files::Table,
                ..market(shock)
            },
            51,
        )
    });
    let first = calm.summary.pages as i64 * 3 / 4;
    for (table, page, per_page) in [
        ("page_impression", "page_id", 1),
        ("slot_impression", "page_id", 1),
        ("truth", "list_id", 1),
        // Each page has as many ids of events.
        ("event", "event_id", 1024),
    ] {
        let fourth = |log: &Log| {
            let ids = log.whole(table, page);
            let rows = ids.iter().zip(0..).filter(|(id, _)| *id / per_page > first);
            let order = arrow::array::UInt64Array::from_iter_values(rows.map(|(_, row)| row));
            arrow::compute::take_record_batch(log.table(table), &order).unwrap()
        };
        let (before, now) = (fourth(&calm), fourth(&broken));
        assert!(before.num_rows() > 300);
        assert_eq!(before, now, "{table}");
    }
}

#[test]
fn the_share_of_lost_events_is_right() {
    // Days of months and of the log differ: the shock has the months of the log.
    let plain = |shock| MarketConfig {
        start: "2026-01-11".to_owned(),
        files: Files::Table,
        ..market(shock)
    };
    let (calm, broken) = (log(plain(None), 52), log(plain(Some(shock(0.0, 0.3))), 52));
    // From `date -u -d 2026-03-11 +%s`, and of 2026-04-11.
    let within = |ts: &&i64| (1_773_187_200_000_000..1_775_865_600_000_000).contains(*ts);
    let counts = |log: &Log| {
        let times = log.whole("event", "ts");
        let inside = times.iter().filter(within).count() as f64;
        (inside, times.len() as f64 - inside)
    };
    let ((all, outside), (kept, still)) = (counts(&calm), counts(&broken));
    assert_eq!(outside, still);
    let error = (all * 0.3 * 0.7).sqrt();
    assert!(
        all > 500.0 && (all - kept - 0.3 * all).abs() < 4.0 * error,
        "{kept} of {all}"
    );
    assert_eq!(broken.summary.lost as f64, all - kept);
    assert_eq!(broken.summary.events as f64, kept + still);
    assert_eq!(calm.table("truth"), broken.table("truth"));
    let none = log(plain(Some(shock(0.0, 1.0))), 52);
    assert_eq!(counts(&none), (0.0, outside));
}

/// Correlation between the log counts of pages that items of one month and the next were shown on.
fn shown_alike(log: &Log, month: i64) -> f64 {
    let pages = log.summary.pages as i64;
    let items = log.whole("slot_impression", "item_id");
    let mut counts: BTreeMap<i64, [f64; 2]> = BTreeMap::new();
    for (page, item) in log.whole("slot_impression", "page_id").iter().zip(items) {
        let in_month = (page - 1) * 4 / pages;
        if (month..month + 2).contains(&in_month) {
            counts.entry(item).or_insert([1.0; 2])[(in_month - month) as usize] += 1.0;
        }
    }
    let pairs: Vec<[f64; 2]> = counts.values().map(|pair| pair.map(f64::ln)).collect();
    let mean = |at: usize| pairs.iter().map(|pair| pair[at]).sum::<f64>() / pairs.len() as f64;
    let (a, b) = (mean(0), mean(1));
    let sum = |of: &dyn Fn(&[f64; 2]) -> f64| pairs.iter().map(of).sum::<f64>();
    sum(&|p| (p[0] - a) * (p[1] - b))
        / (sum(&|p| (p[0] - a).powi(2)) * sum(&|p| (p[1] - b).powi(2))).sqrt()
}

#[test]
fn what_was_popular_is_shown_no_more() {
    let logged = |shock| {
        log(
            MarketConfig {
                items: 900,
                files: Files::Table,
                ..market(shock)
            },
            53,
        )
    };
    let (calm, turned) = (logged(None), logged(Some(shock(1.0, 0.0))));
    let [before, now] = [&calm, &turned].map(|log| shown_alike(log, 1));
    assert!(before > 0.3 && now < -0.2, "{before:.2}, then {now:.2}");
    assert_eq!(shown_alike(&calm, 0), shown_alike(&turned, 0));
}
