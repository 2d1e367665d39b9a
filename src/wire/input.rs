//! Records of the input topics to facts: feeds, codes, units and times are checked here, once.

use super::alert::AcknowledgementRecord;
use super::codec::Codec;
use super::records::{
    CodeSystem, ImagingEvent, LabEvent, MarkRecord, ObservationStatus, PictureField, RecordedValue,
    StayChange, StayEventRecord, VitalEvent,
};
use super::schemas::RecordKind;
use crate::event::alert::Act;
use crate::event::dictionary::Profile;
use crate::event::{
    Admission, Fact, FactBody, Mark, Observation, RawValue, Reason, Rejection, StayEvent,
    ViewPosition,
};
use crate::ids::{Digest, FactId, FeedId, StayId, Topic};
use crate::time::{EventTime, Span};

/// 1990-01-01: no record of an intensive care unit in use is older.
pub const EARLIEST: EventTime = EventTime::from_millis(631_152_000_000);

/// 2212-01-01: MIMIC's shifted dates end before 2212.
pub const LATEST: EventTime = EventTime::from_millis(7_636_723_200_000);

/// How much later than its availability a fact may claim to have been observed: clocks differ, and
/// charts are filled in ahead, but not by more.
const MAX_AHEAD: Span = Span::hours(24);

/// No human has been older.
const MAX_AGE_YEARS: i32 = 130;

/// Characters of a sender's own words that a rejection may repeat.
const MAX_QUOTED: usize = 40;

/// Words by which senders name a specimen of blood, in lower case: text, HL7 v2 table 0487 and
/// MIMIC's specimen types.
const BLOOD: [&str; 12] =
    ["blood", "serum", "plasma", "bld", "blda", "bldv", "bldc", "ser", "plas", "art", "ven", "wb"];

/// What an input record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    Fact(Fact),
    /// A film whose picture is still to be fetched, decoded and judged.
    Film {
        meta: FilmMeta,
        picture: Picture,
    },
    Mark(Mark),
}

/// An imaging event without its picture.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmMeta {
    pub id: FactId,
    pub stay: StayId,
    pub feed: FeedId,
    pub observed_at: EventTime,
    pub available_at: EventTime,
    pub view: ViewPosition,
    /// DICOM modality.
    pub modality: Option<String>,
    /// An earlier film that this one takes the place of.
    pub replaces: Option<FactId>,
}

/// Where the bytes of a film are.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    Inline {
        media_type: Option<String>,
        bytes: Vec<u8>,
    },
    Reference {
        uri: String,
        sha256: Digest,
        /// Bytes of the file.
        size: u64,
    },
}

/// A lab or a vital, as far as they are the same.
struct Measured<'a> {
    system: CodeSystem,
    code: &'a str,
    value: RecordedValue<&'a str>,
    unit: Option<&'a str>,
    specimen: Option<&'a str>,
    status: ObservationStatus,
    replaces: Option<FactId>,
}

impl Codec {
    /// One record of an input topic, checked. `key` is the record's key; marks need none.
    pub fn decode_input(
        &self,
        topic: Topic,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<Decoded, Rejection> {
        // The two that come by the million, without a look at the other schemas.
        match topic {
            Topic::Lab if self.is_current(RecordKind::Lab, value) => {
                let record: LabEvent<&str> = Codec::decode_in_place(RecordKind::Lab, value)?;
                return self.lab(key, record);
            }
            Topic::Vital if self.is_current(RecordKind::Vital, value) => {
                let record: VitalEvent<&str> = Codec::decode_in_place(RecordKind::Vital, value)?;
                return self.vital(key, record);
            }
            _ => {}
        }
        if self.kind_of(value)? == RecordKind::Mark {
            return self.mark(topic, self.decode(value)?);
        }
        match topic {
            Topic::Lab => self.lab(key, self.decode::<LabEvent>(value)?),
            Topic::Vital => self.vital(key, self.decode::<VitalEvent>(value)?),
            Topic::Imaging => self.imaging(key, self.decode(value)?),
            Topic::Stay => self.stay(key, self.decode(value)?),
            Topic::Acknowledgement => self.acknowledgement(key, self.decode(value)?),
        }
    }

    fn mark(&self, topic: Topic, record: MarkRecord) -> Result<Decoded, Rejection> {
        let feed = self.feed(topic, &record.feed)?;
        if record.time != EventTime::MAX {
            check_time("mark", record.time)?;
        }
        Ok(Decoded::Mark(Mark { feed, time: record.time }))
    }

    fn lab<Text: AsRef<str>>(
        &self,
        key: Option<&[u8]>,
        record: LabEvent<Text>,
    ) -> Result<Decoded, Rejection> {
        check_key(key, record.stay_id)?;
        check_times(record.observed_at, record.available_at)?;
        let feed = self.feed(Topic::Lab, record.feed.as_ref())?;
        let body = self.measured(Measured {
            system: record.code_system,
            code: record.code.as_ref(),
            value: record.value.as_ref(),
            unit: record.unit.as_ref().map(AsRef::as_ref),
            specimen: record.specimen.as_ref().map(AsRef::as_ref),
            status: record.status,
            replaces: record.replaces,
        })?;
        Ok(Decoded::Fact(Fact {
            id: record.event_id,
            stay: record.stay_id,
            feed,
            observed_at: record.observed_at,
            available_at: record.available_at,
            body,
        }))
    }

    fn vital<Text: AsRef<str>>(
        &self,
        key: Option<&[u8]>,
        record: VitalEvent<Text>,
    ) -> Result<Decoded, Rejection> {
        check_key(key, record.stay_id)?;
        check_times(record.observed_at, record.available_at)?;
        let feed = self.feed(Topic::Vital, record.feed.as_ref())?;
        let body = self.measured(Measured {
            system: record.code_system,
            code: record.code.as_ref(),
            value: record.value.as_ref(),
            unit: record.unit.as_ref().map(AsRef::as_ref),
            specimen: None,
            status: record.status,
            replaces: record.replaces,
        })?;
        Ok(Decoded::Fact(Fact {
            id: record.event_id,
            stay: record.stay_id,
            feed,
            observed_at: record.observed_at,
            available_at: record.available_at,
            body,
        }))
    }

    fn measured(&self, measured: Measured<'_>) -> Result<FactBody, Rejection> {
        if measured.status == ObservationStatus::EnteredInError {
            return retraction(measured.replaces);
        }
        if let (Profile::Clinical, Some(specimen)) = (self.dictionary.profile, measured.specimen)
            && !is_blood(specimen)
        {
            let detail = "the specimen is not blood, serum or plasma";
            return Err(Rejection::new(Reason::WrongSpecimen, detail));
        }
        let raw = match measured.value {
            RecordedValue::Number(value) if value.is_finite() => RawValue::Number(value),
            RecordedValue::Number(_) => return Err(not_a_number("the value is not finite")),
            RecordedValue::Text(text) => RawValue::Text(text.to_owned()),
            RecordedValue::Missing => return Err(not_a_number("there is no value")),
        };
        let observation = self.observe(measured.system, measured.code, &raw, measured.unit)?;
        body_of(observation, measured.status, measured.replaces)
    }

    fn observe(
        &self,
        system: CodeSystem,
        code: &str,
        raw: &RawValue,
        unit: Option<&str>,
    ) -> Result<Observation, Rejection> {
        let dictionary = &self.dictionary;
        let found = match system {
            CodeSystem::MimicItem => {
                let item = code.parse().map_err(|_| unmapped(code))?;
                return dictionary.observe_item(item, raw, unit);
            }
            CodeSystem::Loinc if dictionary.refused_loinc(code).is_some() => {
                let detail = format!("LOINC {code} is of a specimen that is not used");
                return Err(Rejection::new(Reason::WrongSpecimen, detail));
            }
            CodeSystem::Loinc => dictionary.by_loinc(code),
            CodeSystem::Local => dictionary.by_code(code),
        };
        dictionary.observe(found.ok_or_else(|| unmapped(code))?, raw, unit)
    }

    fn imaging(&self, key: Option<&[u8]>, record: ImagingEvent) -> Result<Decoded, Rejection> {
        check_key(key, record.stay_id)?;
        check_times(record.observed_at, record.available_at)?;
        let feed = self.feed(Topic::Imaging, &record.feed)?;
        if record.status == ObservationStatus::EnteredInError {
            return Ok(Decoded::Fact(Fact {
                id: record.event_id,
                stay: record.stay_id,
                feed,
                observed_at: record.observed_at,
                available_at: record.available_at,
                body: retraction(record.replaces)?,
            }));
        }
        let meta = FilmMeta {
            id: record.event_id,
            stay: record.stay_id,
            feed,
            observed_at: record.observed_at,
            available_at: record.available_at,
            view: record.view,
            modality: record.modality,
            replaces: record.replaces,
        };
        Ok(Decoded::Film { meta, picture: picture(record.picture)? })
    }

    fn stay(&self, key: Option<&[u8]>, record: StayEventRecord) -> Result<Decoded, Rejection> {
        check_key(key, record.stay_id)?;
        check_times(record.observed_at, record.available_at)?;
        let feed = self.feed(Topic::Stay, &record.feed)?;
        let body = match record.status {
            ObservationStatus::EnteredInError => retraction(record.replaces)?,
            _ => FactBody::Stay(stay_event(record.change)?),
        };
        Ok(Decoded::Fact(Fact {
            id: record.event_id,
            stay: record.stay_id,
            feed,
            observed_at: record.observed_at,
            available_at: record.available_at,
            body,
        }))
    }

    fn acknowledgement(
        &self,
        key: Option<&[u8]>,
        record: AcknowledgementRecord,
    ) -> Result<Decoded, Rejection> {
        check_key(key, record.stay_id)?;
        check_time("at", record.at)?;
        let feed = self.feed(Topic::Acknowledgement, &record.feed)?;
        let act = Act::try_from(record)?;
        Ok(Decoded::Fact(Fact {
            id: FactId(act.id),
            stay: act.stay,
            feed,
            observed_at: act.by.at,
            available_at: act.by.at,
            body: FactBody::Acted(Box::new(act)),
        }))
    }

    /// The configured feed of this name, for records that belong to no topic of their own.
    pub(super) fn feed_named(&self, name: &str) -> Result<FeedId, Rejection> {
        let found = (0u8..).zip(&self.feeds).find(|(_, feed)| feed.name == name);
        let detail = "the feed of a journalled mark is no longer configured; see [feeds]";
        found
            .map(|(index, _)| FeedId(index))
            .ok_or_else(|| Rejection::new(Reason::UnknownFeed, detail))
    }

    /// The configured feed of this name in this topic.
    fn feed(&self, topic: Topic, name: &str) -> Result<FeedId, Rejection> {
        let found = (0u8..).zip(&self.feeds).find(|(_, f)| f.topic == topic && f.name == name);
        found.map(|(index, _)| FeedId(index)).ok_or_else(|| {
            let name: String = name.chars().take(MAX_QUOTED).collect();
            let topic = topic.name();
            let detail = format!("feed {name:?} is not configured for topic {topic}; see [feeds]");
            Rejection::new(Reason::UnknownFeed, detail)
        })
    }
}

fn body_of(
    observation: Observation,
    status: ObservationStatus,
    replaces: Option<FactId>,
) -> Result<FactBody, Rejection> {
    match (status, replaces) {
        (_, Some(replaces)) => Ok(FactBody::Corrected { replaces, observation }),
        (ObservationStatus::Amended | ObservationStatus::Corrected, None) => {
            let detail = "a corrected result must name in replaces the one that it corrects";
            Err(Rejection::new(Reason::UnknownFact, detail))
        }
        _ => Ok(FactBody::Observed(observation)),
    }
}

fn retraction(replaces: Option<FactId>) -> Result<FactBody, Rejection> {
    let detail = "entered_in_error must name in replaces the fact that it takes back";
    replaces
        .map(|fact| FactBody::Retracted { fact })
        .ok_or_else(|| Rejection::new(Reason::UnknownFact, detail))
}

fn stay_event(change: StayChange) -> Result<StayEvent, Rejection> {
    match change {
        StayChange::Admit(admit) => match u8::try_from(admit.age_years) {
            Ok(age_years) if admit.age_years <= MAX_AGE_YEARS => {
                let (sex, unit) = (admit.sex, admit.unit);
                Ok(StayEvent::Admitted(Admission { age_years, sex, unit }))
            }
            _ => {
                let detail = format!("age_years is outside 0..={MAX_AGE_YEARS}");
                Err(Rejection::new(Reason::Implausible, detail))
            }
        },
        StayChange::Transfer(transfer) => Ok(StayEvent::Transferred { unit: transfer.unit }),
        StayChange::Discharge(discharge) => {
            Ok(StayEvent::Discharged { disposition: discharge.disposition })
        }
    }
}

fn picture(field: PictureField) -> Result<Picture, Rejection> {
    match field {
        PictureField::Missing => {
            let detail = "neither a picture nor a reference to one";
            Err(Rejection::new(Reason::FilmUnavailable, detail))
        }
        PictureField::Inline(inline) => {
            Ok(Picture::Inline { media_type: inline.media_type, bytes: inline.content })
        }
        PictureField::Reference(reference) => match u64::try_from(reference.size) {
            Ok(size) => {
                let (uri, sha256) = (reference.uri, reference.sha256);
                Ok(Picture::Reference { uri, sha256, size })
            }
            Err(_) => Err(Rejection::new(Reason::Undecodable, "the size is negative")),
        },
    }
}

fn is_blood(specimen: &str) -> bool {
    let is_word = |word: &str| BLOOD.iter().any(|blood| blood.eq_ignore_ascii_case(word));
    specimen.split(|c: char| !c.is_ascii_alphanumeric()).any(is_word)
}

fn unmapped(code: &str) -> Rejection {
    let code: String = code.chars().take(MAX_QUOTED).collect();
    let detail = format!("code {code:?} is not in schemas/variables.toml");
    Rejection::new(Reason::UnmappedCode, detail)
}

fn not_a_number(detail: &str) -> Rejection {
    Rejection::new(Reason::NotANumber, detail)
}

fn check_times(observed_at: EventTime, available_at: EventTime) -> Result<(), Rejection> {
    check_time("observed_at", observed_at)?;
    check_time("available_at", available_at)?;
    if observed_at <= available_at + MAX_AHEAD {
        return Ok(());
    }
    let detail = format!("observed_at {observed_at} is long after available_at {available_at}");
    Err(Rejection::new(Reason::AbsurdTime, detail))
}

fn check_time(field: &str, at: EventTime) -> Result<(), Rejection> {
    if (EARLIEST..LATEST).contains(&at) {
        return Ok(());
    }
    let detail = format!("{field} {at} is outside 1990..2212");
    Err(Rejection::new(Reason::AbsurdTime, detail))
}

fn check_key(key: Option<&[u8]>, stay: StayId) -> Result<(), Rejection> {
    let Some(key) = key else {
        return Err(Rejection::new(Reason::MissingKey, "key the record by its stay id in decimal"));
    };
    let named = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok());
    if named == Some(stay.0) {
        return Ok(());
    }
    let detail = "the key is not the stay id of the record; key it by its stay id in decimal";
    Err(Rejection::new(Reason::MissingKey, detail))
}
