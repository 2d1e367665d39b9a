//! Stage 2: the latent diffusion model (`reference/ddl-cxr.md` 3.4): the prediction's squared
//! error, the ramped contrastive term and the auxiliary findings, with a moving average of the
//! UNet.

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::RngExt;

use super::batch;
use super::optimise::{Average, Order, cross_entropy, learning_rate, scalar, step, tensor, values};
use super::pace::Pace;
use super::sample::{FilmSample, Samples, Series};
use super::score::mean;
use super::vae::findings_auroc;
use super::{TrainError, TrainOptions};
use crate::model::config::Prediction;
use crate::model::ehr_encoder::with_cls;
use crate::model::layers::gaussian;
use crate::model::{DdlCxrConfig, EhrEncoder, Init, Sampler, Schedule, Unet, Vae};

const BATCH: usize = 12;
const RATE: f64 = 1e-3;
/// Margin of the contrastive term.
const MARGIN: f64 = 0.2;
/// Weight of the contrastive term at the end of the ramp: that of the published checkpoint, which
/// stopped a third of the way up.
const CONTRASTIVE: f64 = 0.335;
const AUXILIARY: f64 = 1.4;
/// Latents generated at once.
const GENERATE: usize = 32;

/// What learns in this stage.
#[derive(Module, Debug)]
pub(super) struct Ldm {
    pub(super) unet: Unet,
    pub(super) ehr: EhrEncoder,
}

/// How generated latents of pairs not seen compare with the earlier film's own.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LdmScore {
    pub pairs: usize,
    /// Mean squared distance (of scaled latents) from the later film's latent to the generated one.
    pub generated_mse: f64,
    /// The same to the earlier film's.
    pub carried_mse: f64,
    /// Macro AUROC of the later film's findings, read off the generated latent.
    pub generated_findings_auroc: f64,
    /// The same read off the earlier film's latent.
    pub carried_findings_auroc: f64,
}

/// Everything that the generation of a latent needs.
pub(super) struct Generator<'a> {
    pub(super) config: &'a DdlCxrConfig,
    pub(super) unet: &'a Unet,
    pub(super) ehr: &'a EhrEncoder,
    pub(super) noise: &'a [f32],
    pub(super) device: &'a Device,
}

/// Trains UNet and EHR encoder on scaled latents, one for each film; gives them with the averaged
/// UNet.
pub(super) fn train(
    config: &DdlCxrConfig,
    options: &TrainOptions,
    samples: &Samples,
    latents: &[Vec<f32>],
    device: &Device,
    mut pace: Pace<'_>,
) -> Result<(Ldm, u64), TrainError> {
    let autodiff = device.clone().autodiff();
    let mut init = Init::seeded(options.seed.wrapping_add(1), &autodiff);
    let unet = Unet::new(&config.unet, &mut init);
    let mut ldm = Ldm { unet, ehr: EhrEncoder::new(&config.ehr_encoder, &mut init) };
    let mut average = Average::new(&ldm.unet);
    let mut optimiser = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).init();
    let schedule = Schedule::new(&config.diffusion);
    let mut order = Order::new(options.seed.wrapping_add(2), samples.pairs.len());
    while let Some(n) = pace.next() {
        let picked = order.batch(BATCH);
        let t: Vec<usize> = picked
            .iter()
            .map(|_| order.rng().random_range(0..config.diffusion.timesteps))
            .collect();
        let latent = |film: fn(&super::sample::PairSample) -> usize| {
            let rows: Vec<Option<&[f32]>> = picked
                .iter()
                .map(|&i| latents.get(film(&samples.pairs[i])).map(Vec::as_slice))
                .collect();
            batch::latents(&rows, &config.vae, &autodiff)
        };
        let (reference, target) = (latent(|pair| pair.reference), latent(|pair| pair.target));
        let rows: Vec<Vec<f32>> = picked
            .iter()
            .map(|&i| samples.pairs[i].ehr.values())
            .collect::<Result<_, TrainError>>()?;
        let films: Vec<&FilmSample> =
            picked.iter().map(|&i| &samples.films[samples.pairs[i].target]).collect();
        let inputs = Inputs { reference, target, t, ehr: batch::ehr(&rows, &autodiff) };
        let seed = options.seed.wrapping_mul(1_000_003).wrapping_add(n);
        let parts = losses(&ldm, &schedule, config.diffusion.prediction, inputs, seed);
        let auxiliary = parts
            .findings
            .map(|logits| cross_entropy(logits, batch::findings(&films, &autodiff), None).mean());
        let ramp = CONTRASTIVE * pace.share();
        let mut loss = parts.noise.clone().add(parts.contrastive.clone().mul_scalar(ramp));
        let mut noted = vec![
            ("mse", scalar(parts.noise.detach())),
            ("contrastive", scalar(parts.contrastive.detach())),
        ];
        if let Some(auxiliary) = auxiliary {
            noted.push(("findings", scalar(auxiliary.clone().detach())));
            loss = loss.add(auxiliary.mul_scalar(AUXILIARY));
        }
        ldm = step(ldm, &loss, &mut optimiser, learning_rate(RATE, pace.share()));
        average.update(&ldm.unet);
        pace.note(&noted)?;
    }
    let Ldm { unet, ehr } = ldm.valid();
    Ok((Ldm { unet: average.applied(unet)?, ehr }, pace.steps()))
}

struct Inputs {
    reference: Tensor<4>,
    target: Tensor<4>,
    t: Vec<usize>,
    ehr: batch::EhrBatch,
}

struct Losses {
    noise: Tensor<1>,
    contrastive: Tensor<1>,
    findings: Option<Tensor<2>>,
}

/// The terms of the loss. The network sees each noisy latent twice: with its EHR, and with an EHR
/// that is half noise, from which the contrastive term must be able to tell it.
fn losses(
    ldm: &Ldm,
    schedule: &Schedule,
    prediction: Prediction,
    inputs: Inputs,
    seed: u64,
) -> Losses {
    let Inputs { reference, target, t, ehr } = inputs;
    let (dims, device) = (target.dims(), &target.device());
    let encoded = ldm.ehr.forward(ehr.values, Some(&ehr.keep));
    let findings = ldm.ehr.label_head.as_ref().map(|head| head.forward(encoded.pooled));
    let tokens = encoded.tokens;
    let shape = tokens.dims();
    let count: usize = shape.iter().product();
    let draws = gaussian(seed, count + dims.iter().product::<usize>());
    let (first, second) = draws.split_at(count);
    let perturbation: Tensor<3> = tensor(first.to_vec(), shape, device);
    let noise: Tensor<4> = tensor(second.to_vec(), dims, device);
    let blurred = tokens.clone().add(perturbation).mul_scalar(0.5);
    let noisy = schedule.q_sample(target.clone(), &t, noise.clone());
    let wanted = schedule.target(prediction, target, &t, noise);
    let x = Tensor::cat(vec![noisy, reference], 1);
    // Both branches in one pass.
    let both = |x: Tensor<4>| Tensor::cat(vec![x.clone(), x], 0);
    let keep = with_cls(&ehr.keep);
    let keep = Tensor::cat(vec![keep.clone(), keep], 0);
    let context = Tensor::cat(vec![tokens, blurred], 0);
    let times = [t.clone(), t.clone()].concat();
    let said = ldm.unet.forward(both(x), &times, &context, Some(&keep));
    let errors = said.sub(both(wanted)).square();
    let (near, far) = (errors.clone().narrow(0, 0, dims[0]), errors.narrow(0, dims[0], dims[0]));
    let hinge = relu(near.clone().sub(far).add_scalar(MARGIN));
    let weight: Tensor<4> = tensor(schedule.contrastive_weight(&t), [dims[0], 1, 1, 1], device);
    Losses { noise: near.mean(), contrastive: hinge.mul(weight).mean(), findings }
}

impl Generator<'_> {
    /// Latents as of now: from the last film's (scaled) latent and the EHR since it.
    pub(super) fn generate(
        &self,
        references: &[&[f32]],
        series: &[&Series],
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let sampler = Sampler::new(&self.config.diffusion);
        let vae = &self.config.vae;
        let mut out = Vec::with_capacity(references.len());
        for (references, series) in references.chunks(GENERATE).zip(series.chunks(GENERATE)) {
            let n = references.len();
            let rows: Vec<Option<&[f32]>> = references.iter().map(|row| Some(*row)).collect();
            let reference = batch::latents(&rows, vae, self.device);
            let start = batch::latents(&vec![Some(self.noise); n], vae, self.device);
            let grids: Vec<Vec<f32>> =
                series.iter().map(|one| one.values()).collect::<Result<_, TrainError>>()?;
            let ehr = batch::ehr(&grids, self.device);
            let context = self.ehr.forward(ehr.values, Some(&ehr.keep)).tokens;
            let keep = with_cls(&ehr.keep);
            let sampled = sampler.sample(start, &[], |x, t| {
                let x = Tensor::cat(vec![x, reference.clone()], 1);
                self.unet.forward(x, &vec![t; n], &context, Some(&keep))
            });
            out.extend(values(sampled).chunks(vae.latent_len()).map(<[f32]>::to_vec));
        }
        Ok(out)
    }

    /// Latents generated for pairs, in their order.
    pub(super) fn of_pairs(
        &self,
        samples: &Samples,
        latents: &[Vec<f32>],
        most: usize,
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let pairs = &samples.pairs[..most.min(samples.pairs.len())];
        let series: Vec<&Series> = pairs.iter().map(|pair| &pair.ehr).collect();
        let references: Vec<&[f32]> =
            pairs.iter().map(|pair| latents[pair.reference].as_slice()).collect();
        self.generate(&references, &series)
    }
}

/// Scores on at most `most` pairs of `samples`, whose films have these scaled latents.
pub(super) fn score(
    generator: &Generator<'_>,
    vae: &Vae,
    samples: &Samples,
    latents: &[Vec<f32>],
    most: usize,
) -> Result<LdmScore, TrainError> {
    let generated = generator.of_pairs(samples, latents, most)?;
    let pairs = &samples.pairs[..generated.len()];
    let distance =
        |a: &[f32], b: &[f32]| mean(a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)));
    let scale = generator.config.diffusion.scale_factor;
    let read = |latents: &[&[f32]]| -> Vec<f32> {
        let rows: Vec<Option<&[f32]>> = latents.iter().map(|row| Some(*row)).collect();
        let z = batch::latents(&rows, &generator.config.vae, generator.device).div_scalar(scale);
        vae.findings(z).map(values::<2>).unwrap_or_default()
    };
    let truth: Vec<bool> = pairs
        .iter()
        .flat_map(|pair| samples.films[pair.target].findings.map(|label| label == 1.0))
        .collect();
    let ours: Vec<&[f32]> = generated.iter().map(Vec::as_slice).collect();
    let theirs: Vec<&[f32]> = pairs.iter().map(|pair| latents[pair.reference].as_slice()).collect();
    let from_target = |rows: &[&[f32]]| {
        mean(pairs.iter().zip(rows).map(|(pair, row)| distance(row, &latents[pair.target])))
    };
    Ok(LdmScore {
        pairs: pairs.len(),
        generated_mse: from_target(&ours),
        carried_mse: from_target(&theirs),
        generated_findings_auroc: findings_auroc(&read(&ours), &truth),
        carried_findings_auroc: findings_auroc(&read(&theirs), &truth),
    })
}
