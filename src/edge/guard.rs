//! What a connection must pass before its sender is heard.

use std::io;
use std::path::PathBuf;
#[cfg(feature = "https")]
use std::sync::Arc;
#[cfg(feature = "https")]
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

#[cfg(feature = "https")]
use super::tls;
use crate::config::TlsConfig;
use crate::time::WallTime;

/// How long the handshake of TLS may take, with DICOM as far as the association. A connection
/// holds a place meanwhile.
#[cfg(feature = "https")]
pub(super) const HANDSHAKE: Duration = Duration::from_secs(15);

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum GuardError {
    #[error("{key} names {}: {why}", path.display())]
    File { key: &'static str, path: PathBuf, why: String },
    #[error("edge.tls_certificate asks for TLS; build with --features https")]
    NotBuilt,
}

/// TLS, or nothing.
#[derive(Clone, Default)]
pub struct Guard {
    #[cfg(feature = "https")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A connection on which nothing was said yet.
pub(super) enum Taken {
    Plain(TcpStream),
    /// The handshake is to come.
    #[cfg(feature = "https")]
    Tls(TcpStream, Arc<rustls::ServerConfig>),
}

/// Bytes both ways.
pub(super) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

impl Guard {
    /// The guard that the files of a configuration make.
    ///
    /// # Errors
    /// If one of them cannot be used, or this build has no TLS.
    pub fn open(config: Option<&TlsConfig>) -> Result<Self, GuardError> {
        match config {
            None => Ok(Guard::default()),
            #[cfg(feature = "https")]
            Some(config) => Ok(Guard { tls: Some(tls::server(config)?) }),
            #[cfg(not(feature = "https"))]
            Some(_) => Err(GuardError::NotBuilt),
        }
    }

    /// Whether the files can be used, and the certificate holds at `now`.
    ///
    /// # Errors
    /// As [`Guard::open`], or if it has expired.
    #[cfg_attr(not(feature = "https"), expect(unused_variables))]
    pub fn check(config: &TlsConfig, now: WallTime) -> Result<(), GuardError> {
        Guard::open(Some(config))?;
        #[cfg(feature = "https")]
        tls::valid(config, now)?;
        Ok(())
    }

    pub(super) fn take(&self, stream: TcpStream) -> Taken {
        #[cfg(feature = "https")]
        if let Some(tls) = &self.tls {
            return Taken::Tls(stream, Arc::clone(tls));
        }
        Taken::Plain(stream)
    }
}

impl Taken {
    /// The bytes that are meant, after the handshake if there is one.
    pub(super) async fn open(self) -> io::Result<Box<dyn Line>> {
        match self {
            Taken::Plain(stream) => Ok(Box::new(stream)),
            #[cfg(feature = "https")]
            Taken::Tls(stream, config) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(config);
                let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
                Ok(Box::new(shaken??))
            }
        }
    }
}
