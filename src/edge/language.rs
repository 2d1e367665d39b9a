//! The languages that a hospital's systems speak.

use serde::{Deserialize, Serialize};

use crate::ids::Topic;

/// What a sender speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Language {
    Hl7,
    Fhir,
    Dicom,
}

impl Language {
    /// What dead letters call the place where a message came in.
    pub const fn name(self) -> &'static str {
        match self {
            Language::Hl7 => "hl7",
            Language::Fhir => "fhir",
            Language::Dicom => "dicom",
        }
    }

    /// The topics that its messages lead to, and that an edge which hears it makes promises for.
    pub const fn topics(self) -> &'static [Topic] {
        match self {
            Language::Hl7 | Language::Fhir => &[Topic::Stay, Topic::Lab, Topic::Vital],
            Language::Dicom => &[Topic::Imaging],
        }
    }
}
