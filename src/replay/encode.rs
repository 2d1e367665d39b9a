//! Replay items as the wire's records. The engine cannot tell them from a hospital's.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::config::ReplayConfig;
use super::error::ReplayError;
use super::item::{Body, FilmTaken, Measured, RejectedRow, ReplayEvent};
use super::mimic::labels::Label;
use super::mimic::tree::Tree;
use crate::config::Feed;
use crate::event::{RawValue, Reason, Rejection};
use crate::ids::{Digest, Topic};
use crate::time::EventTime;
use crate::wire::records::{
    Admit, CodeSystem, Discharge, ImagingEvent, InlinePicture, LabEvent, MarkRecord,
    ObservationStatus, PictureField, PictureReference, RecordedValue, StayChange, StayEventRecord,
    Transfer, VitalEvent,
};
use crate::wire::{Codec, DeadLetter, LabelEvent, Record, WireError};

/// Encodes what a replay says. Each topic's records carry the name of its first feed.
pub struct Encoder<'a> {
    codec: &'a Codec,
    feeds: Vec<Feed>,
    inline_film_bytes: u64,
    max_film_bytes: u64,
}

/// Why an event did not become a record.
#[derive(Debug)]
pub enum NotEncoded {
    /// Its film cannot be sent: a dead letter.
    Rejected(Rejection),
    Failed(ReplayError),
}

impl<'a> Encoder<'a> {
    /// Fails if a topic has no feed, because its records could then not name theirs. A recording
    /// says nothing of what people did, so that topic needs none; a feed of it gets its marks like
    /// the others, for a recording says all that there is.
    pub fn new(
        codec: &'a Codec,
        feeds: &[Feed],
        config: &ReplayConfig,
    ) -> Result<Self, ReplayError> {
        let fed = |topic: &Topic| feeds.iter().any(|feed| feed.topic == *topic);
        let recorded = Topic::ALL.into_iter().filter(|topic| !topic.is_of_people());
        if let Some(topic) = recorded.into_iter().find(|topic| !fed(topic)) {
            let problem = format!("no feed is configured for topic `{}`", topic.name());
            return Err(ReplayError::Config(problem));
        }
        let feeds = feeds.to_vec();
        let (inline_film_bytes, max_film_bytes) = (config.inline_film_bytes, config.max_film_bytes);
        Ok(Encoder { codec, feeds, inline_film_bytes, max_film_bytes })
    }

    /// Puts the event's record into `into`, which is emptied first.
    pub fn event(
        &self,
        event: &ReplayEvent,
        tree: &Tree,
        into: &mut Vec<u8>,
    ) -> Result<(), NotEncoded> {
        into.clear();
        let topic = event.body.topic();
        let outcome = match &event.body {
            Body::Admitted(admission) => {
                let admit = Admit {
                    age_years: i32::from(admission.age_years),
                    sex: admission.sex,
                    unit: admission.unit.clone(),
                };
                self.write(&self.stay(event, StayChange::Admit(admit)), into)
            }
            Body::Transferred { unit } => {
                let transfer = Transfer { unit: unit.clone() };
                self.write(&self.stay(event, StayChange::Transfer(transfer)), into)
            }
            Body::Discharged { disposition } => {
                let discharge = Discharge { disposition: *disposition };
                self.write(&self.stay(event, StayChange::Discharge(discharge)), into)
            }
            Body::Lab(measured) => self.write(&self.lab(event, measured), into),
            Body::Chart(measured) => self.write(&self.vital(event, measured), into),
            Body::Filmed(film) => {
                let picture = self.picture(film, tree).map_err(NotEncoded::Rejected)?;
                self.write(&self.imaging(event, film, picture), into)
            }
        };
        outcome.map_err(|error| NotEncoded::Failed(failed(topic.name(), &error)))
    }

    /// The marks that say `time`, with the topic that each belongs to. A feed with a lateness sends
    /// none but the last: how far it has got is derived, but nobody else can say that it has ended.
    pub fn marks(
        &self,
        time: EventTime,
        has_ended: bool,
    ) -> Result<Vec<(Topic, Vec<u8>)>, ReplayError> {
        let mark = |feed: &Feed| {
            let record = MarkRecord { feed: feed.name.clone(), time };
            let bytes = self.codec.encode(&record).map_err(|error| failed("mark", &error))?;
            Ok((feed.topic, bytes))
        };
        self.feeds.iter().filter(|feed| has_ended || feed.lateness.is_none()).map(mark).collect()
    }

    /// A label's record.
    pub fn label(&self, label: &Label) -> Result<Vec<u8>, ReplayError> {
        let record = LabelEvent {
            stay_id: label.stay,
            at: label.known_at,
            mortality: Some(label.died_in_hospital),
            phenotypes: None,
        };
        self.codec.encode(&record).map_err(|error| failed("label", &error))
    }

    fn write<R: Record>(&self, record: &R, into: &mut Vec<u8>) -> Result<(), WireError> {
        self.codec.encode_into(record, into)
    }

    fn feed(&self, topic: Topic) -> String {
        let feed = self.feeds.iter().find(|feed| feed.topic == topic);
        feed.map(|feed| feed.name.clone()).unwrap_or_default()
    }

    fn stay(&self, event: &ReplayEvent, change: StayChange) -> StayEventRecord {
        StayEventRecord {
            event_id: event.id,
            stay_id: event.stay,
            feed: self.feed(Topic::Stay),
            observed_at: event.observed_at,
            available_at: event.available_at,
            change,
            status: ObservationStatus::Final,
            replaces: None,
        }
    }

    fn lab(&self, event: &ReplayEvent, measured: &Measured) -> LabEvent {
        LabEvent {
            event_id: event.id,
            stay_id: event.stay,
            feed: self.feed(Topic::Lab),
            code_system: CodeSystem::MimicItem,
            code: measured.item.to_string(),
            value: value(measured),
            unit: measured.unit.clone(),
            observed_at: event.observed_at,
            available_at: event.available_at,
            status: ObservationStatus::Final,
            replaces: None,
            specimen: measured.specimen.clone(),
        }
    }

    fn vital(&self, event: &ReplayEvent, measured: &Measured) -> VitalEvent {
        VitalEvent {
            event_id: event.id,
            stay_id: event.stay,
            feed: self.feed(Topic::Vital),
            code_system: CodeSystem::MimicItem,
            code: measured.item.to_string(),
            value: value(measured),
            unit: measured.unit.clone(),
            observed_at: event.observed_at,
            available_at: event.available_at,
            status: ObservationStatus::Final,
            replaces: None,
        }
    }

    fn imaging(
        &self,
        event: &ReplayEvent,
        film: &FilmTaken,
        picture: PictureField,
    ) -> ImagingEvent {
        ImagingEvent {
            event_id: event.id,
            stay_id: event.stay,
            feed: self.feed(Topic::Imaging),
            observed_at: event.observed_at,
            available_at: event.available_at,
            view: film.view,
            modality: None,
            picture,
            status: ObservationStatus::Final,
            replaces: None,
        }
    }

    /// The film's file, inline or by reference. It was there when the tables were read.
    fn picture(&self, film: &FilmTaken, tree: &Tree) -> Result<PictureField, Rejection> {
        let unavailable = |what: &str| Rejection::new(Reason::FilmUnavailable, what);
        let path = tree.film(film).ok_or_else(|| unavailable("the file is gone"))?;
        let content = read_up_to(&path, self.max_film_bytes)
            .map_err(|error| unavailable(&error.kind().to_string()))?;
        let content = content.ok_or_else(|| {
            Rejection::new(Reason::FilmTooLarge, format!("more than {} bytes", self.max_film_bytes))
        })?;
        let size = content.len() as u64;
        if size > self.inline_film_bytes {
            let full = std::fs::canonicalize(&path).unwrap_or(path);
            let uri = format!("file://{}", full.display());
            let (sha256, size) = (Digest::of(&content), i64::try_from(size).unwrap_or(i64::MAX));
            return Ok(PictureField::Reference(PictureReference { uri, sha256, size }));
        }
        let dicom = path.extension().is_some_and(|ext| ext == "dcm");
        let media_type = if dicom { "application/dicom" } else { "image/jpeg" };
        let media_type = Some(media_type.to_owned());
        Ok(PictureField::Inline(InlinePicture { media_type, content }))
    }
}

/// The whole file, or `None` if it is longer than `limit`.
fn read_up_to(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

fn value(measured: &Measured) -> RecordedValue {
    match &measured.value {
        RawValue::Number(number) => RecordedValue::Number(*number),
        RawValue::Text(text) => RecordedValue::Text(text.clone()),
    }
}

fn failed(topic: &'static str, error: &WireError) -> ReplayError {
    ReplayError::Encode { topic, problem: error.to_string() }
}

impl RejectedRow {
    /// The dead letter of a row: its position is the table and the number of the record in it.
    pub fn dead_letter(&self) -> DeadLetter {
        DeadLetter {
            topic: self.table.name().to_owned(),
            partition: 0,
            offset: i64::try_from(self.row).unwrap_or(i64::MAX),
            key: self.stay.map(|stay| Codec::key(stay).into_bytes()),
            value: Vec::new(),
            value_size: 0,
            headers: Vec::new(),
            appended_at: None,
            reason: self.rejection.reason.code().to_owned(),
            detail: self.rejection.detail.clone(),
        }
    }
}
