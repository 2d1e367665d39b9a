//! One bad record after another in a ward that is otherwise clean.

use nowcxr::config::EngineConfig;
use nowcxr::event::ViewPosition;
use nowcxr::ids::{Digest, FactId, StayId, Topic};
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::{EventTime, Span};
use nowcxr::wire::Codec;
use nowcxr::wire::records::{
    CodeSystem, ImagingEvent, InlinePicture, LabEvent, MarkRecord, ObservationStatus, PictureField,
    PictureReference, RecordedValue, VitalEvent,
};

use super::records::{
    DISCHARGED, NOBODY, STAYS, Sent, admit, clean, codec, film, jpeg, lab, minute, sent,
    stay_event, vital,
};
use super::world::{Outcomes, append, run, run_in_memory};

/// Minute at which the bad records come.
const AT: i64 = 333;

/// A record that must not be used, and how it must end.
struct Case {
    name: String,
    sent: Sent,
    /// The reason of its dead letter, or the fate of one that gets none.
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Letter(&'static str),
    Fate(&'static str),
}
use Ends::{Fate, Letter};

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn raw(&mut self, name: &str, topic: Topic, value: Vec<u8>, ends: Ends) {
        let key = Some(Codec::key(STAYS[0]).into_bytes());
        self.keyed(name, topic, key, value, ends);
    }

    fn keyed(
        &mut self,
        name: &str,
        topic: Topic,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        ends: Ends,
    ) {
        let sent = Sent { topic, key, value, at: minute(AT) };
        self.0.push(Case { name: name.into(), sent, ends });
    }

    fn vital(
        &mut self,
        codec: &Codec,
        name: &str,
        ends: Ends,
        spoil: impl FnOnce(&mut VitalEvent),
    ) {
        let mut event = vital(name, AT);
        spoil(&mut event);
        let near = event.available_at <= minute(AT + 3_000);
        let at = if near { event.available_at.max(minute(AT)) } else { minute(AT) };
        let sent = sent(codec, Topic::Vital, event.stay_id, at, &event);
        self.0.push(Case { name: name.into(), sent, ends });
    }

    fn lab(&mut self, codec: &Codec, name: &str, ends: Ends, spoil: impl FnOnce(&mut LabEvent)) {
        let mut event = lab(name, AT);
        spoil(&mut event);
        self.raw(name, Topic::Lab, codec.encode(&event).unwrap(), ends);
    }

    fn film(
        &mut self,
        codec: &Codec,
        name: &str,
        ends: Ends,
        spoil: impl FnOnce(&mut ImagingEvent),
    ) {
        let mut event = film(name, AT);
        spoil(&mut event);
        self.raw(name, Topic::Imaging, codec.encode(&event).unwrap(), ends);
    }

    fn picture(&mut self, codec: &Codec, name: &str, reason: &'static str, content: Vec<u8>) {
        let picture = PictureField::Inline(InlinePicture { media_type: None, content });
        self.film(codec, name, Letter(reason), |event| event.picture = picture);
    }

    fn reference(&mut self, codec: &Codec, name: &str, reason: &'static str, uri: &str, size: i64) {
        let (uri, sha256) = (uri.to_owned(), Digest::of(b"another file"));
        let picture = PictureField::Reference(PictureReference { uri, sha256, size });
        self.film(codec, name, Letter(reason), |event| event.picture = picture);
    }
}

fn bytes(cases: &mut Cases, codec: &Codec) {
    let good = codec.encode(&vital("bytes", AT)).unwrap();
    let undecodable = Letter("undecodable");
    for cut in [0, 1, 4, 5, 6, 20, good.len() / 2, good.len() - 1] {
        let name = format!("avro cut to {cut} bytes");
        cases.raw(&name, Topic::Vital, good[..cut].to_vec(), undecodable);
    }
    cases.raw("a byte too many", Topic::Vital, [&good[..], &[0]].concat(), undecodable);
    let mut other = good.clone();
    other[1..5].copy_from_slice(&77_777u32.to_be_bytes());
    cases.raw("unknown schema id", Topic::Vital, other, undecodable);
    let mut other = good.clone();
    other[0] = 7;
    cases.raw("not confluent", Topic::Vital, other, undecodable);
    let mut other = good[..5].to_vec();
    other.extend([0xff; 40]);
    cases.raw("lengths without end", Topic::Vital, other, undecodable);
    let mut other = good[..5].to_vec();
    // A text of 2^40 bytes where the event id belongs.
    other.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x40]);
    cases.raw("a text of a tebibyte", Topic::Vital, other, undecodable);
    cases.raw("a vital in the lab topic", Topic::Lab, good.clone(), undecodable);
    cases.raw("json", Topic::Vital, br#"{"heart_rate": 80}"#.to_vec(), undecodable);
    let key = Letter("missing_key");
    cases.keyed("no key", Topic::Vital, None, good.clone(), key);
    cases.keyed("empty key", Topic::Vital, Some(vec![]), good.clone(), key);
    cases.keyed("another's key", Topic::Vital, Some(b"12".to_vec()), good.clone(), key);
    cases.keyed("key of no text", Topic::Vital, Some(vec![0xff, 0xfe]), good, key);
}

fn values(cases: &mut Cases, codec: &Codec) {
    for (name, number, reason) in [
        ("NaN", f64::NAN, "not_a_number"),
        ("inf", f64::INFINITY, "not_a_number"),
        ("-inf", f64::NEG_INFINITY, "not_a_number"),
        ("1e308", 1e308, "implausible"),
        ("-1e308", -1e308, "implausible"),
        ("-1", -1.0, "implausible"),
    ] {
        let value = RecordedValue::Number(number);
        cases.vital(codec, name, Letter(reason), |event| event.value = value);
    }
    for (name, text) in [("words", "ERROR"), ("NaN in words", "NaN"), ("nothing in words", "")] {
        let value = RecordedValue::Text(text.into());
        cases.vital(codec, name, Letter("not_a_number"), |event| event.value = value);
    }
    let missing = RecordedValue::Missing;
    cases.vital(codec, "no value", Letter("not_a_number"), |event| event.value = missing);
    let furlongs = Some("furlong".to_owned());
    cases.vital(codec, "no such unit", Letter("unknown_unit"), |event| event.unit = furlongs);
    cases.vital(codec, "a sibling's unit", Letter("unit_suspect"), |event| {
        event.code = "8310-5".into();
        event.unit = Some("Cel".into());
        event.value = RecordedValue::Number(98.6);
    });
    cases.vital(codec, "no such code", Letter("unmapped_code"), |event| {
        (event.code_system, event.code) = (CodeSystem::Loinc, "0000-0".into());
    });
    cases.vital(codec, "item of letters", Letter("unmapped_code"), |event| {
        (event.code_system, event.code) = (CodeSystem::MimicItem, "heart".into());
    });
    cases.vital(codec, "no such feed", Letter("unknown_feed"), |event| event.feed = "tv".into());
    let urine = Some("urine".to_owned());
    cases.lab(codec, "urine", Letter("wrong_specimen"), |event| event.specimen = urine);
    cases.lab(codec, "corrects nothing", Letter("unknown_fact"), |event| {
        event.status = ObservationStatus::Corrected;
    });
    cases.lab(codec, "takes back nothing", Letter("unknown_fact"), |event| {
        event.status = ObservationStatus::EnteredInError;
    });
    cases.lab(codec, "takes back what never was", Letter("unknown_fact"), |event| {
        event.status = ObservationStatus::EnteredInError;
        event.replaces = Some(FactId::from_name("never"));
    });
    let old = stay_event("old", StayId(98), AT, admit(400));
    let key = Some(b"98".to_vec());
    let value = codec.encode(&old).unwrap();
    cases.keyed("400 years old", Topic::Stay, key, value, Letter("implausible"));
}

fn times(cases: &mut Cases, codec: &Codec) {
    let year = |year: i64| EventTime::from_millis((year - 1970) * 31_556_952_000);
    let absurd = Letter("absurd_time");
    cases.vital(codec, "1970", absurd, |event| {
        (event.observed_at, event.available_at) = (year(1970), year(1970));
    });
    cases.vital(codec, "observed in 1970", absurd, |event| event.observed_at = year(1970));
    cases.vital(codec, "observed in 2199", absurd, |event| event.observed_at = year(2199));
    cases.vital(codec, "2199", Letter("future"), |event| {
        (event.observed_at, event.available_at) = (year(2199), year(2199));
    });
    for (name, ms) in [("before time", i64::MIN), ("after time", i64::MAX), ("2250", 1 << 43)] {
        let at = EventTime::from_millis(ms);
        cases.vital(codec, name, absurd, |event| {
            (event.observed_at, event.available_at) = (at, at);
        });
    }
    let mut event = vital("in a quarter of an hour", AT + 15);
    event.observed_at = minute(AT);
    let value = codec.encode(&event).unwrap();
    cases.raw("in a quarter of an hour", Topic::Vital, value, Letter("future"));
    cases.vital(codec, "a day and more before", Letter("before_lookback"), |event| {
        event.observed_at = minute(-25 * 60);
    });
    cases.vital(codec, "after the grace", Letter("after_discharge"), |event| {
        event.observed_at = minute(DISCHARGED + 25 * 60);
        event.available_at = event.observed_at;
    });
    cases.vital(codec, "of nobody", Letter("no_admission"), |event| event.stay_id = NOBODY);
    cases.vital(codec, "sent twice", Fate("duplicate"), |event| *event = vital("v11/5", 5));
    for (name, feed, time, reason) in [
        ("mark of no feed", "tv", minute(AT), "unknown_feed"),
        ("mark of 1970", "vital", year(1970), "absurd_time"),
        ("mark of 2199", "vital", year(2199), "future"),
    ] {
        let mark = MarkRecord { feed: feed.into(), time };
        let value = codec.encode(&mark).unwrap();
        cases.keyed(name, Topic::Vital, None, value, Letter(reason));
    }
}

fn films(cases: &mut Cases, codec: &Codec) {
    let flat = nowcxr::film::png::encode(&vec![128; 300 * 300], 300, 300).unwrap();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let noise: Vec<u8> = (0..300 * 300).map(|_| noise()).collect();
    let noise = nowcxr::film::png::encode(&noise, 300, 300).unwrap();
    cases.picture(codec, "a grey card", "film_not_chest", flat.clone());
    cases.picture(codec, "noise", "film_not_chest", noise);
    let drawn = |at: &dyn Fn(f64, f64) -> f64| {
        let pixel = |i: i32| at(f64::from(i % 300) / 300.0, f64::from(i / 300) / 300.0) as u8;
        nowcxr::film::png::encode(&(0..300 * 300).map(pixel).collect::<Vec<_>>(), 300, 300).unwrap()
    };
    let disc =
        drawn(&|x, y| 20.0 + 180.0 / (1.0 + (60.0 * ((x - 0.5).hypot(y - 0.5) - 0.3)).exp()));
    cases.picture(codec, "a disc", "film_not_chest", disc);
    let wall = drawn(&|x, y| 120.0 + 60.0 * (40.0 * x).sin() * (90.0 * y).cos() - 50.0 * y);
    cases.picture(codec, "a wall", "film_not_chest", wall);
    let strip = nowcxr::film::png::encode(&vec![9; 1200 * 200], 1200, 200).unwrap();
    cases.picture(codec, "a strip", "film_not_chest", strip);
    cases.picture(codec, "png cut short", "film_undecodable", flat[..flat.len() / 2].to_vec());
    cases.picture(codec, "jpeg head alone", "film_undecodable", jpeg()[..400].to_vec());
    cases.picture(codec, "text", "film_undecodable", b"the film is in the other system".to_vec());
    cases.picture(codec, "nothing", "film_undecodable", vec![]);
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    cases.picture(codec, "dicom preamble alone", "film_undecodable", dicom.clone());
    dicom.extend((0..4000).map(|i| (i * 7 % 251) as u8));
    cases.picture(codec, "dicom of garbage", "film_undecodable", dicom);
    let mut huge = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    huge.extend([0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0, 8, 0, 0, 0, 0]);
    cases.picture(codec, "100000 x 100000", "film_too_large", huge);
    cases.picture(codec, "50 MB", "film_too_large", vec![0xff; 50_000_000]);
    cases.film(codec, "a lateral", Letter("film_view"), |e| e.view = ViewPosition::Lateral);
    cases.film(codec, "of no view", Letter("film_view"), |e| e.view = ViewPosition::Unknown);
    let none = PictureField::Missing;
    cases.film(codec, "no picture", Letter("film_unavailable"), |event| event.picture = none);
    let gone = "film_unavailable";
    let manifest = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let dir = concat!("file://", env!("CARGO_MANIFEST_DIR"));
    cases.reference(codec, "a file that is gone", gone, "file:///nowhere/film.dcm", 9);
    cases.reference(codec, "another file than said", gone, manifest, 9);
    cases.reference(codec, "a folder", gone, dir, 9);
    cases.reference(codec, "a device that never ends", gone, "file:///dev/zero", 9);
    cases.reference(codec, "from the web", gone, "https://pacs/film.dcm", 9);
    cases.reference(codec, "50 MB elsewhere", "film_too_large", "file:///film.dcm", 50_000_000);
    cases.reference(codec, "of negative size", "undecodable", "file:///film.dcm", -1);
    cases.film(codec, "a film sent twice", Fate("duplicate"), |event| *event = film("f11", 100));
    let event = ImagingEvent { stay_id: NOBODY, ..film("a film of nobody", AT) };
    let (key, value) = (Codec::key(NOBODY).into_bytes(), codec.encode(&event).unwrap());
    let topic = Topic::Imaging;
    cases.keyed("a film of nobody", topic, Some(key), value, Letter("no_admission"));
}

fn all_cases(codec: &Codec) -> Vec<Case> {
    let mut cases = Cases::default();
    bytes(&mut cases, codec);
    values(&mut cases, codec);
    times(&mut cases, codec);
    films(&mut cases, codec);
    cases.0
}

/// That `got` is the clean ward with these cases in it and nothing else.
fn holds(got: &Outcomes, clean: &Outcomes, cases: &[(&Case, u64)]) {
    let names: Vec<&str> = cases.iter().map(|(case, _)| case.name.as_str()).collect();
    let names = if names.len() > 3 { format!("{} cases", names.len()) } else { names.join(", ") };
    assert!(got.risks == clean.risks, "{names}: the risk events are others");
    assert_eq!(got.fate("used"), clean.fate("used"), "{names}");
    assert_eq!(got.fates(), clean.fates() + cases.len() as u64, "{names}");
    for (case, offset) in cases {
        let topic = case.sent.topic.name();
        let own = |l: &&nowcxr::wire::DeadLetter| l.topic == topic && l.offset == *offset as i64;
        let letters: Vec<_> = got.letters.iter().filter(own).collect();
        let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
        match case.ends {
            Letter(reason) => assert_eq!(reasons, [reason], "{}: {letters:?}", case.name),
            Fate(_) => assert!(reasons.is_empty(), "{}: {reasons:?}", case.name),
        }
        for letter in letters {
            assert!(!letter.detail.is_empty() && letter.detail.len() < 300, "{}", case.name);
        }
    }
    let lettered = |(case, _): &&(&Case, u64)| matches!(case.ends, Letter(_));
    assert_eq!(got.letters.len(), cases.iter().filter(lettered).count(), "{names}");
    for fate in ["duplicate", "late"] {
        let expected = cases.iter().filter(|(case, _)| case.ends == Fate(fate)).count();
        assert_eq!(got.fate(fate), expected as u64, "{names}: {fate}");
    }
}

#[test]
fn each_bad_record_ends_as_one_letter_and_touches_nothing_else() {
    let codec = codec();
    let (expected, _) = run_in_memory(&clean(&codec), EngineConfig::default());
    assert!(expected.risks.len() > 20 && expected.letters.is_empty(), "{expected:?}");
    let cases = all_cases(&codec);
    println!("{} cases", cases.len());
    for case in &cases {
        let mut records = clean(&codec);
        records.push(case.sent.clone());
        let (got, offsets) = run_in_memory(&records, EngineConfig::default());
        let offset = offsets.last().copied().unwrap();
        holds(&got, &expected, &[(case, offset)]);
    }
}

#[test]
fn all_of_them_together_change_nothing_either_and_a_second_run_repeats_none() {
    let codec = codec();
    let (expected, _) = run_in_memory(&clean(&codec), EngineConfig::default());
    let cases = all_cases(&codec);
    let mut records = clean(&codec);
    let first = records.len();
    records.extend(cases.iter().map(|case| case.sent.clone()));
    let dir = tempfile::tempdir().unwrap();
    let offsets = append(dir.path(), &records);
    let named: Vec<(&Case, u64)> = cases.iter().zip(offsets[first..].iter().copied()).collect();
    let state = dir.path().join("state");
    for turn in 0..2 {
        let (store, _) = SledStore::open(&state, &StoreOptions::default()).unwrap();
        let got = run(dir.path(), store, EngineConfig::default());
        holds(&got, &expected, &named);
        assert_eq!(got.asked > 0, turn == 0, "the second run has nothing to ask");
    }
}

#[test]
fn a_late_fact_is_late_and_no_letter() {
    let codec = codec();
    let (expected, _) = run_in_memory(&clean(&codec), EngineConfig::default());
    let mut records = clean(&codec);
    // Available at minute 31, appended behind the marks of the window that should have held it.
    let late = vital("late", 31);
    let at = minute(AT) + Span::SECOND;
    records.push(sent(&codec, Topic::Vital, STAYS[0], at, &late));
    let (got, _) = run_in_memory(&records, EngineConfig::default());
    assert!(got.letters.is_empty(), "{:?}", got.letters);
    assert_eq!((got.fate("late"), got.fate("used")), (1, expected.fate("used")));
    assert_ne!(got.risks, expected.risks, "later windows hold the fact");
    assert_eq!(got.risks.len(), expected.risks.len());
}
