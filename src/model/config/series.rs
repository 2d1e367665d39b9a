//! Sizes of the encoders that read the EHR, and the choice between them.

use serde::{Deserialize, Serialize};

use super::EhrEncoderConfig;

/// The encoder of the irregular series ([`crate::model::event_encoder`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventEncoderConfig {
    /// Rows of a sketch.
    pub variables: usize,
    /// Knots of the value axis.
    pub knots: usize,
    /// Knots of the age axis.
    pub ages: usize,
    /// Plain statistics behind the cells.
    pub plain: usize,
    /// Learned statistics of each variable.
    pub statistics: usize,
    pub d_model: usize,
    /// Width to which each token is narrowed before all are read side by side.
    pub squeeze: usize,
    pub dropout: f64,
    /// Findings predicted from the pooled vector; none builds no head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<usize>,
}

/// Which encoder reads the EHR; each is told by its own fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SeriesEncoderConfig {
    /// The irregular series.
    Events(EventEncoderConfig),
    /// The reference's hourly grid.
    Grid(EhrEncoderConfig),
}

impl SeriesEncoderConfig {
    /// Width of tokens and of the pooled vector.
    pub fn d_model(&self) -> usize {
        match self {
            SeriesEncoderConfig::Events(config) => config.d_model,
            SeriesEncoderConfig::Grid(config) => config.d_model,
        }
    }
}
