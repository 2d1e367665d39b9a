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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layers::gaussian;
    use crate::train::optimise::tensor;
    use crate::train::recipe::Recipe;

    #[test]
    fn it_learns_to_tell_films_from_reconstructions_and_steps_every_second_batch() {
        let device = Device::flex().autodiff();
        let recipe = "[vae.loss]\nadversarial = 0.5\ndiscriminator_width = 4\n\
                      discriminator_layers = 1\n[vae.optimiser]\nlearning_rate = 0.02\n";
        let recipe = Recipe::parse(recipe).unwrap().vae;
        let mut critic = Critic::new(1, &recipe.loss, recipe.optimiser, 2, 1, &device);
        let grey = tensor(vec![0.5; 288], [2, 1, 12, 12], &device);
        let noise = |seed| tensor(gaussian(seed, 288), [2, 1, 12, 12], &device);
        let fooled = |critic: &Critic| scalar(critic.term(noise(99)).detach());
        let (before, mut losses) = (fooled(&critic), Vec::new());
        for n in 0..60 {
            let (next, loss) = critic.learn(grey.clone(), noise(n), 0.1);
            critic = next;
            losses.push(loss);
            assert_eq!(critic.tensors().1, n.div_ceil(2));
        }
        assert!((losses[0] - 1.0).abs() < 0.2, "it begins by not knowing: {losses:?}");
        assert!(losses[59] < 0.3 * losses[0], "{losses:?}");
        assert!(fooled(&critic) > before + 0.5, "noise does not pass for a film any more");
    }
}
