//! Every size of every network, as written in a model's `config.json`.
//!
//! The field names of the networks are those of the reference's own configurations
//! (`reference/ddl-cxr.md` 2.1, 3.1, 3.2, 4.2), so a published configuration reads as it is.

mod series;
mod sizes;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use series::{EventEncoderConfig, SeriesEncoderConfig};

use crate::event::risk::N_PHENOTYPES;

/// Columns of the hourly EHR vector (`reference/ddl-cxr.md` 1.8).
pub const EHR_COLUMNS: usize = 79;
/// CheXpert findings of the label heads (`reference/ddl-cxr.md` 1.4).
pub const N_FINDINGS: usize = 14;

/// A configuration that no network can be built from; the message names each field.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the model config cannot be built; change it so that {}", .0.join(", and "))]
pub struct ConfigError(pub Vec<String>);

/// The KL autoencoder (stage 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VaeConfig {
    /// Side of the square image in pixels.
    pub resolution: usize,
    pub in_channels: usize,
    pub out_ch: usize,
    pub ch: usize,
    pub ch_mult: Vec<usize>,
    pub num_res_blocks: usize,
    /// Sides of feature maps, in pixels, at which every block is followed by self-attention;
    /// published as none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attn_resolutions: Vec<usize>,
    pub z_channels: usize,
    #[serde(default)]
    pub dropout: f64,
    /// Groups of every GroupNorm; the reference has 32.
    #[serde(default = "reference_groups")]
    pub norm_groups: usize,
    /// Pixels folded into channels on each side before the first convolution: 1 (the reference),
    /// 2 or 4. It makes a network of CPU size affordable.
    #[serde(default = "reference_stem")]
    pub stem: usize,
    /// Findings predicted from the latent; none builds no head.
    #[serde(default)]
    pub labels: Option<usize>,
}

/// The denoising network (stage 2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnetConfig {
    /// Side of the latent.
    pub image_size: usize,
    /// Noisy latent and reference latent, one behind the other.
    pub in_channels: usize,
    pub out_channels: usize,
    pub model_channels: usize,
    /// Down-sampling factors at which a spatial transformer follows each residual block.
    pub attention_resolutions: Vec<usize>,
    pub num_res_blocks: usize,
    pub channel_mult: Vec<usize>,
    pub num_head_channels: usize,
    pub transformer_depth: usize,
    pub context_dim: usize,
    #[serde(default)]
    pub dropout: f64,
    #[serde(default = "reference_groups")]
    pub norm_groups: usize,
}

/// What a sequence encoder makes one vector of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The CLS position.
    Cls,
    /// The mean over all positions, CLS and padding included, as the reference does it.
    Mean,
    /// The mean over the positions kept by the mask. Without a mask the same as `Mean`.
    MaskedMean,
}

/// The sequence encoder T (`reference/ddl-cxr.md` 3.1), here with the LDM's sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EhrEncoderConfig {
    pub feat_dim: usize,
    /// Longest sequence, CLS not counted.
    pub max_len: usize,
    pub d_model: usize,
    pub n_heads: usize,
    pub num_layers: usize,
    pub dim_feedforward: usize,
    pub dropout: f64,
    pub pool: Pool,
    /// Findings predicted from the CLS vector (the auxiliary loss); none builds no head.
    #[serde(default)]
    pub labels: Option<usize>,
}

/// What a fusion model predicts. One model per task, as in the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Mortality,
    Phenotype,
}

/// A residual image network in ResNet34's layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResNetConfig {
    /// Side of the square image in pixels.
    pub resolution: usize,
    pub in_channels: usize,
    /// Channels of the first stage; each later one doubles them.
    pub width: usize,
    /// Residual blocks of the four stages; ResNet34 has 3, 4, 6, 3.
    pub blocks: [usize; 4],
}

/// The prediction model (stage 3) of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FusionConfig {
    pub task: Task,
    pub hidden_size: usize,
    pub dim_feedforward: usize,
    pub n_heads: usize,
    /// Side of the latent's patches.
    pub patch_size: usize,
    pub patch_embed: usize,
    /// Width of the head's hidden layer.
    pub hid_dim_1: usize,
    #[serde(default = "reference_fusion_dropout")]
    pub dropout: f64,
    #[serde(default = "reference_z_channels")]
    pub latent_channels: usize,
    /// Side of the latent.
    #[serde(default = "reference_latent_side")]
    pub latent_side: usize,
    /// Width of the image branch's feature vector.
    #[serde(default = "reference_image_features")]
    pub image_features: ImageFeatures,
    /// Channels of the network that reads the findings in latents; the fusion model is then shown
    /// what it and the image branch read ([`super::findings_reader`]). None shows patches of the
    /// latent and features of the film, as the paper does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings_width: Option<usize>,
    /// Longest sequence of the EHR's and of the latent's encoder, CLS not counted.
    #[serde(default = "reference_part_len", skip_serializing_if = "is_reference_part_len")]
    pub part_len: usize,
    /// Longest sequence of the fusing encoder, CLS not counted.
    #[serde(default = "reference_fused_len", skip_serializing_if = "is_reference_fused_len")]
    pub fused_len: usize,
}

/// Where the image token comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImageFeatures {
    /// A vector of 512 features is given; the reference files say `identity`.
    Given(String),
    /// A residual network looks at the film.
    ResNet(ResNetConfig),
}

/// How the noise schedule's steps are walked back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    Ddim,
    /// DPM-Solver++ of second order, multistep; deterministic.
    DpmSolver2m,
}

/// What the denoising network's output means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The noise, as in the reference.
    #[default]
    Epsilon,
    /// The velocity √ᾱ noise − √(1−ᾱ) latent (Salimans and Ho, ICLR 2022). A small network in few
    /// steps needs it: where nearly all is noise, an error of one part in a hundred in the noise
    /// is an error as large as the latent itself.
    Velocity,
}

/// The noise schedule and its sampler (`reference/ddl-cxr.md` 3.3, 3.6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffusionConfig {
    pub timesteps: usize,
    pub linear_start: f64,
    pub linear_end: f64,
    #[serde(default)]
    pub prediction: Prediction,
    pub sampler: SamplerKind,
    /// Network evaluations of one sample.
    pub steps: usize,
    /// 0 is deterministic, 1 draws as much noise as the ancestral sampler.
    pub eta: f64,
    /// The noise that a walk starts from is multiplied by this: 1 draws a latent that could be, as
    /// the reference does; 0 walks from the middle, to the one latent that all of those lie around
    /// (the mean, where they are Gaussian).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// The latent is multiplied by this before diffusion (1/std brings it to unit variance).
    pub scale_factor: f64,
}

/// The whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DdlCxrConfig {
    pub vae: VaeConfig,
    pub unet: UnetConfig,
    pub ehr_encoder: EhrEncoderConfig,
    pub fusion_mortality: FusionConfig,
    pub fusion_phenotype: FusionConfig,
    pub diffusion: DiffusionConfig,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn reference_groups() -> usize {
    32
}

fn reference_stem() -> usize {
    1
}

fn reference_fusion_dropout() -> f64 {
    0.3
}

fn reference_z_channels() -> usize {
    4
}

fn reference_latent_side() -> usize {
    28
}

fn reference_part_len() -> usize {
    50
}

fn is_reference_part_len(len: &usize) -> bool {
    *len == reference_part_len()
}

fn reference_fused_len() -> usize {
    100
}

fn is_reference_fused_len(len: &usize) -> bool {
    *len == reference_fused_len()
}

fn reference_image_features() -> ImageFeatures {
    ImageFeatures::Given("identity".to_owned())
}

impl Task {
    /// The number of logits.
    pub const fn outputs(self) -> usize {
        match self {
            Task::Mortality => 1,
            Task::Phenotype => N_PHENOTYPES,
        }
    }
}

impl VaeConfig {
    /// Side of the latent.
    pub fn latent_side(&self) -> usize {
        self.resolution / self.stem.max(1) / (1 << self.ch_mult.len().saturating_sub(1))
    }

    /// Whether the blocks of a level, counted from the finest, are followed by self-attention.
    pub fn attends(&self, level: usize) -> bool {
        let side = (self.resolution / self.stem.max(1)) >> level.min(usize::BITS as usize - 1);
        self.attn_resolutions.contains(&side)
    }

    /// Numbers in one latent.
    pub fn latent_len(&self) -> usize {
        self.z_channels * self.latent_side() * self.latent_side()
    }
}

impl ResNetConfig {
    /// Features after the global pooling.
    pub fn features(&self) -> usize {
        self.width * 8
    }
}

impl FusionConfig {
    /// Width of the image branch's feature vector; 512 where it is given (ResNet34's).
    pub fn image_width(&self) -> usize {
        match &self.image_features {
            ImageFeatures::Given(_) => 512,
            ImageFeatures::ResNet(resnet) => resnet.features(),
        }
    }

    /// Tokens that a latent becomes.
    pub fn patches(&self) -> usize {
        if self.findings_width.is_some() {
            return 1;
        }
        let side = self.latent_side / self.patch_size.max(1);
        side * side
    }

    /// Sizes of one of the three sequence encoders.
    pub(crate) fn encoder(&self, feat_dim: usize, max_len: usize, pool: Pool) -> EhrEncoderConfig {
        EhrEncoderConfig {
            feat_dim,
            max_len,
            d_model: self.hidden_size,
            n_heads: self.n_heads,
            num_layers: 1,
            dim_feedforward: self.dim_feedforward,
            dropout: self.dropout,
            pool,
            labels: None,
        }
    }
}

impl DiffusionConfig {
    /// The published noise schedule, walked back in `steps` evaluations.
    pub fn reference(sampler: SamplerKind, steps: usize, eta: f64) -> Self {
        DiffusionConfig {
            timesteps: 1000,
            linear_start: 0.0015,
            linear_end: 0.0195,
            prediction: Prediction::Epsilon,
            sampler,
            steps,
            eta,
            temperature: 1.0,
            scale_factor: 1.0,
        }
    }
}

impl DdlCxrConfig {
    /// The fusion model's sizes of one task.
    pub fn fusion(&self, task: Task) -> &FusionConfig {
        match task {
            Task::Mortality => &self.fusion_mortality,
            Task::Phenotype => &self.fusion_phenotype,
        }
    }
}
