//! The dashboard over HTTP: pages, headers, hostile input, and how fast an update arrives.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nowcxr::config::EngineConfig;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::http::access::Access;
use nowcxr::http::dashboard::{Dashboard, LocalFeed, Options, Shared};
use nowcxr::http::{Health, Server};
use nowcxr::ids::StayId;
use nowcxr::ports::{Outlet as _, Output, OutputKind};
use nowcxr::time::WallTime;
use nowcxr::transport::local::{LocalLog, LocalOutlet, LogOptions};
use nowcxr::wire::{Codec, RiskRecord};

const HOSTILE: &str = "<script>alert(1)</script>";

fn codec() -> (Codec, Dictionary) {
    let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
    let codec = Codec::new(&EngineConfig::default().feeds, dictionary.clone()).expect("codec");
    (codec, dictionary)
}

fn risk(stay: u64) -> RiskRecord {
    let text = include_str!("../schemas/examples/risk.json");
    let mut risk: RiskRecord = serde_json::from_str(text).expect("example");
    risk.stay_id = StayId(stay);
    risk.stay_end = None;
    risk.model.name = HOSTILE.to_owned();
    risk.status_reason = Some(HOSTILE.to_owned());
    risk
}

fn send(outlet: &mut LocalOutlet, number: u64, risk: &RiskRecord) {
    let payload = codec().0.encode(risk).expect("encodes");
    let stay = Some(risk.stay_id);
    let kind = OutputKind::Risk;
    let output = Output { number, kind, stay, payload, envelope: b"{}".to_vec() };
    outlet.send(&[output]).expect("appended");
}

struct Site {
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
    _dashboard: Dashboard,
    outlet: LocalOutlet,
    address: SocketAddr,
}

fn site() -> Site {
    site_for(Access::Open)
}

fn site_for(access: Access) -> Site {
    let dir = tempfile::tempdir().expect("a directory");
    let log = LocalLog::open(dir.path(), LogOptions::default()).expect("log");
    let clock = Box::new(|| WallTime::from_millis(1_000));
    let mut outlet = LocalOutlet::open(&log, 0, clock).expect("outlet");
    send(&mut outlet, 1, &risk(1));
    let (codec, dictionary) = codec();
    let (feed, archive) = LocalFeed::own(log);
    let options = Options { provenance: HOSTILE.to_owned(), model: "models/demo".into(), access };
    let shared = Shared::new(codec, dictionary);
    let dashboard = Dashboard::start(feed, archive, shared, options).expect("a thread");
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
    let site = Site { _dir: dir, _runtime: runtime, _dashboard: dashboard, outlet, address };
    let until = Instant::now() + Duration::from_secs(10);
    while !get(site.address, "/stay/1", "localhost").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "the first record was never read");
        std::thread::sleep(Duration::from_millis(20));
    }
    site
}

/// Headers and body, by a client that knows nothing of axum.
fn get(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn every_page_answers_under_the_strict_policy_and_escapes_what_it_shows() {
    let site = site();
    let pages = [
        "/ward",
        "/ward?view=table&sort=risk&show=all",
        "/ward?q=%3Cscript%3Ealert(1)%3C/script%3E&unit=%22%3E%3Cscript%3E",
        "/ward?at=nonsense&speed=-1",
        "/stay/1",
        "/operations",
        "/model",
        "/assets/dashboard.js",
    ];
    for path in pages {
        let answer = get(site.address, path, "127.0.0.1:1");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {}", &answer[..80]);
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{path}");
        assert!(!answer.contains("<script>"), "{path} shows something unescaped");
        assert!(!answer.contains(" style="), "{path} has an inline style");
    }
    assert!(get(site.address, "/stay/1", "localhost").contains("&lt;script&gt;"));
}

#[test]
fn what_is_unknown_is_not_found_and_other_hosts_are_refused() {
    let site = site();
    let paths = ["/stay/2", "/stay/1?at=1970-01-01T00:00:00Z", "/stay/1/film/5", "/nothing"];
    for path in paths {
        assert!(get(site.address, path, "localhost").starts_with("HTTP/1.1 404"), "{path}");
    }
    let refused = get(site.address, "/ward", "evil.example");
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
}

#[test]
fn an_update_reaches_an_open_page() {
    let mut site = site();
    let mut stream = TcpStream::connect(site.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    let mut read_until = |what: &str| {
        while !seen.contains(what) {
            let n = stream.read(&mut buffer).expect("an event");
            assert!(n > 0, "the stream ended before {what}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    read_until("event: beat");
    let sent = Instant::now();
    send(&mut site.outlet, 2, &risk(77));
    read_until("data-stay=\\\"77\\\"");
    println!("from the durable append to the open page: {:?}", sent.elapsed());
}
