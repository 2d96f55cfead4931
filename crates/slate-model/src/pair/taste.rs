//! How like an item in a slot is to what its page's visitor did before.
//!
//! For each kind of content (titles, pictures) one matrix `W` brings the visitor's mean vector `u` and the
//! candidate's vector `c` to a space in which tastes are told apart, and what is known is the product
//! `Wu · Wc`: symmetric, so that a visitor likes what is like what they chose. Without a bias, so that it is 0
//! where either has no vector, and a visitor of whom little is known says little.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use slate_types::VisitorPlaces;

use crate::initial::Initial;
use crate::network::at_each_place;
use crate::noise::Noise;

/// The matrices, one for each kind of content.
#[derive(Module, Debug)]
pub(super) struct Taste {
    /// `[inputs, width]`
    matrices: Vec<Param<Tensor<2>>>,
}

/// What visitors and candidates are in the space of tastes, all kinds of content side by side.
pub(crate) struct TasteVectors {
    /// `[N, kinds · width]`, one for each list.
    pub(crate) visitor: Tensor<2>,
    /// `[N·L, kinds · width]`, one for each place.
    pub(crate) candidate: Tensor<2>,
}

/// The vectors of one kind of content.
pub(crate) struct TasteInput {
    /// `[N, width]`, of the visitors.
    pub(super) visitor: Tensor<2>,
    /// `[N·L, width]`, of the candidates.
    pub(super) candidate: Tensor<2>,
}

impl Taste {
    pub(super) fn new(width: usize, entries: &[VisitorPlaces], initial: &Initial<'_>) -> Self {
        let matrix = |(at, entry): (usize, &VisitorPlaces)| {
            let inputs = entry.candidate.len();
            initial.matrix(&format!("pair.taste.{at}"), inputs, width)
        };
        Self {
            matrices: entries.iter().enumerate().map(matrix).collect(),
        }
    }

    /// How like each place is to its list's visitor, and the vectors that say so; `dropout` is the share of
    /// candidates' vectors that are taken for absent. None where visitors are not known by anything.
    pub(super) fn forward(
        &self,
        inputs: &[TasteInput],
        slots: usize,
        dropout: f64,
        noise: &mut Noise,
    ) -> Option<(Tensor<2>, TasteVectors)> {
        let (mut likes, mut visitors, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        for (matrix, input) in self.matrices.iter().zip(inputs) {
            let mut seen = |vectors: &Tensor<2>| noise.apply(vectors.clone()).matmul(matrix.val());
            let (visitor, candidate) = (seen(&input.visitor), seen(&input.candidate));
            let like = (at_each_place(visitor.clone(), slots) * candidate.clone()).sum_dim(1);
            likes.push(noise.keep(dropout, like));
            visitors.push(visitor);
            candidates.push(candidate);
        }
        if likes.is_empty() {
            return None;
        }
        let vectors = TasteVectors {
            visitor: Tensor::cat(visitors, 1),
            candidate: Tensor::cat(candidates, 1),
        };
        Some((Tensor::cat(likes, 1), vectors))
    }
}
