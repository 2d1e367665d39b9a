//! `nowcxr demo`: a synthetic ward through the whole pipeline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::embedded;
use super::progress::Progress;
use super::replay::{Recording, replay_into};
use super::settings::ConfigArgs;
use crate::replay::{ReplayConfig, Speed};
use crate::synth::{WardOptions, write_ward};

/// Marks a directory as one that the demo made and may remove.
const MARKER: &str = ".nowcxr-demo";

#[derive(Args)]
pub struct DemoArgs {
    /// Patients of the ward.
    #[arg(long, default_value_t = 8)]
    patients: u64,
    /// The ward is a function of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where everything goes; an earlier demo's directory is replaced.
    #[arg(long, default_value = "nowcxr-demo")]
    out: PathBuf,
    /// How fast: 1 is real time, 60 an hour a minute, `max` as fast as it goes.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    /// End with the ward. Otherwise, at a terminal, the dashboard is served until Ctrl-C.
    #[arg(long)]
    no_serve: bool,
}

pub fn run(args: &DemoArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    clear(&args.out)?;
    // Tried before the long part: a model that cannot be used is found at once.
    embedded::pipeline(&config)?;
    let ward = args.out.join("ward");
    let mut progress = Progress::new("making the ward", "patients");
    let options =
        WardOptions { patients: args.patients, seed: args.seed, ..WardOptions::default() };
    write_ward(&options, &ward, &mut |done, all| progress.set(done, all))?;
    progress.finish();
    let recording = Recording {
        replay: ReplayConfig {
            mimic_iv: ward.join("mimiciv"),
            mimic_cxr: Some(ward.join("mimic-cxr-jpg")),
            seed: args.seed,
            ..ReplayConfig::under(&config)
        },
        speed: args.speed,
        provenance: format!(
            "Synthetic ward: {} made-up patients, seed {}. No score below says anything about a \
             person.",
            args.patients, args.seed
        ),
        demo: true,
        serve: !args.no_serve,
        detect: false,
    };
    replay_into(&args.out, recording, config, args.json)
}

/// Whether a demo made this directory, so that its stays are synthetic.
pub fn made(out: &Path) -> bool {
    out.join(MARKER).exists()
}

/// Makes an empty directory, taking away what an earlier demo left and nothing else.
fn clear(out: &Path) -> Result<()> {
    let occupied = out.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !made(out) {
        bail!("{} is not empty and no demo made it; choose another --out", out.display());
    }
    if occupied {
        std::fs::remove_dir_all(out).with_context(|| format!("cannot clear {}", out.display()))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let marker = out.join(MARKER);
    std::fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
}
