//! Means and vectors of items, by expectation and maximisation.
//!
//! Vectors of users and items are normal and never fitted themselves: a step works out mean and covariance of each
//! user's from those of the items, then of each item's from those of the users, then the noise and the variance of
//! the items' (variational Bayes; Lim and Teh 2007). Without the items' covariance the best variance would be
//! 0. After each step the users are brought back to variance 1 by a turn of all vectors, which makes it
//! several times quicker (parameter expansion; Liu, Rubin and Wu 1998).
//!
//! Each user and each item is worked out by one thread, and sums over them have one order: the same bytes on
//! any number of threads.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use rayon::prelude::*;
use slate_types::Seed;

use super::{TasteFeature, TasteItem, normal};
use crate::{
    Block, FeatureError, Scale,
    examples::Examples,
    fit::training_rows,
    moments::Moments,
    spec::{DEFAULT_MIN_COUNT, DEFAULT_SMOOTHING, Taste},
};
use normal::{Factor, add_square, add_times, inner, packed};

/// Most steps. Ten or twenty are usual.
pub(crate) const SWEEPS: u64 = 100;
/// Less than this share of the noise is no progress.
const PROGRESS: f64 = 1e-5;
/// What vectors explain of the values, whose variance is 1, to begin with.
const BEGIN: f64 = 0.7;
/// Noise and variance of vectors are not taken for less: without any, all would be certain.
const LEAST: f64 = 1e-6;
/// Below this share of the values' variance, vectors tell nobody apart.
const NOTHING: f64 = 1e-3;

/// Fits an entry to the rows of the training window; `advance` is told the rows of each step.
pub(crate) fn fit(
    examples: &Examples,
    spec: &Taste,
    until: i64,
    advance: &dyn Fn(u64),
    notes: &mut Vec<String>,
) -> Result<TasteFeature, FeatureError> {
    let mut seen = Seen::default();
    let columns = ["matured", &spec.column, &spec.user, &spec.item];
    training_rows(examples, &columns, until, |block, used| {
        advance(block.rows() as u64);
        seen.observe(block, spec, used)
    })?;
    let min_count = spec.min_count.unwrap_or(DEFAULT_MIN_COUNT);
    let (values, ids) = seen.of_known_items(min_count);
    let trend = spec.trend.iter();
    let trend = trend.map(|trend| format!(" and `{}` of items", trend.name));
    let silent = format!(
        "`{}` says nothing of users{}",
        spec.name,
        trend.collect::<String>()
    );
    if ids.is_empty() {
        notes.push(format!(
            "{silent}: no item has {min_count} rows of the training window with `{}` and `{}`",
            spec.column, spec.user
        ));
    }
    let rows = values.len();
    let found = factorise(values, &ids, spec.width as usize, advance);
    let numbers = found.items.iter().flat_map(|item| &item.vector);
    let squares: f64 = numbers.map(|&number| f64::from(number).powi(2)).sum();
    if !ids.is_empty() && squares < NOTHING * ids.len() as f64 {
        notes.push(format!(
            "{silent}, or little: {rows} rows of {} items do not show that they take items differently",
            ids.len()
        ));
    }
    Ok(TasteFeature {
        name: spec.name.clone(),
        column: spec.column.clone(),
        user: spec.user.clone(),
        item: spec.item.clone(),
        width: spec.width,
        half_life_days: spec.half_life_days,
        scale: found.scale,
        noise: found.noise,
        spread: found.spread,
        trend: spec.trend.clone(),
        items: found.items,
    })
}

/// A value and whose it is, users and items numbered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rated {
    user: u32,
    item: u32,
    value: f64,
}

/// Numbers given in the order of appearance.
type Numbered = HashMap<i64, u32, FixedState>;

/// The values of the training window.
#[derive(Default)]
struct Seen {
    users: Numbered,
    items: Numbered,
    values: Vec<Rated>,
}

impl Seen {
    fn observe(&mut self, block: &Block, spec: &Taste, used: &[bool]) -> Result<(), FeatureError> {
        let values = super::values(block, &spec.column)?;
        let (users, items) = (block.ids(&spec.user)?, block.ids(&spec.item)?);
        for (((user, item), value), used) in users.iter().zip(items).zip(values).zip(used) {
            if let (Some(user), Some(item), true) = (user, item, *used && !value.is_nan()) {
                let number = |of: &mut Numbered, id| {
                    let next = of.len() as u32;
                    *of.entry(id).or_insert(next)
                };
                self.values.push(Rated {
                    user: number(&mut self.users, user),
                    item: number(&mut self.items, item),
                    value,
                });
            }
        }
        Ok(())
    }

    /// Values of items with `min_count` of them or more, such items numbered by growing id, and their ids; users
    /// numbered anew, too.
    fn of_known_items(self, min_count: u64) -> (Vec<Rated>, Vec<i64>) {
        let mut counts = vec![0_u64; self.items.len()];
        for rated in &self.values {
            counts[rated.item as usize] += 1;
        }
        let mut known: Vec<(i64, u32)> = self.items.into_iter().collect();
        known.retain(|&(_, item)| counts[item as usize] >= min_count);
        known.sort_unstable();
        let mut place = vec![None; counts.len()];
        for (at, &(_, item)) in known.iter().enumerate() {
            place[item as usize] = Some(at as u32);
        }
        let mut users = HashMap::<u32, u32, FixedState>::default();
        let mut placed = |rated: Rated| {
            let item = place[rated.item as usize]?;
            let next = users.len() as u32;
            let user = *users.entry(rated.user).or_insert(next);
            Some(Rated {
                user,
                item,
                ..rated
            })
        };
        let values = self.values.into_iter().filter_map(&mut placed).collect();
        (values, known.into_iter().map(|(id, _)| id).collect())
    }
}

/// A factorisation, as in [`TasteFeature`].
struct Factorised {
    scale: Scale,
    noise: f64,
    spread: f64,
    items: Vec<TasteItem>,
}

fn factorise(
    mut values: Vec<Rated>,
    ids: &[i64],
    width: usize,
    advance: &dyn Fn(u64),
) -> Factorised {
    let scale = standardise(&mut values);
    let means = centre(&mut values, ids.len());
    let mut steps = Steps::new(&values, ids.len(), width);
    let rows = values.len() as u64;
    drop(values);
    for _ in 0..SWEEPS {
        let before = steps.noise;
        steps.step();
        advance(rows);
        if (before - steps.noise).abs() <= PROGRESS * before {
            break;
        }
    }
    let vectors = steps.vectors.chunks_exact(width);
    let items = ids.iter().zip(means).zip(vectors);
    let items = items.map(|((&id, mean), vector)| TasteItem {
        id,
        mean: mean as f32,
        vector: vector.iter().map(|&number| number as f32).collect(),
    });
    Factorised {
        scale,
        noise: steps.noise,
        spread: steps.spread,
        items: items.collect(),
    }
}

fn standardise(values: &mut [Rated]) -> Scale {
    let mut moments = Moments::default();
    for rated in values.iter() {
        moments.add(rated.value);
    }
    let scale = moments.scale();
    for rated in values {
        rated.value = scale.apply(rated.value);
    }
    scale
}

/// Takes from each value the mean of its item, which is drawn to 0 as a rate is to its prior, and gives the means.
fn centre(values: &mut [Rated], items: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); items];
    for rated in values.iter() {
        let sum = &mut sums[rated.item as usize];
        sum.0 += rated.value;
        sum.1 += 1.0;
    }
    let means = sums
        .into_iter()
        .map(|(sum, count)| sum / (count + DEFAULT_SMOOTHING));
    let means: Vec<f64> = means.collect();
    for rated in values {
        rated.value -= means[rated.item as usize];
    }
    means
}

/// Values in groups: of each its user's items or its item's users, and what is above the item's mean.
struct Groups {
    first: Vec<usize>,
    others: Vec<u32>,
    values: Vec<f32>,
}

impl Groups {
    fn new(values: &[Rated], groups: usize, ids: impl Fn(&Rated) -> (u32, u32)) -> Self {
        let mut first = vec![0; groups + 1];
        for rated in values {
            first[ids(rated).0 as usize + 1] += 1;
        }
        for group in 0..groups {
            first[group + 1] += first[group];
        }
        let mut next = first.clone();
        let (mut others, mut sorted) = (vec![0; values.len()], vec![0.0; values.len()]);
        for rated in values {
            let (group, other) = ids(rated);
            let at = &mut next[group as usize];
            (others[*at], sorted[*at]) = (other, rated.value as f32);
            *at += 1;
        }
        Self {
            first,
            others,
            values: sorted,
        }
    }

    fn of(&self, group: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.first[group]..self.first[group + 1];
        let others = self.others[range.clone()].iter();
        let each = others.zip(&self.values[range]);
        each.map(|(&other, &value)| (other as usize, value.into()))
    }
}

/// The state between steps.
struct Steps {
    by_user: Groups,
    by_item: Groups,
    width: usize,
    /// `E[v]` of each item, `[items, width]`.
    vectors: Vec<f64>,
    /// `E[v v']` of each item, `[items, packed]`.
    squares: Vec<f64>,
    noise: f64,
    /// Variance of the prior of a number of a vector.
    spread: f64,
}

impl Steps {
    /// `values` are standardised and above their items' means; users and items are numbered without gaps.
    fn new(values: &[Rated], items: usize, width: usize) -> Self {
        let users = values.iter().map(|rated| rated.user as usize + 1).max();
        let spread = BEGIN / width as f64;
        let seed = Seed(0).derive("taste");
        // Uniform numbers of variance 1.
        let start = |at: usize| (seed.index(at as u64).unit() - 0.5) * 12.0_f64.sqrt();
        let vectors: Vec<f64> = (0..items * width)
            .map(|at| spread.sqrt() * start(at))
            .collect();
        let mut squares = vec![0.0; items * packed(width)];
        let each = squares.chunks_exact_mut(packed(width));
        for (square, vector) in each.zip(vectors.chunks_exact(width)) {
            add_square(square, 1.0, vector);
        }
        Self {
            by_user: Groups::new(values, users.unwrap_or(0), |own| (own.user, own.item)),
            by_item: Groups::new(values, items, |own| (own.item, own.user)),
            width,
            vectors,
            squares,
            noise: 1.0,
            spread,
        }
    }

    fn step(&mut self) {
        let (means, squares) = self.users();
        let left = self.items(&means, &squares);
        self.rescale(&squares);
        let rows = self.by_item.values.len() as f64;
        self.noise = (left / rows.max(1.0)).max(LEAST);
        let width = self.width;
        let variances = |square: &[f64]| -> f64 { (0..width).map(|i| square[packed(i) + i]).sum() };
        let sum: f64 = self
            .squares
            .chunks_exact(packed(width))
            .map(variances)
            .sum();
        self.spread = (sum / self.vectors.len().max(1) as f64).max(LEAST);
    }

    /// Of each user `E[u]`, `[users, width]`, and `E[u u']`, `[users, packed]`.
    fn users(&self) -> (Vec<f32>, Vec<f32>) {
        let (width, users) = (self.width, self.by_user.first.len() - 1);
        let long = packed(width);
        let mut means = vec![0.0_f32; users * width];
        let mut squares = vec![0.0_f32; users * long];
        means
            .par_chunks_exact_mut(width)
            .zip(squares.par_chunks_exact_mut(long))
            .enumerate()
            .for_each(|(user, (means, squares))| {
                let mut sums = vec![0.0; long];
                let mut mean = vec![0.0; width];
                for (item, value) in self.by_user.of(user) {
                    let square = &self.squares[item * long..(item + 1) * long];
                    let each = sums.iter_mut().zip(square);
                    each.for_each(|(sum, number)| *sum += number);
                    let vector = &self.vectors[item * width..(item + 1) * width];
                    add_times(&mut mean, value, vector);
                }
                // The precision is (Σ E[v v'] / noise) + I.
                let square = solved(&sums, self.noise, self.noise, &mut mean);
                let narrow = means.iter_mut().zip(mean);
                narrow.for_each(|(to, from)| *to = from as f32);
                let narrow = squares.iter_mut().zip(square);
                narrow.for_each(|(to, from)| *to = from as f32);
            });
        (means, squares)
    }

    /// Moves what is known of items and gives the sum of squares of what they leave, as expected.
    fn items(&mut self, means: &[f32], squares: &[f32]) -> f64 {
        let (width, long) = (self.width, packed(self.width));
        let (noise, ridge) = (self.noise, self.noise / self.spread);
        let by_item = &self.by_item;
        let left: Vec<f64> = self
            .vectors
            .par_chunks_exact_mut(width)
            .zip(self.squares.par_chunks_exact_mut(long))
            .enumerate()
            .map(|(item, (vector, own))| {
                let mut sums = vec![0.0; long];
                let (mut product, mut total) = (vec![0.0; width], 0.0);
                for (user, value) in by_item.of(item) {
                    let square = &squares[user * long..(user + 1) * long];
                    let each = sums.iter_mut().zip(square);
                    each.for_each(|(sum, &number)| *sum += f64::from(number));
                    let mean = &means[user * width..(user + 1) * width];
                    let each = product.iter_mut().zip(mean);
                    each.for_each(|(sum, &number)| *sum += value * f64::from(number));
                    total += value * value;
                }
                vector.copy_from_slice(&product);
                own.copy_from_slice(&solved(&sums, ridge, noise, vector));
                let both: f64 = vector.iter().zip(&product).map(|(v, b)| v * b).sum();
                total - 2.0 * both + inner(&sums, own)
            })
            .collect();
        left.iter().sum()
    }

    /// Turns the vectors so that users have variance 1 again.
    fn rescale(&mut self, squares: &[f32]) {
        let mut mean = vec![0.0; packed(self.width)];
        let users = squares.chunks_exact(mean.len());
        let count = users.len().max(1) as f64;
        for user in users {
            let each = mean.iter_mut().zip(user);
            each.for_each(|(sum, &number)| *sum += f64::from(number) / count);
        }
        let factor = Factor::new(&mean, 0.0, self.width);
        for vector in self.vectors.chunks_exact_mut(self.width) {
            vector.copy_from_slice(&factor.turned(vector));
        }
        for square in self.squares.chunks_exact_mut(mean.len()) {
            square.copy_from_slice(&factor.turned_matrix(square));
        }
    }
}

/// Mean `x` of a normal vector, the solution of `(sums + ridge · I) x = mean` in the place of `mean`, and its
/// `E[x x']`, where the covariance is `noise` times the inverse.
fn solved(sums: &[f64], ridge: f64, noise: f64, mean: &mut [f64]) -> Vec<f64> {
    let factor = Factor::new(sums, ridge, mean.len());
    factor.solve(mean);
    let mut square = factor.inverse();
    for number in &mut square {
        *number *= noise;
    }
    add_square(&mut square, 1.0, mean);
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard normal numbers (Box and Muller 1958).
    fn normals(seed: Seed) -> impl Iterator<Item = f64> {
        (0..).map(move |at| {
            let (a, b) = (seed.index(2 * at).unit(), seed.index(2 * at + 1).unit());
            (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
        })
    }

    /// Values of users who were each shown `shown` items, and the items' true vectors.
    fn made_up(users: u32, items: u32, shown: u32, noise: f64) -> (Vec<Rated>, Vec<Vec<f64>>) {
        let mut draw = normals(Seed(7));
        let mut vector = || -> Vec<f64> { draw.by_ref().take(3).collect() };
        let tastes: Vec<Vec<f64>> = (0..users).map(|_| vector()).collect();
        let vectors: Vec<Vec<f64>> = (0..items).map(|_| vector()).collect();
        let mut values = Vec::new();
        for user in 0..users {
            for nth in 0..shown {
                let choice = Seed(9).index((user * shown + nth).into());
                let item = (choice.unit() * f64::from(items)) as u32;
                let (u, v) = (&tastes[user as usize], &vectors[item as usize]);
                let liking: f64 = u.iter().zip(v).map(|(u, v)| u * v).sum();
                let value = liking + noise * draw.next().unwrap();
                values.push(Rated { user, item, value });
            }
        }
        (values, vectors)
    }

    /// The logarithm of the density of all values, users' vectors integrated out: a normal density of as many
    /// numbers for each user as it has values.
    fn likelihood(steps: &Steps) -> f64 {
        let vector = |item: usize| &steps.vectors[item * steps.width..(item + 1) * steps.width];
        let one = |user: usize| {
            let (items, mut values): (Vec<usize>, Vec<f64>) = steps.by_user.of(user).unzip();
            let mut covariance = Vec::new();
            for (i, &one) in items.iter().enumerate() {
                for &other in &items[..=i] {
                    let each = vector(one).iter().zip(vector(other));
                    covariance.push(each.map(|(a, b)| a * b).sum());
                }
            }
            let factor = Factor::new(&covariance, steps.noise, items.len());
            let before = values.clone();
            factor.solve(&mut values);
            let distance: f64 = before.iter().zip(&values).map(|(a, b)| a * b).sum();
            let constant = items.len() as f64 * std::f64::consts::TAU.ln();
            -0.5 * (distance + factor.ln_determinant() + constant)
        };
        (0..steps.by_user.first.len() - 1).map(one).sum()
    }

    #[test]
    fn each_step_makes_the_values_likelier() {
        let (values, _) = made_up(60, 17, 14, 0.7);
        let mut steps = Steps::new(&values, 17, 3);
        let mut before = likelihood(&steps);
        let first = before;
        for step in 0..15 {
            steps.step();
            let after = likelihood(&steps);
            assert!(after > before, "step {step}: {before} to {after}");
            before = after;
        }
        assert!(before - first > 100.0, "{first} to {before}");
    }

    #[test]
    fn what_was_made_up_is_found_again() {
        let (values, vectors) = made_up(1500, 60, 30, 0.5);
        let ids: Vec<i64> = (0..60).collect();
        let Factorised {
            scale,
            noise,
            items,
            ..
        } = factorise(values, &ids, 3, &|_| {});
        let variance = scale.sd * scale.sd;
        assert!((noise * variance / 0.25 - 1.0).abs() < 0.03, "{noise}");
        // Vectors are found but for a turn, which products of two do not see.
        let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let found: Vec<Vec<f64>> = items
            .iter()
            .map(|item| item.vector.iter().map(|&number| number.into()).collect())
            .collect();
        let (mut wrong, mut all) = (0.0, 0.0);
        for (a, true_a) in found.iter().zip(&vectors) {
            for (b, true_b) in found.iter().zip(&vectors) {
                let truth = product(true_a, true_b);
                wrong += (variance * product(a, b) - truth).powi(2);
                all += truth * truth;
            }
        }
        assert!(wrong / all < 0.01, "{}", wrong / all);
    }

    #[test]
    fn wider_vectors_than_there_is_to_say_do_not_drown_it() {
        // Of variance 3 three numbers say all but .25; most users have 14 values, and vectors 8 numbers.
        let (values, _) = made_up(900, 100, 14, 0.5);
        let ids: Vec<i64> = (0..100).collect();
        let found = factorise(values, &ids, 8, &|_| {});
        let variance = found.scale.sd * found.scale.sd;
        let noise = found.noise * variance;
        assert!((noise - 0.25).abs() < 0.05, "{noise}");
        assert!(found.spread * 8.0 > 0.8, "{}", found.spread);
    }

    #[test]
    fn noise_is_told_from_tastes() {
        let (mut values, _) = made_up(300, 50, 10, 1.0);
        let draw = normals(Seed(21));
        for (rated, draw) in values.iter_mut().zip(draw) {
            rated.value = draw;
        }
        let ids: Vec<i64> = (0..50).collect();
        let found = factorise(values, &ids, 4, &|_| {});
        assert!(found.spread * 4.0 < NOTHING, "{}", found.spread);
    }

    #[test]
    fn too_little_to_learn_from_is_no_trouble() {
        let Factorised { noise, items, .. } = factorise(Vec::new(), &[], 4, &|_| {});
        assert!(noise > 0.0 && items.is_empty());
        let alike = vec![
            Rated {
                user: 0,
                item: 0,
                value: 2.0,
            };
            9
        ];
        let Factorised {
            scale,
            noise,
            items,
            ..
        } = factorise(alike, &[5], 4, &|_| {});
        assert!(noise > 0.0);
        assert_eq!((scale.mean, scale.sd, items[0].mean), (2.0, 0.0, 0.0));
        assert!(items[0].vector.iter().all(|number| number.abs() < 1e-3));
    }
}
