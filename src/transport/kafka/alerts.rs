//! The topic of alerts, followed by a consumer group of its own. Several members of one group share
//! the partitions; groups know nothing of each other.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::client::consumer;
use super::error::port_error;
use super::hearing::Hearing;
use super::settings::KafkaSettings;
use super::topics::check_topic;
use crate::ports::{AlertFeed, AlertPlace, AlertStored, OutputKind, PortError};

/// A member of a group that follows the alerts. Only what was committed is read, and a group that
/// was never heard of begins with the first alert there is.
pub struct KafkaAlerts {
    consumer: BaseConsumer<Hearing>,
    topic: String,
    bootstrap: String,
}

impl KafkaAlerts {
    /// Joins `group`.
    ///
    /// # Errors
    /// `Retry` when no broker answers; `Stop` when a topic is missing or rights are.
    pub fn join(settings: &KafkaSettings, group: &str) -> Result<Self, PortError> {
        let topic = settings.output(OutputKind::Alert);
        check_topic(settings, &topic)?;
        let failed = |e: KafkaError| {
            port_error(&format!("joining the group {group}"), &settings.bootstrap, &e)
        };
        let consumer: BaseConsumer<Hearing> = consumer(settings, "alerts")
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout_ms.to_string())
            .create_with_context(Hearing::of(settings))
            .map_err(failed)?;
        consumer.subscribe(&[&topic]).map_err(failed)?;
        Ok(KafkaAlerts { consumer, topic, bootstrap: settings.bootstrap.clone() })
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> PortError {
        let doing = format!("{doing} kafka topic {}", self.topic);
        self.consumer.context().explain(port_error(&doing, &self.bootstrap, error))
    }
}

impl AlertFeed for KafkaAlerts {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<AlertStored>,
    ) -> Result<(), PortError> {
        let mut wait = wait;
        for _ in 0..max {
            match self.consumer.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) => into.push(stored(&message)),
                Some(Err(error)) => return Err(self.failed("reading", &error)),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn commit(&mut self, next: &[AlertPlace]) -> Result<(), PortError> {
        let mut list = TopicPartitionList::new();
        for place in next {
            let partition = i32::try_from(place.partition).unwrap_or(i32::MAX);
            let offset = Offset::Offset(i64::try_from(place.offset).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, partition, offset)
                .map_err(|error| self.failed("committing positions of", &error))?;
        }
        let committed = self.consumer.commit(&list, CommitMode::Sync);
        committed.map_err(|error| self.failed("committing positions of", &error))
    }
}

fn stored(message: &BorrowedMessage<'_>) -> AlertStored {
    AlertStored {
        place: AlertPlace {
            partition: u32::try_from(message.partition()).unwrap_or(0),
            offset: u64::try_from(message.offset()).unwrap_or(0),
        },
        value: message.payload().unwrap_or_default().to_vec().into(),
    }
}
