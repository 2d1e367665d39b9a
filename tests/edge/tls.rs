//! HL7 and DICOM within TLS: what is said there, and who is not heard.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nowcxr::config::TlsConfig;
use nowcxr::edge::Guard;
use nowcxr::ids::Topic;
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::certificates::certify;
use super::dicom_site::{Scu, Site, TITLE, asks};
use super::fhir_site::MORNING;
use super::film_files::{EXPLICIT, FEEDS, File};
use super::server::{admission, answers, send};
use super::world::{config, facts, log};

const PATIENCE: Duration = Duration::from_secs(20);

/// An edge that asks for certificates if it is told to, and their directory.
struct Place {
    dir: tempfile::TempDir,
    log: Arc<LocalLog>,
    site: Site,
}

/// `None` where no certificates can be made.
fn place(demanding: bool) -> Option<Place> {
    let dir = tempfile::tempdir().unwrap();
    if !certify(dir.path()) {
        return None;
    }
    let key = |key: &str, file: &str| format!("edge.{key}={}", dir.path().join(file).display());
    let mut keys = vec![key("tls_certificate", "server.pem"), key("tls_key", "server.key")];
    if demanding {
        keys.push(key("tls_clients", "ca.pem"));
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let log = log(dir.path());
    let site = Site::start(dir.path(), &log, &keys);
    Some(Place { dir, log, site })
}

/// A client that believes our authority, and shows a certificate if it is to.
fn client(dir: &Path, certified: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    if !certified {
        return Arc::new(builder.with_no_client_auth());
    }
    let chain = CertificateDer::from_pem_file(dir.join("client.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).unwrap();
    Arc::new(builder.with_client_auth_cert(vec![chain], key).unwrap())
}

fn connect(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(client), name).unwrap(), stream)
}

#[test]
fn hl7_is_heard_within_tls_and_only_from_whom_it_is_asked() {
    let Some(Place { dir, log, site }) = place(true) else { return };
    let known = client(dir.path(), true);
    let mut stream = connect(site.hl7, &known);
    send(&mut stream, &admission(1, 1, ""));
    assert_eq!(answers(&mut stream, 1), ["AA|1"]);
    // Two messages at once, each answered.
    send(&mut stream, &admission(2, 2, ""));
    send(&mut stream, &admission(3, 3, ""));
    assert_eq!(answers(&mut stream, 2), ["AA|2", "AA|3"]);
    // Without a certificate nothing is heard; in TLS 1.3 the client learns it after its own words.
    let mut stranger = connect(site.hl7, &client(dir.path(), false));
    stranger.write_all(&[b"\x0b", admission(4, 4, "").as_bytes(), b"\x1c\r"].concat()).ok();
    let refused = stranger.read(&mut [0; 64]);
    assert!(refused.is_err(), "{refused:?}");
    // Plain text ends its own connection, with nothing but an alert of TLS.
    let mut plain = TcpStream::connect(site.hl7).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    send(&mut plain, &admission(5, 5, ""));
    let mut rest = Vec::new();
    plain.read_to_end(&mut rest).ok();
    assert!(rest.len() < 16 && !rest.contains(&0x0b), "{rest:?}");
    // The first is still heard.
    send(&mut stream, &admission(6, 6, ""));
    assert_eq!(answers(&mut stream, 1), ["AA|6"]);
    site.end();
    assert_eq!(facts(&config(&[FEEDS]), &log, Topic::Stay).len(), 4);
}

#[test]
fn films_come_within_tls() {
    let Some(Place { dir, log, site }) = place(true) else { return };
    let mut stream = connect(site.hl7, &client(dir.path(), true));
    send(&mut stream, &admission(7, 7, ""));
    assert_eq!(answers(&mut stream, 1), ["AA|7"]);
    site.now.store(MORNING + 40 * 60_000, Ordering::Release);
    let within = |client| {
        let asks = asks(TITLE, EXPLICIT).tls_config(client).server_name("127.0.0.1");
        asks.establish_tls(site.dicom).ok()
    };
    let mut scu = Scu::over(within(client(dir.path(), true)).unwrap()).unwrap();
    assert_eq!(scu.echo(), 0);
    assert_eq!(scu.store(&File::new("1.2.840.1").data_set(EXPLICIT)), 0);
    assert_eq!(facts(&config(&[FEEDS]), &log, Topic::Imaging).len(), 1);
    assert!(within(client(dir.path(), false)).is_none(), "without a certificate");
    assert!(Scu::connect(site.dicom, TITLE, EXPLICIT).is_none(), "without TLS");
    assert_eq!(scu.echo(), 0);
    scu.release();
    site.end();
}

#[test]
fn certificates_are_asked_of_nobody_where_no_authority_is_named() {
    let Some(Place { dir, log: _log, site }) = place(false) else { return };
    let mut stream = connect(site.hl7, &client(dir.path(), false));
    send(&mut stream, &admission(1, 1, ""));
    assert_eq!(answers(&mut stream, 1), ["AA|1"]);
    site.end();
}

#[test]
fn files_that_cannot_be_used_are_named_and_an_expired_certificate_is_found() {
    let dir = tempfile::tempdir().unwrap();
    if !certify(dir.path()) {
        return;
    }
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("empty.pem"), "").unwrap();
    let tls = |certificate: &str, key: &str, clients: Option<&str>| TlsConfig {
        certificate: file(certificate),
        key: file(key),
        clients: clients.map(file),
    };
    let now = WallTime::from_millis(chrono::Utc::now().timestamp_millis());
    let good = tls("server.pem", "server.key", Some("ca.pem"));
    Guard::check(&good, now).unwrap();
    for (wrong, key) in [
        (tls("empty.pem", "server.key", None), "edge.tls_certificate"),
        (tls("server.pem", "absent.key", None), "edge.tls_key"),
        (tls("server.pem", "server.pem", None), "edge.tls_key"),
        // Another certificate's key.
        (tls("server.pem", "client.key", None), "edge.tls_certificate"),
        (tls("server.pem", "server.key", Some("empty.pem")), "edge.tls_clients"),
    ] {
        let error = Guard::check(&wrong, now).unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    let days = |n: i64| WallTime::from_millis(now.as_millis() + n * 86_400_000);
    let expired = Guard::check(&good, days(3)).unwrap_err().to_string();
    assert!(expired.contains("has expired"), "{expired}");
    let early = Guard::check(&good, days(-3)).unwrap_err().to_string();
    assert!(early.contains("not valid yet"), "{early}");
}
