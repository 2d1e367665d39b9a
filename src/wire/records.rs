//! The records of the input topics, as plain structs: what a producer fills in and the codec
//! writes. Field names, record names and the order of union branches are those of `schemas/*.avsc`;
//! serde's defaults stand in for fields that an older writer did not have.

use serde::{Deserialize, Serialize};

use super::form;
use crate::event::{Disposition, Sex, ViewPosition};
use crate::ids::{Digest, FactId, StayId};
use crate::time::EventTime;

/// The system that a code belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeSystem {
    Loinc,
    /// An `itemid` of MIMIC's `d_items` or `d_labitems`.
    MimicItem,
    /// A code of `schemas/variables.toml`.
    Local,
}

/// A value as its sender wrote it. `Text` is as in [`VitalEvent`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum RecordedValue<Text = String> {
    #[default]
    #[serde(rename = "null")]
    Missing,
    #[serde(rename = "double")]
    Number(f64),
    #[serde(rename = "string")]
    Text(Text),
}

impl<Text: AsRef<str>> RecordedValue<Text> {
    /// The same value with its text borrowed.
    pub fn as_ref(&self) -> RecordedValue<&str> {
        match self {
            RecordedValue::Missing => RecordedValue::Missing,
            RecordedValue::Number(number) => RecordedValue::Number(*number),
            RecordedValue::Text(text) => RecordedValue::Text(text.as_ref()),
        }
    }
}

/// FHIR Observation.status, as far as it changes what a fact means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationStatus {
    Preliminary,
    #[default]
    Final,
    Amended,
    Corrected,
    EnteredInError,
}

/// One laboratory result (`schemas/lab.avsc`). `Text` is as in [`VitalEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabEvent<Text = String> {
    #[serde(with = "form::octets")]
    pub event_id: FactId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub feed: Text,
    pub code_system: CodeSystem,
    /// What was measured, as a code of that system.
    pub code: Text,
    #[serde(default)]
    pub value: RecordedValue<Text>,
    #[serde(default)]
    pub unit: Option<Text>,
    #[serde(with = "form")]
    pub observed_at: EventTime,
    #[serde(with = "form")]
    pub available_at: EventTime,
    #[serde(default)]
    pub status: ObservationStatus,
    #[serde(default, with = "form::octets::option")]
    pub replaces: Option<FactId>,
    #[serde(default)]
    pub specimen: Option<Text>,
}

/// One vital sign (`schemas/vital.avsc`). `Text` is `String`, or `&str` where a reader looks at the
/// texts once and leaves them in the record's bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VitalEvent<Text = String> {
    #[serde(with = "form::octets")]
    pub event_id: FactId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub feed: Text,
    pub code_system: CodeSystem,
    /// What was measured, as a code of that system.
    pub code: Text,
    #[serde(default)]
    pub value: RecordedValue<Text>,
    #[serde(default)]
    pub unit: Option<Text>,
    #[serde(with = "form")]
    pub observed_at: EventTime,
    #[serde(with = "form")]
    pub available_at: EventTime,
    #[serde(default)]
    pub status: ObservationStatus,
    #[serde(default, with = "form::octets::option")]
    pub replaces: Option<FactId>,
}

/// One chest radiograph (`schemas/imaging.avsc`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImagingEvent {
    #[serde(with = "form")]
    pub event_id: FactId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub feed: String,
    /// When the film was acquired.
    #[serde(with = "form")]
    pub observed_at: EventTime,
    #[serde(with = "form")]
    pub available_at: EventTime,
    pub view: ViewPosition,
    /// DICOM modality, `CR` or `DX` for a radiograph.
    #[serde(default)]
    pub modality: Option<String>,
    #[serde(default)]
    pub picture: PictureField,
    #[serde(default)]
    pub status: ObservationStatus,
    #[serde(default, with = "form::option")]
    pub replaces: Option<FactId>,
}

/// The picture of an imaging event; only a record that takes a film back has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureField {
    #[default]
    Missing,
    Inline(InlinePicture),
    Reference(PictureReference),
}

/// The file itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InlinePicture {
    /// `image/jpeg`, `image/png` or `application/dicom`; the bytes decide when it is absent.
    #[serde(default)]
    pub media_type: Option<String>,
    #[serde(with = "form")]
    pub content: Vec<u8>,
}

/// Where the file lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureReference {
    pub uri: String,
    /// Digest of the whole file.
    #[serde(with = "form")]
    pub sha256: Digest,
    /// Length of the file in bytes.
    pub size: i64,
}

/// A step in the course of a stay (`schemas/stay.avsc`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "StayEvent")]
pub struct StayEventRecord {
    #[serde(with = "form")]
    pub event_id: FactId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub feed: String,
    #[serde(with = "form")]
    pub observed_at: EventTime,
    #[serde(with = "form")]
    pub available_at: EventTime,
    pub change: StayChange,
    #[serde(default)]
    pub status: ObservationStatus,
    #[serde(default, with = "form::option")]
    pub replaces: Option<FactId>,
}

/// What happened to the stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StayChange {
    Admit(Admit),
    Transfer(Transfer),
    Discharge(Discharge),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// Whole years, 0..=130.
    pub age_years: i32,
    pub sex: Sex,
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discharge {
    pub disposition: Disposition,
}

/// A feed's promise (`schemas/mark.avsc`); its topic is the one that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "Mark")]
pub struct MarkRecord {
    pub feed: String,
    #[serde(with = "form")]
    pub time: EventTime,
}
