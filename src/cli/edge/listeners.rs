//! All listeners of an edge, on one runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::addresses::Addresses;
use super::services;
use crate::config::Config;
use crate::edge::dicom::{Intake, scp};
use crate::edge::hl7::server as mllp;
use crate::edge::{Guard, Hatches, Language};
use crate::http::dashboard::Dashboard;
use crate::http::{Health, Server, dicomweb, fhir};

/// Threads that read and write connections; the desk has one of its own.
const THREADS: usize = 2;
/// How often a person's wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Listeners that have their addresses.
pub struct Listeners {
    runtime: Runtime,
    hl7: Option<mllp::Listener>,
    dicom: Option<scp::Scp>,
    http: Vec<Server>,
    /// What each is called, and where it is.
    announced: Vec<(&'static str, String)>,
}

impl Listeners {
    /// Takes the addresses. Hatches of languages that nobody listens to are dropped, which tells
    /// the desk not to wait for them.
    pub fn bind(
        at: &Addresses,
        config: &Config,
        pages: Option<&Dashboard>,
        hatches: Hatches,
    ) -> Result<Self> {
        let runtime = runtime()?;
        let guard = Guard::open(config.edge.tls.as_ref())?;
        let mut bound =
            Listeners { runtime, hl7: None, dicom: None, http: Vec::new(), announced: Vec::new() };
        if let Some(address) = at.hl7 {
            let listener = bound.runtime.block_on(mllp::bind(address, hatches.hl7));
            let listener = listener.with_context(|| cannot(address, "edge.hl7_listen"))?;
            bound.announce(Language::Hl7.name(), listener.address()?.to_string());
            bound.hl7 = Some(listener.behind(guard.clone()));
        }
        let intake = Intake::new(hatches.dicom);
        if let Some(address) = at.fhir {
            let routes = services::fhir(address, config, pages, hatches.fhir, &intake)?;
            bound.http(Language::Fhir.name(), fhir::BASE, address, routes)?;
        }
        if let Some(address) = at.dicom {
            let title = &config.edge.ae_title;
            let scp = bound.runtime.block_on(scp::bind(address, title, intake.clone()));
            let scp = scp.with_context(|| cannot(address, "edge.dicom_listen"))?;
            bound.announce(Language::Dicom.name(), format!("{title}@{}", scp.address()?));
            bound.dicom = Some(scp.behind(guard));
        }
        if let Some(address) = at.dicomweb {
            let routes = services::dicomweb(address, config, intake)?;
            bound.http("dicomweb", dicomweb::BASE, address, routes)?;
        }
        Ok(bound)
    }

    fn http(
        &mut self,
        name: &'static str,
        base: &str,
        address: SocketAddr,
        routes: Router,
    ) -> Result<()> {
        let server = Server::bind(address, routes, Arc::new(Health::new()));
        let server = self.runtime.block_on(server)?;
        self.announce(name, format!("http://{}{base}", server.address()));
        self.http.push(server);
        Ok(())
    }

    fn announce(&mut self, name: &'static str, place: String) {
        self.announced.push((name, place));
    }

    /// The addresses, as a line of JSON or for a person.
    pub fn announced(&self, json: bool) -> Result<String> {
        if json {
            let all = self.announced.iter();
            let all = all.map(|(name, place)| ((*name).to_owned(), Value::from(place.as_str())));
            return Ok(serde_json::to_string(&all.collect::<Map<_, _>>())?);
        }
        let line = |(name, place): &(&str, String)| format!("  {name:<9} {place}\n");
        let lines: String = self.announced.iter().map(line).collect();
        Ok(format!("listening (Ctrl-C ends it)\n{}", lines.trim_end()))
    }

    /// Serves until `stop`, then lets go of everybody.
    pub fn serve(self, stop: Arc<AtomicBool>) -> Result<()> {
        let Listeners { runtime, hl7, dicom, http, .. } = self;
        let mut servers = tokio::task::JoinSet::new();
        for server in http {
            let stop = Arc::clone(&stop);
            let told = async move {
                while !stop.load(Ordering::Acquire) {
                    tokio::time::sleep(LOOK).await;
                }
            };
            servers.spawn_on(server.run(told), runtime.handle());
        }
        let hear_hl7 = async {
            if let Some(listener) = hl7 {
                listener.serve(&stop).await;
            }
        };
        let hear_dicom = async {
            if let Some(scp) = dicom {
                scp.serve(&stop).await;
            }
        };
        // What a server leaves open goes with the runtime, and the desk's queue with that.
        let serve_http = async {
            while let Some(ended) = servers.join_next().await {
                ended.context("a server panicked")??;
            }
            Ok(())
        };
        let served = runtime.block_on(async { tokio::join!(hear_hl7, hear_dicom, serve_http).2 });
        // A film that is still being fetched is not waited for.
        runtime.shutdown_background();
        served
    }
}

fn cannot(address: SocketAddr, key: &str) -> String {
    format!("cannot listen on {address}; see {key}")
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("edge")
        .enable_all()
        .build()
        .context("no runtime for the edge")
}
