//! A morning's messages, one by one: what is answered, what becomes of each, and which risk events
//! follow.

use nowcxr::ids::Topic;
use nowcxr::telemetry::Metrics;
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;
use nowcxr::wire::RiskStatus;

use super::morning::{at, morning};
use super::world::{config, desk, facts, letters, log, pass, risk_events, wall};

#[test]
fn a_morning_of_messages_becomes_facts_dead_letters_and_risk_events() {
    let (config, dir) = (config(&["edge.time_zone=Europe/Berlin"]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let mut desk = desk(&config, dir.path(), &log);
    for sent in morning() {
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
