//! Values that are not what they seem, and words that nobody knows.

use nowcxr::event::risk::Suspicion;
use nowcxr::ids::Topic;
use nowcxr::wire::RiskRecord;

use super::counters::Watch;
use super::hospital::{Hospital, Order, last_word};

fn rejected(watch: &Watch, reason: &str, topic: Topic) -> u64 {
    let topic = topic.name();
    watch.rose(&format!("nowcxr_records_rejected_total{{reason=\"{reason}\",topic=\"{topic}\"}}"))
}

/// A monitor's order.
fn monitor(number: &str, reported: i64) -> Order<'_> {
    Order { section: "", ..Order::new(number, reported) }
}

#[test]
fn f07_unit_mix_up() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    // The number of one unit under the name of another.
    hospital.result(7, Order::new("O1", 70), &["NM|2345-7^Glucose^LN||5.8|mg/dL|||||F"]);
    let mixed_up = ["NM|8310-5^Temp^LN||98.6|Cel|||||F", "NM|3150-0^FiO2^LN||40|1|||||F"];
    hospital.result(7, monitor("M1", 71), &mixed_up);
    // As declared, and without a unit.
    hospital.result(7, Order::new("O2", 72), &["NM|2345-7^Glucose^LN||5.8|mmol/L|||||F"]);
    let declared = [
        "NM|8310-5^Temp^LN||98.6|[degF]|||||F",
        "NM|3150-0^FiO2^LN||40|%|||||F",
        "NM|29463-7^Weight^LN||154|[lb_av]|||||F",
        "NM|3150-0^FiO2^LN|2|0.4||||||F",
    ];
    hospital.result(7, monitor("M2", 73), &declared);
    hospital.pass(90, 150);
    let all = [hospital.facts(Topic::Lab), hospital.facts(Topic::Vital)].concat();
    let values = ["104.49", "37.0", "value: 0.4 ", "69.85"];
    for value in values {
        assert!(all.iter().any(|line| line.contains(value)), "{value} in {all:#?}");
    }
    let events = hospital.events();
    assert_eq!(rejected(&watch, "unit_suspect", Topic::Lab), 1);
    assert_eq!(rejected(&watch, "unit_suspect", Topic::Vital), 2);
    assert_eq!(events[0].series.n_facts, 5, "nothing suspect was repaired or used");
}

#[test]
fn f08_out_of_range_or_garbage() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    hospital.result(7, monitor("M1", 71), &["NM|8867-4^HR^LN||10000000|/min|||||F"]);
    // A year off, and in half an hour.
    let old = Order { drawn: 70 - 365 * 24 * 60, ..monitor("M2", 72) };
    hospital.result(7, old, &["NM|8867-4^HR^LN||80|/min|||||F"]);
    let text = hospital.oru(7, monitor("M3", 105), &["NM|8867-4^HR^LN||80|/min|||||F"]);
    assert_eq!(hospital.say(75, &text), "AA");
    hospital.result(7, monitor("M4", 76), &["NM|8867-4^HR^LN||lots|/min|||||F"]);
    hospital.pass(90, 150);
    // What is of no stay waits for one, and is given up after a day.
    assert_eq!(watch.rose("nowcxr_edge_said_total{fate=\"kept\"}"), 1);
    super::world::pass(&mut hospital.desk, super::world::wall(super::hospital::at(27 * 60)));
    assert_eq!(hospital.letters(), ["no_admission"]);
    let events = hospital.events();
    for (reason, n) in [("implausible", 1), ("future", 1), ("not_a_number", 1)] {
        assert_eq!(rejected(&watch, reason, Topic::Vital), n, "{reason}");
    }
    assert_eq!(events[0].series.n_facts, 0);
}

/// Of the last word at this minute: which newest values are suspect, and why.
fn suspects(events: &[RiskRecord], minute: i64) -> Vec<(String, Suspicion)> {
    let newest = last_word(events, minute).series.last_observed.iter();
    newest.filter_map(|one| Some((one.variable.clone(), one.suspect?))).collect()
}

#[test]
fn f09_artefact() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    // A heart that beats 72 times for hours on end, beside a full saturation.
    for hour in 1..8 {
        let beats = format!("NM|8867-4^HR^LN||{}|/min|||||F", if hour < 7 { 72 } else { 75 });
        let order = Order { drawn: 60 * hour + 10, ..monitor("M1", 60 * hour + 20) };
        hospital.result(7, order, &[&beats, "NM|59408-5^SpO2^LN||100|%|||||F"]);
    }
    // A pressure that leaps within a minute, and what the next ones say of it.
    let pressures = [(471, 118), (472, 50), (530, 62), (590, 119), (591, 230), (592, 120)];
    for (drawn, mmhg) in pressures {
        let order = Order { drawn, ..monitor("M2", drawn + 1) };
        hospital.result(7, order, &[&format!("NM|8480-6^SBP^LN||{mmhg}|mm[Hg]|||||F")]);
    }
    let beyond = Order { drawn: 593, ..monitor("M2", 594) };
    hospital.result(7, beyond, &["NM|8480-6^SBP^LN||20000|mm[Hg]|||||F"]);
    for (drawn, beats) in [(597, 76), (598, 190)] {
        let order = Order { drawn, ..monitor("M1", drawn + 1) };
        hospital.result(7, order, &[&format!("NM|8867-4^HR^LN||{beats}|/min|||||F")]);
    }
    hospital.pass(600, 720);
    let events = hospital.events();
    let hr = |why| vec![("heart_rate".to_owned(), why)];
    assert_eq!(suspects(&events, 360), [], "five times over four hours");
    assert_eq!(suspects(&events, 420), hr(Suspicion::Stuck));
    assert_eq!(suspects(&events, 480), [("sbp".to_owned(), Suspicion::Jump)]);
    assert_eq!(suspects(&events, 540), [], "the fall was true, and the heart has moved");
    assert_eq!(
        suspects(&events, 600),
        hr(Suspicion::Jump),
        "one rise was alone, one is not told of"
    );
    let suspected = |variable: &str, why: &str| {
        let labels = format!("variable=\"{variable}\",why=\"{why}\"");
        watch.rose(&format!("nowcxr_values_suspected_total{{{labels}}}"))
    };
    assert_eq!((suspected("heart_rate", "stuck"), suspected("sbp", "jump")), (1, 1));
    assert!(suspected("heart_rate", "jump") > 0);
    // Nothing is dropped: seven pairs, six pressures but the implausible one, two rates.
    assert_eq!(last_word(&events, 600).series.n_facts, 2 * 7 + 6 + 2);
}

#[test]
fn f14_unmapped_code() {
    let watch = Watch::start();
    let unmapped = "nowcxr_edge_rejected_total{reason=\"unmapped_code\"}";
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    let results = ["NM|718-7^Hb^LN||9|g/dL|||||F", "NM|ZUCKER^Zucker^L||104|mg/dL|||||F"];
    hospital.result(7, Order::new("O1", 70), &results);
    assert_eq!((hospital.letters().len(), watch.rose(unmapped)), (2, 2));
    let letters = super::world::letters(&hospital.config, &hospital.log);
    assert!(letters[1].1.detail.contains("ZUCKER"), "{}", letters[1].1.detail);
    assert!(hospital.facts(Topic::Lab).is_empty());
    // The site maps its code.
    let mut hospital = hospital.reopened(&["edge.codes={ ZUCKER = \"glucose\" }"]);
    hospital.result(7, Order::new("O2", 80), &results[1..]);
    assert_eq!((hospital.facts(Topic::Lab).len(), watch.rose(unmapped)), (1, 2));
}

#[test]
fn f15_vocabulary_drift() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    let words = ["To Speech", "to speech", "3 To speech", "3", "4 Spontaneously"];
    for (n, word) in (0..).zip(words) {
        let obx = format!("ST|9267-6^GCS eye^LN||{word}||||||F");
        hospital.result(7, monitor(&format!("M{n}"), 70 + n), &[&obx]);
    }
    let obx = ["ST|9267-6^GCS eye^LN||To Shouting||||||F", "NM|9267-6^GCS eye^LN||7||||||F"];
    obx.iter().for_each(|obx| hospital.result(7, monitor("M9", 80), &[obx]));
    hospital.pass(90, 150);
    let events = hospital.events();
    assert_eq!(rejected(&watch, "unknown_category", Topic::Vital), 2);
    assert_eq!(events[0].series.n_facts, 5);
    // The text in either case and the score are one category.
    let vital = hospital.facts(Topic::Vital);
    let value = |line: &String| line.split("value: ").nth(1).unwrap()[..1].to_owned();
    let values: Vec<String> = vital[..5].iter().map(value).collect();
    assert_eq!(values[0], values[1]);
    assert_eq!(values[0], values[3]);
    assert!(values[2] != values[0] && values[4] != values[0], "{vital:#?}");
}
