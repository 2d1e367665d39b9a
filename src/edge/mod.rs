//! The hospital's edge: messages of its systems become events of stays.
//!
//! An edge only turns messages into the same events that a replay writes; the engine knows none of
//! them. It goes in steps, each of which knows nothing of the ones after it:
//!
//! ```text
//! MLLP ───► hl7::message ───► hl7::reader ─┐
//! HTTP ───► fhir::parcel ───► fhir readers ┼─► engine::resolve ─► desk ─► input topics
//! DIMSE ──► dicom::Instance ───────────────┘     facts of       one commit,
//! bytes       syntax            acts of          stays          then the answer
//!                               pseudonyms
//! ```
//!
//! # Identifiers
//!
//! Numbers of patients, visits and orders become keyed hashes ([`pseudonym`]) as they are read, and
//! names are not read at all. What is kept on disk, written to topics, logged, counted or answered
//! has none of them; dead letters say where a message stands and why it was not used, and hold
//! nothing of its text.
//!
//! # Acknowledgements
//!
//! A message is answered once everything that follows from it is durable: state and outgoing
//! records in one commit of the store, then the records in their topics ([`desk`]). A crash between
//! the two sends them again, with equal ids. A message that came before, by sender, control id and
//! content, is acknowledged and not taken again.

mod age;
mod body;
mod clock;
mod connections;
mod counter;
mod desk;
pub mod dicom;
pub mod fhir;
mod guard;
pub mod hl7;
mod language;
mod memory;
mod merged;
mod open;
mod pseudonym;
mod reader;
mod register;
mod scribe;
mod sink;
#[cfg(feature = "https")]
mod tls;

pub use body::{Body, Film, Measured};
pub use counter::{Counter, Hatch, Hatches, MAX_WAITING, Present, counter};
pub use desk::{Desk, EdgeError, Message, Parts};
pub use guard::{Guard, GuardError};
pub use language::Language;
pub use memory::Counters;
pub use merged::{MAX_STAYS, Merged, Witness};
pub use open::open;
pub use pseudonym::Pseudonyms;
pub use register::{MAX_MESSAGES, REMEMBERED_FOR};
pub use scribe::{Letterhead, Scribe};
pub use sink::{Channel, DEAD_LETTERS, KafkaTopics, LocalSink, Outgoing, Sink};
