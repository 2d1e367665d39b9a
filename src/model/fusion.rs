//! The prediction model (stage 3): tokens of the EHR, of a latent and of the last film are fused
//! by one more sequence encoder (`reference/ddl-cxr.md` 4.2). One model per task.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::config::{EHR_COLUMNS, FusionConfig, ImageFeatures, Pool};
use super::ehr_encoder::EhrEncoder;
use super::layers::{Init, Linear};
use super::resnet::ResNet;

/// Longest sequence of the EHR's and of the latent's encoder.
const PART_LEN: usize = 50;
/// Longest sequence of the fusing encoder.
const FUSED_LEN: usize = 100;

/// The network.
#[derive(Module, Debug)]
pub struct Fusion {
    /// The image branch; none where features are given.
    pub vision_backbone: Option<ResNet>,
    pub cxr_feat_project: Linear,
    pub ehr_encoder: EhrEncoder,
    pub patch_embedding: Linear,
    pub cxr_transformer: EhrEncoder,
    pub fusion_tf: EhrEncoder,
    pub head_in: Linear,
    pub head_out: Linear,
    patch: usize,
}

/// What a batch of windows gives the fusion model.
#[derive(Clone, Debug)]
pub struct FusionInput {
    /// `[batch, bins, 79]`, at most 50 bins, normalised by the prediction normaliser.
    pub ehr: Tensor<3>,
    /// `[batch, bins]`, 1 for bins that count; none if all do.
    pub ehr_keep: Option<Tensor<2>>,
    /// `[batch, z, h, w]`; zeros where there is none.
    pub latent: Tensor<4>,
    /// `[batch, features]` of [`Fusion::image_features`]; zeros where there is none.
    pub image_features: Tensor<2>,
    /// `[batch, 2]`: 1 if the latent counts, 1 if the film counts. None if both do in every
    /// sample. A window without a film, and modality dropout in training, set 0.
    pub present: Option<Tensor<2>>,
}

impl Fusion {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &FusionConfig, init: &mut Init) -> Self {
        let d = config.hidden_size;
        let patch = config.patch_size;
        let pixels = patch * patch * config.latent_channels;
        let part = |features| config.encoder(features, PART_LEN, Pool::MaskedMean);
        let fused = config.encoder(d, FUSED_LEN, Pool::MaskedMean);
        let vision_backbone = match &config.image_features {
            ImageFeatures::Given(_) => None,
            ImageFeatures::ResNet(resnet) => Some(ResNet::new(resnet, init)),
        };
        Fusion {
            vision_backbone,
            cxr_feat_project: Linear::new(config.image_width(), d, init),
            ehr_encoder: EhrEncoder::new(&part(EHR_COLUMNS), init),
            patch_embedding: Linear::new(pixels, config.patch_embed, init),
            cxr_transformer: EhrEncoder::new(&part(config.patch_embed), init),
            fusion_tf: EhrEncoder::new(&fused, init),
            head_in: Linear::new(d, config.hid_dim_1, init),
            head_out: Linear::new(config.hid_dim_1, config.task.outputs(), init),
            patch,
        }
    }

    /// Features of films `[batch, channels, side, side]`; `None` if they are given from outside.
    pub fn image_features(&self, films: Tensor<4>) -> Option<Tensor<2>> {
        self.vision_backbone.as_ref().map(|resnet| resnet.forward(films))
    }

    /// Logits `[batch, outputs]`.
    pub fn forward(&self, input: FusionInput) -> Tensor<2> {
        let [batch, bins, _] = input.ehr.dims();
        let ehr = self.ehr_encoder.forward(input.ehr, input.ehr_keep.as_ref()).tokens;
        let ehr = ehr.narrow(1, 1, bins);
        let patches = self.patch_embedding.forward(cut_patches(input.latent, self.patch));
        let count = patches.dims()[1];
        let latent = self.cxr_transformer.forward(patches, None).tokens.narrow(1, 1, count);
        let image = self.cxr_feat_project.forward(input.image_features).unsqueeze_dim::<3>(1);
        let keep = match (input.ehr_keep, input.present) {
            (None, None) => None,
            (ehr_keep, present) => {
                let device = ehr.device();
                let all = || Tensor::ones([batch, bins], &device);
                let present = present.unwrap_or_else(|| Tensor::ones([batch, 2], &device));
                let latent = present.clone().narrow(1, 0, 1).expand([batch, count]);
                let image = present.narrow(1, 1, 1);
                Some(Tensor::cat(vec![ehr_keep.unwrap_or_else(all), latent, image], 1))
            }
        };
        let tokens = Tensor::cat(vec![ehr, latent, image], 1);
        let pooled = self.fusion_tf.forward(tokens, keep.as_ref()).pooled;
        self.head_out.forward(gelu(self.head_in.forward(pooled)))
    }
}

/// `[batch, c, h, w]` to `[batch, patches, p · p · c]`: patches row by row, and inside a patch row,
/// column, channel.
fn cut_patches(latent: Tensor<4>, patch: usize) -> Tensor<3> {
    let [batch, channels, height, width] = latent.dims();
    let (rows, columns) = (height / patch, width / patch);
    latent
        .reshape([batch, channels, rows, patch, columns, patch])
        .permute([0, 2, 4, 3, 5, 1])
        .reshape([batch, rows * columns, patch * patch * channels])
}
