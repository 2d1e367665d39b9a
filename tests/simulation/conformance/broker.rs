//! A topic of a real broker.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext,
};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Subject;
use crate::log::Fenced;

/// How long the broker may take for anything, its cleaner included.
const LONG: Duration = Duration::from_secs(90);
/// A segment is closed when it is so old and something more is written.
const SEGMENT: Duration = Duration::from_millis(1_000);
/// What is written so that a segment is closed. No record of a promise.
const FILLER: &str = "~";

struct Broker {
    bootstrap: String,
    topic: String,
    plain: BaseProducer<Deliveries>,
    committed: BaseConsumer,
    uncommitted: BaseConsumer,
    /// Ids of producers with a transaction under way.
    open: BTreeSet<String>,
}

struct Transactional {
    id: String,
    producer: BaseProducer<Deliveries>,
}

/// Keeps the error of a record that was not taken.
#[derive(Default)]
struct Deliveries(Mutex<Option<KafkaError>>);

impl ClientContext for Deliveries {}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.0.lock().unwrap() = Some(error.clone());
        }
    }
}

impl Broker {
    /// A topic for one promise, or `None` where there is no broker.
    fn new(promise: &str) -> Option<Self> {
        let Ok(bootstrap) = std::env::var("NOWCXR_KAFKA") else {
            println!("skipped: NOWCXR_KAFKA is not set; start a broker with .ci/kafka start");
            return None;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let topic = format!("{promise}-{}-{now}", std::process::id());
        let new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
        administer(&bootstrap, async |admin| {
            let created = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
            created.into_iter().for_each(|topic| drop(topic.unwrap()));
        });
        let consumer = |isolation: &str| -> BaseConsumer {
            client(&bootstrap)
                .set("group.id", "conformance")
                .set("isolation.level", isolation)
                .set("enable.partition.eof", "true")
                .create()
                .unwrap()
        };
        let broker = Broker {
            plain: producer(client(&bootstrap).set("enable.idempotence", "true")),
            committed: consumer("read_committed"),
            uncommitted: consumer("read_uncommitted"),
            open: BTreeSet::new(),
            bootstrap,
            topic,
        };
        broker.await_leaders();
        Some(broker)
    }

    /// Partitions that are new have no leader for a while.
    fn await_leaders(&self) {
        let (start, timeout) = (Instant::now(), Duration::from_secs(5));
        let has = |p| self.uncommitted.fetch_watermarks(&self.topic, p, timeout).is_ok();
        while !(has(0) && has(1)) {
            assert!(start.elapsed() < LONG, "no leader of {}", self.topic);
        }
    }

    fn end_by(&self, consumer: &BaseConsumer, partition: u32) -> u64 {
        let ends = consumer.fetch_watermarks(&self.topic, partition as i32, LONG).unwrap();
        ends.1 as u64
    }

    fn read(&self, by: &BaseConsumer, partition: u32, from: u64) -> Vec<(u64, String)> {
        let mut place = TopicPartitionList::new();
        let first = Offset::Offset(from as i64);
        place.add_partition_offset(&self.topic, partition as i32, first).unwrap();
        by.assign(&place).unwrap();
        let (mut records, start) = (Vec::new(), Instant::now());
        loop {
            assert!(start.elapsed() < LONG, "{} has no end", self.topic);
            match by.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let text = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                    if text != FILLER {
                        records.push((message.offset() as u64, text));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        by.unassign().unwrap();
        records
    }

    /// A producer is told of an end before the partitions are; this waits for them.
    fn settle(&self) {
        let start = Instant::now();
        let is_behind = |p| self.stable_end(p) < self.end(p);
        while self.open.is_empty() && (is_behind(0) || is_behind(1)) {
            assert!(start.elapsed() < LONG, "{}: a transaction stays open", self.topic);
        }
    }

    fn send(
        &self,
        by: &BaseProducer<Deliveries>,
        partition: u32,
        record: &str,
    ) -> Result<(), KafkaError> {
        let (at, key) = (partition as i32, &record[..1]);
        let message = BaseRecord::to(&self.topic).partition(at).key(key).payload(record);
        by.send(message).map_err(|(error, _)| error)?;
        by.flush(LONG)?;
        by.context().0.lock().unwrap().take().map_or(Ok(()), Err)
    }

    fn ended(&mut self, by: &Transactional, ended: Result<(), KafkaError>) -> Result<(), Fenced> {
        let ended = told(ended);
        if ended.is_ok() {
            self.open.remove(&by.id);
            self.settle();
        }
        ended
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn producer(config: &ClientConfig) -> BaseProducer<Deliveries> {
    config.create_with_context(Deliveries::default()).unwrap()
}

/// A client can only tell that it may not go on; whatever passes was tried again by librdkafka.
fn told(result: Result<(), KafkaError>) -> Result<(), Fenced> {
    result.map_err(|error| {
        println!("the broker says: {error}");
        Fenced
    })
}

fn administer(bootstrap: &str, what: impl AsyncFnOnce(AdminClient<DefaultClientContext>)) {
    let admin = client(bootstrap).create().unwrap();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(what(admin));
}

impl Subject for Broker {
    type Producer = Transactional;

    fn init(&mut self, id: &str) -> Transactional {
        let ours = format!("{}-{id}", self.topic);
        let producer = producer(client(&self.bootstrap).set("transactional.id", &ours));
        producer.init_transactions(LONG).unwrap();
        self.open.remove(id);
        self.settle();
        Transactional { id: id.to_owned(), producer }
    }

    fn append(&mut self, partition: u32, record: &'static str) {
        self.send(&self.plain, partition, record).unwrap();
    }

    fn begin(&mut self, by: &Transactional) -> Result<(), Fenced> {
        told(by.producer.begin_transaction())?;
        self.open.insert(by.id.clone());
        Ok(())
    }

    fn add(
        &mut self,
        by: &Transactional,
        partition: u32,
        record: &'static str,
    ) -> Result<(), Fenced> {
        told(self.send(&by.producer, partition, record))
    }

    fn commit(&mut self, by: &Transactional) -> Result<(), Fenced> {
        self.ended(by, by.producer.commit_transaction(LONG))
    }

    fn abort(&mut self, by: &Transactional) -> Result<(), Fenced> {
        self.ended(by, by.producer.abort_transaction(LONG))
    }

    fn stable_end(&self, partition: u32) -> u64 {
        self.end_by(&self.committed, partition)
    }

    fn end(&self, partition: u32) -> u64 {
        self.end_by(&self.uncommitted, partition)
    }

    fn committed(&self, partition: u32, from: u64) -> Vec<(u64, String)> {
        self.read(&self.committed, partition, from)
    }

    fn uncommitted(&self, partition: u32, from: u64) -> Vec<(u64, String)> {
        self.read(&self.uncommitted, partition, from)
    }

    /// Asks for the broker's cleaner and waits until it has been here.
    fn compact(&mut self, partition: u32) {
        let config = AlterConfig::new(ResourceSpecifier::Topic(&self.topic))
            .set("cleanup.policy", "compact")
            .set("segment.ms", "1000")
            .set("min.cleanable.dirty.ratio", "0.01")
            .set("min.compaction.lag.ms", "0")
            .set("max.compaction.lag.ms", "1000");
        administer(&self.bootstrap, async |admin| {
            let altered = admin.alter_configs([&config], &AdminOptions::new()).await.unwrap();
            altered.into_iter().for_each(|topic| drop(topic.unwrap()));
        });
        let (before, start) = (self.committed(partition, 0).len(), Instant::now());
        while self.committed(partition, 0).len() == before {
            assert!(start.elapsed() < LONG, "{} is not compacted", self.topic);
            std::thread::sleep(SEGMENT);
            self.append(partition, FILLER);
        }
    }
}

super::promises! { Broker::new }
