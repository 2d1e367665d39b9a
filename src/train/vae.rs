//! Stage 1: the autoencoder (`reference/ddl-cxr.md` 2.2), here with absolute error, KL distance
//! and findings; the perceptual and adversarial terms of the paper are left out.

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Tensor};

use super::batch;
use super::optimise::{Order, cross_entropy, learning_rate, scalar, step, tensor, values};
use super::pace::Pace;
use super::sample::{FilmSample, Samples};
use super::score::{auroc, mean};
use super::{TrainError, TrainOptions};
use crate::model::layers::gaussian;
use crate::model::{DdlCxrConfig, Init, Vae};

/// Small, because on a CPU a step costs in proportion and many small ones learn faster.
const BATCH: usize = 2;
const RATE: f64 = 1.2e-3;
/// Weight of the KL distance per pixel: enough to keep latents near the origin and smooth, far too
/// little to blur.
const KL: f64 = 2e-3;
/// Weight of the findings' cross-entropy beside an absolute error of about 0.05.
const FINDINGS: f64 = 0.02;
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

/// Trains the autoencoder.
pub(super) fn train(
    config: &DdlCxrConfig,
    options: &TrainOptions,
    samples: &Samples,
    device: &Device,
    mut pace: Pace<'_>,
) -> Result<(Vae, u64), TrainError> {
    let autodiff = device.clone().autodiff();
    let mut vae = Vae::new(&config.vae, &mut Init::seeded(options.seed, &autodiff));
    let mut optimiser =
        AdamWConfig::new().with_beta_1(0.8).with_beta_2(0.98).with_weight_decay(1e-4).init();
    let mut order = Order::new(options.seed, samples.films.len());
    let pixels = (config.vae.resolution * config.vae.resolution) as f64;
    while let Some(n) = pace.next() {
        let films: Vec<&FilmSample> =
            order.batch(BATCH).into_iter().map(|i| &samples.films[i]).collect();
        let images = batch::films(&films, &config.vae, &autodiff)?;
        let posterior = vae.encode(images.clone());
        let noise = gaussian(options.seed ^ (n + 1), posterior.mean.dims().iter().product());
        let z = posterior.sample(tensor(noise, posterior.mean.dims(), &autodiff));
        let error = vae.decode(z.clone()).sub(images).abs().mean();
        let kl = posterior.kl().mean().div_scalar(pixels);
        let mut loss = error.clone().add(kl.clone().mul_scalar(KL));
        let mut losses = vec![("l1", scalar(error.detach())), ("kl", scalar(kl.detach()))];
        if let Some(logits) = vae.findings(z) {
            let entropy = cross_entropy(logits, batch::findings(&films, &autodiff), None).mean();
            losses.push(("findings", scalar(entropy.clone().detach())));
            loss = loss.add(entropy.mul_scalar(FINDINGS));
        }
        vae = step(vae, &loss, &mut optimiser, learning_rate(RATE, pace.share()));
        pace.note(&losses)?;
    }
    Ok((vae.valid(), pace.steps()))
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
