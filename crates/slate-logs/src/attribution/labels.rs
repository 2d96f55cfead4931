//! What became of a placement.

use rayon::prelude::*;

use super::credit::{Route, Rules};
use super::event::Event;

/// How the best event of a placement came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Named,
    ClickThrough,
    ViewThrough,
    Halo,
}

impl Kind {
    /// As written to the column `attribution`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Named => "impression_id",
            Self::ClickThrough => "click_through",
            Self::ViewThrough => "view_through",
            Self::Halo => "halo",
        }
    }
}

/// An event that counts for a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    row: u64,
    grade: u8,
    click: bool,
    purchase: bool,
    route: Route,
    lag: i64,
}

impl Outcome {
    /// None for an event whose type is no label: neither click nor purchase, with grade 0.
    pub(crate) fn of(
        event: &Event,
        row: u64,
        shown: i64,
        route: Route,
        rules: &Rules,
    ) -> Option<Self> {
        let grade = rules.grade(event.kind);
        let (click, purchase) = (event.is("click"), event.is("purchase"));
        (click || purchase || grade > 0).then_some(Self {
            row,
            grade,
            click,
            purchase,
            route,
            lag: event.ts - shown,
        })
    }
}

/// The labels of one placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    /// Its place in the order of the output.
    pub(crate) row: u64,
    /// The best grade.
    pub(crate) grade: u8,
    pub(crate) click: bool,
    pub(crate) purchase: bool,
    pub(crate) kind: Kind,
    /// Microseconds to the first click.
    pub(crate) click_lag: Option<i64>,
    /// Microseconds to the first purchase.
    pub(crate) purchase_lag: Option<i64>,
}

impl Label {
    /// The labels of all placements with an outcome, by row. Outcomes may come in any order.
    pub(crate) fn of(mut outcomes: Vec<Outcome>) -> Vec<Self> {
        outcomes.par_sort_unstable();
        outcomes
            .chunk_by(|a, b| a.row == b.row)
            .map(Self::of_one)
            .collect()
    }

    fn of_one(outcomes: &[Outcome]) -> Self {
        let best = |fits: &dyn Fn(&Outcome) -> bool| {
            let grades = outcomes.iter().filter(|outcome| fits(outcome));
            grades.map(|outcome| outcome.grade).max()
        };
        let first = |fits: &dyn Fn(&Outcome) -> bool| {
            let lags = outcomes.iter().filter(|outcome| fits(outcome));
            lags.map(|outcome| outcome.lag).min()
        };
        let named = best(&|outcome| outcome.route == Route::Named);
        let halo = best(&|outcome| outcome.route == Route::Halo);
        let joined = best(&|outcome| outcome.route == Route::Joined);
        let click_lag = first(&|outcome| outcome.click);
        let purchase_lag = first(&|outcome| outcome.purchase);
        // Of routes with equal grades the surer one.
        let kind = if named >= joined.max(halo) {
            Kind::Named
        } else if halo > joined {
            Kind::Halo
        } else if click_lag.is_some() {
            Kind::ClickThrough
        } else {
            Kind::ViewThrough
        };
        Self {
            row: outcomes[0].row,
            grade: best(&|_| true).unwrap_or(0),
            click: click_lag.is_some(),
            purchase: purchase_lag.is_some(),
            kind,
            click_lag,
            purchase_lag,
        }
    }
}
