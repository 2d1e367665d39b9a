//! Topics as they stand and grow, for those who only look: no group, no commit, nothing paused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{consumer, take_token};
use super::error::port_error;
use super::hearing::Hearing;
use super::letters::Place;
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use crate::ports::PortError;
use crate::time::WallTime;

/// What librdkafka may hold ahead of a watcher, in KiB. One fetch may come on top of it.
const AHEAD_KBYTES: usize = 4 * 1024;
/// A cluster that has said nothing for so long is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(2);
/// How long its answer may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// A topic, and the append time of the first record that is wanted; `None` for the first there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub topic: String,
    pub since: Option<WallTime>,
}

/// A record of a watched topic.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which of the watched topics.
    pub topic: usize,
    pub place: Place,
    pub value: Bytes,
}

/// Reads all partitions of some topics. Records of one partition come in their order.
pub struct KafkaWatch {
    consumer: BaseConsumer<Hearing>,
    topics: Vec<String>,
    bootstrap: String,
    /// When the cluster was last heard of; `None` since an error.
    heard: Option<Instant>,
}

impl KafkaWatch {
    /// Starts to read. Partitions that are added to a topic later are not seen.
    ///
    /// # Errors
    /// `Retry` when no broker answers or a topic is not there yet; `Stop` when rights are missing.
    pub fn open(settings: &KafkaSettings, watched: &[Watched]) -> Result<Self, PortError> {
        let consumer: BaseConsumer<Hearing> = consumer(settings, "watch")
            // Whoever looks takes what there is; a place that retention has passed is no loss.
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", AHEAD_KBYTES.to_string())
            .create_with_context(Hearing::of(settings))
            .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
        take_token(&consumer, settings);
        let topics = watched.iter().map(|one| one.topic.clone()).collect();
        let bootstrap = settings.bootstrap.clone();
        let watch = KafkaWatch { consumer, topics, bootstrap, heard: Some(Instant::now()) };
        let mut places = TopicPartitionList::new();
        for one in watched {
            watch.add(one, &mut places)?;
        }
        watch.consumer.assign(&places).map_err(|error| watch.failed(&error))?;
        Ok(watch)
    }

    /// Appends at most `max` records, waiting up to `wait` for the first.
    ///
    /// # Errors
    /// `Retry` as long as the cluster is silent, also when it has nothing new to tell.
    pub fn poll(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<Seen>,
    ) -> Result<(), PortError> {
        let mut wait = wait;
        for _ in 0..max {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    self.heard = Some(Instant::now());
                    let topic = self.topics.iter().position(|name| name == message.topic());
                    let Some(topic) = topic else { continue };
                    let place = Place {
                        partition: u32::try_from(message.partition()).unwrap_or(0),
                        offset: u64::try_from(message.offset()).unwrap_or(0),
                    };
                    let value = Bytes::copy_from_slice(message.payload().unwrap_or_default());
                    into.push(Seen { topic, place, value });
                }
                Some(Err(error)) => {
                    self.heard = None;
                    return Err(self.failed(&error));
                }
            }
            wait = Duration::ZERO;
        }
        self.check_alive()
    }

    /// librdkafka says once that a cluster has gone, and then nothing: silence must be asked.
    fn check_alive(&mut self) -> Result<(), PortError> {
        if self.heard.is_some_and(|at| at.elapsed() < SILENCE) {
            return Ok(());
        }
        let Some(topic) = self.topics.first() else { return Ok(()) };
        match self.consumer.fetch_metadata(Some(topic), SIGN_OF_LIFE) {
            Ok(_) => {
                self.heard = Some(Instant::now());
                Ok(())
            }
            Err(error) => {
                self.heard = None;
                Err(self.failed(&error))
            }
        }
    }

    /// Adds every partition of a topic with the place where it is read from.
    fn add(&self, watched: &Watched, places: &mut TopicPartitionList) -> Result<(), PortError> {
        let topic = &watched.topic;
        let metadata = self.consumer.fetch_metadata(Some(topic), ASK_TIMEOUT);
        let metadata = metadata.map_err(|error| self.failed(&error))?;
        let described = metadata.topics().first().filter(|found| found.error().is_none());
        let partitions = described.map_or(0, |found| found.partitions().len());
        if partitions == 0 {
            return Err(PortError::Retry(format!(
                "kafka topic {topic} is not there, or this user may not see it"
            )));
        }
        let from = match watched.since {
            None => Offset::Beginning,
            Some(at) => Offset::Offset(at.as_millis()),
        };
        let mut wanted = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            wanted
                .add_partition_offset(topic, partition, from)
                .map_err(|error| self.failed(&error))?;
        }
        if watched.since.is_some() {
            let found = self.consumer.offsets_for_times(wanted, ASK_TIMEOUT);
            wanted = found.map_err(|error| self.failed(&error))?;
        }
        for found in wanted.elements() {
            places
                .add_partition_offset(topic, found.partition(), found.offset())
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &KafkaError) -> PortError {
        let doing = "watching kafka topics";
        self.consumer.context().explain(port_error(doing, &self.bootstrap, error))
    }
}
