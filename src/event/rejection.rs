//! Why a record is not used. Every rejection becomes a dead letter with its reason and position.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The closed list of reasons. `code` is what metrics, dead letters and reports print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not a record of their schema, or of no schema we know.
    Undecodable,
    MissingKey,
    UnknownFeed,
    /// A code that the dictionary does not map.
    UnmappedCode,
    NotANumber,
    UnknownCategory,
    UnknownUnit,
    /// Impossible in its declared unit but plausible in a sibling unit.
    UnitSuspect,
    /// Outside the plausible range.
    Implausible,
    /// A specimen that this variable must not come from, such as urine.
    WrongSpecimen,
    /// Observed or available in 1970, 2199 or so: outside any stay.
    AbsurdTime,
    /// Available more than 5 min after it was appended.
    Future,
    /// No admission came within `lookback`, or too many facts waited for one.
    NoAdmission,
    BeforeLookback,
    AfterDischarge,
    /// More facts wait for the watermark than a stay may hold.
    TooManyWaiting,
    /// Corrects or retracts a fact that this stay does not have.
    UnknownFact,
    FilmTooLarge,
    FilmUndecodable,
    /// Not an AP film.
    FilmView,
    /// Flat, saturated or not shaped like a chest film.
    FilmNotChest,
    FilmUnavailable,
    /// A file's row without the columns it needs, or with text where a number must be.
    MalformedRow,
    /// A message, a status or a kind of value that has no meaning here.
    Unsupported,
    /// An older version than the one that is known.
    Outdated,
    /// The visit is known to be another patient's.
    IdentityDispute,
    /// More parts than are taken at once.
    TooMany,
    /// The file says that text which may name the patient is part of its pixels.
    FilmBurnedIn,
    /// It lies in another partition than its key belongs to.
    WrongPartition,
}

/// A reason with the particulars a person needs. Never holds a patient identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub reason: Reason,
    pub detail: String,
}

impl Reason {
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Undecodable => "undecodable",
            Reason::MissingKey => "missing_key",
            Reason::UnknownFeed => "unknown_feed",
            Reason::UnmappedCode => "unmapped_code",
            Reason::NotANumber => "not_a_number",
            Reason::UnknownCategory => "unknown_category",
            Reason::UnknownUnit => "unknown_unit",
            Reason::UnitSuspect => "unit_suspect",
            Reason::Implausible => "implausible",
            Reason::WrongSpecimen => "wrong_specimen",
            Reason::AbsurdTime => "absurd_time",
            Reason::Future => "future",
            Reason::NoAdmission => "no_admission",
            Reason::BeforeLookback => "before_lookback",
            Reason::AfterDischarge => "after_discharge",
            Reason::TooManyWaiting => "too_many_waiting",
            Reason::UnknownFact => "unknown_fact",
            Reason::FilmTooLarge => "film_too_large",
            Reason::FilmUndecodable => "film_undecodable",
            Reason::FilmView => "film_view",
            Reason::FilmNotChest => "film_not_chest",
            Reason::FilmUnavailable => "film_unavailable",
            Reason::MalformedRow => "malformed_row",
            Reason::Unsupported => "unsupported",
            Reason::Outdated => "outdated",
            Reason::TooMany => "too_many",
            Reason::FilmBurnedIn => "film_burned_in",
            Reason::WrongPartition => "wrong_partition",
            Reason::IdentityDispute => "identity_dispute",
        }
    }
}

impl Rejection {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Rejection { reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.detail)
    }
}
