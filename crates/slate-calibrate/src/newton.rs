//! Damped Newton for the two convex fits of a line `a z + b` (Lin, Lin and Weng 2007).
//!
//! Scores are moved and scaled to [-1, 1] first, which changes neither fit (a line of a line is a
//! line) and keeps the equations sound for scores around 1e9 or 1e-9.

use rayon::prelude::*;

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
pub(crate) fn minimise(
    scores: &[f64],
    start: f64,
    loss: impl Fn(usize, f64) -> RowLoss + Sync,
) -> Line {
    let scale = Scale::new(scores);
    let scaled: Vec<f64> = scores.par_iter().map(|score| scale.of(*score)).collect();
    let moves = if scale.flat() {
        Moves::Intercept
    } else {
        Moves::Both
    };
    let from = Line {
        slope: 0.0,
        intercept: start,
    };
    let from = near(&scaled, from, moves, &loss);
    let line = run(&scaled, from, moves, &loss);
    let slope = line.slope * scale.factor;
    Line {
        slope,
        intercept: line.intercept - slope * scale.middle,
    }
}

/// Minimises over the intercept alone: the best flat line.
pub(crate) fn minimise_flat(
    rows: usize,
    start: f64,
    loss: impl Fn(usize, f64) -> RowLoss + Sync,
) -> Line {
    let from = Line {
        slope: 0.0,
        intercept: start,
    };
    run(&vec![0.0; rows], from, Moves::Intercept, &loss)
}

/// Minimises over the slope of a line through the origin, from slope 0.
pub(crate) fn minimise_proportional(
    scores: &[f64],
    loss: impl Fn(usize, f64) -> RowLoss + Sync,
) -> f64 {
    let largest = scores
        .iter()
        .fold(0.0_f64, |most, score| most.max(score.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let scaled: Vec<f64> = scores.iter().map(|score| score / largest).collect();
    let from = Line {
        slope: 0.0,
        intercept: 0.0,
    };
    let from = near(&scaled, from, Moves::Slope, &loss);
    run(&scaled, from, Moves::Slope, &loss).slope / largest
}

/// What a step may change.
#[derive(Clone, Copy, PartialEq)]
enum Moves {
    Both,
    Slope,
    Intercept,
}

struct Scale {
    middle: f64,
    factor: f64,
}

impl Scale {
    fn new(scores: &[f64]) -> Self {
        let (low, high) = scores
            .par_chunks(CHUNK)
            .map(|chunk| {
                let low = chunk.iter().copied().fold(f64::INFINITY, f64::min);
                (low, chunk.iter().copied().fold(f64::NEG_INFINITY, f64::max))
            })
            .reduce(
                || (f64::INFINITY, f64::NEG_INFINITY),
                |a, b| (a.0.min(b.0), a.1.max(b.1)),
            );
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

/// Rows summed by one thread at a time. Chunks are summed in order, so the number of threads
/// changes no bit.
const CHUNK: usize = 1 << 12;

/// Loss at a line and its derivatives.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Infinite where the line leads out of range.
    value: f64,
    g1: f64,
    g2: f64,
    h11: f64,
    h12: f64,
    h22: f64,
}

impl Sums {
    fn at(z: &[f64], line: Line, loss: &(impl Fn(usize, f64) -> RowLoss + Sync)) -> Self {
        let parts: Vec<Self> = z
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(number, chunk)| {
                let mut sums = Self::default();
                for (row, z) in (number * CHUNK..).zip(chunk) {
                    let [value, first, second] = loss(row, line.slope * z + line.intercept);
                    sums.value += value;
                    sums.g1 += first * z;
                    sums.g2 += first;
                    sums.h11 += second * z * z;
                    sums.h12 += second * z;
                    sums.h22 += second;
                }
                sums
            })
            .collect();
        let mut sums = parts.iter().fold(Self::default(), |sum, part| Self {
            value: sum.value + part.value,
            g1: sum.g1 + part.g1,
            g2: sum.g2 + part.g2,
            h11: sum.h11 + part.h11,
            h12: sum.h12 + part.h12,
            h22: sum.h22 + part.h22,
        });
        if sums.value.is_nan() {
            sums.value = f64::INFINITY;
        }
        sums
    }
}

/// Rows from which on a sample is solved first, and its share of them.
const MANY: usize = 1 << 16;
const STRIDE: usize = 16;

/// The solution for every 16th row where rows are many: from there Newton needs two or three passes
/// over all of them. Where the sample is no good as a start, as without a positive, it is `from`.
fn near(
    z: &[f64],
    from: Line,
    moves: Moves,
    loss: &(impl Fn(usize, f64) -> RowLoss + Sync),
) -> Line {
    if z.len() < MANY {
        return from;
    }
    let sample: Vec<f64> = z.iter().step_by(STRIDE).copied().collect();
    let line = run(&sample, from, moves, &|row, e| loss(row * STRIDE, e));
    let value = |line| Sums::at(&sample, line, &|row, e| loss(row * STRIDE, e)).value;
    // A sample whose solution runs away says nothing of the whole.
    if line.slope.abs() < 1e3 && line.intercept.abs() < 1e3 && value(line).is_finite() {
        line
    } else {
        from
    }
}

fn run(
    z: &[f64],
    from: Line,
    moves: Moves,
    loss: &(impl Fn(usize, f64) -> RowLoss + Sync),
) -> Line {
    let mut line = from;
    let mut sums = Sums::at(z, line, loss);
    // Newton converges in 4 to 10 steps; the limit is for rounding at the very bottom.
    for _ in 0..200 {
        let Sums { value, g1, g2, .. } = sums;
        // A hair on the diagonal keeps the equations solvable where curvature has died out.
        let hair = 1e-12 * (sums.h11 + sums.h22) + f64::MIN_POSITIVE;
        let (h11, h12, h22) = (sums.h11 + hair, sums.h12, sums.h22 + hair);
        let det = h11 * h22 - h12 * h12;
        let (step1, step2) = match moves {
            Moves::Both if det > 0.0 => {
                (-(h22 * g1 - h12 * g2) / det, -(h11 * g2 - h12 * g1) / det)
            }
            Moves::Slope => (-g1 / h11, 0.0),
            Moves::Both | Moves::Intercept => (0.0, -g2 / h22),
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
            if share == 1.0 && -fall < 1e-15 * value.abs() {
                // The last step falls less than the sum can show: take it unseen.
                return tried;
            }
            let at = Sums::at(z, tried, loss);
            if at.value <= value + 1e-4 * share * fall {
                break Some((tried, at));
            }
            // Below the noise of the sum, the step itself is the better guide.
            if share == 1.0 && -fall < 1e-12 * value.abs() && at.value.is_finite() {
                break Some((tried, at));
            }
            share /= 2.0;
            if share < 1e-10 {
                break None;
            }
        };
        let Some(next) = next else {
            break;
        };
        (line, sums) = next;
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
