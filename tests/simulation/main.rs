//! The whole pipeline in one thread under a seeded scheduler: the real loop and engine over a
//! simulated log, simulated disks and a simulated model, with everything going wrong by chance,
//! and a judge that counts out from input and journal alone what must have left.
//!
//! `NOWCXR_SEEDS=10000 cargo test --release --test simulation` runs so many seeds; a failure
//! prints the line that repeats it (`NOWCXR_SEED=<n>`), and the smallest variant that still fails.

#![allow(clippy::unwrap_used)]

mod ahead;
mod auditor;
mod cluster;
mod conformance;
mod defects;
mod dice;
mod edge;
mod input;
mod log;
mod model;
mod partitions;
mod people;
mod ports;
mod records;
mod runner;
mod ward;
mod world;

use runner::{run, seeds};

#[test]
fn nothing_is_missing_extra_doubled_or_different_whatever_goes_wrong() {
    let summary = run(seeds(), None, 5);
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
    summary.every_fault_has_happened();
}
