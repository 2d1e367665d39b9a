//! A registry beside the broker, and faults told through it: what comes out is what the local log
//! gives.

#[path = "../registry/server.rs"]
mod server;

use std::process::Output;

use serde_json::Value;

use super::place::{Place, place, succeed};
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
    let truth = super::place::Reader::of(&place.broker, &format!("{}fault", place.prefix)).to_end();
    assert_eq!(truth.len(), read("kafka").iter().filter(|byte| **byte == b'\n').count());
}
