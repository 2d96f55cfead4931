//! What is estimated from.

use slate_types::ListOffsets;

use crate::{EvalError, check};

/// Slots past this share one normalisation.
const MOST_GROUPS: u32 = 64;

/// What a value is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per<'a> {
    /// Placements shown.
    Placement,
    /// Lists.
    List,
    /// What these numbers count: pages or users, one number per list.
    Numbered(&'a [u32]),
}

/// Placements that were shown, list after list.
#[derive(Debug, Clone, Copy)]
pub struct Log<'a> {
    /// Where lists begin and end.
    pub lists: &'a ListOffsets,
    /// What each placement earned; finite.
    pub rewards: &'a [f64],
    /// Slot of each placement, from 0.
    pub slots: &'a [u32],
    /// Slots that count: what stands below earns nothing here. `None` for all.
    pub top: Option<u32>,
    /// Cluster of each list, numbers below the number of lists; intervals resample clusters. `None`
    /// for lists.
    pub clusters: Option<&'a [u32]>,
    /// What the value is divided by.
    pub per: Per<'a>,
}

impl<'a> Log<'a> {
    /// A log whose lists are independent and whose value is per list; set the other fields.
    pub fn new(lists: &'a ListOffsets, rewards: &'a [f64], slots: &'a [u32]) -> Self {
        Self {
            lists,
            rewards,
            slots,
            top: None,
            clusters: None,
            per: Per::List,
        }
    }

    /// Checks every column.
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        let rows = self.lists.rows();
        if rows == 0 {
            return Err(EvalError::NoRows);
        }
        check::length("rewards", self.rewards.len(), rows)?;
        check::finite("rewards", self.rewards)?;
        check::length("slots", self.slots.len(), rows)?;
        if let Some(clusters) = self.clusters {
            check::numbers("clusters", clusters, self.lists.len())?;
        }
        if let Per::Numbered(units) = self.per {
            check::numbers("units", units, self.lists.len())?;
        }
        Ok(())
    }

    /// Whether a row stands where it counts.
    pub(crate) fn counts(&self, row: usize) -> bool {
        self.top.is_none_or(|top| self.slots[row] < top)
    }

    /// What no policy's value can lie below: 0 where no reward does, or else nothing.
    pub fn least_value(&self) -> f64 {
        if self.rewards.iter().any(|reward| *reward < 0.0) {
            f64::NEG_INFINITY
        } else {
            0.0
        }
    }

    /// The cluster of a list.
    pub(crate) fn cluster(&self, list: usize) -> usize {
        self.clusters
            .map_or(list, |clusters| clusters[list] as usize)
    }

    /// Number of clusters.
    pub(crate) fn cluster_count(&self) -> usize {
        check::count(self.clusters, self.lists.len())
    }

    /// Groups of rows whose weights average 1 by themselves: the slots, and all rows together where
    /// every list has one row.
    pub(crate) fn groups(&self) -> usize {
        if self.lists.rows() == self.lists.len() {
            return 1;
        }
        let rows = (0..self.slots.len()).filter(|&row| self.counts(row));
        let deepest = rows.map(|row| self.slots[row]).max().unwrap_or(0);
        (deepest + 1).min(MOST_GROUPS) as usize
    }

    /// Units of each cluster. A page or user seen in several counts in the first.
    pub(crate) fn units(&self) -> Vec<f64> {
        let mut units = vec![0.0; self.cluster_count()];
        let mut seen = match self.per {
            Per::Numbered(_) => vec![false; self.lists.len()],
            _ => Vec::new(),
        };
        for (list, rows) in self.lists.iter().enumerate() {
            units[self.cluster(list)] += match self.per {
                Per::List => 1.0,
                Per::Placement => rows.filter(|&row| self.counts(row)).count() as f64,
                Per::Numbered(of) if seen[of[list] as usize] => 0.0,
                Per::Numbered(of) => {
                    seen[of[list] as usize] = true;
                    1.0
                }
            };
        }
        units
    }
}

/// What is known of one policy, one value per placement of the log.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Probability that the policy puts this item into this slot ÷ that the logger does. Finite, from
    /// 0 up.
    pub weights: &'a [f64],
    /// The same of all slots of the list down to this one, for `rips` and, at the last slot of a list,
    /// `list_ips`.
    pub prefix_weights: Option<&'a [f64]>,
    /// What the outcome model expects of this placement as it was shown, `q`.
    pub forecast: Option<&'a [f64]>,
    /// What it expects of this row wherever the policy puts it, `Σ_k P(row at k)·q(row, k)`; or, where
    /// a row stands for a slot and all items it could hold, `Σ_a P(a at the slot)·q(a, slot)`. Only
    /// slots that count belong into the sum; rows that stood below them count with it.
    pub expected: Option<&'a [f64]>,
    /// For `cascade_dr` around a model that reads the slots above: what is still to come from this slot on,
    /// with the item shown here and, as the policy would go on, expected. Without it `forecast` and
    /// `expected` serve.
    pub to_come: Option<(&'a [f64], &'a [f64])>,
    /// Whether each list was shown as the policy would order it, where it has one order; for
    /// `replay`.
    pub matched: Option<&'a [bool]>,
    /// Cell of each placement, numbers below the number of rows, for `mips`: items of one cell and
    /// slot are taken to earn the same.
    pub cells: Option<&'a [u32]>,
}

impl<'a> Target<'a> {
    /// A policy of which only its weights are known; set the other fields.
    pub fn new(weights: &'a [f64]) -> Self {
        Self {
            weights,
            prefix_weights: None,
            forecast: None,
            expected: None,
            to_come: None,
            matched: None,
            cells: None,
        }
    }

    pub(crate) fn check(&self, log: &Log<'_>) -> Result<(), EvalError> {
        let (rows, lists) = (log.lists.rows(), log.lists.len());
        check::weights(Some(self.weights), rows)?;
        check::weights(self.prefix_weights, rows)?;
        let to_come = self.to_come.map_or([None; 2], |(a, b)| [Some(a), Some(b)]);
        for (what, column) in [
            ("forecast", self.forecast),
            ("expected", self.expected),
            ("to_come", to_come[0]),
            ("to_come", to_come[1]),
        ] {
            if let Some(column) = column {
                check::length(what, column.len(), rows)?;
                check::finite(what, column)?;
            }
        }
        if let Some(matched) = self.matched {
            check::length("matched", matched.len(), lists)?;
        }
        if let Some(cells) = self.cells {
            check::numbers("cells", cells, rows)?;
        }
        Ok(())
    }
}
