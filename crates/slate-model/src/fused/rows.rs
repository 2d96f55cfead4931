//! Tensors of the processor as rows of numbers, and back.

use std::borrow::Cow;

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

/// The numbers of a tensor in row-major order, without a copy where they lie so.
pub(super) fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    if let Some(values) = tensor.as_slice::<f32>() {
        return Cow::Borrowed(values);
    }
    let whole = tensor.to_contiguous();
    let values = whole.as_slice::<f32>();
    Cow::Owned(values.expect("a contiguous tensor is a slice").to_vec())
}

/// A tensor of these numbers.
pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    let shape = Shape::from(shape.to_vec());
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// Rows and columns of a matrix.
pub(super) fn size(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}
