//! Replayed events as a hospital's FHIR server would send them.

use nowcxr::edge::fhir::Parcel;
use nowcxr::edge::fhir::parcel::Target;
use nowcxr::event::dictionary::Dictionary;
use nowcxr::event::{Disposition, RawValue, Sex};
use nowcxr::replay::{Body, Measured, ReplayEvent};
use nowcxr::time::EventTime;
use serde_json::{Value, json};

/// One request.
pub fn parcel(event: &ReplayEvent, dictionary: &Dictionary) -> Option<Parcel> {
    let (seen, known) = (event.observed_at.to_string(), event.available_at);
    let resources = match &event.body {
        Body::Admitted(admission) => {
            let year: i64 = seen[..4].parse().unwrap();
            let born = format!("{}{}", year - i64::from(admission.age_years), &seen[4..10]);
            let gender = if admission.sex == Sex::Female { "female" } else { "male" };
            let patient = json!({
                "resourceType": "Patient", "id": patient(event), "birthDate": born,
                "gender": gender,
            });
            vec![patient, encounter(event, "in-progress", Some(&admission.unit))]
        }
        Body::Transferred { unit } => vec![encounter(event, "in-progress", Some(unit))],
        Body::Discharged { disposition } => {
            let code = if *disposition == Disposition::Died { "exp" } else { "home" };
            let mut ended = encounter(event, "finished", None);
            ended["period"] = json!({ "end": seen });
            let coding = json!([{ "code": code }]);
            ended["hospitalization"] = json!({ "dischargeDisposition": { "coding": coding } });
            vec![ended]
        }
        Body::Lab(measured) => vec![observation(event, measured, "laboratory", known, dictionary)?],
        Body::Chart(measured) => {
            vec![observation(event, measured, "vital-signs", known, dictionary)?]
        }
        Body::Filmed(_) => return None,
    };
    let entry = |resource: Value| {
        let text = |key: &str| resource[key].as_str().unwrap().to_owned();
        let url = format!("{}/{}", text("resourceType"), text("id"));
        json!({ "resource": resource, "request": { "method": "PUT", "url": url } })
    };
    let entries: Vec<Value> = resources.into_iter().map(entry).collect();
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    let body = bundle.to_string();
    Some(Parcel::open(Target::Base, body.as_bytes(), "twin".to_owned(), String::new()))
}

fn patient(event: &ReplayEvent) -> String {
    format!("p{}", event.stay)
}

fn encounter(event: &ReplayEvent, status: &str, unit: Option<&String>) -> Value {
    let seen = event.observed_at.to_string();
    let place = |unit| json!({ "location": { "display": unit }, "period": { "start": seen } });
    json!({
        "resourceType": "Encounter", "id": format!("e{}", event.stay), "status": status,
        "meta": { "lastUpdated": event.available_at.to_string() },
        "subject": { "reference": format!("Patient/{}", patient(event)) },
        "location": unit.map(place).into_iter().collect::<Vec<_>>(),
    })
}

fn observation(
    event: &ReplayEvent,
    measured: &Measured,
    category: &str,
    known: EventTime,
    dictionary: &Dictionary,
) -> Option<Value> {
    let item = dictionary.item(measured.item)?;
    let loinc = dictionary.variable(item.variable)?.loinc.first()?;
    let unit = measured.unit.as_deref().or(item.unit.as_deref());
    let mut resource = json!({
        "resourceType": "Observation", "id": event.id.to_string(), "status": "final",
        "category": [{ "coding": [{ "code": category }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": loinc }] },
        "subject": { "reference": format!("Patient/{}", patient(event)) },
        "encounter": { "reference": format!("Encounter/e{}", event.stay) },
        "effectiveDateTime": event.observed_at.to_string(),
        "issued": known.to_string(),
    });
    match &measured.value {
        RawValue::Number(number) => {
            resource["valueQuantity"] = json!({ "value": number, "unit": unit });
        }
        RawValue::Text(text) => resource["valueString"] = json!(text),
    }
    if let Some(specimen) = &measured.specimen {
        resource["specimen"] = json!({ "display": specimen });
    }
    Some(resource)
}
