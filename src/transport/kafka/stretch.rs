//! One partition of one topic, read from a position to its last stable offset by a consumer of its
//! own: the way back to a task's changelog and journal.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{consumer, take_token};
use super::error::port_error;
use super::hearing::Hearing;
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use crate::ports::PortError;

/// One poll.
const POLL: Duration = Duration::from_millis(100);
/// A topic from which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(30);

/// A partition to read.
pub(super) struct Stretch<'a> {
    settings: &'a KafkaSettings,
    topic: String,
    partition: i32,
    consumer: BaseConsumer<Hearing>,
}

impl<'a> Stretch<'a> {
    pub fn open(
        settings: &'a KafkaSettings,
        topic: String,
        partition: u32,
    ) -> Result<Self, PortError> {
        let consumer = consumer(settings, "restore")
            .set("enable.partition.eof", "true")
            .create_with_context(Hearing::of(settings))
            .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
        take_token(&consumer, settings);
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Ok(Stretch { settings, topic, partition, consumer })
    }

    /// Reads another partition of the same topic from now on, by the same consumer.
    pub fn turn_to(&mut self, partition: u32) {
        self.partition = i32::try_from(partition).unwrap_or(i32::MAX);
    }

    pub fn consumer(&self) -> &BaseConsumer<Hearing> {
        &self.consumer
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> Result<u32, PortError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ASK_TIMEOUT);
        let metadata = metadata.map_err(|e| self.failure(&e))?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The position of the first record that there still is.
    pub fn start(&self) -> Result<u64, PortError> {
        let ends = self.consumer.fetch_watermarks(&self.topic, self.partition, ASK_TIMEOUT);
        let (start, _) = ends.map_err(|e| self.failure(&e))?;
        Ok(u64::try_from(start).unwrap_or(0))
    }

    /// The position behind the last record that is certain.
    pub fn stable_end(&self) -> Result<u64, PortError> {
        let ends = self.consumer.fetch_watermarks(&self.topic, self.partition, ASK_TIMEOUT);
        let (_, end) = ends.map_err(|e| self.failure(&e))?;
        Ok(u64::try_from(end).unwrap_or(0))
    }

    /// Shows every record from `from` up to `end`, which is a [`Stretch::stable_end`].
    ///
    /// # Errors
    /// `visit` may have had some records when this fails.
    pub fn read(
        &self,
        from: u64,
        end: u64,
        visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        self.read_unless(&|| false, from, end, visit)
    }

    /// As [`Stretch::read`], but ends soon where nothing comes and `unwanted` says so.
    ///
    /// # Errors
    /// `Reopen` when it was unwanted.
    pub fn read_unless(
        &self,
        unwanted: &dyn Fn() -> bool,
        from: u64,
        end: u64,
        visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        if from >= end {
            return Ok(());
        }
        self.assign(from)?;
        let read = self.read_assigned(unwanted, from, end, visit);
        // Nobody will ask for what the consumer would go on to fetch.
        self.consumer.unassign().map_err(|e| self.failure(&e))?;
        read
    }

    fn assign(&self, from: u64) -> Result<(), PortError> {
        let first = match from {
            0 => Offset::Beginning,
            next => Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX)),
        };
        let mut start = TopicPartitionList::new();
        start
            .add_partition_offset(&self.topic, self.partition, first)
            .and_then(|()| self.consumer.assign(&start))
            .map_err(|e| self.failure(&e))
    }

    fn read_assigned(
        &self,
        unwanted: &dyn Fn() -> bool,
        from: u64,
        end: u64,
        visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let mut last_progress = Instant::now();
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if !self.is_asked_for(&message, from) => {}
                Some(Ok(message)) => {
                    let next = u64::try_from(message.offset()).unwrap_or(0) + 1;
                    if next <= end {
                        visit(&message)?;
                    }
                    if next >= end {
                        return Ok(());
                    }
                    last_progress = Instant::now();
                }
                // The last offsets may be a transaction's marker or aborted, which are no message.
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == self.partition => {
                    return match self.stable_end()? >= end {
                        true => Ok(()),
                        false => Err(self.behind()),
                    };
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => match self.failure(&error) {
                    PortError::Retry(why) if last_progress.elapsed() < STALLED => {
                        tracing::warn!("{why}; still reading");
                    }
                    other => return Err(other),
                },
                None if unwanted() => {
                    let topic = &self.topic;
                    return Err(PortError::Reopen(format!("{topic} is not to be read on")));
                }
                None if last_progress.elapsed() < STALLED => {}
                None => return Err(self.behind()),
            }
        }
    }

    /// What an earlier assignment has left in the consumer's queue is not.
    fn is_asked_for(&self, message: &BorrowedMessage<'_>, from: u64) -> bool {
        let is_behind = u64::try_from(message.offset()).is_ok_and(|offset| offset < from);
        message.partition() == self.partition && !is_behind
    }

    fn behind(&self) -> PortError {
        let topic = &self.topic;
        PortError::Retry(format!("kafka topic {topic} gives less than its leader has promised"))
    }

    /// A topic that is read here was found to be there, so a client that does not know the
    /// partition has yet to hear of it, as was seen of new topics.
    fn failure(&self, error: &KafkaError) -> PortError {
        let (topic, partition) = (&self.topic, self.partition);
        let doing = format!("reading kafka topic {topic}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
            return PortError::Retry(format!(
                "{doing} failed: its partition {partition} is not known yet; if it stays so, run \
                 nowcxr topics"
            ));
        }
        let failed = port_error(&doing, &self.settings.bootstrap, error);
        self.consumer.context().explain(failed)
    }
}
