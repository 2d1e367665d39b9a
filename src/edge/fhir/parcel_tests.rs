//! Requests opened: single resources, Bundles, and what is wrong with them.

use serde_json::{Value, json};

use super::*;

fn open(target: Target<'_>, body: &Value) -> Parcel {
    Parcel::open(target, body.to_string().as_bytes(), String::new(), String::new())
}

fn fault(item: &Item) -> &str {
    item.fault.as_ref().map_or("", |fault| fault.detail.as_str())
}

#[test]
fn a_resource_must_be_what_its_address_says() {
    let target = Target::Update(Kind::Observation, "7");
    let one = |body: Value| open(target, &body).items.remove(0);
    let item = one(json!({ "resourceType": "Observation" }));
    assert!(item.fault.is_none() && item.is_update && item.content["id"] == "7");
    assert!(fault(&one(json!({ "resourceType": "Observation", "id": "8" }))).contains("id is not"));
    assert!(fault(&one(json!({ "resourceType": "Patient" }))).contains("resourceType is not"));
    assert!(fault(&one(json!({ "resourceType": "Claim" }))).contains("only Patient"));
    assert!(fault(&one(json!([]))).contains("resourceType is missing"));
    let cut = Parcel::open(target, b"{\"resourceType\": \"Obs", String::new(), String::new());
    assert!(fault(&cut.items[0]).contains("no JSON"));
    let deep = "[".repeat(100_000);
    let deep = Parcel::open(target, deep.as_bytes(), String::new(), String::new());
    assert!(fault(&deep.items[0]).contains("no JSON"));
}

fn entry(method: &str, url: &str, full_url: &str, resource: Value) -> Value {
    let request = json!({ "method": method, "url": url });
    json!({ "fullUrl": full_url, "resource": resource, "request": request })
}

#[test]
fn entries_refer_to_each_other_by_what_they_are_called() {
    let numbers = json!([{ "system": "urn:x", "value": "1" },
        { "system": "urn:h", "value": "42", "type": { "coding": [{ "code": "MR" }] } }]);
    let patient =
        json!({ "resourceType": "Patient", "identifier": numbers, "birthDate": "1957-03-01" });
    let subject = json!({ "reference": "urn:uuid:p" });
    let encounter = json!({ "resourceType": "Encounter", "id": "e", "subject": subject });
    let result = json!({
        "resourceType": "Observation", "subject": subject,
        "encounter": { "reference": "urn:uuid:e", "display": "x" },
    });
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        entry("POST", "Observation", "urn:uuid:o", result),
        entry("PUT", "Encounter/e", "urn:uuid:e", encounter),
        entry("POST", "Patient", "urn:uuid:p", patient),
    ]});
    let parcel = open(Target::Base, &bundle);
    assert_eq!(parcel.form, Form::Transaction);
    assert!(parcel.items.iter().all(|item| item.fault.is_none()));
    let by_number = json!({ "identifier": { "system": "urn:h", "value": "42" } });
    assert_eq!(parcel.items[0].content["subject"], by_number);
    assert_eq!(parcel.items[0].content["encounter"]["reference"], "Encounter/e");
    let brought = parcel.items[1].patient.as_ref().expect("the patient");
    assert_eq!(brought["birthDate"], "1957-03-01");
}

#[test]
fn a_contained_patient_is_known_by_its_identifier() {
    let number = json!([{ "system": "urn:h", "value": "42" }]);
    let patient = json!({ "resourceType": "Patient", "id": "p", "identifier": number });
    let encounter = json!({
        "resourceType": "Encounter", "id": "e", "contained": [patient],
        "subject": { "reference": "#p" },
    });
    let item = open(Target::Create(Kind::Encounter), &encounter).items.remove(0);
    assert_eq!(item.content["subject"]["identifier"]["value"], "42");
    assert!(item.patient.is_some());
}

#[test]
fn what_is_wrong_with_a_bundle_is_said() {
    let refused = |bundle: &Value| {
        let parcel = open(Target::Base, bundle);
        assert_eq!(parcel.form, Form::Single);
        fault(&parcel.items[0]).to_owned()
    };
    assert!(refused(&json!({ "resourceType": "Patient" })).contains("takes a Bundle"));
    let kind = |kind: &str| json!({ "resourceType": "Bundle", "type": kind, "entry": 7 });
    assert!(refused(&kind("history")).contains("batch or a transaction"));
    assert!(refused(&kind("batch")).contains("no list"));
    let many: Vec<Value> = vec![json!({}); MAX_ENTRIES + 1];
    let many = json!({ "resourceType": "Bundle", "type": "batch", "entry": many });
    assert!(refused(&many).contains("in parts"));
    let wrong = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        entry("DELETE", "Patient/1", "", Value::Null),
        entry("PUT", "Patient", "", json!({ "resourceType": "Patient" })),
        entry("POST", "Claim", "", json!({ "resourceType": "Claim" })),
        json!("nothing"),
    ]});
    let parcel = open(Target::Base, &wrong);
    assert_eq!((parcel.form, parcel.items.len()), (Form::Batch, 4));
    assert!(parcel.items.iter().all(|item| item.fault.is_some()));
    assert!(
        open(Target::Base, &json!({ "resourceType": "Bundle", "type": "batch" })).items.is_empty()
    );
}
