//! The task's journal as a topic: partition n holds what entered the task of partition n and came
//! from no input topic.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};

use super::client::consumer;
use super::delivery::{Delivery, Outgoing};
use super::error::port_error;
use super::group::Members;
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use crate::ids::{Position, Topic};
use crate::ports::{Journal, JournalRecord, PortError};

/// The header with the positions after which the input was stepped.
const AFTER: &str = "after";
/// One poll while the journal is read.
const POLL: Duration = Duration::from_millis(100);
/// A journal from which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(30);

/// One partition of topic `<app>-journal`.
pub struct KafkaJournal {
    settings: KafkaSettings,
    delivery: Delivery,
    topic: String,
    partition: u32,
}

impl KafkaJournal {
    /// The topic must exist: see [`super::ensure_topics`].
    pub fn open(settings: &KafkaSettings, partition: u32) -> Result<Self, PortError> {
        Ok(KafkaJournal {
            settings: settings.clone(),
            delivery: Delivery::open(settings, "journal")?,
            topic: settings.journal(),
            partition,
        })
    }

    fn failure(&self, error: &KafkaError) -> PortError {
        let doing = format!("reading kafka topic {}", self.topic);
        port_error(&doing, &self.settings.bootstrap, error)
    }

    /// A consumer at the journal's first record, and the offset at which it ends now.
    fn open_reader(&self) -> Result<(BaseConsumer<Members>, i64), PortError> {
        let consumer: BaseConsumer<Members> = consumer(&self.settings, "journal-reader")
            .set("enable.partition.eof", "true")
            .create_with_context(Members::new(&self.settings))
            .map_err(|e| self.failure(&e))?;
        let partition = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let (_, end) = consumer
            .fetch_watermarks(&self.topic, partition, ASK_TIMEOUT)
            .map_err(|e| self.failure(&e))?;
        let mut start = TopicPartitionList::new();
        start
            .add_partition_offset(&self.topic, partition, Offset::Beginning)
            .and_then(|()| consumer.assign(&start))
            .map_err(|e| self.failure(&e))?;
        Ok((consumer, end))
    }
}

impl Journal for KafkaJournal {
    fn append(&mut self, records: &[JournalRecord]) -> Result<(), PortError> {
        for record in records {
            let after = write_positions(&record.after);
            let header = Header { key: AFTER, value: Some(&after) };
            self.delivery.enqueue(Outgoing {
                topic: &self.topic,
                partition: Some(self.partition),
                key: None,
                value: &record.input,
                at: None,
                headers: Some(OwnedHeaders::new().insert(header)),
            })?;
        }
        self.delivery.finish()
    }

    /// Reads up to where the journal ended when the call began.
    ///
    /// # Errors
    /// `visit` may have had some records when this fails: begin anew with an empty state. `Stop`
    /// for a record that is none of ours.
    fn read(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError> {
        let (consumer, end) = self.open_reader()?;
        if end == 0 {
            return Ok(());
        }
        let mut last_progress = Instant::now();
        loop {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    if message.offset() >= end {
                        break;
                    }
                    visit(to_journal(&message, &self.topic)?);
                    last_progress = Instant::now();
                    if message.offset() + 1 == end {
                        break;
                    }
                }
                // The end may be a transaction's marker, which is no message.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => match self.failure(&error) {
                    PortError::Retry(why) if last_progress.elapsed() < STALLED => {
                        tracing::warn!("{why}; still reading the journal");
                    }
                    other => return Err(other),
                },
                None if last_progress.elapsed() < STALLED => {}
                None => {
                    return Err(PortError::Retry(format!(
                        "kafka topic {} gave nothing for {} s",
                        self.topic,
                        STALLED.as_secs()
                    )));
                }
            }
        }
        Ok(())
    }
}

fn to_journal(message: &BorrowedMessage<'_>, topic: &str) -> Result<JournalRecord, PortError> {
    let header = message.headers().and_then(|headers| {
        headers.iter().find(|header| header.key == AFTER).and_then(|header| header.value)
    });
    let after = header
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(read_positions)
        .ok_or_else(|| {
        PortError::Stop(format!(
            "kafka topic {topic}: the record at {}@{} is no journal record; give this \
                 application a kafka.group of its own",
            message.partition(),
            message.offset()
        ))
    })?;
    Ok(JournalRecord { after, input: message.payload().unwrap_or_default().to_vec() })
}

/// `stay/0@12,lab/0@55`: readable with any Kafka tool.
fn write_positions(positions: &[Position]) -> String {
    let one = |p: &Position| format!("{}/{}@{}", p.topic.name(), p.partition, p.next);
    positions.iter().map(one).collect::<Vec<_>>().join(",")
}

fn read_positions(text: &str) -> Option<Vec<Position>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let one = |part: &str| {
        let (topic, place) = part.split_once('/')?;
        let (partition, next) = place.split_once('@')?;
        Some(Position {
            topic: Topic::from_name(topic)?,
            partition: partition.parse().ok()?,
            next: next.parse().ok()?,
        })
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip_as_text() {
        let position = |topic, partition, next| Position { topic, partition, next };
        for positions in [
            vec![],
            vec![position(Topic::Stay, 0, 12)],
            vec![position(Topic::Lab, 7, u64::MAX), position(Topic::Vital, u32::MAX, 0)],
        ] {
            assert_eq!(read_positions(&write_positions(&positions)), Some(positions));
        }
        for bad in ["stay", "stay/0", "stay/0@", "moon/0@1", "stay/0@-1", ",", "stay/0@1,"] {
            assert_eq!(read_positions(bad), None, "{bad}");
        }
    }
}
