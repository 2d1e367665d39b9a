//! The dashboard over HTTP.

mod access;
mod fhir;
mod pages;
mod site;
