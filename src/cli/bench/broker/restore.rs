//! How long a node takes to have its state: from the changelog, and from its own disk.
//!
//! The ward's events go through the loop into a state in memory, and that state is written to the
//! changelog, as many records to a key as a compacted topic has: one. Then nodes open it as the
//! service does.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::super::ward::{Scorer, Ward};
use super::super::{Clock, Scratch};
use super::{Topics, committer_options, drive, in_memory, in_parallel, once_it_works};
use crate::drive::Ports;
use crate::ids::Position;
use crate::ports::{Commit, Committer as _, PortError, StateStore};
use crate::store::memory::MemoryStore;
use crate::store::sled::{SledStore, StoreOptions};
use crate::transport::kafka::{KafkaCommitter, KafkaSettings, KafkaSource};

/// A transaction of the changelog is written at so many bytes.
const TRANSACTION_BYTES: usize = 4 << 20;

#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// Kafka's address, host:port.
    #[arg(long)]
    pub brokers: String,
    /// Stays of the ward; several sizes give a slope.
    #[arg(long, value_delimiter = ',', default_value = "250,500,1000")]
    pub stays: Vec<u64>,
    /// Hours of every stay.
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u64).range(1..=96))]
    pub hours: u64,
    /// Events of a stay in an hour; several rates are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "24")]
    pub per_hour: Vec<u64>,
    /// Tasks, each on a thread of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub partitions: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// One ward.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    stays: u64,
    per_hour: u64,
    events: u64,
    /// Values of the state, and their bytes with their keys.
    values: u64,
    bytes: u64,
    /// From an empty directory until the next record could be taken.
    restore_s: f64,
    restore_cpu_s: f64,
    /// The same from a directory that holds the state.
    warm_s: f64,
    warm_cpu_s: f64,
    /// Every value read from sled and verified, and the state in memory: a part of `warm_s`.
    built_s: f64,
}

/// What further events cost, from the smallest to the largest ward of a rate.
#[derive(Clone, Debug, Serialize)]
struct Slope {
    per_hour: u64,
    restore_s_per_million_events: f64,
    warm_s_per_million_events: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreResult {
    bench: &'static str,
    hours: u64,
    partitions: u32,
    seed: u64,
    wards: Vec<Measured>,
    slopes: Vec<Slope>,
}

/// Runs the benchmark.
pub fn restore(args: &RestoreArgs) -> Result<RestoreResult> {
    let RestoreArgs { hours, partitions, seed, .. } = *args;
    let mut wards = Vec::new();
    for &per_hour in &args.per_hour {
        for &stays in &args.stays {
            ensure!(stays > 0 && per_hour > 0, "--stays and --per-hour must be at least 1");
            wards.push(measure(args, Ward { stays, hours, per_hour, seed })?);
        }
    }
    let slopes = args.per_hour.iter().filter_map(|&rate| slope(&wards, rate)).collect();
    Ok(RestoreResult { bench: "restore", hours, partitions, seed, wards, slopes })
}

fn slope(wards: &[Measured], per_hour: u64) -> Option<Slope> {
    let of_rate = || wards.iter().filter(|ward| ward.per_hour == per_hour);
    let least = of_rate().min_by_key(|ward| ward.events)?;
    let most = of_rate().max_by_key(|ward| ward.events)?;
    let millions = (most.events - least.events) as f64 / 1e6;
    (millions > 0.0).then(|| Slope {
        per_hour,
        restore_s_per_million_events: (most.restore_s - least.restore_s) / millions,
        warm_s_per_million_events: (most.warm_s - least.warm_s) / millions,
    })
}

fn measure(args: &RestoreArgs, ward: Ward) -> Result<Measured> {
    let (scratch, n) = (Scratch::new(None)?, args.partitions);
    let topics = Topics::make(&args.brokers, n)?;
    let settings = &topics.0;
    let dir = |node: &str, partition: u32| scratch.file(&format!("{node}-{partition}"));
    let clock = Clock::start();
    let sizes = in_parallel(n, |partition| {
        let (store, positions) = state(ward, partition, n)?;
        write(settings, partition, &store, positions, dir("old", partition))
    })?;
    let (_, built_s) = clock.read();
    let digests =
        |node: &str| in_parallel(n, |partition| open(settings, partition, &dir(node, partition)));
    let (restored, restore_cpu_s, restore_s) = timed(|| digests("new"))?;
    let (warm, warm_cpu_s, warm_s) = timed(|| digests("new"))?;
    ensure!(restored == warm, "the state on disk is not the one that was restored; report this");
    ensure!(restored == digests("old")?, "the restored state differs; report this");
    Ok(Measured {
        stays: ward.stays,
        per_hour: ward.per_hour,
        events: ward.events(),
        values: sizes.iter().map(|size| size.0).sum(),
        bytes: sizes.iter().map(|size| size.1).sum(),
        restore_s,
        restore_cpu_s,
        warm_s,
        warm_cpu_s,
        built_s,
    })
}

/// What `work` gives, its processor time and its wall time.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64, f64)> {
    let clock = Clock::start();
    let done = work()?;
    let (cpu_s, wall_s) = clock.read();
    Ok((done, cpu_s, wall_s))
}

/// The state of a task after its share of the ward.
fn state(ward: Ward, partition: u32, shares: u32) -> Result<(MemoryStore, Vec<Position>)> {
    let (mut drive, collected) = in_memory(ward, (partition, shares), Scorer::default())?;
    while !drive.turn()?.idle() {
        collected.take();
    }
    drive.finish()?;
    let positions = drive.positions();
    Ok((drive.into_store(), positions))
}

/// Writes a state through a committer whose store lies in `dir`. Returns its values and bytes.
fn write(
    settings: &KafkaSettings,
    partition: u32,
    state: &MemoryStore,
    positions: Vec<Position>,
    dir: PathBuf,
) -> Result<(u64, u64)> {
    let (mut committer, mut store, _) = ends(settings, partition, &dir)?;
    once_it_works(|| committer.open(&mut store))?;
    let (mut values, mut bytes, mut pending, mut number) = (0, 0, 0, 0);
    let mut commit = Commit { positions: positions.clone(), ..Commit::default() };
    let mut failed: Result<(), PortError> = Ok(());
    let mut send = |commit: &mut Commit| {
        number += 1;
        commit.number = number;
        committer.commit(commit, &mut store)
    };
    state.scan(&[], &mut |key, value| {
        commit.puts.push((key.to_vec(), value.to_vec()));
        (values, pending) = (values + 1, pending + key.len() + value.len());
        if pending >= TRANSACTION_BYTES && failed.is_ok() {
            failed = send(&mut commit);
            bytes += std::mem::take(&mut pending) as u64;
            commit = Commit { positions: positions.clone(), ..Commit::default() };
        }
    })?;
    failed?;
    send(&mut commit)?;
    store.flush()?;
    Ok((values, bytes + pending as u64))
}

fn ends(
    settings: &KafkaSettings,
    partition: u32,
    dir: &Path,
) -> Result<(KafkaCommitter, SledStore, KafkaSource)> {
    let source = once_it_works(|| KafkaSource::open(settings, [partition]))?;
    let options = committer_options(partition)?;
    let open = || KafkaCommitter::open(settings, source.ownership(), options.clone());
    let committer = once_it_works(open)?;
    let (store, _) = SledStore::open(dir, &StoreOptions::default())?;
    Ok((committer, store, source))
}

/// Opens a task as the service does, until the next record could be taken. Returns the digest of
/// its state and its number of values.
fn open(settings: &KafkaSettings, partition: u32, dir: &Path) -> Result<(u128, u64)> {
    let (committer, store, source) = ends(settings, partition, dir)?;
    let ports = Ports { source, store, committer, predictor: Scorer::default() };
    let health = drive(ports, partition)?.store().health()?;
    Ok((health.digest, health.entries))
}
