//! The prediction model (stage 3): tokens of the EHR, of a latent and of the last film are fused
//! by one more sequence encoder (`reference/ddl-cxr.md` 4.2). One model per task.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::config::{EHR_COLUMNS, FusionConfig, ImageFeatures, N_FINDINGS, Pool};
use super::ehr_encoder::EhrEncoder;
use super::findings_reader::FindingsReader;
use super::layers::{Init, Linear};
use super::resnet::ResNet;

/// The network.
#[derive(Module, Debug)]
pub struct Fusion {
    /// The image branch; none where features are given.
    pub vision_backbone: Option<ResNet>,
    /// What reads findings in latents and films; none where the fusion model is to learn from
    /// patches and features what they mean.
    pub findings_reader: Option<FindingsReader>,
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
        let (pixels, features, beside) = match config.findings_width {
            None => (patch * patch * config.latent_channels, config.image_width(), 0),
            Some(_) => (N_FINDINGS, N_FINDINGS, 2 * N_FINDINGS),
        };
        let reader = |width| FindingsReader::new(config, width, init);
        let findings_reader = config.findings_width.map(reader);
        let part = |features| config.encoder(features, config.part_len, Pool::MaskedMean);
        let fused = config.encoder(d, config.fused_len, Pool::MaskedMean);
        let vision_backbone = match &config.image_features {
            ImageFeatures::Given(_) => None,
            ImageFeatures::ResNet(resnet) => Some(ResNet::new(resnet, init)),
        };
        Fusion {
            vision_backbone,
            findings_reader,
            cxr_feat_project: Linear::new(features, d, init),
            ehr_encoder: EhrEncoder::new(&part(EHR_COLUMNS), init),
            patch_embedding: Linear::new(pixels, config.patch_embed, init),
            cxr_transformer: EhrEncoder::new(&part(config.patch_embed), init),
            fusion_tf: EhrEncoder::new(&fused, init),
            head_in: Linear::new(d + beside, config.hid_dim_1, init),
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
        let ehr = self.ehr_tokens(input.ehr, input.ehr_keep.as_ref());
        let latent = self.seen_in_latents(input.latent);
        let image = self.seen_in_films(input.image_features);
        self.fuse(ehr, input.ehr_keep, latent, image, input.present)
    }

    /// Several variants of one window: EHR and image features have a batch of 1, `latent` and
    /// `present` one entry for each variant. The same numbers as [`Fusion::forward`] on the
    /// repeated window (up to rounding), without encoding its EHR again. Logits
    /// `[variants, outputs]`.
    pub fn forward_variants(&self, input: FusionInput) -> Tensor<2> {
        let variants = input.latent.dims()[0];
        let ehr = self.ehr_tokens(input.ehr, input.ehr_keep.as_ref());
        let latent = self.seen_in_latents(input.latent);
        let image = self.seen_in_films(input.image_features);
        let [_, bins, d] = ehr.dims();
        let ehr = ehr.expand([variants, bins, d]);
        let features = image.dims()[1];
        let image = image.expand([variants, features]);
        let keep = input.ehr_keep.map(|keep| keep.expand([variants, bins]));
        self.fuse(ehr, keep, latent, image, input.present)
    }

    fn ehr_tokens(&self, ehr: Tensor<3>, keep: Option<&Tensor<2>>) -> Tensor<3> {
        let bins = ehr.dims()[1];
        self.ehr_encoder.forward(ehr, keep).tokens.narrow(1, 1, bins)
    }

    /// What there is to see in films of these features `[batch, features]`: they themselves, or the
    /// findings read in them `[batch, 14]`.
    fn seen_in_films(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.findings_reader {
            None => features,
            Some(reader) => reader.in_films(features),
        }
    }

    /// What there is to see in latents `[batch, z, h, w]`: their patches
    /// `[batch, patches, p · p · z]`, or the findings read in them `[batch, 1, 14]`.
    fn seen_in_latents(&self, latents: Tensor<4>) -> Tensor<3> {
        match &self.findings_reader {
            None => cut_patches(latents, self.patch),
            Some(reader) => reader.in_latents(latents).unsqueeze_dim(1),
        }
    }

    /// The film's token `[batch, d]` of its features `[batch, features]`.
    pub fn image_token(&self, features: Tensor<2>) -> Tensor<2> {
        self.cxr_feat_project.forward(self.seen_in_films(features))
    }

    /// Tokens `[batch, patches, d]` of latents `[batch, z, h, w]`.
    pub fn latent_tokens(&self, latents: Tensor<4>) -> Tensor<3> {
        self.tokens_of_patches(self.seen_in_latents(latents))
    }

    fn tokens_of_patches(&self, patches: Tensor<3>) -> Tensor<3> {
        let patches = self.patch_embedding.forward(patches);
        let count = patches.dims()[1];
        self.cxr_transformer.forward(patches, None).tokens.narrow(1, 1, count)
    }

    /// `latent` is `[batch, patches, …]`, `image` `[batch, …]`, as they are seen.
    fn fuse(
        &self,
        ehr: Tensor<3>,
        ehr_keep: Option<Tensor<2>>,
        latent: Tensor<3>,
        image: Tensor<2>,
        present: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let [batch, bins, _] = ehr.dims();
        let patches = latent.dims()[1];
        let keep = (ehr_keep.is_some() || present.is_some()).then(|| {
            let device = ehr.device();
            let present = present.clone().unwrap_or_else(|| Tensor::ones([batch, 2], &device));
            let ehr = ehr_keep.unwrap_or_else(|| Tensor::ones([batch, bins], &device));
            let latent = present.clone().narrow(1, 0, 1).expand([batch, patches]);
            Tensor::cat(vec![ehr, latent, present.narrow(1, 1, 1)], 1)
        });
        let film = self.cxr_feat_project.forward(image.clone()).unsqueeze_dim::<3>(1);
        let tokens = vec![ehr, self.tokens_of_patches(latent.clone()), film];
        let pooled = self.fusion_tf.forward(Tensor::cat(tokens, 1), keep.as_ref()).pooled;
        let known = match &self.findings_reader {
            None => pooled,
            Some(_) => {
                let findings = [latent.squeeze_dim(1), image];
                Tensor::cat(vec![pooled, beside(findings, present)], 1)
            }
        };
        self.head_out.forward(gelu(self.head_in.forward(known)))
    }
}

/// The findings of latent and film `[batch, 28]`, zero where one of them does not count: they go
/// past the fusing encoder, too, in whose mean over some fifty hours two tokens weigh little.
fn beside([latent, film]: [Tensor<2>; 2], present: Option<Tensor<2>>) -> Tensor<2> {
    match present {
        None => Tensor::cat(vec![latent, film], 1),
        Some(present) => {
            let counts = |of: Tensor<2>, which| of.mul(present.clone().narrow(1, which, 1));
            Tensor::cat(vec![counts(latent, 0), counts(film, 1)], 1)
        }
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::config::DdlCxrConfig;
    use super::super::layers::gaussian;
    use super::*;

    fn noise<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(gaussian(seed, shape.iter().product()), shape);
        Tensor::from_data(data, &Device::flex())
    }

    fn logits(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("f32")
    }

    fn window(bins: usize, keep: Option<usize>) -> FusionInput {
        let device = Device::flex();
        let keep = keep.map(|n| {
            let keep = (0..bins).map(|bin| f32::from(bin < n)).collect();
            Tensor::from_data(TensorData::new(keep, [1, bins]), &device)
        });
        FusionInput {
            ehr: noise(1, [1, bins, EHR_COLUMNS]),
            ehr_keep: keep,
            latent: noise(2, [1, 4, 14, 14]),
            image_features: noise(3, [1, 128]),
            present: None,
        }
    }

    /// One that sees patches and features, one that sees findings.
    fn models() -> [Fusion; 2] {
        [None, Some(8)].map(|findings_width| {
            let demo = DdlCxrConfig::demo().fusion_phenotype;
            let config = FusionConfig { findings_width, ..demo };
            Fusion::new(&config, &mut Init::seeded(9, &Device::flex()))
        })
    }

    #[test]
    fn what_is_masked_has_no_influence() {
        models().iter().for_each(masked_has_no_influence);
    }

    fn masked_has_no_influence(model: &Fusion) {
        let absent = Some(Tensor::zeros([1, 2], &Device::flex()));
        let mut a = FusionInput { present: absent.clone(), ..window(20, Some(12)) };
        let mut b = a.clone();
        b.latent = b.latent.mul_scalar(-3.0);
        b.image_features = b.image_features.add_scalar(1.0);
        let tail = b.ehr.clone().narrow(1, 12, 8).mul_scalar(7.0);
        b.ehr = Tensor::cat(vec![b.ehr.narrow(1, 0, 12), tail], 1);
        let (x, y) = (logits(model.forward(a.clone())), logits(model.forward(b)));
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-5), "{x:?} {y:?}");
        // With the film present the same change shows.
        a.present = None;
        let shown = logits(model.forward(a));
        assert!(x.iter().zip(&shown).any(|(x, y)| (x - y).abs() > 1e-3));
    }

    #[test]
    fn variants_are_what_forward_gives_one_by_one() {
        models().iter().for_each(variants_are_forward_one_by_one);
    }

    fn variants_are_forward_one_by_one(model: &Fusion) {
        let one = window(48, Some(30));
        let device = Device::flex();
        let latent = noise(5, [2, 4, 14, 14]);
        let present = Tensor::from_data([[1.0, 1.0], [0.0, 0.0]], &device);
        let both =
            FusionInput { latent: latent.clone(), present: Some(present.clone()), ..one.clone() };
        let got = logits(model.forward_variants(both));
        for (n, row) in got.chunks(25).enumerate() {
            let single = FusionInput {
                latent: latent.clone().narrow(0, n, 1),
                present: Some(present.clone().narrow(0, n, 1)),
                ..one.clone()
            };
            let want = logits(model.forward(single));
            assert!(row.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-5));
        }
    }
}
