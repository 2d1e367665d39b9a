//! The UNet's residual block and its changes of size.

use burn::module::Module;
use burn::nn::Dropout;
use burn::tensor::Tensor;

use super::super::config::UnetConfig;
use super::super::layers::{Conv2d, EPSILON, GroupNorm, Init, Linear, double, dropout, silu};

/// Two convolutions with the timestep added between them, beside a shortcut.
#[derive(Module, Debug)]
pub struct ResBlock {
    pub in_norm: GroupNorm,
    pub in_conv: Conv2d,
    pub emb_proj: Linear,
    pub block_norm: GroupNorm,
    pub block_conv: Conv2d,
    pub skip_connection: Option<Conv2d>,
    dropout: Dropout,
}

impl ResBlock {
    pub fn new(
        input: usize,
        output: usize,
        embedding: usize,
        config: &UnetConfig,
        init: &mut Init,
    ) -> Self {
        let groups = config.norm_groups;
        ResBlock {
            in_norm: GroupNorm::new(input, groups, EPSILON, init),
            in_conv: Conv2d::new(input, output, 3, init),
            emb_proj: Linear::new(embedding, output, init),
            block_norm: GroupNorm::new(output, groups, EPSILON, init),
            block_conv: Conv2d::zero(output, output, 3, init),
            skip_connection: (input != output).then(|| Conv2d::new(input, output, 1, init)),
            dropout: dropout(config.dropout),
        }
    }

    /// `embedding` is `[batch, 4 · model_channels]`, after its SiLU.
    pub fn forward(&self, x: Tensor<4>, embedding: Tensor<2>) -> Tensor<4> {
        let h = self.in_conv.forward(silu(self.in_norm.forward(x.clone())));
        let shift = self.emb_proj.forward(embedding);
        let [batch, channels] = shift.dims();
        let h = h.add(shift.reshape([batch, channels, 1, 1]));
        let h = self.dropout.forward(silu(self.block_norm.forward(h)));
        let h = self.block_conv.forward(h);
        match &self.skip_connection {
            Some(skip) => skip.forward(x).add(h),
            None => x.add(h),
        }
    }
}

/// Halves the size by a strided convolution, zeros on every side.
#[derive(Module, Debug)]
pub struct Downsample {
    pub op: Conv2d,
}

impl Downsample {
    pub fn new(channels: usize, init: &mut Init) -> Self {
        Downsample { op: Conv2d::new(channels, channels, 3, init).halving(1, 1) }
    }
}

/// Doubles the size by nearest neighbour, then convolves.
#[derive(Module, Debug)]
pub struct Upsample {
    pub conv: Conv2d,
}

impl Upsample {
    pub fn new(channels: usize, init: &mut Init) -> Self {
        Upsample { conv: Conv2d::new(channels, channels, 3, init) }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(double(x))
    }
}
