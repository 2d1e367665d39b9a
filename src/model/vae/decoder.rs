//! Latent to image.

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::config::VaeConfig;
use super::super::layers::{Conv2d, GroupNorm, Init, silu};
use super::blocks::{AttnBlock, Middle, ResnetBlock, Upsample, VAE_EPSILON, depth_to_space};

/// One level: one block more than in the encoder, each with its attention where the config asks
/// for it, then an up-sampler on all levels but the finest.
#[derive(Module, Debug)]
pub struct UpLevel {
    pub block: Vec<ResnetBlock>,
    /// As many as blocks, or none.
    pub attn: Vec<AttnBlock>,
    pub upsample: Option<Upsample>,
}

/// The decoder half. `up` counts levels from the finest, as the encoder does, and is walked from
/// its end.
#[derive(Module, Debug)]
pub struct Decoder {
    pub conv_in: Conv2d,
    pub mid: Middle,
    pub up: Vec<UpLevel>,
    pub norm_out: GroupNorm,
    pub conv_out: Conv2d,
    stem: usize,
}

impl Decoder {
    pub fn new(config: &VaeConfig, init: &mut Init) -> Self {
        let top = config.ch_mult.last().copied().unwrap_or(1) * config.ch;
        let conv_in = Conv2d::new(config.z_channels, top, 3, init);
        let mid = Middle::new(top, config, init);
        let mut width = top;
        let mut up = Vec::with_capacity(config.ch_mult.len());
        for (level, mult) in config.ch_mult.iter().enumerate().rev() {
            let output = config.ch * mult;
            let mut block = Vec::with_capacity(config.num_res_blocks + 1);
            let mut attn = Vec::new();
            for _ in 0..=config.num_res_blocks {
                block.push(ResnetBlock::new(width, output, config, init));
                width = output;
                if config.attends(level) {
                    attn.push(AttnBlock::new(width, config, init));
                }
            }
            let upsample = (level != 0).then(|| Upsample::new(width, init));
            up.push(UpLevel { block, attn, upsample });
        }
        up.reverse();
        let pixels = config.out_ch * config.stem * config.stem;
        Decoder {
            conv_in,
            mid,
            up,
            norm_out: GroupNorm::new(width, config.norm_groups, VAE_EPSILON, init),
            conv_out: Conv2d::new(width, pixels, 3, init),
            stem: config.stem,
        }
    }

    /// `[batch, z, side / f, side / f]` to `[batch, channels, side, side]`.
    pub fn forward(&self, z: Tensor<4>) -> Tensor<4> {
        self.paint(self.features(z))
    }

    /// What the last convolution reads, `[batch, ch, side / stem, side / stem]`.
    pub fn features(&self, z: Tensor<4>) -> Tensor<4> {
        let mut h = self.mid.forward(self.conv_in.forward(z));
        for level in self.up.iter().rev() {
            for (n, block) in level.block.iter().enumerate() {
                h = block.forward(h);
                if let Some(attn) = level.attn.get(n) {
                    h = attn.forward(h);
                }
            }
            if let Some(upsample) = &level.upsample {
                h = upsample.forward(h);
            }
        }
        silu(self.norm_out.forward(h))
    }

    /// The last convolution: features to images. By itself it tells its weight's gradient, which
    /// the adaptive weight of the adversarial term asks for.
    pub fn paint(&self, features: Tensor<4>) -> Tensor<4> {
        depth_to_space(self.conv_out.forward(features), self.stem)
    }
}
