//! Where an edge listens: what the command line names, else what `[edge]` does.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use clap::Args;

use crate::config::Config;
use crate::edge::Language;

/// The listeners that a command line names. Port 0 takes a free one.
#[derive(Args)]
pub struct ListenArgs {
    /// Take HL7 v2 over MLLP here, as edge.hl7_listen says. If one of these four options is given,
    /// only what they name is listened to.
    #[arg(long, value_name = "ADDRESS")]
    hl7: Option<SocketAddr>,
    /// Take FHIR R4 over HTTP here, as edge.fhir_listen says.
    #[arg(long, value_name = "ADDRESS")]
    fhir: Option<SocketAddr>,
    /// Take films by DICOM C-STORE here, as edge.dicom_listen says.
    #[arg(long, value_name = "ADDRESS")]
    dicom: Option<SocketAddr>,
    /// Take films by STOW-RS over HTTP here, as edge.dicomweb_listen says.
    #[arg(long, value_name = "ADDRESS")]
    dicomweb: Option<SocketAddr>,
}

/// Where an edge listens; at least one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub hl7: Option<SocketAddr>,
    pub fhir: Option<SocketAddr>,
    pub dicom: Option<SocketAddr>,
    pub dicomweb: Option<SocketAddr>,
}

impl Addresses {
    pub fn of(args: &ListenArgs, config: &Config) -> Result<Self> {
        let &ListenArgs { hl7, fhir, dicom, dicomweb } = args;
        let named = Addresses { hl7, fhir, dicom, dicomweb };
        let edge = &config.edge;
        let (hl7, fhir) = (edge.hl7_listen, edge.fhir_listen);
        let (dicom, dicomweb) = (edge.dicom_listen, edge.dicomweb_listen);
        let configured = Addresses { hl7, fhir, dicom, dicomweb };
        match [named, configured].into_iter().find(|at| !at.languages(config).is_empty()) {
            Some(at) => Ok(at),
            None => bail!("every listener of [edge] is off; name one with --hl7 127.0.0.1:2575"),
        }
    }

    /// The languages that are heard. What FHIR has fetched is DICOM.
    pub fn languages(&self, config: &Config) -> Vec<Language> {
        let is_fetched = self.fhir.is_some() && config.edge.wado.is_some();
        let is_sent = self.dicom.is_some() || self.dicomweb.is_some();
        let heard = [
            (self.hl7.is_some(), Language::Hl7),
            (self.fhir.is_some(), Language::Fhir),
            (is_fetched || is_sent, Language::Dicom),
        ];
        heard.into_iter().filter(|(is_heard, _)| *is_heard).map(|(_, heard)| heard).collect()
    }
}
