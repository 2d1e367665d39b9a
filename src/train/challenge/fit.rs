//! Training and scoring of the outcome model: several networks of other seeds on the same stays,
//! whose probabilities are averaged.
//!
//! There is no early stopping: a model learns from every stay that it is given, for as many passes
//! as the recipe says.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use super::super::TrainError;
use super::super::learner::Learner;
use super::super::optimise::{scalar, values};
use super::super::stage::{Order, mixed};
use super::inputs::{Drops, Prepared, Scaling};
use super::net::{OUTPUTS, OutcomeNet, Sizes, Target, loss, outcomes};
use super::read::Stay;
use super::recipe::{EhrRecipe, EncoderKind};
use crate::event::dictionary::Dictionary;
use crate::model::Init;
use crate::model::config::SeriesEncoderConfig;

/// Stays scored at once.
const SCORED: usize = 128;

/// A trained model: what the rows are made with, and the networks.
#[derive(Clone, Debug)]
pub struct OutcomeModel {
    pub(super) scaling: Scaling,
    pub(super) encoder: SeriesEncoderConfig,
    pub(super) members: Vec<OutcomeNet>,
}

/// How far a training is: steps done and steps in all.
pub type Told<'a> = &'a mut dyn FnMut(u64, u64);

/// One training: what each member learns from.
struct Lessons<'a> {
    recipe: &'a EhrRecipe,
    scaling: &'a Scaling,
    stays: Vec<Prepared>,
    targets: Vec<Target>,
    seed: u64,
}

impl OutcomeModel {
    /// Trains on `stays`, all of which must have an outcome. `seed` decides first weights, order,
    /// dropout and what is left out.
    ///
    /// # Errors
    /// [`TrainError::TooFew`] unless both outcomes occur, [`TrainError::Diverged`].
    pub fn train(
        stays: &[&Stay],
        dict: &Dictionary,
        recipe: &EhrRecipe,
        seed: u64,
        told: Told<'_>,
    ) -> Result<Self, TrainError> {
        let died = outcomes(stays).filter(|outcome| outcome.died).count();
        if outcomes(stays).count() < stays.len() || died == 0 || died == stays.len() {
            return Err(TrainError::TooFew("stays must all have an outcome, and some of each"));
        }
        let records: Vec<_> = stays.iter().map(|stay| &stay.record).collect();
        let scaling = Scaling::fit(recipe.encoder, &records, dict);
        let encoder = scaling.encoder(recipe, dict);
        encoder.check()?;
        let sizes = Sizes::fit(outcomes(stays));
        let lessons = Lessons {
            recipe,
            scaling: &scaling,
            stays: records.iter().map(|record| scaling.prepare(record, dict)).collect(),
            targets: outcomes(stays).map(|outcome| sizes.target(outcome)).collect(),
            seed,
        };
        let all = recipe.lesson().members;
        let mut members = Vec::new();
        for member in 0..all {
            let mut one = |done: u64, steps: u64| told(member * steps + done, all * steps);
            members.push(lessons.member(&encoder, member, &mut one)?);
        }
        Ok(OutcomeModel { scaling, encoder, members })
    }

    /// The probability of death in hospital, for each stay.
    pub fn probabilities(&self, stays: &[&Stay], dict: &Dictionary) -> Vec<f64> {
        let device = Device::flex();
        let mut scores = Vec::with_capacity(stays.len());
        for batch in stays.chunks(SCORED) {
            let prepared: Vec<Prepared> =
                batch.iter().map(|stay| self.scaling.prepare(&stay.record, dict)).collect();
            let prepared: Vec<&Prepared> = prepared.iter().collect();
            let mut sums = vec![0.0; batch.len()];
            for member in &self.members {
                let rows = self.scaling.rows(&prepared, None);
                let logits = values(member.forward(rows, &device));
                for (sum, row) in sums.iter_mut().zip(logits.chunks_exact(OUTPUTS)) {
                    *sum += 1.0 / (1.0 + f64::from(-row[0]).exp());
                }
            }
            scores.extend(sums.into_iter().map(|sum| sum / self.members.len().max(1) as f64));
        }
        scores
    }
}

/// The dropout that the recipe's encoder has, used before the last layer, too.
pub(super) fn dropout_of(recipe: &EhrRecipe) -> f64 {
    match recipe.encoder {
        EncoderKind::Events => recipe.events.dropout,
        EncoderKind::Grid => recipe.grid.dropout,
    }
}

impl Lessons<'_> {
    fn member(
        &self,
        encoder: &SeriesEncoderConfig,
        member: u64,
        told: Told<'_>,
    ) -> Result<OutcomeNet, TrainError> {
        let lesson = self.recipe.lesson();
        let seed = mixed(self.seed, member);
        let device = Device::flex().autodiff();
        let mut init = Init::seeded(seed, &device);
        let net = OutcomeNet::new(encoder, dropout_of(self.recipe), &mut init);
        let mut learner = Learner::new(net, lesson.optimiser);
        let mut order = Order::new(seed, self.stays.len(), lesson.batch);
        let steps = lesson.passes * (self.stays.len() / lesson.batch).max(1) as u64;
        for step in 0..steps {
            // Dropout draws from the device's generator: it is set anew, so that it depends on the
            // step.
            device.seed(mixed(seed, step));
            let loss = self.loss(&learner.net, &mut order, step, &device, lesson.auxiliary);
            if !scalar(loss.clone().detach()).is_finite() {
                return Err(TrainError::Diverged(self.recipe.encoder.name().to_owned(), step));
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &learner.net);
            learner = learner.step(gradients, step as f64 / steps as f64);
            told(step + 1, steps);
        }
        learner.usable()
    }

    fn loss(
        &self,
        net: &OutcomeNet,
        order: &mut Order,
        step: u64,
        device: &Device,
        auxiliary: f64,
    ) -> Tensor<1> {
        let picked = order.batch(step).to_vec();
        let mut rng = order.rng(step);
        let stays: Vec<&Prepared> = picked.iter().map(|&i| &self.stays[i]).collect();
        let targets: Vec<&Target> = picked.iter().map(|&i| &self.targets[i]).collect();
        let drops = Drops {
            observations: self.recipe.events.drop_observations,
            variables: self.recipe.events.drop_variables,
        };
        let rows = self.scaling.rows(&stays, Some((drops, &mut rng)));
        loss(net.forward(rows, device), &targets, auxiliary)
    }
}

/// A network on the device of inference, with the weights of a file to come.
pub(super) fn empty(encoder: &SeriesEncoderConfig) -> OutcomeNet {
    OutcomeNet::new(encoder, 0.0, &mut Init::zeros(&Device::flex())).valid()
}
