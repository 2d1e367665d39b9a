//! Facts of stays as the wire's records. The engine cannot tell them from a replay's.

use std::collections::BTreeSet;

use super::body::{Body, Film, Measured};
use super::language::Language;
use super::sink::{Channel, Outgoing};
use crate::config::Feed;
use crate::engine::resolve::{Heard, Status, Telling, Word};
use crate::event::dictionary::Dictionary;
use crate::event::{Admission, Rejection, ViewPosition};
use crate::ids::{FactId, StayId, Topic};
use crate::time::EventTime;
use crate::wire::records::{
    Admit, Discharge, ImagingEvent, InlinePicture, LabEvent, MarkRecord, ObservationStatus,
    PictureField, RecordedValue, StayChange, StayEventRecord, Transfer, VitalEvent,
};
use crate::wire::{Codec, DeadLetter, Header, WireError};

/// What dead letters call the place of a message that is forgotten.
const SOMEWHERE: &str = "edge";

/// Writes records.
pub struct Scribe {
    codec: Codec,
    /// Of every topic that the edge writes the name of its first feed, which is the edge's.
    feeds: Vec<(Topic, String)>,
}

/// From whom a message came, and its control id: how a person finds it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Letterhead {
    /// `None` if the message is forgotten.
    pub language: Option<Language>,
    pub sender: String,
    pub control_id: String,
}

impl Scribe {
    /// Writes what is said in these languages; each of their topics has to have a feed.
    pub fn new(
        languages: &[Language],
        feeds: &[Feed],
        dictionary: Dictionary,
    ) -> Result<Self, WireError> {
        let codec = Codec::new(feeds, dictionary)?;
        let first = |topic: &Topic| feeds.iter().find(|feed| feed.topic == *topic);
        let topics: BTreeSet<&Topic> =
            languages.iter().flat_map(|language| language.topics()).collect();
        let feeds = topics.into_iter().filter_map(first);
        Ok(Scribe { codec, feeds: feeds.map(|feed| (feed.topic, feed.name.clone())).collect() })
    }

    fn feed(&self, topic: Topic) -> String {
        let named = self.feeds.iter().find(|(of, _)| *of == topic);
        named.map(|(_, name)| name.clone()).unwrap_or_default()
    }

    /// The record of a fact. Its number is the caller's.
    pub fn fact(&self, telling: Telling<Body>) -> Result<Outgoing, WireError> {
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
                self.report(stay, id, times, Content::of(body), (status_of(status), replaces))?
            }
            Word::Withdraw { body, fact } => {
                let in_error = (ObservationStatus::EnteredInError, Some(fact));
                self.report(stay, id, times, Content::none(body), in_error)?
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

    fn report(
        &self,
        stay_id: StayId,
        event_id: FactId,
        (observed_at, available_at): (EventTime, EventTime),
        content: Content,
        (status, replaces): (ObservationStatus, Option<FactId>),
    ) -> Result<(Topic, Vec<u8>), WireError> {
        let Measured { topic, code_system, code, value, unit, specimen } = match content {
            Content::Measured(measured) => measured,
            Content::Film { view, modality, picture } => {
                let feed = self.feed(Topic::Imaging);
                let record = ImagingEvent {
                    event_id,
                    stay_id,
                    feed,
                    observed_at,
                    available_at,
                    view,
                    modality,
                    picture,
                    status,
                    replaces,
                };
                return Ok((Topic::Imaging, self.codec.encode(&record)?));
            }
        };
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

    /// Marks of `time` for those of these topics that the edge writes.
    pub fn marks(
        &self,
        topics: &[Topic],
        time: EventTime,
    ) -> Result<Vec<(Topic, Vec<u8>)>, WireError> {
        let mark = |(topic, feed): &(Topic, String)| {
            Ok((*topic, self.codec.encode(&MarkRecord { feed: feed.clone(), time })?))
        };
        self.feeds.iter().filter(|(topic, _)| topics.contains(topic)).map(mark).collect()
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
            topic: head.language.map_or(SOMEWHERE, Language::name).to_owned(),
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

/// What a report brings, as records have it.
enum Content {
    Measured(Measured),
    Film { view: ViewPosition, modality: Option<String>, picture: PictureField },
}

impl Content {
    fn of(body: Body) -> Self {
        match body {
            Body::Measured(measured) => Content::Measured(measured),
            Body::Film(Film { view, modality, png }) => {
                let media_type = Some("image/png".to_owned());
                let picture = PictureField::Inline(InlinePicture { media_type, content: png });
                Content::Film { view, modality, picture }
            }
        }
    }

    /// Of a report that does not hold: what it was about, and nothing else.
    fn none(body: Body) -> Self {
        match Content::of(body) {
            Content::Measured(measured) => {
                Content::Measured(Measured { value: RecordedValue::Missing, ..measured })
            }
            Content::Film { view, modality, .. } => {
                Content::Film { view, modality, picture: PictureField::Missing }
            }
        }
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
