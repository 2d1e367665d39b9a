//! What can be shown without a broker: librdkafka's mock cluster, used to go away and come back.
//! It proves nothing about durability or transactions; `tests/kafka_live.rs` has a real broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::delivery::Delivery;
use super::sink::KafkaSink;
use super::source::KafkaSource;
use super::{Changeover, CommitterOptions, KafkaCommitter, KafkaSettings, ensure_topics};
use crate::config::ProductionHandler;
use crate::ids::{Digest, Position, Topic};
use crate::ports::{Commit, PortError, Source, SourceRecord};

const LONG: Duration = Duration::from_secs(20);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(partitions: i32) -> (Cluster, KafkaSettings) {
    let cluster = MockCluster::new(1).unwrap();
    let mut settings = KafkaSettings::new(cluster.bootstrap_servers());
    settings.delivery_timeout_ms = 2_000;
    for topic in &settings.inputs() {
        cluster.create_topic(topic, partitions, 1).unwrap();
    }
    (cluster, settings)
}

/// Fetches `n` records, passing over errors that pass.
fn fetch(source: &mut KafkaSource, n: usize) -> Vec<SourceRecord> {
    let start = Instant::now();
    let mut records = Vec::new();
    while records.len() < n && start.elapsed() < LONG {
        match source.fetch(n - records.len(), Duration::from_millis(200), &mut records) {
            Ok(()) | Err(PortError::Retry(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(records.len(), n);
    records
}

fn fill(sink: &mut KafkaSink, range: std::ops::Range<u32>) {
    for i in range {
        let key = (i % 5).to_string();
        sink.append(Topic::Vital, Some(key.as_bytes()), &i.to_be_bytes(), None).unwrap();
    }
    sink.flush().unwrap();
}

/// The mock keeps no transactions, but it takes them and can go away.
#[test]
fn a_commit_that_no_broker_takes_is_tried_on_or_ends_the_process_as_is_said() {
    for production in [ProductionHandler::Retry, ProductionHandler::Fail] {
        let (cluster, settings) = cluster(1);
        cluster.create_topic(&settings.changelog(), 1, 1).unwrap();
        let source = KafkaSource::assigned(&settings, BTreeSet::from([0])).unwrap();
        let options = CommitterOptions {
            partition: 0,
            config: Digest::of(b"config"),
            flush_every: LONG,
            changeover: Changeover::Refuse,
            production,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let mut committer = KafkaCommitter::open(&settings, source.ownership(), options).unwrap();
        committer.transact(&Commit::default(), b"first").unwrap();
        cluster.broker_down(1).unwrap();
        let failed = committer.transact(&Commit::default(), b"second").unwrap_err();
        match production {
            ProductionHandler::Retry => assert!(matches!(failed, PortError::Reopen(_)), "{failed}"),
            ProductionHandler::Fail => assert!(
                matches!(&failed, PortError::Stop(why) if why.contains("errors.production")),
                "{failed}"
            ),
        }
    }
}

#[test]
fn records_come_back_in_order_and_again_after_a_seek() {
    let (_cluster, settings) = cluster(2);
    let mut sink = KafkaSink::to_existing(&settings, 2).unwrap();
    fill(&mut sink, 0..200);
    sink.mark(Topic::Lab, b"mark", None).unwrap();
    sink.flush().unwrap();
    let mut source = KafkaSource::assigned(&settings, BTreeSet::from([0, 1])).unwrap();
    let records = fetch(&mut source, 202);
    let marks = records.iter().filter(|r| r.origin.topic == Topic::Lab).count();
    assert_eq!(marks, 2, "a mark goes to every partition");
    for partition in 0..2 {
        let vitals = records
            .iter()
            .filter(|r| r.origin.topic == Topic::Vital && r.origin.partition == partition);
        let (offsets, values): (Vec<u64>, Vec<u32>) = vitals
            .map(|r| (r.origin.offset, u32::from_be_bytes(r.value[..].try_into().unwrap())))
            .unzip();
        assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>());
        assert!(values.is_sorted() && !values.is_empty());
    }
    let back: Vec<Position> = [0, 1]
        .into_iter()
        .flat_map(|partition| Topic::ALL.map(|topic| Position { topic, partition, next: 0 }))
        .collect();
    source.seek(&back).unwrap();
    let mut again = fetch(&mut source, 202);
    let mut records = records;
    let by_origin = |r: &SourceRecord| r.origin;
    again.sort_by_key(by_origin);
    records.sort_by_key(by_origin);
    assert!(again.iter().zip(&records).all(|(a, b)| a.origin == b.origin && a.value == b.value));
}

#[test]
fn a_broker_that_goes_away_is_a_retry_and_its_return_loses_nothing() {
    let (cluster, settings) = cluster(1);
    let mut sink = KafkaSink::to_existing(&settings, 1).unwrap();
    fill(&mut sink, 0..10);
    let mut source = KafkaSource::assigned(&settings, BTreeSet::from([0])).unwrap();
    assert_eq!(fetch(&mut source, 10).len(), 10);
    cluster.broker_down(1).unwrap();
    let start = Instant::now();
    let error = loop {
        let mut none = Vec::new();
        let wait = Duration::from_millis(100);
        match source.fetch(10, wait, &mut none) {
            Ok(()) => assert!(none.is_empty() && start.elapsed() < LONG),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, PortError::Retry(_)), "{error}");
    sink.append(Topic::Lab, None, b"unsent", None).unwrap();
    let refused = sink.flush().unwrap_err();
    assert!(matches!(refused, PortError::Retry(_)), "{refused}");
    assert!(start.elapsed() < 2 * LONG);
    cluster.broker_up(1).unwrap();
    fill(&mut sink, 10..20);
    let values: Vec<u8> = fetch(&mut source, 10).iter().map(|r| r.value[3]).collect();
    assert_eq!(values, (10..20).collect::<Vec<u8>>());
}

#[test]
fn a_task_that_does_not_fetch_holds_up_no_memory_and_loses_nothing() {
    let (_cluster, settings) = cluster(1);
    let mut sink = KafkaSink::to_existing(&settings, 1).unwrap();
    let n = 3 * super::settings::QUEUE_RECORDS as u32;
    fill(&mut sink, 0..n);
    let mut source = KafkaSource::assigned(&settings, BTreeSet::from([0])).unwrap();
    source.seek(&[]).unwrap();
    // Long enough for the queue to fill, for patience to end and for the partitions to pause.
    std::thread::sleep(Duration::from_secs(2));
    let records = fetch(&mut source, n as usize);
    let offsets: Vec<u64> = records.iter().map(|r| r.origin.offset).collect();
    assert_eq!(offsets, (0..u64::from(n)).collect::<Vec<_>>());
    // A seek in the middle of such a pause starts reading again.
    source.seek(&[]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let next = u64::from(n) - 3;
    source.seek(&[Position { topic: Topic::Vital, partition: 0, next }]).unwrap();
    assert_eq!(fetch(&mut source, 3)[0].origin.offset, next);
}

#[test]
fn nobody_at_the_address_is_told_in_bounded_time() {
    // A port that was just free, and so very likely still is.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut settings = KafkaSettings::new(format!("127.0.0.1:{port}"));
    settings.delivery_timeout_ms = 1_000;
    let start = Instant::now();
    let error = ensure_topics(&settings).unwrap_err();
    assert!(matches!(error, PortError::Retry(_)), "{error}");
    assert!(error.to_string().contains("kafka.brokers"), "{error}");
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_property_that_kafka_refuses_is_named() {
    let mut settings = KafkaSettings::new("127.0.0.1:9");
    settings.properties.0.insert("no.such.property".to_owned(), "1".to_owned());
    let error = Delivery::open(&settings, "test").err().unwrap();
    assert!(matches!(error, PortError::Stop(_)));
    assert!(error.to_string().contains("no.such.property"), "{error}");
}
