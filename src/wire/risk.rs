//! The risk event as a record: Avro for consumers, one JSON line for people. Both have the fields
//! of `schemas/risk.avsc` in its order, so that equal payloads are equal bytes.

use serde::{Deserialize, Serialize};

use super::alert::FilmStratum;
use super::codec::{Codec, Record, does_not_hold};
use super::form;
use super::schemas::{RecordKind, WireError};
use crate::event::risk::{
    Contribution, Doubt, FilmAge, FilmUsed, Generation, Interval, LastObserved, Mode, ModelName,
    N_PHENOTYPES, Probability, RiskEvent, Scores, SeriesUsed, Status, StayEnd, Suspicion, Triggers,
};
use crate::event::{Rejection, ViewPosition};
use crate::ids::{Digest, EventId, StayId};
use crate::time::EventTime;

/// `schemas/risk.avsc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "RiskEvent")]
pub struct RiskRecord {
    #[serde(with = "form")]
    pub event_id: EventId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    #[serde(with = "form")]
    pub t: EventTime,
    #[serde(with = "form")]
    pub known_at: EventTime,
    pub revision: u32,
    #[serde(default, with = "form::option")]
    pub supersedes: Option<EventId>,
    pub triggers: Triggers,
    pub status: RiskStatus,
    #[serde(default)]
    pub status_reason: Option<String>,
    #[serde(default)]
    pub scores: Option<ScoresRecord>,
    pub series: SeriesRecord,
    #[serde(with = "form")]
    pub input_digest: Digest,
    #[serde(default)]
    pub film: Option<FilmRecord>,
    pub validity: Vec<Doubt>,
    #[serde(default)]
    pub feed_missing: Vec<String>,
    #[serde(default)]
    pub stay_end: Option<StayEnd>,
    pub model: ModelRecord,
    #[serde(with = "form")]
    pub config_digest: Digest,
    #[serde(default)]
    pub mode: Mode,
}

/// Whether there is a score, and of what kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskStatus {
    Scored,
    Degraded,
    Unscored,
    Retracted,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Scores")]
pub struct ScoresRecord {
    pub mortality: f32,
    pub mortality_raw: f32,
    #[serde(default)]
    pub mortality_interval: Option<IntervalRecord>,
    pub phenotypes: Vec<f32>,
    #[serde(default)]
    pub carry_forward: Option<f32>,
    #[serde(default)]
    pub ehr_only: Option<f32>,
    #[serde(default)]
    pub generation: Option<GenerationRecord>,
    #[serde(default)]
    pub attribution: Vec<Contribution>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Interval")]
pub struct IntervalRecord {
    pub low: f32,
    pub high: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Generation")]
pub struct GenerationRecord {
    pub evaluations: u32,
    #[serde(with = "form")]
    pub seed: u64,
    pub latent_rms: f32,
    /// Said for readers; it follows from the root mean square.
    pub ood_score: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "SeriesUsed")]
pub struct SeriesRecord {
    #[serde(with = "form")]
    pub from: EventTime,
    #[serde(with = "form")]
    pub start: EventTime,
    pub n_facts: u32,
    #[serde(default, with = "form::option")]
    pub last_observed_at: Option<EventTime>,
    #[serde(default)]
    pub last_observed: Vec<LastObservedRecord>,
    pub imputed: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "LastObserved")]
pub struct LastObservedRecord {
    pub variable: String,
    #[serde(with = "form")]
    pub at: EventTime,
    #[serde(default)]
    pub suspect: Option<Suspicion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "FilmUsed")]
pub struct FilmRecord {
    #[serde(with = "form")]
    pub digest: Digest,
    pub view: ViewPosition,
    #[serde(with = "form")]
    pub acquired_at: EventTime,
    #[serde(with = "form")]
    pub available_at: EventTime,
    /// Said for readers: both follow from the times.
    pub age_hours: f32,
    pub age: FilmStratum,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ModelName")]
pub struct ModelRecord {
    pub name: String,
    pub version: String,
    #[serde(with = "form")]
    pub digest: Digest,
}

impl Record for RiskRecord {
    const KIND: RecordKind = RecordKind::Risk;
}

impl Codec {
    /// The payload as Confluent-framed Avro; equal events give equal bytes.
    pub fn encode_risk(&self, event: &RiskEvent) -> Result<Vec<u8>, WireError> {
        self.encode(&RiskRecord::from(event))
    }

    pub fn decode_risk(&self, bytes: &[u8]) -> Result<RiskEvent, Rejection> {
        RiskEvent::try_from(self.decode::<RiskRecord>(bytes)?)
    }
}

/// One line of JSON without a line end: fields in the order of the schema, times as RFC 3339,
/// digests in hexadecimal, numbers in the shortest form that reads back equal.
pub fn risk_to_json(event: &RiskEvent) -> Result<String, WireError> {
    serde_json::to_string(&RiskRecord::from(event)).map_err(|error| WireError::Encode {
        record: RecordKind::Risk.name(),
        cause: error.to_string(),
    })
}

impl From<&RiskEvent> for RiskRecord {
    fn from(event: &RiskEvent) -> Self {
        let (status, status_reason) = match &event.status {
            Status::Scored => (RiskStatus::Scored, None),
            Status::Degraded { reason } => (RiskStatus::Degraded, Some(reason.clone())),
            Status::Unscored { reason } => (RiskStatus::Unscored, Some(reason.clone())),
            Status::Retracted => (RiskStatus::Retracted, None),
        };
        RiskRecord {
            event_id: event.id,
            stay_id: event.stay,
            t: event.t,
            known_at: event.known_at,
            revision: event.revision,
            supersedes: event.supersedes,
            triggers: event.triggers,
            status,
            status_reason,
            scores: event.scores.as_ref().map(ScoresRecord::from),
            series: SeriesRecord::new(event.series, &event.last_observed),
            input_digest: event.input_digest,
            film: event.film.map(|film| FilmRecord::new(film, event.t)),
            validity: event.validity.clone(),
            feed_missing: event.feed_missing.clone(),
            stay_end: event.stay_end,
            model: ModelRecord::from(&event.model),
            config_digest: event.config_digest,
            mode: event.mode,
        }
    }
}

impl TryFrom<RiskRecord> for RiskEvent {
    type Error = Rejection;

    fn try_from(record: RiskRecord) -> Result<Self, Rejection> {
        let reason = record.status_reason.unwrap_or_default();
        let status = match record.status {
            RiskStatus::Scored => Status::Scored,
            RiskStatus::Degraded => Status::Degraded { reason },
            RiskStatus::Unscored => Status::Unscored { reason },
            RiskStatus::Retracted => Status::Retracted,
        };
        let scores = record.scores.map(Scores::try_from).transpose()?;
        let series = SeriesUsed {
            from: record.series.from,
            start: record.series.start,
            n_facts: record.series.n_facts,
            last_observed_at: record.series.last_observed_at,
            imputed: record.series.imputed,
        };
        let last_observed = record.series.last_observed.into_iter().map(|last| LastObserved {
            variable: last.variable,
            at: last.at,
            suspect: last.suspect,
        });
        let ModelRecord { name, version, digest } = record.model;
        Ok(RiskEvent {
            id: record.event_id,
            stay: record.stay_id,
            t: record.t,
            known_at: record.known_at,
            revision: record.revision,
            supersedes: record.supersedes,
            triggers: record.triggers,
            status,
            scores,
            series,
            last_observed: last_observed.collect(),
            film: record.film.map(FilmUsed::from),
            validity: record.validity,
            feed_missing: record.feed_missing,
            stay_end: record.stay_end,
            input_digest: record.input_digest,
            model: ModelName { name, version, digest },
            config_digest: record.config_digest,
            mode: record.mode,
        })
    }
}

impl SeriesRecord {
    fn new(series: SeriesUsed, last_observed: &[LastObserved]) -> Self {
        let record = |last: &LastObserved| LastObservedRecord {
            variable: last.variable.clone(),
            at: last.at,
            suspect: last.suspect,
        };
        SeriesRecord {
            from: series.from,
            start: series.start,
            n_facts: series.n_facts,
            last_observed_at: series.last_observed_at,
            last_observed: last_observed.iter().map(record).collect(),
            imputed: series.imputed,
        }
    }
}

impl From<&Scores> for ScoresRecord {
    fn from(scores: &Scores) -> Self {
        ScoresRecord {
            mortality: scores.mortality.get(),
            mortality_raw: scores.mortality_raw.get(),
            mortality_interval: scores.mortality_interval.map(|interval| IntervalRecord {
                low: interval.low().get(),
                high: interval.high().get(),
            }),
            phenotypes: scores.phenotypes.iter().map(|p| p.get()).collect(),
            carry_forward: scores.carry_forward.map(Probability::get),
            ehr_only: scores.ehr_only.map(Probability::get),
            generation: scores.generation.map(|g| GenerationRecord {
                evaluations: g.evaluations,
                seed: g.seed,
                latent_rms: g.latent_rms,
                ood_score: g.ood_score(),
            }),
            attribution: scores.attribution.clone(),
        }
    }
}

impl TryFrom<ScoresRecord> for Scores {
    type Error = Rejection;

    fn try_from(record: ScoresRecord) -> Result<Self, Rejection> {
        let phenotypes: Vec<Probability> =
            record.phenotypes.into_iter().map(probability).collect::<Result<_, _>>()?;
        let phenotypes: [Probability; N_PHENOTYPES] = phenotypes
            .try_into()
            .map_err(|_| does_not_hold(format!("phenotypes are not {N_PHENOTYPES}")))?;
        Ok(Scores {
            mortality: probability(record.mortality)?,
            mortality_raw: probability(record.mortality_raw)?,
            mortality_interval: record.mortality_interval.map(interval).transpose()?,
            phenotypes,
            carry_forward: record.carry_forward.map(probability).transpose()?,
            ehr_only: record.ehr_only.map(probability).transpose()?,
            generation: record.generation.map(|g| Generation {
                evaluations: g.evaluations,
                seed: g.seed,
                latent_rms: g.latent_rms,
            }),
            attribution: record.attribution,
        })
    }
}

fn probability(p: f32) -> Result<Probability, Rejection> {
    Probability::new(p).ok_or_else(|| does_not_hold("a probability is outside 0..=1".into()))
}

fn interval(record: IntervalRecord) -> Result<Interval, Rejection> {
    let interval = Interval::new(probability(record.low)?, probability(record.high)?);
    interval.ok_or_else(|| does_not_hold("an interval ends before it begins".into()))
}

impl FilmRecord {
    fn new(film: FilmUsed, t: EventTime) -> Self {
        let age = t.since(film.acquired_at);
        FilmRecord {
            age_hours: age.as_hours() as f32,
            age: FilmAge::of(age).into(),
            digest: film.digest,
            view: film.view,
            acquired_at: film.acquired_at,
            available_at: film.available_at,
        }
    }
}

impl From<FilmRecord> for FilmUsed {
    fn from(film: FilmRecord) -> Self {
        FilmUsed {
            digest: film.digest,
            view: film.view,
            acquired_at: film.acquired_at,
            available_at: film.available_at,
        }
    }
}

impl From<&ModelName> for ModelRecord {
    fn from(model: &ModelName) -> Self {
        ModelRecord {
            name: model.name.clone(),
            version: model.version.clone(),
            digest: model.digest,
        }
    }
}
