//! `nowcxr run`: the service over Kafka.
//!
//! One member of the consumer group a process, one task an owned partition, each on a thread of
//! its own with a state of its own below `store.dir`; all share one model. Each commit of a task is
//! one transaction, so its effects are there exactly once. A task whose state is lost, lags, or was
//! another node's, is restored from the changelog before it reads. With `kafka.standby` the process
//! keeps warm copies of what others own, so that a task that comes to it has little to restore.

mod idle;
mod mode;
mod stores;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;

use super::embedded;
use super::schemas::Ids;
use super::serve::over_kafka;
use super::serving::Http;
use super::settings::ConfigArgs;
use super::{patiently, stop_on_signal};
use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::http::Health;
use crate::ports::PortError;
use crate::predict::{Worker, WorkerConfig};
use crate::transport::kafka::{
    Changeover, KafkaGroup, KafkaSettings, ensure_topics, tombstones_kept,
};
use task::{Node, Topics, Totals, run_task};

/// How often the group, the tasks and the end are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Before a task that failed is opened again, at first and at most.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// How long tasks that shall end may take before the process gives them up and ends. A task that
/// still waits for a broker by then waits longer than any of its limits.
const END_LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at whether one has.
const END_LOOK: Duration = Duration::from_millis(10);
/// A task that ran for so long has recovered: its next failure is a first one.
const RECOVERED: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct RunArgs {
    /// End once nothing has come for so many seconds, every window is answered and the topics have
    /// been read to their ends. Where a feed has a lateness the clock makes marks each minute, so
    /// take less than that.
    #[arg(long, value_name = "SECONDS")]
    until_idle: Option<u64>,
    /// Go on with a state that another configuration or model has made: what it said stays said,
    /// and windows are this one's from now on. Append to feeds.list and reorder nothing.
    #[arg(long, conflicts_with = "reprocess")]
    from_now: bool,
    /// Empty a state that another configuration or model has made, and compute everything anew
    /// from the inputs. No alert is told of what was computed before. State of this configuration
    /// is gone on with.
    #[arg(long)]
    reprocess: bool,
}

/// One task's thread.
struct Running {
    thread: JoinHandle<Result<(), PortError>>,
    since: Instant,
}

/// When a task that failed may be opened again.
#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// How a membership of the consumer group ended.
enum Left {
    Stopped,
    /// The group cannot be used any more; a new membership may.
    Lost(String),
}

/// The process: its group and its tasks.
struct Service {
    node: Arc<Node>,
    worker: Worker,
    tasks: BTreeMap<u32, Running>,
    retries: BTreeMap<u32, Retry>,
}

pub fn run(args: &RunArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    mode::note(&config)?;
    let stop = stop_on_signal()?;
    let health = Arc::new(Health::new());
    let http = match config.http {
        Some(address) => listen(&config, address, &health, &stop)?,
        None => None,
    };
    let started = Instant::now();
    let served = serve(config, args, Arc::clone(&stop), health);
    if let Some(http) = http {
        http.stop()?;
    }
    let totals = served?;
    super::print(&totals.to_json(started.elapsed()).to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Metrics and health, and the whole ward's pages where `http.tokens` says who may see them; with
/// them it waits for the registry, if there is one. `None` when told to stop meanwhile.
fn listen(
    config: &Config,
    address: SocketAddr,
    health: &Arc<Health>,
    stop: &AtomicBool,
) -> Result<Option<Http>> {
    if config.access.tokens.is_none() {
        tracing::info!("no dashboard: no http.tokens say who may see it");
        return Http::start(address, health, None).map(Some);
    }
    let Some(ids) = patiently(stop, || Ids::of(config))? else { return Ok(None) };
    let http = Http::start(address, health, Some(over_kafka(config, &ids)?))?;
    if let Some(address) = http.dashboard_address() {
        tracing::info!("dashboard at {address}");
    }
    Ok(Some(http))
}

fn serve(
    config: Config,
    args: &RunArgs,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
) -> Result<Totals> {
    let dictionary = Dictionary::builtin(config.profile)?;
    let settings = KafkaSettings::from(&config.kafka);
    let Some(topics) = await_topics(&config, &settings, &stop)? else {
        return Ok(Totals::default());
    };
    let pipeline = embedded::pipeline(&config)?;
    let identity = embedded::identity(&config, &dictionary, pipeline.model());
    health.model_loaded();
    // The loop has the deadline, so that a late answer can still become a revision.
    let limits = WorkerConfig { max_pending: config.predict.queue, deadline: None };
    let worker = Worker::start(pipeline, limits)?;
    let node = Node::new(config, dictionary, settings, identity, topics, health, stop)?
        .with_changeover(args.changeover())
        .with_end(args.until_idle.map(Duration::from_secs));
    let mut service =
        Service { node: Arc::new(node), worker, tasks: BTreeMap::new(), retries: BTreeMap::new() };
    service.run()?;
    Ok(service.node.totals())
}

/// Creates or checks the topics, waiting for the cluster and the registry; `None` when told to stop
/// meanwhile.
fn await_topics(
    config: &Config,
    settings: &KafkaSettings,
    stop: &AtomicBool,
) -> Result<Option<Topics>> {
    patiently(stop, || {
        let partitions = ensure_topics(settings)?;
        let ids = Ids::of(config)?;
        Ok(Topics { partitions, tombstones_kept: tombstones_kept(settings)?, ids })
    })
}

impl RunArgs {
    fn changeover(&self) -> Changeover {
        match (self.from_now, self.reprocess) {
            (true, _) => Changeover::FromNow,
            (false, true) => Changeover::Reprocess,
            (false, false) => Changeover::Refuse,
        }
    }
}

impl Service {
    /// Serves until it is told to stop, or nothing has come for long enough.
    fn run(&mut self) -> Result<()> {
        let mut wait = BACK_OFF;
        loop {
            let joined = Instant::now();
            let group = KafkaGroup::join(&self.node.settings)?;
            let left = self.belong(group);
            if left.is_err() {
                self.node.stop.store(true, Ordering::Release);
            }
            // The first error is the one that counts.
            let ended = self.end_tasks();
            match left.and_then(|left| ended.map(|()| left))? {
                Left::Stopped => return Ok(()),
                Left::Lost(why) => tracing::warn!("{why}; joining the consumer group anew"),
            }
            wait = if joined.elapsed() > RECOVERED { BACK_OFF } else { wait };
            thread::sleep(wait);
            wait = (wait * 2).min(BACK_OFF_MAX);
        }
    }

    /// Keeps a task for each partition that the group gives us.
    fn belong(&mut self, mut group: KafkaGroup) -> Result<Left> {
        let mut owned = BTreeSet::new();
        loop {
            if self.node.is_stopping() {
                self.node.health.stopping();
                return self.end_tasks().map(|()| Left::Stopped);
            }
            match group.owned(&owned, LOOK) {
                Ok(now) => owned = now,
                // The tasks hear the same and say so.
                Err(PortError::Retry(why)) => tracing::debug!("{why}; trying again"),
                Err(PortError::Reopen(why)) => return Ok(Left::Lost(why)),
                Err(error) => return Err(error.into()),
            }
            self.node.assigned(&owned);
            self.reap(&owned)?;
            for &partition in &owned {
                self.start_if_due(&mut group, partition)?;
            }
            if self.is_idle(&owned) {
                self.node.stop.store(true, Ordering::Release);
            }
        }
    }

    fn start_if_due(&mut self, group: &mut KafkaGroup, partition: u32) -> Result<()> {
        let waits = self.retries.get(&partition).is_some_and(|retry| Instant::now() < retry.at);
        if waits || self.tasks.contains_key(&partition) || self.node.is_stopping() {
            return Ok(());
        }
        let source = match group.source(partition) {
            Ok(source) => source,
            // Taken away since we looked.
            Err(PortError::Reopen(_) | PortError::Retry(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (node, worker) = (Arc::clone(&self.node), self.worker.share());
        let thread = thread::Builder::new()
            .name(format!("task-{partition}"))
            .spawn(move || run_task(&node, partition, source, worker))
            .context("no thread for a task")?;
        self.tasks.insert(partition, Running { thread, since: Instant::now() });
        Ok(())
    }

    /// Takes note of tasks that have ended. What passes is tried again, what does not ends us.
    fn reap(&mut self, owned: &BTreeSet<u32>) -> Result<()> {
        let ended: Vec<u32> =
            self.tasks.iter().filter(|(_, t)| t.thread.is_finished()).map(|(p, _)| *p).collect();
        for partition in ended {
            let Some(task) = self.tasks.remove(&partition) else { continue };
            let ran = task.since.elapsed();
            match join(task, partition)? {
                Ok(()) => {}
                Err(PortError::Reopen(why)) if !owned.contains(&partition) => {
                    tracing::info!(task = partition, "{why}; the task has ended");
                }
                Err(PortError::Retry(why) | PortError::Reopen(why)) => {
                    tracing::warn!(task = partition, "{why}; the task is opened anew");
                    let last = self.retries.get(&partition).filter(|_| ran < RECOVERED);
                    let wait = last.map_or(BACK_OFF, |last| (last.wait * 2).min(BACK_OFF_MAX));
                    self.retries.insert(partition, Retry { at: Instant::now() + wait, wait });
                }
                Err(error) => bail!("task {partition}: {error}"),
            }
        }
        Ok(())
    }

    /// Waits for every task's end: told to stop, each finishes its commit; those of a lost group
    /// end by their sources.
    fn end_tasks(&mut self) -> Result<()> {
        let mut first = Ok(());
        let deadline = Instant::now() + END_LIMIT;
        for (partition, task) in std::mem::take(&mut self.tasks) {
            if !has_ended(&task.thread, deadline) {
                let limit = END_LIMIT.as_secs();
                first = first.and(Err(anyhow!(
                    "task {partition} has not ended within {limit} s; this process ends, so that \
                     another can take its place: start it anew"
                )));
                continue;
            }
            let ended = match join(task, partition) {
                Ok(Err(PortError::Stop(why))) => Err(anyhow!("task {partition}: {why}")),
                Ok(Err(passing)) => {
                    tracing::warn!(task = partition, "{passing}");
                    Ok(())
                }
                Ok(Ok(())) => Ok(()),
                Err(error) => Err(error),
            };
            first = first.and(ended);
        }
        first
    }

    fn is_idle(&self, owned: &BTreeSet<u32>) -> bool {
        let all_run = owned.iter().all(|partition| self.tasks.contains_key(partition));
        if !all_run {
            self.node.idleness.active();
        }
        all_run && self.node.idleness.is_over(owned)
    }
}

/// Waits for a thread's end until `deadline`.
fn has_ended<T>(thread: &JoinHandle<T>, deadline: Instant) -> bool {
    while !thread.is_finished() && Instant::now() < deadline {
        thread::sleep(END_LOOK);
    }
    thread.is_finished()
}

fn join(task: Running, partition: u32) -> Result<Result<(), PortError>> {
    task.thread.join().map_err(|_| anyhow!("the thread of task {partition} panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_end_is_given_up() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let stuck = thread::spawn(move || held.recv().is_err());
        assert!(!has_ended(&stuck, Instant::now() + Duration::from_millis(30)));
        drop(hold);
        assert!(has_ended(&stuck, Instant::now() + Duration::from_secs(60)));
        assert!(stuck.join().unwrap());
    }
}
