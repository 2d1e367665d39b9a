//! The core: a pure state machine that turns inputs into effects, one stay at a time.
//!
//! It reads no clock, no file and no random source; time, ids and seeds are arguments. Inputs
//! ([`Input`]) and effects ([`Effect`]) are two closed enums, and whatever we want to observe is an
//! effect, so that a test can assert it. It knows nothing of Kafka, of the store or of the model.
//!
//! # Invariants
//!
//! Each has a test of its own: `tests/engine/invariants.rs`, for crashes `tests/engine/crash.rs`,
//! for alerts `tests/alerts/properties.rs`; `tests/simulation` judges them all once more.
//!
//! 1. The same inputs and journal give the same effects, byte for byte.
//! 2. A crash at any commit, then resume, equals no crash.
//! 3. Any interleaving of feeds, and any arrival order inside a feed between two of its marks,
//!    gives the same sealed windows.
//! 4. A watermark never goes back.
//! 5. A revision states what it knew (as of t, known at k) and uses nothing available after k; the
//!    first has k = t; training uses first revisions only.
//! 6. Per (stay, t, revision, model) one answer is accepted and one event leaves. A sealed revision
//!    never changes; a correction seals a new one that names what it supersedes.
//! 7. Every record read ends as exactly one of: used, late, duplicate, shadow, rejected (with its
//!    reason and position), decided once, in the order duplicate, late, range, shadow.
//! 8. Alerts are those of a course in which no wrong prediction ever was: see [`alert`].

pub mod alert;
mod effect;
mod identity;
mod input;
mod request;
pub mod resolve;
mod schedule;
mod stay;
mod task;
mod watermark;
pub mod window;

pub use alert::Alerting;
pub use effect::{Effect, Fate, View};
pub use identity::{Identity, Maker};
pub use input::Input;
pub use request::{Answer, Outcome, PredictionRequest};
pub use stay::{Changes, Heritage, Kind, Stay, Window, WindowState};
pub use stay::{GENERATION_BINS_MAX, GENERATION_FLOOR, PREDICTION_BINS};
pub use task::Task;
pub use watermark::Watermark;
