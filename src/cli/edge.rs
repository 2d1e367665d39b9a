//! `nowcxr edge`: listens to a hospital's systems, and writes what they say to the input topics.

mod addresses;
mod listeners;
mod services;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use self::addresses::{Addresses, ListenArgs};
use self::listeners::Listeners;
use super::embedded::Home;
use super::replay::To;
use super::serve::over_log;
use super::serving::Http;
use super::settings::{ConfigArgs, node};
use super::{now, print, stop_on_signal};
use crate::config::{Config, HashKey};
use crate::edge::{self, Counters, Desk, KafkaTopics, LocalSink, Sink};
use crate::http::Health;
use crate::http::audit::{AuditLog, merge_event};
use crate::http::dashboard::Dashboard;
use crate::ports::PortError;
use crate::store::sled::{Recovery, SledStore, StoreOptions};
use crate::transport::kafka::KafkaSettings;
use crate::transport::local::{LocalLog, LogOptions};

#[derive(Args)]
pub struct EdgeArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// `kafka` writes the input topics named by [kafka]; `local` those of the log in --out.
    #[arg(long, value_enum, default_value_t = To::Kafka)]
    to: To,
    /// With --to local, the directory of the log, and of the edge's state. Merges of patients are
    /// written down beside the state, in edge-audit.jsonl; see nowcxr audit.
    #[arg(long, default_value = "nowcxr-edge")]
    out: PathBuf,
    /// Beside FHIR, serve RiskAssessment, Provenance, AuditEvent and CDS Hooks over the directory
    /// of a run, as `nowcxr serve` does. Looks at stays go to http.audit.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Print the addresses and, at the end, the counts as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EdgeArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let secret = secret(&config)?;
    let at = Addresses::of(&args.listen, &config)?;
    if args.run.is_some() && at.fhir.is_none() {
        bail!("--run serves beside FHIR; name an address with --fhir 127.0.0.1:8090");
    }
    let stop = stop_on_signal()?;
    let pages = args.run.as_deref().map(|run| over_log(&config, run, None)).transpose()?;
    let pages = pages.map(|(pages, _)| pages);
    let languages = at.languages(&config);
    match args.to {
        To::Kafka => {
            let sink = KafkaTopics::open(&KafkaSettings::from(&config.kafka))?;
            let store = store(&config, &config.edge.dir)?;
            let desk = edge::open(&languages, &config, secret, store, sink)?;
            let desk = witnessed(desk, &config, &config.edge.dir)?;
            serve(args.json, &at, &config, pages.as_ref(), desk, &stop)
        }
        To::Local => {
            let home = Home::new(&args.out);
            let options = LogOptions { segment_bytes: config.local.segment_bytes };
            let log = LocalLog::open(home.log(), options).context("the log cannot be opened")?;
            let sink = LocalSink::open(&log, config.local.retention)?;
            let dir = home.dir().join("edge");
            let desk = edge::open(&languages, &config, secret, store(&config, &dir)?, sink)?;
            let desk = witnessed(desk, &config, &dir)?;
            serve(args.json, &at, &config, pages.as_ref(), desk, &stop)
        }
    }
}

fn secret(config: &Config) -> Result<&HashKey> {
    let Some(secret) = &config.edge.secret else {
        bail!(
            "edge.secret is empty: set NOWCXR_EDGE__SECRET to random characters, for instance \
             those of `openssl rand -hex 32`, and keep them; stay ids are made with them"
        );
    };
    Ok(secret)
}

fn store(config: &Config, dir: &Path) -> Result<SledStore> {
    let options = StoreOptions { cache_bytes: config.store.cache_bytes, ..StoreOptions::default() };
    let (store, recovery) =
        SledStore::open(dir, &options).context("the state of the edge cannot be opened")?;
    if let Recovery::MovedAside { to, why } = recovery {
        let to = to.display();
        tracing::error!(
            "the state of the edge was damaged ({why}) and lies in {to} now: let the senders send \
             the present patients once more, and what they sent since the last backup"
        );
    }
    Ok(store)
}

/// Has merges of patients written down beside the state in `dir`.
fn witnessed<K: Sink>(
    desk: Desk<SledStore, K>,
    config: &Config,
    dir: &Path,
) -> Result<Desk<SledStore, K>> {
    let mut path = dir.as_os_str().to_owned();
    path.push("-audit.jsonl");
    let log = AuditLog::open(Path::new(&path))
        .context("merges of patients are written down beside the edge's state")?;
    let node = node(config);
    Ok(desk.witnessed(Box::new(move |merge, at| {
        let written = log.add(merge_event(merge, at, &node));
        written.map_err(|error| PortError::Stop(error.to_string()))
    })))
}

/// Listens until a person says stop.
fn serve(
    json: bool,
    at: &Addresses,
    config: &Config,
    pages: Option<&Dashboard>,
    mut desk: Desk<SledStore, impl Sink>,
    stop: &Arc<AtomicBool>,
) -> Result<ExitCode> {
    let (hatches, counter) = edge::counter();
    let listeners = Listeners::bind(at, config, pages, hatches)?;
    print(&listeners.announced(json)?)?;
    let http = metrics(config);
    let served = thread::scope(|scope| {
        let stopped = Arc::clone(stop);
        let listening = scope.spawn(move || listeners.serve(stopped));
        let served = counter.run(&mut desk, now, stop);
        // If the desk has failed, nobody can be answered any more.
        stop.store(true, Ordering::Release);
        listening.join().map_err(|_| anyhow!("the listener panicked"))??;
        Ok::<_, anyhow::Error>(served?)
    });
    if let Some(http) = http {
        http.stop()?;
    }
    served?;
    tell(json, desk.counts())?;
    Ok(ExitCode::SUCCESS)
}

/// Metrics; an edge has no model and no task to wait for.
fn metrics(config: &Config) -> Option<Http> {
    let health = Arc::new(Health::new());
    let http = Http::start_if_free(config.http, &health, None);
    health.model_loaded();
    health.tasks_assigned(1);
    health.task_reading();
    http
}

/// What the edge has done.
fn tell(json: bool, counts: &Counters) -> Result<()> {
    match json {
        true => {
            print(&json!({ "messages": counts.messages, "records": counts.records }).to_string())
        }
        false => Ok(()),
    }
}
