//! Self-attention among the tokens of each text.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use slate_kernels::{Start, View, multiply, softmax};

use super::{is_fused, values};

/// Texts whose rows stand one after the other: how many rows each has, at least one.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub(crate) lengths: Vec<usize>,
}

impl Texts {
    /// The ranges of their rows.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.lengths.iter().scan(0, |from, length| {
            let range = *from..*from + length;
            *from = range.end;
            Some(range)
        })
    }
}

/// The context of every token.
///
/// # Shapes
/// - packed: `[rows, 3·hidden]`, queries, keys and values side by side
/// - output: `[rows, hidden]`
pub(crate) fn attend(packed: &Tensor, texts: &Texts, heads: usize) -> Result<Tensor> {
    if is_fused(packed) {
        packed.apply_op1_no_bwd(&Attend { texts, heads })
    } else {
        plain(packed, texts, heads)
    }
}

fn plain(packed: &Tensor, texts: &Texts, heads: usize) -> Result<Tensor> {
    let hidden = packed.dims2()?.1 / 3;
    let width = hidden / heads;
    let mut contexts = Vec::new();
    // Texts of one length go together: they come sorted.
    let mut from = 0;
    for alike in texts.lengths.chunk_by(|a, b| a == b) {
        let (count, length) = (alike.len(), alike[0]);
        let rows = packed.narrow(0, from, count * length)?;
        from += count * length;
        let part = |at: usize| -> Result<Tensor> {
            rows.narrow(1, at * hidden, hidden)?
                .reshape((count, length, heads, width))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let logits = (q.matmul(&k.t()?.contiguous()?)? / (width as f64).sqrt())?;
        let weights = candle_nn::ops::softmax_last_dim(&logits)?;
        let context = weights.matmul(&v)?.transpose(1, 2)?;
        contexts.push(context.reshape((count * length, hidden))?);
    }
    Tensor::cat(&contexts, 0)
}

struct Attend<'a> {
    texts: &'a Texts,
    heads: usize,
}

impl CustomOp1 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(&self, packed: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, three) = layout.shape().dims2()?;
        let hidden = three / 3;
        let width = hidden / self.heads;
        let scale = 1.0 / (width as f32).sqrt();
        let packed = values(packed, layout)?;
        let mut context = vec![0.0; rows * hidden];
        let mut weights = Vec::new();
        for range in self.texts.ranges() {
            let length = range.len();
            weights.resize(length * length, 0.0);
            for head in 0..self.heads {
                let part = |at: usize| {
                    let from = range.start * three + at * hidden + head * width;
                    View::strided(&packed[from..], [length, width], three)
                };
                multiply(
                    &mut weights,
                    length,
                    Start::Zero,
                    scale,
                    part(0),
                    part(1).turned(),
                );
                softmax(&mut weights, length);
                let into = &mut context[range.start * hidden + head * width..];
                let weights = View::new(&weights, length, length);
                multiply(into, hidden, Start::Zero, 1.0, weights, part(2));
            }
        }
        Ok((CpuStorage::F32(context), Shape::from((rows, hidden))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apart, wave};
    use super::*;

    #[test]
    fn attention_is_that_of_the_library() {
        let texts = Texts {
            lengths: vec![1, 3, 3, 7],
        };
        let packed = wave(&[14, 24], 0.9);
        let fused = attend(&packed, &texts, 2).unwrap();
        assert_eq!(fused.dims(), [14, 8]);
        assert!(apart(&fused, &plain(&packed, &texts, 2).unwrap()) < 1e-6);
        // A text of one token looks at itself alone.
        let own = packed.narrow(0, 0, 1).unwrap().narrow(1, 16, 8).unwrap();
        assert!(apart(&fused.narrow(0, 0, 1).unwrap(), &own) < 1e-6);
    }
}
