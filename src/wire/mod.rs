//! Avro to events and back (design decision 13): Confluent framing, the schemas under `schemas/`
//! with fixed ids, direct serde on readers and writers that are built once. A record is decoded
//! with the schema that wrote it, and serde's defaults stand in for what that schema lacks.
//! Whatever bytes come in, the answer is a checked value or a [`crate::event::Rejection`].

mod codec;
pub mod form;
mod input;
pub mod records;
mod schemas;

pub use codec::{Codec, Record};
pub use input::{Decoded, EARLIEST, FilmMeta, LATEST, Picture};
pub use schemas::{HEADER_BYTES, MAX_RECORD_BYTES, OlderSchema, RecordKind, WireError};
