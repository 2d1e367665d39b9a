//! A FHIR edge on a loopback port over a local log, and a client that knows nothing of axum.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nowcxr::config::{Config, WadoConfig};
use nowcxr::edge::dicom::{Intake, scp};
use nowcxr::edge::{self, Desk, Language, LocalSink, Sink};
use nowcxr::http::access::Access;
use nowcxr::http::dicomweb::Archive;
use nowcxr::http::fhir::receive::{Receiver, routes};
use nowcxr::http::fhir::studies::Films;
use nowcxr::http::fhir::{Offer, metadata};
use nowcxr::http::{Health, Server};
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;
use serde_json::Value;

use super::dicom_site::TITLE;
pub use super::fhir_resources::{MORNING, at, encounter, observation, patient, with, without};
use super::world::{LocalDesk, secret};

/// How long the edge of the tests lets a sender wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// An edge that listens.
pub struct Site {
    pub address: SocketAddr,
    /// Where one that has an archive takes films by C-STORE.
    pub dicom: Option<SocketAddr>,
    pub now: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(named).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    /// Severity and code of the issues of an OperationOutcome.
    pub fn issues(&self) -> Vec<String> {
        issues(&self.body)
    }
}

pub fn issues(outcome: &Value) -> Vec<String> {
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
    let all = outcome["issue"].as_array().unwrap();
    let word = |issue: &Value, key: &str| issue[key].as_str().unwrap().to_owned();
    all.iter().map(|issue| format!("{} {}", word(issue, "severity"), word(issue, "code"))).collect()
}

pub fn desk(config: &Config, dir: &Path, log: &LocalLog) -> LocalDesk {
    let (store, _) = SledStore::open(dir.join("edge-fhir"), &StoreOptions::default()).unwrap();
    let sink = LocalSink::open(log, None).unwrap();
    edge::open(&[Language::Fhir], config, secret(config), store, sink).unwrap()
}

impl Site {
    pub fn start<K: Sink + Send + 'static>(desk: Desk<SledStore, K>, access: Access) -> Self {
        Site::fetching(desk, access, None)
    }

    /// One that has an archive.
    pub fn fetching<K: Sink + Send + 'static>(
        mut desk: Desk<SledStore, K>,
        access: Access,
        wado: Option<&WadoConfig>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (hatches, counter) = edge::counter();
        let hatch = hatches.fhir;
        let offer = Offer { takes: true, ..Offer::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (stop, now) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(MORNING)));
        let mut dicom = None;
        let films = wado.map(|wado| {
            let intake = Intake::new(hatches.dicom);
            let scp = runtime.block_on(scp::bind(any, TITLE, intake.clone())).unwrap();
            dicom = Some(scp.address().unwrap());
            let stops = Arc::clone(&stop);
            runtime.spawn(async move { scp.serve(&stops).await });
            Films { archive: Archive::open(wado).unwrap(), intake, patience: PATIENCE }
        });
        let receiver = Receiver { hatch, access, patience: PATIENCE, films };
        let routes = routes(receiver).merge(metadata(offer));
        let server = Server::bind(any, routes, Arc::new(Health::new()));
        let server = runtime.block_on(server).unwrap();
        let address = server.address();
        let (stops, clock) = (Arc::clone(&stop), Arc::clone(&now));
        let desk_thread = thread::spawn(move || {
            let clock = || WallTime::from_millis(clock.load(Ordering::Acquire));
            counter.run(&mut desk, clock, &stops).unwrap();
        });
        let stops = Arc::clone(&stop);
        let listening = thread::spawn(move || {
            let told = async move {
                while !stops.load(Ordering::Acquire) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            runtime.block_on(server.run(told)).unwrap();
            // As the edge does: what an archive never answers is not waited for.
            runtime.shutdown_background();
        });
        Site { address, dicom, now, stop, threads: vec![listening, desk_thread] }
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[], body.to_string().as_bytes())
    }

    /// Sends a body as FHIR's JSON, unless the headers say otherwise.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let usual = [("host", "localhost"), ("content-type", "application/fhir+json")];
        let said = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let all = usual.iter().filter(|(name, _)| !said(name)).chain(headers);
        all.for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        // A server that has seen enough closes before it has read all.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        Answer { status, head: head.to_owned(), body }
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
