//! The sizes that have a name.

use super::{
    DdlCxrConfig, DiffusionConfig, EHR_COLUMNS, EhrEncoderConfig, FusionConfig, ImageFeatures,
    N_FINDINGS, Pool, Prediction, ResNetConfig, SamplerKind, Task, UnetConfig, VaeConfig,
    reference_fused_len, reference_part_len,
};

impl DdlCxrConfig {
    /// The paper's sizes (`reference/ddl-cxr.md` 2.1, 3.1, 3.2, 4.2): 224 px, latents 4 × 28 × 28.
    pub fn full() -> Self {
        let fusion = |task| FusionConfig {
            task,
            hidden_size: 512,
            dim_feedforward: 256,
            n_heads: 8,
            patch_size: 4,
            patch_embed: 128,
            hid_dim_1: 128,
            dropout: 0.3,
            latent_channels: 4,
            latent_side: 28,
            image_features: ImageFeatures::ResNet(ResNetConfig {
                resolution: 224,
                in_channels: 3,
                width: 64,
                blocks: [3, 4, 6, 3],
            }),
            findings_width: None,
            part_len: reference_part_len(),
            fused_len: reference_fused_len(),
        };
        DdlCxrConfig {
            vae: VaeConfig {
                resolution: 224,
                in_channels: 3,
                out_ch: 3,
                ch: 128,
                ch_mult: vec![1, 2, 4, 4],
                num_res_blocks: 2,
                attn_resolutions: Vec::new(),
                z_channels: 4,
                dropout: 0.2,
                norm_groups: 32,
                stem: 1,
                labels: Some(N_FINDINGS),
            },
            unet: UnetConfig {
                image_size: 28,
                in_channels: 8,
                out_channels: 4,
                model_channels: 224,
                attention_resolutions: vec![1, 2, 4],
                num_res_blocks: 2,
                channel_mult: vec![1, 2, 4],
                num_head_channels: 16,
                transformer_depth: 1,
                context_dim: 128,
                dropout: 0.0,
                norm_groups: 32,
            },
            ehr_encoder: EhrEncoderConfig {
                feat_dim: EHR_COLUMNS,
                max_len: 70,
                d_model: 128,
                n_heads: 8,
                num_layers: 1,
                dim_feedforward: 256,
                dropout: 0.2,
                pool: Pool::Cls,
                labels: Some(N_FINDINGS),
            },
            fusion_mortality: fusion(Task::Mortality),
            fusion_phenotype: fusion(Task::Phenotype),
            diffusion: DiffusionConfig::reference(SamplerKind::Ddim, 200, 1.0),
        }
    }

    /// A size that one CPU core serves: films at 112 px, latents 4 × 14 × 14, eight network
    /// evaluations without noise. The sizes were chosen by measuring (see `model/mod.rs`).
    pub fn demo() -> Self {
        let fusion = |task| FusionConfig {
            task,
            hidden_size: 64,
            dim_feedforward: 128,
            n_heads: 4,
            patch_size: 2,
            patch_embed: 64,
            hid_dim_1: 64,
            dropout: 0.2,
            latent_channels: 4,
            latent_side: 14,
            image_features: ImageFeatures::ResNet(ResNetConfig {
                resolution: 112,
                in_channels: 1,
                width: 16,
                blocks: [1, 1, 1, 1],
            }),
            findings_width: None,
            part_len: reference_part_len(),
            fused_len: reference_fused_len(),
        };
        DdlCxrConfig {
            vae: VaeConfig {
                resolution: 112,
                in_channels: 1,
                out_ch: 1,
                ch: 24,
                ch_mult: vec![1, 2, 3],
                num_res_blocks: 1,
                attn_resolutions: Vec::new(),
                z_channels: 4,
                dropout: 0.0,
                norm_groups: 8,
                stem: 2,
                labels: Some(N_FINDINGS),
            },
            unet: UnetConfig {
                image_size: 14,
                in_channels: 8,
                out_channels: 4,
                model_channels: 32,
                attention_resolutions: vec![2],
                num_res_blocks: 1,
                channel_mult: vec![1, 2],
                num_head_channels: 32,
                transformer_depth: 1,
                context_dim: 64,
                dropout: 0.0,
                norm_groups: 16,
            },
            ehr_encoder: EhrEncoderConfig {
                feat_dim: EHR_COLUMNS,
                max_len: 70,
                d_model: 64,
                n_heads: 4,
                num_layers: 1,
                dim_feedforward: 128,
                dropout: 0.1,
                pool: Pool::Cls,
                labels: Some(N_FINDINGS),
            },
            fusion_mortality: fusion(Task::Mortality),
            fusion_phenotype: fusion(Task::Phenotype),
            diffusion: DiffusionConfig {
                prediction: Prediction::Velocity,
                ..DiffusionConfig::reference(SamplerKind::DpmSolver2m, 8, 0.0)
            },
        }
    }

    /// The size of the proof: films at 64 px, latents 4 × 8 × 8, a network of about 1.5 M
    /// parameters to denoise, so that several models can be trained on a CPU in hours.
    pub fn proof() -> Self {
        let fusion = |task| FusionConfig {
            latent_side: 8,
            image_features: ImageFeatures::ResNet(ResNetConfig {
                resolution: 64,
                in_channels: 1,
                width: 16,
                blocks: [1, 1, 1, 1],
            }),
            // Few outcomes do not teach a network to see, and are soon known by heart.
            findings_width: Some(32),
            dropout: 0.4,
            ..DdlCxrConfig::demo().fusion(task).clone()
        };
        let demo = DdlCxrConfig::demo();
        DdlCxrConfig {
            vae: VaeConfig {
                resolution: 64,
                ch: 16,
                ch_mult: vec![1, 2, 4, 4],
                stem: 1,
                ..demo.vae
            },
            unet: UnetConfig {
                image_size: 8,
                attention_resolutions: vec![1, 2],
                channel_mult: vec![1, 2, 4],
                ..demo.unet
            },
            ehr_encoder: EhrEncoderConfig { num_layers: 2, ..demo.ehr_encoder },
            fusion_mortality: fusion(Task::Mortality),
            fusion_phenotype: fusion(Task::Phenotype),
            // What is wanted of a film here is what can be known of it.
            diffusion: DiffusionConfig { temperature: 0.0, ..demo.diffusion },
        }
    }
}
