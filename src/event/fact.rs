//! A fact: one thing that became known about one stay.

use serde::{Deserialize, Serialize};

use super::alert::Act;
use super::{Film, Observation, StayEvent};
use crate::ids::{FactId, FeedId, StayId};
use crate::time::EventTime;

/// One observation, film, stay event or act of a person, with its two clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub id: FactId,
    pub stay: StayId,
    pub feed: FeedId,
    /// When it was true of the patient. Only selects and orders facts inside a series.
    pub observed_at: EventTime,
    /// When a clinician could have known it. Drives marks, timers, lateness and sealing.
    pub available_at: EventTime,
    pub body: FactBody,
}

/// What a fact says. FHIR's words: an observation can be corrected or entered in error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FactBody {
    Observed(Observation),
    Filmed(Film),
    Stay(StayEvent),
    /// A corrected result: `replaces` no longer holds, `observation` does.
    Corrected {
        replaces: FactId,
        observation: Observation,
    },
    /// A film taken again or re-processed: `replaces` no longer holds, `film` does.
    FilmCorrected {
        replaces: FactId,
        film: Film,
    },
    /// Entered in error or of another patient: `fact` never held.
    Retracted {
        fact: FactId,
    },
    /// What a person did about alerts. Both clocks are the act's own time.
    Acted(Box<Act>),
}

impl FactBody {
    /// The value that it brings, new or corrected.
    pub fn observation(&self) -> Option<Observation> {
        match self {
            FactBody::Observed(observation) | FactBody::Corrected { observation, .. } => {
                Some(*observation)
            }
            _ => None,
        }
    }
}
