//! Metrics and health beside the tasks, on a runtime of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;

use super::told;
use crate::http::{Health, HttpError, Server, routes};
use crate::telemetry::Metrics;

/// The running server.
pub struct Http {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), HttpError>>,
}

impl Http {
    /// Takes the address and answers from now on.
    pub fn start(address: SocketAddr, health: &Arc<Health>) -> Result<Self> {
        let metrics = Metrics::global().map_err(|error| anyhow!("no metrics: {error}"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("no runtime for http")?;
        let pages = routes(Arc::clone(health), metrics);
        let server = runtime
            .block_on(Server::bind(address, pages, Arc::clone(health)))
            .context("set http.listen to another address, or to off")?;
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
        Ok(Http { stop, thread })
    }

    /// As [`Http::start`], but work that has a beginning and an end goes on without its metrics
    /// where another process holds the address.
    pub fn start_if_free(address: Option<SocketAddr>, health: &Arc<Health>) -> Option<Self> {
        match Http::start(address?, health) {
            Ok(http) => Some(http),
            Err(error) => {
                tracing::warn!("no metrics and health for this run: {}", told(&error));
                None
            }
        }
    }

    /// Lets open requests end.
    pub fn stop(self) -> Result<()> {
        // Nobody listens if the server has failed; then its error says so.
        self.stop.send(()).ok();
        let ended = self.thread.join().map_err(|_| anyhow!("the http thread panicked"))?;
        Ok(ended?)
    }
}
