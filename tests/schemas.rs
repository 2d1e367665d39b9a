//! Every schema is documented, every example of `schemas/examples` survives the wire, and whatever
//! else arrives is a rejection and never a panic.

use std::path::Path;
use std::time::Instant;

use nowcxr::config::EngineConfig;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::risk::Suspicion;
use nowcxr::event::{FactBody, Reason};
use nowcxr::ids::{FactId, StayId, Topic};
use nowcxr::time::EventTime;
use nowcxr::wire::records::{
    CodeSystem, ImagingEvent, InlinePicture, LabEvent, MarkRecord, ObservationStatus, PictureField,
    RecordedValue, StayEventRecord, VitalEvent,
};
use nowcxr::wire::{
    AcknowledgementRecord, AlertRecord, Codec, DeadLetter, Decoded, JournalEntry, LabelEvent,
    OlderSchema, Picture, Record, RecordKind, RiskRecord, StayView, risk_to_json,
};
use proptest::prelude::*;

fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
    Codec::new(&EngineConfig::default().feeds, dictionary).expect("codec")
}

fn example_text(kind: RecordKind) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("schemas/examples/{}.json", kind.name()));
    std::fs::read_to_string(&path).expect("an example of every schema")
}

fn example<R: Record>() -> R {
    serde_json::from_str(&example_text(R::KIND)).expect("the example is a record")
}

/// Encodes, decodes, and then cuts the bytes at every place and adds one.
fn survives<R: Record + PartialEq + std::fmt::Debug>(codec: &Codec) -> Vec<u8> {
    let record: R = example();
    let json = serde_json::to_string_pretty(&record).expect("json");
    assert_eq!(json, example_text(R::KIND).trim(), "{}: every field, in order", R::KIND.name());
    let mut bytes = codec.encode(&record).expect("the example encodes");
    assert_eq!(codec.decode::<R>(&bytes).expect("and decodes"), record);
    for end in 0..bytes.len() {
        let cut = codec.decode::<R>(&bytes[..end]).expect_err("cut short");
        assert_eq!(cut.reason, Reason::Undecodable);
        for topic in Topic::ALL {
            assert!(codec.decode_input(topic, Some(b"30000001"), &bytes[..end]).is_err());
        }
    }
    bytes.push(0);
    assert_eq!(codec.decode::<R>(&bytes).expect_err("one byte more").reason, Reason::Undecodable);
    bytes.pop();
    bytes
}

#[test]
fn every_example_survives_the_wire() {
    let codec = codec();
    let all = [
        survives::<LabEvent>(&codec),
        survives::<VitalEvent>(&codec),
        survives::<ImagingEvent>(&codec),
        survives::<StayEventRecord>(&codec),
        survives::<MarkRecord>(&codec),
        survives::<JournalEntry>(&codec),
        survives::<RiskRecord>(&codec),
        survives::<AlertRecord>(&codec),
        survives::<AcknowledgementRecord>(&codec),
        survives::<StayView>(&codec),
        survives::<DeadLetter>(&codec),
        survives::<LabelEvent>(&codec),
    ];
    for (bytes, kind) in all.iter().zip(RecordKind::ALL) {
        assert_eq!(codec.kind_of(bytes).expect("kind"), kind);
    }
    assert_eq!(all.len(), RecordKind::ALL.len());
}

#[test]
fn input_examples_become_facts() {
    let codec = codec();
    let key = Codec::key(StayId(30_000_001));
    let take = |topic, bytes: Vec<u8>| {
        codec.decode_input(topic, Some(key.as_bytes()), &bytes).expect("decodes")
    };
    let lab = take(Topic::Lab, codec.encode(&example::<LabEvent>()).expect("lab"));
    let Decoded::Fact(fact) = lab else { panic!("not a fact: {lab:?}") };
    let FactBody::Observed(glucose) = fact.body else { panic!("not observed") };
    assert_eq!(glucose.value(), 104.5);
    let vital = take(Topic::Vital, codec.encode(&example::<VitalEvent>()).expect("vital"));
    assert!(matches!(vital, Decoded::Fact(_)), "{vital:?}");
    let stay = take(Topic::Stay, codec.encode(&example::<StayEventRecord>()).expect("stay"));
    assert!(matches!(stay, Decoded::Fact(_)), "{stay:?}");
    let film = take(Topic::Imaging, codec.encode(&example::<ImagingEvent>()).expect("imaging"));
    assert!(matches!(film, Decoded::Film { picture: Picture::Reference { .. }, .. }));
    let mark = codec.encode(&example::<MarkRecord>()).expect("mark");
    let mark = codec.decode_input(Topic::Lab, None, &mark).expect("a mark needs no key");
    assert!(matches!(mark, Decoded::Mark(_)), "{mark:?}");
}

/// What a lab that differs from the example by `change` is rejected for.
fn lab_rejection(change: impl FnOnce(&mut LabEvent)) -> Reason {
    let codec = codec();
    let mut lab: LabEvent = example();
    change(&mut lab);
    let bytes = codec.encode(&lab).expect("encodes");
    codec.decode_input(Topic::Lab, Some(b"30000001"), &bytes).expect_err("rejected").reason
}

#[test]
fn bad_labs_are_rejected_for_their_own_reason() {
    let number = |value| move |lab: &mut LabEvent| lab.value = RecordedValue::Number(value);
    assert_eq!(lab_rejection(number(f64::NAN)), Reason::NotANumber);
    assert_eq!(lab_rejection(number(f64::INFINITY)), Reason::NotANumber);
    assert_eq!(lab_rejection(|lab| lab.value = RecordedValue::Missing), Reason::NotANumber);
    assert_eq!(lab_rejection(number(1e9)), Reason::Implausible);
    assert_eq!(lab_rejection(|lab| lab.unit = Some("furlong".into())), Reason::UnknownUnit);
    assert_eq!(lab_rejection(|lab| lab.feed = "ghost".into()), Reason::UnknownFeed);
    assert_eq!(lab_rejection(|lab| lab.feed = "vital".into()), Reason::UnknownFeed);
    assert_eq!(lab_rejection(|lab| lab.code = "0-0".into()), Reason::UnmappedCode);
    assert_eq!(lab_rejection(|lab| lab.specimen = Some("Urine".into())), Reason::WrongSpecimen);
    assert_eq!(lab_rejection(|lab| lab.stay_id = StayId(7)), Reason::MissingKey);
    let corrected = |lab: &mut LabEvent| lab.status = ObservationStatus::Corrected;
    assert_eq!(lab_rejection(corrected), Reason::UnknownFact);
    let in_error = |lab: &mut LabEvent| lab.status = ObservationStatus::EnteredInError;
    assert_eq!(lab_rejection(in_error), Reason::UnknownFact);
}

#[test]
fn absurd_times_and_missing_keys_are_rejected() {
    let at = |ms| move |lab: &mut LabEvent| lab.observed_at = EventTime::from_millis(ms);
    assert_eq!(lab_rejection(at(0)), Reason::AbsurdTime);
    assert_eq!(lab_rejection(at(i64::MAX)), Reason::AbsurdTime);
    assert_eq!(lab_rejection(at(8_000_000_000_000)), Reason::AbsurdTime);
    let available = |lab: &mut LabEvent| lab.available_at = EventTime::MIN;
    assert_eq!(lab_rejection(available), Reason::AbsurdTime);
    let codec = codec();
    let bytes = codec.encode(&example::<LabEvent>()).expect("encodes");
    let missing = codec.decode_input(Topic::Lab, None, &bytes).expect_err("no key");
    assert_eq!(missing.reason, Reason::MissingKey);
    let garbled = codec.decode_input(Topic::Lab, Some(b"\xff"), &bytes).expect_err("bad key");
    assert_eq!(garbled.reason, Reason::MissingKey);
    let end = MarkRecord { feed: "lab".into(), time: EventTime::MAX };
    let end = codec.encode(&end).expect("encodes");
    assert!(codec.decode_input(Topic::Lab, None, &end).is_ok(), "the end of a feed is a mark");
    let absurd = MarkRecord { feed: "lab".into(), time: EventTime::from_millis(1) };
    let absurd = codec.encode(&absurd).expect("encodes");
    let absurd = codec.decode_input(Topic::Lab, None, &absurd).expect_err("1970");
    assert_eq!(absurd.reason, Reason::AbsurdTime);
}

#[test]
fn corrections_and_retractions_name_their_fact() {
    let codec = codec();
    let first = FactId::from_name("first");
    let decode = |status, feed: &str| {
        let lab = LabEvent { status, replaces: Some(first), feed: feed.into(), ..example() };
        let bytes = codec.encode(&lab).expect("encodes");
        match codec.decode_input(Topic::Lab, Some(b"30000001"), &bytes).expect("decodes") {
            Decoded::Fact(fact) => fact.body,
            other => panic!("not a fact: {other:?}"),
        }
    };
    let corrected = decode(ObservationStatus::Corrected, "lab");
    assert!(matches!(corrected, FactBody::Corrected { replaces, .. } if replaces == first));
    let replaced = decode(ObservationStatus::Final, "lab");
    assert!(matches!(replaced, FactBody::Corrected { replaces, .. } if replaces == first));
    let retracted = decode(ObservationStatus::EnteredInError, "lab");
    assert_eq!(retracted, FactBody::Retracted { fact: first });
}

#[test]
fn a_frame_that_is_not_ours_says_so() {
    let codec = codec();
    let say = |bytes: &[u8]| codec.kind_of(bytes).expect_err("not ours").detail;
    assert!(say(b"").contains("too few"));
    assert!(say(&[1, 0, 0, 0, 1, 0]).contains("Confluent"));
    assert!(say(&[0, 0, 0, 3, 231, 0]).contains("schema id 999"));
}

#[test]
fn a_picture_travels_inline_and_an_enormous_one_is_too_large() {
    let codec = codec();
    let inline = |content: Vec<u8>| {
        let picture = PictureField::Inline(InlinePicture { media_type: None, content });
        let film = ImagingEvent { picture, ..example() };
        let bytes = codec.encode(&film).expect("encodes");
        codec.decode_input(Topic::Imaging, Some(b"30000001"), &bytes)
    };
    let picture = match inline(vec![1, 2, 3]).expect("decodes") {
        Decoded::Film { picture, .. } => picture,
        other => panic!("not a film: {other:?}"),
    };
    assert_eq!(picture, Picture::Inline { media_type: None, bytes: vec![1, 2, 3] });
    let enormous = inline(vec![0; 50 << 20]).expect_err("50 MiB");
    assert_eq!(enormous.reason, Reason::FilmTooLarge);
    // A length that promises more than there is must not be believed.
    let mut lying = codec.encode(&example::<MarkRecord>()).expect("encodes");
    lying.truncate(5);
    lying.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(codec.decode::<MarkRecord>(&lying).is_err());
}

/// The fields of a schema, walked with the records nested inside them.
fn undocumented(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    let has_doc = |value: &serde_json::Value| {
        value.get("doc").and_then(serde_json::Value::as_str).is_some_and(|doc| doc.len() > 8)
    };
    match schema {
        serde_json::Value::Array(branches) => {
            branches.iter().for_each(|branch| undocumented(branch, path, found));
        }
        serde_json::Value::Object(object) => {
            if object.contains_key("name") && !has_doc(schema) {
                found.push(path.to_owned());
            }
            for field in object.get("fields").and_then(|f| f.as_array()).into_iter().flatten() {
                let name = field["name"].as_str().expect("a field has a name");
                undocumented(field, &format!("{path}.{name}"), found);
            }
            for key in ["type", "items"] {
                object.get(key).into_iter().for_each(|inner| undocumented(inner, path, found));
            }
        }
        _ => {}
    }
}

#[test]
fn every_type_and_field_is_documented_in_our_namespace() {
    for kind in RecordKind::ALL {
        let schema: serde_json::Value = serde_json::from_str(kind.schema_text()).expect("JSON");
        assert_eq!(schema["namespace"], "org.nowcxr", "{}", kind.name());
        let mut found = Vec::new();
        undocumented(&schema, kind.name(), &mut found);
        assert!(found.is_empty(), "no doc: {found:?}");
    }
}

#[test]
fn a_record_of_an_older_schema_takes_defaults_for_what_it_lacks() {
    let mut schema: serde_json::Value =
        serde_json::from_str(RecordKind::Lab.schema_text()).expect("JSON");
    let old = ["status", "replaces", "specimen", "unit"];
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.retain(|field| !old.contains(&field["name"].as_str().unwrap_or_default()));
    let older = OlderSchema { id: 901, kind: RecordKind::Lab, text: schema.to_string() };
    let parsed = apache_avro::Schema::parse_str(&older.text).expect("schema");
    #[derive(serde::Serialize)]
    #[serde(rename = "LabEvent")]
    struct OldLab {
        #[serde(with = "nowcxr::wire::form::octets")]
        event_id: FactId,
        stay_id: i64,
        feed: String,
        code_system: CodeSystem,
        code: String,
        value: RecordedValue,
        observed_at: i64,
        available_at: i64,
    }
    let now: LabEvent = example();
    let lab = OldLab {
        event_id: now.event_id,
        stay_id: 30_000_001,
        feed: "lab".into(),
        code_system: now.code_system,
        code: now.code.clone(),
        value: now.value.clone(),
        observed_at: now.observed_at.as_millis(),
        available_at: now.available_at.as_millis(),
    };
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&parsed)
        .human_readable(false)
        .build()
        .expect("writer");
    let mut bytes = vec![0, 0, 0, 3, 133];
    writer.write_ser(&mut bytes, &lab).expect("encodes");
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
    let feeds = EngineConfig::default().feeds;
    let codec = Codec::with_older(&feeds, dictionary, &[older]).expect("codec");
    let read: LabEvent = codec.decode(&bytes).expect("an older record decodes");
    assert_eq!(read, LabEvent { unit: None, specimen: None, ..now });
}

#[test]
fn the_json_line_of_a_risk_event_is_stable_and_reads_back() {
    let codec = codec();
    let bytes = codec.encode(&example::<RiskRecord>()).expect("encodes");
    let event = codec.decode_risk(&bytes).expect("a risk event");
    assert_eq!(codec.encode_risk(&event).expect("encodes"), bytes);
    let line = risk_to_json(&event).expect("JSON");
    assert!(!line.contains('\n'));
    let id = r#"{"event_id":"6f1c0000-0000-5000-8000-000000000005","stay_id":30000001,"#;
    assert!(line.starts_with(&format!(r#"{id}"t":"2150-03-01T10:00:00.000Z","#)), "{line}");
    let back: RiskRecord = serde_json::from_str(&line).expect("reads back");
    assert_eq!(back, RiskRecord::from(&event));
    let mut broken: RiskRecord = example();
    broken.scores.as_mut().expect("scores").mortality = f32::NAN;
    let broken = codec.encode(&broken).expect("encodes");
    assert_eq!(codec.decode_risk(&broken).expect_err("NaN").reason, Reason::Undecodable);
}

prop_compose! {
    fn any_lab()(
        id in any::<u64>(), stay in 0..i64::MAX as u64, code in "[0-9]{1,5}-[0-9]",
        value in prop_oneof![
            any::<f64>().prop_filter("comparable", |v| !v.is_nan()).prop_map(RecordedValue::Number),
            ".{0,20}".prop_map(RecordedValue::Text),
            Just(RecordedValue::Missing),
        ],
        unit in proptest::option::of(".{0,10}"), specimen in proptest::option::of(".{0,10}"),
        times in any::<(i64, i64)>(), feed in ".{0,10}", replaces in any::<Option<u64>>(),
        status in prop_oneof![
            Just(ObservationStatus::Final), Just(ObservationStatus::Amended),
            Just(ObservationStatus::EnteredInError), Just(ObservationStatus::Preliminary),
        ],
    ) -> LabEvent {
        LabEvent {
            event_id: FactId::from_name(&id.to_string()),
            stay_id: StayId(stay),
            feed,
            code_system: CodeSystem::Loinc,
            code,
            value,
            unit,
            observed_at: EventTime::from_millis(times.0),
            available_at: EventTime::from_millis(times.1),
            status,
            replaces: replaces.map(|id| FactId::from_name(&id.to_string())),
            specimen,
        }
    }
}

proptest! {
    #[test]
    fn any_lab_round_trips(lab in any_lab()) {
        let codec = codec();
        let bytes = codec.encode(&lab).expect("encodes");
        prop_assert_eq!(codec.decode::<LabEvent>(&bytes).expect("decodes"), lab.clone());
        let key = Codec::key(lab.stay_id);
        // Whatever it says, the answer is a fact or a reason.
        let _checked = codec.decode_input(Topic::Lab, Some(key.as_bytes()), &bytes);
    }

    #[test]
    fn random_bytes_never_panic(
        id in 0u32..14,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let codec = codec();
        let mut bytes = vec![0];
        bytes.extend(id.to_be_bytes());
        bytes.extend(&body);
        for topic in Topic::ALL {
            let _checked = codec.decode_input(topic, Some(b"1"), &bytes);
            let _checked = codec.decode_input(topic, Some(b"1"), &body);
        }
        let _checked = codec.decode_risk(&bytes);
        let _checked = codec.decode_journal(&bytes);
        let _checked = codec.decode::<DeadLetter>(&bytes);
        let _checked = codec.decode::<StayView>(&bytes);
    }

    #[test]
    fn one_flipped_bit_never_panics(at in 0usize..1000, bit in 0u8..8) {
        let codec = codec();
        for mut bytes in [
            codec.encode(&example::<LabEvent>()).expect("lab"),
            codec.encode(&example::<StayEventRecord>()).expect("stay"),
            codec.encode(&example::<ImagingEvent>()).expect("imaging"),
        ] {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            for topic in Topic::ALL {
                let _checked = codec.decode_input(topic, Some(b"30000001"), &bytes);
            }
        }
    }
}

/// Time that this thread has had a processor, in nanoseconds; wall time where Linux does not say.
fn cpu_ns(since: Instant) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_cpu = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
    on_cpu.unwrap_or(since.elapsed().as_nanos() as u64)
}

/// A measurement, not a judgement: `cargo test --release --test schemas -- --nocapture speed`.
#[test]
fn speed_of_the_input_path() {
    let codec = codec();
    let vital: VitalEvent = example();
    let mut bytes = Vec::new();
    let (n, since) = (200_000, Instant::now());
    let start = cpu_ns(since);
    for _ in 0..n {
        bytes.clear();
        codec.encode_into(&vital, &mut bytes).expect("encodes");
    }
    let encoded = cpu_ns(since);
    let mut facts = 0;
    for _ in 0..n {
        let decoded = codec.decode_input(Topic::Vital, Some(b"30000001"), &bytes);
        facts += u64::from(matches!(decoded, Ok(Decoded::Fact(_))));
    }
    let decoded = cpu_ns(since);
    assert_eq!(facts, n);
    let (encode, decode) = ((encoded - start) / n, (decoded - encoded) / n);
    println!("vital, {} B: encode {encode} ns, decode to a checked fact {decode} ns", bytes.len());
}

/// Version 0.1.0 said nothing of suspicions, and wrote its risk events under id 7.
#[test]
fn a_risk_event_of_the_first_version_is_read() {
    let codec = codec();
    let said: RiskRecord = example();
    let mut suspect = said.clone();
    suspect.series.last_observed[0].suspect = Some(Suspicion::Jump);
    let (plain, other) =
        (codec.encode(&said).expect("encodes"), codec.encode(&suspect).expect("encodes"));
    assert_eq!(codec.decode::<RiskRecord>(&other).expect("decodes"), suspect);
    // One byte says that there is no suspicion; without it the bytes are those of 0.1.0.
    let at = plain.iter().zip(&other).position(|(a, b)| a != b).expect("they differ");
    let old = [&[0, 0, 0, 0, 7], &plain[5..at], &plain[at + 1..]].concat();
    assert_eq!(codec.decode::<RiskRecord>(&old).expect("decodes"), said);
    let under_new_id = [&plain[..at], &plain[at + 1..]].concat();
    assert!(codec.decode::<RiskRecord>(&under_new_id).is_err());
}
