//! Alerts out, and what people did about them in: `schemas/alert.avsc` and
//! `schemas/acknowledgement.avsc`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::{Codec, Record, does_not_hold};
use super::form;
use super::risk::ModelRecord;
use super::schemas::{RecordKind, WireError};
use crate::event::Rejection;
use crate::event::alert::{
    Act, AlertEvent, By, Change, Claim, Deed, Fault, Priority, Resolution, Response, Snooze, State,
    Subject, Suppression, Word,
};
use crate::event::risk::{Doubt, FilmAge, Interval, Mode, Probability};
use crate::ids::{AlertId, Digest, EventId, StayId};
use crate::time::EventTime;

/// `schemas/alert.avsc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AlertEvent")]
pub struct AlertRecord {
    #[serde(with = "form")]
    pub event_id: EventId,
    #[serde(with = "form")]
    pub alert_id: AlertId,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub revision: u32,
    #[serde(default, with = "form::option")]
    pub supersedes: Option<EventId>,
    pub subject: Subject,
    pub status: AlertStatus,
    pub state: AlertState,
    pub response: AlertResponse,
    #[serde(default, with = "form::option")]
    pub response_at: Option<EventTime>,
    #[serde(default)]
    pub response_role: Option<String>,
    #[serde(default)]
    pub dismissal_reason: Option<String>,
    #[serde(default)]
    pub resolution: Option<Resolution>,
    #[serde(default, with = "form::option")]
    pub resolved_at: Option<EventTime>,
    pub priority: Priority,
    /// The window that raised it.
    #[serde(with = "form")]
    pub t: EventTime,
    #[serde(with = "form")]
    pub known_at: EventTime,
    #[serde(default)]
    pub mortality: Option<f32>,
    #[serde(default)]
    pub interval: Option<AlertInterval>,
    #[serde(default)]
    pub threshold: Option<f32>,
    #[serde(default)]
    pub ehr_only: Option<f32>,
    #[serde(default)]
    pub trend: Option<AlertTrend>,
    #[serde(default, with = "form::option")]
    pub film_acquired_at: Option<EventTime>,
    #[serde(default)]
    pub film_age: Option<FilmStratum>,
    #[serde(default)]
    pub changed: Vec<Change>,
    #[serde(default)]
    pub contributors: Vec<String>,
    #[serde(default)]
    pub fault: Option<Fault>,
    /// At most 140 characters.
    pub summary: String,
    pub basis: Vec<BasisId>,
    pub validity: Vec<Doubt>,
    pub within_budget: bool,
    pub delivery: Mode,
    #[serde(default)]
    pub escalation: u32,
    #[serde(default, with = "form::option")]
    pub snoozed_until: Option<EventTime>,
    pub model: ModelRecord,
    #[serde(with = "form")]
    pub config_digest: Digest,
    #[serde(default)]
    pub mode: Mode,
}

/// A risk event that an alert rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BasisId(#[serde(with = "form")] pub EventId);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertInterval {
    pub low: f32,
    pub high: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertTrend {
    #[serde(with = "form")]
    pub since: EventTime,
    pub mortality: f32,
}

/// FHIR Flag.status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    Active,
    Inactive,
    EnteredInError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Open,
    Acknowledged,
    Actioned,
    Dismissed,
    Resolved,
    EnteredInError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertResponse {
    None,
    Acknowledged,
    Actioned,
    Dismissed,
}

/// Strata of film age, as words that Avro can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilmStratum {
    #[serde(rename = "under_12h")]
    Under12h,
    #[serde(rename = "from_12h")]
    From12h,
    #[serde(rename = "from_24h")]
    From24h,
    #[serde(rename = "from_36h")]
    From36h,
}

/// `schemas/acknowledgement.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "AcknowledgementEvent")]
pub struct AcknowledgementRecord {
    #[serde(with = "form")]
    pub acknowledgement_id: Uuid,
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub feed: String,
    #[serde(default, with = "form::option")]
    pub alert_id: Option<AlertId>,
    pub deed: DeedKind,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub snooze_hours: Option<i64>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(with = "form")]
    pub at: EventTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeedKind {
    Acknowledge,
    Action,
    Dismiss,
    Snooze,
    Suppress,
    Release,
}

impl Record for AlertRecord {
    const KIND: RecordKind = RecordKind::Alert;
}

impl Record for AcknowledgementRecord {
    const KIND: RecordKind = RecordKind::Acknowledgement;
}

impl Codec {
    /// The payload as Confluent-framed Avro; equal events give equal bytes.
    pub fn encode_alert(&self, event: &AlertEvent) -> Result<Vec<u8>, WireError> {
        self.encode(&AlertRecord::from(event))
    }
}

impl From<&AlertEvent> for AlertRecord {
    fn from(event: &AlertEvent) -> Self {
        let mut record = AlertRecord {
            event_id: event.id,
            alert_id: event.alert,
            stay_id: event.stay,
            revision: event.revision,
            supersedes: event.supersedes,
            subject: event.claim.subject(),
            status: AlertStatus::Active,
            state: AlertState::Open,
            response: AlertResponse::None,
            response_at: None,
            response_role: None,
            dismissal_reason: None,
            resolution: None,
            resolved_at: None,
            priority: event.priority,
            t: event.raised_at,
            known_at: event.known_at,
            mortality: None,
            interval: None,
            threshold: None,
            ehr_only: None,
            trend: None,
            film_acquired_at: None,
            film_age: event.film_age().map(|age| FilmAge::of(age).into()),
            changed: Vec::new(),
            contributors: Vec::new(),
            fault: None,
            summary: event.summary(),
            basis: event.basis.iter().copied().map(BasisId).collect(),
            validity: event.validity.clone(),
            within_budget: event.within_budget,
            delivery: event.delivery,
            escalation: event.escalation,
            snoozed_until: event.snoozed_until,
            model: ModelRecord::from(&event.model),
            config_digest: event.config_digest,
            mode: event.mode,
        };
        record.say_claim(&event.claim);
        record.say_state(&event.state);
        record
    }
}

impl AlertRecord {
    /// Whether somebody may still have to do something.
    pub fn is_standing(&self) -> bool {
        self.status == AlertStatus::Active
    }

    fn say_claim(&mut self, claim: &Claim) {
        let risk = match claim {
            Claim::Fault(fault) => {
                self.fault = Some(*fault);
                return;
            }
            Claim::Risk(risk) => risk,
        };
        let interval = |interval: Interval| AlertInterval {
            low: interval.low().get(),
            high: interval.high().get(),
        };
        self.mortality = Some(risk.mortality.get());
        self.interval = risk.interval.map(interval);
        self.threshold = Some(risk.threshold);
        self.ehr_only = risk.ehr_only.map(Probability::get);
        self.trend = risk
            .trend
            .map(|trend| AlertTrend { since: trend.since, mortality: trend.mortality.get() });
        self.film_acquired_at = risk.film_acquired_at;
        self.changed.clone_from(&risk.changed);
        self.contributors.clone_from(&risk.contributors);
    }

    fn say_state(&mut self, state: &State) {
        match state {
            State::EnteredInError => {
                self.status = AlertStatus::EnteredInError;
                self.state = AlertState::EnteredInError;
            }
            State::Standing(response) => {
                self.say_response(response);
                self.state = match self.response {
                    AlertResponse::None => AlertState::Open,
                    AlertResponse::Acknowledged => AlertState::Acknowledged,
                    AlertResponse::Actioned => AlertState::Actioned,
                    AlertResponse::Dismissed => AlertState::Dismissed,
                };
            }
            State::Resolved { at, why, response } => {
                self.say_response(response);
                self.status = AlertStatus::Inactive;
                self.state = AlertState::Resolved;
                self.resolution = Some(*why);
                self.resolved_at = Some(*at);
            }
        }
    }

    fn say_response(&mut self, response: &Response) {
        let (kind, by) = match response {
            Response::Open => return,
            Response::Acknowledged(by) => (AlertResponse::Acknowledged, by),
            Response::Actioned(by) => (AlertResponse::Actioned, by),
            Response::Dismissed { by, reason } => {
                self.dismissal_reason = Some(reason.as_str().to_owned());
                (AlertResponse::Dismissed, by)
            }
        };
        self.response = kind;
        self.response_at = Some(by.at);
        self.response_role = by.role.as_ref().map(|role| role.as_str().to_owned());
    }
}

impl From<FilmAge> for FilmStratum {
    fn from(age: FilmAge) -> Self {
        match age {
            FilmAge::Under12h => FilmStratum::Under12h,
            FilmAge::From12h => FilmStratum::From12h,
            FilmAge::From24h => FilmStratum::From24h,
            FilmAge::From36h => FilmStratum::From36h,
        }
    }
}

impl AcknowledgementRecord {
    /// The record of an act, sent by `feed`.
    pub fn new(act: &Act, feed: &str) -> Self {
        let (deed, reason, snooze_hours) = match &act.deed {
            Deed::Acknowledge(_) => (DeedKind::Acknowledge, None, None),
            Deed::Action(_) => (DeedKind::Action, None, None),
            Deed::Dismiss(_, reason) => (DeedKind::Dismiss, Some(reason.as_str().to_owned()), None),
            Deed::Snooze(_, length) => (DeedKind::Snooze, None, Some(length.hours())),
            Deed::Suppress(why) => (DeedKind::Suppress, Some(why.code().to_owned()), None),
            Deed::Release => (DeedKind::Release, None, None),
        };
        AcknowledgementRecord {
            acknowledgement_id: act.id,
            stay_id: act.stay,
            feed: feed.to_owned(),
            alert_id: act.deed.alert(),
            deed,
            reason,
            snooze_hours,
            role: act.by.role.as_ref().map(|role| role.as_str().to_owned()),
            at: act.by.at,
        }
    }
}

impl TryFrom<AcknowledgementRecord> for Act {
    type Error = Rejection;

    fn try_from(record: AcknowledgementRecord) -> Result<Self, Rejection> {
        let word = |what: &str, text: &str| {
            Word::new(text).ok_or_else(|| {
                does_not_hold(format!("the {what} is not one line of 1 to 64 characters"))
            })
        };
        let alert = || record.alert_id.ok_or_else(|| does_not_hold("names no alert_id".to_owned()));
        let deed = match record.deed {
            DeedKind::Acknowledge => Deed::Acknowledge(alert()?),
            DeedKind::Action => Deed::Action(alert()?),
            DeedKind::Dismiss => {
                let reason = record.reason.as_deref().unwrap_or_default();
                Deed::Dismiss(alert()?, word("reason", reason)?)
            }
            DeedKind::Snooze => {
                let length = record.snooze_hours.and_then(Snooze::from_hours);
                let wrong = || does_not_hold("snooze_hours is not 1, 4 or 12".to_owned());
                Deed::Snooze(alert()?, length.ok_or_else(wrong)?)
            }
            DeedKind::Suppress => {
                let why = record.reason.as_deref().and_then(Suppression::from_code);
                let wrong =
                    || does_not_hold("the reason is not comfort_care or site_decision".to_owned());
                Deed::Suppress(why.ok_or_else(wrong)?)
            }
            DeedKind::Release => Deed::Release,
        };
        let role = record.role.as_deref().map(|role| word("role", role)).transpose()?;
        let by = By { role, at: record.at };
        Ok(Act { id: record.acknowledgement_id, stay: record.stay_id, deed, by })
    }
}
