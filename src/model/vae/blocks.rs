//! Blocks shared by the encoder and the decoder.

use burn::module::Module;
use burn::nn::Dropout;
use burn::tensor::Tensor;

use super::super::config::VaeConfig;
use super::super::layers::{Conv2d, GroupNorm, Init, attend, double, dropout, silu};

/// Epsilon of the autoencoder's GroupNorms.
pub const VAE_EPSILON: f64 = 1e-6;

/// Two 3 × 3 convolutions beside a shortcut.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    pub norm1: GroupNorm,
    pub conv1: Conv2d,
    pub norm2: GroupNorm,
    pub conv2: Conv2d,
    pub nin_shortcut: Option<Conv2d>,
    dropout: Dropout,
}

impl ResnetBlock {
    pub fn new(input: usize, output: usize, config: &VaeConfig, init: &mut Init) -> Self {
        let groups = config.norm_groups;
        ResnetBlock {
            norm1: GroupNorm::new(input, groups, VAE_EPSILON, init),
            conv1: Conv2d::new(input, output, 3, init),
            norm2: GroupNorm::new(output, groups, VAE_EPSILON, init),
            conv2: Conv2d::new(output, output, 3, init),
            nin_shortcut: (input != output).then(|| Conv2d::new(input, output, 1, init)),
            dropout: dropout(config.dropout),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.conv1.forward(silu(self.norm1.forward(x.clone())));
        let h = self.dropout.forward(silu(self.norm2.forward(h)));
        let h = self.conv2.forward(h);
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(x).add(h),
            None => x.add(h),
        }
    }
}

/// Single-head self-attention over all pixels, with 1 × 1 convolutions.
#[derive(Module, Debug)]
pub struct AttnBlock {
    pub norm: GroupNorm,
    pub q: Conv2d,
    pub k: Conv2d,
    pub v: Conv2d,
    pub proj_out: Conv2d,
}

impl AttnBlock {
    pub fn new(channels: usize, config: &VaeConfig, init: &mut Init) -> Self {
        AttnBlock {
            norm: GroupNorm::new(channels, config.norm_groups, VAE_EPSILON, init),
            q: Conv2d::new(channels, channels, 1, init),
            k: Conv2d::new(channels, channels, 1, init),
            v: Conv2d::new(channels, channels, 1, init),
            proj_out: Conv2d::new(channels, channels, 1, init),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let h = self.norm.forward(x.clone());
        let rows =
            |map: Tensor<4>| map.reshape([batch, 1, channels, height * width]).swap_dims(2, 3);
        let q = rows(self.q.forward(h.clone()));
        let k = rows(self.k.forward(h.clone()));
        let v = rows(self.v.forward(h));
        let h = attend(q, k, v, None, None).swap_dims(2, 3);
        x.add(self.proj_out.forward(h.reshape([batch, channels, height, width])))
    }
}

/// The middle of both halves: block, attention, block.
#[derive(Module, Debug)]
pub struct Middle {
    pub block_1: ResnetBlock,
    pub attn_1: AttnBlock,
    pub block_2: ResnetBlock,
}

impl Middle {
    pub fn new(channels: usize, config: &VaeConfig, init: &mut Init) -> Self {
        Middle {
            block_1: ResnetBlock::new(channels, channels, config, init),
            attn_1: AttnBlock::new(channels, config, init),
            block_2: ResnetBlock::new(channels, channels, config, init),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.block_2.forward(self.attn_1.forward(self.block_1.forward(x)))
    }
}

/// Halves the size: zeros on the right and below only, then stride 2.
#[derive(Module, Debug)]
pub struct Downsample {
    pub conv: Conv2d,
}

impl Downsample {
    pub fn new(channels: usize, init: &mut Init) -> Self {
        Downsample { conv: Conv2d::new(channels, channels, 3, init).halving(0, 1) }
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

/// Folds `stem` × `stem` pixels into channels: `[b, c, h, w]` to `[b, c·s·s, h/s, w/s]`.
pub fn space_to_depth(x: Tensor<4>, stem: usize) -> Tensor<4> {
    if stem == 1 {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height / stem, stem, width / stem, stem])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([batch, channels * stem * stem, height / stem, width / stem])
}

/// The way back from [`space_to_depth`].
pub fn depth_to_space(x: Tensor<4>, stem: usize) -> Tensor<4> {
    if stem == 1 {
        return x;
    }
    let [batch, channels, height, width] = x.dims();
    let channels = channels / (stem * stem);
    x.reshape([batch, channels, stem, stem, height, width]).permute([0, 1, 4, 2, 5, 3]).reshape([
        batch,
        channels,
        height * stem,
        width * stem,
    ])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn folding_pixels_is_undone() {
        let data = TensorData::new((0..64).map(|i| i as f32).collect(), [1, 1, 8, 8]);
        let x = Tensor::<4>::from_data(data.clone(), &Device::flex());
        for stem in [1, 2, 4] {
            let folded = space_to_depth(x.clone(), stem);
            assert_eq!(folded.dims(), [1, stem * stem, 8 / stem, 8 / stem]);
            assert_eq!(depth_to_space(folded, stem).into_data(), data);
        }
        let folded = space_to_depth(x, 2).into_data().try_to_vec::<f32>().expect("f32");
        // The second channel holds the right neighbours of the first.
        assert_eq!((folded[0], folded[16]), (0.0, 1.0));
    }
}
