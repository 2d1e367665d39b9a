//! Whom a client by HTTPS believes.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// The most of a file of certificates that is read. Those of the whole web have 250 KB.
const CA_BYTES_MAX: u64 = 4 << 20;

/// TLS that believes those whose certificates are in the file and nobody else, or without a file
/// the authorities of the web. `key` is that of the configuration which names the file.
///
/// # Errors
/// What is wrong, where the file holds no certificate that can be read.
pub fn believing(ca: Option<&Path>, key: &str) -> Result<TlsConfig, String> {
    let Some(ca) = ca else { return Ok(TlsConfig::default()) };
    let wrong = |why: &dyn std::fmt::Display| format!("{key} names {}, which {why}", ca.display());
    let mut pem = Vec::new();
    File::open(ca)
        .and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| wrong(&format!("is no PEM file ({error})")))?
        {
            certificates.push(certificate);
        }
    }
    match certificates.is_empty() {
        true => Err(wrong(&"holds no certificate")),
        false => {
            let roots = RootCerts::new_with_certs(&certificates);
            Ok(TlsConfig::builder().root_certs(roots).build())
        }
    }
}
