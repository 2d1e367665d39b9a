//! Facts of stays as the wire's records. The engine cannot tell them from a replay's.

use super::measured::Measured;
use super::sink::{Channel, Outgoing};
use crate::config::Feed;
use crate::engine::resolve::{Heard, Status, Telling, Word};
use crate::event::dictionary::Dictionary;
use crate::event::{Admission, Rejection};
use crate::ids::{FactId, StayId, Topic};
use crate::time::EventTime;
use crate::wire::records::{
    Admit, Discharge, LabEvent, MarkRecord, ObservationStatus, RecordedValue, StayChange,
    StayEventRecord, Transfer, VitalEvent,
};
use crate::wire::{Codec, DeadLetter, Header, WireError};

/// The topics that an edge writes, and so makes promises for.
const TOPICS: [Topic; 3] = [Topic::Stay, Topic::Lab, Topic::Vital];

/// Writes records.
pub struct Scribe {
    codec: Codec,
    /// What dead letters call the place they speak of.
    place: &'static str,
    /// Of every topic the name of its first feed, which is the edge's.
    feeds: Vec<(Topic, String)>,
}

/// From whom a message came, and its control id: how a person finds it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Letterhead {
    pub sender: String,
    pub control_id: String,
}

impl Scribe {
    /// `None` unless every topic of the edge has a feed.
    pub fn new(
        place: &'static str,
        feeds: &[Feed],
        dictionary: Dictionary,
    ) -> Result<Option<Self>, WireError> {
        let codec = Codec::new(feeds, dictionary)?;
        let first = |topic: Topic| {
            feeds.iter().find(|feed| feed.topic == topic).map(|feed| (topic, feed.name.clone()))
        };
        let named: Option<Vec<(Topic, String)>> = TOPICS.into_iter().map(first).collect();
        Ok(named.map(|feeds| Scribe { codec, place, feeds }))
    }

    fn feed(&self, topic: Topic) -> String {
        let named = self.feeds.iter().find(|(of, _)| *of == topic);
        named.map(|(_, name)| name.clone()).unwrap_or_default()
    }

    /// The record of a fact. Its number is the caller's.
    pub fn fact(&self, telling: Telling<Measured>) -> Result<Outgoing, WireError> {
        let Telling { stay, id, observed_at, available_at, word, .. } = telling;
        let times = (observed_at, available_at);
        let (topic, value) = match word {
            Word::Admit(Admission { age_years, sex, unit }) => {
                let admit = Admit { age_years: i32::from(age_years), sex, unit };
                self.change(stay, id, times, StayChange::Admit(admit))?
            }
            Word::Transfer { unit } => {
                self.change(stay, id, times, StayChange::Transfer(Transfer { unit }))?
            }
            Word::Discharge { disposition } => {
                self.change(stay, id, times, StayChange::Discharge(Discharge { disposition }))?
            }
            Word::Report { body, status, replaces } => {
                self.result(stay, id, times, body, (status_of(status), replaces))?
            }
            Word::Withdraw { body, fact } => {
                let body = Measured { value: RecordedValue::Missing, ..body };
                let in_error = (ObservationStatus::EnteredInError, Some(fact));
                self.result(stay, id, times, body, in_error)?
            }
        };
        let key = Some(Codec::key(stay));
        Ok(Outgoing { number: 0, channel: Channel::Input(topic), key, value })
    }

    fn change(
        &self,
        stay_id: StayId,
        event_id: FactId,
        (observed_at, available_at): (EventTime, EventTime),
        change: StayChange,
    ) -> Result<(Topic, Vec<u8>), WireError> {
        let record = StayEventRecord {
            event_id,
            stay_id,
            feed: self.feed(Topic::Stay),
            observed_at,
            available_at,
            change,
            status: ObservationStatus::Final,
            replaces: None,
        };
        Ok((Topic::Stay, self.codec.encode(&record)?))
    }

    fn result(
        &self,
        stay_id: StayId,
        event_id: FactId,
        (observed_at, available_at): (EventTime, EventTime),
        body: Measured,
        (status, replaces): (ObservationStatus, Option<FactId>),
    ) -> Result<(Topic, Vec<u8>), WireError> {
        let Measured { topic, code_system, code, value, unit, specimen } = body;
        let feed = self.feed(topic);
        let bytes = if topic == Topic::Lab {
            self.codec.encode(&LabEvent {
                event_id,
                stay_id,
                feed,
                code_system,
                code,
                value,
                unit,
                observed_at,
                available_at,
                status,
                replaces,
                specimen,
            })?
        } else {
            self.codec.encode(&VitalEvent {
                event_id,
                stay_id,
                feed,
                code_system,
                code,
                value,
                unit,
                observed_at,
                available_at,
                status,
                replaces,
            })?
        };
        Ok((topic, bytes))
    }

    /// Marks of `time`, each with its topic.
    pub fn marks(&self, time: EventTime) -> Result<Vec<(Topic, Vec<u8>)>, WireError> {
        let mark = |(topic, feed): &(Topic, String)| {
            Ok((*topic, self.codec.encode(&MarkRecord { feed: feed.clone(), time })?))
        };
        self.feeds.iter().map(mark).collect()
    }

    /// The dead letter of a message or a segment of one. It holds nothing of the text, in which
    /// there are names: who wants to see the message asks the sender for its control id.
    pub fn dead_letter(
        &self,
        heard: Heard,
        head: &Letterhead,
        rejection: &Rejection,
    ) -> Result<Outgoing, WireError> {
        let header = |key: &str, value: &str| Header {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
        };
        let letter = DeadLetter {
            topic: self.place.to_owned(),
            partition: 0,
            offset: i64::try_from(heard.message).unwrap_or(i64::MAX),
            key: None,
            value: Vec::new(),
            value_size: 0,
            headers: vec![
                header("segment", &heard.segment.to_string()),
                header("sender", &head.sender),
                header("control_id", &head.control_id),
            ],
            appended_at: None,
            reason: rejection.reason.code().to_owned(),
            detail: rejection.detail.clone(),
        };
        let value = self.codec.encode(&letter)?;
        Ok(Outgoing { number: 0, channel: Channel::DeadLetter, key: None, value })
    }
}

fn status_of(status: Status) -> ObservationStatus {
    match status {
        Status::Preliminary => ObservationStatus::Preliminary,
        Status::Final | Status::Confirmed => ObservationStatus::Final,
        Status::Corrected => ObservationStatus::Corrected,
        Status::Withdrawn => ObservationStatus::EnteredInError,
    }
}
