//! Membership of the consumer group: which partitions, and so which tasks, are this process's.
//!
//! The group shares out the partitions of one input, the stay topic, and whoever gets partition n
//! of it reads partition n of all inputs. That co-partitions them whatever the assignor:
//! librdkafka's `cooperative-sticky` balances every topic-partition by itself and would tear a
//! task's inputs apart, and `range`, which keeps them together, stops every task at every
//! rebalance.
//!
//! The member is a consumer of its own that fetches nothing: its partitions are paused, and what
//! is read is read by [`super::reader`]. So a slow task never keeps the member from its polls, and
//! a rebalance never touches the reading of tasks that stay.
//!
//! A task whose partition is revoked has [`RELEASE_TIMEOUT`] to commit and drop its source, while
//! the callback, and so the whole rebalance, waits. One whose partition is lost must not commit.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::client::{log_line, member};
use super::error::port_error;
use super::hearing::Hearing;
use super::lane::Lane;
use super::ownership::Hold;
use super::reader::Reader;
use super::settings::{KafkaSettings, RELEASE_TIMEOUT};
use super::source::KafkaSource;
use crate::ids::Topic;
use crate::ports::PortError;

/// Between two looks at whether revoked tasks have let go.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// One poll of the member: the longest that its end waits for the thread.
const POLL: Duration = Duration::from_millis(50);

/// What the consumer's callbacks, the group's user and the tasks share.
pub(super) struct Members {
    bootstrap: String,
    hearing: Hearing,
    state: Mutex<State>,
    changed: Condvar,
    /// There was an assignment since the metadata were taken.
    is_stale: AtomicBool,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<u32>,
    /// The tasks' ends of all lanes; those that have gone are dropped at the next look.
    lanes: Vec<Weak<Lane>>,
    /// Who we are in the generation that gave us `owned`.
    metadata: Option<Arc<ConsumerGroupMetadata>>,
    trouble: Option<PortError>,
}

impl Members {
    fn new(settings: &KafkaSettings) -> Self {
        Members {
            bootstrap: settings.bootstrap.clone(),
            hearing: Hearing::of(settings),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_stale: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn metadata(&self) -> Option<Arc<ConsumerGroupMetadata>> {
        self.state().metadata.clone()
    }

    fn report(&self, trouble: PortError) {
        let mut state = self.state();
        if !matches!(state.trouble, Some(PortError::Stop(_))) {
            state.trouble = Some(trouble);
        }
        self.changed.notify_all();
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let more = partitions(list);
        let done = paused(list).and_then(|places| {
            // Paused before it is begun, so that not one record is fetched.
            consumer.pause(&places)?;
            match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_assign(&places)?,
                _ => consumer.assign(&places)?,
            }
            if places.count() > 0 { consumer.pause(&places) } else { Ok(()) }
        });
        if let Err(error) = done {
            self.report(port_error("joining the consumer group", &self.bootstrap, &error));
        }
        self.state().owned.extend(&more);
        tracing::info!(partitions = ?more, "kafka partitions assigned");
        self.is_stale.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let (gone, started) = (partitions(list), Instant::now());
        let hold = if consumer.assignment_lost() { Hold::Lost } else { Hold::Revoked };
        tracing::info!(partitions = ?gone, ?hold, "kafka partitions taken back");
        match hold {
            // The new generation has begun already, and commits as a member of the old one, which
            // the tasks are about to make, would be refused until their time is up.
            Hold::Revoked => self.take_metadata(consumer),
            _ => self.state().metadata = None,
        }
        self.release(&gone, hold);
        tracing::info!(partitions = ?gone, took = ?started.elapsed(), "kafka partitions let go");
        let done = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = done {
            self.report(port_error("giving partitions back", &self.bootstrap, &error));
        }
        if hold == Hold::Lost {
            // librdkafka 2.12 would rejoin by itself, but after an outage of its coordinator it was
            // seen to stay outside for minutes (`tests/kafka_service/prove.rs`), so a new member
            // joins in its place.
            let why = "the consumer group has given this member up".to_owned();
            self.report(PortError::Reopen(why));
        }
    }

    /// Tells the tasks of `gone` and waits until they have let go. Whoever sees that a partition
    /// is not owned any more sees that its task was told, too.
    fn release(&self, gone: &BTreeSet<u32>, hold: Hold) {
        let lanes: Vec<Weak<Lane>> = {
            let mut state = self.state();
            state.owned.retain(|partition| !gone.contains(partition));
            let lanes = std::mem::take(&mut state.lanes);
            let (leaving, staying): (Vec<_>, Vec<_>) = lanes.into_iter().partition(|lane| {
                lane.upgrade().is_some_and(|lane| !lane.partitions.is_disjoint(gone))
            });
            state.lanes = staying;
            leaving.iter().filter_map(Weak::upgrade).for_each(|lane| lane.give_up(hold));
            leaving
        };
        self.changed.notify_all();
        let deadline = Instant::now() + RELEASE_TIMEOUT;
        while lanes.iter().any(|lane| lane.strong_count() > 0) {
            if Instant::now() >= deadline {
                let s = RELEASE_TIMEOUT.as_secs();
                tracing::warn!("a task still holds its source {s} s after it was to let go");
                lanes.iter().filter_map(Weak::upgrade).for_each(|lane| lane.give_up(Hold::Lost));
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Takes note of who we are, after the poll in which an assignment came.
    fn note_metadata(&self, consumer: &BaseConsumer<Self>) {
        if self.is_stale.swap(false, Ordering::AcqRel) {
            self.take_metadata(consumer);
        }
    }

    /// Only on the polling thread, while the membership is certain: asked at another time the
    /// generation might be that of a membership that is ending, or none.
    fn take_metadata(&self, consumer: &BaseConsumer<Self>) {
        let metadata = consumer.group_metadata();
        if consumer.assignment_lost() {
            return;
        }
        match metadata {
            Some(metadata) => self.state().metadata = Some(Arc::new(metadata)),
            None => self.is_stale.store(true, Ordering::Release),
        }
    }
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<u32> {
    list.elements().iter().filter_map(|e| u32::try_from(e.partition()).ok()).collect()
}

/// The same partitions with a position, so that none is asked for.
fn paused(list: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
    let mut places = TopicPartitionList::new();
    for element in list.elements() {
        places.add_partition_offset(element.topic(), element.partition(), Offset::Offset(0))?;
    }
    Ok(places)
}

impl ClientContext for Members {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.hearing.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hearing.note(&error, reason);
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
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer, list),
            other => {
                let error = KafkaError::Rebalance(other.into());
                self.report(port_error("rebalancing", &self.bootstrap, &error));
                self.revoked(consumer, list);
            }
        }
    }
}

/// The thread that polls the member. Dropping it leaves the group, unless its name is to survive.
struct Member {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn start(consumer: BaseConsumer<Members>, bootstrap: String) -> Result<Self, PortError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let poll = move || {
            let members = Arc::clone(consumer.context());
            while !stopped.load(Ordering::Acquire) {
                if let Some(Err(error)) = consumer.poll(POLL) {
                    let doing = "belonging to the consumer group";
                    let failed = port_error(doing, &bootstrap, &error);
                    members.report(members.hearing.explain(failed));
                }
                members.note_metadata(&consumer);
            }
        };
        let thread = thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(poll)
            .map_err(|e| PortError::Stop(format!("no thread for the kafka member: {e}")))?;
        Ok(Member { stop, thread: Some(thread) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the kafka member's thread had panicked");
        }
    }
}

/// This process's membership. Dropping it revokes its sources and leaves the group.
pub struct KafkaGroup {
    members: Arc<Members>,
    /// Declared before the reader: it ends first, while tasks can still read and commit.
    _member: Member,
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
        let consumer: BaseConsumer<Members> =
            member(settings).create_with_context(Members::new(settings)).map_err(failed)?;
        let members = Arc::clone(consumer.context());
        consumer.subscribe(&[&settings.input(Topic::Stay)]).map_err(failed)?;
        let reader = Reader::start(settings)?;
        let _member = Member::start(consumer, settings.bootstrap.clone())?;
        Ok(KafkaGroup { members, _member, reader, lanes_made: 0 })
    }

    /// The partitions that are ours, as soon as they differ from `seen` and at the latest after
    /// `wait`. A task whose partition goes is told by its [`super::Ownership`].
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
        let members = Some(Arc::clone(&self.members));
        let source = KafkaSource::on(self.reader.handle(), self.lanes_made, partitions, members)?;
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
