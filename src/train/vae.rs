//! Stage 1: the autoencoder (`reference/ddl-cxr.md` 2.2): absolute error, perceptual distance where
//! there are weights for it, KL distance, findings and a patch discriminator's judgement, the last
//! two with a fixed weight or with the paper's adaptive one.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};

use super::TrainError;
use super::batch;
use super::critic::Critic;
use super::optimise::{scalar, tensor, values};
use super::recipe::{StageRecipe, VaeWeights};
use super::sample::{FilmSample, Samples};
use super::score::{auroc, mean};
use super::stage::{Carried, Moment, Noted, Order, Stage, mixed};
use crate::ids::Digest;
use crate::model::config::VaeConfig;
use crate::model::layers::gaussian;
use crate::model::losses::binary_cross_entropy;
use crate::model::losses::vae::{VaeLoss, VaeTerms, adaptive_weight, gradient_norm, kl};
use crate::model::perceptual::SIDE_LEAST;
use crate::model::vae::Posterior;
use crate::model::weights::read_safetensors;
use crate::model::{DdlCxrConfig, Perceptual, Vae};

/// Films encoded at once when nothing is learnt.
const ENCODE: usize = 16;
/// Far from the seed of the autoencoder's own weights.
const CRITIC_SEED: u64 = 0x6372_6974_6963;

/// How well the autoencoder does on films that it has not seen.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct VaeScore {
    /// Mean absolute error of a pixel, of 2 (the range is −1..=1).
    pub absolute_error: f64,
    /// Macro AUROC of the findings that have both outcomes, from the latent.
    pub findings_auroc: f64,
}

/// The network that pictures are compared through, and the digest of its file.
pub(super) struct Seen {
    pub(super) digest: Digest,
    net: Perceptual,
}

impl Seen {
    /// VGG16's weights in a safetensors file under torchvision's names, for `device`'s autodiff.
    pub(super) fn read(path: &Path, device: &Device) -> Result<Self, TrainError> {
        let unusable = |why: String| {
            TrainError::Data(format!(
                "{} gives no VGG16: {why}; give torchvision's weights as safetensors, or leave \
                 them out",
                path.display()
            ))
        };
        let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let read =
            |bytes| Perceptual::read(&read_safetensors(bytes, true)?, &device.clone().autodiff());
        let net = read(&bytes).map_err(|error| unusable(error.to_string()))?;
        Ok(Seen { digest: Digest::of(&bytes), net })
    }
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
    seen: Option<Seen>,
    critic: Option<Critic>,
    /// The adaptive weights of the findings and of the discriminator, as last measured.
    adaptive: [f64; 2],
    pictures: PathBuf,
}

/// A batch through the autoencoder, but for the decoder's last convolution.
struct Pass {
    images: Tensor<4>,
    posterior: Posterior,
    z: Tensor<4>,
    features: Tensor<4>,
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
        let (weights, autodiff) = (recipe.loss, device.clone().autodiff());
        let critic = (weights.adversarial > 0.0).then(|| {
            let (pieces, seed) = (recipe.course.accumulate, seed ^ CRITIC_SEED);
            let channels = config.vae.out_ch;
            Critic::new(channels, &weights, recipe.optimiser, pieces, seed, &autodiff)
        });
        VaeStage {
            config,
            weights,
            samples,
            shown,
            order: Order::new(seed, samples.films.len(), recipe.course.batch),
            seed,
            autodiff,
            seen: None,
            critic,
            adaptive: [0.0; 2],
            pictures,
        }
    }

    /// Compares pictures through this network, too. Films too small for it are compared by pixel
    /// only.
    pub(super) fn see_with(&mut self, seen: Option<Seen>) {
        self.seen = seen.filter(|_| self.config.vae.resolution >= SIDE_LEAST);
    }

    fn loss_weights(&self) -> VaeLoss {
        let VaeWeights { perceptual, kl, findings, adversarial, adversarial_from, .. } =
            self.weights;
        VaeLoss { perceptual, kl, findings, adversarial, adversarial_from }
    }

    /// Pixels of a picture, over all channels.
    fn entries(&self) -> f64 {
        let VaeConfig { resolution, in_channels, .. } = self.config.vae;
        (resolution * resolution * in_channels) as f64
    }

    fn pass(&self, net: &Vae, films: &[&FilmSample], batch: u64) -> Result<Pass, TrainError> {
        let images = batch::films(films, &self.config.vae, &self.autodiff)?;
        let posterior = net.encode(images.clone());
        let dims = posterior.mean.dims();
        let noise = gaussian(mixed(self.seed, batch), dims.iter().product());
        let z = posterior.sample(tensor(noise, dims, &self.autodiff));
        let features = net.decoder.features(net.post_quant_conv.forward(z.clone()));
        Ok(Pass { images, posterior, z, features })
    }

    /// Equation (6) and the mean perceptual distance in it.
    fn likelihood(&self, images: &Tensor<4>, made: Tensor<4>) -> (Tensor<1>, Option<Tensor<1>>) {
        let distance =
            self.seen.as_ref().map(|seen| seen.net.distance(images.clone(), made.clone()));
        let mean = distance.clone().map(|distance| distance.mean().detach());
        (self.loss_weights().nll(images.clone(), made, distance), mean)
    }

    fn findings(&self, net: &Vae, pass: &Pass, films: &[&FilmSample]) -> Option<Tensor<1>> {
        let logits = net.findings(pass.z.clone())?;
        let labels = batch::findings(films, &self.autodiff);
        Some(binary_cross_entropy(logits, labels, None).mean())
    }

    /// The ratio of gradients at the encoder's last convolution. Each side needs a forward pass of
    /// its own, because burn keeps no graph after a backward pass; where there is dropout, the
    /// passes draw it differently.
    fn weigh_findings(&self, net: &Vae, films: &[&FilmSample], n: u64) -> Result<f64, TrainError> {
        let at = &net.encoder.conv_out.weight;
        let pass = self.pass(net, films, n)?;
        let (likelihood, _) = self.likelihood(&pass.images, net.decoder.paint(pass.features));
        let near = gradient_norm(likelihood, at);
        let pass = self.pass(net, films, n)?;
        let Some(findings) = self.findings(net, &pass, films) else { return Ok(0.0) };
        Ok(adaptive_weight(near, gradient_norm(findings, at)))
    }

    /// The ratio of gradients at the decoder's last convolution, of this very pass: up to there the
    /// two sides share their way, so its features stand for it.
    fn weigh_critic(&self, net: &Vae, pass: &Pass, critic: &Critic) -> f64 {
        let at = &net.decoder.conv_out.weight;
        let made = || net.decoder.paint(pass.features.clone().detach());
        let near = gradient_norm(self.likelihood(&pass.images, made()).0, at);
        adaptive_weight(near, gradient_norm(critic.term(made()), at))
    }

    /// What a batch says of itself: each term by pixel or by sample, and the measured weights.
    fn noted(&self, terms: &VaeTerms, distance: Option<Tensor<1>>) -> Noted {
        let told = |term: &Tensor<1>| scalar(term.clone().detach());
        let VaeConfig { resolution, .. } = self.config.vae;
        let distance = distance.map(scalar);
        let of_distance = distance.map_or(0.0, |distance| self.weights.perceptual * distance);
        let mut noted = vec![
            ("l1", told(&terms.nll) / self.entries() - of_distance),
            ("kl", told(&terms.kl) / (resolution * resolution) as f64),
        ];
        noted.extend(distance.map(|distance| ("perceptual", distance)));
        for (term, names) in [
            (&terms.findings, ["findings", "findings_weight"]),
            (&terms.adversarial, ["adversarial", "adversarial_weight"]),
        ] {
            if let Some((term, weight)) = term {
                noted.push((names[0], told(term)));
                if self.weights.adaptive_every > 0 {
                    noted.push((names[1], *weight));
                }
            }
        }
        noted
    }
}

impl Stage<Vae> for VaeStage<'_> {
    fn loss(&mut self, net: &Vae, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
        let picked = self.order.batch(at.batch).to_vec();
        let films: Vec<&FilmSample> = picked.into_iter().map(|i| &self.samples.films[i]).collect();
        let (entries, weights) = (self.entries(), self.loss_weights());
        let every = self.weights.adaptive_every;
        let measured = every > 0 && at.batch.is_multiple_of(every);
        match every {
            0 => self.adaptive = [entries; 2],
            _ if measured => self.adaptive[0] = self.weigh_findings(net, &films, at.batch)?,
            _ => {}
        }
        let pass = self.pass(net, &films, at.batch)?;
        let critic = self.critic.take();
        let judging = critic.as_ref().filter(|_| weights.is_adversarial(at.step));
        if let Some(critic) = judging.filter(|_| measured) {
            self.adaptive[1] = self.weigh_critic(net, &pass, critic);
        }
        let made = net.decoder.paint(pass.features.clone());
        let (nll, distance) = self.likelihood(&pass.images, made.clone());
        let terms = VaeTerms {
            nll,
            kl: kl(&pass.posterior),
            adversarial: judging.map(|critic| (critic.term(made.clone()), self.adaptive[1])),
            findings: self.findings(net, &pass, &films).map(|term| (term, self.adaptive[0])),
        };
        let mut noted = self.noted(&terms, distance);
        self.critic = match critic {
            Some(critic) if terms.adversarial.is_some() => {
                let (critic, loss) = critic.learn(pass.images, made, at.share);
                noted.push(("discriminator", loss));
                Some(critic)
            }
            waiting => waiting,
        };
        // The sum over all pixels would make clipping depend on the size of the films.
        Ok((weights.total(&terms).div_scalar(entries), noted))
    }

    fn draw(&mut self, net: &Vae) -> Result<(), TrainError> {
        let device = self.autodiff.clone().inner();
        super::pictures::reconstructions(net, &self.config.vae, self.shown, &device, &self.pictures)
    }

    fn besides(&self) -> String {
        self.seen.as_ref().map_or_else(String::new, |seen| format!(" {}", seen.digest))
    }

    fn carried(&self) -> Carried {
        let critic = self.critic.as_ref().map(Critic::tensors);
        let (tensors, steps) = critic.unwrap_or_default();
        let [findings, adversarial] = self.adaptive;
        Carried { numbers: vec![findings, adversarial, steps as f64], tensors }
    }

    fn carry_on(&mut self, carried: Carried) -> Result<(), TrainError> {
        let &[findings, adversarial, steps] = carried.numbers.as_slice() else {
            let fault = "the state of the autoencoder is of another version; run without --resume";
            return Err(TrainError::Data(fault.to_owned()));
        };
        self.adaptive = [findings, adversarial];
        let device = self.autodiff.clone().inner();
        self.critic = match self.critic.take() {
            Some(critic) => Some(critic.resume(&carried.tensors, steps as u64, &device)?),
            None => None,
        };
        Ok(())
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
