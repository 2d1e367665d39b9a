//! The risk event's payload: a function of input, journal, config and model, and of nothing else.
//! What differs between two runs (clock, positions, node) belongs to the envelope.

use serde::{Deserialize, Serialize};

use super::ViewPosition;
use crate::ids::{Digest, EventId, StayId};
use crate::time::{EventTime, Span};

pub use super::scores::{Contribution, Generation, Interval, N_PHENOTYPES, Probability, Scores};

/// One sealed answer to a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskEvent {
    pub id: EventId,
    pub stay: StayId,
    /// The window's end: the risk is as of this moment.
    pub t: EventTime,
    /// Nothing available after this was used.
    pub known_at: EventTime,
    pub revision: u32,
    pub supersedes: Option<EventId>,
    pub triggers: Triggers,
    pub status: Status,
    /// `None` when unscored or retracted.
    pub scores: Option<Scores>,
    pub series: SeriesUsed,
    /// The newest observation of each variable in the series, in the order of the dictionary.
    /// Empty for a retraction, and for an answer so late that the series is forgotten.
    pub last_observed: Vec<LastObserved>,
    pub film: Option<FilmUsed>,
    pub validity: Vec<Doubt>,
    /// Feeds whose marks had stopped when the window was sealed.
    pub feed_missing: Vec<String>,
    /// Set on the last event of a stay.
    pub stay_end: Option<StayEnd>,
    pub input_digest: Digest,
    pub model: ModelName,
    pub config_digest: Digest,
    pub mode: Mode,
}

/// The set of reasons why the window was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    pub hour: bool,
    pub landmark: bool,
    pub film: bool,
    pub request: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Scored,
    /// Scored by less than the whole method; the reason says what was left out.
    Degraded {
        reason: String,
    },
    Unscored {
        reason: String,
    },
    /// A fact that was used never held. The event it supersedes must not be shown any more.
    Retracted,
}

impl RiskEvent {
    /// Under what name it is counted: its status, or that it closes its stay.
    pub const fn counted_as(&self) -> &'static str {
        match self.status {
            Status::Scored => "scored",
            Status::Degraded { .. } => "degraded",
            Status::Unscored { .. } if self.stay_end.is_some() => "closing",
            Status::Unscored { .. } => "unscored",
            Status::Retracted => "retracted",
        }
    }
}

/// The EHR that the model saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesUsed {
    /// Start of the span of observation; it ends at the window's end.
    pub from: EventTime,
    /// The first observation in it; the window's end if there is none.
    pub start: EventTime,
    pub n_facts: u32,
    pub last_observed_at: Option<EventTime>,
    /// Share of (hour, variable) cells of the grid without an observation, 0..=1.
    pub imputed: f32,
}

/// When a variable was last observed before the window's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastObserved {
    /// Code of the variable in the dictionary.
    pub variable: String,
    pub at: EventTime,
    /// Why that value may be no measurement. It was used all the same.
    pub suspect: Option<Suspicion>,
}

/// Why a value may be no measurement, although it is believable by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// The same value for hours, of something that never stands still.
    Stuck,
    /// A change faster than a body's, which no other value confirms yet.
    Jump,
}

/// The film that the model saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilmUsed {
    pub digest: Digest,
    pub view: ViewPosition,
    pub acquired_at: EventTime,
    pub available_at: EventTime,
}

/// The paper's strata of film age δ = t − acquisition (`reference/clinical.md` 0.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FilmAge {
    Under12h,
    From12h,
    From24h,
    From36h,
}

/// One reason why this prediction lies outside what the model has been validated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// No clinical validation exists for this model at all.
    #[serde(rename = "not_clinically_validated")]
    NotValidated,
    /// Trained on synthetic patients.
    #[serde(rename = "trained_on_synthetic_patients")]
    SyntheticTraining,
    /// The method is defined at 48 h after admission only.
    #[serde(rename = "not_at_48h")]
    NotAtLandmark,
    NoFilm,
    /// The film is younger than 12 h: generation conditions on EHR from before it.
    GeneratedAtFloor,
    /// The film is older than any pair the model was trained on.
    FilmTooOld,
    FewVariables,
    FeedMissing,
    /// Scored without the generated latent, or not at all.
    Degraded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StayEnd {
    Discharged,
    Died,
    MaxStay,
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelName {
    pub name: String,
    pub version: String,
    /// Covers weights, noise, normalisers and calibration.
    pub digest: Digest,
}

/// Whether anyone may be disturbed by the output. `Silent` until a site decides otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Silent,
    Passive,
    Interruptive,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Silent => "silent",
            Mode::Passive => "passive",
            Mode::Interruptive => "interruptive",
        }
    }
}

impl FilmAge {
    /// From fresh to old.
    pub const ALL: [FilmAge; 4] =
        [FilmAge::Under12h, FilmAge::From12h, FilmAge::From24h, FilmAge::From36h];

    pub fn of(age: Span) -> Self {
        match age.as_hours() {
            h if h < 12.0 => FilmAge::Under12h,
            h if h < 24.0 => FilmAge::From12h,
            h if h < 36.0 => FilmAge::From24h,
            _ => FilmAge::From36h,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            FilmAge::Under12h => "<12h",
            FilmAge::From12h => "12-24h",
            FilmAge::From24h => "24-36h",
            FilmAge::From36h => ">=36h",
        }
    }
}

impl Suspicion {
    pub const ALL: [Suspicion; 2] = [Suspicion::Stuck, Suspicion::Jump];

    pub const fn code(self) -> &'static str {
        match self {
            Suspicion::Stuck => "stuck",
            Suspicion::Jump => "jump",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Suspicion::Stuck => "the same value for hours: is the sensor on?",
            Suspicion::Jump => "a sudden change that no other value confirms yet",
        }
    }
}

impl Doubt {
    pub const fn code(self) -> &'static str {
        match self {
            Doubt::NotValidated => "not_clinically_validated",
            Doubt::SyntheticTraining => "trained_on_synthetic_patients",
            Doubt::NotAtLandmark => "not_at_48h",
            Doubt::NoFilm => "no_film",
            Doubt::GeneratedAtFloor => "generated_at_floor",
            Doubt::FilmTooOld => "film_too_old",
            Doubt::FewVariables => "few_variables",
            Doubt::FeedMissing => "feed_missing",
            Doubt::Degraded => "degraded",
        }
    }

    /// The same for people.
    pub const fn words(self) -> &'static str {
        match self {
            Doubt::NotValidated => "the model has not been validated clinically",
            Doubt::SyntheticTraining => "the model was trained on synthetic patients",
            Doubt::NotAtLandmark => "not at 48 h, where the method is defined",
            Doubt::NoFilm => "no chest film yet",
            Doubt::GeneratedAtFloor => "film younger than 12 h: the estimate adds little",
            Doubt::FilmTooOld => "film older than any the model learnt from",
            Doubt::FewVariables => "few variables observed",
            Doubt::FeedMissing => "a data feed was silent",
            Doubt::Degraded => "scored without the generated film, or not at all",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn film_age_strata_are_half_open() {
        assert_eq!(FilmAge::of(Span::hours(12) - Span::from_millis(1)), FilmAge::Under12h);
        assert_eq!(FilmAge::of(Span::hours(12)), FilmAge::From12h);
        assert_eq!(FilmAge::of(Span::hours(36)), FilmAge::From36h);
    }
}
