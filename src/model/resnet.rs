//! The image branch of the fusion model: a residual network in ResNet34's layout, without its
//! classifier, of any width and depth (`reference/ddl-cxr.md` 4.2).

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;

use super::config::ResNetConfig;
use super::layers::{BatchNorm, Conv2d, Init};

/// Two 3 × 3 convolutions beside a shortcut.
#[derive(Module, Debug)]
pub struct BasicBlock {
    pub conv1: Conv2d,
    pub bn1: BatchNorm,
    pub conv2: Conv2d,
    pub bn2: BatchNorm,
    /// A 1 × 1 convolution and its normalisation where the shape changes.
    pub downsample: Option<(Conv2d, BatchNorm)>,
}

/// The network.
#[derive(Module, Debug)]
pub struct ResNet {
    pub conv1: Conv2d,
    pub bn1: BatchNorm,
    pub layer1: Vec<BasicBlock>,
    pub layer2: Vec<BasicBlock>,
    pub layer3: Vec<BasicBlock>,
    pub layer4: Vec<BasicBlock>,
}

impl BasicBlock {
    pub(super) fn new(input: usize, output: usize, stride: usize, init: &mut Init) -> Self {
        let shortcut = stride != 1 || input != output;
        BasicBlock {
            conv1: Conv2d::before_norm(input, output, 3, stride, init),
            bn1: BatchNorm::new(output, init),
            conv2: Conv2d::before_norm(output, output, 3, 1, init),
            bn2: BatchNorm::new(output, init),
            downsample: shortcut.then(|| {
                let conv = Conv2d::before_norm(input, output, 1, stride, init);
                (conv, BatchNorm::new(output, init))
            }),
        }
    }

    /// `[batch, input, h, w]` to `[batch, output, h / stride, w / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = relu(self.bn1.forward_image(self.conv1.forward(x.clone())));
        let h = self.bn2.forward_image(self.conv2.forward(h));
        let x = match &self.downsample {
            Some((conv, norm)) => norm.forward_image(conv.forward(x)),
            None => x,
        };
        relu(x.add(h))
    }
}

impl ResNet {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &ResNetConfig, init: &mut Init) -> Self {
        let mut width = config.width;
        let conv1 = Conv2d::before_norm(config.in_channels, width, 7, 2, init);
        let bn1 = BatchNorm::new(width, init);
        let mut stage = |number: usize| {
            let output = config.width << number;
            (0..config.blocks[number])
                .map(|block| {
                    let stride = if number > 0 && block == 0 { 2 } else { 1 };
                    let block = BasicBlock::new(width, output, stride, init);
                    width = output;
                    block
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (stage(0), stage(1), stage(2), stage(3));
        ResNet { conv1, bn1, layer1, layer2, layer3, layer4 }
    }

    /// Films `[batch, channels, side, side]`, normalised, to features `[batch, 8 · width]`.
    pub fn forward(&self, films: Tensor<4>) -> Tensor<2> {
        let mut h = relu(self.bn1.forward_image(self.conv1.forward(films)));
        let mut pool = MaxPoolOptions::new([3, 3]);
        (pool.stride, pool.padding) = ([2, 2], [(1, 1), (1, 1)]);
        h = max_pool2d(h, pool);
        for stage in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            for block in stage {
                h = block.forward(h);
            }
        }
        let [batch, features, ..] = h.dims();
        h.mean_dims(&[2, 3]).reshape([batch, features])
    }
}
