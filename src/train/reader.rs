//! How the fusion models learn to see: before them, what reads latents and the image branch are
//! taught the findings of every film of the pairs. Of films there are many, of stays with an
//! outcome few; those few then need not teach a network both what a film shows and what it means,
//! which ends in learning the films by heart.
//!
//! Not in the paper, whose image parts learn from the outcomes alone: off unless the recipe turns
//! it on. What was taught is not changed by the fusion models.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::TrainError;
use super::batch;
use super::optimise::{scalar, tensor, values};
use super::recipe::{ReaderWeights, StageRecipe};
use super::sample::{FilmSample, Samples};
use super::score::mean;
use super::stage::{Moment, Noted, Order, Stage, mixed};
use super::vae::findings_auroc;
use crate::model::config::{FusionConfig, ImageFeatures, N_FINDINGS};
use crate::model::layers::{Init, Linear, gaussian};
use crate::model::losses::binary_cross_entropy;
use crate::model::weights::{tensors_of, with_tensors};
use crate::model::{DdlCxrConfig, Fusion};

/// Films judged at once.
const SCORE: usize = 64;

/// The parts of a fusion model that look at films, and what is asked of them here.
#[derive(Module, Debug)]
pub(super) struct Reader {
    /// Its other parts learn nothing.
    parts: Fusion,
    /// Heads for parts that do not read findings by themselves; others leave them unused.
    of_latent: Linear,
    of_film: Linear,
}

/// The stage.
pub(super) struct ReaderStage<'a> {
    config: &'a DdlCxrConfig,
    weights: ReaderWeights,
    /// To learn from and to choose by, with their films' scaled latents.
    both: [(&'a Samples, &'a [Vec<f32>]); 2],
    order: Order,
    seed: u64,
    device: &'a Device,
    autodiff: Device,
}

impl Reader {
    pub(super) fn new(config: &FusionConfig, init: &mut Init) -> Self {
        let parts = Fusion::new(config, init);
        let mut head = || Linear::new(config.hidden_size, N_FINDINGS, init);
        Reader { of_latent: head(), of_film: head(), parts }
    }

    /// `net` with the parts that were taught here, which its training will leave as they are.
    ///
    /// # Errors
    /// [`TrainError::Weights`] when its sizes are others.
    pub(super) fn lend(&self, mut net: Fusion) -> Result<Fusion, TrainError> {
        let parts = &self.parts;
        net.vision_backbone = taught(net.vision_backbone, &parts.vision_backbone)?;
        if parts.findings_reader.is_some() {
            // What the findings mean is for the fusion model to learn.
            net.findings_reader = taught(net.findings_reader, &parts.findings_reader)?;
            return Ok(net);
        }
        net.cxr_feat_project = taught(net.cxr_feat_project, &parts.cxr_feat_project)?;
        net.patch_embedding = taught(net.patch_embedding, &parts.patch_embedding)?;
        net.cxr_transformer = taught(net.cxr_transformer, &parts.cxr_transformer)?;
        Ok(net)
    }

    /// Logits of the findings `[batch, 14]`.
    fn in_latents(&self, latents: Tensor<4>) -> Tensor<2> {
        if let Some(reader) = &self.parts.findings_reader {
            return reader.in_latents(latents);
        }
        let tokens = self.parts.latent_tokens(latents);
        let [batch, _, d] = tokens.dims();
        self.of_latent.forward(tokens.mean_dim(1).reshape([batch, d]))
    }

    /// The same; `None` where the image's features are given from outside.
    fn in_films(&self, films: Tensor<4>) -> Option<Tensor<2>> {
        let features = self.parts.image_features(films)?;
        Some(match &self.parts.findings_reader {
            Some(reader) => reader.in_films(features),
            None => self.of_film.forward(self.parts.image_token(features)),
        })
    }
}

fn taught<M: Module>(fresh: M, from: &M) -> Result<M, TrainError> {
    Ok(with_tensors(fresh, &tensors_of(from))?.no_grad())
}

impl<'a> ReaderStage<'a> {
    pub(super) fn new(
        config: &'a DdlCxrConfig,
        recipe: &StageRecipe<ReaderWeights>,
        both: [(&'a Samples, &'a [Vec<f32>]); 2],
        seed: u64,
        device: &'a Device,
    ) -> Self {
        ReaderStage {
            config,
            weights: recipe.loss,
            both,
            order: Order::new(seed, both[0].0.films.len(), recipe.course.batch),
            seed,
            device,
            autodiff: device.clone().autodiff(),
        }
    }

    /// Latents of films `[n, z, side, side]`.
    fn latents(&self, latents: &[Vec<f32>], picked: &[usize], device: &Device) -> Tensor<4> {
        let rows: Vec<Option<&[f32]>> =
            picked.iter().map(|&i| latents.get(i).map(Vec::as_slice)).collect();
        batch::latents(&rows, &self.config.vae, device)
    }

    /// The films as the image branch sees them; `None` where there is no branch.
    fn films(
        &self,
        films: &[&FilmSample],
        device: &Device,
    ) -> Result<Option<Tensor<4>>, TrainError> {
        match &self.config.fusion_mortality.image_features {
            ImageFeatures::Given(_) => Ok(None),
            ImageFeatures::ResNet(resnet) => {
                let films: Vec<Option<&FilmSample>> = films.iter().copied().map(Some).collect();
                batch::branch(&films, resnet, device).map(Some)
            }
        }
    }
}

impl Stage<Reader> for ReaderStage<'_> {
    fn loss(&mut self, net: &Reader, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
        let picked = self.order.batch(at.batch).to_vec();
        let (samples, latents) = self.both[0];
        let films: Vec<&FilmSample> = picked.iter().map(|&i| &samples.films[i]).collect();
        let truth = batch::findings(&films, &self.autodiff);
        let z = self.latents(latents, &picked, &self.autodiff);
        // Generated latents are never quite those of a film.
        let noise = gaussian(mixed(self.seed, at.batch), z.dims().iter().product());
        let noise: Tensor<4> = tensor(noise, z.dims(), &self.autodiff);
        let z = z.add(noise.mul_scalar(self.weights.noise));
        let of_latent = binary_cross_entropy(net.in_latents(z), truth.clone(), None).mean();
        let mut noted = vec![("latent", scalar(of_latent.clone().detach()))];
        let mut loss = of_latent.mul_scalar(self.weights.latent);
        let seen = self.films(&films, &self.autodiff)?.and_then(|films| net.in_films(films));
        if let Some(logits) = seen.filter(|_| self.weights.film > 0.0) {
            let of_film = binary_cross_entropy(logits, truth, None).mean();
            noted.push(("film", scalar(of_film.clone().detach())));
            loss = loss.add(of_film.mul_scalar(self.weights.film));
        }
        Ok((loss, noted))
    }

    /// Macro AUROC of the findings, mean of the two ways to see them.
    fn check(&mut self, net: &Reader) -> Result<Option<(f64, Noted)>, TrainError> {
        let (samples, latents) = self.both[1];
        let (mut in_latents, mut in_films) = (Vec::new(), Vec::new());
        let all: Vec<usize> = (0..samples.films.len()).collect();
        for picked in all.chunks(SCORE) {
            let films: Vec<&FilmSample> = picked.iter().map(|&i| &samples.films[i]).collect();
            in_latents.extend(values(net.in_latents(self.latents(latents, picked, self.device))));
            let seen = self.films(&films, self.device)?.and_then(|films| net.in_films(films));
            in_films.extend(seen.map(values::<2>).unwrap_or_default());
        }
        let truth: Vec<bool> =
            samples.films.iter().flat_map(|film| film.findings.map(|label| label == 1.0)).collect();
        let scores = [("latent_auroc", in_latents), ("film_auroc", in_films)]
            .into_iter()
            .filter(|(_, logits)| !logits.is_empty())
            .map(|(name, logits)| (name, findings_auroc(&logits, &truth)));
        let noted: Noted = scores.filter(|(_, auroc)| auroc.is_finite()).collect();
        let score = mean(noted.iter().map(|(_, auroc)| *auroc));
        Ok(score.is_finite().then_some((score, noted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FusionInput;
    use crate::model::config::{EHR_COLUMNS, Task};
    use burn::optim::GradientsParams;

    #[test]
    fn what_was_taught_is_lent_and_learns_no_more() {
        let (autodiff, proof) = (Device::flex().autodiff(), DdlCxrConfig::proof());
        for findings_width in [None, Some(8)] {
            let of = |task| FusionConfig { findings_width, ..proof.fusion(task).clone() };
            let reader = Reader::new(&of(Task::Mortality), &mut Init::seeded(1, &autodiff));
            let net = Fusion::new(&of(Task::Phenotype), &mut Init::seeded(2, &autodiff));
            let (own, parts) = (tensors_of(&net.ehr_encoder), &reader.parts);
            let net = reader.lend(net).expect("of the same sizes");
            assert_eq!(tensors_of(&net.vision_backbone), tensors_of(&parts.vision_backbone));
            assert_eq!(tensors_of(&net.findings_reader), tensors_of(&parts.findings_reader));
            let same = |net: &Fusion| tensors_of(&net.cxr_transformer);
            assert_eq!(same(&net) == same(parts), findings_width.is_none());
            assert_eq!(tensors_of(&net.ehr_encoder), own);
            let found = gradients(&net, &autodiff);
            let moved = |layer: &Linear| found.get::<2>(layer.kernel.id).is_some();
            assert!(moved(&net.head_in) && moved(&net.ehr_encoder.project_inp));
            assert_eq!(moved(&net.patch_embedding), findings_width.is_some());
            assert_eq!(moved(&net.cxr_feat_project), findings_width.is_some());
            let taught = net.findings_reader.iter().any(|reader| moved(&reader.of_latent));
            assert!(!taught);
        }
    }

    fn gradients(net: &Fusion, autodiff: &Device) -> GradientsParams {
        let draw = |seed, shape: [usize; 4]| -> Tensor<4> {
            tensor(gaussian(seed, shape.iter().product()), shape, autodiff)
        };
        let input = FusionInput {
            ehr: draw(3, [1, 2, 5, EHR_COLUMNS]).reshape([2, 5, EHR_COLUMNS]),
            ehr_keep: None,
            latent: draw(4, [2, 4, 8, 8]),
            image_features: net.image_features(draw(5, [2, 1, 64, 64])).expect("a branch"),
            present: None,
        };
        GradientsParams::from_grads(net.forward(input).sum().backward(), net)
    }
}
