//! Membership of the consumer group: which partitions, and so which tasks, are this process's.
//!
//! First form: the `range` assignor, which gives a member the same partition of every input, and
//! the eager protocol, so a rebalance takes all partitions away and hands them out anew. A task
//! that loses its partition sees it at its next fetch and has [`RELEASE_TIMEOUT`] to commit and
//! drop its source, before the partition goes to the next owner. Across nodes the new owner
//! rebuilds from input and journal; repeats carry equal ids.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::client::{consumer, log_error, log_line};
use super::error::port_error;
use super::lane::Lane;
use super::reader::Reader;
use super::settings::{KafkaSettings, RELEASE_TIMEOUT};
use super::source::KafkaSource;
use crate::ports::PortError;

/// Between two looks at whether revoked tasks have let go.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What the consumer's callbacks and the group's user share.
pub(super) struct Members {
    bootstrap: String,
    topics: [String; 4],
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<u32>,
    /// The tasks' ends of all lanes; those that have gone are dropped at the next look.
    lanes: Vec<Weak<Lane>>,
    trouble: Option<PortError>,
}

impl Members {
    pub fn new(settings: &KafkaSettings) -> Self {
        Members {
            bootstrap: settings.bootstrap.clone(),
            topics: settings.inputs(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self, trouble: PortError) {
        let mut state = self.state();
        if !matches!(state.trouble, Some(PortError::Stop(_))) {
            state.trouble = Some(trouble);
        }
        self.changed.notify_all();
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let of = |topic: &String| -> BTreeSet<u32> {
            let elements = list.elements_for_topic(topic);
            elements.iter().filter_map(|e| u32::try_from(e.partition()).ok()).collect()
        };
        let sets = self.topics.each_ref().map(of);
        if sets.iter().any(|set| *set != sets[0]) {
            self.report(PortError::Stop(format!(
                "the consumer group gave different partitions of {}; give all four the same \
                 number of partitions, and all members the same kafka.prefix",
                self.topics.join(", ")
            )));
        }
        // Nothing is read until the tasks have said where they stand.
        if let Err(error) = consumer.assign(&TopicPartitionList::new()) {
            self.report(port_error("joining the consumer group", &self.bootstrap, &error));
        }
        let [first, others @ ..] = sets;
        let owned: BTreeSet<u32> =
            first.into_iter().filter(|p| others.iter().all(|set| set.contains(p))).collect();
        tracing::info!(partitions = ?owned, "kafka partitions assigned");
        self.state().owned = owned;
        self.changed.notify_all();
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>) {
        let owned = std::mem::take(&mut self.state().owned);
        tracing::info!(partitions = ?owned, "kafka partitions revoked");
        self.changed.notify_all();
        let lanes = std::mem::take(&mut self.state().lanes);
        for lane in lanes.iter().filter_map(Weak::upgrade) {
            lane.revoke();
        }
        let deadline = Instant::now() + RELEASE_TIMEOUT;
        while lanes.iter().any(|lane| lane.strong_count() > 0) {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "a task still holds its source {} s after its partition was revoked",
                    RELEASE_TIMEOUT.as_secs()
                );
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
        if let Err(error) = consumer.unassign() {
            self.report(port_error("giving partitions back", &self.bootstrap, &error));
        }
    }
}

impl ClientContext for Members {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Members {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer),
            other => {
                let error = KafkaError::Rebalance(other.into());
                self.report(port_error("rebalancing", &self.bootstrap, &error));
                self.revoked(consumer);
            }
        }
    }
}

/// This process's membership. Dropping it revokes its sources and leaves the group.
pub struct KafkaGroup {
    members: Arc<Members>,
    reader: Reader,
    lanes_made: u64,
}

impl KafkaGroup {
    /// Joins the group named by `kafka.group`. The topics must exist: see [`super::ensure_topics`].
    ///
    /// # Errors
    /// `Stop` when a setting is refused. That no broker answers shows in [`KafkaGroup::owned`].
    pub fn join(settings: &KafkaSettings) -> Result<Self, PortError> {
        let failed = |e| port_error("joining the consumer group", &settings.bootstrap, &e);
        let consumer: BaseConsumer<Members> = consumer(settings, "task")
            .create_with_context(Members::new(settings))
            .map_err(failed)?;
        let members = Arc::clone(consumer.context());
        let topics = settings.inputs();
        consumer.subscribe(&topics.each_ref().map(String::as_str)).map_err(failed)?;
        Ok(KafkaGroup { members, reader: Reader::start(settings, consumer)?, lanes_made: 0 })
    }

    /// The partitions that are ours, as soon as they differ from `seen` and at the latest after
    /// `wait`. A task whose partition has gone ends by itself: its source says `Reopen`.
    pub fn owned(&self, seen: &BTreeSet<u32>, wait: Duration) -> Result<BTreeSet<u32>, PortError> {
        let state = self.members.state();
        let is_news = |state: &mut State| state.owned == *seen && state.trouble.is_none();
        let (mut state, _) = self
            .members
            .changed
            .wait_timeout_while(state, wait, is_news)
            .unwrap_or_else(PoisonError::into_inner);
        match state.trouble.take() {
            Some(trouble) => Err(trouble),
            None => Ok(state.owned.clone()),
        }
    }

    /// A source for the task of an owned partition. A task that is opened again gets a new one.
    ///
    /// # Errors
    /// `Reopen` when the partition is not ours (any more).
    pub fn source(&mut self, partition: u32) -> Result<KafkaSource, PortError> {
        self.lanes_made += 1;
        let partitions = BTreeSet::from([partition]);
        let source = KafkaSource::on(self.reader.handle(), self.lanes_made, partitions)?;
        let mut state = self.members.state();
        if !state.owned.contains(&partition) {
            return Err(PortError::Reopen(format!(
                "partition {partition} belongs to another member of the group"
            )));
        }
        state.lanes.retain(|lane| lane.strong_count() > 0);
        state.lanes.push(source.lane());
        Ok(source)
    }
}
