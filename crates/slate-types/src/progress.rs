//! How a library tells how far it is, without knowing about terminals.

/// Receives progress from a long job. The program draws a bar; tests pass [`Silent`].
pub trait Progress: Sync {
    /// A stage begins. `total` counts `unit`s, for instance rows, and is `None` when unknown.
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str);
    /// `by` more units are done.
    fn advance(&self, by: u64);
    /// A short remark to show beside the bar, for instance the current loss.
    fn note(&self, text: &str);
    /// The stage is over.
    fn end(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _stage: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _by: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self) {}
}
