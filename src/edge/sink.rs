//! Where the edge's records go: the local log or Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Topic;
use crate::ports::PortError;
use crate::time::{EventTime, WallTime};
use crate::transport::kafka::{KafkaSettings, KafkaSink};
use crate::transport::local::{LocalLog, LogError, NewRecord, Partition};

/// The edge's writer id in a local log: its appends are idempotent under it. A replay has 1.
const WRITER: u64 = 2;
/// Marks are numbered by their time, under a writer of their own.
const MARK_WRITER: u64 = 3;
/// The local topic of what the edge could not use.
pub const DEAD_LETTERS: &str = "edge_dead_letter";

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    Input(Topic),
    DeadLetter,
}

/// A record on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Counts the records of this edge.
    pub number: u64,
    pub channel: Channel,
    /// The stay id in decimal.
    pub key: Option<String>,
    /// Confluent-framed Avro.
    pub value: Vec<u8>,
}

/// The way into the topics.
pub trait Sink {
    /// Appends the records in their order and makes them durable. May be called again with records
    /// that are there already.
    fn send(&mut self, records: &[Outgoing], now: WallTime) -> Result<(), PortError>;

    /// Appends marks of `time`, each to every partition of its topic, behind all that was sent.
    fn mark(
        &mut self,
        time: EventTime,
        marks: &[(Topic, Vec<u8>)],
        now: WallTime,
    ) -> Result<(), PortError>;
}

/// Partition 0 of a local log's topics.
#[derive(Debug)]
pub struct LocalSink {
    topics: BTreeMap<Channel, Arc<Partition>>,
}

impl LocalSink {
    pub fn open(log: &LocalLog) -> Result<Self, LogError> {
        let inputs = Topic::ALL.map(|topic| (Channel::Input(topic), topic.name()));
        let all = inputs.into_iter().chain([(Channel::DeadLetter, DEAD_LETTERS)]);
        let topics = all.map(|(channel, name)| Ok((channel, log.partition(name, 0)?)));
        Ok(LocalSink { topics: topics.collect::<Result<_, LogError>>()? })
    }
}

impl Sink for LocalSink {
    fn send(&mut self, records: &[Outgoing], now: WallTime) -> Result<(), PortError> {
        for (channel, partition) in &self.topics {
            let of_it: Vec<NewRecord<'_>> = records
                .iter()
                .filter(|record| record.channel == *channel)
                .map(|record| NewRecord {
                    writer: WRITER,
                    sequence: record.number,
                    key: record.key.as_deref().map(str::as_bytes),
                    headers: &[],
                    value: &record.value,
                })
                .collect();
            if !of_it.is_empty() {
                partition.append_durable(&of_it, now)?;
            }
        }
        Ok(())
    }

    fn mark(
        &mut self,
        time: EventTime,
        marks: &[(Topic, Vec<u8>)],
        now: WallTime,
    ) -> Result<(), PortError> {
        for (topic, value) in marks {
            let Some(partition) = self.topics.get(&Channel::Input(*topic)) else { continue };
            let sequence = u64::try_from(time.as_millis()).unwrap_or(0);
            let mark = NewRecord { writer: MARK_WRITER, sequence, key: None, headers: &[], value };
            partition.append_durable(&[mark], now)?;
        }
        Ok(())
    }
}

/// The input topics of a Kafka cluster. What is sent again after a crash is there twice, with equal
/// ids, and counts as a duplicate.
pub struct KafkaTopics(KafkaSink);

impl KafkaTopics {
    /// Creates the topics where they are missing.
    pub fn open(settings: &KafkaSettings) -> Result<Self, PortError> {
        KafkaSink::open(settings).map(KafkaTopics)
    }
}

impl Sink for KafkaTopics {
    /// The broker's clock stamps the records, so `now` is not needed.
    fn send(&mut self, records: &[Outgoing], _now: WallTime) -> Result<(), PortError> {
        for record in records {
            let key = record.key.as_deref().map(str::as_bytes);
            match record.channel {
                Channel::Input(topic) => self.0.append(topic, key, &record.value, None)?,
                Channel::DeadLetter => self.0.dead_letter(key, &record.value)?,
            }
        }
        self.0.flush()
    }

    fn mark(
        &mut self,
        _time: EventTime,
        marks: &[(Topic, Vec<u8>)],
        _now: WallTime,
    ) -> Result<(), PortError> {
        for (topic, value) in marks {
            self.0.mark(*topic, value, None)?;
        }
        self.0.flush()
    }
}
