//! The denoising network: a U of residual blocks and spatial transformers that looks at the
//! reference latent (on its channels) and at the EHR (by cross-attention)
//! (`reference/ddl-cxr.md` 3.2).

mod blocks;
mod transformer;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use blocks::{Downsample, ResBlock, Upsample};
use transformer::SpatialTransformer;

use super::config::UnetConfig;
use super::layers::{Conv2d, EPSILON, GroupNorm, Init, Linear, silu};

/// One entry of a block.
#[allow(clippy::large_enum_variant, reason = "burn has no Module for a box")]
#[derive(Module, Debug)]
pub enum Layer {
    Conv(Conv2d),
    Res(ResBlock),
    Transformer(SpatialTransformer),
    Down(Downsample),
    Up(Upsample),
}

/// The network. Blocks are lists of layers, indexed as in the reference's state dictionary.
#[derive(Module, Debug)]
pub struct Unet {
    pub time_in: Linear,
    pub time_out: Linear,
    pub input_blocks: Vec<Vec<Layer>>,
    pub middle_block: Vec<Layer>,
    pub output_blocks: Vec<Vec<Layer>>,
    pub out_norm: GroupNorm,
    pub out_conv: Conv2d,
    model_channels: usize,
}

/// What conditions one forward pass.
struct Condition<'a> {
    embedding: Tensor<2>,
    context: &'a Tensor<3>,
    keep: Option<&'a Tensor<2>>,
}

/// Builds blocks and remembers the widths that the way up will meet again.
struct Builder<'a> {
    config: &'a UnetConfig,
    embedding: usize,
    width: usize,
    skips: Vec<usize>,
}

impl Builder<'_> {
    fn stage(&mut self, input: usize, output: usize, factor: usize, init: &mut Init) -> Vec<Layer> {
        let res = ResBlock::new(input, output, self.embedding, self.config, init);
        let mut block = vec![Layer::Res(res)];
        self.width = output;
        if self.config.attention_resolutions.contains(&factor) {
            block.push(self.transformer(init));
        }
        block
    }

    fn transformer(&self, init: &mut Init) -> Layer {
        let transformer = SpatialTransformer::new(self.width, self.config, init);
        Layer::Transformer(transformer)
    }

    fn down(&mut self, init: &mut Init) -> Vec<Vec<Layer>> {
        let config = self.config;
        let stem = Conv2d::new(config.in_channels, config.model_channels, 3, init);
        let mut blocks = vec![vec![Layer::Conv(stem)]];
        self.skips.push(self.width);
        for (level, mult) in config.channel_mult.iter().enumerate() {
            for _ in 0..config.num_res_blocks {
                let output = config.model_channels * mult;
                blocks.push(self.stage(self.width, output, 1 << level, init));
                self.skips.push(self.width);
            }
            if level + 1 < config.channel_mult.len() {
                blocks.push(vec![Layer::Down(Downsample::new(self.width, init))]);
                self.skips.push(self.width);
            }
        }
        blocks
    }

    fn middle(&mut self, init: &mut Init) -> Vec<Layer> {
        let width = self.width;
        let block = |init: &mut Init| {
            let res = ResBlock::new(width, width, self.embedding, self.config, init);
            Layer::Res(res)
        };
        vec![block(init), self.transformer(init), block(init)]
    }

    fn up(&mut self, init: &mut Init) -> Vec<Vec<Layer>> {
        let config = self.config;
        let mut blocks = Vec::new();
        for (level, mult) in config.channel_mult.iter().enumerate().rev() {
            for n in 0..=config.num_res_blocks {
                let input = self.width + self.skips.pop().unwrap_or(0);
                let output = config.model_channels * mult;
                let mut block = self.stage(input, output, 1 << level, init);
                if level != 0 && n == config.num_res_blocks {
                    block.push(Layer::Up(Upsample::new(self.width, init)));
                }
                blocks.push(block);
            }
        }
        blocks
    }
}

impl Unet {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &UnetConfig, init: &mut Init) -> Self {
        let embedding = 4 * config.model_channels;
        let width = config.model_channels;
        let time_in = Linear::new(config.model_channels, embedding, init);
        let time_out = Linear::new(embedding, embedding, init);
        let mut builder = Builder { config, embedding, width, skips: Vec::new() };
        let input_blocks = builder.down(init);
        let middle_block = builder.middle(init);
        let output_blocks = builder.up(init);
        Unet {
            time_in,
            time_out,
            input_blocks,
            middle_block,
            output_blocks,
            out_norm: GroupNorm::new(builder.width, config.norm_groups, EPSILON, init),
            out_conv: Conv2d::zero(builder.width, config.out_channels, 3, init),
            model_channels: config.model_channels,
        }
    }

    /// The noise in a latent.
    ///
    /// `x` is `[batch, noisy latent then reference latent, h, w]`, `t` has one timestep for each
    /// sample, `context` is `[batch, tokens, context_dim]`, and `keep` `[batch, tokens]` is 1 for
    /// tokens that may be looked at (the CLS always) and 0 for padding; the reference gives no
    /// mask, which is its defect B3.
    pub fn forward(
        &self,
        x: Tensor<4>,
        t: &[usize],
        context: &Tensor<3>,
        keep: Option<&Tensor<2>>,
    ) -> Tensor<4> {
        let embedding = timestep_embedding(t, self.model_channels, &x.device());
        let embedding = self.time_out.forward(silu(self.time_in.forward(embedding)));
        // Every residual block begins with the same SiLU of the embedding.
        let condition = Condition { embedding: silu(embedding), context, keep };
        let mut skips = Vec::with_capacity(self.input_blocks.len());
        let mut h = x;
        for block in &self.input_blocks {
            h = run(block, h, &condition);
            skips.push(h.clone());
        }
        h = run(&self.middle_block, h, &condition);
        for block in &self.output_blocks {
            if let Some(skip) = skips.pop() {
                h = Tensor::cat(vec![h, skip], 1);
            }
            h = run(block, h, &condition);
        }
        self.out_conv.forward(silu(self.out_norm.forward(h)))
    }
}

fn run(block: &[Layer], x: Tensor<4>, condition: &Condition) -> Tensor<4> {
    block.iter().fold(x, |h, layer| match layer {
        Layer::Conv(conv) => conv.forward(h),
        Layer::Res(res) => res.forward(h, condition.embedding.clone()),
        Layer::Transformer(transformer) => {
            transformer.forward(h, condition.context, condition.keep)
        }
        Layer::Down(down) => down.op.forward(h),
        Layer::Up(up) => up.forward(h),
    })
}

/// Cosines, then sines, of the timestep at `width / 2` frequencies from 1 down to 1e-4,
/// `[batch, width]`. In f32 throughout, because at large timesteps the reference's own rounding is
/// larger than our tolerance.
fn timestep_embedding(t: &[usize], width: usize, device: &Device) -> Tensor<2> {
    let half = width / 2;
    let base = -(10_000f64.ln()) as f32;
    let frequencies: Vec<f32> = (0..half).map(|i| (base * i as f32 / half as f32).exp()).collect();
    let mut rows = Vec::with_capacity(t.len() * 2 * half);
    for &t in t {
        let angles = || frequencies.iter().map(move |frequency| t as f32 * frequency);
        rows.extend(angles().map(f32::cos));
        rows.extend(angles().map(f32::sin));
    }
    Tensor::from_data(TensorData::new(rows, [t.len(), 2 * half]), device)
}
