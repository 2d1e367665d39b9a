//! Stage 2: the latent diffusion model (`reference/ddl-cxr.md` 3.4): the prediction's squared
//! error, the ramped contrastive term and the auxiliary findings.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::RngExt;

use super::TrainError;
use super::batch;
use super::optimise::{scalar, tensor, values};
use super::recipe::LdmWeights;
use super::sample::{FilmSample, PairSample, Samples, Series};
use super::score::mean;
use super::stage::{Moment, Noted, Order, Stage, mixed};
use super::symptoms::{self, Symptom};
use super::vae::findings_auroc;
use crate::model::ehr_encoder::with_cls;
use crate::model::layers::gaussian;
use crate::model::losses::ldm::{auxiliary, contrastive, denoising};
use crate::model::losses::{self, LdmTerms};
use crate::model::{DdlCxrConfig, EhrEncoder, Sampler, Schedule, Unet, Vae};

/// Latents generated at once.
const GENERATE: usize = 32;

/// What learns in this stage.
#[derive(Module, Debug)]
pub(super) struct Ldm {
    pub(super) unet: Unet,
    pub(super) ehr: EhrEncoder,
}

/// How generated latents of pairs not seen compare with the earlier film's own.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
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

/// What the diffusion model is shown beside its noise: everything, but for ablations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) reference: bool,
    pub(super) ehr: bool,
}

impl Conditions {
    pub(super) const ALL: Conditions = Conditions { reference: true, ehr: true };

    /// Latents of the last film, or nothing.
    fn reference(self, latents: Tensor<4>) -> Tensor<4> {
        if self.reference { latents } else { latents.zeros_like() }
    }

    /// The hours since it, or none: the CLS alone is left.
    fn ehr(self, ehr: batch::EhrBatch) -> batch::EhrBatch {
        if self.ehr { ehr } else { ehr.emptied() }
    }
}

/// Everything that the generation of a latent needs.
pub(super) struct Generator<'a> {
    pub(super) config: &'a DdlCxrConfig,
    pub(super) unet: &'a Unet,
    pub(super) ehr: &'a EhrEncoder,
    pub(super) noise: &'a [f32],
    pub(super) conditions: Conditions,
    pub(super) device: &'a Device,
}

/// The diffusion model's stage, on scaled latents, one for each film.
pub(super) struct LdmStage<'a> {
    pub(super) config: &'a DdlCxrConfig,
    pub(super) weights: LdmWeights,
    pub(super) conditions: Conditions,
    pub(super) samples: &'a Samples,
    pub(super) latents: &'a [Vec<f32>],
    pub(super) schedule: Schedule,
    pub(super) order: Order,
    pub(super) seed: u64,
    /// On which the network learns.
    pub(super) autodiff: Device,
    pub(super) shown: Shown<'a>,
}

/// What pictures are made of during the stage.
pub(super) struct Shown<'a> {
    pub(super) vae: &'a Vae,
    pub(super) samples: &'a Samples,
    pub(super) latents: &'a [Vec<f32>],
    pub(super) noise: &'a [f32],
    pub(super) path: PathBuf,
}

struct Inputs {
    reference: Tensor<4>,
    target: Tensor<4>,
    t: Vec<usize>,
    ehr: batch::EhrBatch,
    findings: Tensor<2>,
    seed: u64,
}

impl LdmStage<'_> {
    fn generator<'g>(&'g self, net: &'g Ldm, device: &'g Device) -> Generator<'g> {
        let (config, noise, conditions) = (self.config, self.shown.noise, self.conditions);
        Generator { config, unet: &net.unet, ehr: &net.ehr, noise, conditions, device }
    }

    fn inputs(&mut self, batch: u64) -> Result<Inputs, TrainError> {
        let picked = self.order.batch(batch).to_vec();
        let mut rng = self.order.rng(batch);
        let timesteps = self.config.diffusion.timesteps;
        let t: Vec<usize> = picked.iter().map(|_| rng.random_range(0..timesteps)).collect();
        let pairs: Vec<&PairSample> = picked.iter().map(|&i| &self.samples.pairs[i]).collect();
        let latent = |film: fn(&PairSample) -> usize| {
            let rows: Vec<Option<&[f32]>> =
                pairs.iter().map(|pair| self.latents.get(film(pair)).map(Vec::as_slice)).collect();
            batch::latents(&rows, &self.config.vae, &self.autodiff)
        };
        let grids: Vec<Vec<f32>> =
            pairs.iter().map(|pair| pair.ehr.values()).collect::<Result<_, TrainError>>()?;
        let films: Vec<&FilmSample> =
            pairs.iter().map(|pair| &self.samples.films[pair.target]).collect();
        Ok(Inputs {
            reference: self.conditions.reference(latent(|pair| pair.reference)),
            target: latent(|pair| pair.target),
            t,
            ehr: self.conditions.ehr(batch::ehr(&grids, &self.autodiff)),
            findings: batch::findings(&films, &self.autodiff),
            seed: mixed(self.seed, batch),
        })
    }

    /// The terms of the loss. The network sees each noisy latent twice: with its EHR, and with an
    /// EHR that is part noise, from which the contrastive term must be able to tell it.
    fn terms(&self, net: &Ldm, losses: &losses::Ldm, inputs: Inputs) -> LdmTerms {
        let Inputs { reference, target, t, ehr, findings, seed } = inputs;
        let (dims, device) = (target.dims(), &target.device());
        let encoded = net.ehr.forward(ehr.values, Some(&ehr.keep));
        let head = net.ehr.label_head.as_ref();
        let auxiliary = head.map(|head| auxiliary(head.forward(encoded.pooled), findings));
        let tokens = encoded.tokens;
        let shape = tokens.dims();
        let count: usize = shape.iter().product();
        let draws = gaussian(seed, count + dims.iter().product::<usize>());
        let (first, second) = draws.split_at(count);
        let perturbed = losses.perturbed(tokens.clone(), tensor(first.to_vec(), shape, device));
        let noise: Tensor<4> = tensor(second.to_vec(), dims, device);
        let noisy = self.schedule.q_sample(target.clone(), &t, noise.clone());
        let wanted = self.schedule.target(self.config.diffusion.prediction, target, &t, noise);
        let x = Tensor::cat(vec![noisy, reference], 1);
        // Both branches in one pass.
        let keep = with_cls(&ehr.keep);
        let keep = Tensor::cat(vec![keep.clone(), keep], 0);
        let context = Tensor::cat(vec![tokens, perturbed], 0);
        let times = [t.clone(), t.clone()].concat();
        let x = Tensor::cat(vec![x.clone(), x], 0);
        let said = net.unet.forward(x, &times, &context, Some(&keep));
        let near = said.clone().narrow(0, 0, dims[0]);
        let far = said.narrow(0, dims[0], dims[0]);
        let weights = self.schedule.contrastive_weight(&t);
        LdmTerms {
            denoising: denoising(wanted.clone(), near.clone()),
            contrastive: contrastive(wanted, near, far, weights, losses.margin),
            auxiliary,
        }
    }
}

impl Stage<Ldm> for LdmStage<'_> {
    fn loss(&mut self, net: &Ldm, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
        let LdmWeights { contrastive, ramp, margin, perturbation, auxiliary } = self.weights;
        let losses =
            losses::Ldm { contrastive, margin, auxiliary, ramp_epochs: ramp, perturbation };
        let inputs = self.inputs(at.batch)?;
        let terms = self.terms(net, &losses, inputs);
        let mut noted = vec![
            ("mse", scalar(terms.denoising.clone().detach())),
            ("contrastive", scalar(terms.contrastive.clone().detach())),
        ];
        if let Some(auxiliary) = &terms.auxiliary {
            noted.push(("findings", scalar(auxiliary.clone().detach())));
        }
        Ok((losses.total(&terms, at.share), noted))
    }

    fn besides(&self) -> String {
        match self.conditions {
            Conditions::ALL => String::new(),
            some => format!(" {some:?}"),
        }
    }

    fn symptoms(&self, net: &Ldm) -> Result<Vec<Symptom>, TrainError> {
        let device = self.autodiff.clone().inner();
        let Shown { vae, samples, latents, .. } = &self.shown;
        symptoms::of_generation(&self.generator(net, &device), vae, samples, latents)
    }

    fn draw(&mut self, net: &Ldm) -> Result<(), TrainError> {
        let device = self.autodiff.clone().inner();
        let Shown { vae, samples, latents, path, .. } = &self.shown;
        super::pictures::generations(&self.generator(net, &device), vae, samples, latents, path)
    }
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
            let reference = self.conditions.reference(batch::latents(&rows, vae, self.device));
            let start = batch::latents(&vec![Some(self.noise); n], vae, self.device);
            let grids: Vec<Vec<f32>> =
                series.iter().map(|one| one.values()).collect::<Result<_, TrainError>>()?;
            let ehr = self.conditions.ehr(batch::ehr(&grids, self.device));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Init;
    use crate::model::config::EHR_COLUMNS;
    use crate::model::weights::{tensors_of, with_tensors};

    /// A new network says nothing: its last layers are zeros.
    fn awake(unet: Unet) -> Unet {
        let mut tensors = tensors_of(&unet);
        for (n, tensor) in (0..).zip(tensors.values_mut()) {
            let noise = gaussian(n, tensor.values.len());
            tensor.values.iter_mut().zip(noise).for_each(|(x, noise)| *x += 0.1 * noise);
        }
        with_tensors(unet, &tensors).expect("its own tensors")
    }

    #[test]
    fn a_condition_that_is_withheld_changes_nothing() {
        let (device, mut config) = (Device::flex(), DdlCxrConfig::proof());
        config.diffusion.steps = 2;
        let mut init = Init::seeded(1, &device);
        let unet = awake(Unet::new(&config.unet, &mut init));
        let ehr = EhrEncoder::new(&config.ehr_encoder, &mut init);
        let noise = vec![0.0; config.vae.latent_len()];
        let of = |conditions, film: u64, hours: u64| {
            let (unet, ehr, noise, device) = (&unet, &ehr, &noise[..], &device);
            let generator = Generator { config: &config, unet, ehr, noise, conditions, device };
            let film = gaussian(film, config.vae.latent_len());
            let draws = gaussian(hours, 6 * EHR_COLUMNS);
            let series = Series::of(draws.into_iter().map(f64::from).collect());
            generator.generate(&[&film], &[&series]).expect("a latent")
        };
        let far = |a: Vec<Vec<f32>>, b: Vec<Vec<f32>>| a != b;
        let all = Conditions::ALL;
        assert!(far(of(all, 1, 2), of(all, 3, 2)) && far(of(all, 1, 2), of(all, 1, 4)));
        let no_film = Conditions { reference: false, ..all };
        assert!(!far(of(no_film, 1, 2), of(no_film, 3, 2)));
        assert!(far(of(no_film, 1, 2), of(no_film, 1, 4)));
        let no_ehr = Conditions { ehr: false, ..all };
        assert!(!far(of(no_ehr, 1, 2), of(no_ehr, 1, 4)));
        assert!(far(of(no_ehr, 1, 2), of(no_ehr, 3, 2)));
    }
}
