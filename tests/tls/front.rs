//! A front of the tests' own, on loopback, that puts a server behind TLS.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

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

/// A TLS front of the server at `url`, with the `server.pem` and `server.key` in a directory; its
/// address.
pub fn front(url: &str, dir: &Path) -> String {
    let chain = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, plain) = (Arc::new(config), url.replace("http://", ""));
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
