//! Messages to acts, one deviation after the other.

use proptest::prelude::*;

use super::*;
use crate::config::{Config, HashKey};
use crate::edge::body::Measured;
use crate::edge::hl7::charset::decode;
use crate::edge::pseudonym::Pseudonyms;
use crate::edge::reader::MAX_QUOTED;
use crate::engine::resolve::{Cancelled, Status};
use crate::event::dictionary::{Dictionary, Profile};
use crate::event::{Disposition, Sex};
use crate::ids::Topic;
use crate::wire::records::{CodeSystem, RecordedValue};

const ARRIVED: i64 = 1_772_352_000_000; // 2026-03-01T08:00:00Z

fn reader() -> Reader {
    reader_of("edge.authority=")
}

fn reader_of(more: &str) -> Reader {
    let codes = "edge.codes={ GLU = \"glucose\" }";
    let flags = [codes, "edge.time_zone=Europe/Berlin", more].map(str::to_owned);
    let config = Config::load(None, [], &flags).unwrap().edge;
    let secret = HashKey::new("a secret of the tests").unwrap();
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    Reader::new(config, dictionary, Pseudonyms::new(&secret))
}

fn read(text: &str) -> Result<Reading, Rejection> {
    let message = Message::parse(text).unwrap();
    let header = Header::read(&message);
    reader().read(&message, &header, (7, 1), WallTime::from_millis(ARRIVED))
}

fn oru(obr: &str, obx: &str) -> Result<Reading, Rejection> {
    read(&format!(
        "MSH|^~\\&|LAB|H|||20260301085500||ORU^R01|1|P|2.5\rPID|||42^^^H^MR\r\
         PV1||I|MICU^1^A||||||||||||||||V9\rOBR|{obr}\rOBX|{obx}\r"
    ))
}

/// The act of a message of one result.
fn report(obx: &str) -> (Status, Measured, EventTime, EventTime) {
    let obr = "1||F1|GLU|||20260301080000|||||||||||||||20260301083000||LAB|F";
    let reading = oru(obr, obx).unwrap();
    assert!(reading.refused.is_empty(), "{:?}", reading.refused);
    let act = reading.acts.into_iter().next().unwrap();
    let Deed::Report { status, body, observed_at, .. } = act.deed else { panic!("no report") };
    let Body::Measured(body) = body else { panic!("a film") };
    (status, body, observed_at, act.known_at)
}

fn refused(obx: &str) -> Reason {
    let reading = oru("1||F1|GLU|||20260301080000", obx).unwrap();
    assert!(reading.acts.is_empty());
    reading.refused[0].1.reason
}

#[test]
fn a_result_has_its_code_value_unit_and_both_clocks() {
    let (status, body, observed_at, known_at) =
        report("1|NM|2345-7^Glucose^LN||5.4|mmol/L|||||F|||20260301081500");
    assert_eq!(status, Status::Final);
    assert_eq!(
        (body.topic, body.code_system, body.code.as_str()),
        (Topic::Lab, CodeSystem::Loinc, "2345-7")
    );
    assert_eq!((body.value, body.unit.as_deref()), (RecordedValue::Number(5.4), Some("mmol/L")));
    // Berlin's winter time; OBX-14 wins over OBR-7, OBR-22 over MSH-7.
    assert_eq!(observed_at.to_string(), "2026-03-01T07:15:00.000Z");
    assert_eq!(known_at.to_string(), "2026-03-01T07:30:00.000Z");
    let (_, body, observed_at, _) = report("1|NM|GLU^Zucker^L||97|mg/dL|||||");
    assert_eq!((body.code_system, body.code.as_str()), (CodeSystem::Local, "glucose"));
    assert_eq!(observed_at.to_string(), "2026-03-01T07:00:00.000Z");
}

#[test]
fn codes_may_stand_in_the_alternate_or_without_their_system() {
    for code in ["X^x^L^8867-4^HR^LN", "8867-4^HR", "8867-4", "X^x^L^GLU^^L2"] {
        let (_, body, ..) = report(&format!("1|NM|{code}||80|/min|||||F"));
        assert!(["8867-4", "glucose"].contains(&body.code.as_str()), "{code}");
    }
    assert_eq!(refused("1|NM|718-7^Hb^LN||9|g/dL|||||F"), Reason::UnmappedCode);
    assert_eq!(refused("1|NM|||9|g/dL|||||F"), Reason::UnmappedCode);
}

#[test]
fn each_status_means_what_table_0085_says() {
    let status = |code: &str| report(&format!("1|NM|GLU||97|mg/dL|||||{code}")).0;
    for code in ["", "F", "B", "V"] {
        assert_eq!(status(code), Status::Final, "{code}");
    }
    for code in ["P", "R", "S"] {
        assert_eq!(status(code), Status::Preliminary, "{code}");
    }
    for code in ["C", "A"] {
        assert_eq!(status(code), Status::Corrected, "{code}");
    }
    for code in ["D", "W", "X"] {
        let (status, body, ..) = report(&format!("1|NM|GLU||\"\"|mg/dL|||||{code}"));
        assert_eq!((status, body.value), (Status::Withdrawn, RecordedValue::Missing), "{code}");
    }
    assert_eq!(status("U"), Status::Confirmed);
    for code in ["I", "N", "O", "Q"] {
        assert_eq!(refused(&format!("1|NM|GLU||97||||||{code}")), Reason::Unsupported, "{code}");
    }
}

#[test]
fn values_are_read_by_their_type_and_never_guessed() {
    let value =
        |kind: &str, value: &str| report(&format!("1|{kind}|GLU||{value}|mg/dL|||||F")).1.value;
    assert_eq!(value("NM", " 97.5 "), RecordedValue::Number(97.5));
    assert_eq!(value("NM", "7,35"), RecordedValue::Text("7,35".into()));
    assert_eq!(value("NM", "inf"), RecordedValue::Text("inf".into()));
    assert_eq!(value("SN", "^97"), RecordedValue::Number(97.0));
    assert_eq!(value("SN", "=^97"), RecordedValue::Number(97.0));
    assert_eq!(value("ST", "120/80"), RecordedValue::Text("120/80".into()));
    assert_eq!(value("CE", "4^Spontaneously^L"), RecordedValue::Text("Spontaneously".into()));
    assert_eq!(value("CWE", "4"), RecordedValue::Number(4.0));
    for (kind, text, reason) in [
        ("NM", "", Reason::NotANumber),
        ("SN", ">^500", Reason::NotANumber),
        ("SN", "^1^-^2", Reason::NotANumber),
        ("NM", "1~2", Reason::Unsupported),
        ("ED", "^application^pdf", Reason::Unsupported),
        ("ST", &"x".repeat(MAX_QUOTED * 10), Reason::Unsupported),
    ] {
        assert_eq!(refused(&format!("1|{kind}|GLU||{text}|mg/dL|||||F")), reason, "{kind} {text}");
    }
}

#[test]
fn times_that_say_too_little_are_refused_and_not_invented() {
    let reading = oru("1||F1|GLU|||20260301", "1|NM|GLU||97|mg/dL|||||F").unwrap();
    assert_eq!(reading.refused[0].1.reason, Reason::AbsurdTime);
    assert_eq!(
        reading.refused[0],
        (5, Rejection::new(Reason::AbsurdTime, "OBR-7 says less than the hour"))
    );
    let reading = oru("1||F1|GLU", "1|NM|GLU||97|mg/dL|||||F").unwrap();
    assert_eq!(reading.refused[0].1.detail, "no time in OBX-14 or OBR-7");
}

#[test]
fn the_specimen_and_the_section_tell_a_laboratory_from_a_monitor() {
    let topic = |obr: &str| {
        let reading = oru(obr, "1|NM|8867-4^^LN||80|/min|||||F|||20260301080000").unwrap();
        let Deed::Report { body, .. } = &reading.acts[0].deed else { panic!("no report") };
        let Body::Measured(body) = body else { panic!("a film") };
        (body.topic, body.specimen.clone())
    };
    assert_eq!(topic("1||M1|VS"), (Topic::Vital, None));
    assert_eq!(topic("1||M1|VS||||||||||||||||||||LAB"), (Topic::Lab, None));
    assert_eq!(topic("1||M1|VS|||||||||||BLDA&Arterial"), (Topic::Lab, Some("BLDA".into())));
    let spm = "1||M1|VS\rSPM|1|||SER^Serum";
    assert_eq!(topic(spm), (Topic::Lab, Some("SER".into())));
}

fn adt(trigger: &str, tail: &str) -> Result<Reading, Rejection> {
    read(&format!(
        "MSH|^~\\&|ADT|H|||20260301085500||ADT^{trigger}|1|P|2.5\r\
         EVN|{trigger}|20260301085000|||| 20260301084000\r{tail}"
    ))
}

const PID: &str = "PID|||9^^^H^SS~42^^^H^MR||DOE^J||19570301|F";

#[test]
fn adt_events_become_moves_of_the_visit() {
    let pv1 = format!("{PID}\rPV1||I|MICU^1^A||||||||||||||||V9\r");
    let deed = |trigger: &str| adt(trigger, &pv1).unwrap().acts.remove(0);
    let arrived = deed("A01");
    assert_eq!(arrived.known_at.to_string(), "2026-03-01T07:50:00.000Z");
    let Deed::Arrive { at, unit, about, visit } = arrived.deed else { panic!("no arrival") };
    assert_eq!((at.to_string().as_str(), unit.as_str()), ("2026-03-01T07:40:00.000Z", "MICU"));
    assert_eq!((about.age_years, about.sex), (Some(69), Some(Sex::Female)));
    assert!(matches!(deed("A02").deed, Deed::Arrive { .. }));
    assert!(matches!(deed("A08").deed, Deed::Describe { .. }));
    for (trigger, what) in
        [("A11", Cancelled::Admission), ("A12", Cancelled::Transfer), ("A13", Cancelled::Discharge)]
    {
        assert_eq!(deed(trigger).deed, Deed::Cancel { visit, what });
    }
    let dead = format!("{PID}||||||||||||||||||||||Y\rPV1||I|MICU||||||||||||||||V9\r");
    let Deed::Leave { disposition, .. } = adt("A03", &dead).unwrap().acts.remove(0).deed else {
        panic!("no discharge")
    };
    assert_eq!(disposition, Disposition::Died);
}

#[test]
fn numbers_without_an_authority_have_the_configured_one() {
    let gap = "|".repeat(17);
    let msh = "MSH|^~\\&|A|B|||1||ADT^A03|1|P|2.5";
    let text = format!("{msh}\rPID|||42\rPV1||I{gap}V9\r");
    let message = Message::parse(&text).unwrap();
    let header = Header::read(&message);
    let act = |reader: &Reader| {
        let reading = reader.read(&message, &header, (7, 1), WallTime::from_millis(ARRIVED));
        reading.unwrap().acts.remove(0)
    };
    let named = reader_of("edge.authority=H");
    assert_eq!(act(&named).person, named.pseudonyms.person("H", "42"));
    assert_ne!(act(&reader()).person, act(&named).person);
    let Deed::Leave { visit, .. } = act(&named).deed else { panic!("no discharge") };
    assert_eq!(visit, named.pseudonyms.visit("H", "V9"));
}

#[test]
fn a_swap_is_one_operation_on_two_and_a_merge_names_the_prior_number() {
    let two = format!(
        "{PID}\rPV1||I|MICU^1||||||||||||||||V9\rPID|||43^^^H^MR\rPV1||I|MICU^2||||||||||||||||V8\r"
    );
    let acts = adt("A17", &two).unwrap().acts;
    assert_eq!(acts.len(), 2);
    assert_eq!(acts[0].operation, acts[1].operation);
    assert_ne!(acts[0].person, acts[1].person);
    let merge = format!("{PID}\rMRG|41^^^H^MR||||V8\rPV1||I|MICU||||||||||||||||V9\r");
    let act = adt("A40", &merge).unwrap().acts.remove(0);
    let pseudonyms = reader().pseudonyms;
    let visits = Some((pseudonyms.visit("", "V8"), pseudonyms.visit("", "V9")));
    assert_eq!(act.deed, Deed::Merge { prior: pseudonyms.person("H", "41"), visits });
    assert_eq!(act.person, pseudonyms.person("H", "42"));
}

#[test]
fn what_names_nobody_or_nothing_is_refused_as_a_whole() {
    let reason = |read: Result<Reading, Rejection>| read.unwrap_err().reason;
    assert_eq!(reason(adt("A01", "")), Reason::MissingKey);
    assert_eq!(reason(adt("A01", "PID|||\rPV1||I|MICU||||||||||||||||V9")), Reason::MissingKey);
    assert_eq!(reason(adt("A01", &format!("{PID}\rPV1||I|MICU"))), Reason::MissingKey);
    let no_unit = format!("{PID}\rPV1||I|||||||||||||||||V9");
    assert_eq!(reason(adt("A02", &no_unit)), Reason::MissingKey);
    assert_eq!(reason(adt("A40", PID)), Reason::MissingKey);
    assert_eq!(reason(adt("A31", PID)), Reason::Unsupported);
    assert_eq!(reason(read("MSH|^~\\&|A|B|||1||MDM^T02|1|P|2.5\r")), Reason::Unsupported);
    let no_pid = "MSH|^~\\&|A|B|||1||ORU^R01|1|P|2.5\rOBX|1|NM|GLU||9\r";
    assert_eq!(reason(read(no_pid)), Reason::MissingKey);
}

#[test]
fn rejections_name_no_patient() {
    let said = |reading: Result<Reading, Rejection>| match reading {
        Ok(reading) => format!("{:?}", reading.refused),
        Err(rejection) => rejection.to_string(),
    };
    for text in [
        said(adt("A01", &format!("{PID}\rPV1||I|MICU"))),
        said(oru("1||F1|GLU|||x", "1|NM|GLU||97|mg/dL|||||F")),
        said(oru("1||F1|GLU", "1|ST|JANE-DOE||DOE^JANE 42|mg/dL|||||F")),
    ] {
        assert!(!text.contains("42") && !text.contains("DOE^J"), "{text}");
    }
}

proptest! {
    /// As a fuzzer would: good messages with bytes overwritten, cut out and put in.
    #[test]
    fn damaged_messages_are_read_or_refused(
        which in 0usize..3,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..40),
    ) {
        let seeds = [
            format!("MSH|^~\\&|A|B|||1||ADT^A17|1|P|2.5\rEVN||1\r{PID}\r\
                     PV1||I|M||||||||||||||||V9\r{PID}\r"),
            format!("MSH|^~\\&|A|B|||1||ADT^A40|1|P|2.5\r{PID}\rMRG|41^^^H^MR||||V8\rPV1||I|M\r"),
            format!("MSH|^~\\&|A|B|||1||ORU^R01|1|P|2.5\r{PID}\rOBR|1||F|G|||2026030108\r\
                     OBX|1|SN|GLU||=^5|mg/dL|||||F|||20260301081500+0100\rSPM|1|||SER\r"),
        ];
        let mut bytes = seeds[which].clone().into_bytes();
        for (place, byte, how) in edits {
            let at = place.index(bytes.len().max(1));
            match how {
                0 => bytes.insert(at.min(bytes.len()), byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if let Ok(text) = decode(&bytes)
            && let Ok(message) = Message::parse(&text)
        {
            let header = Header::read(&message);
            let _ = header.check();
            let _ = reader().read(&message, &header, (7, 1), WallTime::from_millis(ARRIVED));
        }
    }
}
