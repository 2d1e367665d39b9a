//! What a sender of FHIR says: resources, and the words that steer whoever reads them. The fuzz
//! target of FHIR begins with them, too.

use nowcxr::time::EventTime;
use serde_json::{Value, json};

/// 2026-03-01T08:00:00Z, in milliseconds.
pub const MORNING: i64 = 1_772_352_000_000;

/// Words that steer the readers, and some that do not.
pub const WORDS: [&str; 54] = [
    "resourceType",
    "Patient",
    "Encounter",
    "Observation",
    "Bundle",
    "batch",
    "transaction",
    "type",
    "id",
    "identifier",
    "system",
    "value",
    "meta",
    "lastUpdated",
    "status",
    "final",
    "finished",
    "entered-in-error",
    "in-progress",
    "code",
    "coding",
    "http://loinc.org",
    "2345-7",
    "subject",
    "reference",
    "Patient/p1",
    "urn:uuid:1",
    "#p",
    "encounter",
    "effectiveDateTime",
    "issued",
    "2026-03-01T08:00:00Z",
    "0000-99-99T99:99:99+99:99",
    "valueQuantity",
    "valueString",
    "component",
    "contained",
    "location",
    "period",
    "start",
    "entry",
    "resource",
    "request",
    "fullUrl",
    "ImagingStudy",
    "available",
    "urn:dicom:uid",
    "urn:oid:1.2",
    "1.2.840.1",
    "uid",
    "series",
    "instance",
    "modality",
    "DX",
];

/// Minutes after [`MORNING`], as FHIR writes it.
pub fn at(minute: i64) -> String {
    EventTime::from_millis(MORNING + minute * 60_000).to_string()
}

pub fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1957-02-03",
        "name": [{ "family": "MUSTER", "given": ["ERIKA"] }],
    })
}

/// An Encounter of `p1` in a unit, an hour before [`MORNING`].
pub fn encounter(unit: &str) -> Value {
    json!({
        "resourceType": "Encounter", "id": "e1", "status": "in-progress",
        "class": { "code": "IMP" },
        "subject": { "reference": "Patient/p1" },
        "period": { "start": at(-60) },
        "location": [{ "location": { "display": unit }, "period": { "start": at(-60) } }],
    })
}

/// A final Observation of `p1`, observed ten minutes before it was issued at `minute`.
pub fn observation(id: &str, minute: i64, loinc: &str, value: f64, unit: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": loinc }] },
        "subject": { "reference": "Patient/p1" },
        "encounter": { "reference": "Encounter/e1" },
        "effectiveDateTime": at(minute - 10),
        "issued": at(minute),
        "valueQuantity": {
            "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit,
        },
    })
}

/// The same with another field.
pub fn with(mut resource: Value, field: &str, value: Value) -> Value {
    resource[field] = value;
    resource
}

pub fn without(mut resource: Value, field: &str) -> Value {
    resource.as_object_mut().unwrap().remove(field);
    resource
}

/// A patient with an encounter, a result and a panel, as a batch.
pub fn bundle() -> Value {
    let entry = |resource: Value| {
        let text = |key: &str| resource[key].as_str().unwrap().to_owned();
        let url = format!("{}/{}", text("resourceType"), text("id"));
        let request = json!({ "method": "PUT", "url": url });
        json!({ "fullUrl": "urn:uuid:1", "resource": resource, "request": request })
    };
    let part = json!({ "code": { "coding": [{ "code": "8480-6" }] }, "valueInteger": 120 });
    let mut panel = observation("b", 0, "85354-9", 1.0, "mm[Hg]");
    panel["component"] = json!([part]);
    let entries =
        [patient(), encounter("MICU"), observation("g", 0, "2345-7", 104.0, "mg/dL"), panel];
    json!({ "resourceType": "Bundle", "type": "batch", "entry": entries.map(entry) })
}
