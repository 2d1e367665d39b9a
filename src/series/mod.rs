//! The irregular series of a stay and the 79-column hourly grid made from it. Pure: no clock, no
//! file, no randomness.
//!
//! [`History`] keeps the observations of a stay as hour [`Chunk`]s, the unit in which the store
//! writes them; a cut of it is the series of a window. [`grid::hourly`] turns a series into what
//! the models read, and [`Normaliser`] scales it. [`sketch`] is what the encoder of the irregular
//! series reads instead. [`suspicion`] says whether a value may be no measurement.

pub mod chunk;
pub mod grid;
mod history;
mod key_filter;
mod normaliser;
pub mod sketch;
mod suspicion;

pub use chunk::Chunk;
pub use grid::{Grid, GridSpan, LegacyDrop, hourly};
pub use history::History;
pub use normaliser::{NORMALISED_COLUMNS, Normaliser, NormaliserError, NormaliserFit};
pub use suspicion::suspicion;

use serde::{Deserialize, Serialize};

use crate::event::Sex;
use crate::ids::VariableId;
use crate::time::EventTime;

/// One observation inside a series, in the order of observation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub at: EventTime,
    pub variable: VariableId,
    /// Canonical unit, or category index.
    pub value: f64,
}

/// What does not change during a stay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaticFacts {
    pub age_years: u8,
    pub sex: Sex,
}
