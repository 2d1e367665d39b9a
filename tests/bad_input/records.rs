//! The ward that every test runs, and builders of single records to spoil.

use std::sync::OnceLock;

use nowcxr::config::EngineConfig;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::{Disposition, Sex, ViewPosition};
use nowcxr::ids::{FactId, StayId, Topic};
use nowcxr::time::{EventTime, Span};
use nowcxr::wire::Codec;
use nowcxr::wire::records::{
    Admit, CodeSystem, Discharge, ImagingEvent, InlinePicture, LabEvent, MarkRecord,
    ObservationStatus, PictureField, RecordedValue, StayChange, StayEventRecord, VitalEvent,
};

/// Stays of the clean ward.
pub const STAYS: [StayId; 2] = [StayId(11), StayId(12)];
/// A stay that is never admitted.
pub const NOBODY: StayId = StayId(99);
/// Minutes after the start at which the two stays end.
pub const DISCHARGED: i64 = 12 * 60;
/// Minutes for which marks go on: past the grace of the discharged and the lookback of nobody.
const LENGTH: i64 = 60 * 60;

/// One record on its way to the log.
#[derive(Clone, Debug)]
pub struct Sent {
    pub topic: Topic,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// When it is appended.
    pub at: EventTime,
}

/// Minutes after the start of the ward, 2026-01-05.
pub fn minute(n: i64) -> EventTime {
    EventTime::from_millis(1_767_571_200_000) + Span::minutes(n)
}

pub fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    Codec::new(&EngineConfig::default().feeds, dictionary).unwrap()
}

/// A heart rate of stay 11 that is good in every respect.
pub fn vital(id: &str, observed: i64) -> VitalEvent {
    VitalEvent {
        event_id: FactId::from_name(id),
        stay_id: STAYS[0],
        feed: "vital".into(),
        code_system: CodeSystem::Loinc,
        code: "8867-4".into(),
        value: RecordedValue::Number(80.0),
        unit: Some("/min".into()),
        observed_at: minute(observed),
        available_at: minute(observed),
        status: ObservationStatus::Final,
        replaces: None,
    }
}

/// A glucose of stay 11 that is good in every respect.
pub fn lab(id: &str, observed: i64) -> LabEvent {
    LabEvent {
        event_id: FactId::from_name(id),
        stay_id: STAYS[0],
        feed: "lab".into(),
        code_system: CodeSystem::Loinc,
        code: "2345-7".into(),
        value: RecordedValue::Number(110.0),
        unit: Some("mg/dL".into()),
        observed_at: minute(observed),
        available_at: minute(observed),
        status: ObservationStatus::Final,
        replaces: None,
        specimen: Some("blood".into()),
    }
}

/// A film of stay 11 that is good in every respect.
pub fn film(id: &str, observed: i64) -> ImagingEvent {
    let content = jpeg().to_vec();
    ImagingEvent {
        event_id: FactId::from_name(id),
        stay_id: STAYS[0],
        feed: "imaging".into(),
        observed_at: minute(observed),
        available_at: minute(observed),
        view: ViewPosition::Ap,
        modality: Some("DX".into()),
        picture: PictureField::Inline(InlinePicture { media_type: None, content }),
        status: ObservationStatus::Final,
        replaces: None,
    }
}

/// An AP film of the synthetic ward.
pub fn jpeg() -> &'static [u8] {
    static FILM: OnceLock<Vec<u8>> = OnceLock::new();
    FILM.get_or_init(|| {
        let films = (0..20).flat_map(|number| nowcxr::synth::stay(1, number, 256).unwrap().films);
        let mut ap = films.filter(|film| film.view == Some(ViewPosition::Ap));
        let good = |jpeg: &[u8]| {
            let declared =
                nowcxr::film::Declared { view: Some(ViewPosition::Ap), ..Default::default() };
            nowcxr::film::prepare(jpeg, declared).is_ok()
        };
        ap.find(|film| good(&film.jpeg)).expect("a good AP film among twenty stays").jpeg
    })
}

pub fn stay_event(id: &str, stay: StayId, at: i64, change: StayChange) -> StayEventRecord {
    StayEventRecord {
        event_id: FactId::from_name(id),
        stay_id: stay,
        feed: "stay".into(),
        observed_at: minute(at),
        available_at: minute(at),
        change,
        status: ObservationStatus::Final,
        replaces: None,
    }
}

pub fn admit(age_years: i32) -> StayChange {
    StayChange::Admit(Admit { age_years, sex: Sex::Female, unit: "MICU".into() })
}

/// A record of `stay`, appended when it became available.
pub fn sent<R: nowcxr::wire::Record>(
    codec: &Codec,
    topic: Topic,
    stay: StayId,
    at: EventTime,
    record: &R,
) -> Sent {
    let key = Some(Codec::key(stay).into_bytes());
    Sent { topic, key, value: codec.encode(record).unwrap(), at }
}

/// Two stays of twelve hours with vitals, labs and a film each, and the marks of every feed.
pub fn clean(codec: &Codec) -> Vec<Sent> {
    let mut all = Vec::new();
    for stay in STAYS {
        let mut push = |topic, at: i64, value: Vec<u8>| {
            let key = Some(Codec::key(stay).into_bytes());
            all.push(Sent { topic, key, value, at: minute(at) });
        };
        let encode = |record: &StayEventRecord| codec.encode(record).unwrap();
        push(Topic::Stay, 0, encode(&stay_event(&format!("in{stay}"), stay, 0, admit(63))));
        let discharge = StayChange::Discharge(Discharge { disposition: Disposition::Alive });
        let end = stay_event(&format!("out{stay}"), stay, DISCHARGED, discharge);
        push(Topic::Stay, DISCHARGED, encode(&end));
        for at in (5..DISCHARGED).step_by(35) {
            let value = RecordedValue::Number(60.0 + (at % 50) as f64 + stay.0 as f64);
            let event = VitalEvent { stay_id: stay, value, ..vital(&format!("v{stay}/{at}"), at) };
            push(Topic::Vital, at, codec.encode(&event).unwrap());
        }
        for at in (20..DISCHARGED).step_by(170) {
            let event = LabEvent { stay_id: stay, ..lab(&format!("l{stay}/{at}"), at) };
            push(Topic::Lab, at, codec.encode(&event).unwrap());
        }
        let film = ImagingEvent { stay_id: stay, ..film(&format!("f{stay}"), 100) };
        push(Topic::Imaging, 100, codec.encode(&film).unwrap());
    }
    for at in (0..=LENGTH).step_by(30) {
        for topic in Topic::ALL {
            // Behind whatever was appended in the same minute.
            let time = minute(at) + Span::from_millis(1);
            let mark = MarkRecord { feed: topic.name().into(), time };
            all.push(Sent { topic, key: None, value: codec.encode(&mark).unwrap(), at: time });
        }
    }
    all
}
