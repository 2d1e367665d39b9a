//! `nowcxr edge`: listens to a hospital's systems, and writes what they say to the input topics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::embedded::Home;
use super::replay::To;
use super::serving::Http;
use super::settings::ConfigArgs;
use super::{now, print, stop_on_signal};
use crate::config::Config;
use crate::edge::{self, Desk, KafkaTopics, LocalSink, Sink, server};
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
    Hl7(Hl7Args),
}

#[derive(Args)]
pub struct Hl7Args {
    /// Where to listen, instead of edge.hl7_listen; port 0 takes a free one.
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
    let EdgeCommand::Hl7(args) = command;
    let config = settings.load()?;
    let Some(secret) = &config.edge.secret else {
        bail!(
            "edge.secret is empty: set NOWCXR_EDGE__SECRET to random characters, for instance \
             those of `openssl rand -hex 32`, and keep them; stay ids are made with them"
        );
    };
    let Some(address) = args.listen.or(config.edge.hl7_listen) else {
        bail!("edge.hl7_listen is off; name an address with --listen 127.0.0.1:2575");
    };
    let stop = stop_on_signal()?;
    let addresses = (address, config.http);
    match args.to {
        To::Kafka => {
            let sink = KafkaTopics::open(&KafkaSettings::from(&config.kafka))?;
            let store = store(&config, &config.edge.dir)?;
            serve(args.json, addresses, edge::open(&config, secret, store, sink)?, &stop)
        }
        To::Local => {
            let home = Home::new(&args.out);
            let options = LogOptions { segment_bytes: config.local.segment_bytes };
            let log = LocalLog::open(home.log(), options).context("the log cannot be opened")?;
            let sink = LocalSink::open(&log, config.local.retention)?;
            let store = store(&config, &home.dir().join("edge"))?;
            serve(args.json, addresses, edge::open(&config, secret, store, sink)?, &stop)
        }
    }
}

fn store(config: &Config, dir: &Path) -> Result<SledStore> {
    let options = StoreOptions { cache_bytes: config.store.cache_bytes, ..StoreOptions::default() };
    let (store, recovery) =
        SledStore::open(dir, &options).context("the state of the edge cannot be opened")?;
    if let Recovery::MovedAside { to, why } = recovery {
        let to = to.display();
        tracing::error!(
            "the state of the edge was damaged ({why}) and lies in {to} now: let the senders send \
             the present patients (A01 or A08) once more, and what they sent since the last backup"
        );
    }
    Ok(store)
}

/// Listens until a person says stop.
fn serve(
    json: bool,
    (address, http): (SocketAddr, Option<SocketAddr>),
    mut desk: Desk<SledStore, impl Sink>,
    stop: &AtomicBool,
) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("edge")
        .enable_all()
        .build()
        .context("no runtime for the edge")?;
    let (listener, counter) = runtime
        .block_on(server::bind(address))
        .with_context(|| format!("cannot listen on {address}; see edge.hl7_listen"))?;
    let address = listener.address()?;
    print(&match json {
        true => json!({ "hl7": address.to_string() }).to_string(),
        false => format!("listening for HL7 v2 on {address} (Ctrl-C ends it)"),
    })?;
    // Metrics; an edge has no model and no task to wait for.
    let health = Arc::new(Health::new());
    let http = Http::start_if_free(http, &health, None);
    health.model_loaded();
    health.tasks_assigned(1);
    health.task_reading();
    let served = thread::scope(|scope| {
        let listening = scope.spawn(|| runtime.block_on(listener.serve(stop)));
        let served = counter.run(&mut desk, now, stop);
        // If the desk has failed, nobody can be answered any more.
        stop.store(true, Ordering::Release);
        listening.join().map_err(|_| anyhow!("the listener panicked"))?;
        Ok::<_, anyhow::Error>(served?)
    });
    if let Some(http) = http {
        http.stop()?;
    }
    let counts = desk.counts();
    served?;
    if json {
        print(&json!({ "messages": counts.messages, "records": counts.records }).to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
