//! `nowcxr policy`: what other settings of the alert policy would have made of a run's scores.
//!
//! It reads the risk events, admissions and labels of a run's log and judges every policy of a
//! grid with the engine's own code. Recall and burden are of the stays that were read: a policy
//! chosen on them must be tried on others before anyone relies on it.

mod plot;
mod sweep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::embedded::Home;
use super::settings::ConfigArgs;
use crate::config::{AlertPolicy, Config};
use crate::event::dictionary::Dictionary;
use crate::event::risk::{Doubt, RiskEvent};
use crate::event::{FactBody, StayEvent};
use crate::ids::{StayId, Topic};
use crate::ports::OutputKind;
use crate::time::{EventTime, Span};
use crate::transport::local::{LocalLog, outputs};
use crate::wire::{Codec, Decoded, LabelEvent};
use sweep::{Course, Judged};

/// Swept if nothing else is asked for.
const TAUS: [f32; 14] = [0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
const PERSISTS: [usize; 3] = [1, 2, 3];
const REFRACTORY_HOURS: [i64; 4] = [4, 8, 12, 24];

#[derive(Args)]
pub struct PolicyArgs {
    /// The directory of a demo or a replay.
    #[arg(long, default_value = "nowcxr-demo")]
    run: PathBuf,
    /// Where policy.{csv,json,svg,toml} go.
    #[arg(long, default_value = "nowcxr-policy")]
    out: PathBuf,
    /// The most alerts of risk per patient-day; without it alerts.budget.
    #[arg(long, value_name = "ALERTS")]
    burden: Option<f64>,
    /// Thresholds to try, 0 to 1.
    #[arg(long, value_delimiter = ',', default_values_t = TAUS)]
    tau_on: Vec<f32>,
    /// Numbers of predictions in a row to try.
    #[arg(long, value_delimiter = ',', default_values_t = PERSISTS)]
    persist: Vec<usize>,
    /// Refractory times to try, in hours.
    #[arg(long, value_delimiter = ',', default_values_t = REFRACTORY_HOURS)]
    refractory: Vec<i64>,
}

/// What is known of one stay besides its scores.
#[derive(Default)]
struct Known {
    admitted_at: Option<EventTime>,
    /// Whether the patient died in hospital, and when that was known.
    label: Option<(bool, EventTime)>,
}

pub fn run(args: &PolicyArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let policies = grid(args, &config.engine.alerts)?;
    let limit = args.burden.unwrap_or(config.engine.alerts.budget);
    let log = LocalLog::open_read_only(Home::new(&args.run).log()).with_context(|| {
        format!("{} holds no log; name the directory of a run with --run", args.run.display())
    })?;
    let courses = courses(&log, &config)?;
    let about = about(&args.run, &courses);
    let judged: Vec<Judged> =
        policies.into_iter().map(|policy| sweep::judge(policy, &courses, &config.engine)).collect();
    let chosen = sweep::choose(&judged, limit);
    write(&args.out, &judged, chosen, limit, &about)?;
    super::print(&page(&judged, chosen, limit, &about, &args.out))?;
    Ok(ExitCode::SUCCESS)
}

fn grid(args: &PolicyArgs, base: &AlertPolicy) -> Result<Vec<AlertPolicy>> {
    if args.tau_on.iter().any(|tau| !(0.0..=1.0).contains(tau)) {
        bail!("--tau-on holds something that is not from 0 to 1");
    }
    if args.persist.iter().any(|n| !(1..=crate::config::PERSIST_MAX).contains(n)) {
        bail!("--persist holds something that is not from 1 to {}", crate::config::PERSIST_MAX);
    }
    if args.refractory.iter().any(|hours| !(0..=24 * 90).contains(hours)) {
        bail!("--refractory holds something that is not from 0 to 2160 hours");
    }
    let mut policies = Vec::new();
    for &persist in &args.persist {
        for &hours in &args.refractory {
            for &tau_on in &args.tau_on {
                let refractory = Span::hours(hours);
                policies.push(AlertPolicy { tau_on, persist, refractory, ..base.clone() });
            }
        }
    }
    Ok(policies)
}

/// The scored stays of the log with what is known of them.
fn courses(log: &LocalLog, config: &Config) -> Result<Vec<Course>> {
    let codec = Codec::new(&config.engine.feeds, Dictionary::builtin(config.profile)?)?;
    let mut known: BTreeMap<StayId, Known> = BTreeMap::new();
    read(log, Topic::Stay.name(), |key, value| {
        if let Ok(Decoded::Fact(fact)) = codec.decode_input(Topic::Stay, key, value)
            && let FactBody::Stay(StayEvent::Admitted(_)) = fact.body
        {
            known.entry(fact.stay).or_default().admitted_at = Some(fact.observed_at);
        }
        Ok(())
    })?;
    read(log, "label", |_, value| {
        let label: LabelEvent = codec.decode(value).map_err(|why| anyhow!("{why}"))?;
        if let Some(died) = label.mortality {
            known.entry(label.stay_id).or_default().label = Some((died, label.at));
        }
        Ok(())
    })?;
    let mut events: BTreeMap<StayId, Vec<RiskEvent>> = BTreeMap::new();
    for stored in outputs(log, OutputKind::Risk, 0)? {
        let event = codec.decode_risk(&stored?.payload).map_err(|why| anyhow!("{why}"))?;
        events.entry(event.stay).or_default().push(event);
    }
    let course = |(stay, events): (StayId, Vec<RiskEvent>)| {
        let Known { admitted_at, label } = known.remove(&stay).unwrap_or_default();
        let admitted_at = admitted_at.or_else(|| events.first().map(|event| event.t))?;
        Some(Course { admitted_at, label, events })
    };
    let courses: Vec<Course> = events.into_iter().filter_map(course).collect();
    if courses.is_empty() {
        bail!("the run has no risk events; finish it first");
    }
    Ok(courses)
}

/// Every record of partition 0 of a topic; none where the log has no such topic.
fn read(
    log: &LocalLog,
    topic: &str,
    mut take: impl FnMut(Option<&[u8]>, &[u8]) -> Result<()>,
) -> Result<()> {
    if !log.list()?.iter().any(|(name, number)| name == topic && *number == 0) {
        return Ok(());
    }
    let partition = log.partition(topic, 0)?;
    if partition.end() == partition.start() {
        return Ok(());
    }
    let mut reader = partition.reader(partition.start())?;
    while let Some(record) = reader.read()? {
        take(record.key.as_deref(), &record.value)?;
    }
    Ok(())
}

/// What the scores are; it stands on every output.
fn about(run: &Path, courses: &[Course]) -> String {
    let mut text = String::from("Research use only; a policy must be tried on other stays.");
    if super::demo::made(run) {
        text.push_str(" SYNTHETIC stays: no figure says anything about a person.");
    }
    let synthetic = |event: &RiskEvent| event.validity.contains(&Doubt::SyntheticTraining);
    if courses.iter().flat_map(|course| &course.events).any(synthetic) {
        text.push_str(" The model was trained on SYNTHETIC patients.");
    }
    text
}

fn write(
    dir: &Path,
    judged: &[Judged],
    chosen: Option<&Judged>,
    limit: f64,
    about: &str,
) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let rows: Vec<_> = judged.iter().map(Judged::row).collect();
    let whole = json!({
        "about": about,
        "burden_limit": limit,
        "chosen": chosen.map(Judged::row),
        "policies": rows,
    });
    put("policy.json", format!("{}\n", serde_json::to_string_pretty(&whole)?))?;
    put("policy.csv", sweep::csv(judged, about))?;
    put("policy.svg", plot::svg(judged, chosen, limit, about))?;
    match chosen {
        Some(chosen) => put("policy.toml", chosen.toml(limit, about)),
        None => Ok(()),
    }
}

fn page(judged: &[Judged], chosen: Option<&Judged>, limit: f64, about: &str, out: &Path) -> String {
    let mut text = format!("{about}\n\n  {} policies", judged.len());
    if let Some(any) = judged.first() {
        text.push_str(&format!(
            ", {} stays, {:.1} patient-days, {} labelled deaths\n",
            any.stays, any.patient_days, any.deaths
        ));
    }
    text.push_str(&format!("  at most {limit} alerts of risk per patient-day: "));
    match chosen {
        Some(chosen) => text.push_str(&format!("{chosen}\n")),
        None => text.push_str("no policy keeps to that; raise --burden or the thresholds\n"),
    }
    text.push_str(&format!("\n  outputs in {}: policy.csv .json .svg", out.display()));
    if chosen.is_some() {
        text.push_str(" .toml");
    }
    text
}
