//! What the tests of commits share: topics of their own, commits by number, and another program's
//! look at a topic.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::config::ProductionHandler;
use nowcxr::ids::{Digest, Position, StayId, Topic};
use nowcxr::ports::{Commit, Committer, JournalRecord, Output, OutputKind, StateStore};
use nowcxr::store::codec::{NEWEST_VERSION, frame, unframe};
use nowcxr::store::keys::Key;
use nowcxr::store::memory::MemoryStore;
use nowcxr::transport::kafka::{
    AppendClock, Changeover, CommitterOptions, KafkaCommitter, KafkaSettings, KafkaSource,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub const LONG: Duration = Duration::from_secs(60);
pub const SHORT: Duration = Duration::from_millis(200);
pub const SEED: u64 = 11;

pub type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// Settings with topics that no other test uses, or `None` where there is no broker.
pub fn settings(test: &str) -> Option<KafkaSettings> {
    let Ok(bootstrap) = std::env::var("NOWCXR_KAFKA") else {
        println!("skipped: NOWCXR_KAFKA is not set; start a broker with .ci/kafka start");
        return None;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let name = format!("{test}-{}-{now}", std::process::id());
    Some(KafkaSettings {
        prefix: format!("{name}."),
        app: name,
        partitions: 2,
        clock: AppendClock::Replay,
        delivery_timeout_ms: 10_000,
        ..KafkaSettings::new(bootstrap)
    })
}

pub fn options(partition: u32) -> CommitterOptions {
    CommitterOptions {
        partition,
        config: Digest::of(b"config"),
        flush_every: Duration::from_secs(2),
        changeover: Changeover::Refuse,
        production: ProductionHandler::Retry,
        stop: Arc::new(AtomicBool::new(false)),
    }
}

/// A committer outside any group, on a store that it has brought up.
pub fn alone(settings: &KafkaSettings, store: &mut impl StateStore) -> KafkaCommitter {
    let source = KafkaSource::open(settings, [0]).unwrap();
    let mut committer = KafkaCommitter::open(settings, source.ownership(), options(0)).unwrap();
    committer.open(store).unwrap();
    committer
}

pub fn values(store: &impl StateStore) -> Values {
    let mut values = Values::new();
    let mut visit = |key: &[u8], value: &[u8]| drop(values.insert(key.to_vec(), value.to_vec()));
    store.scan(&[], &mut visit).unwrap();
    values
}

/// The number of the last commit in the store.
pub fn last(store: &MemoryStore) -> u64 {
    let key = put(99_999, b"").0;
    let value = store.get(&key).unwrap();
    value.map_or(0, |value| u64::from_be_bytes(unframe(&value).unwrap().1.try_into().unwrap()))
}

pub fn put(n: u64, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (Key::Head { stay: StayId(n) }.encode(), frame(NEWEST_VERSION, payload))
}

pub fn commit(number: u64) -> Commit {
    let output = |of: u64, kind| Output {
        number: 2 * (number - 1) + of,
        kind,
        stay: Some(StayId(number % 3)),
        payload: format!("event {number}").into_bytes(),
        envelope: br#"{"node": "a", "latency_ms": 3}"#.to_vec(),
    };
    let position = Position { topic: Topic::Lab, partition: 0, next: 10 * number };
    Commit {
        number,
        puts: vec![
            put(number % 5, &number.to_be_bytes()),
            put(99_999, &number.to_be_bytes()),
            put(100 + number, b"once"),
        ],
        deletes: vec![put(100 + number / 2, b"").0],
        positions: vec![position],
        outputs: vec![output(1, OutputKind::Risk), output(2, OutputKind::View)],
        journal: vec![JournalRecord {
            after: vec![position],
            input: number.to_be_bytes().to_vec(),
        }],
        reached: None,
    }
}

/// Everything in a topic that is certain, as another program would read it.
pub fn dump(settings: &KafkaSettings, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", "dump")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut messages, mut ended, start) = (Vec::new(), 0, Instant::now());
    while ended < partitions && start.elapsed() < LONG {
        match consumer.poll(SHORT) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    assert_eq!(ended, partitions);
    messages
}

/// Runs one of Kafka's own tools.
pub fn tool(class: &str, args: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka");
    let output = Command::new(script).args(["tool", "--", class]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
