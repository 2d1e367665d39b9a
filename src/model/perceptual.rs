//! How far two pictures lie apart to a network that has learnt to see (LPIPS, Zhang et al. 2018):
//! the features of VGG16 after the last convolution of each of its five stages, each pixel's vector
//! made one long, squared differences summed over channels and averaged over the picture.
//!
//! The weights come from a file with torchvision's names (`features.0.weight` and so on). Where it
//! also holds LPIPS's own weights of the channels (`lin0.model.1.weight` to `lin4…`), those are
//! used; without them every channel counts 1, which its authors call the baseline.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::layers::{Conv2d, Init};
use super::weights::{Tensors, WeightsError, with_tensors};

/// The places of VGG16's convolutions in torchvision's list of layers, stage by stage.
const STAGES: [&[usize]; 5] = [&[0, 2], &[5, 7], &[10, 12, 14], &[17, 19, 21], &[24, 26, 28]];

/// LPIPS's scaling of pictures in −1..=1, for each of three channels.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// Squared length below which a pixel's features count as none; its gradient is 0, not NaN.
const NOTHING: f64 = 1e-20;
/// Added to a length before it divides.
const EPSILON: f64 = 1e-10;

/// Smallest side of a picture: four halvings must leave a pixel.
pub const SIDE_LEAST: usize = 16;

/// VGG16's convolutions and, if there are any, the weights of their channels. It never learns.
#[derive(Module, Debug)]
pub struct Perceptual {
    pub convs: Vec<Conv2d>,
    /// One for each stage, 1 × 1 to one channel; or none.
    pub lins: Vec<Conv2d>,
}

impl Perceptual {
    /// The network of these tensors, of any width; its classifier is not read.
    ///
    /// # Errors
    /// [`WeightsError`] naming what is missing or of another shape.
    pub fn read(tensors: &Tensors, device: &Device) -> Result<Self, WeightsError> {
        let places = STAGES.iter().flat_map(|stage| stage.iter());
        let (mut renamed, mut convs, mut input) = (Tensors::new(), Vec::new(), 3);
        let mut init = Init::zeros(device);
        for (n, place) in places.enumerate() {
            for part in ["weight", "bias"] {
                let name = format!("features.{place}.{part}");
                let tensor = tensors.get(&name).ok_or_else(|| missing(name))?;
                renamed.insert(format!("convs.{n}.{part}"), tensor.clone());
            }
            // A convolution is as wide as its bias; with_tensors checks the rest of its shape.
            let width = renamed[&format!("convs.{n}.bias")].values.len();
            convs.push(Conv2d::new(input, width, 3, &mut init));
            input = width;
        }
        let mut lins = Vec::new();
        for (n, width) in widths(&convs).into_iter().enumerate() {
            if let Some(tensor) = tensors.get(&format!("lin{n}.model.1.weight")) {
                renamed.insert(format!("lins.{}.weight", lins.len()), tensor.clone());
                lins.push(Conv2d::before_norm(width, 1, 1, 1, &mut init));
            }
        }
        if !lins.is_empty() && lins.len() != STAGES.len() {
            return Err(missing("lin0.model.1.weight to lin4.model.1.weight, or none".to_owned()));
        }
        Ok(with_tensors(Perceptual { convs, lins }, &renamed)?.no_grad())
    }

    /// Whether LPIPS's own weights of the channels are used.
    pub fn is_weighted(&self) -> bool {
        !self.lins.is_empty()
    }

    /// The distance of each sample, `[batch]`, of pictures `[batch, 1 or 3, side, side]` in −1..=1
    /// with a side of at least [`SIDE_LEAST`].
    pub fn distance(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let batch = a.dims()[0];
        let mut sum = Tensor::zeros([batch], &b.device());
        let (a, b) = (self.features(a), self.features(b));
        for (n, (a, b)) in a.into_iter().zip(b).enumerate() {
            let apart = one_long(a).sub(one_long(b)).square();
            let apart = match self.lins.get(n) {
                Some(lin) => lin.forward(apart),
                None => apart.sum_dim(1),
            };
            sum = sum.add(apart.mean_dims(&[2, 3]).reshape([batch]));
        }
        sum
    }

    /// Features after each stage.
    fn features(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let device = images.device();
        let row = |values: [f32; 3]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &device)
        };
        let images = if images.dims()[1] == 1 { images.repeat_dim(1, 3) } else { images };
        let mut h = images.sub(row(SHIFT)).div(row(SCALE));
        let mut convs = self.convs.iter();
        let mut all = Vec::with_capacity(STAGES.len());
        for (n, stage) in STAGES.iter().enumerate() {
            if n > 0 {
                let mut pool = MaxPoolOptions::new([2, 2]);
                pool.stride = [2, 2];
                h = max_pool2d(h, pool);
            }
            for conv in convs.by_ref().take(stage.len()) {
                h = relu(conv.forward(h));
            }
            all.push(h.clone());
        }
        all
    }
}

/// The width of the last convolution of each stage.
fn widths(convs: &[Conv2d]) -> Vec<usize> {
    let mut end = 0;
    let last = STAGES.iter().filter_map(|stage| {
        end += stage.len();
        convs.get(end - 1)
    });
    last.map(|conv| conv.weight.dims()[0]).collect()
}

/// Each pixel's vector divided by its length.
fn one_long(x: Tensor<4>) -> Tensor<4> {
    let length = x.clone().square().sum_dim(1).clamp_min(NOTHING).sqrt();
    x.div(length.add_scalar(EPSILON))
}

fn missing(name: String) -> WeightsError {
    WeightsError::Names { missing: name, unused: "nothing".to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::layers::gaussian;
    use super::super::weights::NamedTensor;
    use super::*;

    /// A VGG16 of width 2 under torchvision's names.
    pub(crate) fn narrow(lin: bool) -> Tensors {
        let (mut tensors, mut input) = (Tensors::new(), 3);
        let mut put = |name: String, shape: Vec<usize>, seed: u64| {
            let values = gaussian(seed, shape.iter().product());
            tensors.insert(name, NamedTensor { shape, values });
        };
        for place in STAGES.into_iter().flatten() {
            put(format!("features.{place}.weight"), vec![2, input, 3, 3], *place as u64);
            put(format!("features.{place}.bias"), vec![2], 100 + *place as u64);
            input = 2;
        }
        for n in (0..5).filter(|_| lin) {
            put(format!("lin{n}.model.1.weight"), vec![1, 2, 1, 1], 200 + n);
        }
        put("classifier.0.weight".to_owned(), vec![3], 9);
        tensors
    }

    fn image(seed: u64, channels: usize, device: &Device) -> Tensor<4> {
        let data = TensorData::new(gaussian(seed, channels * 256), [1, channels, 16, 16]);
        Tensor::from_data(data, device)
    }

    #[test]
    fn a_picture_is_at_no_distance_from_itself_and_grey_is_three_equal_channels() {
        let device = Device::flex();
        let net = Perceptual::read(&narrow(false), &device).expect("a network");
        let (a, b) = (image(1, 1, &device), image(2, 1, &device));
        let value = |x: Tensor<1>| x.into_scalar::<f32>();
        assert_eq!(value(net.distance(a.clone(), a.clone())), 0.0);
        let grey = value(net.distance(a.clone(), b.clone()));
        let colour = value(net.distance(a.repeat_dim(1, 3), b.repeat_dim(1, 3)));
        assert!(grey > 0.0 && grey == colour, "{grey} {colour}");
    }

    #[test]
    fn its_gradient_is_finite_where_nothing_is_seen() {
        let device = Device::flex().autodiff();
        let mut dead = narrow(true);
        for (name, tensor) in &mut dead {
            if name.ends_with("bias") {
                tensor.values.fill(-1e6);
            }
        }
        let net = Perceptual::read(&dead, &device).expect("a network");
        assert!(net.is_weighted());
        let x = Tensor::from_inner(image(1, 3, &Device::flex())).require_grad();
        let gradients = net.distance(image(2, 3, &device), x.clone()).sum().backward();
        let sum = x.grad(&gradients).map_or(f32::NAN, |g| g.abs().sum().into_scalar());
        assert_eq!(sum, 0.0);
    }

    #[test]
    fn what_is_missing_is_named() {
        let device = Device::flex();
        let fault = |name: &str| {
            let mut tensors = narrow(true);
            tensors.remove(name);
            Perceptual::read(&tensors, &device).expect_err("a fault").to_string()
        };
        assert!(fault("features.14.bias").contains("missing features.14.bias"));
        assert!(fault("lin3.model.1.weight").contains("lin0"));
        let mut tensors = narrow(false);
        tensors.get_mut("features.5.weight").expect("there").shape = vec![2, 6, 3, 1];
        let fault = Perceptual::read(&tensors, &device).expect_err("a fault").to_string();
        assert!(fault.contains("convs.2.weight"), "{fault}");
    }
}
