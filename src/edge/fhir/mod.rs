//! FHIR R4 resources in JSON: what they say of patients.
//!
//! [`parcel`] opens what came over HTTP, a resource or a Bundle of them; `resource` has the fields
//! that are read; `observation`, `encounter`, `patient` and [`imaging_study`] turn them into the
//! acts of [`crate::engine::resolve`]; `hear` brings them to the desk, and [`outcome`] says what
//! became of them.
//!
//! # Who is meant
//!
//! A patient or an encounter is known by the id of its resource, so that `Patient/7` means the
//! resource with the id 7, whatever server the reference names; one without an id by its business
//! identifier (a medical record number before others), as are references that give only that. One
//! sender must not mean the same patient now by the one and now by the other. What has no id gets
//! one that leads back to the keyed hash by which it is known, and may be used from then on.
//!
//! # Versions
//!
//! The id of an Observation and its code name a result. A version that comes later in time
//! (`issued`) takes its place; `cancelled` and `entered-in-error` take it back. The same content
//! again changes nothing. `versionId` decides nothing: a sender that says something else under an
//! old one must not be lost.
//!
//! # Films
//!
//! An ImagingStudy only says where films are. `http::fhir` fetches them before the desk is asked
//! and hands them in with the study, so that one commit has all of a request, and a transaction is
//! all or none with its films, too. They are fetched however often the study comes: a film that
//! the archive has only now is taken then, and one that is known changes nothing. A study that is
//! `cancelled` or `entered-in-error` takes back the films that it names, whichever way they came;
//! its subject must be the patient of the films (by `edge.systems`, where their numbers differ).
//!
//! Everything here is total: no input panics, and every list has a named bound.

mod context;
mod encounter;
mod hear;
pub mod imaging_study;
mod names;
mod observation;
pub mod outcome;
pub mod parcel;
mod patient;
mod resource;
mod time;
mod value;

pub use hear::{Fate, Told};
pub use names::Stays;
pub use outcome::{Issue, Severity};
pub use parcel::{Form, Item, Kind, Parcel};
