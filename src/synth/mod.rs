//! The synthetic ward: patients with courses of illness, what is charted, resulted and filmed of
//! them, written in the layouts of MIMIC-IV 3.1 and MIMIC-CXR-JPG 2.1.0, so that the replay reads
//! it as it reads the real thing. Everything is a function of the seed.
//!
//! It exists because no open data set pairs ICU charts with chest films
//! (`reference/open-data.md`): without it neither the shipped model could be trained nor a test
//! check that a film which has changed changes the answer. It is no model of disease, and nothing
//! measured on it says anything about patients.

pub mod ceiling;
mod charting;
mod dice;
mod films;
mod hospital;
mod labs;
mod layout;
mod outcome;
mod patient;
mod physiology;
mod proof;
mod radiograph;
mod record;
mod report;
mod tables;
mod truth;
mod vitals;
mod ward;

use std::path::Path;

use thiserror::Error;

use crate::ids::StayId;

pub use films::LABELS;
pub use hospital::{Hospital, Physics, Shift};
pub use outcome::phenotypes;
pub use physiology::LATENT_NAMES;
pub use record::{Films, RecordedFilm, RecordedValue, StayRecord, stay, stay_in};
pub use report::{Line, WardReport, report};
pub use truth::Truth;
pub use ward::write_ward;

/// No real MIMIC patient has a number this high, every synthetic one has: rows can be told apart.
pub const FIRST_SUBJECT: u64 = 90_000_000;

/// The same of stays, whose numbers fill a block from here: nothing else of a stay may be known.
pub const FIRST_STAY: u32 = 93_000_000;
const STAY_BLOCK: u32 = 10_000_000;

/// Whether a stay has the number of a synthetic one.
pub fn is_synthetic(stay: StayId) -> bool {
    let first = u64::from(FIRST_STAY);
    (first..first + u64::from(STAY_BLOCK)).contains(&stay.0)
}

/// Most patients that one ward may have: ids leave their blocks beyond it.
pub const MAX_PATIENTS: u64 = 50_000;

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WardOptions {
    pub patients: u64,
    pub seed: u64,
    /// Mean number of patients on the ward at one time; sets how fast they arrive.
    pub beds: u32,
    pub hospital: Hospital,
    /// Height of a film in pixels; its width is 0.82 to 1.16 of that.
    pub film_rows: u32,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WardSummary {
    pub stays: u64,
    pub deaths: u64,
    pub adults_over_48h: u64,
    pub films: u64,
    pub chart_rows: u64,
    pub lab_rows: u64,
}

/// Why no ward was written.
#[derive(Debug, Error)]
pub enum SynthError {
    /// The options are out of range.
    #[error("{0}")]
    Options(String),
    /// A file cannot be written.
    #[error("cannot write {path}: {error}; check the disk and the folder's rights")]
    Write { path: String, error: std::io::Error },
}

impl Default for WardOptions {
    fn default() -> Self {
        WardOptions {
            patients: 60,
            seed: 1,
            beds: 12,
            hospital: Hospital::default(),
            film_rows: 256,
        }
    }
}

impl WardOptions {
    fn check(&self) -> Result<(), SynthError> {
        let wrong = |what: String| Err(SynthError::Options(what));
        if !(1..=MAX_PATIENTS).contains(&self.patients) {
            return wrong(format!("patients must be 1..={MAX_PATIENTS}, not {}", self.patients));
        }
        if !(1..=500).contains(&self.beds) {
            return wrong(format!("beds must be 1..=500, not {}", self.beds));
        }
        if !(224..=4_096).contains(&self.film_rows) {
            return wrong(format!("film rows must be 224..=4096, not {}", self.film_rows));
        }
        Ok(())
    }
}

impl SynthError {
    fn write(path: &Path, error: std::io::Error) -> Self {
        SynthError::Write { path: path.display().to_string(), error }
    }

    fn csv(path: &Path, error: csv::Error) -> Self {
        Self::write(path, std::io::Error::other(error))
    }
}

#[cfg(test)]
mod tests;
