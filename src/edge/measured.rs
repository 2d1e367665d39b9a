//! What a result says, before anybody knows whose stay it belongs to.

use serde::{Deserialize, Serialize};

use crate::ids::Topic;
use crate::wire::records::{CodeSystem, RecordedValue};

/// A value as its sender wrote it, with a code that the dictionary knows. Units, categories and
/// ranges are judged where the record is read, as those of every other feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// [`Topic::Lab`] or [`Topic::Vital`].
    pub topic: Topic,
    pub code_system: CodeSystem,
    pub code: String,
    pub value: RecordedValue,
    pub unit: Option<String>,
    pub specimen: Option<String>,
}
