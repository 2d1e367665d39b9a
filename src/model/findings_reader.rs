//! Findings read in a latent and in a film: the narrow way into the fusion model.
//!
//! Not in the paper, whose fusion model is shown patches of the latent and features of the film
//! (`reference/ddl-cxr.md` 4.2) and learns from the outcomes alone what they mean. Where outcomes
//! are few it learns the films by heart instead. Here it is shown nothing but the logits of 14
//! findings, by networks that learn from the findings of every film ([`crate::train`]'s reader).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use super::config::{FusionConfig, N_FINDINGS};
use super::layers::{BatchNorm, Conv2d, Init, Linear};
use super::resnet::BasicBlock;

/// The network of latents, and the heads of both. A latent is small: its sides are halved twice
/// only, where ResNet34 halves those of a film five times.
#[derive(Module, Debug)]
pub struct FindingsReader {
    pub latent_in: Conv2d,
    pub latent_norm: BatchNorm,
    pub latent_blocks: Vec<BasicBlock>,
    pub of_latent: Linear,
    pub of_film: Linear,
}

impl FindingsReader {
    /// `width` channels in the first block of latents, twice and four times as many in the next.
    pub fn new(config: &FusionConfig, width: usize, init: &mut Init) -> Self {
        FindingsReader {
            latent_in: Conv2d::before_norm(config.latent_channels, width, 3, 1, init),
            latent_norm: BatchNorm::new(width, init),
            latent_blocks: vec![
                BasicBlock::new(width, width, 1, init),
                BasicBlock::new(width, 2 * width, 2, init),
                BasicBlock::new(2 * width, 4 * width, 2, init),
            ],
            of_latent: Linear::new(4 * width, N_FINDINGS, init),
            of_film: Linear::new(config.image_width(), N_FINDINGS, init),
        }
    }

    /// Logits `[batch, 14]` of latents `[batch, z, h, w]`.
    pub fn in_latents(&self, latents: Tensor<4>) -> Tensor<2> {
        let x = relu(self.latent_norm.forward_image(self.latent_in.forward(latents)));
        let x = self.latent_blocks.iter().fold(x, |x, block| block.forward(x));
        let [batch, channels, _, _] = x.dims();
        self.of_latent.forward(x.mean_dims(&[2, 3]).reshape([batch, channels]))
    }

    /// Logits `[batch, 14]` of a film's features `[batch, features]`.
    pub fn in_films(&self, features: Tensor<2>) -> Tensor<2> {
        self.of_film.forward(features)
    }
}
