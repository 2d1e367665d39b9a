//! The patch discriminator while it learns, beside the autoencoder whose pictures it judges.
//!
//! It steps on the reconstructions that the autoencoder's own step has made; the reference makes
//! them anew after that step. Both terms are what they are there; the pictures are one step older.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use super::TrainError;
use super::learner::{Learner, Optimiser};
use super::optimise::scalar;
use super::recipe::VaeWeights;
use crate::model::losses::vae::{discriminator, generator};
use crate::model::weights::Tensors;
use crate::model::{Discriminator, Init};

/// A discriminator and its optimiser.
pub(super) struct Critic {
    learner: Learner<Discriminator>,
    gradients: GradientsAccumulator<Discriminator>,
    gathered: u64,
    /// Batches that make a step.
    pieces: u64,
}

impl Critic {
    /// `autodiff` is the device that the autoencoder learns on, `channels` those of its pictures.
    /// The optimiser is the autoencoder's, without the average.
    pub(super) fn new(
        channels: usize,
        weights: &VaeWeights,
        optimiser: Optimiser,
        pieces: u64,
        seed: u64,
        autodiff: &Device,
    ) -> Self {
        let mut init = Init::seeded(seed, autodiff);
        let (width, layers) = (weights.discriminator_width, weights.discriminator_layers);
        let net = Discriminator::new(channels, width, layers, &mut init);
        Critic {
            learner: Learner::new(net, Optimiser { average: 0.0, ..optimiser }),
            gradients: GradientsAccumulator::new(),
            gathered: 0,
            pieces: pieces.max(1),
        }
    }

    /// The autoencoder's term, `[1]`: low where the pictures pass for films. Only the pictures have
    /// a gradient.
    pub(super) fn term(&self, reconstructions: Tensor<4>) -> Tensor<1> {
        let judge = self.learner.net.clone().no_grad();
        generator(judge.forward(reconstructions))
    }

    /// Learns from a batch, and steps after the last of a step's; itself and its loss.
    pub(super) fn learn(
        mut self,
        images: Tensor<4>,
        reconstructions: Tensor<4>,
        share: f64,
    ) -> (Self, f64) {
        let net = &self.learner.net;
        let (real, made) = (net.forward(images), net.forward(reconstructions.detach()));
        let loss = discriminator(real, made);
        let value = scalar(loss.clone().detach());
        let loss = loss.div_scalar(self.pieces as f64);
        let found = GradientsParams::from_grads(loss.backward(), net);
        self.gradients.accumulate(net, found);
        self.gathered += 1;
        if self.gathered < self.pieces {
            return (self, value);
        }
        let learner = self.learner.step(self.gradients.grads(), share);
        (Critic { learner, gathered: 0, ..self }, value)
    }

    /// Everything that a later process needs, with the steps made.
    pub(super) fn tensors(&self) -> (Tensors, u64) {
        let (tensors, [steps, _]) = self.learner.tensors();
        (tensors, steps)
    }

    /// Takes up where [`Critic::tensors`] was called.
    pub(super) fn resume(
        self,
        tensors: &Tensors,
        steps: u64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let learner = self.learner.resume(tensors, [steps, 0], device)?;
        Ok(Critic { learner, ..self })
    }
}
