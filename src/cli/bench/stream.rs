//! Makes an event file for the benchmarks, the same for the same seed: users do not have the one
//! that the published figures were taken with (`reference/streaming.md` 2).
//!
//! Event times are spread evenly over the span. A record arrives 0 to 60 s after its event, one in
//! a hundred 6 min to 3 h after it. Six of the 17 variables make four events in five. Values are
//! normal around 100, so that one in six of variable 16 is a film.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::Serialize;

use crate::time::Span;

/// 2023-11-14T22:00:00Z.
const START_MS: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;
const VARIABLES: u32 = 17;
const FREQUENT: u32 = 6;
const FREQUENT_SHARE: f64 = 0.786;
const LATE_SHARE: f64 = 0.01;

/// Events of one stay in an hour; fixes the span for a number of rows.
const PER_STAY_AND_HOUR: f64 = 2e6 / 2_000.0 / 48.0;

#[derive(Clone, Debug, Args)]
pub struct StreamArgs {
    /// Where to write; an existing file is replaced.
    pub file: PathBuf,
    #[arg(long, default_value_t = 2_000_000)]
    pub rows: u64,
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub stays: u32,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct StreamMade {
    pub file: PathBuf,
    pub rows: u64,
    pub stays: u32,
    pub hours: f64,
    pub seed: u64,
}

/// (arrival, event time, event time's number, stay, variable, value × 1000); ordered by arrival.
type Arrival = Reverse<(i64, i64, u64, u32, u32, i64)>;

/// Writes the file. Memory is bounded by the records on their way: those of at most 3 h.
pub fn make_stream(args: &StreamArgs) -> anyhow::Result<StreamMade> {
    let cannot = || format!("cannot write {}", args.file.display());
    let mut out = BufWriter::new(File::create(&args.file).with_context(cannot)?);
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let values = Normal::<f64>::new(100.0, 15.0).context("the distribution of values")?;
    let hours = args.rows as f64 / f64::from(args.stays) / PER_STAY_AND_HOUR;
    let span_ms = hours * Span::HOUR.as_millis() as f64;
    let mut under_way: BinaryHeap<Arrival> = BinaryHeap::new();
    for n in 0..args.rows {
        let at = START_MS + (span_ms * (n as f64 / args.rows as f64)) as i64;
        while under_way.peek().is_some_and(|Reverse(first)| first.0 < at) {
            if let Some(arrived) = under_way.pop() {
                write_row(&mut out, &arrived).with_context(cannot)?;
            }
        }
        let delay_ms = match rng.random::<f64>() < LATE_SHARE {
            true => rng.random_range(360_000..10_800_000),
            false => rng.random_range(0..60_000),
        };
        let variable = match rng.random::<f64>() < FREQUENT_SHARE {
            true => rng.random_range(0..FREQUENT),
            false => rng.random_range(FREQUENT..VARIABLES),
        };
        let stay = rng.random_range(0..args.stays);
        let milli = (values.sample(&mut rng) * 1000.0).round() as i64;
        under_way.push(Reverse((at + delay_ms, at, n, stay, variable, milli)));
    }
    while let Some(arrived) = under_way.pop() {
        write_row(&mut out, &arrived).with_context(cannot)?;
    }
    out.flush().with_context(cannot)?;
    Ok(StreamMade {
        file: args.file.clone(),
        rows: args.rows,
        stays: args.stays,
        hours,
        seed: args.seed,
    })
}

fn write_row(out: &mut impl Write, arrival: &Arrival) -> std::io::Result<()> {
    let Reverse((_, at, _, stay, variable, milli)) = arrival;
    let sign = if *milli < 0 { "-" } else { "" };
    let milli = milli.unsigned_abs();
    writeln!(out, "{stay},{variable},{at},{sign}{}.{:03}", milli / 1000, milli % 1000)
}
