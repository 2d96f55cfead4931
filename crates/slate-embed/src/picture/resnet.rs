//! Residual networks, their shape read off their weights.
//!
//! Names are torchvision's, which timm shares: `conv1`, `bn1`, `layer1.0.conv1`, …,
//! `layer1.0.downsample.0`. Widths, depths and kinds of blocks are whatever the tensors say, so thin
//! networks and those for pictures of 32 places work as well. Normalisation over batches is folded
//! into the convolution before it; where there is none, the convolution has a bias.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::Preprocess;
use crate::EmbedError;
use crate::layers::{Activation, Conv, Padding, max_pool};
use crate::weights::Weights;

/// What is added to a variance, as in `torch.nn.BatchNorm2d`.
const EPSILON: f64 = 1e-5;

/// The network up to the mean over all places.
pub(super) struct ResNet {
    stem: Conv,
    /// Padding of the pooling behind the stem, where there is one.
    pool: Option<Padding>,
    blocks: Vec<Block>,
    dimensions: usize,
    layers: usize,
}

struct Block {
    convs: Vec<Conv>,
    shortcut: Shortcut,
}

/// What is added to a block's output.
enum Shortcut {
    /// Its input.
    Input,
    /// A convolution of it.
    Conv(Conv),
    /// Every second place of it, channels of zeros on both sides: what the networks for small pictures
    /// do without weights.
    Sparse { channels: usize },
}

struct Loader<'a> {
    weights: &'a Weights,
    device: &'a Device,
}

impl Loader<'_> {
    /// A convolution with what normalises it folded in; its outputs too.
    fn conv(
        &self,
        [conv, norm]: [&str; 2],
        inputs: usize,
        (stride, padding): (usize, Option<Padding>),
        activation: Activation,
    ) -> Result<(Conv, usize), EmbedError> {
        let name = format!("{conv}.weight");
        let shape = match self.weights.shape(&name) {
            Some(&[outputs, _, kernel, other]) if kernel == other => {
                [outputs, inputs, kernel, kernel]
            }
            _ => [1, inputs, 1, 1],
        };
        let [outputs, _, kernel, _] = shape;
        let mut weight = self.weights.get(&name, &shape)?;
        let folded = format!("{conv}.bias");
        let bias = if self.weights.has(&folded) {
            self.weights.get(&folded, &[outputs])?
        } else {
            let part = |part: &str| self.weights.get(&format!("{norm}.{part}"), &[outputs]);
            let deviation = (part("running_var")? + EPSILON)?.sqrt()?;
            let scale = (part("weight")? / deviation)?;
            weight = weight.broadcast_mul(&scale.reshape((outputs, 1, 1, 1))?)?;
            (part("bias")? - (part("running_mean")? * scale)?)?
        };
        let padding = padding.unwrap_or(Padding::both(kernel / 2));
        let conv = Conv::new(&weight, &bias, stride, padding, activation)?;
        Ok((conv.to_device(self.device)?, outputs))
    }
}

impl ResNet {
    pub(super) fn load(
        path: &Path,
        preprocess: &Preprocess,
        device: &Device,
    ) -> Result<Self, EmbedError> {
        let weights = Weights::open(path)?.without_prefix(&["backbone.", "model."]);
        let loader = Loader {
            weights: &weights,
            device,
        };
        let pair = |[before, after]: [usize; 2]| Padding { before, after };
        let small = weights
            .shape("conv1.weight")
            .is_some_and(|shape| shape.get(2) == Some(&3));
        let stem_padding = preprocess.stem_padding.map(pair);
        let stride = if small { 1 } else { 2 };
        let (stem, mut width) = loader.conv(
            ["conv1", "bn1"],
            3,
            (stride, stem_padding),
            Activation::Relu,
        )?;
        let pool = (!small).then(|| preprocess.pool_padding.map_or(Padding::both(1), pair));
        let is_deep = weights.has("layer1.0.conv3.weight");
        let per_block = if is_deep { 3 } else { 2 };
        let mut blocks = Vec::new();
        let mut stage = 1;
        while weights.has(&format!("layer{stage}.0.conv1.weight")) || stage == 1 {
            let mut at = 0;
            while weights.has(&format!("layer{stage}.{at}.conv1.weight")) || at == 0 {
                let stride = if stage > 1 && at == 0 { 2 } else { 1 };
                let own = format!("layer{stage}.{at}");
                let (block, outputs) =
                    loader.block(&own, per_block, width, stride, preprocess.stride_first)?;
                blocks.push(block);
                width = outputs;
                at += 1;
            }
            stage += 1;
        }
        weights.finish(|name| {
            name.starts_with("fc.")
                || name.starts_with("linear.")
                || name.ends_with("num_batches_tracked")
        })?;
        Ok(Self {
            stem,
            pool,
            layers: 2 + per_block * blocks.len(),
            blocks,
            dimensions: width,
        })
    }

    /// `resnet` and the number of its layers with weights.
    pub(super) fn name(&self) -> String {
        format!("resnet{}", self.layers)
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The mean over all places.
    ///
    /// # Shapes
    /// - x: `[n, side, side, 3]`, output: `[n, dimensions]`
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut x = self.stem.forward(x, None)?;
        if let Some(padding) = self.pool {
            x = max_pool(&x, padding)?;
        }
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        x.flatten(1, 2)?.mean(1)
    }
}

impl Loader<'_> {
    fn block(
        &self,
        name: &str,
        convs: usize,
        inputs: usize,
        stride: usize,
        stride_first: bool,
    ) -> Result<(Block, usize), EmbedError> {
        // Bottlenecks shrink in their second convolution, or as the first ones did in their first.
        let shrinking = if convs == 3 && !stride_first { 2 } else { 1 };
        let mut width = inputs;
        let mut found = Vec::with_capacity(convs);
        for at in 1..=convs {
            let names = [format!("{name}.conv{at}"), format!("{name}.bn{at}")];
            let names = names.each_ref().map(String::as_str);
            let stride = if at == shrinking { stride } else { 1 };
            let (conv, outputs) = self.conv(names, width, (stride, None), Activation::Relu)?;
            found.push(conv);
            width = outputs;
        }
        let down = format!("{name}.downsample");
        let shortcut = if self.weights.has(&format!("{down}.0.weight")) {
            let names = [format!("{down}.0"), format!("{down}.1")];
            let names = names.each_ref().map(String::as_str);
            let (conv, outputs) = self.conv(names, inputs, (stride, None), Activation::None)?;
            if outputs != width {
                let problem = format!("`{down}` has {outputs} outputs, expected {width}");
                self.weights.complain(problem);
            }
            Shortcut::Conv(conv)
        } else if stride == 1 && inputs == width {
            Shortcut::Input
        } else {
            if convs == 3 || stride != 2 || width < inputs || !(width - inputs).is_multiple_of(2) {
                let problem = format!("`{down}.0.weight` is missing");
                self.weights.complain(problem);
            }
            Shortcut::Sparse { channels: width }
        };
        let block = Block {
            convs: found,
            shortcut,
        };
        Ok((block, width))
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let shortcut = match &self.shortcut {
            Shortcut::Input => x.clone(),
            Shortcut::Conv(conv) => conv.forward(x, None)?,
            Shortcut::Sparse { channels } => sparse(x, *channels)?,
        };
        let (last, first) = self.convs.split_last().expect("a block has convolutions");
        let mut inner = x.clone();
        for conv in first {
            inner = conv.forward(&inner, None)?;
        }
        last.forward(&inner, Some(&shortcut))
    }
}

/// Every second place, and channels of zeros on both sides up to `channels`.
fn sparse(x: &Tensor, channels: usize) -> candle_core::Result<Tensor> {
    let (_, height, width, inputs) = x.dims4()?;
    let every_second = |side: usize| {
        let places: Vec<u32> = (0..side as u32).step_by(2).collect();
        Tensor::new(places, x.device())
    };
    let x = x.index_select(&every_second(height)?, 1)?;
    let x = x.index_select(&every_second(width)?, 2)?;
    let beside = (channels - inputs) / 2;
    x.pad_with_zeros(3, beside, channels - inputs - beside)
}
