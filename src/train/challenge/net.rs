//! The outcome model: an encoder of the series and one layer behind it, and what it learns by.

use burn::module::Module;
use burn::nn::Dropout;
use burn::tensor::{Device, Tensor};

use super::inputs::Rows;
use super::read::{Outcome, Stay};
use crate::model::config::SeriesEncoderConfig;
use crate::model::layers::{Linear, dropout};
use crate::model::losses::binary_cross_entropy;
use crate::model::{Init, SeriesEncoder};
use crate::train::optimise::tensor;

/// Yes-or-no outcomes beside death in hospital: dead within 30 days, within 180, ever.
const DEATHS: usize = 3;
/// Sizes beside them: SAPS-I, SOFA, the log of the length of stay.
const SIZES: usize = 3;
/// Outputs of the network; the first is death in hospital.
pub(super) const OUTPUTS: usize = 1 + DEATHS + SIZES;

/// The network.
#[derive(Module, Debug)]
pub struct OutcomeNet {
    pub encoder: SeriesEncoder,
    pub head: Linear,
    dropout: Dropout,
}

/// What a stay teaches: a target for each output, and 1 where it is known.
pub(super) type Target = [[f32; OUTPUTS]; 2];

impl OutcomeNet {
    /// A network of these sizes; `config` must have passed its check.
    pub(super) fn new(config: &SeriesEncoderConfig, rate: f64, init: &mut Init) -> Self {
        OutcomeNet {
            encoder: SeriesEncoder::new(config, init),
            head: Linear::new(config.d_model(), OUTPUTS, init),
            dropout: dropout(rate),
        }
    }

    /// `[batch, OUTPUTS]`: logits, then the sizes as standard scores.
    pub(super) fn forward(&self, rows: Rows, device: &Device) -> Tensor<2> {
        let Rows { values, keep, shape } = rows;
        let [batch, n, _] = shape;
        let keep: Tensor<2> = tensor(keep, [batch, n], device);
        let pooled = self.encoder.forward(tensor(values, shape, device), Some(&keep)).pooled;
        self.head.forward(self.dropout.forward(pooled))
    }
}

/// How far the sizes of the training stays reach: mean and deviation of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes([(f64, f64); SIZES]);

fn sizes(outcome: &Outcome) -> [Option<f64>; SIZES] {
    let length = outcome.length_of_stay_d.map(f32::ln_1p);
    [outcome.saps, outcome.sofa, length].map(|size| size.map(f64::from))
}

impl Sizes {
    pub(super) fn fit<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Self {
        Sizes(std::array::from_fn(|i| {
            let known = || outcomes.clone().filter_map(|outcome| sizes(outcome)[i]);
            let n = known().count().max(1) as f64;
            let mean = known().sum::<f64>() / n;
            let deviation = (known().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            (mean, if deviation > 0.0 { deviation } else { 1.0 })
        }))
    }

    pub(super) fn target(&self, outcome: &Outcome) -> Target {
        let by = |days: f32| f32::from(outcome.survival_d.is_some_and(|survival| survival <= days));
        let mut values = [0.0; OUTPUTS];
        let mut known = [1.0; OUTPUTS];
        let deaths = [f32::from(outcome.died), by(30.0), by(180.0), by(f32::INFINITY)];
        values[..=DEATHS].copy_from_slice(&deaths);
        for (i, (size, (mean, deviation))) in sizes(outcome).into_iter().zip(self.0).enumerate() {
            match size {
                Some(size) => values[1 + DEATHS + i] = ((size - mean) / deviation) as f32,
                None => known[1 + DEATHS + i] = 0.0,
            }
        }
        [values, known]
    }
}

/// The loss of a batch: cross-entropy of death in hospital, and with `auxiliary` as its weight the
/// means of the other cross-entropies and of the sizes' Huber losses.
pub(super) fn loss(out: Tensor<2>, targets: &[&Target], auxiliary: f64) -> Tensor<1> {
    let device = out.device();
    let column = |half: fn(&Target) -> &[f32; OUTPUTS]| -> Tensor<2> {
        let values = targets.iter().flat_map(|target| *half(target)).collect();
        tensor(values, [targets.len(), OUTPUTS], &device)
    };
    let (wanted, known) = (column(|target| &target[0]), column(|target| &target[1]));
    let part = |tensor: &Tensor<2>, from: usize, n: usize| tensor.clone().narrow(1, from, n);
    let logits = part(&out, 0, 1 + DEATHS);
    let entropy = binary_cross_entropy(logits, part(&wanted, 0, 1 + DEATHS), None);
    let off = part(&out, 1 + DEATHS, SIZES).sub(part(&wanted, 1 + DEATHS, SIZES)).abs();
    let near = off.clone().clamp_max(1.0);
    let huber = near.clone().square().mul_scalar(0.5).add(off.sub(near));
    let huber = huber.mul(part(&known, 1 + DEATHS, SIZES)).mul_scalar(0.5);
    let others = part(&entropy, 1, DEATHS).mean().add(huber.mean());
    part(&entropy, 0, 1).mean().add(others.mul_scalar(auxiliary))
}

/// The outcomes of stays that all have one.
pub(super) fn outcomes<'a>(stays: &'a [&'a Stay]) -> impl Iterator<Item = &'a Outcome> + Clone {
    stays.iter().filter_map(|stay| stay.outcome.as_ref())
}
