//! `nowcxr edge`: listens to a hospital's systems, and writes what they say to the input topics.

mod fhir;
mod hl7;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::runtime::Runtime;

use super::embedded::Home;
use super::print;
use super::replay::To;
use super::serving::Http;
use super::settings::ConfigArgs;
use crate::config::{Config, HashKey};
use crate::edge::{Counters, KafkaTopics, LocalSink};
use crate::http::Health;
use crate::store::sled::{Recovery, SledStore, StoreOptions};
use crate::transport::kafka::KafkaSettings;
use crate::transport::local::{LocalLog, LogOptions};

/// Threads that read and write connections; the desk has one of its own.
const THREADS: usize = 2;

#[derive(Subcommand)]
pub enum EdgeCommand {
    /// HL7 v2.3 to 2.8 over MLLP: ORU^R01 and ADT A01-A04, A08, A11-A13, A17, A40.
    ///
    /// Each message is acknowledged (AA, AE, AR; CA, CE, CR in the enhanced mode) once what
    /// follows from it is durable; without an answer, the sender sends it again. What cannot be
    /// used becomes a dead letter with its reason. Numbers of patients and visits become keyed
    /// hashes under edge.secret, and names are not read. Set edge.units to the intensive care
    /// units, and edge.codes to the local codes.
    Hl7(ListenArgs),
    /// FHIR R4 over HTTP: Patient, Encounter and Observation by POST and PUT, and Bundles of them.
    ///
    /// The base is /fhir, and /fhir/metadata says what is there. Each request is answered once what
    /// follows from it is durable; a 503 says to send it again. What cannot be used becomes a dead
    /// letter with its reason, and the OperationOutcome says which. Ids and identifiers become
    /// keyed hashes under edge.secret, and names are not read. Set edge.units to the intensive care
    /// units as Encounter.location names them, and edge.codes to the local codes.
    ///
    /// With http.tokens senders need the role admin; without, the service is open to this machine
    /// only. Windows close while something comes: a sender with nothing to say sends a Bundle of
    /// the type batch without entries within edge.lateness.
    Fhir(fhir::FhirArgs),
}

#[derive(Args)]
pub struct ListenArgs {
    /// Where to listen, instead of edge.hl7_listen or edge.fhir_listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// `kafka` writes the input topics named by [kafka]; `local` those of the log in --out.
    #[arg(long, value_enum, default_value_t = To::Kafka)]
    to: To,
    /// With --to local, the directory of the log, and of the edge's state.
    #[arg(long, default_value = "nowcxr-edge")]
    out: PathBuf,
    /// Print the address and, at the end, the counts as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(command: &EdgeCommand, settings: &ConfigArgs) -> Result<ExitCode> {
    match command {
        EdgeCommand::Hl7(args) => hl7::run(args, settings),
        EdgeCommand::Fhir(args) => fhir::run(args, settings),
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

/// The topics of Kafka, and the state in `dir`.
fn on_kafka(config: &Config, dir: &Path) -> Result<(SledStore, KafkaTopics)> {
    let sink = KafkaTopics::open(&KafkaSettings::from(&config.kafka))?;
    Ok((store(config, dir)?, sink))
}

/// The topics of a local log in `out`, and the state in `name` beside it.
fn on_log(config: &Config, out: &Path, name: &str) -> Result<(SledStore, LocalSink)> {
    let home = Home::new(out);
    let options = LogOptions { segment_bytes: config.local.segment_bytes };
    let log = LocalLog::open(home.log(), options).context("the log cannot be opened")?;
    let sink = LocalSink::open(&log, config.local.retention)?;
    Ok((store(config, &home.dir().join(name))?, sink))
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

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("edge")
        .enable_all()
        .build()
        .context("no runtime for the edge")
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
