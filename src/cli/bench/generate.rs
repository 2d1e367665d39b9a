//! `nowcxr bench generate`: what each part of a prediction costs, beside a peer that does the same
//! with the same weights.
//!
//! The peer is a program. It is given a directory with `exchange.safetensors` (weights under `w.`,
//! inputs under `in.`, our outputs under `out.`) and `job.json` ([`Job`]), and prints a [`Peer`].
//! It is believed only where its plain mode gives the same outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Clock, Scratch, usage};
use crate::config::DeviceChoice;
use crate::model::DdlCxrConfig;
use crate::model::weights::write_safetensors;
use crate::predict::{STAGE_TIMESTEP, Stage, Stages, set_threads};

/// Largest difference from our output, over our largest number, at which a peer counts as equal.
const SAME: f64 = 1e-3;
/// The mode of a peer whose outputs must be ours.
const PLAIN: &str = "eager f32";

#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The model whose sizes and weights are run.
    #[arg(long, value_name = "DIR", default_value = "models/demo")]
    model: PathBuf,
    /// The published sizes with drawn weights instead: 297 million numbers in the denoising
    /// network alone. Needs 4 GiB, with a peer 10.
    #[arg(long, conflicts_with = "model")]
    full: bool,
    /// Network evaluations of one sample at the published sizes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    evaluations: u16,
    /// Windows at once; several, separated by commas, are run one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_024))]
    batch: Vec<u16>,
    /// Runs of each stage after a first one that does not count; the median is told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    runs: u16,
    /// Threads of the networks on a CPU, of the peer's too; 0 for one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Where our networks run.
    #[arg(long, value_enum, default_value_t = On::Cpu)]
    device: On,
    /// A program that runs the same networks, such as "python3 tests/peers/generate.py".
    #[arg(long, value_name = "COMMAND")]
    against: Option<String>,
    /// Seed of inputs and drawn weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum On {
    Cpu,
    Cuda,
}

/// Seconds of one run, the median of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cost {
    wall_s: f64,
    cpu_s: f64,
}

/// A stage of the peer in one of its modes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct PeerCost {
    #[serde(flatten)]
    cost: Cost,
    /// Largest difference from our output over our largest number.
    error: f64,
}

/// What a peer is asked to do.
#[derive(Debug, Serialize)]
struct Job<'a> {
    config: &'a DdlCxrConfig,
    timestep: usize,
    runs: u16,
    threads: usize,
}

/// What a peer prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Peer {
    name: String,
    /// By mode ([`PLAIN`] and others) and stage.
    modes: BTreeMap<String, BTreeMap<String, PeerCost>>,
    /// Multiplications and additions of each stage, as the peer counts them.
    #[serde(default)]
    operations: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct Measured {
    batch: u16,
    stages: BTreeMap<&'static str, Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Peer>,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    size: String,
    device: On,
    threads: usize,
    runs: u16,
    seed: u64,
    evaluations: usize,
    batches: Vec<Measured>,
    peak_rss_bytes: u64,
}

/// Runs the benchmark and returns what is to be printed.
pub fn generate(args: &GenerateArgs) -> anyhow::Result<String> {
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    set_threads(threads);
    let (mut batches, mut evaluations) = (Vec::new(), 0);
    for &batch in &args.batch {
        let stages = open(args, usize::from(batch))?;
        evaluations = stages.evaluations();
        batches.push(measure(&stages, batch, args, threads)?);
    }
    let report = Report {
        bench: "generate",
        size: if args.full { "full".to_owned() } else { args.model.display().to_string() },
        device: args.device,
        threads,
        runs: args.runs,
        seed: args.seed,
        evaluations,
        batches,
        peak_rss_bytes: usage::peak_rss_bytes()?,
    };
    if args.json { Ok(serde_json::to_string(&report)?) } else { Ok(table(&report)) }
}

fn open(args: &GenerateArgs, batch: usize) -> anyhow::Result<Stages> {
    let on = match args.device {
        On::Cpu => DeviceChoice::Cpu,
        On::Cuda => DeviceChoice::Cuda,
    };
    Ok(match args.full {
        true => Stages::full(on, usize::from(args.evaluations), batch, args.seed)?,
        false => Stages::open(&args.model, on, batch, args.seed)?,
    })
}

fn measure(
    stages: &Stages,
    batch: u16,
    args: &GenerateArgs,
    threads: usize,
) -> anyhow::Result<Measured> {
    let mut costs = BTreeMap::new();
    for stage in Stage::ALL {
        stages.run(stage);
        let mut runs = Vec::with_capacity(usize::from(args.runs));
        for _ in 0..args.runs {
            let clock = Clock::start();
            stages.run(stage);
            let (cpu_s, wall_s) = clock.read();
            runs.push(Cost { wall_s, cpu_s });
        }
        costs.insert(stage.name(), median(&mut runs));
    }
    let job = Job { config: &stages.config, timestep: STAGE_TIMESTEP, runs: args.runs, threads };
    let peer = args.against.as_deref().map(|command| ask(command, stages, &job)).transpose()?;
    Ok(Measured { batch, stages: costs, peer })
}

/// The run of median wall time.
fn median(runs: &mut [Cost]) -> Cost {
    runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    runs.get(runs.len() / 2).copied().unwrap_or(Cost { wall_s: f64::NAN, cpu_s: f64::NAN })
}

fn ask(command: &str, stages: &Stages, job: &Job<'_>) -> anyhow::Result<Peer> {
    let scratch = Scratch::new(None)?;
    let write = |name: &str, bytes: Vec<u8>| {
        let path = scratch.file(name);
        std::fs::write(&path, bytes)
            .with_context(|| format!("cannot write {}; is the disk full?", path.display()))
    };
    write("exchange.safetensors", write_safetensors(&stages.exchange())?)?;
    write("job.json", serde_json::to_vec(job)?)?;
    let peer = run_peer(command, &scratch.dir)?;
    believe(&peer)?;
    Ok(peer)
}

fn run_peer(command: &str, dir: &Path) -> anyhow::Result<Peer> {
    let mut words = command.split_whitespace();
    let program = words.next().context("--against names no program")?;
    let ran = Command::new(program)
        .args(words)
        .arg(dir)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {program}; give another --against"))?;
    ensure!(ran.status.success(), "the peer ended with {}; see what it said above", ran.status);
    serde_json::from_slice(&ran.stdout).context("the peer printed something else than its result")
}

/// A peer that computes something else is no peer.
fn believe(peer: &Peer) -> anyhow::Result<()> {
    let Some(plain) = peer.modes.get(PLAIN) else { bail!("the peer has no mode {PLAIN:?}") };
    for stage in Stage::ALL.map(Stage::name) {
        let cost = plain.get(stage).with_context(|| format!("the peer left out {stage}"))?;
        ensure!(
            cost.error <= SAME,
            "the peer's {stage} differs from ours by {:.1e}, more than {SAME:.0e}; no comparison",
            cost.error
        );
    }
    Ok(())
}

/// A row a batch and stage: our medians, then each mode of the peer with our wall time over its.
fn table(report: &Report) -> String {
    let Report { size, device, threads, runs, evaluations, .. } = report;
    let mut lines = vec![format!(
        "{size} on {device:?}, {threads} threads, medians of {runs}; a sample is {evaluations} \
         evaluations"
    )];
    for Measured { batch, stages, peer } in &report.batches {
        if let Some(peer) = peer {
            lines.push(format!("batch {batch}, against {}", peer.name));
        } else {
            lines.push(format!("batch {batch}"));
        }
        for stage in Stage::ALL.map(Stage::name) {
            let Some(cost) = stages.get(stage) else { continue };
            let rate = peer.as_ref().and_then(|peer| peer.operations.get(stage));
            let rate = rate.map_or_else(String::new, |operations| {
                format!("  {:7.1} Gflop/s", operations / cost.wall_s / 1e9)
            });
            let (wall, cpu) = (cost.wall_s * 1e3, cost.cpu_s * 1e3);
            lines.push(format!("  {stage:<11} {wall:10.2} ms wall {cpu:10.2} ms cpu{rate}"));
            let modes = peer.iter().flat_map(|peer| &peer.modes);
            for (mode, costs) in modes {
                let Some(theirs) = costs.get(stage) else { continue };
                let (wall, ratio) = (theirs.cost.wall_s * 1e3, cost.wall_s / theirs.cost.wall_s);
                let error = theirs.error;
                lines.push(format!(
                    "    {mode:<14} {wall:7.2} ms wall, ours is {ratio:5.2} × (differs {error:.0e})"
                ));
            }
        }
    }
    lines.push(format!("peak memory {} MiB", report.peak_rss_bytes >> 20));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(error: f64) -> Peer {
        let cost = PeerCost { cost: Cost { wall_s: 0.5, cpu_s: 1.0 }, error };
        let stages = Stage::ALL.map(|stage| (stage.name().to_owned(), cost)).into();
        Peer {
            name: "a peer".to_owned(),
            modes: BTreeMap::from([(PLAIN.to_owned(), stages)]),
            operations: BTreeMap::from([("fusion".to_owned(), 2e9)]),
        }
    }

    #[test]
    fn a_peer_that_computes_something_else_is_not_compared() {
        believe(&peer(1e-5)).unwrap();
        assert!(believe(&peer(0.1)).unwrap_err().to_string().contains("no comparison"));
        assert!(believe(&peer(f64::NAN)).is_err());
        let mut silent = peer(0.0);
        silent.modes.clear();
        assert!(believe(&silent).is_err());
    }

    #[test]
    fn the_table_tells_ratio_and_rate() {
        let cost = Cost { wall_s: 1.0, cpu_s: 2.0 };
        let report = Report {
            bench: "generate",
            size: "small".to_owned(),
            device: On::Cpu,
            threads: 2,
            runs: 3,
            seed: 1,
            evaluations: 8,
            batches: vec![Measured {
                batch: 1,
                stages: Stage::ALL.map(|stage| (stage.name(), cost)).into(),
                peer: Some(peer(0.0)),
            }],
            peak_rss_bytes: 5 << 20,
        };
        let text = table(&report);
        assert!(text.contains("ours is  2.00 ×") && text.contains("2.0 Gflop/s"), "{text}");
    }

    #[test]
    fn the_median_is_one_of_the_runs() {
        let cost = |wall_s| Cost { wall_s, cpu_s: 10.0 * wall_s };
        assert_eq!(median(&mut [cost(3.0), cost(1.0), cost(2.0)]), cost(2.0));
    }
}
