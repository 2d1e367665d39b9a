//! A dashboard over a log of one stay, and a client that knows nothing of axum.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use nowcxr::config::{EngineConfig, HashKey};
use nowcxr::edge::fhir::Stays;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::http::access::Access;
use nowcxr::http::dashboard::{Acts, Dashboard, LocalFeed, Looks, Options, Shared};
use nowcxr::http::{Health, Server};
use nowcxr::ids::StayId;
use nowcxr::ports::{Outlet as _, Output, OutputKind};
use nowcxr::time::WallTime;
use nowcxr::transport::local::{LocalLog, LocalOutlet, LogOptions};
use nowcxr::wire::{AlertRecord, AlertState, Codec, RiskRecord};

/// Of the edge that made the numbers of stays.
pub static SECRET: LazyLock<HashKey> =
    LazyLock::new(|| HashKey::new("a secret of the tests").expect("long enough"));
/// What `nowcxr evaluate` writes, in short.
pub const REPORT: &str =
    "<!doctype html><style>p{margin:0}</style><body><main>\n<p>AUROC</p></main></body>";
pub const HOSTILE: &str = "<script>alert(1)</script>";

fn codec() -> (Codec, Dictionary) {
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary.clone()).expect("codec");
    (codec, dictionary)
}

pub fn risk(stay: u64) -> RiskRecord {
    let text = include_str!("../../schemas/examples/risk.json");
    let mut risk: RiskRecord = serde_json::from_str(text).expect("example");
    risk.stay_id = StayId(stay);
    risk.stay_end = None;
    risk.model.name = HOSTILE.to_owned();
    risk.status_reason = Some(HOSTILE.to_owned());
    risk
}

pub fn alert(stay: u64) -> AlertRecord {
    let text = include_str!("../../schemas/examples/alert.json");
    let mut alert: AlertRecord = serde_json::from_str(text).expect("example");
    alert.stay_id = StayId(stay);
    alert.state = AlertState::Open;
    alert.response_at = None;
    alert
}

pub fn send(outlet: &mut LocalOutlet, number: u64, risk: &RiskRecord) {
    let payload = codec().0.encode(risk).expect("encodes");
    put(outlet, number, OutputKind::Risk, risk.stay_id, payload);
}

pub fn send_alert(outlet: &mut LocalOutlet, number: u64, alert: &AlertRecord) {
    let payload = codec().0.encode(alert).expect("encodes");
    put(outlet, number, OutputKind::Alert, alert.stay_id, payload);
}

fn put(outlet: &mut LocalOutlet, number: u64, kind: OutputKind, stay: StayId, payload: Vec<u8>) {
    let stay = Some(stay);
    let output = Output { number, kind, stay, payload, envelope: b"{}".to_vec() };
    outlet.send(&[output]).expect("appended");
}

pub struct Site {
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    _dashboard: Dashboard,
    shared: Arc<Shared>,
    pub outlet: LocalOutlet,
    pub address: SocketAddr,
}

pub fn site() -> Site {
    site_for(Access::Open, None, None)
}

/// Waits until the first record is read.
pub fn site_for(access: Access, looks: Option<Looks>, acts: Option<Arc<dyn Acts>>) -> Site {
    let dir = tempfile::tempdir().expect("a directory");
    let log = LocalLog::open(dir.path(), LogOptions::default()).expect("log");
    let clock = Box::new(|| WallTime::from_millis(1_000));
    let mut outlet = LocalOutlet::open(&log, 0, clock).expect("outlet");
    send(&mut outlet, 1, &risk(1));
    let (codec, dictionary) = codec();
    let (feed, archive) = LocalFeed::own(log);
    let stays = Some(Stays::new(&SECRET, "", &BTreeMap::new()));
    let report = dir.path().join("report.html");
    std::fs::write(&report, REPORT).expect("written");
    let options = Options {
        provenance: HOSTILE.to_owned(),
        model: "models/demo".into(),
        access,
        looks,
        acts,
        stays,
        report: Some(report),
    };
    let shared = Shared::new(codec, dictionary);
    let dashboard =
        Dashboard::start(feed, archive, Arc::clone(&shared), options).expect("a thread");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("runtime");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, dashboard.routes(), Arc::new(Health::new()));
    let server = runtime.block_on(server).expect("a free port");
    let address = server.address();
    runtime.spawn(server.run(std::future::pending()));
    let (_dir, _runtime, _dashboard) = (dir, runtime, dashboard);
    let site = Site { _dir, _runtime, _dashboard, shared, outlet, address };
    site.wait_for(StayId(1), 1);
    site
}

impl Site {
    /// Waits until so many events of a stay are read.
    pub fn wait_for(&self, stay: StayId, events: usize) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.shared.ward().stay(stay).is_none_or(|log| log.times().count() < events) {
            assert!(Instant::now() < until, "the records were never read");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Headers and body, by a client that knows nothing of axum.
pub fn get(address: SocketAddr, path: &str, host: &str) -> String {
    ask(address, &format!("GET {path}"), &[("Host", host)], "")
}

/// The answer to `what`, such as `GET /ward`.
pub fn ask(address: SocketAddr, what: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    let mut request = format!("{what} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}
