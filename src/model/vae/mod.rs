//! The KL autoencoder: film to latent and back (`reference/ddl-cxr.md` 2.1).

mod blocks;
mod decoder;
mod encoder;

use burn::module::Module;
use burn::tensor::Tensor;

pub use decoder::Decoder;
pub use encoder::Encoder;

use super::config::VaeConfig;
use super::layers::{Conv2d, Init, Linear};

/// Bounds of the log variance, as in the reference.
const LOGVAR: (f32, f32) = (-30.0, 20.0);

/// Encoder, decoder and the two 1 × 1 convolutions between them.
#[derive(Module, Debug)]
pub struct Vae {
    pub encoder: Encoder,
    pub decoder: Decoder,
    pub quant_conv: Conv2d,
    pub post_quant_conv: Conv2d,
    /// Findings from a flattened latent, logits; in the reference followed by a sigmoid.
    pub findings_head: Option<Linear>,
}

/// A diagonal Gaussian over latents, `[batch, z, h, w]` each.
#[derive(Clone, Debug)]
pub struct Posterior {
    pub mean: Tensor<4>,
    pub logvar: Tensor<4>,
}

impl Vae {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &VaeConfig, init: &mut Init) -> Self {
        let z = config.z_channels;
        let latent = config.latent_len();
        Vae {
            encoder: Encoder::new(config, init),
            decoder: Decoder::new(config, init),
            quant_conv: Conv2d::new(2 * z, 2 * z, 1, init),
            post_quant_conv: Conv2d::new(z, z, 1, init),
            findings_head: config.labels.map(|labels| Linear::new(latent, labels, init)),
        }
    }

    /// Images `[batch, channels, side, side]` in −1..=1 to the distribution of their latents.
    pub fn encode(&self, images: Tensor<4>) -> Posterior {
        let moments = self.quant_conv.forward(self.encoder.forward(images));
        let z = moments.dims()[1] / 2;
        let mean = moments.clone().narrow(1, 0, z);
        let logvar = moments.narrow(1, z, z).clamp(LOGVAR.0, LOGVAR.1);
        Posterior { mean, logvar }
    }

    /// Latents `[batch, z, h, w]` (not scaled) to images. Not clamped.
    pub fn decode(&self, z: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(self.post_quant_conv.forward(z))
    }

    /// Logits of the findings, `[batch, labels]`, if the network has that head.
    pub fn findings(&self, z: Tensor<4>) -> Option<Tensor<2>> {
        self.findings_head.as_ref().map(|head| head.forward(z.flatten::<2>(1, 3)))
    }
}

impl Posterior {
    /// mean + std · noise, with `noise` standard normal and of the mean's shape.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone().add(self.logvar.clone().mul_scalar(0.5).exp().mul(noise))
    }

    /// Kullback-Leibler distance from a standard normal, summed over each sample, `[batch]`.
    pub fn kl(&self) -> Tensor<1> {
        let var = self.logvar.clone().exp();
        let terms = self.mean.clone().square().add(var).sub_scalar(1.0).sub(self.logvar.clone());
        let [batch, ..] = terms.dims();
        terms.flatten::<2>(1, 3).sum_dim(1).mul_scalar(0.5).reshape([batch])
    }
}
