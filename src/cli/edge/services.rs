//! The edge's services over HTTP.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use axum::Router;
use axum::http::StatusCode;

use crate::cli::serving::access;
use crate::config::Config;
use crate::edge::Hatch;
use crate::edge::dicom::Intake;
use crate::edge::fhir::Parcel;
use crate::http::access::Access;
use crate::http::dashboard::Dashboard;
use crate::http::dicomweb::{self, Archive, ArchiveError};
use crate::http::fhir::receive::{DURABLE, Receiver, routes};
use crate::http::fhir::studies::{FETCHING, Films};
use crate::http::fhir::{BASE, Offer, answer, metadata};

/// FHIR: what is taken, and what is served over a run.
pub fn fhir(
    address: SocketAddr,
    config: &Config,
    pages: Option<&Dashboard>,
    hatch: Hatch<Parcel>,
    intake: &Intake,
) -> Result<Router> {
    let access = admitted(address, config)?;
    let served = pages.map(Dashboard::offer).unwrap_or_default();
    let films = config.edge.wado.as_ref().map(|wado| {
        let (archive, intake) = (Archive::open(wado)?, intake.clone());
        Ok::<_, ArchiveError>(Films { archive, intake, patience: FETCHING })
    });
    let films = films.transpose()?;
    Ok(routes(Receiver { hatch, access, patience: DURABLE, films })
        .merge(metadata(Offer { takes: true, ..served }))
        .merge(pages.map(Dashboard::services).unwrap_or_default())
        .method_not_allowed_fallback(|| async {
            let text = "this is not done here; see [base]/metadata";
            answer::failed(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
        })
        .fallback(|| async {
            let text = format!("there is nothing here; the base is {BASE}");
            answer::failed(StatusCode::NOT_FOUND, "not-found", &text)
        }))
}

/// DICOMweb: STOW-RS and nothing else.
pub fn dicomweb(address: SocketAddr, config: &Config, intake: Intake) -> Result<Router> {
    Ok(dicomweb::routes(dicomweb::Receiver::new(intake, admitted(address, config)?)))
}

/// Who may send; everybody, if only this machine can.
fn admitted(address: SocketAddr, config: &Config) -> Result<Access> {
    let access = access(config)?;
    if access.is_open() && !address.ip().is_loopback() {
        bail!(
            "without http.tokens the service is open, so it is for loopback only; set http.tokens"
        );
    }
    Ok(access)
}
