//! FHIR R4 over HTTP, in JSON: what hospitals send is taken ([`receive`]), and what was said of
//! their stays is served. One file for each resource that leaves.
//!
//! Every answer below [`BASE`] is a resource: where something was not done, an OperationOutcome
//! that says why and what to do.

pub mod answer;
mod capability;
mod device;
pub mod provenance;
pub mod receive;
pub mod risk_assessment;
pub mod searchset;
pub mod studies;
pub(super) mod systems;

pub use capability::{Offer, metadata};

/// Where the FHIR service stands on its server.
pub const BASE: &str = "/fhir";
