//! `nowcxr edge fhir`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use axum::Router;
use axum::http::StatusCode;
use clap::Args;
use serde_json::json;

use super::{ListenArgs, metrics, on_kafka, on_log, runtime, secret, tell};
use crate::cli::replay::To;
use crate::cli::serve::over_log;
use crate::cli::serving::access;
use crate::cli::settings::ConfigArgs;
use crate::cli::{now, print, stop_on_signal};
use crate::config::Config;
use crate::edge::fhir::Parcel;
use crate::edge::{self, Counter, Desk, Language, Sink};
use crate::http::dashboard::Dashboard;
use crate::http::fhir::receive::{DURABLE, MAX_WAITING, Receiver, routes};
use crate::http::fhir::{BASE, Offer, answer, metadata};
use crate::http::{Health, Server};
use crate::store::sled::SledStore;

/// How often a person's wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct FhirArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Serve RiskAssessment, Provenance, AuditEvent and CDS Hooks over the directory of a run, as
    /// `nowcxr serve` does. Looks at stays go to http.audit.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

pub fn run(args: &FhirArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let config = settings.load()?;
    let secret = secret(&config)?;
    let run = args.run.as_deref();
    let args = &args.listen;
    let Some(address) = args.listen.or(config.edge.fhir_listen) else {
        bail!("edge.fhir_listen is off; name an address with --listen 127.0.0.1:8090");
    };
    let stop = stop_on_signal()?;
    // The half that serves.
    let dashboard = run.map(|run| over_log(&config, run)).transpose()?.map(|(pages, _)| pages);
    let (routes, counter) = service(address, &config, dashboard.as_ref())?;
    let language = Language::Fhir;
    match args.to {
        To::Kafka => {
            // Of its own: an HL7 edge beside it has another.
            let mut dir = config.edge.dir.clone().into_os_string();
            dir.push("-fhir");
            let (store, sink) = on_kafka(&config, dir.as_ref())?;
            let desk = edge::open(language, &config, secret, store, sink)?;
            serve(args.json, address, (routes, counter), &config, desk, &stop)
        }
        To::Local => {
            let (store, sink) = on_log(&config, &args.out, "edge-fhir")?;
            let desk = edge::open(language, &config, secret, store, sink)?;
            serve(args.json, address, (routes, counter), &config, desk, &stop)
        }
    }
}

/// All routes, and the queue to the desk behind them.
fn service(
    address: SocketAddr,
    config: &Config,
    dashboard: Option<&Dashboard>,
) -> Result<(Router, Counter<Parcel>)> {
    let access = access(config)?;
    if access.is_open() && !address.ip().is_loopback() {
        bail!(
            "without http.tokens the service is open, so it is for loopback only; set http.tokens"
        );
    }
    let (hatch, counter) = edge::counter(MAX_WAITING);
    let served = dashboard.map(Dashboard::offer).unwrap_or_default();
    let routes = routes(Receiver { hatch, access, patience: DURABLE })
        .merge(metadata(Offer { takes: true, ..served }))
        .merge(dashboard.map(Dashboard::services).unwrap_or_default())
        .method_not_allowed_fallback(|| async {
            let text = "this is not done here; see [base]/metadata";
            answer::failed(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
        })
        .fallback(|| async {
            let text = format!("there is nothing here; the base is {BASE}");
            answer::failed(StatusCode::NOT_FOUND, "not-found", &text)
        });
    Ok((routes, counter))
}

/// Listens until a person says stop.
fn serve(
    json: bool,
    address: SocketAddr,
    (routes, counter): (Router, Counter<Parcel>),
    config: &Config,
    mut desk: Desk<SledStore, impl Sink>,
    stop: &Arc<AtomicBool>,
) -> Result<ExitCode> {
    let runtime = runtime()?;
    let server = runtime.block_on(Server::bind(address, routes, Arc::new(Health::new())))?;
    let address = server.address();
    print(&match json {
        true => json!({ "fhir": format!("http://{address}{BASE}") }).to_string(),
        false => format!("listening for FHIR R4 on http://{address}{BASE} (Ctrl-C ends it)"),
    })?;
    let http = metrics(config);
    let served = thread::scope(|scope| {
        let stopped = Arc::clone(stop);
        let listening = scope.spawn(move || {
            let told = async move {
                while !stopped.load(Ordering::Acquire) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            // What the server leaves open goes with its runtime, and the desk's queue with that.
            runtime.block_on(server.run(told))
        });
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
