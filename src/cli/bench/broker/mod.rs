//! The benchmarks that need a Kafka broker: restore, throughput, and what producers take.
//!
//! Each measurement makes topics under names of its own and removes them at its end. The broker's
//! own time is not in the figures; where it runs on the same machine it takes part of it.

mod producers;
mod restore;
#[cfg(test)]
mod tests;
mod throughput;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ward::{self, Teller, TellerSource, Ward};
use crate::cli::offline::{Collected, Collector};
use crate::cli::{now, patiently};
use crate::config::ProductionHandler;
use crate::drive::{Drive, DriveOptions, Ports};
use crate::engine::Task;
use crate::ids::Digest;
use crate::ports::{Committer, PortError, Predictor, Source, StateStore};
use crate::store::memory::MemoryStore;
use crate::transport::kafka::{
    AppendClock, Changeover, CommitterOptions, KafkaSettings, ensure_topics, remove_topics,
};

pub use producers::{ProducersArgs, producers};
pub use restore::{RestoreArgs, restore};
pub use throughput::{ThroughputArgs, throughput};

/// The service's default time between two transactions, and between two flushes.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// Topics of one measurement's own, removed when it ends.
struct Topics(KafkaSettings);

impl Topics {
    fn make(brokers: &str, partitions: u32) -> Result<Self> {
        let name = format!("nowcxr-bench-{}-{}", std::process::id(), now().as_millis());
        let settings = KafkaSettings {
            prefix: format!("{name}."),
            app: name,
            partitions,
            clock: AppendClock::Replay,
            ..KafkaSettings::new(brokers)
        };
        once_it_works(|| ensure_topics(&settings))?;
        Ok(Topics(settings))
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Err(error) = remove_topics(&self.0) {
            tracing::warn!("topics {}* are left behind: {error}", self.0.prefix);
        }
    }
}

/// New topics may still be finding their leaders.
fn once_it_works<T>(ask: impl FnMut() -> Result<T, PortError>) -> Result<T> {
    patiently(&AtomicBool::new(false), ask)?.context("nobody has told it to stop")
}

fn committer_options(partition: u32) -> Result<CommitterOptions> {
    Ok(CommitterOptions {
        partition,
        config: config_digest()?,
        flush_every: FLUSH_EVERY,
        changeover: Changeover::Refuse,
        production: ProductionHandler::Retry,
        stop: Arc::new(AtomicBool::new(false)),
    })
}

fn config_digest() -> Result<Digest> {
    Ok(ward::identity()?.config_digest)
}

/// The loop of the service, on these ends.
fn drive<S: Source, T: StateStore, C: Committer, P: Predictor>(
    ports: Ports<S, T, C, P>,
    partition: u32,
) -> Result<Drive<S, T, C, P>> {
    let task = Task::new(ward::config(), ward::identity()?);
    let options = DriveOptions {
        partition,
        commit_every: COMMIT_EVERY,
        commit_when_idle: false,
        ..DriveOptions::default()
    };
    Ok(Drive::open(ports, task, ward::codec()?, options, now)?)
}

/// A share of a ward, and the loop over it in memory; what leaves is kept nowhere.
fn in_memory<P: Predictor>(
    ward: Ward,
    (partition, shares): (u32, u32),
    predictor: P,
) -> Result<(Drive<TellerSource, MemoryStore, Collector, P>, Collected)> {
    let source = TellerSource::new(Teller::new(ward, partition, shares)?, partition);
    let collected = Collected::default();
    let committer = Collector::new(Vec::new(), &ward::codec()?, collected.clone())?;
    let ports = Ports { source, store: MemoryStore::new(), committer, predictor };
    Ok((drive(ports, partition)?, collected))
}

/// What each of several threads gives, in their order; the first error that one of them ends with.
fn in_parallel<T: Send>(n: u32, work: impl Fn(u32) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..n).map(|part| scope.spawn(move || work(part))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the benchmark panicked"))?
        });
        // All of them are waited for before the first error is told.
        joined.collect::<Vec<Result<T>>>().into_iter().collect()
    })
}
