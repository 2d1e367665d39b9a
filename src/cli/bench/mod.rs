//! `nowcxr bench`: how much work one event costs, with answers that can be checked.
//!
//! The window and the series benchmark (`reference/streaming.md` 2) run the engine's own window
//! arithmetic and the series' own chunks on a file of `stay,variable,event_time_ms,value` rows in
//! arrival order. Watermark: newest event time less 5 min, over all stays, at every event. Windows:
//! tumbling hours; one closes when its end ≤ watermark; an event of a closed window is late and
//! dropped; the end of the input closes everything. Every closed (stay, hour) with an accepted
//! event emits: `window` the last value of each variable in the hour, `series` that of the whole
//! series since the last film, for which it reads all of it.
//!
//! # What the figures mean
//!
//! - `cpu_s`: processor time from the first byte read to the last answer: reading and parsing the
//!   file, the watermark, taking events, emissions, eviction, commits. With `--wire avro` also the
//!   encoding of every event and its decoding and checking by the service's own
//!   [`crate::wire::Codec::decode_input`].
//! - `emission_cpu_s` (series): the part of it in which the rows of closed hours are read and their
//!   last values added up, clocked round that loop alone, once for all stays of an hour. Beside it
//!   stays everything else, finding the film and evicting what lies before it included.
//! - The cost of one event is the slope of these between a small and a large file: it leaves out
//!   what a run costs once.
//! - `start_s`: from the kernel's start of the process to the moment before the first byte is read,
//!   with schemas and dictionary parsed and the store open; too long by 10 ms at most.
//! - `restore`: from opening the stores, which verify every value, until the state is in memory and
//!   the next event could be taken.
//! - `peak_rss_bytes`: the most memory of the whole process, the program itself included. The file
//!   is read in blocks and never held.

mod avro;
mod broker;
mod durable;
mod generate;
mod input;
mod lanes;
mod pages;
mod pipeline;
mod shard;
mod stays;
mod stream;
#[cfg(test)]
mod tests;
mod usage;
mod ward;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::engine::window::{BoundedDisorder, Tumbling};
use crate::time::Span;
use avro::AvroWire;
use durable::{Durability, Start};
use input::{CsvFile, Event, Input};
use lanes::{Lanes, Plan, Total};
use shard::{Emission, Tally};

pub use broker::{ProducersArgs, RestoreArgs, ThroughputArgs, producers, restore, throughput};
pub use generate::{GenerateArgs, generate};
pub use pages::{PagesArgs, pages};
pub use pipeline::{PipelineArgs, pipeline};
pub use shard::Held;
pub use stream::{StreamArgs, make_stream};

/// Disorder that the benchmark's watermark allows for.
const DISORDER: Span = Span::minutes(5);

/// Events read before they are routed.
const BATCH_EVENTS: usize = 1_024;

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Last value of each variable for every closed hour of every stay.
    ///
    /// Runs the engine's window arithmetic and its history of a stay by themselves, without what a
    /// service does besides: duplicates, two clocks, corrections, films, the model.
    ///
    /// Prints one JSON object. The answers (late, outputs, accepted, sum_milli) are the same for
    /// every store, wire and number of shards. `cpu_s` holds everything from the first byte read
    /// to the last answer, parsing included; take the slope between a small and a large file for
    /// the cost of one event. `start_s` is the wall time from the start of the process until it is
    /// ready for the first event, `peak_rss_bytes` the most memory it held.
    Window(BenchArgs),
    /// The whole series since the last film for every closed hour of every stay.
    ///
    /// As `window`, and: `reads` counts the rows that emissions read. `emission_cpu_s` is the part
    /// of `cpu_s` that reading them and adding up what they emit took, and
    /// `us_per_event_beside_emission` is what is left, per event: parsing, taking the event,
    /// closing the hour, and forgetting what no later window reads.
    Series(BenchArgs),
    /// Each part of a prediction: encoding a film, one evaluation of the denoising network, the
    /// whole sampler, decoding, fusion.
    ///
    /// Medians of several runs, processor time beside wall time. With `--against` a peer does the
    /// same work with the same weights in the same run, is compared only where its outputs are
    /// ours, and counts the operations.
    Generate(GenerateArgs),
    /// The dashboard under load: a ward of many beds, many open pages, and updates to all of them.
    ///
    /// `update_ms` is the time from before the durable append of a risk event until a viewer has
    /// its tile; `page_ms` that of the whole ward. Server and viewers share this machine.
    Pages(PagesArgs),
    /// The whole pipeline without a broker: local log, decoding, engine, sled, a model of fixed
    /// cost, and the outlet.
    ///
    /// At full speed over a log that was written before, and at loads that are offered by a
    /// schedule. A window's latency counts from when the mark that closes it was due, whether the
    /// feed could keep its schedule or not, until its risk event was durable. CPU is that of the
    /// pipeline: the feed's and the model's are taken off.
    Stream(PipelineArgs),
    /// How long a node takes to have its state, from Kafka's changelog and from its own disk.
    ///
    /// A made-up ward goes through the engine, with made-up answers and one film a stay, and its
    /// state into a changelog that holds every key once, as a compacted one does. Then all tasks
    /// are opened at the same time, as `nowcxr run` opens them: `restore_s` from an empty
    /// directory, `warm_s` from one that holds the state, each until the next record could be
    /// taken. The restored state must be the written one, by digest. For the largest ward of
    /// interest: --stays 10000 --per-hour 24,100,300 (some GB of memory and disk).
    Restore(RestoreArgs),
    /// What one event costs the service over Kafka, beside a consumer that only decodes it.
    ///
    /// `consumer` fetches every input and decodes it; `service` is the loop of `nowcxr run` on
    /// the same topics, with state in sled, changelog, journal and outputs in one transaction each
    /// 100 ms, and made-up answers in place of the model; `without_kafka` is that loop on events in
    /// memory. Each is measured in turn, so often as --runs says. CPU is that of this process; the
    /// broker's is not in it.
    Kafka(ThroughputArgs),
    /// Threads, memory and queues of the transactional producers, one a task.
    Producers(ProducersArgs),
    /// Writes an event file for `window` and `series`.
    MakeStream(StreamArgs),
}

#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Rows of stay,variable,event_time_ms,value in arrival order.
    pub file: PathBuf,
    /// Where the state lives.
    #[arg(long, value_enum, default_value_t = StoreChoice::Memory)]
    pub store: StoreChoice,
    /// How events arrive. With `avro` each is encoded as a framed vital sign, decoded
    /// and checked, as the service does it, inside the measured time.
    #[arg(long, value_enum, default_value_t = WireChoice::None)]
    pub wire: WireChoice,
    /// Threads that share the stays out among them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
    /// Milliseconds between two durable commits.
    #[arg(long, default_value_t = 2_000)]
    pub flush_ms: u64,
    /// After this many events commit, forget all state, read it back from the store and go on.
    /// The answers stay the same; `restore` says what came back and how long it took, which counts
    /// in neither `cpu_s` nor `wall_s`. Needs `--store sled`.
    #[arg(long, value_name = "EVENTS")]
    pub restore_after: Option<u64>,
    /// Directory for the store; a new one that is removed at the end if not given.
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
    /// Wall time from the start of the process until it is ready for the first event.
    pub start_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restored>,
    /// User and system time of all threads from the first byte read to the last answer.
    pub cpu_s: f64,
    /// The part of `cpu_s` in which the series benchmark reads the series of closed hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emission_cpu_s: Option<f64>,
    pub wall_s: f64,
    pub us_per_event: f64,
    /// (`cpu_s` − `emission_cpu_s`) over the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us_per_event_beside_emission: Option<f64>,
    pub peak_rss_bytes: u64,
}

/// A stop and the way back from the store.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    pub after_events: u64,
    #[serde(flatten)]
    pub held: Held,
    /// From opening the stores until the next event could be taken.
    pub wall_s: f64,
    pub cpu_s: f64,
}

/// Runs one command and prints its result as one JSON object.
pub fn run(command: &BenchCommand) -> anyhow::Result<()> {
    let line = match command {
        BenchCommand::Window(args) => serde_json::to_string(&window(args)?)?,
        BenchCommand::Series(args) => serde_json::to_string(&series(args)?)?,
        BenchCommand::Generate(args) => generate(args)?,
        BenchCommand::Pages(args) => {
            let tell = |result: &_| super::print(&serde_json::to_string(result)?);
            return pages(args, tell);
        }
        BenchCommand::Stream(args) => serde_json::to_string(&pipeline(args)?)?,
        BenchCommand::Restore(args) => serde_json::to_string(&restore(args)?)?,
        BenchCommand::Kafka(args) => serde_json::to_string(&throughput(args)?)?,
        BenchCommand::Producers(args) => serde_json::to_string(&producers(args)?)?,
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
    let input: Box<dyn Input> = match args.wire {
        WireChoice::None => Box::new(CsvFile::open(&args.file)?),
        WireChoice::Avro => Box::new(AvroWire::open(&args.file)?),
    };
    let durability = match args.store {
        StoreChoice::Memory => None,
        StoreChoice::Sled => Some(Durability {
            dir: scratch.file("store"),
            every: Duration::from_millis(args.flush_ms),
        }),
    };
    let plan = Plan { shards: usize::from(args.shards), emission, durability };
    let mut router = Router::new(input);
    let (mut lanes, _) = Lanes::open(&plan, Start::Cold, router.watermark.time())?;
    let start_s = usage::seconds_since_start()?;
    let clock = Clock::start();
    let (mut before, mut restore) = (Tally::default(), None);
    if let Some(events) = args.restore_after {
        anyhow::ensure!(
            args.store == StoreChoice::Sled,
            "only a store keeps state to restore; add --store sled or leave out --restore-after"
        );
        router.pump(&mut lanes, events)?;
        let (back, tally, restored) = stop_and_restore(lanes, &plan, &router)?;
        (lanes, before, restore) = (back, tally, Some(restored));
    }
    router.pump(&mut lanes, u64::MAX)?;
    let file = args.file.display();
    anyhow::ensure!(
        router.rows > 0,
        "{file} holds no events; write some with nowcxr bench make-stream {file} --rows 2000000"
    );
    let Total { mut tally, commits, .. } = lanes.finish()?;
    tally.add(before);
    let (mut cpu_s, mut wall_s) = clock.read();
    if let Some(restored) = &restore {
        (cpu_s, wall_s) = (cpu_s - restored.cpu_s, wall_s - restored.wall_s);
    }
    let per_event = |seconds: f64| seconds * 1e6 / router.rows as f64;
    let series = |of: f64| (emission == Emission::SinceFilm).then_some(of);
    Ok(BenchResult {
        bench: emission.name(),
        store: args.store,
        wire: args.wire,
        shards: args.shards,
        rows: router.rows,
        late: tally.late,
        outputs: tally.outputs,
        accepted: tally.accepted,
        sum_milli: tally.sum_milli,
        reads: (emission == Emission::SinceFilm).then_some(tally.reads),
        commits: plan.durability.is_some().then_some(commits),
        start_s,
        restore,
        cpu_s,
        emission_cpu_s: series(tally.emission_cpu_s),
        wall_s,
        us_per_event: per_event(cpu_s),
        us_per_event_beside_emission: series(per_event(cpu_s - tally.emission_cpu_s)),
        peak_rss_bytes: usage::peak_rss_bytes()?,
    })
}

/// Commits, drops all state, and opens the stores again: what comes back is what was durable.
fn stop_and_restore(
    lanes: Lanes,
    plan: &Plan,
    router: &Router,
) -> anyhow::Result<(Lanes, Tally, Restored)> {
    let stopped = lanes.stop()?;
    anyhow::ensure!(
        stopped.taken == router.rows,
        "the stores hold {} events of {}; report this",
        stopped.taken,
        router.rows
    );
    let clock = Clock::start();
    let (lanes, held) = Lanes::open(plan, Start::Restored, router.watermark.time())?;
    let (cpu_s, wall_s) = clock.read();
    Ok((lanes, stopped.tally, Restored { after_events: router.rows, held, wall_s, cpu_s }))
}

/// The middle one; of an even number the higher of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a stretch of the run costs.
struct Clock {
    wall: Instant,
    cpu_s: f64,
}

impl Clock {
    fn start() -> Self {
        Clock { wall: Instant::now(), cpu_s: usage::cpu_seconds() }
    }

    /// Processor time and wall time since the start.
    fn read(&self) -> (f64, f64) {
        (usage::cpu_seconds() - self.cpu_s, self.wall.elapsed().as_secs_f64())
    }
}

/// Reads the input, keeps the one watermark over all stays, and hands events on in order: all
/// events that one lane gets between two changes of the watermark were judged under the same one.
struct Router {
    input: Box<dyn Input>,
    watermark: BoundedDisorder,
    /// Events read so far.
    rows: u64,
}

impl Router {
    fn new(input: Box<dyn Input>) -> Self {
        let watermark = BoundedDisorder::new(Tumbling::HOURLY, DISORDER);
        Router { input, watermark, rows: 0 }
    }

    /// Until `rows` events are read in all, or the input ends.
    fn pump(&mut self, lanes: &mut Lanes, rows: u64) -> anyhow::Result<()> {
        let mut batch: Vec<Event> = Vec::with_capacity(BATCH_EVENTS);
        loop {
            batch.clear();
            let left = usize::try_from(rows.saturating_sub(self.rows)).unwrap_or(usize::MAX);
            self.input.read(&mut batch, BATCH_EVENTS.min(left))?;
            if batch.is_empty() {
                return Ok(());
            }
            let mut taken = 0;
            for (i, event) in batch.iter().enumerate() {
                if let Some(now) = self.watermark.observe(event.at) {
                    lanes.take(&batch[taken..i])?;
                    lanes.advance(now)?;
                    taken = i;
                }
            }
            lanes.take(&batch[taken..])?;
            self.rows += batch.len() as u64;
        }
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
