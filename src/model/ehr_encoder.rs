//! The sequence encoder T (`reference/ddl-cxr.md` 3.1): hourly EHR to tokens and one vector.
//! The LDM's EHR encoder and the three encoders of the fusion model are all of this kind.

use burn::module::{Module, Param};
use burn::nn::Dropout;
use burn::tensor::activation::gelu;
use burn::tensor::{Tensor, TensorData};

use super::config::{EhrEncoderConfig, Pool};
use super::layers::{BatchNorm, Init, Linear, attend, dropout, join_heads, split_heads};

/// Multi-head self-attention with the projections of q, k and v in one matrix, PyTorch's layout.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Columns of q, then k, then v: `[d, 3 d]`; the reference's `in_proj_weight` transposed.
    pub in_proj_kernel: Param<Tensor<2>>,
    pub in_proj_bias: Param<Tensor<1>>,
    pub out_proj: Linear,
    heads: usize,
    dropout: Dropout,
}

/// A post-norm encoder layer with batch normalisation.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    pub self_attn: SelfAttention,
    pub linear1: Linear,
    pub linear2: Linear,
    pub norm1: BatchNorm,
    pub norm2: BatchNorm,
    dropout: Dropout,
}

/// The stack of layers, named as in the reference.
#[derive(Module, Debug)]
pub struct EncoderStack {
    pub layers: Vec<EncoderLayer>,
}

/// The fixed table of positions.
#[derive(Module, Debug)]
pub struct Positions {
    /// `[max_len + 1, 1, d]`; position 0 is the CLS.
    pub pe: Param<Tensor<3>>,
}

/// The encoder.
#[derive(Module, Debug)]
pub struct EhrEncoder {
    pub project_inp: Linear,
    pub cls_token: Param<Tensor<3>>,
    pub pos_enc: Positions,
    pub transformer_encoder: EncoderStack,
    /// Findings from the CLS vector, logits (the LDM's auxiliary loss).
    pub label_head: Option<Linear>,
    dropout: Dropout,
    max_len: usize,
    #[module(skip)]
    pool: Pool,
}

/// What T makes of a batch of sequences.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// `[batch, d]`
    pub pooled: Tensor<2>,
    /// `[batch, 1 + n, d]`, the CLS first. Padded positions hold numbers without meaning.
    pub tokens: Tensor<3>,
}

impl SelfAttention {
    fn new(config: &EhrEncoderConfig, init: &mut Init) -> Self {
        let d = config.d_model;
        let bound = (6.0 / (4 * d) as f64).sqrt();
        let mut out_proj = Linear::new(d, d, init);
        out_proj.bias = Some(init.constant(0.0, [d]));
        SelfAttention {
            in_proj_kernel: init.uniform(bound, [d, 3 * d]),
            in_proj_bias: init.constant(0.0, [3 * d]),
            out_proj,
            heads: config.n_heads,
            dropout: dropout(config.dropout),
        }
    }

    fn forward(&self, x: Tensor<3>, keep: Option<Tensor<2>>) -> Tensor<3> {
        let d = x.dims()[2];
        let kernel = self.in_proj_kernel.val();
        let qkv = burn::tensor::module::linear(x, kernel, Some(self.in_proj_bias.val()));
        let part = |n: usize| split_heads(qkv.clone().narrow(2, n * d, d), self.heads);
        let out = attend(part(0), part(1), part(2), keep, Some(&self.dropout));
        self.out_proj.forward(join_heads(out))
    }
}

impl EncoderLayer {
    fn new(config: &EhrEncoderConfig, init: &mut Init) -> Self {
        let (d, ff) = (config.d_model, config.dim_feedforward);
        EncoderLayer {
            self_attn: SelfAttention::new(config, init),
            linear1: Linear::new(d, ff, init),
            linear2: Linear::new(ff, d, init),
            norm1: BatchNorm::new(d, init),
            norm2: BatchNorm::new(d, init),
            dropout: dropout(config.dropout),
        }
    }

    /// `counted` is 1 for positions that enter the batch statistics.
    fn forward(
        &self,
        x: Tensor<3>,
        keep: Option<&Tensor<2>>,
        counted: Option<&Tensor<2>>,
    ) -> Tensor<3> {
        let [batch, n, d] = x.dims();
        let rows = counted.map(|keep| keep.clone().reshape([batch * n, 1]));
        let normed = |norm: &BatchNorm, x: Tensor<3>| {
            norm.forward_rows(x.reshape([batch * n, d]), rows.clone()).reshape([batch, n, d])
        };
        let h = self.self_attn.forward(x.clone(), keep.cloned());
        let x = normed(&self.norm1, x.add(self.dropout.forward(h)));
        let h = self.dropout.forward(gelu(self.linear1.forward(x.clone())));
        let h = self.dropout.forward(self.linear2.forward(h));
        normed(&self.norm2, x.add(h))
    }
}

impl EhrEncoder {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &EhrEncoderConfig, init: &mut Init) -> Self {
        let d = config.d_model;
        let table = position_table(config.max_len + 1, d);
        let table = TensorData::new(table, [config.max_len + 1, 1, d]);
        let pe = Param::from_tensor(Tensor::from_data(table, init.device()));
        EhrEncoder {
            project_inp: Linear::new(config.feat_dim, d, init),
            cls_token: init.normal([1, 1, d]),
            pos_enc: Positions { pe: pe.set_require_grad(false) },
            transformer_encoder: EncoderStack {
                layers: (0..config.num_layers).map(|_| EncoderLayer::new(config, init)).collect(),
            },
            label_head: config.labels.map(|labels| Linear::new(d, labels, init)),
            dropout: dropout(config.dropout),
            max_len: config.max_len,
            pool: config.pool,
        }
    }

    /// Longest sequence, CLS not counted.
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// `x` is `[batch, n, features]` with n ≤ `max_len`; `keep` is `[batch, n]`, 1 for steps that
    /// count and 0 for padding. The CLS always counts.
    pub fn forward(&self, x: Tensor<3>, keep: Option<&Tensor<2>>) -> Encoded {
        self.run(x, keep, true)
    }

    /// The same with padding in the batch statistics of training (defect B3); see
    /// [`super::Defects::encode`]. Outside training it makes no difference.
    pub(super) fn forward_counting_padding(&self, x: Tensor<3>, keep: &Tensor<2>) -> Encoded {
        self.run(x, Some(keep), false)
    }

    fn run(&self, x: Tensor<3>, keep: Option<&Tensor<2>>, masked_statistics: bool) -> Encoded {
        let [batch, n, _] = x.dims();
        let d = self.cls_token.dims()[2];
        let x = self.project_inp.forward(x).mul_scalar((d as f64).sqrt());
        let cls = self.cls_token.val().expand([batch, 1, d]);
        let positions = self.pos_enc.pe.val().narrow(0, 0, n + 1).swap_dims(0, 1);
        let x = Tensor::cat(vec![cls, x], 1).add(positions);
        let keep = keep.map(with_cls);
        let mut x = self.dropout.forward(x);
        for layer in &self.transformer_encoder.layers {
            x = layer.forward(x, keep.as_ref(), keep.as_ref().filter(|_| masked_statistics));
        }
        let tokens = self.dropout.forward(gelu(x));
        let pooled = self.pool(tokens.clone(), keep);
        Encoded { pooled, tokens }
    }

    fn pool(&self, tokens: Tensor<3>, keep: Option<Tensor<2>>) -> Tensor<2> {
        let [batch, n, d] = tokens.dims();
        match (self.pool, keep) {
            (Pool::Cls, _) => tokens.narrow(1, 0, 1).reshape([batch, d]),
            (Pool::MaskedMean, Some(keep)) => {
                let count = keep.clone().sum_dim(1);
                let sum = tokens.mul(keep.reshape([batch, n, 1])).sum_dim(1).reshape([batch, d]);
                sum.div(count)
            }
            (Pool::Mean | Pool::MaskedMean, _) => tokens.mean_dim(1).reshape([batch, d]),
        }
    }
}

/// A mask `[batch, n]` with a 1 for the CLS put before it.
pub fn with_cls(keep: &Tensor<2>) -> Tensor<2> {
    let cls = Tensor::ones([keep.dims()[0], 1], &keep.device());
    Tensor::cat(vec![cls, keep.clone()], 1)
}

/// Sines in the even columns and cosines in the odd ones, base 10000, row by row.
fn position_table(rows: usize, d: usize) -> Vec<f32> {
    let step = -(10_000f64.ln()) / d as f64;
    (0..rows)
        .flat_map(|row| {
            (0..d).map(move |column| {
                let frequency = ((column - column % 2) as f64 * step).exp();
                let angle = row as f64 * frequency;
                (if column % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
            })
        })
        .collect()
}
