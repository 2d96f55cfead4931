//! Pictures brought to another size as Pillow up to version 12 does it, to the last bit; version 13 goes
//! along columns first where that is less work, which is up to one step of colour off.
//!
//! Each place of the output is a weighted mean of the places under a filter that widens with the
//! shrinking, first along rows and then along columns. Weights are whole numbers of 2⁻²² and what lies
//! between the two passes is rounded to bytes: that is what networks were trained on, and a filter in
//! floating point is up to a step of colour off. (Facts: Pillow's `Resample.c`.)

use super::{Filter, Picture};

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// The places that one place of the output is made of, and their weights.
struct Mix {
    first: usize,
    weights: Vec<i32>,
}

fn mixes(from: usize, to: usize, filter: Filter) -> Vec<Mix> {
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    let support = filter.support() * wide;
    (0..to)
        .map(|place| {
            let centre = (place as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let weights = (first..end).map(|at| filter.at((at as f64 - centre + 0.5) / wide));
            let weights: Vec<f64> = weights.collect();
            let total: f64 = weights.iter().sum();
            let whole = |weight: f64| {
                let share = if total == 0.0 { weight } else { weight / total };
                (share * f64::from(1 << BITS)).round() as i32
            };
            Mix {
                first,
                weights: weights.into_iter().map(whole).collect(),
            }
        })
        .collect()
}

fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// A picture of another size.
///
/// # Panics
/// Where a side is 0.
pub fn resize(picture: &Picture, width: u32, height: u32, filter: Filter) -> Picture {
    assert!(width > 0 && height > 0, "a picture has places");
    let (from_wide, from_high) = (picture.width as usize, picture.height as usize);
    let (wide, high) = (width as usize, height as usize);
    let half = 1 << (BITS - 1);
    let mut rgb = std::borrow::Cow::Borrowed(&picture.rgb[..]);
    if wide != from_wide {
        let mixes = mixes(from_wide, wide, filter);
        let mut into = vec![0; from_high * wide * 3];
        let rows = into.chunks_exact_mut(wide * 3);
        for (into, row) in rows.zip(rgb.chunks_exact(from_wide * 3)) {
            for (into, mix) in into.chunks_exact_mut(3).zip(&mixes) {
                let mut sums = [half; 3];
                let places = row[mix.first * 3..].chunks_exact(3);
                for (place, weight) in places.zip(&mix.weights) {
                    for (sum, &colour) in sums.iter_mut().zip(place) {
                        *sum += i32::from(colour) * weight;
                    }
                }
                into.copy_from_slice(&sums.map(byte));
            }
        }
        rgb = into.into();
    }
    if high != from_high {
        let mut into = vec![0; high * wide * 3];
        let mut sums = vec![0; wide * 3];
        let mixes = mixes(from_high, high, filter);
        for (into, mix) in into.chunks_exact_mut(wide * 3).zip(&mixes) {
            sums.fill(half);
            let rows = rgb[mix.first * wide * 3..].chunks_exact(wide * 3);
            for (row, weight) in rows.zip(&mix.weights) {
                for (sum, &colour) in sums.iter_mut().zip(row) {
                    *sum += i32::from(colour) * weight;
                }
            }
            for (into, &sum) in into.iter_mut().zip(&sums) {
                *into = byte(sum);
            }
        }
        rgb = into.into();
    }
    Picture {
        width,
        height,
        rgb: rgb.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, at: impl Fn(u32, u32) -> u8) -> Picture {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Picture {
            width,
            height,
            rgb: places.flat_map(|(x, y)| [at(x, y); 3]).collect(),
        }
    }

    #[test]
    fn a_picture_of_one_colour_stays_one() {
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for (width, height) in [(3, 5), (40, 2), (7, 9)] {
                let grey = resize(&picture(7, 9, |_, _| 131), width, height, filter);
                assert_eq!(grey.rgb, vec![131; (width * height * 3) as usize]);
            }
        }
    }

    #[test]
    fn halving_is_the_mean_under_a_triangle() {
        // Weights 1, 3, 3, 1 of eighths, and 3, 3, 1 of sevenths at an edge.
        let line = picture(4, 1, |x, _| [0, 80, 160, 240][x as usize]);
        let half = resize(&line, 2, 1, Filter::Bilinear);
        let first = f64::from(3 * 80 + 160) / 7.0;
        let second = f64::from(80 + 3 * 160 + 3 * 240) / 7.0;
        assert_eq!(half.rgb[0], first.round() as u8);
        assert_eq!(half.rgb[3], second.round() as u8);
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let given = picture(5, 4, |x, y| (x * 40 + y) as u8);
        assert_eq!(resize(&given, 5, 4, Filter::Bilinear), given);
    }
}
