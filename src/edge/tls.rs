//! Certificates and keys from their files, as rustls takes them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};

use super::guard::GuardError;
use crate::config::TlsConfig;
use crate::time::WallTime;

/// The most of a PEM file that is read. The authorities of the whole web have 250 KB.
const PEM_BYTES_MAX: u64 = 4 << 20;

const CERTIFICATE: &str = "edge.tls_certificate";
const KEY: &str = "edge.tls_key";
const CLIENTS: &str = "edge.tls_clients";

/// TLS 1.2 or 1.3, with the certificates that are demanded of senders.
pub(super) fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, GuardError> {
    let provider = Arc::new(default_provider());
    let chain = certificates(CERTIFICATE, &config.certificate)?;
    let pem = read(KEY, &config.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem);
    let key = key.map_err(|_| wrong(KEY, &config.key, "holds no private key as PEM"))?;
    let of_certificate = |error| wrong(CERTIFICATE, &config.certificate, error);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(of_certificate)?;
    let builder = match &config.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(CLIENTS, path)? {
                roots.add(authority).map_err(|error| wrong(CLIENTS, path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| wrong(CLIENTS, path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    // Among other things this finds a key that is another certificate's.
    Ok(Arc::new(builder.with_single_cert(chain, key).map_err(of_certificate)?))
}

/// Whether the certificate holds at `now`. Who signed it is the senders' matter.
pub(super) fn valid(config: &TlsConfig, now: WallTime) -> Result<(), GuardError> {
    let path = &config.certificate;
    let chain = certificates(CERTIFICATE, path)?;
    let Some((first, rest)) = chain.split_first() else { return Ok(()) };
    let parsed = ParsedCertificate::try_from(first);
    let parsed = parsed.map_err(|error| wrong(CERTIFICATE, path, error))?;
    let at = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    let verified = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &RootCertStore::empty(),
        rest,
        UnixTime::since_unix_epoch(at),
        default_provider().signature_verification_algorithms.all,
    );
    match verified {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Err(wrong(CERTIFICATE, path, "has expired")),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Err(wrong(CERTIFICATE, path, "is not valid yet")),
        // It cannot be verified without an authority; its times are looked at before that.
        _ => Ok(()),
    }
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, GuardError> {
    let pem = read(key, path)?;
    let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match all.map_err(|_| wrong(key, path, "is no PEM file"))? {
        all if all.is_empty() => Err(wrong(key, path, "holds no certificate as PEM")),
        all => Ok(all),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, GuardError> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| wrong(key, path, format!("cannot be read ({error})")))?;
    Ok(pem)
}

fn wrong(key: &'static str, path: &Path, why: impl ToString) -> GuardError {
    GuardError::File { key, path: path.to_owned(), why: why.to_string() }
}
