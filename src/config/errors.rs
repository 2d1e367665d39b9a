//! `[errors]`: what becomes of what fails, in the words of Kafka Streams' three exception handlers.

use serde::Deserialize;

use super::key::{Key, key};
use super::value::Reader;

/// Every key of the section.
pub const ERRORS: &[Key] = &[
    key(
        "errors.deserialization",
        r#""dead_letter""#,
        "A record that is no fact: undecodable, without a key, of an unknown feed, code or unit, \
         in another partition than its key's, from the future, or a film that cannot be used. \
         `dead_letter` sends it there and goes on; `fail` ends the process before it is passed, \
         and a restart meets it again. A schema that a registry could not be asked for is asked \
         for again either way.",
    ),
    key(
        "errors.processing",
        r#""dead_letter""#,
        "A fact that the engine cannot use, such as one of a stay that was never admitted, or what \
         a person did about an alert that is gone. It may have waited in the state, so `fail` ends \
         the process when its turn comes, again after each restart, until this key says \
         `dead_letter`.",
    ),
    key(
        "errors.production",
        r#""retry""#,
        "A commit that Kafka does not take for kafka.delivery_timeout: `retry` tries on, the task \
         paused and the node not ready; `fail` ends the process. Nothing is skipped: what is \
         said of a patient and not sent would be lost.",
    ),
];

/// `[errors]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorHandlers {
    /// Of records that never became a fact.
    pub deserialization: RecordHandler,
    /// Of facts that the engine rejects.
    pub processing: RecordHandler,
    pub production: ProductionHandler,
}

/// What becomes of a record that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordHandler {
    #[default]
    DeadLetter,
    Fail,
}

/// What becomes of a commit that nobody takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductionHandler {
    #[default]
    Retry,
    Fail,
}

pub fn errors(reader: &mut Reader) -> ErrorHandlers {
    ErrorHandlers {
        deserialization: reader.choice("errors.deserialization", RecordHandler::default()),
        processing: reader.choice("errors.processing", RecordHandler::default()),
        production: reader.choice("errors.production", ProductionHandler::default()),
    }
}
