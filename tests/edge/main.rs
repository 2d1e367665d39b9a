//! The hospital's edge from end to end: messages to the local log to the pipeline to risk events.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "https")]
#[path = "../tls/certificates.rs"]
mod certificates;
mod corpus;
mod crash;
mod dicom;
mod dicom_site;
mod fhir;
mod fhir_hostile;
mod fhir_resources;
mod fhir_site;
mod fhir_trouble;
mod fhir_twin;
#[path = "../parts/film_files.rs"]
mod film_files;
#[cfg(feature = "https")]
#[path = "../tls/front.rs"]
mod front;
mod morning;
mod rejections;
mod server;
mod studies;
mod study_site;
#[cfg(feature = "https")]
mod tls;
mod twin;
#[path = "../parts/world.rs"]
mod world;
