//! Names of our own numbers, and references to what this service does not have.

use serde_json::{Value, json};

use crate::ids::StayId;

/// Numbers of stays.
pub const STAY: &str = "urn:nowcxr:stay";
/// SHA-256 of prepared films.
pub const FILM: &str = "urn:nowcxr:film";
/// SHA-256 of what a model was given.
pub const INPUT: &str = "urn:nowcxr:input";
/// SHA-256 of models: weights, noise, normalisers and calibration.
pub const MODEL: &str = "urn:nowcxr:model";
/// SHA-256 of configurations.
pub const CONFIG: &str = "urn:nowcxr:config";
/// Patients, by the keyed hashes of an edge.
pub const PERSON: &str = "urn:nowcxr:person";
/// What an edge did.
pub const ACT: &str = "urn:nowcxr:act";
/// What is predicted.
pub const OUTCOME: &str = "urn:nowcxr:outcome";

/// The encounter, by its stay's opaque number.
pub fn encounter(stay: StayId) -> Value {
    json!({
        "type": "Encounter",
        "identifier": { "system": STAY, "value": stay.to_string() },
    })
}

/// The patient, of whom this service knows nothing that would name him.
pub fn unknown_patient() -> Value {
    json!({
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }],
        "type": "Patient",
        "display": "the patient of this encounter",
    })
}
