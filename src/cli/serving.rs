//! Metrics, health and dashboard beside the tasks, on a runtime of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;

use super::settings::node;
use super::told;
use crate::config::Config;
use crate::edge::fhir::Stays;
use crate::event::dictionary::Dictionary;
use crate::http::access::Access;
use crate::http::audit::AuditLog;
use crate::http::dashboard::{Acts, Archive, Dashboard, Feed, Looks, Options, Shared};
use crate::http::{Health, HttpError, Server, routes};
use crate::telemetry::Metrics;
use crate::wire::Codec;

/// How often a process that only serves looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Threads of the server: pages are short work, and the engine needs the cores.
const THREADS: usize = 2;

/// What a dashboard needs to know of what it shows.
pub struct Pages {
    /// What is shown, in a sentence.
    pub provenance: String,
    /// Made-up patients, whom everybody may look at where no tokens are asked for.
    pub synthetic: bool,
    /// Reads the records of the feed.
    pub codec: Codec,
    /// Where answers to alerts go, if anywhere.
    pub acts: Option<Arc<dyn Acts>>,
    /// The report of an evaluation of it.
    pub report: Option<PathBuf>,
}

impl Pages {
    /// Starts to follow `feed`.
    pub fn dashboard(
        self,
        config: &Config,
        feed: impl Feed + 'static,
        archive: impl Archive + 'static,
    ) -> Result<Dashboard> {
        let dictionary = Dictionary::builtin(config.profile)?;
        let looks = self.looks(config)?;
        let shared = Shared::new(self.codec, dictionary);
        let options = Options {
            provenance: self.provenance,
            model: config.predict.model.clone(),
            looks,
            access: access(config)?,
            acts: self.acts,
            stays: stays(config),
            report: self.report,
        };
        Dashboard::start(feed, archive, shared, options).context("no thread for the dashboard")
    }
}

impl Pages {
    /// Where looks at stays are written down, unless they are nobody's secret.
    fn looks(&self, config: &Config) -> Result<Option<Looks>> {
        if self.synthetic && config.access.tokens.is_none() {
            return Ok(None);
        }
        let log = AuditLog::open(&config.access.audit)?;
        Ok(Some(Looks { log, node: node(config) }))
    }
}

/// Who may look: those of `http.tokens`, else everybody on this machine.
pub fn access(config: &Config) -> Result<Access> {
    match &config.access.tokens {
        Some(file) => Access::tokens(file).context("http.tokens lets nobody in"),
        None => Ok(Access::Open),
    }
}

/// Encounters are known by their senders' names where the secret of their edge is.
fn stays(config: &Config) -> Option<Stays> {
    let edge = &config.edge;
    edge.secret.as_ref().map(|secret| Stays::new(secret, &edge.authority, &edge.systems))
}

/// The running server.
pub struct Http {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), HttpError>>,
    address: SocketAddr,
    dashboard: Option<Dashboard>,
}

impl Http {
    /// Takes the address and answers from now on.
    pub fn start(
        address: SocketAddr,
        health: &Arc<Health>,
        dashboard: Option<Dashboard>,
    ) -> Result<Self> {
        let metrics = Metrics::global().map_err(|error| anyhow!("no metrics: {error}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("http")
            .enable_all()
            .build()
            .context("no runtime for http")?;
        let dashboard = dashboard.filter(|dashboard| {
            let shown = address.ip().is_loopback() || !dashboard.is_open();
            if !shown {
                let why = "without http.tokens it is open, so it is for loopback only";
                tracing::warn!(%address, "no dashboard: {why}");
            }
            shown
        });
        let mut pages = routes(Arc::clone(health), metrics);
        if let Some(dashboard) = &dashboard {
            pages = pages.merge(dashboard.routes());
        }
        let server = runtime
            .block_on(Server::bind(address, pages, Arc::clone(health)))
            .context("set http.listen to another address, or to off")?;
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("http-main".to_owned())
            .spawn(move || {
                runtime.block_on(server.run(async {
                    // An error means that the service is gone, which is an end as well.
                    stopped.await.ok();
                }))
            })
            .context("no thread for http")?;
        Ok(Http { stop, thread, address, dashboard })
    }

    /// As [`Http::start`], but work that has a beginning and an end goes on without its pages
    /// where another process holds the address.
    pub fn start_if_free(
        address: Option<SocketAddr>,
        health: &Arc<Health>,
        dashboard: Option<Dashboard>,
    ) -> Option<Self> {
        match Http::start(address?, health, dashboard) {
            Ok(http) => Some(http),
            Err(error) => {
                tracing::warn!("no dashboard, metrics and health for this run: {}", told(&error));
                None
            }
        }
    }

    /// The dashboard's address; `None` where there is none.
    pub fn dashboard_address(&self) -> Option<String> {
        self.dashboard.as_ref().map(|_| format!("http://{}/", self.address))
    }

    /// Says on every page that the recording is over.
    pub fn finish(&self) {
        if let Some(dashboard) = &self.dashboard {
            dashboard.finish();
        }
    }

    /// Serves until a person says stop.
    pub fn serve_until(self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Acquire) && !self.thread.is_finished() {
            std::thread::sleep(LOOK);
        }
        self.stop()
    }

    /// Lets open requests end.
    pub fn stop(self) -> Result<()> {
        if let Some(dashboard) = &self.dashboard {
            dashboard.close();
        }
        // Nobody listens if the server has failed; then its error says so.
        self.stop.send(()).ok();
        let ended = self.thread.join().map_err(|_| anyhow!("the http thread panicked"))?;
        Ok(ended?)
    }
}
