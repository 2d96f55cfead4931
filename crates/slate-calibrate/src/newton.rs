//! Damped Newton for the two convex fits of a line `a z + b` (Lin, Lin and Weng 2007).
//!
//! Scores are moved and scaled to [-1, 1] first, which changes neither fit (a line of a line is a
//! line) and keeps the equations sound for scores around 1e9 or 1e-9.

/// What one row adds at `e = a z + b`: its loss and the loss's first two derivatives in e.
pub(crate) type RowLoss = [f64; 3];

/// `slope * score + intercept`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) slope: f64,
    pub(crate) intercept: f64,
}

/// Minimises the sum of `loss(row, e)` over slope and intercept, from slope 0 and `start`.
///
/// `loss` is convex in e and finite at `start`. `scores` are finite and not empty; where they are
/// all equal the slope is 0.
pub(crate) fn minimise(scores: &[f64], start: f64, loss: impl Fn(usize, f64) -> RowLoss) -> Line {
    let scale = Scale::new(scores);
    let scaled: Vec<f64> = scores.iter().map(|score| scale.of(*score)).collect();
    let line = run(&scaled, start, !scale.flat(), &loss);
    let slope = line.slope * scale.factor;
    Line {
        slope,
        intercept: line.intercept - slope * scale.middle,
    }
}

/// Minimises over the intercept alone: the best flat line.
pub(crate) fn minimise_flat(rows: usize, start: f64, loss: impl Fn(usize, f64) -> RowLoss) -> Line {
    run(&vec![0.0; rows], start, false, &loss)
}

struct Scale {
    middle: f64,
    factor: f64,
}

impl Scale {
    fn new(scores: &[f64]) -> Self {
        let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Halves first, so that the width of the widest range is finite.
        let half = high / 2.0 - low / 2.0;
        let factor = if half > 0.0 && (1.0 / half).is_finite() {
            1.0 / half
        } else {
            0.0
        };
        Self {
            middle: low / 2.0 + high / 2.0,
            factor,
        }
    }

    fn flat(&self) -> bool {
        self.factor == 0.0
    }

    fn of(&self, score: f64) -> f64 {
        (score - self.middle) * self.factor
    }
}

/// Loss at a line; infinite where the line leads out of range.
fn total(z: &[f64], line: Line, loss: &impl Fn(usize, f64) -> RowLoss) -> f64 {
    let sum: f64 = z
        .iter()
        .enumerate()
        .map(|(row, z)| loss(row, line.slope * z + line.intercept)[0])
        .sum();
    if sum.is_nan() { f64::INFINITY } else { sum }
}

fn run(z: &[f64], start: f64, sloped: bool, loss: &impl Fn(usize, f64) -> RowLoss) -> Line {
    let mut line = Line {
        slope: 0.0,
        intercept: start,
    };
    let mut value = total(z, line, loss);
    // Newton converges in 4 to 10 steps; the limit is for rounding at the very bottom.
    for _ in 0..200 {
        let (mut g1, mut g2, mut h11, mut h12, mut h22) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (row, z) in z.iter().enumerate() {
            let [_, first, second] = loss(row, line.slope * z + line.intercept);
            g1 += first * z;
            g2 += first;
            h11 += second * z * z;
            h12 += second * z;
            h22 += second;
        }
        // A hair on the diagonal keeps the equations solvable where curvature has died out.
        let hair = 1e-12 * (h11 + h22) + f64::MIN_POSITIVE;
        (h11, h22) = (h11 + hair, h22 + hair);
        let det = h11 * h22 - h12 * h12;
        let (step1, step2) = if sloped && det > 0.0 {
            (-(h22 * g1 - h12 * g2) / det, -(h11 * g2 - h12 * g1) / det)
        } else {
            (0.0, -g2 / h22)
        };
        // The Newton decrement: how much the loss would fall along the whole step.
        let fall = g1 * step1 + g2 * step2;
        if !fall.is_finite() || fall >= 0.0 {
            break;
        }
        let mut share = 1.0;
        let next = loop {
            let tried = Line {
                slope: line.slope + share * step1,
                intercept: line.intercept + share * step2,
            };
            let tried_value = total(z, tried, loss);
            if tried_value <= value + 1e-4 * share * fall {
                break Some((tried, tried_value));
            }
            // Below the noise of the sum, the step itself is the better guide.
            if share == 1.0 && -fall < 1e-12 * value.abs() && tried_value.is_finite() {
                break Some((tried, tried_value));
            }
            share /= 2.0;
            if share < 1e-10 {
                break None;
            }
        };
        let Some((tried, tried_value)) = next else {
            break;
        };
        (line, value) = (tried, tried_value);
        if -fall < 1e-15 * value.abs() {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_solved_exactly() {
        // Least squares through (1, 2), (3, 4), (5, 6): slope 1, intercept 1.
        let (x, y) = ([1.0, 3.0, 5.0], [2.0, 4.0, 6.0]);
        let square = |row: usize, e: f64| {
            let gap: f64 = e - y[row];
            [gap * gap, 2.0 * gap, 2.0]
        };
        let line = minimise(&x, 0.0, square);
        assert!((line.slope - 1.0).abs() < 1e-9 && (line.intercept - 1.0).abs() < 1e-9);
        assert!((minimise_flat(3, 0.0, square).intercept - 4.0).abs() < 1e-9);
        assert_eq!(minimise(&[2.0; 3], 0.0, square).slope, 0.0);
    }
}
