//! Attribution by hand, one rule at a time.
//!
//! Scenes share one log and one run, because planning the queries costs far more than running
//! them; each has users and items of its own, so that none sees another.

use slate_logs::{AttributionOptions, ExamplesSummary, JoinLine};

use crate::log::{DAY, Log, MINUTE, Row, SECOND, START, examples};

/// A log of many scenes.
#[derive(Default)]
struct Stage {
    log: Log,
    scenes: i64,
}

impl Stage {
    /// Ten users and ten items that no other scene has; the first id of either.
    fn scene(&mut self) -> i64 {
        self.scenes += 1;
        self.scenes * 10
    }

    fn play(&self, options: &AttributionOptions) -> Played {
        let (summary, mut rows) = examples(&self.log, options);
        rows.sort_by_key(|row| row.impression_id);
        Played { summary, rows }
    }
}

struct Played {
    summary: ExamplesSummary,
    rows: Vec<Row>,
}

impl Played {
    fn row(&self, impression_id: i64) -> &Row {
        self.rows
            .iter()
            .find(|row| row.impression_id == impression_id)
            .unwrap()
    }
}

fn ends(line: &JoinLine) -> [u64; 4] {
    [line.attributed, line.late, line.orphan, line.duplicate]
}

#[test]
fn the_rules_of_attribution() {
    let mut stage = Stage::default();

    // A click counts to the last microsecond of its window.
    let edges = [(0, 1), (30 * MINUTE, 1), (30 * MINUTE + 1, 0), (-1, 0)].map(|(after, click)| {
        let a = stage.scene();
        let shown = stage.log.page(START, a, &[a]);
        stage.log.event("click", START + after, a, a);
        (shown, after, click)
    });

    // A purchase goes to the clicked placement and not to the latest.
    let a = stage.scene();
    let clicked = stage.log.page(START, a, &[a]);
    stage.log.event("click", START + SECOND, a, a);
    let latest = stage.log.page(START + DAY, a, &[a]);
    stage.log.event("purchase", START + 2 * DAY, a, a);

    // A purchase without a click does not count here.
    let a = stage.scene();
    let unclicked = stage.log.page(START, a, &[a]);
    stage.log.event("purchase", START + DAY, a, a);

    // A named placement beats the latest one, and other users.
    let a = stage.scene();
    let named = stage.log.page(START, a, &[a]);
    let passed_over = stage.log.page(START + MINUTE, a + 1, &[a]);
    stage
        .log
        .event("watch", START + 2 * MINUTE, a + 1, a)
        .impression_id = Some(named);

    // Named, but of another item or unknown: the user decides.
    let not_so_named = [false, true].map(|known| {
        let a = stage.scene();
        let other = stage.log.page(START, a, &[a]);
        let own = stage.log.page(START + MINUTE, a + 1, &[a + 1]);
        stage
            .log
            .event("cart", START + 2 * MINUTE, a + 1, a + 1)
            .impression_id = Some(if known { other } else { 999_999 });
        (other, own)
    });

    // Of two placements on one page the later slot gets the event.
    let a = stage.scene();
    let twice = stage.log.page(START, a, &[a, a + 1, a]);
    stage.log.event("view", START + 1, a, a);
    stage.log.event("bid", START + 1, a, a);

    // A cancel takes back the purchase of its order and item, and no other.
    let cancels = [(0, 0, 0), (1, 0, 1), (0, 1, 1)].map(|(order, item, purchase)| {
        let a = stage.scene();
        let shown = stage.log.page(START, a, &[a]);
        let bought = stage.log.event("purchase", START + 2, a, a);
        bought.order_id = Some(a);
        bought.impression_id = Some(shown);
        stage.log.event("cancel", START + DAY, a, a + item).order_id = Some(a + order);
        (shown, purchase)
    });

    // A repeated event counts once, at its earliest time.
    let a = stage.scene();
    let repeated = stage.log.page(START, a, &[a]);
    for seconds in [3, 1, 2] {
        stage
            .log
            .event("offer", START + seconds * SECOND, a, a)
            .event_id = 777_777;
    }

    // Sessions join where a user is unknown.
    let sessions = [
        (false, true, 1),
        (true, false, 1),
        (false, false, 1),
        (true, true, 0),
    ]
    .map(|(page_user, event_user, click)| {
        let a = stage.scene();
        let shown = stage.log.page(START, a, &[a]);
        let page = stage.log.pages.last_mut().unwrap();
        page.user_id = page_user.then_some(a);
        page.session_id = Some(a);
        let event = stage.log.event("bin_click", START + 1, a + 1, a);
        event.user_id = event_user.then_some(a + 1);
        event.session_id = Some(a);
        (shown, click)
    });

    // A row is mature when its longest window has closed at the last page of the log.
    let a = stage.scene();
    let last = START + 31 * DAY;
    let closed = stage.log.page(last - 30 * DAY, a, &[a]);
    let open = stage.log.page(last - 30 * DAY + 1, a, &[a]);
    stage.log.page(last, a, &[a]);

    let options = AttributionOptions {
        history_days: vec![1],
        ..AttributionOptions::default()
    };
    let played = stage.play(&options);
    let row = |impression_id| played.row(impression_id);

    for (shown, after, click) in edges {
        assert_eq!(row(shown).click, click, "{after} µs after the page");
        assert_eq!(row(shown).click_lag, (click == 1).then_some(after));
    }
    assert_eq!(ends(&played.summary.join.line("click")), [3, 1, 1, 0]);

    assert_eq!(
        (
            row(clicked).grade,
            row(clicked).purchase,
            row(latest).purchase
        ),
        (4, 1, 0)
    );
    assert_eq!(row(clicked).attribution.as_deref(), Some("click_through"));
    assert_eq!(row(clicked).purchase_lag, Some(2 * DAY));
    assert_eq!(
        (
            row(unclicked).purchase,
            row(unclicked).attribution.as_deref()
        ),
        (0, None)
    );

    assert_eq!((row(named).grade, row(passed_over).grade), (2, 0));
    assert_eq!(row(named).attribution.as_deref(), Some("impression_id"));
    for (other, own) in not_so_named {
        assert_eq!((row(other).grade, row(own).grade), (0, 3));
        assert_eq!(row(own).attribution.as_deref(), Some("view_through"));
    }
    assert_eq!(
        [twice, twice + 1, twice + 2].map(|shown| row(shown).grade),
        [0, 0, 3]
    );
    assert_eq!(ends(&played.summary.join.line("view")), [1, 0, 0, 0]);

    for (shown, purchase) in cancels {
        assert_eq!(row(shown).purchase, purchase);
        assert_eq!(row(shown).grade, 4 * purchase);
        assert_eq!(row(shown).purchase_lag, (purchase == 1).then_some(2));
    }
    assert_eq!(ends(&played.summary.join.line("cancel")), [1, 0, 2, 0]);
    let purchases = played.summary.join.line("purchase");
    assert_eq!((ends(&purchases), purchases.reversed), ([4, 0, 1, 0], 1));

    assert_eq!(row(repeated).grade, 3);
    assert_eq!(ends(&played.summary.join.line("offer")), [1, 0, 0, 2]);
    for (shown, pressed) in sessions {
        assert_eq!(row(shown).grade, 3 * pressed, "placement {shown}");
    }
    assert_eq!((row(closed).matured, row(open).matured), (true, false));
    assert_eq!(played.summary.label_as_of, last);
    assert_eq!(played.summary.label_as_of_text, "2026-02-01T00:00:00Z");
}

#[test]
fn views_count_where_asked_and_what_arrived_later_is_late() {
    let mut stage = Stage::default();
    let a = stage.scene();
    let viewed = stage.log.page(START, a, &[a]);
    stage.log.event("purchase", START + DAY, a, a);
    let a = stage.scene();
    let shown = stage.log.page(START, a, &[a]);
    stage.log.page(START + 3 * DAY, a, &[a]);
    stage.log.event("click", START + 1, a, a).ingest_ts = Some(START + 2 * DAY);
    stage.log.event("watch", START + 2, a, a).ingest_ts = Some(START + DAY);
    let played = stage.play(&AttributionOptions {
        view_through: true,
        label_as_of: Some("2026-01-02".to_owned()),
        history_days: vec![],
        ..AttributionOptions::default()
    });
    let row = played.row(viewed);
    assert_eq!(
        (row.purchase, row.attribution.as_deref()),
        (1, Some("view_through"))
    );
    assert_eq!(
        (played.summary.rows, played.summary.after_label_as_of),
        (2, 1)
    );
    assert_eq!((played.row(shown).click, played.row(shown).grade), (0, 2));
    assert_eq!(ends(&played.summary.join.line("click")), [0, 1, 0, 0]);
    assert_eq!(ends(&played.summary.join.line("watch")), [1, 0, 0, 0]);
}

#[test]
fn the_rules_of_history() {
    let mut stage = Stage::default();

    // Strictly before the page, and within the window.
    let edges = [(0, 0), (1, 1), (2 * DAY, 1), (2 * DAY + 1, 0)].map(|(before, clicks)| {
        let a = stage.scene();
        let shown = stage.log.page(START + 3 * DAY, a, &[a]);
        stage.log.event("click", START + 3 * DAY - before, a, a);
        (shown, before, clicks)
    });

    // A purchase leaves the history when it is cancelled and not before.
    let a = stage.scene();
    let days: Vec<i64> = (0..5)
        .map(|day| stage.log.page(START + day * DAY, a, &[a]))
        .collect();
    stage
        .log
        .event("purchase", START + DAY + 5, a + 1, a)
        .order_id = Some(5);
    stage
        .log
        .event("cancel", START + 3 * DAY, a + 1, a)
        .order_id = Some(5);

    let options = AttributionOptions {
        history_days: vec![2, 30],
        ..Default::default()
    };
    let played = stage.play(&options);
    for (shown, before, clicks) in edges {
        let history = &played.row(shown).history;
        assert_eq!(
            (history[1], history[7]),
            (clicks, clicks),
            "{before} µs before"
        );
    }
    let purchases = |window: usize| -> Vec<i64> {
        days.iter()
            .map(|&shown| played.row(shown).history[3 * window + 2])
            .collect()
    };
    // Cancelled at the very page of day 3, which does not know it yet. At day 4 the two-day window
    // has lost the purchase anyway.
    assert_eq!(purchases(0), [0, 0, 1, 1, 0]);
    assert_eq!(purchases(1), [0, 0, 1, 1, 0]);
}
