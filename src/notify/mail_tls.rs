//! TLS towards a mail server, by rustls.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::NotifyError;
use super::mail::unusable;
use crate::config::{MailConfig, MailSecurity};

/// The most of a file of certificates that is read. Those of the whole web have 250 KB.
const CA_BYTES_MAX: u64 = 4 << 20;

/// What a configuration asks for, and nothing less: a server without it gets no mail.
pub(super) fn tls(config: &MailConfig) -> Result<Tls, NotifyError> {
    let wrap = match config.security {
        MailSecurity::Plain => return Ok(Tls::None),
        MailSecurity::StartTls => Tls::Required,
        MailSecurity::Tls => Tls::Wrapper,
    };
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(ca) = &config.ca {
        // Those and nobody else.
        builder = builder.certificate_store(CertificateStore::None);
        for authority in authorities(ca)? {
            builder = builder.add_root_certificate(authority);
        }
    }
    Ok(wrap(builder.build().map_err(|error| unusable(&error.to_string()))?))
}

fn authorities(ca: &Path) -> Result<Vec<Certificate>, NotifyError> {
    let wrong =
        |why: &str| unusable(&format!("notify.mail_ca names {}, which {why}", ca.display()));
    let mut pem = Vec::new();
    File::open(ca)
        .and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    let all = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|_| wrong("is no PEM file"))?;
    if all.is_empty() {
        return Err(wrong("holds no certificate"));
    }
    let one = |der: CertificateDer<'static>| Certificate::from_der(der.to_vec());
    let all = all.into_iter().map(one).collect::<Result<_, _>>();
    all.map_err(|error| wrong(&format!("holds a certificate that cannot be used ({error})")))
}
