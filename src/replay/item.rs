//! What the replay yields: events in total order, marks between them, and rows that could not
//! become events.

use serde::{Deserialize, Serialize};

use crate::event::{Admission, Disposition, RawValue, Rejection, Sex, ViewPosition};
use crate::ids::{FactId, StayId, Topic};
use crate::time::EventTime;

/// One thing that the replay says.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplayItem {
    Event(ReplayEvent),
    /// Nothing with an `available_at` up to and including this comes any more, in any topic: every
    /// feed may say so in every partition.
    Mark(EventTime),
    /// A row that cannot become an event: a dead letter.
    Rejected(RejectedRow),
}

/// One row of the recording as it would have arrived. Values are as recorded: units, categories
/// and ranges are the engine's business.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayEvent {
    /// UUIDv5 of table and row, so that a second replay says nothing new.
    pub id: FactId,
    pub stay: StayId,
    pub observed_at: EventTime,
    pub available_at: EventTime,
    /// Number of the record in its file; the header is 1.
    pub row: u64,
    pub body: Body,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Admitted(Admission),
    Transferred {
        unit: String,
    },
    Discharged {
        disposition: Disposition,
    },
    /// A row of labevents.
    Lab(Measured),
    /// A row of chartevents.
    Chart(Measured),
    Filmed(FilmTaken),
}

/// A recorded value.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// MIMIC's item id.
    pub item: u32,
    pub value: RawValue,
    /// The unit as MIMIC spells it.
    pub unit: Option<String>,
    /// What was sampled, as `d_labitems` calls it; labs only.
    pub specimen: Option<String>,
}

/// A film of MIMIC-CXR. `subject` and `study` only name the file and never leave the replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilmTaken {
    pub view: ViewPosition,
    pub dicom: String,
    pub subject: u64,
    pub study: u64,
}

/// The tables of which each row is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MimicTable {
    IcuStays,
    Transfers,
    CxrMetadata,
    LabEvents,
    ChartEvents,
}

/// A row that became a dead letter, with its position.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow {
    pub table: MimicTable,
    /// Number of the record in its file; the header is 1.
    pub row: u64,
    pub stay: Option<StayId>,
    pub rejection: Rejection,
}

impl MimicTable {
    pub const ALL: [MimicTable; 5] = [
        MimicTable::IcuStays,
        MimicTable::Transfers,
        MimicTable::CxrMetadata,
        MimicTable::LabEvents,
        MimicTable::ChartEvents,
    ];

    /// The table's name inside the data set, which is also what dead letters say.
    pub const fn name(self) -> &'static str {
        match self {
            MimicTable::IcuStays => "icu/icustays",
            MimicTable::Transfers => "hosp/transfers",
            MimicTable::CxrMetadata => "cxr/metadata",
            MimicTable::LabEvents => "hosp/labevents",
            MimicTable::ChartEvents => "icu/chartevents",
        }
    }

    /// Where the table's rows go.
    pub const fn topic(self) -> Topic {
        match self {
            MimicTable::IcuStays | MimicTable::Transfers => Topic::Stay,
            MimicTable::CxrMetadata => Topic::Imaging,
            MimicTable::LabEvents => Topic::Lab,
            MimicTable::ChartEvents => Topic::Vital,
        }
    }

    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        MimicTable::ALL.into_iter().find(|table| table.code() == code)
    }
}

impl Body {
    pub const fn topic(&self) -> Topic {
        match self {
            Body::Admitted(_) | Body::Transferred { .. } | Body::Discharged { .. } => Topic::Stay,
            Body::Filmed(_) => Topic::Imaging,
            Body::Lab(_) => Topic::Lab,
            Body::Chart(_) => Topic::Vital,
        }
    }

    /// Breaks ties inside a topic before the event id does: the item, or for stay events the
    /// course of a stay, so that nobody is discharged before admission.
    pub const fn rank(&self) -> u32 {
        match self {
            Body::Admitted(_) | Body::Filmed(_) => 0,
            Body::Transferred { .. } => 1,
            Body::Discharged { .. } => 2,
            Body::Lab(measured) | Body::Chart(measured) => measured.item,
        }
    }
}

impl std::fmt::Display for RejectedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} {}", self.table.name(), self.row, self.rejection)
    }
}

/// MIMIC's gender column.
pub(super) fn parse_sex(text: &[u8]) -> Option<Sex> {
    match text {
        b"F" => Some(Sex::Female),
        b"M" => Some(Sex::Male),
        _ => None,
    }
}

/// MIMIC-CXR's ViewPosition. `LL` is a left lateral.
pub(super) fn parse_view(text: &[u8]) -> ViewPosition {
    match text {
        b"AP" => ViewPosition::Ap,
        b"PA" => ViewPosition::Pa,
        b"LATERAL" | b"LL" => ViewPosition::Lateral,
        _ => ViewPosition::Unknown,
    }
}
