//! What one event costs the service on its way from Kafka into the state, beside a consumer that
//! does nothing but decode it, and beside the same loop without Kafka.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;

use super::super::ward::{Scorer, Teller, Ward, codec};
use super::super::{Clock, Scratch, median};
use super::{Topics, committer_options, drive, in_memory, in_parallel, once_it_works};
use crate::cli::offline::is_read;
use crate::drive::Ports;
use crate::ports::Committer as _;
use crate::store::sled::{SledStore, StoreOptions};
use crate::transport::kafka::{
    KafkaCommitter, KafkaSettings, KafkaSink, KafkaSource, visit_inputs,
};

#[derive(Clone, Debug, Args)]
pub struct ThroughputArgs {
    /// Kafka's address, host:port.
    #[arg(long)]
    pub brokers: String,
    /// Events to feed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Stays that they are of.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub stays: u64,
    /// Events of a stay in an hour. Each hour of a stay ends with a window and a risk event.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..))]
    pub per_hour: u64,
    /// Tasks, each on a thread of its own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub partitions: u32,
    /// Times that everything is measured; medians are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub runs: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Medians over the runs.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    cpu_us_per_event: f64,
    events_per_s: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ThroughputResult {
    bench: &'static str,
    events: u64,
    stays: u64,
    per_hour: u64,
    partitions: u32,
    runs: u32,
    /// Fetched, and decoded and checked as the service does it.
    consumer: Cost,
    /// The service's loop on topics, changelog and sled, with made-up answers.
    service: Cost,
    /// The same loop on events in memory, with the state in memory and no output written.
    /// Making the events is in it.
    without_kafka: Cost,
    /// Of CPU, the median over the runs.
    service_over_consumer: f64,
}

/// CPU and wall time of one stretch, in seconds.
type Took = (f64, f64);

/// Runs the benchmark.
pub fn throughput(args: &ThroughputArgs) -> Result<ThroughputResult> {
    let ThroughputArgs { stays, per_hour, seed, partitions, runs, .. } = *args;
    let hours = (args.events / (stays * per_hour)).max(1);
    let ward = Ward { stays, hours, per_hour, seed };
    let (mut consumer, mut service, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let topics = Topics::make(&args.brokers, partitions)?;
        let records = feed(&topics.0, ward)?;
        consumer.push(consume(&topics.0, records)?);
        service.push(serve(&topics.0, partitions)?);
        without.push(loop_alone(ward, partitions)?);
    }
    let events = ward.events();
    let ratios = service.iter().zip(&consumer).map(|(service, bare)| service.0 / bare.0);
    Ok(ThroughputResult {
        bench: "kafka",
        events,
        stays,
        per_hour,
        partitions,
        runs,
        service_over_consumer: median(ratios.collect()),
        consumer: Cost::of(&consumer, events),
        service: Cost::of(&service, events),
        without_kafka: Cost::of(&without, events),
    })
}

impl Cost {
    fn of(took: &[Took], events: u64) -> Self {
        let events = events as f64;
        Cost {
            cpu_us_per_event: median(took.iter().map(|(cpu, _)| cpu * 1e6 / events).collect()),
            events_per_s: median(took.iter().map(|(_, wall)| events / wall).collect()),
        }
    }
}

/// Writes the ward to the inputs. Returns how many records they hold.
fn feed(settings: &KafkaSettings, ward: Ward) -> Result<u64> {
    let mut sink = once_it_works(|| KafkaSink::open(settings))?;
    let (mut teller, mut records) = (Teller::new(ward, 0, 1)?, 0);
    while teller.tell(&mut |told| match told.key {
        Some(key) => {
            records += 1;
            sink.append(told.topic, Some(key.as_bytes()), told.value, Some(told.at))
        }
        None => {
            records += u64::from(settings.partitions);
            sink.mark(told.topic, told.value, Some(told.at))
        }
    })? {}
    sink.flush()?;
    Ok(records)
}

fn consume(settings: &KafkaSettings, records: u64) -> Result<Took> {
    let codec = codec()?;
    let (mut decoded, mut refused) = (0, None);
    let took = once_it_works(|| {
        let clock = Clock::start();
        (decoded, refused) = (0, None);
        visit_inputs(settings, &mut |topic, key, value| {
            match codec.decode_input(topic, key, value) {
                Ok(_) => decoded += 1,
                Err(rejection) => refused = Some(rejection),
            }
            Ok(())
        })?;
        Ok(clock.read())
    })?;
    if let Some(rejection) = refused {
        return Err(anyhow!("a made-up record was refused: {rejection}; report this"));
    }
    ensure!(decoded == records, "{decoded} records of {records} were read; report this");
    Ok(took)
}

fn serve(settings: &KafkaSettings, partitions: u32) -> Result<Took> {
    let scratch = Scratch::new(None)?;
    let clock = Clock::start();
    in_parallel(partitions, |partition| {
        task(settings, partition, &scratch.file(&format!("task-{partition}")))
    })?;
    Ok(clock.read())
}

/// One task of the service, until its inputs are read and everything is committed.
fn task(settings: &KafkaSettings, partition: u32, dir: &Path) -> Result<()> {
    let ends = once_it_works(|| KafkaSource::ends(settings, partition))?;
    let source = once_it_works(|| KafkaSource::open(settings, [partition]))?;
    let options = committer_options(partition)?;
    let open = || KafkaCommitter::open(settings, source.ownership(), options.clone());
    let mut committer = once_it_works(open)?;
    let (mut store, _) = SledStore::open(dir, &StoreOptions::default())?;
    // The changelog is new, and its leader may not be known yet.
    once_it_works(|| committer.open(&mut store))?;
    let ports = Ports { source, store, committer, predictor: Scorer::default() };
    let mut drive = drive(ports, partition)?;
    while !drive.turn()?.idle() || !is_read(&drive.positions(), &ends) {}
    Ok(drive.finish()?)
}

fn loop_alone(ward: Ward, partitions: u32) -> Result<Took> {
    let clock = Clock::start();
    in_parallel(partitions, |partition| {
        let share = (partition, partitions);
        let (mut drive, collected) = in_memory(ward, share, Scorer::default())?;
        while !drive.turn()?.idle() {
            collected.take();
        }
        Ok(drive.finish()?)
    })?;
    Ok(clock.read())
}
