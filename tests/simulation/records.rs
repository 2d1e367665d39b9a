//! From what a sheet says to the record that is sent and the truth about it.

use bytes::Bytes;
use nowcxr::config::EngineConfig;
use nowcxr::event::alert::{Act, By, Deed};
use nowcxr::event::{
    Admission, Disposition, Fact, FactBody, Mark, Reason, Sex, StayEvent, ViewPosition,
};
use nowcxr::ids::{FactId, FeedId, StayId, Topic};
use nowcxr::time::{EventTime, WallTime};
use nowcxr::wire::records::{
    Admit, CodeSystem, Discharge, ImagingEvent, InlinePicture, LabEvent, MarkRecord,
    ObservationStatus, PictureField, RecordedValue, StayChange, StayEventRecord, VitalEvent,
};
use nowcxr::wire::{AcknowledgementRecord, Codec, Record};

use crate::ward::{Logged, Truth, fact_id, films, measured, minute};

/// Kinds of damage that [`Sheet::broken`] names.
pub const KINDS_OF_DAMAGE: usize = 4;

/// What a sheet says.
#[derive(Clone, Debug)]
enum Says {
    Nothing,
    Value(usize, i64),
    Film(usize),
    Admitted(i64),
    Discharged(bool),
    Did(Deed),
}

/// One thing that a feed will send.
#[derive(Clone, Debug)]
pub struct Sheet {
    pub topic: Topic,
    pub stay: StayId,
    pub name: String,
    pub observed: i64,
    pub available: i64,
    /// Minute at which the feed sends it.
    pub sent: i64,
    /// Minutes by which it claims to be available after it was appended; 0 for none.
    pub future: i64,
    pub broken: Option<usize>,
    says: Says,
    replaces: Option<FactId>,
    retracts: bool,
    is_b: bool,
}

impl Sheet {
    pub fn new(topic: Topic, stay: StayId, name: String) -> Self {
        Sheet {
            topic,
            stay,
            name,
            observed: 0,
            available: 0,
            sent: 0,
            future: 0,
            broken: None,
            says: Says::Nothing,
            replaces: None,
            retracts: false,
            is_b: false,
        }
    }

    pub fn at(self, observed: i64, available: i64) -> Self {
        Sheet { observed, available, sent: available, ..self }
    }

    pub fn value(self, which: usize, value: i64) -> Self {
        Sheet { says: Says::Value(which, value), ..self }
    }

    pub fn film(self, n: usize) -> Self {
        Sheet { says: Says::Film(n), ..self }
    }

    pub fn admits(self, age: i64) -> Self {
        Sheet { says: Says::Admitted(age), ..self }
    }

    pub fn discharges(self, died: bool) -> Self {
        Sheet { says: Says::Discharged(died), ..self }
    }

    pub fn did(self, deed: Deed) -> Self {
        Sheet { says: Says::Did(deed), ..self }
    }

    pub fn replacing(self, name: &str) -> Self {
        Sheet { replaces: Some(fact_id(name)), ..self }
    }

    pub fn retracts(self, name: &str) -> Self {
        Sheet { replaces: Some(fact_id(name)), retracts: true, ..self }
    }

    /// Which variable it speaks of, and its value.
    pub fn says_value(&self) -> Option<(usize, i64)> {
        match self.says {
            Says::Value(which, value) => Some((which, value)),
            _ => None,
        }
    }

    /// Sent by the second laboratory.
    pub fn by_b(self) -> Self {
        Sheet { is_b: true, ..self }
    }

    fn feed(&self, config: &EngineConfig) -> (FeedId, String) {
        let name = if self.is_b { "lab-b" } else { self.topic.name() };
        let mut feeds = (0u8..).zip(&config.feeds);
        let (id, feed) = feeds.find(|(_, feed)| feed.name == name).unwrap();
        (FeedId(id), feed.name.clone())
    }

    fn body(&self, at: EventTime) -> FactBody {
        if let (true, Some(fact)) = (self.retracts, self.replaces) {
            return FactBody::Retracted { fact };
        }
        match self.says.clone() {
            Says::Nothing => FactBody::Retracted { fact: fact_id("nothing") },
            Says::Value(which, value) => {
                match (measured(self.topic, which, value).2, self.replaces) {
                    (FactBody::Observed(observation), Some(replaces)) => {
                        FactBody::Corrected { replaces, observation }
                    }
                    (body, _) => body,
                }
            }
            Says::Film(n) => match self.replaces {
                Some(replaces) => FactBody::FilmCorrected { replaces, film: films()[n].1 },
                None => FactBody::Filmed(films()[n].1),
            },
            Says::Admitted(age) => FactBody::Stay(StayEvent::Admitted(Admission {
                age_years: age as u8,
                sex: Sex::Female,
                unit: "MICU".into(),
            })),
            Says::Discharged(died) => {
                FactBody::Stay(StayEvent::Discharged { disposition: disposition(died) })
            }
            Says::Did(deed) => {
                let (id, by) = (fact_id(&self.name).0, By { role: None, at });
                FactBody::Acted(Box::new(Act { id, stay: self.stay, deed, by }))
            }
        }
    }
}

fn disposition(died: bool) -> Disposition {
    if died { Disposition::Died } else { Disposition::Alive }
}

/// The record of a sheet, appended at minute `at`.
pub fn logged(sheet: &Sheet, config: &EngineConfig, codec: &Codec, at: i64) -> Logged {
    let (feed, feed_name) = sheet.feed(config);
    let available = match sheet.future {
        0 => sheet.available,
        future => at + future,
    };
    // What a person does is true from when it is done.
    let acts = sheet.topic == Topic::Acknowledgement;
    let fact = Fact {
        id: fact_id(&sheet.name),
        stay: sheet.stay,
        feed,
        observed_at: minute(if acts { available } else { sheet.observed }),
        available_at: minute(available),
        body: sheet.body(minute(available)),
    };
    let mut key = Some(Bytes::from(Codec::key(sheet.stay)));
    let mut value = encode(sheet, &fact, &feed_name, codec);
    let mut truth = Truth::Fact(fact);
    match sheet.broken {
        None => {}
        Some(0) => {
            key = None;
            truth = Truth::Broken(Reason::MissingKey);
        }
        Some(1) => {
            value.truncate(value.len() - 1);
            truth = Truth::Broken(Reason::Undecodable);
        }
        Some(2) => {
            value = b"no record at all".to_vec();
            truth = Truth::Broken(Reason::Undecodable);
        }
        Some(_) => {
            value = Vec::new();
            truth = Truth::Broken(Reason::Undecodable);
        }
    }
    Logged { truth, key, value: value.into(), appended_at: wall(at) }
}

pub fn mark(mark: Mark, feed: &str, codec: &Codec, at: i64) -> Logged {
    let record = MarkRecord { feed: feed.to_owned(), time: mark.time };
    let value = codec.encode(&record).unwrap().into();
    Logged { truth: Truth::Mark(mark), key: None, value, appended_at: wall(at) }
}

fn wall(at: i64) -> WallTime {
    WallTime::from_millis(minute(at).as_millis())
}

fn encode(sheet: &Sheet, fact: &Fact, feed: &str, codec: &Codec) -> Vec<u8> {
    let (status, replaces) = match (sheet.retracts, sheet.replaces) {
        (true, replaces) => (ObservationStatus::EnteredInError, replaces),
        (false, Some(replaces)) => (ObservationStatus::Corrected, Some(replaces)),
        (false, None) => (ObservationStatus::Final, None),
    };
    let times = (fact.observed_at, fact.available_at);
    match sheet.topic {
        Topic::Stay => encode_stay(sheet, fact, feed, codec, status),
        Topic::Imaging => framed(
            codec,
            &ImagingEvent {
                event_id: fact.id,
                stay_id: fact.stay,
                feed: feed.to_owned(),
                observed_at: times.0,
                available_at: times.1,
                view: ViewPosition::Ap,
                modality: Some("DX".into()),
                picture: picture(sheet),
                status,
                replaces,
            },
        ),
        Topic::Acknowledgement => encode_act(fact, feed, codec),
        Topic::Lab | Topic::Vital => encode_measured(sheet, times, fact, feed, codec, status),
    }
}

fn encode_act(fact: &Fact, feed: &str, codec: &Codec) -> Vec<u8> {
    match &fact.body {
        FactBody::Acted(act) => framed(codec, &AcknowledgementRecord::new(act, feed)),
        _ => unreachable!("sheets of this topic are acts"),
    }
}

/// The record of what a person does.
pub fn act(act: Act, config: &EngineConfig, codec: &Codec, appended_at: WallTime) -> Logged {
    let name = Topic::Acknowledgement.name();
    let mut feeds = (0u8..).zip(&config.feeds);
    let (feed, _) = feeds.find(|(_, feed)| feed.name == name).unwrap();
    let (key, at) = (Some(Bytes::from(Codec::key(act.stay))), act.by.at);
    let fact = Fact {
        id: FactId(act.id),
        stay: act.stay,
        feed: FeedId(feed),
        observed_at: at,
        available_at: at,
        body: FactBody::Acted(Box::new(act)),
    };
    let value = encode_act(&fact, name, codec).into();
    Logged { truth: Truth::Fact(fact), key, value, appended_at }
}

fn picture(sheet: &Sheet) -> PictureField {
    match sheet.says {
        Says::Film(n) => {
            PictureField::Inline(InlinePicture { media_type: None, content: films()[n].0.to_vec() })
        }
        _ => PictureField::Missing,
    }
}

fn encode_stay(
    sheet: &Sheet,
    fact: &Fact,
    feed: &str,
    codec: &Codec,
    status: ObservationStatus,
) -> Vec<u8> {
    let change = match sheet.says {
        Says::Admitted(age) => StayChange::Admit(Admit {
            age_years: age as i32,
            sex: Sex::Female,
            unit: "MICU".into(),
        }),
        Says::Discharged(died) => {
            StayChange::Discharge(Discharge { disposition: disposition(died) })
        }
        _ => unreachable!("sheets of topic stay admit or discharge"),
    };
    framed(
        codec,
        &StayEventRecord {
            event_id: fact.id,
            stay_id: fact.stay,
            feed: feed.to_owned(),
            observed_at: fact.observed_at,
            available_at: fact.available_at,
            change,
            status,
            replaces: sheet.replaces,
        },
    )
}

fn encode_measured(
    sheet: &Sheet,
    (observed_at, available_at): (EventTime, EventTime),
    fact: &Fact,
    feed: &str,
    codec: &Codec,
    status: ObservationStatus,
) -> Vec<u8> {
    let (which, value) = match sheet.says {
        Says::Value(which, value) => (which, RecordedValue::Number(value as f64)),
        _ => (0, RecordedValue::Missing),
    };
    let (code, unit, _) = measured(sheet.topic, which, 100);
    let event = VitalEvent {
        event_id: fact.id,
        stay_id: fact.stay,
        feed: feed.to_owned(),
        code_system: CodeSystem::Loinc,
        code: code.into(),
        value,
        unit: Some(unit.into()),
        observed_at,
        available_at,
        status,
        replaces: sheet.replaces,
    };
    if sheet.topic == Topic::Vital {
        return framed(codec, &event);
    }
    framed(
        codec,
        &LabEvent {
            event_id: event.event_id,
            stay_id: event.stay_id,
            feed: event.feed,
            code_system: event.code_system,
            code: event.code,
            value: event.value,
            unit: event.unit,
            observed_at,
            available_at,
            status,
            replaces: event.replaces,
            specimen: None,
        },
    )
}

fn framed<R: Record>(codec: &Codec, record: &R) -> Vec<u8> {
    codec.encode(record).unwrap()
}
