//! Image to the moments of its latent.

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::config::VaeConfig;
use super::super::layers::{Conv2d, GroupNorm, Init, silu};
use super::blocks::{AttnBlock, Downsample, Middle, ResnetBlock, VAE_EPSILON, space_to_depth};

/// One level: blocks, each with its attention where the config asks for it, then a down-sampler
/// on all levels but the last.
#[derive(Module, Debug)]
pub struct DownLevel {
    pub block: Vec<ResnetBlock>,
    /// As many as blocks, or none.
    pub attn: Vec<AttnBlock>,
    pub downsample: Option<Downsample>,
}

/// The encoder half.
#[derive(Module, Debug)]
pub struct Encoder {
    pub conv_in: Conv2d,
    pub down: Vec<DownLevel>,
    pub mid: Middle,
    pub norm_out: GroupNorm,
    pub conv_out: Conv2d,
    stem: usize,
}

impl Encoder {
    pub fn new(config: &VaeConfig, init: &mut Init) -> Self {
        let stem = config.stem;
        let conv_in = Conv2d::new(config.in_channels * stem * stem, config.ch, 3, init);
        let mut width = config.ch;
        let mut down = Vec::with_capacity(config.ch_mult.len());
        for (level, mult) in config.ch_mult.iter().enumerate() {
            let output = config.ch * mult;
            let mut block = Vec::with_capacity(config.num_res_blocks);
            let mut attn = Vec::new();
            for _ in 0..config.num_res_blocks {
                block.push(ResnetBlock::new(width, output, config, init));
                width = output;
                if config.attends(level) {
                    attn.push(AttnBlock::new(width, config, init));
                }
            }
            let last = level + 1 == config.ch_mult.len();
            let downsample = (!last).then(|| Downsample::new(width, init));
            down.push(DownLevel { block, attn, downsample });
        }
        Encoder {
            conv_in,
            down,
            mid: Middle::new(width, config, init),
            norm_out: GroupNorm::new(width, config.norm_groups, VAE_EPSILON, init),
            conv_out: Conv2d::new(width, 2 * config.z_channels, 3, init),
            stem,
        }
    }

    /// `[batch, channels, side, side]` to `[batch, 2 z, side / f, side / f]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut h = self.conv_in.forward(space_to_depth(images, self.stem));
        for level in &self.down {
            for (n, block) in level.block.iter().enumerate() {
                h = block.forward(h);
                if let Some(attn) = level.attn.get(n) {
                    h = attn.forward(h);
                }
            }
            if let Some(downsample) = &level.downsample {
                h = downsample.conv.forward(h);
            }
        }
        let h = self.mid.forward(h);
        self.conv_out.forward(silu(self.norm_out.forward(h)))
    }
}
