//! A network that learns: AdamW, clipping by the global norm, the moving average of the weights,
//! and all of it as tensors by name, so that a run can be stopped and go on bit for bit.
//!
//! AdamW is written here because its state must survive the process: burn keeps the moments under
//! ids that are drawn anew with every network.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::optimise::{Average, clip};
use crate::model::weights::{NamedTensor, Tensors, prefixed, tensors_of, under, with_tensors};

/// How a stage's weights move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimiser {
    /// Largest learning rate: it rises in a line and falls as a cosine to a twentieth.
    pub learning_rate: f64,
    /// Share of the stage in which it rises.
    pub warm_up: f64,
    pub beta_1: f64,
    pub beta_2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Largest global norm of a step's gradient; 0 for no limit.
    pub clip: f64,
    /// Most that the moving average of the weights keeps of its past; 0 for no average.
    pub average: f64,
}

impl Optimiser {
    /// The learning rate at a share of the stage.
    pub(super) fn rate(&self, share: f64) -> f64 {
        if share < self.warm_up {
            return self.learning_rate * (0.05 + 0.95 * share / self.warm_up);
        }
        let along = (share - self.warm_up) / (1.0 - self.warm_up).max(1e-9);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * along).cos());
        self.learning_rate * (0.05 + 0.95 * cosine)
    }
}

/// A network in training.
pub(super) struct Learner<M> {
    pub(super) net: M,
    settings: Optimiser,
    adam: Adam,
    average: Option<Average>,
}

/// First and second moments of every parameter that ever had a gradient, by its place in the
/// network.
#[derive(Default)]
struct Adam {
    moments: BTreeMap<usize, [Tensor<1>; 2]>,
    steps: u64,
}

impl<M: Module> Learner<M> {
    pub(super) fn new(net: M, settings: Optimiser) -> Self {
        let average = (settings.average > 0.0).then(|| Average::new(&net, settings.average));
        Learner { net, settings, adam: Adam::default(), average }
    }

    /// One step against these gradients.
    pub(super) fn step(mut self, mut gradients: GradientsParams, share: f64) -> Self {
        if self.settings.clip > 0.0 {
            clip(&self.net, &mut gradients, self.settings.clip);
        }
        self.adam.steps += 1;
        let t = i32::try_from(self.adam.steps).unwrap_or(i32::MAX);
        let Optimiser { beta_1, beta_2, .. } = self.settings;
        let mut update = Update {
            settings: self.settings,
            rate: self.settings.rate(share),
            // Both moments start at nothing, which these make up for.
            corrections: [1.0 - beta_1.powi(t), 1.0 - beta_2.powi(t)],
            moments: &mut self.adam.moments,
            gradients,
            place: 0,
        };
        self.net = self.net.map(&mut update);
        if let Some(average) = &mut self.average {
            average.update(&self.net);
        }
        self
    }

    /// The network as it would be used: with averaged weights where there is an average.
    pub(super) fn usable(&self) -> Result<M, TrainError> {
        match &self.average {
            Some(average) => average.applied(self.net.clone().valid()),
            None => Ok(self.net.clone().valid()),
        }
    }

    /// Everything that a later process needs, with the steps made and the average's updates.
    pub(super) fn tensors(&self) -> (Tensors, [u64; 2]) {
        let mut all = prefixed(tensors_of(&self.net), "net.");
        for (place, moments) in &self.adam.moments {
            for (name, moment) in ["first", "second"].into_iter().zip(moments) {
                let values: Vec<f32> = super::optimise::values(moment.clone());
                let shape = vec![values.len()];
                all.insert(format!("adam.{place:06}.{name}"), NamedTensor { shape, values });
            }
        }
        let mut updates = 0;
        if let Some(average) = &self.average {
            all.extend(prefixed(average.tensors().clone(), "average."));
            updates = average.updates();
        }
        (all, [self.adam.steps, updates])
    }

    /// Takes up where [`Learner::tensors`] was called.
    pub(super) fn resume(
        self,
        all: &Tensors,
        [steps, updates]: [u64; 2],
        device: &Device,
    ) -> Result<Self, TrainError> {
        let Learner { net, settings, .. } = self;
        let net = with_tensors(net, &under(all, "net."))?;
        let mut moments: BTreeMap<usize, [Tensor<1>; 2]> = BTreeMap::new();
        for (name, first) in &under(all, "adam.") {
            let Some(place) = name.strip_suffix(".first") else { continue };
            let second = all.get(&format!("adam.{place}.second"));
            let place = place.parse::<usize>().ok();
            let (Some(place), Some(second)) = (place, second) else {
                return Err(TrainError::Data(format!("the checkpoint's {name} stands alone")));
            };
            let tensor = |named: &NamedTensor| {
                let data = TensorData::new(named.values.clone(), [named.values.len()]);
                Tensor::<1>::from_data(data, device)
            };
            moments.insert(place, [tensor(first), tensor(second)]);
        }
        let average = (settings.average > 0.0)
            .then(|| Average::resumed(under(all, "average."), updates, settings.average));
        Ok(Learner { net, settings, adam: Adam { moments, steps }, average })
    }
}

struct Update<'a> {
    settings: Optimiser,
    rate: f64,
    corrections: [f64; 2],
    moments: &'a mut BTreeMap<usize, [Tensor<1>; 2]>,
    gradients: GradientsParams,
    place: usize,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let place = self.place;
        self.place += 1;
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let Optimiser { beta_1, beta_2, epsilon, weight_decay, .. } = self.settings;
        let n = gradient.shape().num_elements();
        let g: Tensor<1> = gradient.reshape([n]);
        let fresh = (g.clone().mul_scalar(1.0 - beta_1), g.square().mul_scalar(1.0 - beta_2));
        let [first, second] = match self.moments.remove(&place) {
            Some([first, second]) => {
                [first.mul_scalar(beta_1).add(fresh.0), second.mul_scalar(beta_2).add(fresh.1)]
            }
            None => [fresh.0, fresh.1],
        };
        let [near, far] = self.corrections;
        let spread = second.clone().div_scalar(far).sqrt().add_scalar(epsilon);
        let change = first.clone().div_scalar(near).div(spread).mul_scalar(self.rate);
        self.moments.insert(place, [first, second]);
        let keep = 1.0 - self.rate * weight_decay;
        let active = param.is_require_grad();
        param.map(|tensor| {
            let inner = tensor.inner();
            let shape = inner.dims();
            let moved = inner.mul_scalar(keep).sub(change.reshape(shape));
            Tensor::from_inner(moved).set_require_grad(active)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Init;
    use crate::model::layers::Linear;
    use burn::optim::AdamWConfig;

    const SETTINGS: Optimiser = Optimiser {
        learning_rate: 0.05,
        warm_up: 0.04,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        clip: 0.0,
        average: 0.9,
    };

    fn gradients(net: &Linear, n: u64) -> GradientsParams {
        let values: Vec<f32> = (0..6).map(|i| ((i + n) as f32).sin()).collect();
        let x = super::super::optimise::tensor(values, [2, 3], &Device::flex());
        let loss = net.forward(Tensor::from_inner(x)).add_scalar(3.0).square().mean();
        GradientsParams::from_grads(loss.backward(), net)
    }

    fn fresh() -> Linear {
        Linear::new(3, 2, &mut Init::seeded(1, &Device::flex().autodiff()))
    }

    #[test]
    fn it_moves_as_burns_own_adamw() {
        let mut learner = Learner::new(fresh(), Optimiser { average: 0.0, ..SETTINGS });
        let mut theirs = fresh();
        let mut optimiser = AdamWConfig::new()
            .with_beta_1(0.9)
            .with_beta_2(0.99)
            .with_epsilon(1e-8)
            .with_weight_decay(0.1)
            .init();
        for n in 0..12 {
            let share = n as f64 / 12.0;
            let gradient = gradients(&learner.net, n);
            learner = learner.step(gradient, share);
            let gradient = gradients(&theirs, n);
            theirs = optimiser.step(SETTINGS.rate(share), theirs, gradient);
        }
        let (ours, theirs) = (tensors_of(&learner.net), tensors_of(&theirs));
        for (name, tensor) in ours {
            for (a, b) in tensor.values.iter().zip(&theirs[&name].values) {
                assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn it_goes_on_bit_for_bit() {
        let mut whole = Learner::new(fresh(), SETTINGS);
        let mut saved = None;
        for n in 0..8 {
            if n == 3 {
                saved = Some(whole.tensors());
            }
            let gradient = gradients(&whole.net, n);
            whole = whole.step(gradient, 0.5);
        }
        let (all, counts) = saved.unwrap();
        let other = Linear::new(3, 2, &mut Init::seeded(7, &Device::flex().autodiff()));
        let mut again =
            Learner::new(other, SETTINGS).resume(&all, counts, &Device::flex()).unwrap();
        for n in 3..8 {
            let gradient = gradients(&again.net, n);
            again = again.step(gradient, 0.5);
        }
        assert_eq!(again.tensors(), whole.tensors());
        let usable = tensors_of(&again.usable().unwrap());
        assert_ne!(usable, tensors_of(&again.net), "the average lags behind");
    }

    #[test]
    fn the_rate_rises_and_falls() {
        let rate = |share| SETTINGS.rate(share) / SETTINGS.learning_rate;
        assert!(rate(0.0) < 0.1 && rate(SETTINGS.warm_up) > 0.99 && rate(1.0) < 0.06);
        assert!((0..100).all(|i| rate(i as f64 / 100.0).is_finite()));
    }
}
