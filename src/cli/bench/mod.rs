//! `nowcxr bench`: how much work one event costs, with answers that can be checked.
//!
//! The window and the series benchmark (`reference/streaming.md` 2) run the engine's own window
//! arithmetic and the series' own chunks on a file of `stay,variable,event_time_ms,value` rows in
//! arrival order. Watermark: newest event time less 5 min, over all stays, at every event. Windows:
//! tumbling hours; one closes when its end ≤ watermark; an event of a closed window is late and
//! dropped; the end of the input closes everything. Every closed (stay, hour) with an accepted
//! event emits: `window` the last value of each variable in the hour, `series` that of the whole
//! series since the last film, for which it reads all of it.

mod avro;
mod durable;
mod input;
mod lanes;
mod shard;
mod stays;
mod stream;
#[cfg(test)]
mod tests;
mod usage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::engine::window::{BoundedDisorder, Tumbling};
use crate::time::Span;
use avro::AvroFile;
use durable::Durability;
use input::{CsvFile, Event, Input};
use lanes::Lanes;
use shard::Emission;

pub use stream::{StreamArgs, make_stream};

/// Disorder that the benchmark's watermark allows for.
const DISORDER: Span = Span::minutes(5);

/// Events read before they are routed.
const BATCH_EVENTS: usize = 1_024;

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Last value of each variable for every closed hour of every stay.
    Window(BenchArgs),
    /// The whole series since the last film for every closed hour of every stay.
    Series(BenchArgs),
    /// Writes an event file for the two.
    MakeStream(StreamArgs),
}

#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Rows of stay,variable,event_time_ms,value in arrival order.
    pub file: PathBuf,
    /// Where the state lives.
    #[arg(long, value_enum, default_value_t = StoreChoice::Memory)]
    pub store: StoreChoice,
    /// How events reach the engine; `avro` decodes framed records encoded beforehand.
    #[arg(long, value_enum, default_value_t = WireChoice::None)]
    pub wire: WireChoice,
    /// Threads that share the stays out among them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// Milliseconds between two durable commits.
    #[arg(long, default_value_t = 2_000)]
    pub flush_ms: u64,
    /// Directory for the store and other files of this run; a new one that is removed at the end
    /// if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreChoice {
    Memory,
    Sled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WireChoice {
    None,
    Avro,
}

/// What was answered and what it cost.
#[derive(Clone, Debug, Serialize)]
pub struct BenchResult {
    pub bench: &'static str,
    pub store: StoreChoice,
    pub wire: WireChoice,
    pub shards: u16,
    pub rows: u64,
    /// Events whose window was closed.
    pub late: u64,
    /// Emissions: closed (stay, hour) pairs with an accepted event.
    pub outputs: u64,
    pub accepted: u64,
    /// Sum over emissions and emitted values of round(1000 × value).
    pub sum_milli: i64,
    /// Values read by the series benchmark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<u64>,
    /// Durable commits made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits: Option<u64>,
    /// User and system time of all threads from the first byte read to the last answer.
    pub cpu_s: f64,
    pub wall_s: f64,
    pub us_per_event: f64,
    pub peak_rss_bytes: u64,
}

/// Runs one command and prints its result as one JSON object.
pub fn run(command: &BenchCommand) -> anyhow::Result<()> {
    let line = match command {
        BenchCommand::Window(args) => serde_json::to_string(&window(args)?)?,
        BenchCommand::Series(args) => serde_json::to_string(&series(args)?)?,
        BenchCommand::MakeStream(args) => serde_json::to_string(&make_stream(args)?)?,
    };
    super::print(&line)?;
    Ok(())
}

/// The window benchmark.
pub fn window(args: &BenchArgs) -> anyhow::Result<BenchResult> {
    measure(args, Emission::LastValues)
}

/// The series benchmark.
pub fn series(args: &BenchArgs) -> anyhow::Result<BenchResult> {
    measure(args, Emission::SinceFilm)
}

fn measure(args: &BenchArgs, emission: Emission) -> anyhow::Result<BenchResult> {
    let scratch = Scratch::new(args.dir.clone())?;
    let mut input: Box<dyn Input> = match args.wire {
        WireChoice::None => Box::new(CsvFile::open(&args.file)?),
        WireChoice::Avro => Box::new(AvroFile::encode(&args.file, &scratch.file("events.avro"))?),
    };
    let durability = match args.store {
        StoreChoice::Memory => None,
        StoreChoice::Sled => Some(Durability {
            dir: scratch.file("store"),
            every: Duration::from_millis(args.flush_ms),
        }),
    };
    let (started, cpu_before) = (Instant::now(), usage::cpu_seconds()?);
    let mut lanes = Lanes::open(usize::from(args.shards), emission, durability.as_ref())?;
    let rows = pump(input.as_mut(), &mut lanes)?;
    let total = lanes.finish()?;
    let cpu_s = usage::cpu_seconds()? + total.exited_cpu_s - cpu_before;
    Ok(BenchResult {
        bench: emission.name(),
        store: args.store,
        wire: args.wire,
        shards: args.shards,
        rows,
        late: total.tally.late,
        outputs: total.tally.outputs,
        accepted: total.tally.accepted,
        sum_milli: total.tally.sum_milli,
        reads: (emission == Emission::SinceFilm).then_some(total.tally.reads),
        commits: durability.is_some().then_some(total.commits),
        cpu_s,
        wall_s: started.elapsed().as_secs_f64(),
        us_per_event: if rows == 0 { 0.0 } else { cpu_s * 1e6 / rows as f64 },
        peak_rss_bytes: usage::peak_rss_bytes()?,
    })
}

/// Reads everything, keeps the one watermark over all stays, and hands events on in order: all
/// events that one lane gets between two changes of the watermark were judged under the same one.
fn pump(input: &mut dyn Input, lanes: &mut Lanes) -> anyhow::Result<u64> {
    let mut watermark = BoundedDisorder::new(Tumbling::HOURLY, DISORDER);
    let mut batch: Vec<Event> = Vec::with_capacity(BATCH_EVENTS);
    let mut rows = 0;
    loop {
        batch.clear();
        input.read(&mut batch, BATCH_EVENTS)?;
        if batch.is_empty() {
            return Ok(rows);
        }
        let mut taken = 0;
        for (i, event) in batch.iter().enumerate() {
            if let Some(now) = watermark.observe(event.at) {
                lanes.take(&batch[taken..i])?;
                lanes.advance(now)?;
                taken = i;
            }
        }
        lanes.take(&batch[taken..])?;
        rows += batch.len() as u64;
    }
}

/// The run's directory: removed at the end if it was made here.
struct Scratch {
    dir: PathBuf,
    ours: bool,
}

impl Scratch {
    fn new(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let ours = given.is_none();
        let dir = given.unwrap_or_else(|| {
            let nanos = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos());
            std::env::temp_dir().join(format!("nowcxr-bench-{}-{nanos}", std::process::id()))
        });
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make {}; choose another --dir", dir.display()))?;
        Ok(Scratch { dir, ours })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove the run's directory");
        }
    }
}
