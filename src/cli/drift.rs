//! `nowcxr drift`: whether a run's windows still look like those of an earlier one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::embedded::Home;
use super::evaluate::write;
use super::held::Held;
use super::settings::ConfigArgs;
use super::{demo, print};
use crate::config::Config;
use crate::evaluate::drift::{
    Comparison, InTheLarge, Profile, STAYS_LEAST, Seen, Values, Verdict, profile, seen, values_of,
};
use crate::evaluate::{
    Counts, EvaluateOptions, Labels, Provenance, Sample, read_events, samples, told_by,
};
use crate::event::dictionary::Dictionary;
use crate::transport::local::LocalLog;
use crate::wire::{Codec, RiskRecord};

/// Exit code of a comparison that found much drift.
const DRIFTED: u8 = 3;

#[derive(Subcommand)]
pub enum DriftCommand {
    /// Makes the profile that later runs are compared with.
    Profile(ProfileArgs),
    /// Compares a run with a profile.
    ///
    /// A population stability index (PSI) below 0.1 is called stable, to 0.25 some drift, above
    /// that much. Every stay weighs the same. Beside each PSI stands what so few stays give by
    /// chance; a PSI that chance explains is not called drift, and with fewer than 20 stays on
    /// either side nothing is claimed. Exit codes: 0 no large drift, or none that could be judged;
    /// 3 much drift; 1 error.
    Compare(CompareArgs),
}

#[derive(Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    of: RunArgs,
    /// Where the profile goes.
    #[arg(long, value_name = "FILE", default_value = "profile.json")]
    out: PathBuf,
}

#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    of: RunArgs,
    /// What `nowcxr drift profile` wrote.
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Print everything as JSON, with the shares of every bin.
    #[arg(long)]
    json: bool,
}

/// Which run, and what is known of it.
#[derive(Args)]
struct RunArgs {
    /// Directory that `nowcxr replay` or `nowcxr demo` wrote. Values of variables are read from
    /// its log; without one they are left out.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// MIMIC-IV directory with the outcomes, for calibration; the demo's own ward if not given,
    /// and none where there is none.
    #[arg(long, value_name = "DIR")]
    labels: Option<PathBuf>,
    /// Resamples of the patients for the interval of calibration.
    #[arg(long, default_value_t = 200)]
    replicates: usize,
    /// Of the resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A run as drift looks at it.
pub(super) struct Watched {
    pub events: Vec<RiskRecord>,
    pub windows: Vec<Seen>,
    /// Empty where outcomes are not known.
    pub samples: Vec<Sample>,
    pub counts: Counts,
    pub provenance: Provenance,
}

pub fn run(command: &DriftCommand, settings: &ConfigArgs) -> Result<ExitCode> {
    match command {
        DriftCommand::Profile(args) => make(args, &settings.load()?),
        DriftCommand::Compare(args) => compare(args, &settings.load()?),
    }
}

fn make(args: &ProfileArgs, config: &Config) -> Result<ExitCode> {
    let watched = args.of.read(config)?;
    let dictionary = Dictionary::builtin(config.profile)?;
    let variables: Vec<String> = dictionary.variables().iter().map(|v| v.code.clone()).collect();
    let Watched { windows, samples, provenance, .. } = &watched;
    let made = profile(windows, &variables, samples, provenance, args.of.options())?;
    let text = format!("{}\n", serde_json::to_string_pretty(&made)?);
    write(&args.out, text.as_bytes())?;
    let mut told = made.made.warnings.join("\n");
    told += &format!(
        "\n{} measures of {} windows of {} stays in {}",
        made.measures.len(),
        made.made.windows,
        made.made.stays,
        args.out.display()
    );
    if made.made.stays < STAYS_LEAST {
        told += &format!("\nno PSI will be claimed: that needs {STAYS_LEAST} stays");
    }
    print(told.trim_start())?;
    Ok(ExitCode::SUCCESS)
}

fn compare(args: &CompareArgs, config: &Config) -> Result<ExitCode> {
    let profile = Profile::read(&args.profile)?;
    let Watched { windows, samples, provenance, .. } = args.of.read(config)?;
    let compared = profile.compare(&windows, &samples, &provenance, args.of.options())?;
    print(&if args.json { serde_json::to_string_pretty(&compared)? } else { told(&compared) })?;
    Ok(if compared.drifted { ExitCode::from(DRIFTED) } else { ExitCode::SUCCESS })
}

impl RunArgs {
    fn options(&self) -> EvaluateOptions {
        EvaluateOptions { replicates: self.replicates, seed: self.seed }
    }

    fn read(&self, config: &Config) -> Result<Watched> {
        Watched::read(&self.run, self.labels.as_deref(), config)
    }
}

impl Watched {
    /// `labels` as given; without them the outcomes of the demo's own ward, or none.
    pub fn read(run: &Path, labels: Option<&Path>, config: &Config) -> Result<Self> {
        let events = read_events(&run.join("risk.jsonl"))?;
        let windows = seen(&events, &values(run, config)?)?;
        let own = run.join("ward/mimiciv");
        let dir = labels.or_else(|| own.is_dir().then_some(own.as_path()));
        let (samples, counts, mut provenance) = match dir {
            Some(dir) => samples(&events, &Labels::read(dir)?),
            None => (Vec::new(), Counts::default(), told_by(&events)),
        };
        provenance.synthetic |= demo::made(run);
        let held = Held::read(run)?;
        provenance.simulated_pairing = held.is_some_and(|held| held.simulated_pairing());
        Ok(Watched { events, windows, samples, counts, provenance })
    }
}

/// What the views of the run's log say; nothing where there is no log.
fn values(run: &Path, config: &Config) -> Result<Values> {
    let home = Home::new(run).log();
    if !home.is_dir() {
        return Ok(Values::new());
    }
    let log = LocalLog::open_read_only(&home)
        .with_context(|| format!("{} cannot be read", home.display()))?;
    let codec = Codec::new(&config.engine.feeds, Dictionary::builtin(config.profile)?)?;
    Ok(values_of(&log, &codec)?)
}

/// The comparison for a terminal.
fn told(compared: &Comparison) -> String {
    let mut text = compared.run.warnings.join("\n");
    for (what, side) in [("profile", &compared.reference), ("run", &compared.run)] {
        text += &format!(
            "\n  {what:8} {} windows of {} stays, mean risk {:.1} %, model {}",
            side.windows,
            side.stays,
            side.mean_score * 1e2,
            side.model
        );
    }
    text += &format!(
        "\n\n  {:<39}{:>7} {:>10}  {:<14}{:>11}  most changed\n",
        "measure", "PSI", "by chance", "verdict", "stays"
    );
    for one in compared.found.iter().filter(|one| !one.is_quiet()) {
        let number = |n: Option<f64>| n.map_or("n/a".to_owned(), |n| format!("{n:.3}"));
        text += &format!(
            "  {:<39}{:>7} {:>10}  {:<14}{:>5}/{:<5}  {}\n",
            one.name(),
            number(one.psi),
            number(one.by_chance),
            one.verdict.name(),
            one.stays[0],
            one.stays[1],
            one.most_changed()
        );
    }
    for verdict in [Verdict::Stable, Verdict::ByChance] {
        let n = compared.found.iter().filter(|one| one.verdict == verdict).count();
        text += &format!("  {n} measures {}\n", verdict.name());
    }
    for (what, side) in
        [("profile", compared.calibration_reference), ("run", compared.calibration_run)]
    {
        text += &format!("\n  calibration in the large, {what:8} {}", told_of(side));
    }
    compared.left_out.iter().for_each(|what| text += &format!("\n  not compared: {what}"));
    text += &format!("\n\n  {}", compared.verdict());
    text.trim_start_matches('\n').to_owned()
}

fn told_of(calibration: Option<InTheLarge>) -> String {
    calibration.map_or_else(
        || "not known: it needs outcomes of both kinds".to_owned(),
        |calibration| format!("{calibration}; 0 is right"),
    )
}
