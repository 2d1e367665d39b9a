//! `nowcxr synth`: a synthetic ward as MIMIC files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::progress::Progress;
use crate::synth::{WardOptions, write_ward};

#[derive(Args)]
pub struct SynthArgs {
    /// How many patients.
    #[arg(long, default_value_t = 60)]
    patients: u64,
    /// The ward is a function of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where mimiciv/, mimic-cxr-jpg/ and truth/ go.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &SynthArgs) -> Result<ExitCode> {
    let options =
        WardOptions { patients: args.patients, seed: args.seed, ..WardOptions::default() };
    let mut progress = Progress::new("making the ward", "patients");
    let summary = write_ward(&options, &args.out, &mut |done, all| progress.set(done, all))?;
    progress.finish();
    super::print(&serde_json::to_string_pretty(&summary)?)?;
    Ok(ExitCode::SUCCESS)
}
