//! The course of an ICU stay, in FHIR Encounter's words.

use serde::{Deserialize, Serialize};

/// What happened to the stay. The event's `observed_at` says when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StayEvent {
    Admitted(Admission),
    /// Moved to another unit, same stay.
    Transferred {
        unit: String,
    },
    Discharged {
        disposition: Disposition,
    },
}

/// What is known at admission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// Whole years at admission; MIMIC caps ages over 89 at 91.
    pub age_years: u8,
    pub sex: Sex,
    /// The care unit's name.
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    Female,
    Male,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    Alive,
    Died,
}
