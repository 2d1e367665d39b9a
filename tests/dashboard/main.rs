//! The dashboard over HTTP.

mod access;
mod acts;
mod fhir;
mod pages;
mod site;
