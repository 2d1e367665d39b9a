//! Steps of an optimiser as the method takes them: global-norm clipping, a learning rate that
//! rises and falls, batches in a seeded order, and the moving average of a network's weights.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::TrainError;
use crate::model::weights::{NamedTensor, Tensors, WeightsError, tensors_of, with_tensors};

/// Largest global norm of a step's gradient.
const CLIP: f64 = 1.0;
/// Share of a stage in which the learning rate rises.
const WARM_UP: f64 = 0.04;

/// The learning rate at a share of the stage: up in a line, down as a cosine to a twentieth.
pub(super) fn learning_rate(peak: f64, share: f64) -> f64 {
    if share < WARM_UP {
        return peak * (0.05 + 0.95 * share / WARM_UP);
    }
    let along = (share - WARM_UP) / (1.0 - WARM_UP);
    peak * (0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * along).cos()))
}

/// One backward pass and step. Gradients are scaled down together when their common norm is above
/// the limit; burn clips each tensor by itself, which would turn the step.
pub(super) fn step<M: Module>(
    model: M,
    loss: &Tensor<1>,
    optimiser: &mut ModuleOptimizer,
    rate: f64,
) -> M {
    let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
    clip(&model, &mut gradients);
    optimiser.step(rate, model, gradients)
}

fn clip<M: Module>(model: &M, gradients: &mut GradientsParams) {
    let mut norm = Norm { gradients, squares: 0.0 };
    model.visit(&mut norm);
    let length = norm.squares.sqrt();
    if length > CLIP {
        model.visit(&mut Scale { gradients, by: CLIP / length });
    }
}

struct Norm<'a> {
    gradients: &'a GradientsParams,
    squares: f64,
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    by: f64,
}

impl ModuleVisitor for Norm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let id: ParamId = param.id;
        if let Some(gradient) = self.gradients.get::<D>(id) {
            self.squares += scalar(gradient.square().sum());
        }
    }
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register::<D>(param.id, gradient.mul_scalar(self.by));
        }
    }
}

/// The one number of a tensor; NaN if it has none, which the caller reports as divergence.
pub(super) fn scalar(tensor: Tensor<1>) -> f64 {
    values(tensor).first().map_or(f64::NAN, |&value| f64::from(value))
}

/// All numbers of a tensor; none if they are not f32, which no network here makes.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap_or_default()
}

pub(super) fn tensor<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Binary cross-entropy of logits, elementwise, without overflow. `positive` weighs the positives.
pub(super) fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<2>,
    positive: Option<Tensor<2>>,
) -> Tensor<2> {
    // −log(1 − σ(x)) = relu(x) + log(1 + e^−|x|), and −log σ(x) is that less x.
    let soft = log_sigmoid(logits.clone().abs()).neg();
    let miss = relu(logits.clone().neg()).add(soft.clone());
    let false_alarm = relu(logits).add(soft);
    let weighted = match positive {
        Some(weight) => miss.mul(weight),
        None => miss,
    };
    let absent = targets.clone().neg().add_scalar(1.0);
    weighted.mul(targets).add(false_alarm.mul(absent))
}

/// Indices in a seeded order, shuffled anew for each pass.
pub(super) struct Order {
    rng: ChaCha8Rng,
    indices: Vec<usize>,
    next: usize,
}

impl Order {
    pub(super) fn new(seed: u64, n: usize) -> Self {
        Order { rng: ChaCha8Rng::seed_from_u64(seed), indices: (0..n).collect(), next: n }
    }

    /// The next `size` indices; a batch never straddles two passes unless it is longer than one.
    pub(super) fn batch(&mut self, size: usize) -> Vec<usize> {
        if self.next + size > self.indices.len() {
            self.indices.shuffle(&mut self.rng);
            self.next = 0;
        }
        let end = (self.next + size).min(self.indices.len());
        let batch = self.indices[self.next..end].to_vec();
        self.next = end;
        batch
    }

    pub(super) fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }
}

/// Most that an average keeps of its past at one update. The reference has 0.9999, for fifty times
/// as many steps.
const KEEP: f32 = 0.999;

/// Exponential moving average of a network's weights: decay min([`KEEP`], (1+n)/(10+n))
/// (`reference/ddl-cxr.md` 3.5).
pub(super) struct Average {
    shadow: Tensors,
    updates: u64,
}

impl Average {
    pub(super) fn new<M: Module>(model: &M) -> Self {
        Average { shadow: tensors_of(model), updates: 0 }
    }

    pub(super) fn update<M: Module>(&mut self, model: &M) {
        self.updates += 1;
        let n = self.updates as f32;
        let keep = ((1.0 + n) / (10.0 + n)).min(KEEP);
        for (name, now) in tensors_of(model) {
            match self.shadow.get_mut(&name) {
                Some(NamedTensor { values, .. }) => {
                    for (old, new) in values.iter_mut().zip(now.values) {
                        *old = keep * *old + (1.0 - keep) * new;
                    }
                }
                None => {
                    self.shadow.insert(name, now);
                }
            }
        }
    }

    /// The network with the averaged weights.
    pub(super) fn applied<M: Module>(&self, model: M) -> Result<M, TrainError> {
        with_tensors(model, &self.shadow).map_err(|error: WeightsError| error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Init;
    use crate::model::layers::Linear;
    use burn::optim::AdamWConfig;

    #[test]
    fn cross_entropy_equals_its_definition() {
        let device = Device::flex();
        let x = [-30.0f32, -1.5, 0.0, 2.0, 40.0, 3.0];
        let y = [0.0f32, 1.0, 1.0, 0.0, 1.0, 1.0];
        let weight = tensor(vec![2.0], [1, 1], &device);
        let logits = tensor(x.to_vec(), [6, 1], &device);
        let got = values(cross_entropy(logits, tensor(y.to_vec(), [6, 1], &device), Some(weight)));
        for ((x, y), got) in x.into_iter().zip(y).zip(got) {
            let p = 1.0 / (1.0 + f64::from(-x).exp());
            let want = if y == 1.0 { -2.0 * p.ln() } else { -(1.0 - p).ln() };
            assert!((want - f64::from(got)).abs() < 1e-4, "{x} {y}: {want} {got}");
        }
    }

    #[test]
    fn clipping_scales_the_whole_gradient() {
        let device = Device::flex().autodiff();
        let model = Linear::new(3, 2, &mut Init::seeded(1, &device));
        let x = tensor(vec![100.0; 6], [2, 3], &device);
        let loss = model.forward(x).square().sum();
        let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
        let direction =
            |gradients: &GradientsParams| values(gradients.get::<2>(model.kernel.id).unwrap());
        let before = direction(&gradients);
        clip(&model, &mut gradients);
        let after = direction(&gradients);
        let mut norm = Norm { gradients: &gradients, squares: 0.0 };
        model.visit(&mut norm);
        assert!((norm.squares.sqrt() - CLIP).abs() < 1e-3);
        assert!((before[0] / before[3] - after[0] / after[3]).abs() < 1e-3);
    }

    #[test]
    fn an_average_follows_the_weights() {
        let device = Device::flex().autodiff();
        let mut model = Linear::new(3, 1, &mut Init::seeded(1, &device));
        let mut average = Average::new(&model);
        let mut optimiser = AdamWConfig::new().init();
        let first = values(model.kernel.val());
        for _ in 0..5 {
            let x = tensor(vec![1.0; 3], [1, 3], &device);
            let loss = model.forward(x).add_scalar(3.0).square().mean();
            model = step(model, &loss, &mut optimiser, 0.1);
            average.update(&model);
        }
        let averaged = values(average.applied(model.clone()).unwrap().kernel.val());
        let last = values(model.kernel.val());
        assert!(first[0] != last[0]);
        let between = (averaged[0] - first[0]) / (last[0] - first[0]);
        assert!((0.2..1.0).contains(&between), "{between}");
    }

    #[test]
    fn every_index_comes_once_a_pass() {
        let mut order = Order::new(3, 10);
        let mut seen = [order.batch(5), order.batch(5)].concat();
        seen.sort();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!(Order::new(3, 10).batch(4), Order::new(3, 10).batch(4));
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert!(learning_rate(1.0, 0.0) < 0.1);
        assert!(learning_rate(1.0, WARM_UP) > 0.99);
        assert!(learning_rate(1.0, 1.0) < 0.06);
    }
}
