//! The registry behind TLS: a front of the tests' own, on loopback, with a certificate made for it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nowcxr::config::RegistryConfig;
use nowcxr::ports::PortError;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::certify;
use super::server::Registry;
use super::{config, ids};

/// One request or answer; `None` when the peer has gone.
fn message(from: &mut impl Read) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(bytes);
            }
        }
        match from.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

/// Passes what comes on `stream` on to the plain server.
fn pass(stream: TcpStream, config: Arc<ServerConfig>, plain: &str) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    let mut server = TcpStream::connect(plain)?;
    while let Some(request) = message(&mut tls) {
        server.write_all(&request)?;
        let answer = message(&mut server).unwrap_or_default();
        tls.write_all(&answer)?;
        tls.flush()?;
    }
    Ok(())
}

/// A TLS front of `registry`; its address.
fn front(registry: &Registry, dir: &Path) -> String {
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, plain) = (Arc::new(config), registry.url.replace("http://", ""));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, plain) = (Arc::clone(&config), plain.clone());
            // A client that does not believe us breaks off, which the test sees on its own side.
            thread::spawn(move || drop(pass(stream, config, &plain)));
        }
    });
    url
}

#[test]
fn a_registry_behind_tls_is_believed_by_its_authority_and_told_our_name() {
    let dir = tempfile::tempdir().unwrap();
    if !certify(dir.path()) {
        return;
    }
    let registry = Registry::start();
    // user:hunter2
    registry.held.lock().unwrap().demands = Some("Basic dXNlcjpodW50ZXIy".to_owned());
    let url = front(&registry, dir.path());
    let credentials = dir.path().join("credentials");
    std::fs::write(&credentials, "user:hunter2\n").unwrap();
    let known = RegistryConfig {
        credentials: Some(credentials),
        ca: Some(dir.path().join("ca.pem")),
        ..config()
    };
    let given = ids(&url, &known).unwrap();
    assert_eq!(ids(&url, &known).unwrap(), given);
    let plain = RegistryConfig { ca: None, ..known.clone() };
    assert_eq!(ids(&registry.url, &plain).unwrap(), given, "another registry");

    // Before a certificate is believed nothing is said, and never the password to a person.
    let asked = registry.asked();
    let distrusted = ids(&url, &plain).unwrap_err();
    let text = distrusted.to_string();
    assert!(matches!(distrusted, PortError::Stop(_)) && text.contains("registry.ca"), "{text}");
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let misnamed = ids(&elsewhere, &known).unwrap_err();
    assert!(matches!(misnamed, PortError::Stop(_)), "{misnamed}");
    assert!(!format!("{text}{misnamed}{known:?}").contains("hunter2"));
    assert_eq!(registry.asked(), asked);

    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    for name in ["empty.pem", "absent.pem"] {
        let ca = Some(dir.path().join(name));
        let wrong = ids(&url, &RegistryConfig { ca, ..known.clone() }).unwrap_err();
        assert!(wrong.to_string().contains(name), "{wrong}");
    }
}
