//! The Plackett–Luce order: draws without replacement, and the exact probability that an item
//! lands in a slot.
//!
//! Input: one log-weight per item of the pool (a score over a temperature). The next slot goes to
//! an item of those left with probability proportional to its weight.
//!
//! The order is a race: item `i` arrives at an exponential time of rate `w_i`, and slot `k` goes to
//! the `k`-th arrival (Yellott 1977). So
//!
//! ```text
//! P(item i in slot k) = ∫ w_i exp(-w_i t) · P(exactly k of the others arrived before t) dt
//! ```
//!
//! The inner probability is a Poisson-binomial law, built up one item at a time and only to degree
//! `k`; the integral is a trapezoid sum over `ln t`, which converges geometrically because the
//! integrand is analytic there. Absolute error is below 1e-9 (compared with enumeration in the
//! tests). Weights below e^-30 of the largest are raised to that, in the draw as well.
//!
//! ```
//! use slate_types::PlackettLuce;
//!
//! let order = PlackettLuce::new(&[0.0, 0.0, 2.0_f64.ln()]);
//! // The third item weighs as much as the two others together.
//! assert!((order.marginals(&[(2, 0)])[0] - 0.5).abs() < 1e-12);
//! assert!((order.given_prefix(&[2, 0, 1])[1] - 0.5).abs() < 1e-12);
//! ```

/// Smallest log-weight kept, below the largest of the pool.
const FLOOR: f64 = -30.0;
/// Items up to which a table is made set by set.
const MOST_BY_SETS: usize = 10;
/// Step of the trapezoid sum in `ln t`; halving it moves no result by more than 1e-10.
const STEP: f64 = 0.3;

/// A pool of items ready to be drawn from.
#[derive(Debug, Clone)]
pub struct PlackettLuce {
    /// Weights with sum 1, in pool order.
    weights: Vec<f64>,
}

impl PlackettLuce {
    /// Takes one finite log-weight per item of the pool, of which there is at least one.
    pub fn new(log_weights: &[f64]) -> Self {
        let top = log_weights
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = log_weights
            .iter()
            .map(|weight| (weight - top).max(FLOOR).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= total;
        }
        Self { weights }
    }

    /// Draws the first `slots` places (at most the pool) and returns pool indices, first slot first.
    /// `exponential` gives independent numbers of the exponential law with mean 1.
    pub fn draw(&self, slots: usize, mut exponential: impl FnMut() -> f64) -> Vec<usize> {
        let mut arrivals: Vec<(f64, usize)> = self
            .weights
            .iter()
            .enumerate()
            .map(|(item, weight)| (exponential() / weight, item))
            .collect();
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        arrivals.truncate(slots);
        arrivals.into_iter().map(|(_, item)| item).collect()
    }

    /// Probability of each shown item's slot given the items in the slots before it.
    pub fn given_prefix(&self, shown: &[usize]) -> Vec<f64> {
        let mut left = self.weights.clone();
        let mut probabilities = Vec::with_capacity(shown.len());
        for &item in shown {
            // Summed anew each time: subtracting would lose the small weights at the end.
            let total: f64 = left.iter().sum();
            probabilities.push((left[item] / total).min(1.0));
            left[item] = 0.0;
        }
        probabilities
    }

    /// Probability of every item in every slot, `[items × items]`, item by item.
    ///
    /// Pools of few items go through all sets that can fill the first slots, which is exact and takes
    /// `n·2^n` steps; larger ones through the integrals of [`PlackettLuce::marginals`].
    pub fn table(&self) -> Vec<f64> {
        let n = self.weights.len();
        let mut table = vec![0.0; n * n];
        if n > MOST_BY_SETS {
            for slot in 0..n {
                let wanted: Vec<(usize, usize)> = (0..n).map(|item| (item, slot)).collect();
                for (item, chance) in self.marginals(&wanted).into_iter().enumerate() {
                    table[item * n + slot] = chance;
                }
            }
            return table;
        }
        // How likely the first slots hold exactly this set, in any order.
        let mut reached = vec![0.0; 1 << n];
        reached[0] = 1.0;
        for set in 0..(1_usize << n) - 1 {
            let slot = set.count_ones() as usize;
            let open = (0..n).filter(|item| set & (1 << item) == 0);
            // Summed anew: what is left of 1 would be lost in rounding.
            let left: f64 = open.clone().map(|item| self.weights[item]).sum();
            for item in open {
                let chance = reached[set] * self.weights[item] / left;
                table[item * n + slot] += chance;
                reached[set | 1 << item] += chance;
            }
        }
        table
    }

    /// Marginal probability of each `(item, slot)` pair, in the order given. Pairs come with
    /// slots in increasing order (equal ones are fine) and no item twice; slots lie within the
    /// pool.
    pub fn marginals(&self, wanted: &[(usize, usize)]) -> Vec<f64> {
        let depth = wanted.iter().map(|pair| pair.1 + 1).max().unwrap_or(0);
        let times = self.times(depth);
        let mut race = Race {
            weights: &self.weights,
            times: &times,
            spare: Vec::new(),
        };
        let mut counts = vec![0.0; depth * times.len()];
        // Before anyone is entered, nobody has arrived at any time.
        counts
            .iter_mut()
            .take(times.len())
            .for_each(|none| *none = 1.0);
        let mut is_wanted = vec![false; self.weights.len()];
        for &(item, _) in wanted {
            is_wanted[item] = true;
        }
        for item in (0..self.weights.len()).filter(|&item| !is_wanted[item]) {
            race.enter(item, &mut counts);
        }
        let mut probabilities = Vec::with_capacity(wanted.len());
        race.solve(wanted, counts, &mut probabilities);
        probabilities
    }

    /// Times at which the race is looked at, equally spaced in `ln t`.
    fn times(&self, depth: usize) -> Vec<f64> {
        // Slot 0 is known in closed form; for slot 1 and later the mass before t is below t²/2.
        let first = 1e-5_f64.ln();
        // When slot `depth - 1` is still open, at least the slowest n - depth + 1 are under way.
        let mut slowest = self.weights.clone();
        slowest.sort_by(f64::total_cmp);
        let open = self.weights.len() + 1 - depth.clamp(1, self.weights.len());
        let rate: f64 = slowest[..open].iter().sum();
        let last = (40.0 / rate).ln();
        let count = ((last - first) / STEP).ceil() as usize + 1;
        (0..count)
            .map(|step| (first + STEP * step as f64).exp())
            .collect()
    }
}

/// Works out how many items have arrived by each time, leaving one out at a time.
struct Race<'a> {
    weights: &'a [f64],
    times: &'a [f64],
    /// Buffers given back by finished branches.
    spare: Vec<Vec<f64>>,
}

impl Race<'_> {
    /// Enters one item into `counts[k][time]`, the probability that exactly `k` have arrived.
    fn enter(&self, item: usize, counts: &mut [f64]) {
        let n = self.times.len();
        let waiting: Vec<f64> = self
            .times
            .iter()
            .map(|time| (-self.weights[item] * time).exp())
            .collect();
        for k in (0..counts.len() / n).rev() {
            let (fewer, rest) = counts.split_at_mut(k * n);
            let now = &mut rest[..n];
            if k == 0 {
                for (value, wait) in now.iter_mut().zip(&waiting) {
                    *value *= wait;
                }
            } else {
                let fewer = &fewer[(k - 1) * n..];
                for ((value, wait), less) in now.iter_mut().zip(&waiting).zip(fewer) {
                    *value = *value * wait + less * (1.0 - wait);
                }
            }
        }
    }

    /// Splits the wanted pairs in two: each half sees the other half entered. So every item is
    /// left out of its own count after O(log n) entries instead of n.
    fn solve(
        &mut self,
        wanted: &[(usize, usize)],
        mut counts: Vec<f64>,
        probabilities: &mut Vec<f64>,
    ) {
        match wanted {
            [] => {}
            [(item, slot)] => probabilities.push(self.integral(*item, *slot, &counts)),
            _ => {
                let (front, back) = wanted.split_at(wanted.len() / 2);
                // The front half has the smaller slots and needs only the lower degrees.
                let depth = front[front.len() - 1].1 + 1;
                let mut copy = self.spare.pop().unwrap_or_default();
                copy.clear();
                copy.extend_from_slice(&counts[..depth * self.times.len()]);
                for &(item, _) in back {
                    self.enter(item, &mut copy);
                }
                self.solve(front, copy, probabilities);
                for &(item, _) in front {
                    self.enter(item, &mut counts);
                }
                self.solve(back, counts, probabilities);
                return;
            }
        }
        self.spare.push(counts);
    }

    fn integral(&self, item: usize, slot: usize, counts: &[f64]) -> f64 {
        let weight = self.weights[item];
        if slot == 0 {
            return weight;
        }
        let n = self.times.len();
        let sum: f64 = self
            .times
            .iter()
            .zip(&counts[slot * n..(slot + 1) * n])
            .map(|(time, others)| time * (-weight * time).exp() * others)
            .sum();
        (STEP * weight * sum).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Seed;

    /// Probability of every (item, slot) by walking through every order.
    fn enumerate(weights: &[f64]) -> Vec<Vec<f64>> {
        fn walk(weights: &[f64], taken: &mut Vec<usize>, chance: f64, table: &mut [Vec<f64>]) {
            let slot = taken.len();
            let left: f64 = (0..weights.len())
                .filter(|item| !taken.contains(item))
                .map(|item| weights[item])
                .sum();
            for item in 0..weights.len() {
                if !taken.contains(&item) {
                    let here = chance * weights[item] / left;
                    table[item][slot] += here;
                    taken.push(item);
                    walk(weights, taken, here, table);
                    taken.pop();
                }
            }
        }
        let mut table = vec![vec![0.0; weights.len()]; weights.len()];
        walk(weights, &mut Vec::new(), 1.0, &mut table);
        table
    }

    /// The marginals of one slot, every item of the pool.
    fn column(order: &PlackettLuce, slot: usize) -> Vec<f64> {
        let wanted: Vec<_> = (0..order.weights.len()).map(|item| (item, slot)).collect();
        order.marginals(&wanted)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn marginals_equal_enumeration(
            log_weights in prop::collection::vec(-6.0..6.0_f64, 1..=6),
        ) {
            let order = PlackettLuce::new(&log_weights);
            let table = enumerate(&order.weights);
            for slot in 0..log_weights.len() {
                let rows = table.iter().zip(column(&order, slot));
                for (item, (row, probability)) in rows.enumerate() {
                    let expected = row[slot];
                    prop_assert!(
                        (probability - expected).abs() < 1e-9,
                        "item {item} slot {slot}: {probability} against {expected}"
                    );
                }
            }
        }

        #[test]
        fn each_slot_is_filled_exactly_once(
            log_weights in prop::collection::vec(-12.0..12.0_f64, 12..=30),
            slot in 0..12_usize,
        ) {
            let order = PlackettLuce::new(&log_weights);
            let total: f64 = column(&order, slot).iter().sum();
            prop_assert!((total - 1.0).abs() < 1e-9, "slot {slot} sums to {total}");
        }
    }

    #[test]
    fn the_table_is_that_of_the_marginals() {
        for n in [1, 3, MOST_BY_SETS, MOST_BY_SETS + 1] {
            let log_weights: Vec<f64> = (0..n).map(|i| (i * i % 7) as f64 / 3.0).collect();
            let order = PlackettLuce::new(&log_weights);
            let table = order.table();
            for slot in 0..n {
                for (item, expected) in column(&order, slot).into_iter().enumerate() {
                    let ours = table[item * n + slot];
                    assert!((ours - expected).abs() < 1e-9, "{n} {ours} {expected}");
                }
            }
        }
    }

    #[test]
    fn pairs_asked_together_equal_pairs_asked_alone() {
        let order = PlackettLuce::new(&[0.3, -1.0, 2.0, 0.0, 1.1, -0.4, 0.9]);
        let shown = [(2, 0), (4, 1), (0, 2), (1, 3), (6, 4)];
        let together = order.marginals(&shown);
        for (pair, probability) in shown.iter().zip(together) {
            assert!((order.marginals(&[*pair])[0] - probability).abs() < 1e-12);
        }
    }

    #[test]
    fn draws_land_as_often_as_the_marginals_say() {
        let order = PlackettLuce::new(&[0.0, 1.0, -1.0, 0.5, 2.0]);
        let mut units = (0..).map(|i| Seed(5).index(i).unit());
        let mut exponential = || -(1.0 - units.next().unwrap()).ln();
        let n = 20_000;
        let mut hits = [0_u32; 5];
        for _ in 0..n {
            hits[order.draw(3, &mut exponential)[2]] += 1;
        }
        for (hits, expected) in hits.iter().zip(column(&order, 2)) {
            let share = f64::from(*hits) / f64::from(n);
            let error = (expected * (1.0 - expected) / f64::from(n)).sqrt();
            assert!(
                (share - expected).abs() < 4.0 * error,
                "{share} against {expected}"
            );
        }
    }

    #[test]
    fn prefix_probabilities_multiply_to_the_probability_of_the_order() {
        let order = PlackettLuce::new(&[0.0, 0.0, 0.0]);
        let product: f64 = order.given_prefix(&[2, 0, 1]).iter().product();
        assert!((product - 1.0 / 6.0).abs() < 1e-15);
    }
}
