//! The parts of a prediction, each by itself, so that what they cost can be measured and compared
//! with the same networks elsewhere (`nowcxr bench generate`, `tests/peers/generate.py`).

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::device::device;
use super::open::OpenError;
use crate::config::DeviceChoice;
use crate::model::config::{DdlCxrConfig, EHR_COLUMNS, SamplerKind};
use crate::model::layers::gaussian;
use crate::model::weights::{NamedTensor, Tensors, prefixed, tensors_of, with_tensors};
use crate::model::{Artifact, FusionInput, Init, Networks, Sampler};
use crate::series::grid::PREDICTION_BINS;

/// The timestep of the one network evaluation that is measured: the middle of the schedule.
pub const TIMESTEP: usize = 501;
/// Size of random weights where training starts from zeros, so that no result is a plain zero.
const SPREAD: f32 = 0.02;

/// One part of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Films to the moments of their latents.
    Encode,
    /// The EHR encoder and one evaluation of the denoising network.
    Evaluate,
    /// All evaluations from noise to a latent, with their conditions.
    Sample,
    /// Latents to pictures.
    Decode,
    /// The mortality model on EHR, latent and image features.
    Fuse,
}

impl Stage {
    pub const ALL: [Stage; 5] =
        [Stage::Encode, Stage::Evaluate, Stage::Sample, Stage::Decode, Stage::Fuse];

    pub const fn name(self) -> &'static str {
        match self {
            Stage::Encode => "vae_encode",
            Stage::Evaluate => "evaluation",
            Stage::Sample => "sampler",
            Stage::Decode => "vae_decode",
            Stage::Fuse => "fusion",
        }
    }
}

/// Networks and a batch of inputs for them, drawn from a seed.
pub struct Stages {
    pub config: DdlCxrConfig,
    networks: Networks,
    sampler: Sampler,
    film: Tensor<4>,
    x_t: Tensor<4>,
    reference: Tensor<4>,
    series: Tensor<3>,
    hours: Tensor<3>,
    image_features: Tensor<2>,
}

impl Stages {
    /// The model in `dir` and `batch` inputs of `seed`.
    ///
    /// # Errors
    /// What [`super::Pipeline::open`] refuses.
    pub fn open(dir: &Path, on: DeviceChoice, batch: usize, seed: u64) -> Result<Self, OpenError> {
        let device = device(on)?;
        let model = Artifact::load(dir, &device)?;
        Ok(Stages::new(model.config, model.networks, batch, seed, &device))
    }

    /// The published sizes with weights drawn from `seed`, and a deterministic sampler of so many
    /// evaluations.
    ///
    /// # Errors
    /// When the device cannot be had.
    pub fn full(
        on: DeviceChoice,
        evaluations: usize,
        batch: usize,
        seed: u64,
    ) -> Result<Self, OpenError> {
        let device = device(on)?;
        let mut config = DdlCxrConfig::full();
        config.diffusion.sampler = SamplerKind::DpmSolver2m;
        (config.diffusion.steps, config.diffusion.eta) = (evaluations, 0.0);
        let networks = Networks::new(&config, &mut Init::seeded(seed, &device));
        let mut tensors = tensors_of(&networks);
        for (n, tensor) in tensors.values_mut().enumerate() {
            if tensor.values.iter().all(|value| *value == 0.0) {
                let drawn = gaussian(seed.wrapping_add(n as u64), tensor.values.len());
                tensor.values = drawn.into_iter().map(|value| SPREAD * value).collect();
            }
        }
        let networks =
            with_tensors(networks, &tensors).map_err(crate::model::ArtifactError::from)?;
        Ok(Stages::new(config, networks, batch, seed, &device))
    }

    fn new(
        config: DdlCxrConfig,
        networks: Networks,
        batch: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let drawn = |n: u64, len: usize| gaussian(seed.wrapping_mul(64).wrapping_add(n), len);
        let map = |n, [channels, side]: [usize; 2]| {
            let shape = [batch, channels, side, side];
            let values = drawn(n, shape.iter().product());
            Tensor::<4>::from_data(TensorData::new(values, shape), device)
        };
        let rows = |n, bins: usize| {
            let shape = [batch, bins, EHR_COLUMNS];
            let values = drawn(n, shape.iter().product());
            Tensor::<3>::from_data(TensorData::new(values, shape), device)
        };
        let vae = &config.vae;
        let latent = [vae.z_channels, vae.latent_side()];
        let width = config.fusion_mortality.image_width();
        let features = TensorData::new(drawn(6, batch * width), [batch, width]);
        Stages {
            film: map(1, [vae.in_channels, vae.resolution]).clamp(-1.0, 1.0),
            x_t: map(2, latent),
            reference: map(3, latent),
            series: rows(4, config.ehr_encoder.max_len),
            hours: rows(5, PREDICTION_BINS),
            image_features: Tensor::from_data(features, device),
            sampler: Sampler::new(&config.diffusion),
            networks,
            config,
        }
    }

    /// Network evaluations of one sample.
    pub fn evaluations(&self) -> usize {
        self.sampler.evaluations()
    }

    /// Runs one stage to its end and returns what it made.
    pub fn run(&self, stage: Stage) -> NamedTensor {
        match stage {
            Stage::Encode => named(self.networks.vae.encode(self.film.clone()).mean),
            Stage::Evaluate => {
                let context = self.networks.ehr.forward(self.series.clone(), None).tokens;
                named(self.evaluate(self.x_t.clone(), TIMESTEP, &context))
            }
            Stage::Sample => {
                let context = self.networks.ehr.forward(self.series.clone(), None).tokens;
                let network = |x, t| self.evaluate(x, t, &context);
                named(self.sampler.sample(self.x_t.clone(), &[], network))
            }
            Stage::Decode => named(self.networks.vae.decode(self.x_t.clone())),
            Stage::Fuse => named(self.networks.fusion_mortality.forward(FusionInput {
                ehr: self.hours.clone(),
                ehr_keep: None,
                latent: self.x_t.clone(),
                image_features: self.image_features.clone(),
                present: None,
            })),
        }
    }

    fn evaluate(&self, x: Tensor<4>, t: usize, context: &Tensor<3>) -> Tensor<4> {
        let batch = x.dims()[0];
        let x = Tensor::cat(vec![x, self.reference.clone()], 1);
        self.networks.unet.forward(x, &vec![t; batch], context, None)
    }

    /// Weights under `w.` (the reference's names behind the network's), inputs under `in.` and
    /// each stage's output under `out.`: what a peer needs to do the same and to be compared.
    pub fn exchange(&self) -> Tensors {
        let inputs = [
            ("film", named(self.film.clone())),
            ("x_T", named(self.x_t.clone())),
            ("reference", named(self.reference.clone())),
            ("series", named(self.series.clone())),
            ("hours", named(self.hours.clone())),
            ("image_features", named(self.image_features.clone())),
        ];
        let inputs = inputs.into_iter().map(|(name, tensor)| (format!("in.{name}"), tensor));
        let outputs = Stage::ALL.map(|stage| (format!("out.{}", stage.name()), self.run(stage)));
        let weights = prefixed(tensors_of(&self.networks), "w.");
        weights.into_iter().chain(inputs).chain(outputs).collect()
    }
}

fn named<const D: usize>(tensor: Tensor<D>) -> NamedTensor {
    let shape = tensor.dims().to_vec();
    // A network that gives no numbers gives none here either, which no peer equals.
    NamedTensor { shape, values: tensor.into_data().try_into_vec().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped sizes with drawn weights.
    fn small(batch: usize) -> Stages {
        let (device, config) = (Device::flex(), DdlCxrConfig::demo());
        let networks = Networks::new(&config, &mut Init::seeded(3, &device));
        Stages::new(config, networks, batch, 1, &device)
    }

    #[test]
    fn every_stage_gives_one_result_for_each_input() {
        let stages = small(2);
        for stage in Stage::ALL {
            let made = stages.run(stage);
            assert_eq!(made.shape[0], 2, "{}", stage.name());
            assert_eq!(made.values.len(), made.shape.iter().product::<usize>());
            assert!(made.values.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_peer_gets_weights_inputs_and_outputs() {
        let stages = small(1);
        let all = stages.exchange();
        assert_eq!(all["out.sampler"], stages.run(Stage::Sample));
        assert!(all.contains_key("w.unet.time_embed.0.weight") && all.contains_key("in.film"));
    }
}
