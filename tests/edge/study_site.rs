//! An archive on a loopback port that gives films by WADO-RS, or does not; an edge that asks it;
//! and studies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use nowcxr::config::{Config, WadoConfig};
use nowcxr::edge::{self, Language, LocalSink};
use nowcxr::http::access::Access;
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::transport::local::LocalLog;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::fhir_site::{Site, encounter, patient, with};
use super::film_files::FEEDS;
use super::world::{config, secret};

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=part";

/// What the archive answers about an instance; 404 where nothing is said.
#[derive(Clone)]
pub enum Gives {
    /// The file as the only part.
    Part(Vec<u8>),
    /// The file without parts.
    Bare(Vec<u8>),
    /// The beginning of a part, and no end.
    CutOff(Vec<u8>),
    Status(u16),
    /// Somewhere else to go.
    Redirect(String),
    /// Nothing, for longer than anybody waits.
    Nothing,
}

/// A question: path, Accept and Authorization.
pub type Asked = (String, String, String);

#[derive(Default)]
struct Shelf {
    gives: BTreeMap<String, Gives>,
    asked: Vec<Asked>,
}

/// The archive; gone when dropped.
pub struct Pacs {
    pub address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
    _runtime: Runtime,
}

impl Pacs {
    pub fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Pacs { address, shelf, _runtime: runtime }
    }

    pub fn base(&self) -> String {
        format!("http://{}/pacs", self.address)
    }

    /// From now on this is answered about an instance.
    pub fn puts(&self, instance: &str, gives: Gives) {
        self.shelf.lock().unwrap().gives.insert(instance.to_owned(), gives);
    }

    /// What has been asked since this was asked.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shelf.lock().unwrap().asked)
    }
}

/// Writes a question down; what is answered.
fn note(shelf: &Mutex<Shelf>, request: &Request) -> Gives {
    let said = |name| {
        let value = request.headers().get(name);
        value.map_or("", |value: &header::HeaderValue| value.to_str().unwrap()).to_owned()
    };
    let path = request.uri().to_string();
    let instance = path.rsplit('/').next().unwrap().to_owned();
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push((path, said(header::ACCEPT), said(header::AUTHORIZATION)));
    shelf.gives.get(&instance).cloned().unwrap_or(Gives::Status(404))
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, request: Request) -> Response {
    let gives = note(&shelf, &request);
    drop(request);
    let begun = |file: Vec<u8>| {
        let head = b"--part\r\nContent-Type: application/dicom\r\n\r\n";
        [&head[..], &file].concat()
    };
    let related = [(header::CONTENT_TYPE, RELATED)];
    match gives {
        Gives::Part(file) => {
            (related, [&begun(file)[..], b"\r\n--part--\r\n"].concat()).into_response()
        }
        Gives::Bare(file) => ([(header::CONTENT_TYPE, "application/dicom")], file).into_response(),
        Gives::CutOff(file) => {
            let piece = Ok::<_, std::io::Error>(Bytes::from(begun(file)));
            (related, Body::from_stream(stream::iter([piece]))).into_response()
        }
        Gives::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Gives::Redirect(to) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Gives::Nothing => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            StatusCode::OK.into_response()
        }
    }
}

/// Settings of an edge whose FHIR patients have the numbers of DICOM's.
pub fn settings(more: &[&str]) -> Config {
    config(&[&[FEEDS, r#"edge.systems={ "urn:oid:1.2" = "H" }"#], more].concat())
}

/// An edge that has the archive, and a stay of `p1`, who is patient 7.
pub fn site(dir: &Path, log: &LocalLog, pacs: &Pacs) -> Site {
    site_of(dir, log, &[&format!("edge.wado={}", pacs.base())])
}

/// The same with settings that name the archive.
pub fn site_of(dir: &Path, log: &LocalLog, wado: &[&str]) -> Site {
    let config = settings(&[wado, &["edge.wado_token=opensesame"]].concat());
    open(dir, log, &config, config.edge.wado.as_ref())
}

/// The same without an archive.
pub fn site_alone(dir: &Path, log: &LocalLog) -> Site {
    open(dir, log, &settings(&[]), None)
}

fn open(dir: &Path, log: &LocalLog, config: &Config, wado: Option<&WadoConfig>) -> Site {
    let (store, _) = SledStore::open(dir.join("edge"), &StoreOptions::default()).unwrap();
    let sink = LocalSink::open(log, None).unwrap();
    let languages = [Language::Fhir, Language::Dicom];
    let desk = edge::open(&languages, config, secret(config), store, sink).unwrap();
    let site = Site::fetching(desk, Access::Open, wado);
    let number = json!([{ "system": "urn:oid:1.2", "value": "7" }]);
    assert_eq!(site.put("/fhir/Patient/p1", &with(patient(), "identifier", number)).status, 200);
    assert_eq!(site.put("/fhir/Encounter/e1", &encounter("MICU")).status, 200);
    site
}

/// A study of `p1` with these instances of DX, in a version.
pub fn study(status: &str, instances: &[&str], version: u32) -> Value {
    let instances: Vec<Value> = instances.iter().map(|uid| json!({ "uid": uid })).collect();
    json!({
        "resourceType": "ImagingStudy", "id": "s1", "status": status,
        "meta": { "versionId": version.to_string() },
        "identifier": [{ "system": "urn:dicom:uid", "value": "urn:oid:1.2.840.9" }],
        "subject": { "reference": "Patient/p1" },
        "series": [
            { "uid": "1.2.840.8", "modality": { "code": "DX" }, "instance": instances },
            { "uid": "1.2.840.7", "modality": { "code": "CT" }, "instance": [{ "uid": "1.9" }] },
        ],
    })
}

/// An available one.
pub fn available(instances: &[&str]) -> Value {
    study("available", instances, 1)
}
