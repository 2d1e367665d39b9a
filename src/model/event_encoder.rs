//! An encoder of the irregular series itself, beside the hourly one of the reference.
//!
//! It reads a sketch ([`crate::series::sketch`]): a row for each variable that says where its
//! observations lie in (value, age). For each variable it learns its own statistics, averages
//! under weights that are free over value and age (so a head can become a mean, a latest value, a
//! share above a threshold, an early against a late one), and makes one token of them. A variable
//! that was not observed is absent; nothing is imputed. The tokens stand where the hourly
//! encoder's hours do, with the same mask, so it serves the denoising network and the fusion.
//!
//! Its cost does not grow with the length of the series, and the order of simultaneous
//! observations cannot show, since a sketch does not hold it.

use burn::module::{Module, Param};
use burn::nn::Dropout;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::config::EventEncoderConfig;
use super::ehr_encoder::Encoded;
use super::layers::{Init, LayerNorm, Linear, dropout};

/// Largest magnitude of a log weight.
const LOG_WEIGHT_MAX: f64 = 6.0;
/// Least total weight that a mean is divided by.
const WEIGHT_MIN: f64 = 1e-4;
/// Spread of the first slopes of weights and values.
const SLOPE: f32 = 0.5;

/// The encoder.
#[derive(Module, Debug)]
pub struct EventEncoder {
    /// Log weights over values, `[variables, knots, statistics]`.
    pub weight_by_value: Param<Tensor<3>>,
    /// Log weights over ages, `[variables, ages, statistics]`; they add up with those of values.
    pub weight_by_age: Param<Tensor<3>>,
    /// What is averaged, over values.
    pub level_by_value: Param<Tensor<3>>,
    /// What is averaged, over ages.
    pub level_by_age: Param<Tensor<3>>,
    /// From statistics, plain ones and presence to a token, for each variable its own:
    /// `[variables, inputs, d]`.
    pub tokens: Param<Tensor<3>>,
    /// The token of an absent variable, before its normalisation: `[1, variables, d]`.
    pub base: Param<Tensor<3>>,
    pub norm: LayerNorm,
    /// Narrows each token before all are read side by side.
    pub squeeze: Linear,
    pub pool: Linear,
    /// Findings from the pooled vector, logits (the LDM's auxiliary loss).
    pub label_head: Option<Linear>,
    dropout: Dropout,
    cells: usize,
    statistics: usize,
}

impl EventEncoder {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &EventEncoderConfig, init: &mut Init) -> Self {
        let EventEncoderConfig { variables, knots, ages, statistics, d_model, .. } = *config;
        let inputs = statistics + config.plain + 1;
        let mut slopes = |over: usize, size: f32| {
            let slope = init.normal([variables, 1, statistics]);
            let axis = (0..over).map(|i| 2.0 * i as f32 / (over.max(2) - 1) as f32 - 1.0);
            let axis = Tensor::<1>::from_data(&axis.collect::<Vec<f32>>()[..], init.device());
            let table = slope.val().mul(axis.reshape([1, over, 1]).mul_scalar(size));
            Param::from_tensor(table.detach())
        };
        let (weight_by_value, weight_by_age) =
            (slopes(knots, 2.5 * SLOPE), slopes(ages, 2.0 * SLOPE));
        let (level_by_value, level_by_age) =
            (slopes(knots, 5.0 * SLOPE), slopes(ages, 0.5 * SLOPE));
        let bound = (3.0 / inputs as f64).sqrt();
        EventEncoder {
            weight_by_value,
            weight_by_age,
            level_by_value,
            level_by_age,
            tokens: init.uniform(bound, [variables, inputs, d_model]),
            base: init.uniform(0.35, [1, variables, d_model]),
            norm: LayerNorm::new(d_model, init),
            squeeze: Linear::new(d_model, config.squeeze, init),
            pool: Linear::new(variables * config.squeeze, d_model, init),
            label_head: config.labels.map(|labels| Linear::new(d_model, labels, init)),
            dropout: dropout(config.dropout),
            cells: knots * ages,
            statistics,
        }
    }

    /// `x` is `[batch, variables, features]`, sketches; `keep` is `[batch, variables]`, 1 for
    /// variables that count and 0 for those that were not observed or are to be left out. What
    /// stands in the row of such a variable has no influence. Tokens are the pooled vector, then
    /// one of each variable.
    pub fn forward(&self, x: Tensor<3>, keep: Option<&Tensor<2>>) -> Encoded {
        let [batch, variables, _] = x.dims();
        let keep = match keep {
            Some(keep) => keep.clone(),
            None => Tensor::ones([batch, variables], &x.device()),
        };
        let present: Tensor<3> = keep.reshape([batch, variables, 1]);
        let x = x.mul(present.clone());
        let statistics = self.statistics_of(x.clone().narrow(2, 0, self.cells));
        let plain = x.dims()[2] - self.cells;
        let plain = x.narrow(2, self.cells, plain);
        let inputs = Tensor::cat(vec![statistics, plain, present], 2);
        // For each variable its own matrix: variables are the batch of the product.
        let tokens = inputs.swap_dims(0, 1).matmul(self.tokens.val()).swap_dims(0, 1);
        let tokens = gelu(self.norm.forward(tokens.add(self.base.val())));
        let narrow = gelu(self.squeeze.forward(self.dropout.forward(tokens.clone())));
        let width = narrow.dims()[2];
        let flat = self.dropout.forward(narrow.reshape([batch, variables * width]));
        let pooled = gelu(self.pool.forward(flat));
        let tokens = Tensor::cat(vec![pooled.clone().unsqueeze_dim(1), tokens], 1);
        Encoded { pooled, tokens }
    }

    /// Weighted means over cells `[batch, variables, cells]`: `[batch, variables, statistics]`.
    fn statistics_of(&self, cells: Tensor<3>) -> Tensor<3> {
        let weight = grid(&self.weight_by_value, &self.weight_by_age);
        let weight = weight.clamp(-LOG_WEIGHT_MAX, LOG_WEIGHT_MAX).exp();
        let level = grid(&self.level_by_value, &self.level_by_age);
        let kernels = Tensor::cat(vec![weight.clone().mul(level), weight], 2);
        let sums = cells.swap_dims(0, 1).matmul(kernels).swap_dims(0, 1);
        let total = sums.clone().narrow(2, self.statistics, self.statistics);
        sums.narrow(2, 0, self.statistics).div(total.clamp_min(WEIGHT_MIN))
    }
}

/// Sums of a table over values and one over ages, cell by cell: `[variables, cells, statistics]`.
fn grid(by_value: &Param<Tensor<3>>, by_age: &Param<Tensor<3>>) -> Tensor<3> {
    let [variables, knots, statistics] = by_value.dims();
    let ages = by_age.dims()[1];
    let by_value = by_value.val().reshape([variables, 1, knots, statistics]);
    let by_age = by_age.val().reshape([variables, ages, 1, statistics]);
    by_age.add(by_value).reshape([variables, ages * knots, statistics])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::layers::gaussian;
    use super::*;

    fn config() -> EventEncoderConfig {
        EventEncoderConfig {
            variables: 5,
            knots: 4,
            ages: 3,
            plain: 2,
            statistics: 6,
            d_model: 8,
            squeeze: 4,
            dropout: 0.3,
            labels: Some(14),
        }
    }

    fn encoder() -> EventEncoder {
        EventEncoder::new(&config(), &mut Init::seeded(3, &Device::flex()))
    }

    /// Sketches have no negative cell.
    fn sketches(seed: u64, batch: usize) -> Tensor<3> {
        let shape = [batch, 5, 4 * 3 + 2];
        let data = TensorData::new(gaussian(seed, shape.iter().product()), shape);
        Tensor::<3>::from_data(data, &Device::flex()).abs()
    }

    fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("f32")
    }

    fn near(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn tokens_stand_behind_the_pooled_vector() {
        let encoded = encoder().forward(sketches(1, 2), None);
        assert_eq!((encoded.pooled.dims(), encoded.tokens.dims()), ([2, 8], [2, 6, 8]));
        let first = encoded.tokens.narrow(1, 0, 1).reshape([2, 8]);
        assert!(near(&numbers(first), &numbers(encoded.pooled)));
    }

    #[test]
    fn an_absent_variable_has_no_influence_and_a_present_one_has() {
        let encoder = encoder();
        let keep = Tensor::from_data([[1.0, 1.0, 0.0, 1.0, 0.0]], &Device::flex());
        let x = sketches(1, 1);
        let change = |at: usize| {
            let row = x.clone().narrow(1, at, 1).mul_scalar(3.0).add_scalar(1.0);
            x.clone().slice_assign([0..1, at..at + 1, 0..14], row)
        };
        let pooled = |x: Tensor<3>| numbers(encoder.forward(x, Some(&keep)).pooled);
        let base = pooled(x.clone());
        assert!(near(&base, &pooled(change(2))));
        assert!(!near(&base, &pooled(change(0))));
        assert!(!near(&base, &numbers(encoder.forward(x.clone(), None).pooled)));
    }

    #[test]
    fn a_sample_does_not_depend_on_its_batch() {
        let encoder = encoder();
        let x = sketches(4, 3);
        let together = numbers(encoder.forward(x.clone(), None).pooled);
        for (i, row) in together.chunks(8).enumerate() {
            let alone = encoder.forward(x.clone().narrow(0, i, 1), None).pooled;
            assert!(near(row, &numbers(alone)), "sample {i}");
        }
    }

    /// A mean does not change when everything is seen twice; only the plain statistics count.
    #[test]
    fn learned_statistics_are_means() {
        let encoder = encoder();
        let cells = sketches(2, 2).narrow(2, 0, 12).add_scalar(0.1);
        let once = numbers(encoder.statistics_of(cells.clone()));
        let twice = numbers(encoder.statistics_of(cells.mul_scalar(2.0)));
        assert!(near(&once, &twice));
    }
}
