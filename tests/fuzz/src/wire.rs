//! Records of topics: an input is a letter that names the topic, and a record's value.

use std::fmt::Debug;

use nowcxr::config::EngineConfig;
use nowcxr::event::Rejection;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::ids::Topic;
use nowcxr::wire::records::{ImagingEvent, LabEvent, MarkRecord, StayEventRecord, VitalEvent};
use nowcxr::wire::{
    AcknowledgementRecord, AlertRecord, Codec, DeadLetter, Decoded, JournalEntry, LabelEvent,
    MAX_RECORD_BYTES, OlderSchema, Record, RecordKind, RiskRecord, StayView,
};

use crate::memory::bounded;

#[path = "../../bad_input/records.rs"]
pub mod records;

/// Bytes that one record may need: what decoding may allocate for one value, and the rest.
const MEMORY: usize = MAX_RECORD_BYTES + (8 << 20);
/// Characters of a rejection's detail.
const MAX_DETAIL: usize = 500;
/// Under which ids the schemas of this version stand a second time, as those of an older one: their
/// records are read by the schema then, and not by position.
const BY_SCHEMA: u32 = 1_000;
/// The key of every record here: a stay of the seeds.
const KEY: &[u8] = b"11";

thread_local! {
    static CODEC: Codec = codec();
}

fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("the dictionary is sound");
    let older: Vec<OlderSchema> = (BY_SCHEMA..)
        .zip(RecordKind::ALL)
        .map(|(id, kind)| OlderSchema { id, kind, text: kind.schema_text().to_owned() })
        .collect();
    let feeds = EngineConfig::default().feeds;
    Codec::with_older(&feeds, dictionary, &older).expect("the schemas are sound")
}

/// Holds whatever a record is.
pub fn check(bytes: &[u8]) {
    let Some((letter, value)) = bytes.split_first() else { return };
    let topic = match letter {
        b'L' => Topic::Lab,
        b'V' => Topic::Vital,
        b'I' => Topic::Imaging,
        b'S' => Topic::Stay,
        _ => Topic::Acknowledgement,
    };
    CODEC.with(|codec| bounded(MEMORY, || holds(codec, topic, value)));
}

fn holds(codec: &Codec, topic: Topic, value: &[u8]) {
    let fact = codec.decode_input(topic, Some(KEY), value);
    match &fact {
        Err(rejection) => {
            let detail = rejection.detail.chars().count();
            assert!(detail <= MAX_DETAIL, "a detail of {detail} characters: {rejection}");
        }
        Ok(Decoded::Mark(_)) => assert!(codec.kind_of(value) == Ok(RecordKind::Mark)),
        // Without its key nobody knows that it lies in the right partition.
        Ok(_) => assert!(codec.decode_input(topic, None, value).is_err()),
    }
    let other = by_schema(codec, value).map(|other| codec.decode_input(topic, Some(KEY), &other));
    if let Some(other) = other {
        assert_eq!(said(&fact), said(&other), "by position and by schema");
    }
    if let Some(written) = rewritten(codec, value) {
        assert_eq!(said(&fact), said(&codec.decode_input(topic, Some(KEY), &written)));
    }
}

/// What is said, in words, since a value may be NaN; of a rejection only why.
fn said<T: Debug>(answer: &Result<T, Rejection>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(rejection) => rejection.reason.code().to_owned(),
    }
}

/// A record of this version under the id by which it is read with its schema.
fn by_schema(codec: &Codec, value: &[u8]) -> Option<Vec<u8>> {
    let kind = codec.kind_of(value).ok()?;
    let place = RecordKind::ALL.iter().position(|one| *one == kind)?;
    let id = BY_SCHEMA + u32::try_from(place).ok()?;
    let body = value.get(5..)?;
    Some([&[0], &id.to_be_bytes()[..], body].concat())
}

/// The record decoded as what it says it is, and written again.
fn rewritten(codec: &Codec, value: &[u8]) -> Option<Vec<u8>> {
    match codec.kind_of(value).ok()? {
        RecordKind::Lab => again::<LabEvent>(codec, value),
        RecordKind::Vital => again::<VitalEvent>(codec, value),
        RecordKind::Imaging => again::<ImagingEvent>(codec, value),
        RecordKind::Stay => again::<StayEventRecord>(codec, value),
        RecordKind::Mark => again::<MarkRecord>(codec, value),
        RecordKind::Journal => again::<JournalEntry>(codec, value),
        RecordKind::Risk => again::<RiskRecord>(codec, value),
        RecordKind::Alert => again::<AlertRecord>(codec, value),
        RecordKind::Acknowledgement => again::<AcknowledgementRecord>(codec, value),
        RecordKind::View => again::<StayView>(codec, value),
        RecordKind::DeadLetter => again::<DeadLetter>(codec, value),
        RecordKind::Label => again::<LabelEvent>(codec, value),
    }
}

/// What can be read can be written, reads as the same, and is written as the same.
fn again<R: Record + Debug>(codec: &Codec, value: &[u8]) -> Option<Vec<u8>> {
    let record = codec.decode::<R>(value).ok()?;
    let written = codec.encode(&record).expect("what was read can be written");
    let read = codec.decode::<R>(&written).expect("what was written can be read");
    assert_eq!(format!("{record:?}"), format!("{read:?}"));
    assert_eq!(codec.encode(&read).expect("it was written before"), written);
    Some(written)
}

/// Texts of records, and long integers at the ends of their range.
pub const WORDS: [&[u8]; 20] = [
    b"\x06lab",
    b"\x0avital",
    b"\x0eimaging",
    b"\x08stay",
    b"\x0c8867-4",
    b"\x0c2345-7",
    b"\x0e11558-4",
    b"\x0c8310-5",
    b"\x08/min",
    b"\x0amg/dL",
    b"\x0cmmol/L",
    b"\x06Cel",
    b"\x0ablood",
    b"\x08MICU",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    b"\0\0\0\0\x01",
    b"\0\0\0\0\x03",
    b"\0\0\0\0\x08",
];

/// A record of each kind of the ward of the ordinary tests, and the shortest of the others.
pub fn seeds() -> Vec<Vec<u8>> {
    let codec = records::codec();
    let letter = |topic: Topic| match topic {
        Topic::Lab => b'L',
        Topic::Vital => b'V',
        Topic::Imaging => b'I',
        Topic::Stay => b'S',
        Topic::Acknowledgement => b'A',
    };
    let small = 4 << 10;
    let all = records::clean(&codec).into_iter().filter(|sent| sent.value.len() < small);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for sent in all.take(80).chain(marks(&codec)) {
        let input = [&[letter(sent.topic)], &sent.value[..]].concat();
        // One of each length is enough: they differ in their numbers only.
        if found.iter().all(|other| other.len() != input.len()) {
            found.push(input);
        }
    }
    for kind in RecordKind::ALL {
        let id = BY_SCHEMA + kind as u32;
        found.push([&[b'A', 0], &id.to_be_bytes()[..], &[0; 64]].concat());
    }
    found
}

fn marks(codec: &Codec) -> Vec<records::Sent> {
    let time = records::minute(0);
    let mark = |topic: Topic| MarkRecord { feed: topic.name().into(), time };
    let sent = |topic: Topic| records::sent(codec, topic, records::STAYS[0], time, &mark(topic));
    Topic::ALL.into_iter().map(sent).collect()
}
