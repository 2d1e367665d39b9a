//! A registry beside the broker, and faults and misplaced records told through it: what comes out
//! is what the local log gives.

#[path = "../registry/server.rs"]
mod server;

use std::process::Output;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::place::{LONG, Place, place, succeed};
use server::Registry;

fn replay(place: &Place, to: &str, more: &[&str]) -> Output {
    let mut replay = place.nowcxr("replay", "unused");
    replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg", "--json"]);
    replay.args(["--set", "engine.every=6h", "--to", to]).args(more).output().unwrap()
}

/// Bodies without the schema's id.
fn bodies(mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    records.iter_mut().for_each(|record| drop(record.drain(..5)));
    records.sort();
    records
}

#[test]
fn with_the_ids_of_a_registry_the_same_is_said() {
    let Some(place) = place("registry", 2) else { return };
    let registry = Registry::start();
    let url = format!("registry.url={}", registry.url);
    succeed(replay(&place, "local", &["--out", "local"]));
    // Who may not register waits for somebody who has.
    let closed = ["--set", &url, "--set", "registry.register=false"];
    let refused = replay(&place, "kafka", &closed);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("registry.register"), "{said}");
    succeed(replay(&place, "kafka", &["--set", &url]));
    let registered = registry.asked();
    let mut run = place.nowcxr("run", "a");
    run.args(["--until-idle", "3", "--set", "engine.every=6h"]).args(closed);
    succeed(run.output().unwrap());
    assert!(registry.asked() > registered, "the service asked for no id");
    let told = place.kafka_risks();
    assert!(!told.is_empty() && told.iter().all(|record| record[..4] == [0; 4] && record[4] > 100));
    assert!(bodies(told) == bodies(place.local_risks()));
}

#[test]
fn a_record_in_another_partition_than_its_stay_reaches_no_second_task() {
    let Some(place) = place("misplaced", 2) else { return };
    place.replay("local");
    place.replay("kafka");
    // As a producer with librdkafka's own default partitioner does it with most of its keys.
    let vital = format!("{}vital", place.prefix);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &place.broker).set("group.id", "misplacing");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut first = TopicPartitionList::new();
    first.add_partition_offset(&vital, 0, Offset::Beginning).unwrap();
    consumer.assign(&first).unwrap();
    let keyed = consumer.iter().map(Result::unwrap).find(|record| record.key().is_some()).unwrap();
    let (key, value) = (keyed.key().unwrap(), keyed.payload().unwrap());
    let producer: BaseProducer = config.create().unwrap();
    let at = keyed.timestamp().to_millis().unwrap();
    let record = BaseRecord::to(&vital).key(key).payload(value).partition(1).timestamp(at);
    producer.send(record).unwrap();
    producer.flush(LONG).unwrap();

    let summary: Value = serde_json::from_str(&place.run_to_idle("a")).unwrap();
    assert!(place.sorted_kafka_risks() == place.local_risks());
    let mut list = place.nowcxr("dead-letters", "unused");
    let listed = succeed(list.args(["list", "--reason", "wrong_partition"]).output().unwrap());
    assert_eq!(listed.lines().count(), 1, "{listed}; {summary}");
}

#[test]
fn faults_through_kafka_are_those_of_the_local_log_and_are_found_alike() {
    let Some(place) = place("faults", 3) else { return };
    let faults = ["--faults", "rate=0.1", "--detection", "--seed", "9", "--out"];
    let detection = |to: &str, out: &str| {
        let output = succeed(replay(&place, to, &[&faults[..], &[out]].concat()));
        serde_json::from_str::<Value>(&output).unwrap()["detection"].clone()
    };
    let local = detection("local", "local");
    let kafka = detection("kafka", "kafka");
    println!("{kafka:#}");
    assert!(local["garbage"]["injected"].as_u64() > Some(0), "{local}");
    assert_eq!(kafka, local);
    let read = |out: &str| std::fs::read(place.path(out).join("faults.jsonl")).unwrap();
    assert_eq!(read("kafka"), read("local"));
    let truth = super::place::Reader::of(&place.broker, &format!("{}fault", place.prefix)).all();
    assert_eq!(truth.len(), read("kafka").iter().filter(|byte| **byte == b'\n').count());
}
