//! The way into the input topics, for the replay and for feeds that we own.

use super::delivery::{Delivery, Outgoing};
use super::settings::KafkaSettings;
use super::topics::ensure_inputs;
use crate::ids::{Origin, Topic};
use crate::ports::{OutputKind, PortError};
use crate::time::WallTime;

/// Appends records to the input topics. Order is kept within each partition.
pub struct KafkaSink {
    delivery: Delivery,
    topics: [String; 5],
    labels: String,
    dead_letters: String,
    partitions: u32,
}

impl KafkaSink {
    /// Creates the topics where they are missing.
    pub fn open(settings: &KafkaSettings) -> Result<Self, PortError> {
        let partitions = ensure_inputs(settings)?;
        KafkaSink::to_existing(settings, partitions)
    }

    pub(super) fn to_existing(
        settings: &KafkaSettings,
        partitions: u32,
    ) -> Result<Self, PortError> {
        let delivery = Delivery::open(settings, "sink")?;
        Ok(KafkaSink {
            delivery,
            topics: settings.inputs(),
            labels: settings.labels(),
            dead_letters: settings.output(OutputKind::DeadLetter),
            partitions,
        })
    }

    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Appends one record to the partition of its key. `at` is the replay's clock: see
    /// [`super::AppendClock::Replay`]; a topic with broker append time ignores it.
    pub fn append(
        &mut self,
        topic: Topic,
        key: Option<&[u8]>,
        value: &[u8],
        at: Option<WallTime>,
    ) -> Result<(), PortError> {
        let topic = &self.topics[topic as usize];
        self.delivery.enqueue(Outgoing {
            topic,
            partition: None,
            key,
            value: Some(value),
            at,
            headers: None,
        })
    }

    /// Appends a record once more, to the partition of its key, where the rest of its stay is; one
    /// without a key to that of `origin`, where it stood.
    pub fn again(
        &mut self,
        origin: Origin,
        key: Option<&[u8]>,
        value: &[u8],
        at: Option<WallTime>,
    ) -> Result<(), PortError> {
        let topic = &self.topics[origin.topic as usize];
        let stood = || key.is_none().then_some(origin.partition);
        let (partition, value) = (stood(), Some(value));
        self.delivery.enqueue(Outgoing { topic, partition, key, value, at, headers: None })
    }

    /// Appends a mark to every partition of a topic, behind all records appended before.
    pub fn mark(
        &mut self,
        topic: Topic,
        value: &[u8],
        at: Option<WallTime>,
    ) -> Result<(), PortError> {
        let topic = &self.topics[topic as usize];
        for partition in 0..self.partitions {
            let partition = Some(partition);
            let value = Some(value);
            let mark = Outgoing { topic, partition, key: None, value, at, headers: None };
            self.delivery.enqueue(mark)?;
        }
        Ok(())
    }

    /// Appends what turned out to be true of a stay; no input topic ever holds it.
    pub fn label(&mut self, key: &[u8], value: &[u8]) -> Result<(), PortError> {
        self.delivery.enqueue(beside(&self.labels, Some(key), value))
    }

    /// Appends the dead letter of a row that became no record.
    pub fn dead_letter(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<(), PortError> {
        self.delivery.enqueue(beside(&self.dead_letters, key, value))
    }

    /// Appends to a topic that is none of the application's own.
    pub fn beside(&mut self, topic: &str, key: &[u8], value: &[u8]) -> Result<(), PortError> {
        self.delivery.enqueue(beside(topic, Some(key), value))
    }

    /// Waits until all that was appended is durable. Call it before the end, and before a resume
    /// point is written down.
    pub fn flush(&mut self) -> Result<(), PortError> {
        self.delivery.finish()
    }
}

/// A record of a topic that is no input: it is stamped by the machine's clock.
fn beside<'a>(topic: &'a str, key: Option<&'a [u8]>, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing { topic, partition: None, key, value: Some(value), at: None, headers: None }
}
