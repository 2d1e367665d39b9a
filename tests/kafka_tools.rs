//! `nowcxr topics`, `nowcxr dead-letters` and the benchmarks against a real broker. Runs when
//! `NOWCXR_KAFKA` holds its address:
//!
//! ```sh
//! NOWCXR_KAFKA=$(.ci/kafka start) cargo test --release --test kafka_tools; .ci/kafka stop
//! ```

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::config::EngineConfig;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::{Reason, Rejection};
use nowcxr::ids::{Origin, Topic};
use nowcxr::ports::{Source, SourceRecord};
use nowcxr::time::WallTime;
use nowcxr::transport::kafka::{AppendClock, KafkaSettings, KafkaSink, KafkaSource};
use nowcxr::wire::{Codec, DeadLetter};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

struct Place(KafkaSettings);

/// Names that no other test uses, or `None` where there is no broker.
fn place(test: &str) -> Option<Place> {
    let Ok(bootstrap) = std::env::var("NOWCXR_KAFKA") else {
        println!("skipped: NOWCXR_KAFKA is not set; start a broker with .ci/kafka start");
        return None;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let name = format!("{test}-{}-{now}", std::process::id());
    Some(Place(KafkaSettings {
        prefix: format!("{name}."),
        app: name,
        partitions: 2,
        clock: AppendClock::Replay,
        ..KafkaSettings::new(bootstrap)
    }))
}

impl Place {
    fn nowcxr(&self, args: &[&str]) -> Output {
        let mut nowcxr = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
        for (key, value) in [
            ("kafka.brokers", self.0.bootstrap.as_str()),
            ("kafka.prefix", &self.0.prefix),
            ("kafka.group", &self.0.app),
            ("kafka.clock", "replay"),
            ("kafka.partitions", &self.0.partitions.to_string()),
        ] {
            nowcxr.args(["--set", &format!("{key}={value}")]);
        }
        nowcxr.args(args).output().unwrap()
    }

    /// What the command says, as one JSON value a line.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let output = self.nowcxr(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs one of Kafka's own tools.
fn tool(class: &str, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka");
    let output = Command::new(script).args(["tool", "--", class]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn topics_are_created_checked_and_refused_where_they_would_lose_data() {
    let Some(place) = place("check") else { return };
    let absent = place.nowcxr(&["topics", "check"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stdout).contains("topics create"));
    let created = place.lines(&["topics", "create", "--json"]);
    assert!(created.iter().all(|topic| topic["partitions"] == 2), "{created:?}");
    let names: Vec<&str> = created.iter().filter_map(|topic| topic["topic"].as_str()).collect();
    assert!(names.contains(&&*place.0.changelog()) && names.len() == 12, "{names:?}");

    let changelog = place.0.changelog();
    let to = ["--bootstrap-server", &place.0.bootstrap, "--entity-type", "topics"];
    let wrong = ["--entity-name", &changelog, "--alter", "--add-config", "cleanup.policy=delete"];
    tool("kafka.admin.ConfigCommand", &[&to[..], &wrong[..]].concat());
    let wrong = place.nowcxr(&["topics", "check"]);
    assert_eq!(wrong.status.code(), Some(1));
    let text = String::from_utf8_lossy(&wrong.stdout);
    assert!(text.contains("error: has cleanup.policy = delete; set it to compact"), "{text}");
    let more = Place(KafkaSettings { partitions: 4, ..place.0.clone() });
    let more = more.nowcxr(&["topics", "check"]);
    assert!(String::from_utf8_lossy(&more.stdout).contains("set kafka.partitions = 2"));
}

#[test]
fn a_dead_letter_is_listed_shown_and_redriven_to_where_it_stood() {
    let Some(place) = place("letters") else { return };
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary).unwrap();
    let mut sink = KafkaSink::open(&place.0).unwrap();
    let at = WallTime::from_millis(5_000_000_000_000);
    for key in ["1", "2", "3"] {
        sink.append(Topic::Lab, Some(key.as_bytes()), &[7; 20], Some(at)).unwrap();
    }
    sink.flush().unwrap();
    let mut source = KafkaSource::open(&place.0, 0..2).unwrap();
    let records = fetch(&mut source, 3);
    // One as the service writes it, and one of a row that never became a record.
    let bad = &records[1];
    let why = Rejection::new(Reason::UnknownFeed, "no such feed".to_owned());
    let letter = DeadLetter::new(bad.origin, bad.key.as_deref(), &[], &why);
    sink.dead_letter(bad.key.as_deref(), &codec.encode(&letter).unwrap()).unwrap();
    let nowhere = Origin { offset: 999, ..bad.origin };
    let row =
        DeadLetter { topic: "labevents".to_owned(), ..DeadLetter::new(nowhere, None, b"", &why) };
    sink.dead_letter(None, &codec.encode(&row).unwrap()).unwrap();
    sink.flush().unwrap();

    assert_eq!(place.lines(&["dead-letters", "list"]).len(), 2);
    assert!(place.lines(&["dead-letters", "list", "--reason", "late"]).is_empty());
    let listed = place.lines(&["dead-letters", "list", "--topic", "lab"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["offset"], bad.origin.offset);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = place.nowcxr(&["dead-letters", "show", id]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["value_hex"], "07".repeat(20));
    assert_eq!(shown["detail"], "no such feed");

    assert!(!place.nowcxr(&["dead-letters", "redrive"]).status.success());
    place.lines(&["dead-letters", "redrive", id, "--dry-run"]);
    let done = place.lines(&["dead-letters", "redrive", "--reason", why.reason.code()]);
    assert_eq!(done.iter().filter(|one| one["redriven"] == true).count(), 1, "{done:?}");
    let again = fetch(&mut source, 1).remove(0);
    assert_eq!(again.origin.partition, bad.origin.partition);
    let same = (&again.key, &again.value, again.appended_at);
    assert_eq!(same, (&bad.key, &bad.value, Some(at)));
}

#[test]
fn a_record_that_lay_in_another_partition_than_its_keys_is_redriven_to_that() {
    let Some(place) = place("misplaced") else { return };
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary).unwrap();
    let mut sink = KafkaSink::open(&place.0).unwrap();
    sink.append(Topic::Lab, Some(b"7"), b"well placed", None).unwrap();
    sink.flush().unwrap();
    let mut source = KafkaSource::open(&place.0, 0..2).unwrap();
    let belongs = fetch(&mut source, 1)[0].origin.partition;

    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &place.0.bootstrap).create().unwrap();
    let (topic, elsewhere) = (place.0.input(Topic::Lab), 1 - belongs);
    let record = BaseRecord::to(&topic).partition(elsewhere as i32).key("7").payload("misplaced");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(LONG).unwrap();
    let bad = fetch(&mut source, 1).remove(0);
    assert_eq!(bad.origin.partition, elsewhere);
    let why = Rejection::new(Reason::WrongPartition, "not its key's".to_owned());
    let letter = DeadLetter::new(bad.origin, bad.key.as_deref(), &bad.value, &why);
    sink.dead_letter(bad.key.as_deref(), &codec.encode(&letter).unwrap()).unwrap();
    sink.flush().unwrap();

    let done = place.lines(&["dead-letters", "redrive", "--reason", why.reason.code()]);
    assert_eq!(done.len(), 1);
    let again = fetch(&mut source, 1).remove(0);
    assert_eq!((again.origin.partition, again.value), (belongs, bad.value));
}

fn fetch(source: &mut KafkaSource, n: usize) -> Vec<SourceRecord> {
    let (start, mut records) = (Instant::now(), Vec::new());
    while records.len() < n && start.elapsed() < LONG {
        source.fetch(n - records.len(), Duration::from_millis(200), &mut records).unwrap();
    }
    assert_eq!(records.len(), n);
    records
}

/// Names of all topics of the benchmarks.
fn bench_topics(place: &Place) -> Vec<String> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", &place.0.bootstrap).create().unwrap();
    let metadata = consumer.fetch_metadata(None, LONG).unwrap();
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    names.filter(|name| name.starts_with("nowcxr-bench-")).collect()
}

#[test]
fn the_benchmarks_of_kafka_measure_and_leave_nothing_behind() {
    let Some(place) = place("bench") else { return };
    let bench = |what: &[&str]| {
        let mut nowcxr = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
        nowcxr.arg("bench").args(what).args(["--brokers", &place.0.bootstrap]);
        let output = nowcxr.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let above_zero = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
    let restored = bench(&["restore", "--stays", "4,8", "--hours", "3", "--per-hour", "6,12"]);
    let wards = restored["wards"].as_array().unwrap();
    assert_eq!(wards.iter().map(|w| w["events"].as_u64().unwrap()).sum::<u64>(), 3 * 18 * 12);
    for ward in wards {
        // A head and a film for each stay, and an hour chunk for each of its hours, at least.
        let stays = ward["stays"].as_u64().unwrap();
        assert!(ward["values"].as_u64().unwrap() >= stays * 5, "{ward}");
        assert!(ward["bytes"].as_u64().unwrap() >= stays * 224 * 224, "{ward}");
        assert!(above_zero(&ward["restore_s"]) && above_zero(&ward["warm_s"]), "{ward}");
    }
    assert_eq!(restored["slopes"].as_array().unwrap().len(), 2);
    let passed = bench(&["kafka", "--events", "2000", "--stays", "10", "--runs", "1"]);
    for of in ["consumer", "service", "without_kafka"] {
        assert!(above_zero(&passed[of]["cpu_us_per_event"]), "{passed}");
        assert!(above_zero(&passed[of]["events_per_s"]), "{passed}");
    }
    let taken = bench(&["producers", "--tasks", "1,3"]);
    let threads = |at: usize| taken["sizes"][at]["threads"].as_i64().unwrap();
    assert!(threads(0) > 0 && threads(1) > threads(0), "{taken}");

    let started = Instant::now();
    while !bench_topics(&place).is_empty() {
        assert!(started.elapsed() < LONG, "{:?}", bench_topics(&place));
        std::thread::sleep(Duration::from_millis(200));
    }
}
