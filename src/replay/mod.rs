//! Recorded MIMIC files as live streams: read, given the moment at which a clinician could have
//! known each row, sorted by it, and told in one total order with marks in between.
//!
//! The same files and the same settings give the same bytes. Every row of every table that is read
//! is accounted for ([`Reconciliation`]): not a model variable, out of scope, not in the cohort,
//! rejected with reason and position, or emitted. Films of MIMIC-CXR and stays of MIMIC-IV meet by
//! patient and time only. Nothing but the stay's id leaves this module.

mod checkpoint;
mod config;
mod encode;
mod error;
pub mod faults;
mod intake;
mod item;
pub mod mimic;
mod pace;
mod play;
mod progress;
mod reconcile;
mod sort;
mod source;

pub use checkpoint::Checkpoint;
pub use config::{Anchor, ChartClock, Clock, Cohort, ReplayConfig, Speed};
pub use encode::{Encoder, NotEncoded};
pub use error::ReplayError;
pub use item::{Body, FilmTaken, Measured, MimicTable, RejectedRow, ReplayEvent, ReplayItem};
pub use mimic::items::ItemFilter;
pub use mimic::labels::{IcdCode, Label, labels_of};
pub use mimic::stays::{Stay, Stays};
pub use pace::Pace;
pub use play::{Player, ReplaySink, Step};
pub use progress::Progress;
pub use reconcile::{EngineCounts, Reconciliation, TableCounts};
pub use source::ReplaySource;
