//! A penalty towards the ranker that an update began with (Hinton, Vinyals and Dean 2015, on logits
//! instead of probabilities).
//!
//! ```text
//! penalty = weight · Σ wᵢ · Σ½(student − teacher)² / Σ wᵢ
//! ```
//!
//! The sums are over a batch's slots, the inner one over the network's columns. The divisor is known before the
//! first score, so that every shard has its share by itself.

use slate_types::Batch;

use crate::shards::Shard;

/// The weights of all slots of a batch, added up.
pub(crate) fn mass(batch: &Batch, shards: &[Shard]) -> f64 {
    let of = |shard: &Shard| -> f64 {
        let places = shard.places.iter().flatten();
        places.map(|&place| f64::from(batch.weight[place])).sum()
    };
    shards.iter().map(of).sum()
}

/// A shard's share of the penalty; its gradient is added to `slopes`.
///
/// # Shapes
/// - student, teacher, slopes: `[N, L, columns]`; padding is not looked at.
pub(crate) fn share(
    batch: &Batch,
    shard: &Shard,
    factor: f64,
    [student, teacher]: [&[f64]; 2],
    slopes: &mut [f64],
) -> f64 {
    let columns = student.len() / shard.places.len().max(1);
    let mut total = 0.0;
    for (row, place) in shard.places.iter().enumerate() {
        let Some(place) = *place else { continue };
        let weight = factor * f64::from(batch.weight[place]);
        for at in row * columns..(row + 1) * columns {
            let distance = student[at] - teacher[at];
            total += weight * 0.5 * distance * distance;
            slopes[at] += weight * distance;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards;

    #[test]
    fn shares_of_any_cut_add_up_to_the_mean_over_slots() {
        // 120 lists of 5 places, every seventh without a slot.
        let places = 600;
        let batch = Batch {
            lists: 120,
            slots: 5,
            mask: (0..places).map(|place| place % 7 > 0).collect(),
            weight: (0..places).map(|place| 1.0 + (place % 3) as f32).collect(),
            ..Batch::default()
        };
        let score = |place: usize, column: usize| (place * 2 + column) as f64 * 0.37;
        let aim = |place: usize, column: usize| score(place, column).sin();
        let all = |most: usize| -> f64 {
            let shards = shards::cut(&batch, most);
            let factor = 0.5 / mass(&batch, &shards);
            let of = |shard: &Shard| {
                let values = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                    let places = shard.places.iter();
                    let pairs = places.map(|place| {
                        place.map_or([f64::NAN; 2], |place| [of(place, 0), of(place, 1)])
                    });
                    pairs.flatten().collect()
                };
                let (student, teacher) = (values(&score), values(&aim));
                let mut slopes = vec![0.0; student.len()];
                share(&batch, shard, factor, [&student, &teacher], &mut slopes)
            };
            shards.iter().map(of).sum()
        };
        let (mut expected, mut weights) = (0.0, 0.0);
        for place in (0..places).filter(|place| batch.mask[*place]) {
            let weight = f64::from(batch.weight[place]);
            weights += weight;
            for column in 0..2 {
                expected += weight * (score(place, column) - aim(place, column)).powi(2) / 2.0;
            }
        }
        let expected = 0.5 * expected / weights;
        for most in [1, 2, 8] {
            assert!((all(most) / expected - 1.0).abs() < 1e-12, "{most} pieces");
        }
    }
}
