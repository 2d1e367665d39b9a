//! The question put to the model and its answer. Inference is an effect, and its answer an input.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::PreparedFilm;
use crate::event::risk::Scores;
use crate::ids::Ticket;
use crate::series::{Row, StaticFacts};
use crate::time::EventTime;

/// A sealed window, as the model needs it. Derived from state, so it can be asked for again.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionRequest {
    pub ticket: Ticket,
    /// Answers carry it back; those of another epoch are dropped.
    pub epoch: u64,
    /// Of (stay, t, revision, model).
    pub seed: u64,
    pub admitted_at: EventTime,
    /// Start of the generation's EHR: min(t − 12 h, film time), at most 70 h before t.
    pub generation_start: EventTime,
    /// The rows observed in the span that generation and fusion need, in order of observation.
    pub rows: Arc<[Row]>,
    pub static_facts: StaticFacts,
    /// The last film; the driver adds its pixels.
    pub film: Option<PreparedFilm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub ticket: Ticket,
    pub epoch: u64,
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Scored(Scores),
    /// Scored by less than the whole method; says what was left out.
    Degraded(Scores, String),
    Unscored(String),
}
