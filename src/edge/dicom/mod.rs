//! DICOM: films as modalities and archives send them.
//!
//! [`scp`] takes them by C-STORE (PS3.4 B), `http::dicomweb` by STOW-RS (PS3.18 10.5), and fetches
//! those that FHIR's ImagingStudy announces by WADO-RS (10.4). An [`Instance`] is decoded and
//! judged where it came in, beside the desk, and what is left of it comes to the desk: view, moment
//! and 224 × 224 pixels. The file itself, with names and numbers in it, is kept nowhere.
//!
//! # Who is meant
//!
//! A patient by Patient ID and its issuer, a visit by Admission ID and its issuer, as HL7's PID-3
//! and PV1-19 with their authorities: so the same desk must hear both.
//!
//! # Versions
//!
//! The SOP Instance UID names a film. The same file again changes nothing; another file under the
//! same UID takes its place. A rejection note, a key object selection such as archives send
//! by IHE's Imaging Object Change Management, takes back the films that it names.
//!
//! # What is answered
//!
//! A film of no use here (a lateral one, a secondary capture of something else) is a success: its
//! sender has nothing to mend, and would send it for ever. It is a dead letter with its reason.

pub mod command;
mod instance;
mod intake;
pub mod scp;
mod uid;

pub use instance::{Instance, Stored};
pub use intake::{Answered, Intake};
pub use uid::Uid;
