//! The fields of FHIR R4 resources that are read, and nothing else of them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::event::{Reason, Rejection};

/// What every resource may have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    pub id: Option<String>,
    pub identifier: Vec<Identifier>,
    pub meta: Meta,
    pub contained: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub last_updated: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Observation {
    pub status: Option<String>,
    pub category: Vec<CodeableConcept>,
    pub code: CodeableConcept,
    pub subject: Option<Reference>,
    pub encounter: Option<Reference>,
    pub effective_date_time: Option<String>,
    pub effective_instant: Option<String>,
    pub effective_period: Option<Period>,
    pub issued: Option<String>,
    pub specimen: Option<Reference>,
    /// Each with a code and a [`Measure`].
    pub component: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Component {
    pub code: CodeableConcept,
}

/// `value[x]` of an Observation or of a component.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Measure {
    pub value_quantity: Option<Quantity>,
    pub value_codeable_concept: Option<CodeableConcept>,
    pub value_string: Option<String>,
    pub value_integer: Option<i64>,
    pub data_absent_reason: Option<CodeableConcept>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Encounter {
    pub status: Option<String>,
    pub subject: Option<Reference>,
    pub period: Period,
    pub location: Vec<EncounterLocation>,
    pub hospitalization: Hospitalization,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct EncounterLocation {
    pub location: Reference,
    pub status: Option<String>,
    pub period: Period,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Hospitalization {
    pub discharge_disposition: CodeableConcept,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ImagingStudy {
    pub status: Option<String>,
    pub identifier: Vec<Identifier>,
    pub subject: Option<Reference>,
    pub series: Vec<Series>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Series {
    pub uid: Option<String>,
    pub modality: Coding,
    pub instance: Vec<SopInstance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SopInstance {
    pub uid: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Patient {
    pub birth_date: Option<String>,
    pub gender: Option<String>,
    pub link: Vec<PatientLink>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PatientLink {
    pub other: Reference,
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Specimen {
    #[serde(rename = "type")]
    pub kind: CodeableConcept,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reference {
    pub reference: Option<String>,
    pub identifier: Option<Identifier>,
    pub display: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Identifier {
    pub system: Option<String>,
    pub value: Option<String>,
    #[serde(rename = "type")]
    pub kind: CodeableConcept,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CodeableConcept {
    pub coding: Vec<Coding>,
    pub text: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Coding {
    pub system: Option<String>,
    pub code: Option<String>,
    pub display: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Quantity {
    pub value: Option<f64>,
    pub comparator: Option<String>,
    pub unit: Option<String>,
    pub system: Option<String>,
    pub code: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Period {
    pub start: Option<String>,
    pub end: Option<String>,
}

impl CodeableConcept {
    /// Whether one of its codes is this one, whatever the system.
    pub fn has(&self, code: &str) -> bool {
        self.coding.iter().any(|coding| coding.code.as_deref() == Some(code))
    }
}

/// A text that says something.
pub(super) fn said(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The fields of `T` in a resource or a part of one, which stands at `place`.
///
/// # Errors
/// [`Reason::Undecodable`] with the path of the field that is of another type. It repeats nothing
/// of what the field says.
pub(super) fn fields<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, Rejection> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path();
        let detail = format!("{place}.{path} is not of the type that FHIR R4 gives it");
        Rejection::new(Reason::Undecodable, detail)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_another_type_is_named_and_not_repeated() {
        let wrong = json!({ "code": { "coding": [{ "code": "MUSTER" }, { "code": ["MUSTER"] }] } });
        let error = fields::<Observation>(&wrong, "Observation").expect_err("a list");
        assert!(error.detail.starts_with("Observation.code.coding[1].code is"), "{error}");
        assert!(!error.detail.contains("MUSTER"));
        let odd = json!({ "status": null, "unheard": [1], "component": [] });
        assert!(fields::<Observation>(&odd, "Observation").expect("taken").status.is_none());
        assert!(fields::<Observation>(&json!([1]), "Observation").is_err());
    }
}
