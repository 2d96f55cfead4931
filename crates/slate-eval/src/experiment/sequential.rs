//! A test that may be read every day: the mixture sequential probability ratio test (Johari et al.
//! 2017).
//!
//! A fixed-size test that is read daily finds a difference where there is none far more often than it
//! says. This one holds at all times together, at the price of wider intervals. It needs the variance
//! `V` of the estimated difference at each reading, which shrinks as units come in; a form with a fixed
//! variance of the z score, printed here and there, does not hold.

use crate::{EvalError, check};

/// The test and what it has seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixtureTest {
    /// Variance of the differences that are thought possible; best near the square of the one hoped for.
    tau2: f64,
    /// 1 − the chance of ever finding a difference where there is none.
    level: f64,
    p: f64,
}

impl MixtureTest {
    /// A test that has seen nothing.
    ///
    /// # Errors
    /// [`EvalError::Level`]; [`EvalError::Weight`] for a `tau2` that is not above 0.
    pub fn new(tau2: f64, level: f64) -> Result<Self, EvalError> {
        check::level(level)?;
        if !(tau2 > 0.0 && tau2.is_finite()) {
            return Err(EvalError::Weight {
                row: 0,
                value: tau2,
            });
        }
        Ok(Self {
            tau2,
            level,
            p: 1.0,
        })
    }

    /// Reads the difference so far and the variance of that estimate; returns the p value that holds at
    /// all readings together, which never rises.
    pub fn read(&mut self, difference: f64, variance: f64) -> f64 {
        if variance > 0.0 && variance.is_finite() {
            let all = variance + self.tau2;
            let log = 0.5 * (variance / all).ln()
                + self.tau2 * difference * difference / (2.0 * variance * all);
            self.p = self.p.min((-log).exp());
        }
        self.p
    }

    /// Half the width of the interval around a difference whose estimate has this variance; all such
    /// intervals together hold the truth with the chance `level`.
    pub fn half_width(&self, variance: f64) -> f64 {
        let all = variance + self.tau2;
        let inside = 2.0 * (1.0 / (1.0 - self.level)).ln() + (all / variance).ln();
        (variance * all / self.tau2 * inside).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slate_types::Seed;

    /// Where nothing differs, at most 5 % of experiments read on 200 days ever say so; the daily z test
    /// says so in far more.
    #[test]
    fn daily_readings_keep_the_level() {
        let (experiments, days) = (2000, 200);
        let (mut always, mut naive) = (0, 0);
        for experiment in 0..experiments {
            let seed = Seed(11).index(experiment);
            let mut test = MixtureTest::new(0.02, 0.95).unwrap();
            let (mut sum, mut rejected) = (0.0, [false; 2]);
            for day in 1..=days {
                // Near normal: twelve even numbers.
                let day_seed = seed.index(day);
                let noise = (0..12).map(|i| day_seed.index(i).unit()).sum::<f64>() - 6.0;
                sum += noise;
                let n = day as f64;
                rejected[0] |= test.read(sum / n, 1.0 / n) < 0.05;
                rejected[1] |= (sum / n.sqrt()).abs() > 1.96;
            }
            always += u32::from(rejected[0]);
            naive += u32::from(rejected[1]);
        }
        let share = |count: u32| f64::from(count) / experiments as f64;
        assert!(share(always) <= 0.05, "{}", share(always));
        assert!(share(naive) > 0.25, "{}", share(naive));
    }

    #[test]
    fn p_never_rises_and_agrees_with_the_interval() {
        let mut test = MixtureTest::new(0.5, 0.9).unwrap();
        assert_eq!(test.read(0.0, 0.1), 1.0);
        let edge = test.half_width(0.1);
        assert!((test.read(edge, 0.1) - 0.1).abs() < 1e-12);
        assert!((test.read(0.0, 0.01) - 0.1).abs() < 1e-12);
        assert!(MixtureTest::new(0.0, 0.9).is_err() && MixtureTest::new(1.0, 1.0).is_err());
    }
}
