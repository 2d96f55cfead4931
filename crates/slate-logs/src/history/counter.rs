//! Sliding counts of every key at once, over rows in order of time.
//!
//! A window of length `w` before a page at `now` is `[now - w, now)`. Two things change its counts as
//! time goes on: what happened just before `now` enters, and what happened before `now - w` leaves.
//! Both are cursors over one sorted sequence, the second a window behind the first. So nothing is
//! remembered but the counts themselves: memory grows with the number of keys, not with rows, and one
//! key in a third of all rows costs what any other costs.

use std::path::Path;

use super::keys::{Dictionary, Key};
use super::trail::{Cursor, Trail};
use crate::LogError;

/// Something that happened to a key, other than being shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// When, UTC microseconds.
    pub(crate) ts: i64,
    /// To whom.
    pub(crate) key: Key,
    /// Which count it belongs to.
    pub(crate) count: u8,
    /// When it was taken back, for good; never before `ts`.
    pub(crate) undone: Option<i64>,
}

/// A mark on the way into or out of one window, or into all.
struct Step {
    ts: i64,
    code: u32,
    count: u8,
}

/// A purchase taken back: what that changes in one window.
struct Undo {
    ts: i64,
    code: u32,
    count: u8,
    window: u8,
    change: i32,
}

/// What a counter counts.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Lengths of the windows, microseconds.
    pub(crate) windows: Vec<i64>,
    /// Counts kept in each window, at most 255.
    pub(crate) counts: usize,
    /// Whether the first count is that of the rows themselves.
    pub(crate) rows: bool,
}

impl Frame {
    /// Numbers for each row: windows times counts, windows first.
    pub(crate) fn width(&self) -> usize {
        self.windows.len() * self.counts
    }
}

/// The counts of all keys of one kind, at the time of the row that is next.
pub(crate) struct Counter {
    frame: Frame,
    codes: Dictionary,
    /// `[code][window][count]`.
    standing: Vec<i32>,
    marks: Vec<Step>,
    /// Marks that have entered.
    entered: usize,
    /// Marks that have left, by window.
    left: Vec<usize>,
    undo: Vec<Undo>,
    undone: usize,
    /// Codes of rows at `now`: they count for later rows only.
    waiting: Vec<u32>,
    now: i64,
    trail: Trail,
    cursors: Vec<Cursor>,
}

/// Rows without a key, or whose key another counter has.
const NO_CODE: u32 = u32::MAX;

impl Counter {
    /// A counter of these marks, in any order. `work` is a file to be made, gone with the counter.
    pub(crate) fn new(frame: Frame, marks: &[Mark], work: &Path) -> Result<Self, LogError> {
        let mut codes = Dictionary::default();
        let (mut steps, mut undo) = (Vec::with_capacity(marks.len()), Vec::new());
        for mark in marks {
            let code = codes.code(mark.key);
            let (ts, count) = (mark.ts, mark.count);
            steps.push(Step { ts, code, count });
            let Some(undone) = mark.undone else { continue };
            for (window, length) in frame.windows.iter().enumerate() {
                let end = ts + length;
                if undone >= end {
                    continue;
                }
                // It counts in `(ts, undone]`: less one from there, until it would have left.
                for (ts, change) in [(undone, -1), (end, 1)] {
                    undo.push(Undo {
                        ts,
                        code,
                        count,
                        window: window as u8,
                        change,
                    });
                }
            }
        }
        // Marks of one time are counted together, so their order does not matter.
        steps.sort_by_key(|step| step.ts);
        undo.sort_by_key(|undo| undo.ts);
        let (trail, cursors) = Trail::create(work, frame.windows.len())?;
        Ok(Self {
            standing: vec![0; codes.len() * frame.width()],
            left: vec![0; frame.windows.len()],
            frame,
            codes,
            marks: steps,
            entered: 0,
            undo,
            undone: 0,
            waiting: Vec::new(),
            now: i64::MIN,
            trail,
            cursors,
        })
    }

    /// Takes the next rows, in order of time, and writes the counts of each into `out`
    /// (`[row][window][count]`); zeros where a row has no key.
    pub(crate) fn count(
        &mut self,
        ts: &[i64],
        keys: &[Option<Key>],
        out: &mut Vec<i32>,
    ) -> Result<(), LogError> {
        let width = self.frame.width();
        let codes: Vec<u32> = keys
            .iter()
            .map(|key| match key {
                None => NO_CODE,
                // Only rows that are counted themselves, or that have marks, can have counts.
                Some(key) if self.frame.rows => self.codes.code(*key),
                Some(key) => self.codes.get(*key).unwrap_or(NO_CODE),
            })
            .collect();
        self.standing.resize(self.codes.len() * width, 0);
        if self.frame.rows {
            self.trail.append(ts, &codes)?;
        }
        out.clear();
        out.reserve(codes.len() * width);
        for (&ts, &code) in ts.iter().zip(&codes) {
            if ts > self.now {
                self.advance(ts)?;
            }
            if code == NO_CODE {
                out.extend(std::iter::repeat_n(0, width));
                continue;
            }
            let at = code as usize * width;
            out.extend_from_slice(&self.standing[at..at + width]);
            if self.frame.rows {
                self.waiting.push(code);
            }
        }
        Ok(())
    }

    /// Brings the counts to what was known just before `now`.
    fn advance(&mut self, now: i64) -> Result<(), LogError> {
        self.now = now;
        let (counts, width) = (self.frame.counts, self.frame.width());
        for code in self.waiting.drain(..) {
            let at = code as usize * width;
            for standing in self.standing[at..at + width].iter_mut().step_by(counts) {
                *standing += 1;
            }
        }
        while let Some(step) = self.marks.get(self.entered)
            && step.ts < now
        {
            let at = step.code as usize * width + usize::from(step.count);
            for standing in self.standing[at..(step.code as usize + 1) * width]
                .iter_mut()
                .step_by(counts)
            {
                *standing += 1;
            }
            self.entered += 1;
        }
        while let Some(undo) = self.undo.get(self.undone)
            && undo.ts < now
        {
            let at = usize::from(undo.window) * counts + usize::from(undo.count);
            self.standing[undo.code as usize * width + at] += undo.change;
            self.undone += 1;
        }
        for (window, length) in self.frame.windows.iter().enumerate() {
            let first = now - length;
            let standing = &mut self.standing;
            if self.frame.rows {
                self.cursors[window].pass(first, |code| {
                    if code != NO_CODE {
                        standing[code as usize * width + window * counts] -= 1;
                    }
                })?;
            }
            while let Some(step) = self.marks.get(self.left[window])
                && step.ts < first
            {
                let at = window * counts + usize::from(step.count);
                standing[step.code as usize * width + at] -= 1;
                self.left[window] += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, row by row.
    fn twin(frame: &Frame, rows: &[(i64, Option<i64>)], marks: &[Mark]) -> Vec<i32> {
        let mut out = Vec::new();
        for &(now, key) in rows {
            for &length in &frame.windows {
                let within = |ts: i64| ts < now && ts >= now - length;
                for count in 0..frame.counts {
                    let Some(key) = key else {
                        out.push(0);
                        continue;
                    };
                    let shown = rows
                        .iter()
                        .filter(|row| row.1 == Some(key) && within(row.0))
                        .count();
                    let marked = marks
                        .iter()
                        .filter(|mark| {
                            mark.key == Key::one(key) && usize::from(mark.count) == count
                        })
                        .filter(|mark| within(mark.ts) && mark.undone.is_none_or(|at| at >= now))
                        .count();
                    let rows = if count == 0 && frame.rows { shown } else { 0 };
                    out.push((rows + marked) as i32);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn counts_are_those_of_the_definition(
            mut rows in prop::collection::vec((0..60_i64, prop::option::of(0..3_i64)), 1..120),
            marks in prop::collection::vec((0..60_i64, 0..4_i64, 1..3_u8, prop::option::of(0..40_i64)), 0..60),
            windows in prop::collection::vec(1..40_i64, 1..4),
            block in 1..50_usize,
            counted in any::<bool>(),
        ) {
            rows.sort_by_key(|row| row.0);
            let marks: Vec<Mark> = marks
                .into_iter()
                .map(|(ts, key, count, after)| Mark {
                    ts,
                    key: Key::one(key),
                    count,
                    undone: after.map(|after| ts + after),
                })
                .collect();
            let frame = Frame { windows, counts: 3, rows: counted };
            let dir = tempfile::tempdir().unwrap();
            let mut counter = Counter::new(frame.clone(), &marks, &dir.path().join("trail")).unwrap();
            let (mut all, mut out) = (Vec::new(), Vec::new());
            for rows in rows.chunks(block) {
                let ts: Vec<i64> = rows.iter().map(|row| row.0).collect();
                let keys: Vec<Option<Key>> = rows.iter().map(|row| row.1.map(Key::one)).collect();
                counter.count(&ts, &keys, &mut out).unwrap();
                all.extend_from_slice(&out);
            }
            prop_assert_eq!(all, twin(&frame, &rows, &marks));
        }
    }
}
