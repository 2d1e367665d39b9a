//! The server and its three pages.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use super::bounded::{Bounded, MAX_CONNECTIONS, Peer};
use super::health::Health;
use crate::telemetry::{CONTENT_TYPE, Metrics};

/// How long open requests may take to end after the shutdown began.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("cannot listen on {address}: {source}; choose another address or stop its holder")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the http server failed: {0}; restart the node")]
    Serve(io::Error),
}

/// A bound server. It answers once [`Server::run`] is polled.
pub struct Server {
    listener: Bounded,
    address: SocketAddr,
    routes: Router,
    health: Arc<Health>,
}

/// What the pages read.
#[derive(Clone)]
struct Pages {
    health: Arc<Health>,
    metrics: &'static Metrics,
}

/// The three pages, to be merged with others' routes.
pub fn routes(health: Arc<Health>, metrics: &'static Metrics) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/healthz", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(ready_page))
        .with_state(Pages { health, metrics })
}

impl Server {
    /// Takes the address; port 0 takes a free one, see [`Server::address`].
    ///
    /// # Errors
    /// [`HttpError::Bind`].
    pub async fn bind(
        address: SocketAddr,
        routes: Router,
        health: Arc<Health>,
    ) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            let open =
                "/metrics, /healthz and /readyz ask for no token, and TLS is a proxy's matter";
            warn!(%address, "http is open to other machines: {open}");
        }
        let listener = Bounded::new(listener, MAX_CONNECTIONS);
        Ok(Server { listener, address, routes, health })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` ends. Then `/readyz` says no, open requests have [`DRAIN`] to
    /// end, and whatever is still open is cut.
    ///
    /// # Errors
    /// [`HttpError::Serve`].
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), HttpError> {
        info!(address = %self.address, "http listens");
        let (begun, mut drain) = watch::channel(false);
        let health = self.health;
        let signal = async move {
            shutdown.await;
            health.stopping();
            // The receiver lives as long as this function.
            begun.send_replace(true);
        };
        let routes = self.routes.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(self.listener, routes).with_graceful_shutdown(signal);
        let overdue = async move {
            // An error means that the signal was dropped, with the server itself.
            if drain.wait_for(|begun| *begun).await.is_ok() {
                tokio::time::sleep(DRAIN).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = serving => served.map_err(HttpError::Serve)?,
            () = overdue => warn!("http requests cut at the end of the drain"),
        }
        info!("http stopped");
        Ok(())
    }
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    match pages.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready_page(State(pages): State<Pages>) -> Response {
    let reasons: Vec<String> =
        pages.health.not_ready().iter().map(|reason| reason.to_string()).collect();
    let (assigned, reading) = pages.health.tasks();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let tasks = json!({ "assigned": assigned, "reading": reading });
    (status, Json(json!({ "ready": ready, "reasons": reasons, "tasks": tasks }))).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::thread::JoinHandle;
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;

    /// A server on a free port, on a runtime of its own.
    struct Running {
        address: SocketAddr,
        health: Arc<Health>,
        stop: oneshot::Sender<()>,
        thread: JoinHandle<Result<(), HttpError>>,
    }

    fn start() -> Running {
        let health = Arc::new(Health::new());
        let metrics = Metrics::global().expect("metrics");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let pages = routes(Arc::clone(&health), metrics);
        let bound = runtime.block_on(Server::bind(any, pages, Arc::clone(&health)));
        let server = bound.expect("a free port");
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(server.run(async {
                stopped.await.ok();
            }))
        });
        Running { address, health, stop, thread }
    }

    /// Status and body, by a client that knows nothing of axum.
    fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("send");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("status"), body.to_owned())
    }

    #[test]
    fn the_three_pages_answer() {
        let running = start();
        let address = running.address;
        assert_eq!(fetch(address, "/healthz"), (200, r#"{"status":"alive"}"#.to_owned()));
        let (status, body) = fetch(address, "/metrics");
        assert_eq!(status, 200);
        assert!(body.contains("nowcxr_build_info{version="), "{body}");
        assert!(body.contains(r#"nowcxr_facts_used_total{topic="lab"}"#), "{body}");
        let (status, body) = fetch(address, "/readyz");
        assert_eq!(status, 503);
        assert!(body.contains("the model is not loaded yet"), "{body}");

        running.health.model_loaded();
        running.health.tasks_assigned(1);
        let (status, body) = fetch(address, "/readyz");
        assert!(status == 503 && body.contains("1 task(s) restore their state"), "{body}");
        running.health.task_reading();
        let (status, body) = fetch(address, "/readyz");
        assert!(status == 200 && body.contains(r#""ready":true"#), "{body}");
        assert_eq!(fetch(address, "/nowhere").0, 404);

        running.stop.send(()).expect("the server listens");
        running.thread.join().expect("no panic").expect("a clean end");
        assert!(!running.health.not_ready().is_empty(), "a stopped node is not ready");
        assert!(TcpStream::connect(address).is_err(), "the port is free again");
    }

    #[test]
    fn a_stuck_client_does_not_hold_the_shutdown_up() {
        let running = start();
        let mut stuck = TcpStream::connect(running.address).expect("connect");
        stuck.write_all(b"GET /healthz HTTP/1.1\r\nHost").expect("half a request");
        assert_eq!(fetch(running.address, "/healthz").0, 200);
        let begun = Instant::now();
        running.stop.send(()).expect("the server listens");
        running.thread.join().expect("no panic").expect("a clean end");
        assert!(begun.elapsed() < DRAIN + Duration::from_secs(10));
    }

    #[test]
    fn a_taken_port_is_named() {
        let running = start();
        let health = Arc::new(Health::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let bind = Server::bind(running.address, Router::new(), health);
        let error = runtime.expect("runtime").block_on(bind).err().expect("taken").to_string();
        assert!(error.contains(&running.address.to_string()), "{error}");
        running.stop.send(()).expect("the server listens");
        running.thread.join().expect("no panic").expect("a clean end");
    }
}
