//! Stage 1: the autoencoder (`reference/ddl-cxr.md` 2.2): absolute error, KL distance and findings,
//! the last with a fixed weight or with the paper's adaptive one. The perceptual and the patch
//! adversarial term of the paper are not trained with yet.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};

use super::TrainError;
use super::batch;
use super::optimise::{scalar, tensor, values};
use super::recipe::{StageRecipe, VaeWeights};
use super::sample::{FilmSample, Samples};
use super::score::{auroc, mean};
use super::stage::{Moment, Noted, Order, Stage, mixed};
use crate::model::config::VaeConfig;
use crate::model::layers::gaussian;
use crate::model::losses::binary_cross_entropy;
use crate::model::losses::vae::{VaeLoss, VaeTerms, adaptive_weight, gradient_norm, kl};
use crate::model::{DdlCxrConfig, Vae};

/// Films encoded at once when nothing is learnt.
const ENCODE: usize = 16;

/// How well the autoencoder does on films that it has not seen.
#[derive(Clone, Debug, serde::Serialize)]
pub struct VaeScore {
    /// Mean absolute error of a pixel, of 2 (the range is −1..=1).
    pub absolute_error: f64,
    /// Macro AUROC of the findings that have both outcomes, from the latent.
    pub findings_auroc: f64,
}

/// The autoencoder's stage.
pub(super) struct VaeStage<'a> {
    config: &'a DdlCxrConfig,
    weights: VaeWeights,
    samples: &'a Samples,
    /// Films not trained on, for pictures.
    shown: &'a Samples,
    order: Order,
    seed: u64,
    /// On which the network learns.
    autodiff: Device,
    /// The findings' adaptive weight, as last measured.
    adaptive: f64,
    pictures: PathBuf,
}

impl<'a> VaeStage<'a> {
    pub(super) fn new(
        config: &'a DdlCxrConfig,
        recipe: &StageRecipe<VaeWeights>,
        [samples, shown]: [&'a Samples; 2],
        seed: u64,
        device: &Device,
        pictures: PathBuf,
    ) -> Self {
        VaeStage {
            config,
            weights: recipe.loss,
            samples,
            shown,
            order: Order::new(seed, samples.films.len(), recipe.course.batch),
            seed,
            autodiff: device.clone().autodiff(),
            adaptive: 0.0,
            pictures,
        }
    }

    fn terms(&self, net: &Vae, films: &[&FilmSample], batch: u64) -> Result<VaeTerms, TrainError> {
        let images = batch::films(films, &self.config.vae, &self.autodiff)?;
        let posterior = net.encode(images.clone());
        let dims = posterior.mean.dims();
        let noise = gaussian(mixed(self.seed, batch), dims.iter().product());
        let z = posterior.sample(tensor(noise, dims, &self.autodiff));
        let nll = VaeLoss::default().nll(images, net.decode(z.clone()), None);
        let findings = net.findings(z).map(|logits| {
            let labels = batch::findings(films, &self.autodiff);
            (binary_cross_entropy(logits, labels, None).mean(), 1.0)
        });
        Ok(VaeTerms { nll, kl: kl(&posterior), adversarial: None, findings })
    }

    /// The ratio of gradients at the encoder's last convolution. Each side needs a forward pass of
    /// its own, because burn keeps no graph after a backward pass.
    fn measure(&self, net: &Vae, films: &[&FilmSample], batch: u64) -> Result<f64, TrainError> {
        let at = &net.encoder.conv_out.weight;
        let likelihood = gradient_norm(self.terms(net, films, batch)?.nll, at);
        let Some((findings, _)) = self.terms(net, films, batch)?.findings else { return Ok(0.0) };
        Ok(adaptive_weight(likelihood, gradient_norm(findings, at)))
    }
}

impl Stage<Vae> for VaeStage<'_> {
    fn loss(&mut self, net: &Vae, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
        let picked = self.order.batch(at.batch).to_vec();
        let films: Vec<&FilmSample> = picked.into_iter().map(|i| &self.samples.films[i]).collect();
        let VaeConfig { resolution, in_channels, .. } = self.config.vae;
        let entries = (resolution * resolution * in_channels) as f64;
        self.adaptive = match self.weights.adaptive_every {
            0 => entries,
            every if at.batch.is_multiple_of(every) => self.measure(net, &films, at.batch)?,
            _ => self.adaptive,
        };
        let mut terms = self.terms(net, &films, at.batch)?;
        let pixels = (resolution * resolution) as f64;
        let mut noted = vec![
            ("l1", scalar(terms.nll.clone().detach()) / entries),
            ("kl", scalar(terms.kl.clone().detach()) / pixels),
        ];
        if let Some((findings, weight)) = &mut terms.findings {
            noted.push(("findings", scalar(findings.clone().detach())));
            *weight = self.adaptive;
        }
        if self.weights.adaptive_every > 0 {
            noted.push(("findings_weight", self.adaptive));
        }
        let VaeWeights { kl, findings, .. } = self.weights;
        let weights = VaeLoss { kl, findings, ..VaeLoss::default() };
        // The sum over all pixels would make clipping depend on the size of the films.
        Ok((weights.total(&terms).div_scalar(entries), noted))
    }

    fn draw(&mut self, net: &Vae) -> Result<(), TrainError> {
        let device = self.autodiff.clone().inner();
        super::pictures::reconstructions(net, &self.config.vae, self.shown, &device, &self.pictures)
    }

    fn remembered(&self) -> f64 {
        self.adaptive
    }

    fn remember(&mut self, adaptive: f64) {
        self.adaptive = adaptive;
    }
}

/// Posterior means of all films, in their order, not scaled.
pub(super) fn encode(
    vae: &Vae,
    config: &DdlCxrConfig,
    films: &[FilmSample],
    device: &Device,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let mut latents = Vec::with_capacity(films.len());
    for block in films.chunks(ENCODE) {
        let films: Vec<&FilmSample> = block.iter().collect();
        let means = values(vae.encode(batch::films(&films, &config.vae, device)?).mean);
        latents.extend(means.chunks(config.vae.latent_len()).map(<[f32]>::to_vec));
    }
    Ok(latents)
}

/// 1 / the standard deviation of all latents (defect B8).
pub(super) fn scale(latents: &[Vec<f32>]) -> f64 {
    let all = || latents.iter().flatten().map(|&x| f64::from(x));
    let n = all().count().max(1) as f64;
    let mean = all().sum::<f64>() / n;
    let var = all().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    1.0 / var.sqrt().max(1e-6)
}

/// Scores on the films of `samples`, at most `most` of them.
pub(super) fn score(
    vae: &Vae,
    config: &DdlCxrConfig,
    samples: &Samples,
    most: usize,
    device: &Device,
) -> Result<VaeScore, TrainError> {
    let (mut errors, mut logits, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    for block in samples.films[..most.min(samples.films.len())].chunks(ENCODE) {
        let films: Vec<&FilmSample> = block.iter().collect();
        let images = batch::films(&films, &config.vae, device)?;
        let z = vae.encode(images.clone()).mean;
        errors.push(scalar(vae.decode(z.clone()).sub(images).abs().mean()));
        logits.extend(vae.findings(z).map(values::<2>).unwrap_or_default());
        truth.extend(films.iter().flat_map(|film| film.findings.map(|label| label == 1.0)));
    }
    Ok(VaeScore {
        absolute_error: mean(errors.iter().copied()),
        findings_auroc: findings_auroc(&logits, &truth),
    })
}

/// Macro AUROC of rows of findings; findings with one outcome only are left out.
pub(super) fn findings_auroc(logits: &[f32], truth: &[bool]) -> f64 {
    let n = crate::model::config::N_FINDINGS;
    let column = |k: usize| {
        let pick = |i: &usize| i % n == k;
        let scores: Vec<f32> = (0..logits.len()).filter(pick).map(|i| logits[i]).collect();
        let labels: Vec<bool> = (0..truth.len()).filter(pick).map(|i| truth[i]).collect();
        auroc(&scores, &labels)
    };
    mean((0..n).filter_map(column))
}

/// Decodes latents that are scaled by `scale`, as `[batch, channels, side, side]`.
pub(super) fn decode(vae: &Vae, latents: Tensor<4>, scale: f64) -> Tensor<4> {
    vae.decode(latents.div_scalar(scale))
}
