//! `nowcxr report`: what a run amounts to, for people who decide about it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::drift::Watched;
use super::evaluate::write;
use super::exports::newest;
use super::print;
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::evaluate::drift::{Comparison, Profile};
use crate::evaluate::trial::{Envelope, SilentTrial, TrialInput, silent_trial, trial_page};
use crate::evaluate::{EvaluateOptions, Evaluation, evaluate, read_lines};
use crate::event::risk::RiskEvent;
use crate::replay::Reconciliation;
use crate::wire::AlertRecord;

#[derive(Args)]
pub struct ReportArgs {
    /// The report of a silent trial for a site's committee: what ran unseen, what the alert policy
    /// would have said, data quality, freshness, scores, figures where outcomes are known, drift
    /// against a profile, what cannot be concluded, and TRIPOD+AI item by item. One file without a
    /// request to anywhere.
    #[arg(long, required = true)]
    silent_trial: bool,
    /// Directory that `nowcxr replay` or `nowcxr demo` wrote.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// MIMIC-IV directory with the outcomes; the demo's own ward if not given, and none where
    /// there is none.
    #[arg(long, value_name = "DIR")]
    labels: Option<PathBuf>,
    /// What `nowcxr drift profile` wrote, to compare the run with.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Resamples of the patients for each interval.
    #[arg(long, default_value_t = 1_000)]
    replicates: usize,
    /// Of the resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print everything that was counted as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ReportArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let trial = read(args, &config)?;
    let name = args.run.file_name();
    let title = name.map_or_else(|| args.run.display().to_string(), |n| n.to_string_lossy().into());
    write(&args.out, trial_page(&trial, &title).as_bytes())?;
    let text = if args.json { serde_json::to_string_pretty(&trial)? } else { told(&trial, args) };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn read(args: &ReportArgs, config: &Config) -> Result<SilentTrial> {
    let options = EvaluateOptions { replicates: args.replicates, seed: args.seed };
    let watched = Watched::read(&args.run, args.labels.as_deref(), config)?;
    let events: Vec<RiskEvent> = watched
        .events
        .iter()
        .map(|record| RiskEvent::try_from(record.clone()))
        .collect::<Result<_, _>>()
        .map_err(|why| anyhow::anyhow!("risk.jsonl: {why}"))?;
    let digest = events.first().map(|event| config.digest(event.model.digest));
    if events.first().map(|event| event.config_digest) != digest {
        bail!(
            "{} ran under another configuration, so its alert budget is not known; name that one \
             with --config and --set",
            args.run.display()
        );
    }
    let alerts: Vec<AlertRecord> = read_lines(&args.run.join("alerts.jsonl"), "alert")?;
    let envelopes: Vec<Envelope> = read_lines(&args.run.join("envelope.jsonl"), "envelope")?;
    let books = args.run.join("reconciliation.json");
    let text = std::fs::read(&books).with_context(|| format!("cannot read {}", books.display()))?;
    let books: Reconciliation = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged; give the replay again", books.display()))?;
    Ok(silent_trial(TrialInput {
        events: &events,
        alerts: &newest(alerts),
        envelopes: &envelopes,
        books: &books,
        policy: &config.engine.alerts,
        evaluation: outcomes(&watched, options)?,
        drift: drift(args, &watched, options)?,
        provenance: watched.provenance,
    }))
}

/// `None` where no outcome is known.
fn outcomes(watched: &Watched, options: EvaluateOptions) -> Result<Option<Evaluation>> {
    if watched.samples.is_empty() {
        return Ok(None);
    }
    let provenance = watched.provenance.clone();
    Ok(Some(evaluate(&watched.samples, watched.counts, provenance, options)?))
}

fn drift(
    args: &ReportArgs,
    watched: &Watched,
    options: EvaluateOptions,
) -> Result<Option<Comparison>> {
    let Some(path) = &args.profile else { return Ok(None) };
    let profile = Profile::read(path)?;
    let Watched { windows, samples, provenance, .. } = watched;
    Ok(Some(profile.compare(windows, samples, provenance, options)?))
}

fn told(trial: &SilentTrial, args: &ReportArgs) -> String {
    let (ran, alerts) = (&trial.ran, &trial.alerts);
    let mut text = trial.warnings.join("\n");
    let (stays, days) = (ran.stays, ran.patient_days);
    text += &format!("\n\n  {} windows of {stays} stays, {days:.1} patient-days\n", ran.windows);
    text += match trial.was_silent() {
        true => "  nobody was alerted",
        false => "  THIS WAS NO SILENT TRIAL: somebody may have been alerted",
    };
    if let Some(rate) = alerts.per_patient_day {
        text += &format!(
            "; the policy would have told {} alerts of risk, {rate:.2} a patient-day (budget {})",
            alerts.of_risk, alerts.budget
        );
    }
    let known = |is_known: bool| if is_known { "in it" } else { "not known" };
    text += &format!("\n  outcomes: {}", known(trial.evaluation.is_some()));
    let drift = trial.drift.as_ref().map_or("no profile was given", Comparison::verdict);
    text += &format!("\n  drift: {drift}");
    text += &format!("\n\nreport: {}", args.out.display());
    text.trim_start().to_owned()
}
