//! Where the edge's records go: the local log or Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Topic;
use crate::ports::PortError;
use crate::time::{EventTime, Span, WallTime};
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

/// How often a local log is looked through for what its retention has passed.
const RETENTION_EVERY: Span = Span::HOUR;

/// Partition 0 of a local log's topics.
#[derive(Debug)]
pub struct LocalSink {
    topics: BTreeMap<Channel, Arc<Partition>>,
    /// How long a record is kept; for ever if `None`.
    retention: Option<Span>,
    looked_at: Option<WallTime>,
}

impl LocalSink {
    pub fn open(log: &LocalLog, retention: Option<Span>) -> Result<Self, LogError> {
        let inputs = Topic::ALL.map(|topic| (Channel::Input(topic), topic.name()));
        let all = inputs.into_iter().chain([(Channel::DeadLetter, DEAD_LETTERS)]);
        let topics = all.map(|(channel, name)| Ok((channel, log.partition(name, 0)?)));
        let topics = topics.collect::<Result<_, LogError>>()?;
        Ok(LocalSink { topics, retention, looked_at: None })
    }

    fn retain(&mut self, now: WallTime) -> Result<(), LogError> {
        let Some(retention) = self.retention else { return Ok(()) };
        if self.looked_at.is_some_and(|at| now < at + RETENTION_EVERY) {
            return Ok(());
        }
        self.looked_at = Some(now);
        for partition in self.topics.values() {
            partition.delete_appended_before(now - retention)?;
        }
        Ok(())
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
        Ok(self.retain(now)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::local::LogOptions;

    #[test]
    fn the_log_of_an_edge_keeps_what_its_retention_says() {
        for (retention, days_kept) in [(Some(Span::hours(48)), 2..4), (None, 20..21)] {
            let dir = tempfile::tempdir().unwrap();
            let log = LocalLog::open(dir.path(), LogOptions { segment_bytes: 1_000 }).unwrap();
            let mut sink = LocalSink::open(&log, retention).unwrap();
            let minutes = 20 * 24 * 60;
            for minute in (0..minutes).step_by(10) {
                let ms = i64::from(minute) * 60_000;
                let (time, now) = (EventTime::from_millis(ms), WallTime::from_millis(ms));
                sink.mark(time, &[(Topic::Lab, vec![0; 20])], now).unwrap();
            }
            let lab = log.partition(Topic::Lab.name(), 0).unwrap();
            let kept = (lab.end() - lab.start()) / (24 * 6);
            assert!(days_kept.contains(&kept), "{kept} days with {retention:?}");
        }
    }
}
