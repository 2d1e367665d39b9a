//! The layers that the networks are made of, with the parameter names and layouts of the
//! reference's own state dictionaries. One layout differs inside: the reference's linear weight is
//! `[out, in]`, ours is its transpose, called a kernel, because the CPU backend multiplies by a
//! transposed view up to 40 times slower. `weights` turns it at the file's edge.

use burn::module::{Module, Param, RunningState};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::module::{conv2d, interpolate, layer_norm, linear};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Epsilon of LayerNorm, BatchNorm and the UNet's GroupNorms.
pub const EPSILON: f64 = 1e-5;
/// Share of the batch in a step of the running statistics.
const MOMENTUM: f64 = 0.1;

/// Where first weights come from. Draws are made on the host in the order of construction, so a
/// seed gives the same weights on every device and beside any other thread.
pub struct Init {
    rng: Option<ChaCha8Rng>,
    device: Device,
}

impl Init {
    /// Random weights, the way PyTorch's layers draw theirs.
    pub fn seeded(seed: u64, device: &Device) -> Self {
        Init { rng: Some(ChaCha8Rng::seed_from_u64(seed)), device: device.clone() }
    }

    /// Zeros, for a network whose weights will be read from a file.
    pub fn zeros(device: &Device) -> Self {
        Init { rng: None, device: device.clone() }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    fn param<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// Every entry the same.
    pub fn constant<const D: usize>(&self, value: f32, shape: [usize; D]) -> Param<Tensor<D>> {
        self.param(vec![value; shape.iter().product()], shape)
    }

    /// Uniform in ±`bound`.
    pub fn uniform<const D: usize>(&mut self, bound: f64, shape: [usize; D]) -> Param<Tensor<D>> {
        let bound = bound as f32;
        let count = shape.iter().product();
        let values = match &mut self.rng {
            Some(rng) => (0..count).map(|_| rng.random_range(-bound..=bound)).collect(),
            None => vec![0.0; count],
        };
        self.param(values, shape)
    }

    /// Standard normal.
    pub fn normal<const D: usize>(&mut self, shape: [usize; D]) -> Param<Tensor<D>> {
        self.normal_around(0.0, 1.0, shape)
    }

    /// Normal with this mean and deviation.
    pub fn normal_around<const D: usize>(
        &mut self,
        mean: f32,
        deviation: f32,
        shape: [usize; D],
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let values = match &mut self.rng {
            Some(rng) => {
                let draw = |_| -> f32 { StandardNormal.sample(rng) };
                (0..count).map(draw).map(|x| mean + deviation * x).collect()
            }
            None => vec![0.0; count],
        };
        self.param(values, shape)
    }
}

/// `count` standard normal numbers of `seed`: the only source of noise here.
pub fn gaussian(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// `y = x Wᵀ + b` over the last axis.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`; the reference's `weight` transposed.
    pub kernel: Param<Tensor<2>>,
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    pub fn new(input: usize, output: usize, init: &mut Init) -> Self {
        let bound = 1.0 / (input as f64).sqrt();
        let kernel = init.uniform(bound, [input, output]);
        Linear { kernel, bias: Some(init.uniform(bound, [output])) }
    }

    pub fn without_bias(input: usize, output: usize, init: &mut Init) -> Self {
        let kernel = init.uniform(1.0 / (input as f64).sqrt(), [input, output]);
        Linear { kernel, bias: None }
    }

    /// `[..., in]` to `[..., out]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        linear(x, self.kernel.val(), bias)
    }
}

/// A square convolution.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    /// Zeros before (top, left) and after (bottom, right).
    pad_before: usize,
    pad_after: usize,
}

impl Conv2d {
    /// Kernel `kernel`, stride 1, padded so that the size stays.
    pub fn new(input: usize, output: usize, kernel: usize, init: &mut Init) -> Self {
        let bound = 1.0 / ((input * kernel * kernel) as f64).sqrt();
        let weight = init.uniform(bound, [output, input, kernel, kernel]);
        let bias = Some(init.uniform(bound, [output]));
        Conv2d { weight, bias, stride: 1, pad_before: kernel / 2, pad_after: kernel / 2 }
    }

    /// The same with weights and bias of zero, so that a residual branch starts as nothing.
    pub fn zero(input: usize, output: usize, kernel: usize, init: &mut Init) -> Self {
        let weight = init.constant(0.0, [output, input, kernel, kernel]);
        let bias = Some(init.constant(0.0, [output]));
        Conv2d { weight, bias, stride: 1, pad_before: kernel / 2, pad_after: kernel / 2 }
    }

    /// Without bias, as before a batch normalisation; drawn for a ReLU (He, fan out).
    pub fn before_norm(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        init: &mut Init,
    ) -> Self {
        let bound = (6.0 / (output * kernel * kernel) as f64).sqrt();
        let weight = init.uniform(bound, [output, input, kernel, kernel]);
        Conv2d { weight, bias: None, stride, pad_before: kernel / 2, pad_after: kernel / 2 }
    }

    /// A patch discriminator's: kernel 4, one pixel of zeros around, weights drawn from a normal
    /// distribution of deviation 0.02.
    pub fn patch(input: usize, output: usize, stride: usize, bias: bool, init: &mut Init) -> Self {
        let weight = init.normal_around(0.0, 0.02, [output, input, 4, 4]);
        let bound = 1.0 / ((input * 16) as f64).sqrt();
        let bias = bias.then(|| init.uniform(bound, [output]));
        Conv2d { weight, bias, stride, pad_before: 1, pad_after: 1 }
    }

    /// Halves the size, with zeros `pad_before` and `pad_after`.
    pub fn halving(self, pad_before: usize, pad_after: usize) -> Self {
        Conv2d { stride: 2, pad_before, pad_after, ..self }
    }

    /// `[batch, in, h, w]` to `[batch, out, h / stride, w / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let pad = (self.pad_before, self.pad_after);
        let strides = [self.stride, self.stride];
        let options = ConvOptions::new_with_padding(strides, [pad, pad], [1, 1], 1);
        conv2d(x, self.weight.val(), self.bias.as_ref().map(|bias| bias.val()), options)
    }
}

/// Normalises each sample over groups of channels.
#[derive(Module, Debug)]
pub struct GroupNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    pub fn new(channels: usize, groups: usize, epsilon: f64, init: &mut Init) -> Self {
        let weight = init.constant(1.0, [channels]);
        let bias = init.constant(0.0, [channels]);
        GroupNorm { weight, bias, groups, epsilon }
    }

    /// `[batch, channels, h, w]`, same out.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let per_group = channels / self.groups * height * width;
        let device = x.device();
        // The backend's row normalisation is one pass; its affine step, which is per column and
        // not per channel, is switched off with ones.
        let ones = Tensor::ones([per_group], &device);
        let rows = x.reshape([batch * self.groups, per_group]);
        let normal = layer_norm(rows, ones, None, self.epsilon);
        let weight = self.weight.val().reshape([1, channels, 1, 1]);
        let bias = self.bias.val().reshape([1, channels, 1, 1]);
        normal.reshape([batch, channels, height, width]).mul(weight).add(bias)
    }
}

/// Normalises each position over its features.
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    pub fn new(features: usize, init: &mut Init) -> Self {
        let weight = init.constant(1.0, [features]);
        LayerNorm { weight, bias: init.constant(0.0, [features]) }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.val(), Some(self.bias.val()), EPSILON)
    }
}

/// Normalises each feature over the batch: by the batch's own statistics under autodiff (and the
/// running ones are moved towards them), by the running statistics otherwise.
#[derive(Module, Debug)]
pub struct BatchNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub running_mean: RunningState<Tensor<1>>,
    pub running_var: RunningState<Tensor<1>>,
}

impl BatchNorm {
    pub fn new(features: usize, init: &mut Init) -> Self {
        let device = init.device().clone();
        BatchNorm {
            weight: init.constant(1.0, [features]),
            bias: init.constant(0.0, [features]),
            running_mean: RunningState::new(Tensor::zeros([features], &device)),
            running_var: RunningState::new(Tensor::ones([features], &device)),
        }
    }

    /// Rows of features `[rows, features]`. `keep` is 1 for rows that count and 0 for padding,
    /// `[rows, 1]`: a padded row is normalised too but never enters the statistics, so the result
    /// of a sample does not depend on how far its batch was padded (defect B3).
    pub fn forward_rows(&self, x: Tensor<2>, keep: Option<Tensor<2>>) -> Tensor<2> {
        if !x.device().is_autodiff() {
            return self.scale_rows(x, self.running_mean.value(), self.running_var.value());
        }
        let keep = keep.unwrap_or_else(|| Tensor::ones([x.dims()[0], 1], &x.device()));
        let count = keep.clone().sum_dim(0).clamp_min(1.0);
        let mean = x.clone().mul(keep.clone()).sum_dim(0).div(count.clone());
        let spread = x.clone().sub(mean.clone()).square().mul(keep).sum_dim(0);
        let var = spread.clone().div(count.clone());
        let unbiased = spread.div(count.sub_scalar(1.0).clamp_min(1.0));
        let features = self.weight.dims()[0];
        self.learn(mean.clone().reshape([features]), unbiased.reshape([features]));
        self.scale_rows(x, mean.reshape([features]), var.reshape([features]))
    }

    /// Images `[batch, channels, h, w]`.
    pub fn forward_image(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if !x.device().is_autodiff() {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            return burn::tensor::module::batch_norm(x, weight, bias, mean, var, EPSILON);
        }
        let out = burn::tensor::module::batch_norm_train(x, weight, bias, EPSILON);
        let count = (batch * height * width) as f64;
        let unbiased = out.variance.mul_scalar(count / (count - 1.0).max(1.0));
        debug_assert_eq!(unbiased.dims(), [channels]);
        self.learn(out.mean, unbiased);
        out.output
    }

    fn scale_rows(&self, x: Tensor<2>, mean: Tensor<1>, var: Tensor<1>) -> Tensor<2> {
        let scale = self.weight.val().div(var.add_scalar(EPSILON).sqrt());
        x.sub(mean.unsqueeze()).mul(scale.unsqueeze()).add(self.bias.val().unsqueeze())
    }

    fn learn(&self, mean: Tensor<1>, var: Tensor<1>) {
        let step = |old: Tensor<1>, new: Tensor<1>| {
            old.mul_scalar(1.0 - MOMENTUM).add(new.detach().mul_scalar(MOMENTUM)).detach()
        };
        self.running_mean.update(step(self.running_mean.value_sync(), mean));
        self.running_var.update(step(self.running_var.value_sync(), var));
    }
}

/// A dropout layer; a rate outside 0..1 counts as none, since configs are checked before.
pub fn dropout(rate: f64) -> Dropout {
    let rate = if (0.0..1.0).contains(&rate) { rate } else { 0.0 };
    DropoutConfig::new(rate).init()
}

/// `x · sigmoid(x)`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone().mul(sigmoid(x))
}

/// Nearest-neighbour enlargement by 2.
pub fn double(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let options = InterpolateOptions::new(InterpolateMode::Nearest);
    interpolate(x, options.with_output_size([2 * height, 2 * width]))
}

/// Softmax attention by hand, which is the fastest way on a CPU (`reference/burn.md` 3).
///
/// `q` is `[batch, heads, queries, width]`, `k` and `v` are `[batch, heads, keys, width]`, `keep`
/// is `[batch, keys]` with 1 for keys that may be looked at and 0 for padding; at least one key of
/// each sample must be kept.
pub fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    keep: Option<Tensor<2>>,
    dropout: Option<&Dropout>,
) -> Tensor<4> {
    let [batch, _, _, width] = q.dims();
    let keys = k.dims()[2];
    let scale = 1.0 / (width as f64).sqrt();
    let mut scores = q.mul_scalar(scale).matmul(k.swap_dims(2, 3));
    if let Some(keep) = keep {
        // 0 for a kept key; so far below every score for a padded one that its weight is 0.
        let bias = keep.sub_scalar(1.0).mul_scalar(1e9);
        scores = scores.add(bias.reshape([batch, 1, 1, keys]));
    }
    let weights = softmax(scores, 3);
    let weights = match dropout {
        Some(dropout) => dropout.forward(weights),
        None => weights,
    };
    weights.matmul(v)
}

/// `[batch, n, heads · width]` to `[batch, heads, n, width]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, n, features] = x.dims();
    x.reshape([batch, n, heads, features / heads]).swap_dims(1, 2)
}

/// The way back from [`split_heads`].
pub fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, n, width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, n, heads * width])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn group_norm_equals_its_definition() {
        let device = Device::flex();
        let norm = GroupNorm::new(4, 2, EPSILON, &mut Init::zeros(&device));
        let data = gaussian(3, 2 * 4 * 9);
        let x = Tensor::<4>::from_data(TensorData::new(data.clone(), [2, 4, 3, 3]), &device);
        let out = values(norm.forward(x));
        for (rows, got) in data.chunks(18).zip(out.chunks(18)) {
            let mean = rows.iter().sum::<f32>() / 18.0;
            let var = rows.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 18.0;
            for (x, y) in rows.iter().zip(got) {
                assert!(((x - mean) / (var + 1e-5).sqrt() - y).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn padding_does_not_move_batch_statistics() {
        let device = Device::flex().autodiff();
        let rows = gaussian(5, 6 * 3);
        let mut padded = rows.clone();
        padded.extend([100.0; 6]);
        let run = |data: Vec<f32>, n: usize, keep: Vec<f32>| {
            let norm = BatchNorm::new(3, &mut Init::zeros(&device));
            let x = Tensor::<2>::from_data(TensorData::new(data, [n, 3]), &device);
            let keep = Tensor::<2>::from_data(TensorData::new(keep, [n, 1]), &device);
            let out = values(norm.forward_rows(x, Some(keep)));
            (out[..18].to_vec(), values(norm.running_var.value_sync()))
        };
        let plain = run(rows, 6, vec![1.0; 6]);
        let masked = run(padded, 8, [vec![1.0; 6], vec![0.0; 2]].concat());
        for (a, b) in plain.0.iter().zip(&masked.0).chain(plain.1.iter().zip(&masked.1)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_masked_key_has_no_influence() {
        let device = Device::flex();
        let tensor = |seed: u64, n: usize| {
            Tensor::<4>::from_data(TensorData::new(gaussian(seed, n * 4), [1, 1, n, 4]), &device)
        };
        let (q, k, v) = (tensor(1, 2), tensor(2, 3), tensor(3, 3));
        let keep = Tensor::<2>::from_data([[1.0, 1.0, 0.0]], &device);
        let masked = values(attend(q.clone(), k.clone(), v.clone(), Some(keep), None));
        let cut = |x: Tensor<4>| x.narrow(2, 0, 2);
        let short = values(attend(q, cut(k), cut(v), None, None));
        assert!(masked.iter().zip(&short).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_seed_gives_the_same_weights() {
        let device = Device::flex();
        let draw = |seed| {
            let mut init = Init::seeded(seed, &device);
            values(Linear::new(5, 3, &mut init).kernel.val())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
