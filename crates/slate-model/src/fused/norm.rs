//! Layer normalisation: each row less its mean, over its deviation, scaled and shifted.

use slate_kernels::{Moments, dot, sum, vectorised};

/// What is added to the variance, as in `torch.nn.LayerNorm` and Burn.
const EPSILON: f32 = 1e-5;

/// Rows normalised, and what each was normalised by.
///
/// # Shapes
/// - x, output: `[rows, width]`; gamma, beta: `[width]`
pub(super) fn forward(x: &[f32], gamma: &[f32], beta: &[f32]) -> (Vec<f32>, Vec<Moments>) {
    let width = gamma.len();
    let mut output = Vec::with_capacity(x.len());
    let mut moments = Vec::with_capacity(x.len() / width);
    vectorised(
        #[inline(always)]
        || {
            for row in x.chunks_exact(width) {
                let own = Moments::of(row, EPSILON);
                let numbers = row.iter().zip(gamma.iter().zip(beta));
                output.extend(
                    numbers.map(|(value, (gamma, beta))| {
                        (value - own.mean) * own.scale * gamma + beta
                    }),
                );
                moments.push(own);
            }
        },
    );
    (output, moments)
}

/// Slopes of the input, added to `residual` where there is one; those of scales and shifts.
pub(super) fn backward(
    x: &[f32],
    moments: &[Moments],
    gamma: &[f32],
    gradient: &[f32],
    residual: Option<&[f32]>,
) -> (Vec<f32>, [Vec<f32>; 2]) {
    let width = gamma.len();
    let (mut of_gamma, mut of_beta) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    let (mut normed, mut scaled) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    let mut of_x = Vec::with_capacity(x.len());
    let rows = x.chunks_exact(width).zip(moments);
    let slopes = gradient.chunks_exact(width).enumerate();
    vectorised(
        #[inline(always)]
        || {
            for ((row, own), (at, slopes)) in rows.zip(slopes) {
                for (normed, value) in normed.iter_mut().zip(row) {
                    *normed = (value - own.mean) * own.scale;
                }
                let columns = of_gamma.iter_mut().zip(&mut of_beta);
                for ((of_gamma, of_beta), (slope, normed)) in
                    columns.zip(slopes.iter().zip(&normed))
                {
                    *of_gamma += slope * normed;
                    *of_beta += slope;
                }
                for (scaled, (slope, gamma)) in scaled.iter_mut().zip(slopes.iter().zip(gamma)) {
                    *scaled = slope * gamma;
                }
                let mean = sum(&scaled, |value| value) / width as f32;
                let along = dot(&scaled, &normed) / width as f32;
                let pairs = scaled.iter().zip(&normed);
                let of_row =
                    pairs.map(|(scaled, normed)| own.scale * (scaled - mean - normed * along));
                match residual {
                    None => of_x.extend(of_row),
                    Some(residual) => {
                        let residual = &residual[at * width..][..width];
                        of_x.extend(residual.iter().zip(of_row).map(|(one, two)| one + two));
                    }
                }
            }
        },
    );
    (of_x, [of_gamma, of_beta])
}
