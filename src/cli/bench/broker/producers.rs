//! What the transactional producers of many tasks take: one a task, all in one process.

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::{Topics, committer_options, once_it_works};
use crate::cli::now;
use crate::ids::StayId;
use crate::ports::{Commit, Committer as _, Output, OutputKind};
use crate::store::memory::MemoryStore;
use crate::transport::kafka::settings::SEND_KBYTES;
use crate::transport::kafka::{KafkaCommitter, KafkaSource};

/// Commits of every task that are timed.
const COMMITS: u64 = 10;

#[derive(Clone, Debug, Args)]
pub struct ProducersArgs {
    /// Kafka's address, host:port.
    #[arg(long)]
    pub brokers: String,
    /// Tasks; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    pub tasks: Vec<u32>,
}

/// Of so many tasks.
#[derive(Clone, Debug, Serialize)]
struct Taken {
    tasks: u32,
    /// Threads and resident bytes more than without them.
    threads: i64,
    memory_bytes: i64,
    /// The most that all of their queues may hold.
    queues_bytes_max: u64,
    /// Until all of them were the only writers of their tasks.
    opened_s: f64,
    /// A transaction with one output, one task after the other.
    commit_ms_p50: f64,
    commit_ms_p99: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ProducersResult {
    bench: &'static str,
    /// The most that one task's queue holds before its commit waits.
    queue_bytes_max: u64,
    sizes: Vec<Taken>,
}

/// Runs the benchmark.
pub fn producers(args: &ProducersArgs) -> Result<ProducersResult> {
    let sizes = args.tasks.iter().map(|&tasks| measure(&args.brokers, tasks.clamp(1, 256)));
    let sizes = sizes.collect::<Result<_>>()?;
    Ok(ProducersResult { bench: "producers", queue_bytes_max: queue_bytes_max(), sizes })
}

fn queue_bytes_max() -> u64 {
    SEND_KBYTES as u64 * 1024
}

fn measure(brokers: &str, tasks: u32) -> Result<Taken> {
    let topics = Topics::make(brokers, tasks)?;
    let settings = &topics.0;
    let source = once_it_works(|| KafkaSource::open(settings, [0]))?;
    let (threads, memory, begun) = (status("Threads:")?, status("VmRSS:")?, Instant::now());
    let mut committers = Vec::new();
    for partition in 0..tasks {
        let (options, mut store) = (committer_options(partition)?, MemoryStore::new());
        let open = || KafkaCommitter::open(settings, source.ownership(), options.clone());
        let mut committer = once_it_works(open)?;
        once_it_works(|| committer.open(&mut store))?;
        committers.push((committer, store));
    }
    let opened_s = begun.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for number in 1..=COMMITS {
        for (committer, store) in &mut committers {
            let began = Instant::now();
            committer.commit(&mut commit(number), store)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        times.get(place).copied().unwrap_or(f64::NAN)
    };
    Ok(Taken {
        tasks,
        threads: status("Threads:")? - threads,
        memory_bytes: (status("VmRSS:")? - memory) * 1024,
        queues_bytes_max: queue_bytes_max() * u64::from(tasks),
        opened_s,
        commit_ms_p50: at(0.5),
        commit_ms_p99: at(0.99),
    })
}

fn commit(number: u64) -> Commit {
    let output = Output {
        number,
        kind: OutputKind::View,
        stay: Some(StayId(number)),
        payload: now().as_millis().to_be_bytes().to_vec(),
        envelope: b"{}".to_vec(),
    };
    Commit { number, outputs: vec![output], ..Commit::default() }
}

/// A number of `/proc/self/status`.
fn status(name: &str) -> Result<i64> {
    let path = "/proc/self/status";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{path} has no {name}"))
}
