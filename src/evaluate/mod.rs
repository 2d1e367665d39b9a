//! A run's risk events against what became of the stays.
//!
//! Three ways of counting, since each answers another question (`reference/clinical.md` 3.3):
//! the published setting (one score a stay, at 48 h, of stays longer than that), landmarks (one
//! score a stay at each of several hours), and every hour (prequential: each stay weighs the same,
//! however many windows it has). Hourly rows are never taken for independent: all intervals come
//! from resampling patients.
//!
//! Each event carries its twins, the score without any film and the one with the last film carried
//! forward. They are compared on the windows that have all three, in pairs.
//!
//! Whether a run's windows still look like those of another run is [`drift`]'s to say.
//!
//! First revisions only: what was said then, not what was known better afterwards.
//!
//! Where the run's log is at hand, its windows are put to the networks again: the quality of the
//! generated films ([`film_quality`]), and how few network evaluations are enough ([`sampling`]).

mod challenge;
mod challenge_page;
pub mod drift;
mod figures;
mod films;
mod html;
mod html_films;
mod intake;
mod look;
mod oracle;
mod phenotypes;
pub mod proof;
mod sampling;
mod signatures;
mod svg;
mod table;
mod team;
pub mod trial;
mod truth;
mod windows;

use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use crate::metrics::Undefined;
use crate::replay::ReplayError;

pub use challenge::{
    ChallengeDifference, ChallengeEntry, ChallengeEvaluation, Ranking, Scored, ScoredStays,
    evaluate_challenge,
};
pub use challenge_page::challenge_page;
pub use figures::{Difference, Evaluation, Figure, Figures, Set, Stratum, Twin, evaluate};
pub use films::{FilmQuality, film_quality};
pub use html::page;
pub use intake::{Counts, Labels, Phenotyped, Sample, read_events, read_lines, samples, told_by};
pub use oracle::Oracle;
pub use sampling::{SamplingStudy, sampling};
pub use signatures::Signature;
pub use table::write_parquet;
pub use team::Open;
pub use windows::{GivenWindow, WINDOWS_MOST, given_windows};

/// Bootstrap replicates and the seed of their draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EvaluateOptions {
    pub replicates: usize,
    pub seed: u64,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        EvaluateOptions { replicates: 1_000, seed: 1 }
    }
}

/// What kind of data a report is about; said on every page of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// Every patient is synthetic.
    pub synthetic: bool,
    /// Films and stays were joined by lot.
    pub simulated_pairing: bool,
    /// The model says that it was trained on synthetic patients.
    pub trained_on_synthetic: bool,
    pub model: String,
    pub model_digest: String,
    pub config_digest: String,
}

impl Provenance {
    /// The warnings that belong beside every figure, gravest first.
    pub fn warnings(&self) -> Vec<&'static str> {
        let all = [
            (self.synthetic, "Synthetic patients: no figure here says anything about a person."),
            (
                self.simulated_pairing,
                "The pairing of films and stays is SIMULATED: no figure here is a clinical result.",
            ),
            (self.trained_on_synthetic, "The model was trained on synthetic patients."),
        ];
        all.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect()
    }
}

/// Why there is no evaluation.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// A file of the run cannot be read or written.
    #[error("cannot use {path}: {why}; name the directory that nowcxr replay or demo wrote")]
    File { path: String, why: String },
    /// The labels cannot be read.
    #[error("the labels cannot be read: {0}")]
    Labels(#[from] ReplayError),
    /// Events and labels do not meet.
    #[error("{0}")]
    Nothing(String),
    /// The log of the run cannot be read.
    #[error("the run's log cannot be used: {0}; name the directory that nowcxr replay wrote")]
    Log(String),
    /// The networks cannot be opened.
    #[error("the model cannot be used: {0}; name one with --set predict.model=DIR")]
    Model(String),
    /// A profile for drift cannot be used.
    #[error("{path} cannot be used: {why}; make a profile with nowcxr drift profile")]
    Profile { path: String, why: String },
    /// A figure that must exist does not.
    #[error("the scores cannot be evaluated: {0}")]
    Undefined(#[from] Undefined),
}

impl EvaluateError {
    fn file(path: &Path, why: impl ToString) -> Self {
        EvaluateError::File { path: path.display().to_string(), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests;
