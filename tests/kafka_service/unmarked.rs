//! Feeds whose producers send no marks, and records that end the service, over a real broker.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::place::{LONG, Place, Reader, place, succeed};

/// Monitors and laboratory say nothing of how far they have got.
const UNMARKED: &str = r#"feeds.list=[
    { name = "stay", topic = "stay" },
    { name = "imaging", topic = "imaging" },
    { name = "lab", topic = "lab", lateness = "10m" },
    { name = "vital", topic = "vital", lateness = "2m" },
    { name = "acknowledgement", topic = "acknowledgement" },
]"#;

fn replay(place: &Place, to: &str) {
    let mut replay = place.nowcxr("replay", "unused");
    replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
    succeed(replay.args(["--to", to, "--out", "local", "--set", UNMARKED]).output().unwrap());
}

#[test]
fn feeds_without_marks_give_the_same_risk_events_over_kafka_and_the_local_log() {
    let Some(place) = place("unmarked", 3) else { return };
    replay(&place, "local");
    let expected = place.local_risks();
    assert!(expected.len() > 100, "only {} risk events", expected.len());
    replay(&place, "kafka");
    let run = |node: &str| {
        let mut run = place.nowcxr("run", node);
        succeed(run.args(["--until-idle", "3", "--set", UNMARKED]).output().unwrap())
    };
    run("a");
    let told = place.sorted_kafka_risks();
    let n_journalled = journalled(&place);
    println!("{} risk events, {n_journalled} records in the journal", told.len());
    assert!(told == expected, "{} risk events, not {}", told.len(), expected.len());
    // A hundred more than there are answers to windows.
    assert!(n_journalled > told.len() + 100, "{n_journalled}");
    // Another node, without the state.
    run("b");
    assert_eq!(place.kafka_risks().len(), expected.len());
}

fn journalled(place: &Place) -> usize {
    let journal = format!("{}-journal", place.group());
    Reader::of(&place.broker, &journal).all().len()
}

#[test]
fn a_record_that_is_none_ends_the_service_until_it_may_be_a_dead_letter() {
    let Some(place) = place("fails", 2) else { return };
    place.replay("local");
    let expected = place.local_risks();
    place.replay("kafka");
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &place.broker).create().unwrap();
    let lab = format!("{}lab", place.prefix);
    let garbage = BaseRecord::<str, str>::to(&lab).partition(0).key("7").payload("no record");
    producer.send(garbage).map_err(|(error, _)| error).unwrap();
    producer.flush(LONG).unwrap();
    let fail = ["--until-idle", "3", "--set", "errors.deserialization=fail"];
    for _ in 0..2 {
        let output = place.nowcxr("run", "a").args(fail).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains("lab/0@") && said.contains("errors.deserialization is fail"),
            "{said}"
        );
    }
    place.run_to_idle("a");
    assert!(place.sorted_kafka_risks() == expected, "what was said before it ended is said once");
    let letters = Reader::of(&place.broker, &format!("{}dead_letter", place.prefix)).all();
    let ours = letters.iter().filter(|letter| letter.windows(9).any(|part| part == b"no record"));
    assert_eq!(ours.count(), 1);
}
