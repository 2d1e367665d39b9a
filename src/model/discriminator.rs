//! The patch discriminator of the autoencoder's loss (`reference/ddl-cxr.md` 2.2; PatchGAN, Isola
//! et al. 2017): it looks at overlapping patches of a picture and says of each whether it belongs
//! to a film or to a reconstruction. It is of use in training only and is part of no model.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;

use super::layers::{BatchNorm, Conv2d, Init};

/// Slope of the rectifier below 0.
const SLOPE: f64 = 0.2;
/// The width stops doubling at this multiple of the first.
const WIDEST: usize = 8;

/// A strided convolution and its normalisation.
#[derive(Module, Debug)]
pub struct PatchBlock {
    pub conv: Conv2d,
    pub norm: BatchNorm,
}

/// The network.
#[derive(Module, Debug)]
pub struct Discriminator {
    pub first: Conv2d,
    pub blocks: Vec<PatchBlock>,
    pub last: Conv2d,
}

impl Discriminator {
    /// Channels of the pictures, width of the first convolution (published: 64) and how many
    /// convolutions halve the side (published: 3). Weights are drawn as pix2pix draws them.
    pub fn new(channels: usize, width: usize, layers: usize, init: &mut Init) -> Self {
        let first = Conv2d::patch(channels, width, 2, true, init);
        let wide = |n: usize| width * (1 << n.min(WIDEST.ilog2() as usize));
        let blocks = (1..=layers)
            .map(|n| {
                let stride = if n < layers { 2 } else { 1 };
                let conv = Conv2d::patch(wide(n - 1), wide(n), stride, false, init);
                let mut norm = BatchNorm::new(wide(n), init);
                norm.weight = init.normal_around(1.0, 0.02, [wide(n)]);
                PatchBlock { conv, norm }
            })
            .collect();
        Discriminator { first, blocks, last: Conv2d::patch(wide(layers), 1, 1, true, init) }
    }

    /// Pictures `[batch, channels, side, side]` to a logit for each patch,
    /// `[batch, 1, side / 2^layers − 2, the same]`; above 0 it takes the patch for a film's.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut h = leaky_relu(self.first.forward(images), SLOPE);
        for block in &self.blocks {
            h = leaky_relu(block.norm.forward_image(block.conv.forward(h)), SLOPE);
        }
        self.last.forward(h)
    }

    /// The smallest side of a picture that has a patch.
    pub fn side_least(layers: usize) -> usize {
        3 << layers.min(16)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::layers::gaussian;
    use super::super::weights::parameter_count;
    use super::*;

    fn net(channels: usize, width: usize, layers: usize) -> Discriminator {
        Discriminator::new(channels, width, layers, &mut Init::seeded(1, &Device::flex()))
    }

    #[test]
    fn the_published_size_sees_patches_of_a_film() {
        // Weights and bias of the first, weights and normalisation of three, the last.
        let blocks = [(64, 128), (128, 256), (256, 512)].map(|(a, b)| a * b * 16 + 2 * b);
        let ends = (3 * 64 * 16 + 64) + (512 * 16 + 1);
        assert_eq!(blocks.iter().sum::<usize>() + ends, 2_765_633);
        assert_eq!(parameter_count(&net(3, 64, 3)), 2_765_633);
        for (side, layers) in [(56, 3), (24, 3), (12, 2), (6, 1)] {
            let data = TensorData::new(gaussian(2, side * side), [1, 1, side, side]);
            let out = net(1, 2, layers).forward(Tensor::from_data(data, &Device::flex()));
            let wanted = (side >> layers) - 2;
            assert_eq!(out.dims(), [1, 1, wanted, wanted]);
            assert!(side >= Discriminator::side_least(layers));
        }
    }
}
