//! How a believable value can still be no measurement, and where one is said twice.

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// What is known of the values of one variable beyond their range. Nothing, if not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// When a value that does not change is suspect.
    pub stuck: Option<Stuck>,
    /// A faster change is suspect until another value agrees with it. Canonical unit a minute.
    pub max_change: Option<f64>,
    /// Charted values are often copies of the laboratory's, and differ from them by no more than
    /// this. Canonical unit; the profile `reference` knows no copies.
    pub copied_within: Option<f64>,
}

/// The same value at least so often, over at least so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stuck {
    pub times: usize,
    pub over: Span,
    /// Only below this: at its upper end a saturation may well stand still.
    pub below: Option<f64>,
}
