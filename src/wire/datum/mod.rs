//! Avro's binary form of a record whose struct mirrors its schema, by position.
//!
//! apache-avro walks the schema beside the data, makes a text of each string and compares the name
//! of every field: 0.5 µs of processor time a vital sign each way, where all the rest of an event's
//! work takes 0.1 (`nowcxr bench window`). Where the struct has the schema's fields in the schema's
//! order none of that says anything new, so the records that come by the million go this way, at
//! 0.06 µs to write and 0.2 to read and check. Everything else, and records of older schemas, goes
//! through apache-avro; the tests hold both to the same bytes and the same refusals.
//!
//! What may stand in such a record: `int`, `long`, `double`, `string`, enum, a union of null and
//! one type as `Option`, any other union as an enum with the branches in order, and `fixed` of 16
//! bytes, which is what serde's bytes mean here. Anything else is refused on the first use.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::Display;

use thiserror::Error;

pub(super) use read::read;
pub(super) use write::write;

/// Bytes of the one kind of `fixed`.
const FIXED_BYTES: usize = 16;

/// Bytes of the longest variable-length integer.
const VARINT_BYTES: u32 = 10;

/// Why bytes are no such record, or a value has no place in one.
#[derive(Debug, Error)]
pub(super) enum DatumError {
    #[error("the record is cut short")]
    CutShort,
    #[error("an integer is longer than {VARINT_BYTES} bytes")]
    Integer,
    #[error("a length or an index is out of range")]
    OutOfRange,
    #[error("a text is not UTF-8")]
    NotUtf8,
    #[error("{0} has no place in a record that is read by position; use another Record::CODING")]
    Foreign(&'static str),
    #[error("{0}")]
    Said(String),
}

impl serde::de::Error for DatumError {
    fn custom<T: Display>(message: T) -> Self {
        DatumError::Said(message.to_string())
    }
}

impl serde::ser::Error for DatumError {
    fn custom<T: Display>(message: T) -> Self {
        DatumError::Said(message.to_string())
    }
}
