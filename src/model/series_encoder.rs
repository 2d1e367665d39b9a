//! The EHR encoder that a model's config asks for: the reference's hourly one or the one of the
//! irregular series. Both take rows with a mask and give tokens behind one pooled vector.

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::SeriesEncoderConfig;
use super::ehr_encoder::{EhrEncoder, Encoded};
use super::event_encoder::EventEncoder;
use super::layers::{Init, Linear};

/// One of the two. A model holds a few of them, so the room of the larger one does not matter, and
/// burn's modules do not live in boxes.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum SeriesEncoder {
    /// Rows are hours of the grid.
    Grid(EhrEncoder),
    /// Rows are the variables of a sketch.
    Events(EventEncoder),
}

impl SeriesEncoder {
    /// A network of these sizes; `config` must have passed its check.
    pub fn new(config: &SeriesEncoderConfig, init: &mut Init) -> Self {
        match config {
            SeriesEncoderConfig::Grid(config) => SeriesEncoder::Grid(EhrEncoder::new(config, init)),
            SeriesEncoderConfig::Events(config) => {
                SeriesEncoder::Events(EventEncoder::new(config, init))
            }
        }
    }

    /// `x` is `[batch, rows, features]`, `keep` `[batch, rows]`, 1 for rows that count. Tokens are
    /// `[batch, 1 + rows, d]`; their mask is [`super::ehr_encoder::with_cls`] of `keep`.
    pub fn forward(&self, x: Tensor<3>, keep: Option<&Tensor<2>>) -> Encoded {
        match self {
            SeriesEncoder::Grid(encoder) => encoder.forward(x, keep),
            SeriesEncoder::Events(encoder) => encoder.forward(x, keep),
        }
    }

    /// Findings from the pooled vector, if the config asks for them.
    pub fn label_head(&self) -> Option<&Linear> {
        match self {
            SeriesEncoder::Grid(encoder) => encoder.label_head.as_ref(),
            SeriesEncoder::Events(encoder) => encoder.label_head.as_ref(),
        }
    }
}
