//! The whole pipeline without a broker: local log, decoding, engine, sled, a model of fixed cost,
//! and the outlet; at full speed, and at loads that somebody offers who does not wait for it.

mod feeder;
mod model;
#[cfg(test)]
mod tests;
mod timed;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;

use super::{Clock, Scratch, median, ward};
use crate::cli::now;
use crate::drive::{Drive, DriveOptions, Outbox, Ports};
use crate::engine::Task;
use crate::ids::Topic;
use crate::store::sled::{SledStore, StoreOptions};
use crate::transport::local::{LocalJournal, LocalLog, LocalOutlet, LocalSource, LogOptions};
use feeder::{Fed, Feeder, Pace};
use model::{FixedCost, ModelCpu};
use timed::{Latencies, Noted, Notes, Weight};
use ward::Ward;

/// The log's and the task's only partition.
const PARTITION: u32 = 0;

#[derive(Clone, Debug, Args)]
pub struct PipelineArgs {
    /// Events of a measurement at full speed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Stays that they are of, admitted evenly over an hour.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub stays: u64,
    /// Events of a stay in an hour. Each hour of a stay ends with a window and a risk event.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..))]
    pub per_hour: u64,
    /// Loads to offer, in events a second, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "10000,50000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub offered: Vec<u64>,
    /// How long each is offered.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Processor time of an answer, on the model's thread.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub model_us: u64,
    /// Times that everything is measured; medians are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub runs: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the directories of the runs are made and removed; a temporary place if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// What one run of the loop cost and gave.
struct Ran {
    /// Without that of the feed and of the model.
    cpu_s: f64,
    wall_s: f64,
    fed: Fed,
    weight: Weight,
    latencies: Latencies,
}

/// Medians over the runs.
#[derive(Clone, Copy, Debug, Serialize)]
struct FullSpeed {
    cpu_us_per_event: f64,
    events_per_s: f64,
}

/// Medians over the runs.
#[derive(Clone, Copy, Debug, Serialize)]
struct Offered {
    events_per_s: u64,
    cpu_us_per_event: f64,
    /// From the moment at which the mark that closes a window was due until its risk event was
    /// durable in the outlet, in milliseconds.
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineResult {
    bench: &'static str,
    events: u64,
    windows: u64,
    stays: u64,
    per_hour: u64,
    model_us: u64,
    runs: u32,
    full_speed: FullSpeed,
    /// Of the last run at full speed.
    weight: Weight,
    offered: Vec<Offered>,
}

/// Runs the benchmark.
pub fn pipeline(args: &PipelineArgs) -> Result<PipelineResult> {
    let scratch = Scratch::new(args.dir.clone())?;
    let (mut full, mut windows, mut weight) = (Vec::new(), 0, Weight::default());
    let mut at_loads = vec![Vec::new(); args.offered.len()];
    for run in 0..args.runs {
        let ran = at_full_speed(args, &place(&scratch, &format!("full-{run}"))?.dir)?;
        (windows, weight) = (ran.latencies.n_windows(), ran.weight);
        let events = ran.fed.events as f64;
        full.push((ran.cpu_s * 1e6 / events, events / ran.wall_s));
        for (load, rows) in args.offered.iter().zip(&mut at_loads) {
            let place = place(&scratch, &format!("offered-{load}-{run}"))?;
            rows.push(Offered::of(*load, &at_load(args, *load, &place.dir)?)?);
        }
    }
    let full_speed = FullSpeed {
        cpu_us_per_event: median(full.iter().map(|(cpu, _)| *cpu).collect()),
        events_per_s: median(full.iter().map(|(_, rate)| *rate).collect()),
    };
    Ok(PipelineResult {
        bench: "stream",
        events: ward_of(args, args.events).events(),
        windows,
        stays: args.stays,
        per_hour: args.per_hour,
        model_us: args.model_us,
        runs: args.runs,
        full_speed,
        weight,
        offered: at_loads.iter().filter_map(|rows| Offered::median(rows)).collect(),
    })
}

/// A ward with some so many events.
fn ward_of(args: &PipelineArgs, events: u64) -> Ward {
    let hours = (events / (args.stays * args.per_hour)).max(2);
    Ward { stays: args.stays, hours, per_hour: args.per_hour, seed: args.seed }
}

/// A run's own directory, which holds nothing yet: what an earlier one has told is not told again.
/// It is removed with the run.
fn place(scratch: &Scratch, name: &str) -> Result<Scratch> {
    let dir = scratch.file(name);
    ensure!(!dir.exists(), "{} is there from an earlier run; take another --dir", dir.display());
    let mut place = Scratch::new(Some(dir))?;
    place.ours = true;
    Ok(place)
}

fn at_full_speed(args: &PipelineArgs, dir: &Path) -> Result<Ran> {
    let log = LocalLog::open(dir.join("log"), LogOptions::default())?;
    let mut feeder = Feeder::new(&log, ward_of(args, args.events))?;
    let mut pipeline = Pipeline::open(args, &log, dir)?;
    feeder.admit()?;
    pipeline.run(&AtomicBool::new(true))?;
    let fed = feeder.tell(Pace::Full)?;
    let costs = pipeline.clock();
    pipeline.run(&AtomicBool::new(true))?;
    pipeline.end(&costs, fed, &log)
}

fn at_load(args: &PipelineArgs, load: u64, dir: &Path) -> Result<Ran> {
    let log = LocalLog::open(dir.join("log"), LogOptions::default())?;
    let mut feeder = Feeder::new(&log, ward_of(args, load * args.seconds))?;
    let mut pipeline = Pipeline::open(args, &log, dir)?;
    feeder.admit()?;
    pipeline.run(&AtomicBool::new(true))?;
    let is_fed = AtomicBool::new(false);
    let costs = pipeline.clock();
    let fed = std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let fed = feeder.tell(Pace::EventsPerSecond(load));
            is_fed.store(true, Ordering::Release);
            fed
        });
        let ran = pipeline.run(&is_fed);
        let fed = feeding.join().map_err(|_| anyhow!("the feed of the benchmark panicked"))?;
        ran.and(fed)
    })?;
    let fed_s = fed.cpu_s;
    let ran = pipeline.end(&costs, fed, &log)?;
    Ok(Ran { cpu_s: ran.cpu_s - fed_s, ..ran })
}

/// The loop as a replay has it.
struct Pipeline {
    drive: Drive<LocalSource, SledStore, Noted<Outbox<LocalOutlet, LocalJournal>>, FixedCost>,
    notes: Notes,
    model: ModelCpu,
}

/// Where the clocks of process and model stood.
struct Costs {
    process: Clock,
    model_s: f64,
}

impl Pipeline {
    fn open(args: &PipelineArgs, log: &LocalLog, dir: &Path) -> Result<Self> {
        let (store, _) = SledStore::open(dir.join("state"), &StoreOptions::default())?;
        let outlet = LocalOutlet::open(log, PARTITION, Box::new(now))?;
        let predictor = FixedCost::start(Duration::from_micros(args.model_us))?;
        let model = predictor.cpu();
        let journal = LocalJournal::open(log, PARTITION, Box::new(now))?;
        let source = LocalSource::open(log, &Topic::ALL, PARTITION)?;
        let (committer, notes) = Noted::new(Outbox { outlet, journal });
        let ports = Ports { source, store, committer, predictor };
        let task = Task::new(ward::config(), ward::identity()?);
        let drive = Drive::open(ports, task, ward::codec()?, DriveOptions::default(), now)?;
        Ok(Pipeline { drive, notes, model })
    }

    fn clock(&self) -> Costs {
        self.notes.start();
        Costs { process: Clock::start(), model_s: self.model.seconds() }
    }

    /// Until everything that was fed is answered.
    fn run(&mut self, is_fed: &AtomicBool) -> Result<()> {
        loop {
            // Asked before the turn, so that an idle turn after it means that all was read.
            let all_is_fed = is_fed.load(Ordering::Acquire);
            if self.drive.turn()?.idle() && all_is_fed {
                return Ok(self.drive.finish()?);
            }
        }
    }

    fn end(self, costs: &Costs, fed: Fed, log: &LocalLog) -> Result<Ran> {
        let (cpu_s, wall_s) = costs.process.read();
        let cpu_s = cpu_s - (self.model.seconds() - costs.model_s);
        let fates = &self.drive.counts().fates;
        let unused: u64 = fates.iter().filter(|((_, f), _)| *f != "used").map(|(_, n)| n).sum();
        ensure!(unused == 0, "{unused} made-up records were not used; report this");
        drop(self.drive);
        let (weight, latencies) = (self.notes.weight(), self.notes.read(log)?);
        Ok(Ran { cpu_s, wall_s, fed, weight, latencies })
    }
}

impl Offered {
    fn of(load: u64, ran: &Ran) -> Result<Self> {
        let times = ran.latencies.since(&ran.fed.marks);
        ensure!(!times.is_empty(), "no window closed; offer the load for longer, with --seconds");
        let quantile = |q: f64| {
            let index = (q * (times.len() - 1) as f64).round() as usize;
            times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Ok(Offered {
            events_per_s: load,
            cpu_us_per_event: ran.cpu_s * 1e6 / ran.fed.events as f64,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: quantile(1.0),
        })
    }

    fn median(rows: &[Offered]) -> Option<Offered> {
        let of = |value: fn(&Offered) -> f64| median(rows.iter().map(value).collect());
        Some(Offered {
            events_per_s: rows.first()?.events_per_s,
            cpu_us_per_event: of(|row| row.cpu_us_per_event),
            p50_ms: of(|row| row.p50_ms),
            p90_ms: of(|row| row.p90_ms),
            p99_ms: of(|row| row.p99_ms),
            p999_ms: of(|row| row.p999_ms),
            max_ms: of(|row| row.max_ms),
        })
    }
}
