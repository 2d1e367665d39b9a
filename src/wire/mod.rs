//! Avro to events and back (design decision 13): Confluent framing, the schemas under `schemas/`
//! with fixed ids, direct serde on readers and writers that are built once. A record is decoded
//! with the schema that wrote it, and serde's defaults stand in for what that schema lacks. Labs,
//! vitals and marks of this version's schemas are read by position, for their number.
//! Whatever bytes come in, the answer is a checked value or a [`crate::event::Rejection`].

mod alert;
mod codec;
mod container;
mod datum;
pub mod form;
mod input;
mod journal;
mod outputs;
mod partition;
pub mod records;
mod registry;
mod risk;
mod schemas;
mod view;

pub use alert::{
    AcknowledgementRecord, AlertInterval, AlertRecord, AlertResponse, AlertState, AlertStatus,
    AlertTrend, BasisId, DeedKind, FilmStratum,
};
pub use codec::{Codec, Record};
pub use container::container;
pub use input::{Decoded, EARLIEST, FilmMeta, LATEST, Picture};
pub use journal::{
    AnswerRecord, Command, CommandKind, DeadlineRecord, DerivedMarkRecord, FilmVerdict,
    FilmVerdictRecord, InputRecord, JournalEntry, JournalInput, OutcomeKind, PositionRecord,
    TicketRecord,
};
pub use outputs::{DEAD_LETTER_BYTES, DeadLetter, Header, LabelEvent};
pub use partition::partition_of;
pub use registry::SchemaSource;
pub use risk::{
    FilmRecord, GenerationRecord, IntervalRecord, LastObservedRecord, ModelRecord, RiskRecord,
    RiskStatus, ScoresRecord, SeriesRecord, risk_to_json,
};
pub use schemas::{HEADER_BYTES, MAX_RECORD_BYTES, OlderSchema, RecordKind, WireError};
pub use view::{GivenRecord, StayView, VariableSeries};
