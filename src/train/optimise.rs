//! What steps are made of: global-norm clipping, the moving average of a network's weights, and
//! tensors to numbers and back.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::TrainError;
use crate::model::weights::{NamedTensor, Tensors, WeightsError, tensors_of, with_tensors};

/// Scales all gradients down together when their common norm is above `limit`; burn clips each
/// tensor by itself, which would turn the step.
pub(super) fn clip<M: Module>(model: &M, gradients: &mut GradientsParams, limit: f64) {
    let mut norm = Norm { gradients, squares: 0.0 };
    model.visit(&mut norm);
    let length = norm.squares.sqrt();
    if length > limit {
        model.visit(&mut Scale { gradients, by: limit / length });
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

/// Exponential moving average of a network's weights: decay min(most, (1+n)/(10+n))
/// (`reference/ddl-cxr.md` 3.5).
pub(super) struct Average {
    shadow: Tensors,
    updates: u64,
    most: f32,
}

impl Average {
    /// `most` is the most that it keeps of its past at one update.
    pub(super) fn new<M: Module>(model: &M, most: f64) -> Self {
        Average { shadow: tensors_of(model), updates: 0, most: most as f32 }
    }

    pub(super) fn resumed(shadow: Tensors, updates: u64, most: f64) -> Self {
        Average { shadow, updates, most: most as f32 }
    }

    pub(super) fn tensors(&self) -> &Tensors {
        &self.shadow
    }

    pub(super) fn updates(&self) -> u64 {
        self.updates
    }

    pub(super) fn update<M: Module>(&mut self, model: &M) {
        self.updates += 1;
        let n = self.updates as f32;
        let keep = ((1.0 + n) / (10.0 + n)).min(self.most);
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
        clip(&model, &mut gradients, 1.0);
        let after = direction(&gradients);
        let mut norm = Norm { gradients: &gradients, squares: 0.0 };
        model.visit(&mut norm);
        assert!((norm.squares.sqrt() - 1.0).abs() < 1e-3);
        assert!((before[0] / before[3] - after[0] / after[3]).abs() < 1e-3);
    }
}
