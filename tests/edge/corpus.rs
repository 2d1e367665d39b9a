//! A morning in a hospital whose systems deviate from the standard as real ones do, message by
//! message: what is answered, what becomes of each, and which risk events follow.

use nowcxr::ids::Topic;
use nowcxr::telemetry::Metrics;
use nowcxr::time::{EventTime, Span, WallTime};
use nowcxr::transport::local::LocalLog;
use nowcxr::wire::RiskStatus;

use super::world::{config, desk, facts, letters, log, pass, risk_events, wall};

/// 2026-03-01, in minutes after midnight UTC; Berlin's clock is an hour ahead.
fn at(minute: i64) -> EventTime {
    EventTime::from_millis(1_772_323_200_000) + Span::minutes(minute)
}

fn local(minute: i64) -> String {
    let minute = minute + 60;
    format!("20260301{:02}{:02}00", minute / 60, minute % 60)
}

/// One message of the corpus: when it comes, what it is, and the expected answer.
struct Sent {
    minute: i64,
    text: Vec<u8>,
    answer: &'static str,
}

struct Corpus {
    sent: Vec<Sent>,
}

impl Corpus {
    fn push(&mut self, minute: i64, answer: &'static str, text: impl Into<Vec<u8>>) {
        self.sent.push(Sent { minute, text: text.into(), answer });
    }

    /// An ADT message of patient `who` and visit `V` + `who`.
    fn adt(&mut self, minute: i64, trigger: &str, who: u32, unit: &str, tail: &str) {
        let n = self.sent.len();
        let pv1 = format!("PV1||I|{unit}^1^A{}V{who}{tail}", "|".repeat(16));
        let text = format!(
            "MSH|^~\\&|ADT|H|NCX|H|{0}||ADT^{trigger}^ADT_A01|A{n}|P|2.4\rEVN|{trigger}|{0}\r\
             PID|1||{who}^^^^MR||MUSTER^ERIKA||19570301|F\r{pv1}\r",
            local(minute)
        );
        self.push(minute, "AA", text);
    }

    /// A result of patient `who`, drawn half an hour before.
    fn oru(&mut self, minute: i64, who: u32, order: &str, obx: &str) {
        let text = self.oru_text(minute, who, order, obx);
        self.push(minute, "AA", text);
    }

    fn oru_text(&self, minute: i64, who: u32, order: &str, obx: &str) -> String {
        let n = self.sent.len();
        format!(
            "MSH|^~\\&|LIS|H|NCX|H|{}||ORU^R01|L{n}|P|2.3\rPID|1||{who}^^^^MR||MUSTER^ERIKA\r\
             PV1||I|MICU{}V{who}\rOBR|1||{order}|X|||{}{}{}||LAB\r{obx}\r",
            local(minute),
            "|".repeat(16),
            local(minute - 30),
            "|".repeat(15),
            local(minute),
        )
    }
}

fn corpus() -> Corpus {
    let mut corpus = Corpus { sent: Vec::new() };
    // A result before its admission; then the emergency room, then the ICU.
    corpus.oru(10, 42, "O1", "OBX|1|NM|2345-7^Glucose^LN||104|mg/dL|||||F");
    corpus.adt(20, "A01", 42, "ER", "");
    corpus.adt(60, "A02", 42, "MICU", "");
    // Line feeds, no character set and a Latin-1 name; a local code; an unknown one beside it.
    let text = corpus.oru_text(
        70,
        42,
        "O2",
        "OBX|1|NM|GLU^Zucker^L||5.8|mmol/L|||||F\rOBX|2|NM|718-7^Hb^LN||9|g/dL|||||F",
    );
    let text = text.replace("ERIKA", "J\u{fc}rgen").replace('\r', "\n");
    corpus.push(70, "AA", text.chars().map(|c| c as u8).collect::<Vec<u8>>());
    // A monitor: several values under one order, one implausible in its unit, one a range.
    corpus.oru(
        75,
        42,
        "M1",
        "OBX|1|NM|8867-4^HR^LN||88|/min|||||F\rOBX|2|NM|8310-5^T^LN||99.1|Cel|||||F\r\
         OBX|3|SN|9279-1^RR^LN||^18|/min|||||F\rOBX|4|SN|9279-1^RR^LN|2|>^30|/min|||||F",
    );
    // Preliminary, final with the same value, corrected; deleted.
    corpus.oru(80, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||300|mg/dL|||||P|||20260301021500");
    corpus.oru(95, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||300|mg/dL|||||F|||20260301021500");
    corpus.oru(130, 42, "O3", "OBX|1|NM|2345-7^Glucose^LN||130|mg/dL|||||C|||20260301021500");
    corpus.oru(140, 42, "O4", "OBX|1|NM|11558-4^pH^LN||7.1|[pH]|||||F");
    corpus.oru(150, 42, "O4", "OBX|1|NM|11558-4^pH^LN||\"\"|[pH]|||||W|||20260301025000");
    // Nobody's, nobody we know, no message, another version, and a type that is not read.
    let nobody = corpus.oru_text(151, 42, "O5", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(151, "AE", nobody.replace("42^^^^MR", ""));
    corpus.oru(152, 77, "O6", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(153, "AR", "hello");
    corpus.push(154, "AR", "MSH|^~\\&|A|B|C|D|1||ORU^R01|X1|P|3.0\r");
    corpus.push(155, "AR", "MSH|^~\\&|A|B|C|D|1||MDM^T02|X2|P|2.5\r");
    // Another patient's visit quoted: a dispute.
    let other = corpus.oru_text(156, 43, "O7", "OBX|1|NM|GLU||97|mg/dL|||||F");
    corpus.push(156, "AA", other.replace("V43", "V42"));
    // Enhanced mode, and the discharge.
    corpus.adt(200, "A03", 42, "MICU", "");
    corpus
}

#[test]
fn a_morning_of_messages_becomes_facts_dead_letters_and_risk_events() {
    let (config, dir) = (config(&["edge.time_zone=Europe/Berlin"]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let mut desk = desk(&config, dir.path(), &log);
    for sent in corpus().sent {
        let now = at(sent.minute);
        // Twice: senders that did not see the answer send again.
        for _ in 0..2 {
            let answers = desk.take(std::slice::from_ref(&sent.text), wall(now)).unwrap().remove(0);
            desk.settle(wall(now)).unwrap();
            let said = String::from_utf8_lossy(&sent.text);
            assert!(answers[0].contains(&format!("MSA|{}|", sent.answer)), "{answers:?} of {said}");
        }
        pass(&mut desk, wall(now));
    }
    for hour in 4..30 {
        pass(&mut desk, wall(at(hour * 60)));
    }
    assert_eq!(facts(&config, &log, Topic::Stay).len(), 2);
    let lab = facts(&config, &log, Topic::Lab);
    lab.iter().for_each(|line| println!("{line}"));
    let vital = facts(&config, &log, Topic::Vital);
    vital.iter().for_each(|line| println!("{line}"));
    // Held, local code, preliminary, correction, pH, withdrawal; of the monitor three, whose order
    // says LAB.
    assert_eq!((lab.len(), vital.len()), (9, 0));
    assert_eq!(lab.iter().filter(|line| line.starts_with("unit_suspect")).count(), 1);
    assert_eq!(lab.iter().filter(|line| line.contains("Corrected")).count(), 1);
    assert_eq!(lab.iter().filter(|line| line.contains("Retracted")).count(), 1);
    let reasons = count(letters(&config, &log).into_iter().map(|(reason, _)| reason));
    let expected = [
        ("identity_dispute", 1),
        ("missing_key", 1),
        ("no_admission", 1),
        ("not_a_number", 1),
        ("undecodable", 1),
        ("unmapped_code", 1),
        ("unsupported", 2),
    ];
    let expected = expected.map(|(reason, n)| (reason.to_owned(), n));
    assert_eq!(reasons, expected);
    nobody_is_named(&log);
    let events = risk_events(&config, &log);
    let scored = events.iter().filter(|event| event.status == RiskStatus::Scored);
    let of: Vec<String> =
        scored.map(|e| format!("{} r{}", &e.t.to_string()[11..16], e.revision)).collect();
    // Admitted at 01:00. The correction came after the window of 02:00, which had used what it
    // replaces; the withdrawal before a window used anything.
    assert_eq!(of, ["02:00 r0", "02:00 r1", "03:00 r0"]);
    assert!(events.last().unwrap().stay_end.is_some());
}

fn count(words: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_insert(0) += 1);
    counts.into_iter().collect()
}

/// No number of a patient or a visit and no name is in any byte that left.
fn nobody_is_named(log: &LocalLog) {
    for (topic, number) in log.list().unwrap() {
        let partition = log.partition(&topic, number).unwrap();
        let mut reader = partition.reader(partition.start()).unwrap();
        while let Some(record) = reader.read().unwrap() {
            let text = String::from_utf8_lossy(&record.value).into_owned();
            for word in ["MUSTER", "ERIKA", "V42", "1957"] {
                assert!(!text.contains(word), "{topic} has {word}");
            }
        }
    }
}

#[test]
fn a_sender_whose_clock_is_wrong_is_counted() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let mut desk = desk(&config, dir.path(), &log);
    let skewed = |way: &str| {
        let text = Metrics::global().unwrap().render().unwrap();
        let name = format!("nowcxr_edge_skewed_total{{way=\"{way}\"}} ");
        let found = text.lines().find_map(|line| line.strip_prefix(&name));
        found.map_or(0, |n| n.parse::<u64>().unwrap())
    };
    let before = (skewed("ahead"), skewed("behind"));
    // At 08:00; five minutes are no fault.
    let now = WallTime::from_millis(1_772_352_000_000);
    for (control, msh_7) in [(1, "20260301080500"), (2, "20260301090000"), (3, "20260301070000")] {
        let text = format!(
            "MSH|^~\\&|ADT|H|NCX|H|{msh_7}||ADT^A08|{control}|P|2.4\r\
             PID|||7^^^H^MR||||19570301|F\rPV1||I|WARD{}V7\r",
            "|".repeat(16)
        );
        desk.take(&[text.into_bytes()], now).unwrap();
    }
    // Other tests count, too.
    assert!(skewed("ahead") > before.0 && skewed("behind") > before.1);
}
