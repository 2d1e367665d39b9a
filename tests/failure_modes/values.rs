//! Values that are not what they seem, and words that nobody knows.

use nowcxr::ids::Topic;

use super::counters::Watch;
use super::hospital::{Hospital, Order};

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
