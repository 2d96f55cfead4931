//! Simulated lists whose true mean hit rate is known.

use slate_types::{ListOffsets, Seed};

/// Columns of a sample.
pub(crate) struct Market {
    pub(crate) lists: ListOffsets,
    pub(crate) scores: Vec<f64>,
    pub(crate) probabilities: Vec<f64>,
    pub(crate) labels: Vec<u8>,
}

impl Market {
    /// `lists` lists of 4 to 8 rows. A list's taste moves all its rows together; `skill` from 0 to
    /// 1 is how much the score knows of the row's quality. Probabilities are the true ones.
    pub(crate) fn new(lists: usize, skill: f64, seed: Seed) -> Self {
        let lengths: Vec<u64> = (0..lists as u64)
            .map(|i| 4 + (seed.index(i).unit() * 5.0) as u64)
            .collect();
        let lists = ListOffsets::from_lengths(lengths).unwrap();
        let (taste, quality) = (seed.derive("taste"), seed.derive("quality"));
        let (noise, outcome) = (seed.derive("noise"), seed.derive("outcome"));
        let mut market = Self {
            lists,
            scores: vec![],
            probabilities: vec![],
            labels: vec![],
        };
        for (list, rows) in market.lists.iter().enumerate() {
            for row in rows {
                let row = row as u64;
                let quality = quality.index(row).unit();
                let p = 0.4 * taste.index(list as u64).unit() * (0.25 + quality);
                market
                    .scores
                    .push(skill * quality + (1.0 - skill) * noise.index(row).unit());
                market.probabilities.push(p);
                market.labels.push(u8::from(outcome.index(row).unit() < p));
            }
        }
        market
    }

    pub(crate) fn sample(&self) -> slate_eval::Sample<'_> {
        let mut sample = slate_eval::Sample::new(&self.lists, &self.scores);
        sample.probabilities = Some(&self.probabilities);
        sample.grades = Some(&self.labels);
        sample.labels = Some(&self.labels);
        sample
    }
}
