//! The archive, asked for films by WADO-RS (PS3.18 10.4).
//!
//! There is one, and its base is configured: nothing that a sender says leads to another host or
//! path, since UIDs are digits and dots, and redirections are not followed.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use ureq::http::header;

use super::multipart::{self, MAX_ANSWER_BYTES, Unreadable};
use crate::config::WadoConfig;
use crate::edge::fhir::imaging_study::Named;
use crate::event::{Reason, Rejection};
use crate::film::MAX_ENCODED_BYTES;
use crate::transport::DISTRUST;
#[cfg(feature = "https")]
use crate::transport::trust;

/// Films that are fetched at once. Each may be held in memory twice.
const MAX_FETCHES: usize = 4;
/// From the first byte of a question to the last of its answer.
const FETCH: Duration = Duration::from_secs(30);
/// DICOM files, in the transfer syntax that every archive can give (PS3.18 8.7.3.5).
const ACCEPT: &str = "multipart/related; type=\"application/dicom\"";

/// A UID made of the number 0 (PS3.5 B.2), which no instance has.
const NOBODYS: &str = "2.25.0";

/// Why there is no archive.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("edge.wado_token names a file that cannot be read ({0})")]
    Token(std::io::Error),
    #[error("edge.wado {0:?} is no address; write http://host:port/path")]
    Address(String),
    #[cfg(feature = "https")]
    #[error("{0}")]
    Trust(String),
}

/// Why a film is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfetched {
    /// The archive does not give it now; for a person who can mend that.
    Later(String),
    /// The archive does not have it, or gives something else.
    Missing(Rejection),
}

/// One archive.
#[derive(Clone)]
pub struct Archive {
    agent: ureq::Agent,
    base: String,
    authorization: Option<String>,
    places: Arc<Semaphore>,
}

/// A file, and the place that it takes until it is dropped.
pub struct Fetched {
    pub file: Vec<u8>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Archive {
    /// # Errors
    /// If the token or the certificates cannot be read, or the address is none.
    pub fn open(config: &WadoConfig) -> Result<Self, ArchiveError> {
        let base = config.base.clone();
        base.parse::<ureq::http::Uri>().map_err(|_| ArchiveError::Address(base.clone()))?;
        let token = config.token.reveal().map_err(ArchiveError::Token)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(FETCH))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("nowcxr/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "https")]
        let agent = {
            let tls = trust::believing(config.ca.as_deref(), "edge.wado_ca");
            agent.tls_config(tls.map_err(ArchiveError::Trust)?)
        };
        Ok(Archive {
            agent: agent.build().into(),
            base,
            authorization: (!token.is_empty()).then(|| format!("Bearer {token}")),
            places: Arc::new(Semaphore::new(MAX_FETCHES)),
        })
    }

    /// Fetches the file of an instance, once there is a place. A question that nobody waits for
    /// any more keeps its place until it ends.
    ///
    /// # Errors
    /// If it cannot be had now, or not at all.
    pub async fn fetch(&self, film: &Named) -> Result<Fetched, Unfetched> {
        let stopping = || Unfetched::Later("the edge is stopping".to_owned());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| stopping())?;
        let place = Arc::new(place);
        let url = self.address(&film.study, &film.series, &film.instance);
        let (archive, held) = (self.clone(), Arc::clone(&place));
        let asking = tokio::task::spawn_blocking(move || {
            let _held = held;
            archive.ask(&url)
        });
        let (headers, body) = asking.await.map_err(|_| stopping())??;
        let file = multipart::file(&headers, body).await.map_err(|why| match why {
            Unreadable::CutOff => Unfetched::Later("its answer is cut off".to_owned()),
            Unreadable::Other(why) => missing(Reason::FilmUndecodable, &why),
        })?;
        Ok(Fetched { file, _place: place })
    }

    /// Asks for a film that nobody has, on this thread: whether it is answered.
    ///
    /// # Errors
    /// Why films cannot be had now.
    pub fn reach(&self) -> Result<(), String> {
        let url = self.address(&NOBODYS, &NOBODYS, &NOBODYS);
        match self.ask(&url) {
            Ok(_) | Err(Unfetched::Missing(_)) => Ok(()),
            Err(Unfetched::Later(why)) => Err(why),
        }
    }

    fn address(
        &self,
        study: &impl Display,
        series: &impl Display,
        instance: &impl Display,
    ) -> String {
        format!("{}/studies/{study}/series/{series}/instances/{instance}", self.base)
    }

    fn ask(&self, url: &str) -> Result<(HeaderMap, Vec<u8>), Unfetched> {
        let request = self.agent.get(url).header(header::ACCEPT, ACCEPT);
        let request = match &self.authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        };
        let mut answer = request.call().map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Err(missing(Reason::FilmUnavailable, "it does not have it")),
            status @ (300..=399 | 401 | 403 | 407) => {
                return Err(Unfetched::Later(format!(
                    "it answers {status}; check edge.wado and edge.wado_token"
                )));
            }
            status @ (408 | 425 | 429 | 500..) => {
                return Err(Unfetched::Later(format!("it answers {status}")));
            }
            status => {
                return Err(missing(Reason::FilmUnavailable, &format!("it answers {status}")));
            }
        }
        let limit = MAX_ANSWER_BYTES as u64;
        let body = answer.body_mut().with_config().limit(limit).read_to_vec().map_err(failed)?;
        Ok((answer.headers().clone(), body))
    }
}

/// What the archive will not give another time, either. `why` names no person.
fn missing(reason: Reason, why: &str) -> Unfetched {
    Unfetched::Missing(Rejection::new(reason, format!("asked for it, the archive: {why}")))
}

fn failed(error: ureq::Error) -> Unfetched {
    match error {
        ureq::Error::BodyExceedsLimit(_) => {
            let why = format!("gives a file of more than {MAX_ENCODED_BYTES} bytes");
            missing(Reason::FilmTooLarge, &why)
        }
        // Not its text, which may repeat the address with its UIDs.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Unfetched::Later("it cannot be asked; check edge.wado".to_owned())
        }
        error => match error.to_string() {
            why if why.contains(DISTRUST) => Unfetched::Later(format!(
                "its certificate is not believed ({why}); set edge.wado_ca to that of who signed it"
            )),
            why => Unfetched::Later(format!("it does not answer ({why})")),
        },
    }
}
