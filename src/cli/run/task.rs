//! One task of the service: a partition's loop on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::idle::Idleness;
use super::stores::Stores;
use crate::cli::now;
use crate::cli::schemas::Ids;
use crate::cli::settings::node;
use crate::config::Config;
use crate::drive::{Counts, Drive, DriveError, DriveOptions, Ports};
use crate::engine::{Identity, Task};
use crate::event::dictionary::Dictionary;
use crate::http::Health;
use crate::ports::PortError;
use crate::predict::Worker;
use crate::store::sled::SledStore;
use crate::telemetry::{PauseCause, TaskPaused, TaskResumed};
use crate::transport::kafka::{
    AppendClock, Changeover, CommitterOptions, Hold, KafkaCommitter, KafkaSettings, KafkaSource,
    Ownership, StandbyOptions, Standbys,
};

/// Between two attempts while a broker does not answer, at first and at most.
const BACK_OFF: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// Prepared films in memory, shared out among the tasks; some 650.
const FILM_CACHE_BYTES: usize = 32 << 20;

type KafkaDrive = Drive<KafkaSource, SledStore, KafkaCommitter, Worker>;

/// What the topics and the registry of their schemas say.
#[derive(Clone)]
pub struct Topics {
    pub partitions: u32,
    pub tombstones_kept: Duration,
    pub ids: Ids,
}

/// What the tasks of this process have in common.
pub struct Node {
    pub settings: KafkaSettings,
    pub stop: Arc<AtomicBool>,
    pub health: Arc<Health>,
    config: Config,
    dictionary: Dictionary,
    identity: Identity,
    topics: Topics,
    stores: Arc<Stores>,
    standbys: Option<Standbys<Arc<Stores>>>,
    changeover: Changeover,
    pub idleness: Idleness,
    /// Of each partition what its task had counted when it last ended here.
    counts: Mutex<BTreeMap<u32, Counts>>,
}

/// What the tasks that ran here have done since their state began.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    records: BTreeMap<&'static str, u64>,
    windows: u64,
    risk_events: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        for (&(_, fate), n) in &counts.fates {
            *self.records.entry(fate).or_default() += n;
        }
        self.windows += counts.sealed;
        for (status, n) in &counts.events {
            *self.risk_events.entry(status).or_default() += n;
        }
    }

    /// One JSON object on one line.
    pub fn to_json(&self, ran: Duration) -> String {
        json!({
            "records": self.records,
            "windows": self.windows,
            "risk_events": self.risk_events,
            "wall_s": ran.as_secs_f64(),
        })
        .to_string()
    }
}

impl Node {
    /// # Errors
    /// Those of [`Stores::of`] and [`Standbys::start`].
    pub fn new(
        config: Config,
        dictionary: Dictionary,
        settings: KafkaSettings,
        identity: Identity,
        topics: Topics,
        health: Arc<Health>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, PortError> {
        let topics = Topics { partitions: topics.partitions.max(1), ..topics };
        let stores = Stores::of(&config, topics.partitions, topics.tombstones_kept)?;
        let stores = Arc::new(stores);
        let options = StandbyOptions::new(config.kafka.standby, topics.partitions);
        let start = || Standbys::start(&settings, options, Arc::clone(&stores));
        let standbys = (options.most > 0).then(start).transpose()?;
        Ok(Node {
            settings,
            stop,
            health,
            config,
            dictionary,
            identity,
            topics,
            stores,
            standbys,
            changeover: Changeover::default(),
            idleness: Idleness::new(None),
            counts: Mutex::default(),
        })
    }

    /// The same, going that way with a state that another configuration or model has made.
    pub fn with_changeover(self, changeover: Changeover) -> Self {
        Node { changeover, ..self }
    }

    /// The same, whose tasks look for their topics' ends when they had nothing to do for so long.
    pub fn with_end(self, until_idle: Option<Duration>) -> Self {
        Node { idleness: Idleness::new(until_idle), ..self }
    }

    /// These partitions are this node's, whether their tasks run or not.
    pub fn assigned(&self, owned: &BTreeSet<u32>) {
        self.health.tasks_assigned(owned.len() as u64);
        if let Some(standbys) = &self.standbys {
            standbys.assigned(owned);
        }
    }

    /// The state of an assigned partition: the warm copy, or what the disk holds.
    fn store(&self, partition: u32) -> Result<SledStore, PortError> {
        let warm = self.standbys.as_ref().and_then(|standbys| standbys.take(partition));
        warm.map_or_else(|| self.stores.open(partition), Ok)
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.lock_counts().values().for_each(|counts| totals.add(counts));
        totals
    }

    fn lock_counts(&self) -> MutexGuard<'_, BTreeMap<u32, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self, partition: u32) -> DriveOptions {
        DriveOptions {
            partition,
            partitions: Some(self.topics.partitions),
            node: node(&self.config),
            commit_every: self.config.kafka.commit_interval,
            commit_when_idle: false,
            deadline: Some(self.config.predict.deadline),
            feed_timeout: Some(self.config.feed_timeout),
            errors: self.config.errors,
            event_time_is_wall_time: self.settings.clock == AppendClock::Broker,
            film_cache_bytes: FILM_CACHE_BYTES / self.topics.partitions as usize,
            ..DriveOptions::default()
        }
    }

    /// Has nothing come because there is nothing, or because nobody has handed it out?
    fn look_for_end(&self, partition: u32, drive: &KafkaDrive) {
        let Some(asked) = self.idleness.asks(partition) else { return };
        match KafkaSource::has_unread(&self.settings, partition, &drive.positions()) {
            Ok(false) => self.idleness.read_out(partition, asked),
            Ok(true) => {
                tracing::warn!(task = partition, "kafka is slow: it has more, but nothing came");
                self.idleness.active();
            }
            Err(error) => {
                tracing::warn!(task = partition, "{error}; not idle before that is known");
                self.idleness.active();
            }
        }
    }

    fn open(
        &self,
        partition: u32,
        source: KafkaSource,
        predictor: Worker,
    ) -> Result<KafkaDrive, DriveError> {
        let options = CommitterOptions {
            partition,
            config: self.identity.config_digest,
            flush_every: self.config.store.flush_every,
            changeover: self.changeover,
            production: self.config.errors.production,
            stop: Arc::clone(&self.stop),
        };
        // First, so that no other writer is left when the state is looked at.
        let committer = KafkaCommitter::open(&self.settings, source.ownership(), options)?;
        let ports = Ports { source, store: self.store(partition)?, committer, predictor };
        let task = Task::new(self.config.engine.clone(), self.identity.clone());
        let codec = self.topics.ids.codec(&self.config, &self.dictionary)?;
        Drive::open(ports, task, codec, self.options(partition), now)
    }
}

/// Runs the task of `partition` until the node stops, or something that it cannot mend happens.
///
/// # Errors
/// `Retry` and `Reopen`: open it again, if the partition is still ours. `Stop`: a person must act.
pub fn run_task(
    node: &Node,
    partition: u32,
    source: KafkaSource,
    predictor: Worker,
) -> Result<(), PortError> {
    node.idleness.active();
    let ownership = source.ownership();
    let opened = node.open(partition, source, predictor);
    let is_open = opened.is_ok();
    let ended = opened.and_then(|mut drive| {
        node.health.task_reading();
        tracing::info!(task = partition, stays = drive.task().stays().len(), "task reads");
        let ended = turn_to_end(node, &ownership, partition, &mut drive);
        node.lock_counts().insert(partition, drive.counts().clone());
        ended
    });
    if is_open {
        node.health.task_stopped();
    }
    node.idleness.active();
    ended.map_err(|error| match error {
        DriveError::Port(error) => error,
        DriveError::Wire(_) => PortError::Stop(error.to_string()),
    })
}

/// Turns until the node stops, or the partition must be given up; what is done is committed then,
/// unless it may be another's already.
fn turn_to_end(
    node: &Node,
    ownership: &Ownership,
    partition: u32,
    drive: &mut KafkaDrive,
) -> Result<(), DriveError> {
    let mut wait = BACK_OFF;
    let mut paused: Option<Instant> = None;
    while !node.is_stopping() && ownership.hold() == Hold::Ours {
        match drive.turn() {
            Ok(turn) => {
                if let Some(since) = paused.take() {
                    TaskResumed { task: partition, paused_for: since.elapsed() }.emit();
                    wait = BACK_OFF;
                }
                match turn.idle() {
                    true => node.look_for_end(partition, drive),
                    false => node.idleness.active(),
                }
            }
            Err(DriveError::Port(PortError::Retry(why))) if drive.is_whole() => {
                if paused.is_none() {
                    tracing::warn!(task = partition, "{why}; trying until it works");
                    paused = Some(Instant::now());
                    TaskPaused { task: partition, cause: PauseCause::Transport }.emit();
                }
                node.idleness.active();
                thread::sleep(wait);
                wait = (wait * 2).min(BACK_OFF_MAX);
            }
            Err(error) => return Err(error),
        }
    }
    if ownership.hold() == Hold::Lost {
        tracing::warn!(
            task = partition,
            "the partition was lost; what is not committed is dropped"
        );
        return Ok(());
    }
    drive.finish()
}
