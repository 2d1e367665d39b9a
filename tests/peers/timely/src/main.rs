//! The peer of `nowcxr bench window` and `bench series` in timely dataflow: the same file, rules
//! and answers by timely's own operators, timestamps and frontiers.
//!
//!     nowcxr-peer-timely window|series FILE [WORKERS]
//!
//! Prints one JSON object with the fields that `nowcxr bench` prints. What was chosen so that
//! timely shows what it can:
//!
//! - The file is parsed by nowcxr's own parser, a stay is found by its own table, and time is taken
//!   by its own clocks: `input.rs`, `stays.rs` and `usage.rs` are the program's files.
//! - A timestamp is an hour, the one that the watermark has reached. So there is one step of
//!   progress for each hour that closes and none for each event, and an event is late exactly if
//!   its hour is before its timestamp.
//! - Containers of 1,024 records of 24 bytes are handed on whole; workers are threads of one
//!   process, so nothing is serialised.
//! - The build is optimised across crates, which the program's is not.

mod flow;
#[path = "../../../../src/cli/bench/input.rs"]
mod input;
mod series;
#[path = "../../../../src/cli/bench/stays.rs"]
mod stays;
mod units;
#[path = "../../../../src/cli/bench/usage.rs"]
mod usage;
mod window;

// The names by which the program's files know these.
use units as ids;
use units as time;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use flow::{Tally, run};

/// What the command line asks for.
struct Args {
    bench: String,
    file: PathBuf,
    workers: usize,
}

fn args() -> anyhow::Result<Args> {
    let usage = "nowcxr-peer-timely window|series FILE [WORKERS]";
    let mut words = std::env::args().skip(1);
    let bench = words.next().context(usage)?;
    let file = words.next().context(usage)?.into();
    let workers = words.next().map_or(Ok(1), |n| n.parse()).context(usage)?;
    anyhow::ensure!(workers > 0 && words.next().is_none(), usage);
    Ok(Args { bench, file, workers })
}

fn main() -> anyhow::Result<()> {
    let Args { bench, file, workers } = args()?;
    let start_s = usage::seconds_since_start()?;
    let (wall, cpu) = (Instant::now(), usage::cpu_seconds());
    let tally = match bench.as_str() {
        "window" => run::<window::LastValues>(&file, workers)?,
        "series" => run::<series::SinceFilm>(&file, workers)?,
        other => anyhow::bail!("{other}: only window and series are known"),
    };
    let (wall_s, cpu_s) = (wall.elapsed().as_secs_f64(), usage::cpu_seconds() - cpu);
    let Tally { rows, late, outputs, accepted, sum_milli, reads, emission_cpu_s } = tally;
    let us_per_event = cpu_s * 1e6 / rows as f64;
    let peak_rss_bytes = usage::peak_rss_bytes()?;
    let of_series = match bench.as_str() {
        "series" => format!("\"reads\":{reads},\"emission_cpu_s\":{emission_cpu_s:.6},"),
        _ => String::new(),
    };
    println!(
        "{{\"peer\":\"timely\",\"bench\":\"{bench}\",\"workers\":{workers},\"rows\":{rows},\
         \"late\":{late},\"outputs\":{outputs},\"accepted\":{accepted},\"sum_milli\":{sum_milli},\
         {of_series}\"start_s\":{start_s:.3},\"cpu_s\":{cpu_s:.6},\"wall_s\":{wall_s:.6},\
         \"us_per_event\":{us_per_event:.6},\"peak_rss_bytes\":{peak_rss_bytes}}}"
    );
    Ok(())
}
