//! The spatial transformer: pixels attend to each other and to the EHR's tokens.

use burn::module::Module;
use burn::nn::Dropout;
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

use super::super::config::UnetConfig;
use super::super::layers::{
    Conv2d, GroupNorm, Init, LayerNorm, Linear, attend, dropout, join_heads, split_heads,
};

/// Epsilon of the transformer's GroupNorm, unlike the residual blocks'.
const ST_EPSILON: f64 = 1e-6;
/// Widening of the feed-forward layer.
const FF_MULT: usize = 4;

/// Multi-head attention with biases on the output only.
#[derive(Module, Debug)]
pub struct CrossAttention {
    pub to_q: Linear,
    pub to_k: Linear,
    pub to_v: Linear,
    pub attn_out: Linear,
    heads: usize,
}

impl CrossAttention {
    fn new(width: usize, context: usize, head: usize, init: &mut Init) -> Self {
        CrossAttention {
            to_q: Linear::without_bias(width, width, init),
            to_k: Linear::without_bias(context, width, init),
            to_v: Linear::without_bias(context, width, init),
            attn_out: Linear::new(width, width, init),
            heads: width / head,
        }
    }

    fn forward(&self, x: Tensor<3>, context: Tensor<3>, keep: Option<&Tensor<2>>) -> Tensor<3> {
        let q = split_heads(self.to_q.forward(x), self.heads);
        let k = split_heads(self.to_k.forward(context.clone()), self.heads);
        let v = split_heads(self.to_v.forward(context), self.heads);
        self.attn_out.forward(join_heads(attend(q, k, v, keep.cloned(), None)))
    }
}

/// Linear to twice the width; the first half is the value, the second half its gate.
#[derive(Module, Debug)]
pub struct FeedForward {
    pub ff_in: Linear,
    pub ff_out: Linear,
    dropout: Dropout,
}

impl FeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let h = self.ff_in.forward(x);
        let inner = h.dims()[2] / 2;
        let gate = h.clone().narrow(2, inner, inner);
        let h = h.narrow(2, 0, inner).mul(gelu(gate));
        self.ff_out.forward(self.dropout.forward(h))
    }
}

/// Self-attention, cross-attention, feed-forward, each on a normalised copy and added.
#[derive(Module, Debug)]
pub struct BasicTransformerBlock {
    pub attn1: CrossAttention,
    pub ff: FeedForward,
    pub attn2: CrossAttention,
    pub norm1: LayerNorm,
    pub norm2: LayerNorm,
    pub norm3: LayerNorm,
}

impl BasicTransformerBlock {
    fn new(width: usize, config: &UnetConfig, init: &mut Init) -> Self {
        let head = config.num_head_channels;
        BasicTransformerBlock {
            attn1: CrossAttention::new(width, width, head, init),
            ff: FeedForward {
                ff_in: Linear::new(width, 2 * FF_MULT * width, init),
                ff_out: Linear::new(FF_MULT * width, width, init),
                dropout: dropout(config.dropout),
            },
            attn2: CrossAttention::new(width, config.context_dim, head, init),
            norm1: LayerNorm::new(width, init),
            norm2: LayerNorm::new(width, init),
            norm3: LayerNorm::new(width, init),
        }
    }

    fn forward(&self, x: Tensor<3>, context: &Tensor<3>, keep: Option<&Tensor<2>>) -> Tensor<3> {
        let h = self.norm1.forward(x.clone());
        let x = self.attn1.forward(h.clone(), h, None).add(x);
        let h = self.norm2.forward(x.clone());
        let x = self.attn2.forward(h, context.clone(), keep).add(x);
        self.ff.forward(self.norm3.forward(x.clone())).add(x)
    }
}

/// Transformer blocks over the pixels of a feature map, added to it.
#[derive(Module, Debug)]
pub struct SpatialTransformer {
    pub norm: GroupNorm,
    pub proj_in: Conv2d,
    pub transformer_blocks: Vec<BasicTransformerBlock>,
    pub proj_out: Conv2d,
}

impl SpatialTransformer {
    pub fn new(width: usize, config: &UnetConfig, init: &mut Init) -> Self {
        let depth = config.transformer_depth;
        SpatialTransformer {
            norm: GroupNorm::new(width, config.norm_groups, ST_EPSILON, init),
            proj_in: Conv2d::new(width, width, 1, init),
            transformer_blocks: (0..depth)
                .map(|_| BasicTransformerBlock::new(width, config, init))
                .collect(),
            proj_out: Conv2d::zero(width, width, 1, init),
        }
    }

    /// `x` is `[batch, width, h, w]`; see [`super::Unet::forward`] for `context` and `keep`.
    pub fn forward(
        &self,
        x: Tensor<4>,
        context: &Tensor<3>,
        keep: Option<&Tensor<2>>,
    ) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let h = self.proj_in.forward(self.norm.forward(x.clone()));
        let mut tokens = h.reshape([batch, channels, height * width]).swap_dims(1, 2);
        for block in &self.transformer_blocks {
            tokens = block.forward(tokens, context, keep);
        }
        let h = tokens.swap_dims(1, 2).reshape([batch, channels, height, width]);
        self.proj_out.forward(h).add(x)
    }
}
