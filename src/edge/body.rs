//! What a report says, before anybody knows whose stay it belongs to.

use serde::{Deserialize, Serialize};

use crate::engine::resolve::{Deed, ResultId, Status};
use crate::event::ViewPosition;
use crate::ids::Topic;
use crate::time::EventTime;
use crate::wire::records::{CodeSystem, RecordedValue};

/// What one report says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    Measured(Measured),
    Film(Film),
}

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

/// A chest film that has passed the gates, as the model sees it: what its file said beside the
/// pixels does not come this far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Film {
    pub view: ViewPosition,
    /// DICOM modality, `CR` or `DX`.
    pub modality: Option<String>,
    /// The 224 × 224 grey pixels as PNG: some 40 kB.
    pub png: Vec<u8>,
}

impl Film {
    /// A film does not hold from `at` on, whatever it showed. As its arrival, that is known when it
    /// is said, so that the one is never before the other.
    pub(super) fn end(result: ResultId, at: EventTime) -> Deed<Body> {
        let nothing = Film { view: ViewPosition::Unknown, modality: None, png: Vec::new() };
        Deed::Report {
            visit: None,
            result,
            is_sole: true,
            observed_at: at,
            status: Status::Withdrawn,
            body: Body::Film(nothing),
        }
    }
}
