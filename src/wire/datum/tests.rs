//! By position and by schema: the same bytes, the same records, the same refusals.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

use super::super::codec::{Coding, Record};
use super::super::records::{
    CodeSystem, LabEvent, MarkRecord, ObservationStatus, RecordedValue, VitalEvent,
};
use super::{read, write};
use crate::ids::{FactId, StayId};
use crate::time::EventTime;

/// Both ways of one kind of record.
struct Ways {
    schema: Schema,
}

impl Ways {
    fn of<R: Record>() -> Self {
        assert_eq!(R::CODING, Coding::ByPosition);
        Ways { schema: Schema::parse_str(R::KIND.schema_text()).unwrap() }
    }

    fn by_schema<R: Record>(&self, bytes: &[u8]) -> Option<(R, usize)> {
        let reader = GenericDatumReader::builder(&self.schema).human_readable(false).build();
        let mut rest = bytes;
        let record = reader.unwrap().read_deser(&mut rest).ok()?;
        Some((record, rest.len()))
    }

    fn written_by_schema<R: Record>(&self, record: &R) -> Vec<u8> {
        let writer = GenericDatumWriter::builder(&self.schema).human_readable(false).build();
        let mut bytes = Vec::new();
        writer.unwrap().write_ser(&mut bytes, record).unwrap();
        bytes
    }
}

fn by_position<R: Record>(bytes: &[u8]) -> Option<(R, usize)> {
    let mut rest = bytes;
    let record = read(&mut rest).ok()?;
    Some((record, rest.len()))
}

/// Equal bytes both ways, and equal answers to every prefix of them.
fn agree<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
    let ways = Ways::of::<R>();
    let mut bytes = Vec::new();
    write(record, &mut bytes).unwrap();
    assert_eq!(bytes, ways.written_by_schema(record));
    for end in 0..=bytes.len() {
        assert_eq!(by_position::<R>(&bytes[..end]), ways.by_schema(&bytes[..end]), "of {end}");
    }
    assert_eq!(by_position::<R>(&bytes).unwrap(), (record_of(&bytes), 0));
}

fn record_of<R: Record>(bytes: &[u8]) -> R {
    read(&mut &bytes[..]).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{0,12}", ".{0,8}", "x{60,70}"]
}

prop_compose! {
    fn vital()(
        id in any::<u128>(), stay in 0..=i64::MAX as u64, feed in text(), code in text(),
        code_system in prop_oneof![
            Just(CodeSystem::Loinc), Just(CodeSystem::MimicItem), Just(CodeSystem::Local)
        ],
        value in prop_oneof![
            (-1e9f64..1e9).prop_map(RecordedValue::Number),
            text().prop_map(RecordedValue::Text),
            Just(RecordedValue::Missing),
        ],
        unit in proptest::option::of(text()), times in any::<(i64, i64)>(),
        status in prop_oneof![
            Just(ObservationStatus::Preliminary), Just(ObservationStatus::Final),
            Just(ObservationStatus::Amended), Just(ObservationStatus::Corrected),
            Just(ObservationStatus::EnteredInError),
        ],
        replaces in any::<Option<u128>>(),
    ) -> VitalEvent {
        VitalEvent {
            event_id: FactId(uuid::Uuid::from_u128(id)),
            stay_id: StayId(stay),
            feed,
            code_system,
            code,
            value,
            unit,
            observed_at: EventTime::from_millis(times.0),
            available_at: EventTime::from_millis(times.1),
            status,
            replaces: replaces.map(|id| FactId(uuid::Uuid::from_u128(id))),
        }
    }
}

fn lab(vital: VitalEvent, specimen: Option<String>) -> LabEvent {
    let VitalEvent { event_id, stay_id, feed, code_system, code, value, unit, .. } = vital;
    let VitalEvent { observed_at, available_at, status, replaces, .. } = vital;
    LabEvent {
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
    }
}

proptest! {
    #[test]
    fn records_are_the_same_both_ways(
        vital in vital(), specimen in proptest::option::of(text()),
        feed in text(), time in any::<i64>(),
    ) {
        agree(&vital);
        agree(&lab(vital, specimen));
        agree(&MarkRecord { feed, time: EventTime::from_millis(time) });
    }

    #[test]
    fn whatever_bytes_come_both_ways_say_the_same(
        vital in vital(), flips in prop::collection::vec((any::<usize>(), 0u8..8), 1..4),
        noise in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let ways = Ways::of::<VitalEvent>();
        let mut bytes = Vec::new();
        write(&vital, &mut bytes).unwrap();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        // Compared as text, because a damaged value may be NaN.
        for bytes in [&bytes, &noise] {
            let (by_position, by_schema) =
                (by_position::<VitalEvent>(bytes), ways.by_schema::<VitalEvent>(bytes));
            prop_assert_eq!(format!("{by_position:?}"), format!("{by_schema:?}"));
        }
    }
}

#[test]
fn a_type_without_a_place_is_refused_and_not_guessed() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Foreign {
        number: u32,
    }
    let mut bytes = Vec::new();
    assert!(write(&Foreign { number: 1 }, &mut bytes).is_err());
    assert!(read::<Foreign>(&mut &[2u8][..]).is_err());
}
