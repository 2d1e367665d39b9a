//! What programs read of stays: RiskAssessment, Provenance, AuditEvent and cards.

use std::collections::BTreeMap;

use nowcxr::edge::fhir::Stays;
use nowcxr::event::risk::Mode;
use nowcxr::http::access::Role;
use serde_json::{Value, json};

use super::access::{guarded, status};
use super::site::{SECRET, ask, get, risk, send, site};

/// The JSON of an answer.
fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|why| panic!("{why} in {answer}"))
}

fn found(answer: &str) -> Vec<Value> {
    assert_eq!(status(answer), 200, "{answer}");
    let bundle = body(answer);
    assert_eq!(bundle["type"], "searchset");
    bundle["entry"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_stays_risks_are_found_by_its_number_and_by_its_encounter() {
    let mut site = site();
    let stays = Stays::new(&SECRET, "", &BTreeMap::new());
    let second = stays.of_id("e1").nth(1).expect("an id");
    let mut later = risk(second.0);
    send(&mut site.outlet, 2, &later);
    later.revision = 1;
    later.supersedes = Some(later.event_id);
    send(&mut site.outlet, 3, &later);
    site.wait_for(second, 2);
    let search =
        |asked: &str| get(site.address, &format!("/fhir/RiskAssessment?{asked}"), "localhost");
    for asked in ["encounter=1", "encounter=Encounter/1"] {
        assert_eq!(found(&search(asked)).len(), 1, "{asked}");
    }
    let of_encounter = found(&search("encounter=Encounter/e1"));
    assert_eq!(of_encounter.len(), 1, "each window in its newest revision");
    let assessment = &of_encounter[0]["resource"];
    assert_eq!(assessment["status"], "corrected");
    assert_eq!(assessment["encounter"]["identifier"]["value"], second.to_string());
    assert_eq!(found(&search("encounter=e2")).len(), 0);
    let counted = body(&search("encounter=1&_count=0"));
    assert!(counted["total"] == 1 && counted.get("entry").is_none(), "{counted}");
    let number =
        Stays::new(&SECRET, "", &BTreeMap::new()).of_number("urn:h", "V42").next().expect("an id");
    send(&mut site.outlet, 4, &risk(number.0));
    site.wait_for(number, 1);
    assert_eq!(found(&search("encounter:identifier=urn:h|V42")).len(), 1);
    for (asked, why) in
        [("", "whose"), ("encounter=1&date=2026", "date"), ("encounter=1&_count=x", "_count")]
    {
        let refused = search(asked);
        assert_eq!(status(&refused), 400, "{refused}");
        assert!(body(&refused)["issue"][0]["details"]["text"].to_string().contains(why));
    }
}

#[test]
fn an_assessment_and_its_provenance_are_read_by_one_id() {
    let site = site();
    let read = |path: &str| get(site.address, path, "localhost");
    let all = found(&read("/fhir/RiskAssessment?encounter=1"));
    let id = all[0]["resource"]["id"].as_str().expect("an id").to_owned();
    let assessment = read(&format!("/fhir/RiskAssessment/{id}"));
    assert!(assessment.contains("application/fhir+json") && assessment.contains("no-store"));
    assert_eq!(body(&assessment), all[0]["resource"]);
    let provenance = body(&read(&format!("/fhir/Provenance/{id}")));
    assert_eq!(provenance["target"][0]["reference"], format!("RiskAssessment/{id}"));
    for wrong in
        ["/fhir/RiskAssessment/1-2-3", "/fhir/Provenance/x", "/fhir/Patient/1", "/fhir/x/y/z"]
    {
        let answer = read(wrong);
        assert_eq!(status(&answer), 404, "{wrong}");
        assert_eq!(body(&answer)["resourceType"], "OperationOutcome", "{wrong}");
    }
    let written =
        ask(site.address, "DELETE /fhir/RiskAssessment/1-2-3", &[("Host", "localhost")], "");
    assert!(status(&written) == 405 && body(&written)["issue"][0]["code"] == "not-supported");
    let said = body(&read("/fhir/metadata"));
    let types = said["rest"][0]["resource"].as_array().expect("types");
    assert_eq!(types.len(), 2, "nobody's looks are written down: {said}");
    assert!(get(site.address, "/fhir/metadata", "evil.example").starts_with("HTTP/1.1 421"));
}

#[test]
fn every_look_by_a_program_is_an_audit_event() {
    let site = guarded();
    let ask = |role: Option<Role>, path: &str| {
        let bearer = role.map(|role| format!("Bearer {}", site.token(role)));
        let mut headers = vec![("Host", "icu.example")];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        ask(site.address(), &format!("GET {path}"), &headers, "")
    };
    let search = "/fhir/RiskAssessment?encounter=1";
    for (role, wanted) in [(None, 401), (Some(Role::Viewer), 403), (Some(Role::Clinician), 200)] {
        let answer = ask(role, search);
        assert_eq!(status(&answer), wanted);
        let kind = if wanted == 200 { "Bundle" } else { "OperationOutcome" };
        assert_eq!(body(&answer)["resourceType"], kind);
    }
    assert_eq!(status(&ask(Some(Role::Admin), "/fhir/Provenance/1-5-0")), 404);
    assert_eq!(status(&ask(Some(Role::Clinician), "/fhir/AuditEvent")), 403);
    let events = found(&ask(Some(Role::Admin), "/fhir/AuditEvent"));
    let what: Vec<&str> = events
        .iter()
        .map(|event| event["resource"]["entity"][0]["description"].as_str().expect("a text"))
        .collect();
    assert_eq!(
        what,
        ["provenance", "risk assessments"],
        "newest first, and none for who was not let in"
    );
    let id = events[0]["resource"]["id"].as_str().expect("an id");
    assert_eq!(events[0]["fullUrl"], format!("urn:uuid:{id}"));
    assert_eq!(site.looks().len(), 2);
    let types = body(&ask(None, "/fhir/metadata"));
    assert!(types.to_string().contains("AuditEvent"));
}

#[test]
fn a_card_is_shown_unless_the_mode_is_silent() {
    let mut site = site();
    let hook = |address, hook: &str, encounter: Value| {
        let body = json!({ "hook": hook, "hookInstance": "x", "context": {
            "userId": "Practitioner/1", "patientId": "1", "encounterId": encounter,
        }});
        let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
        ask(address, "POST /cds-services/nowcxr-risk", &headers, &body.to_string())
    };
    let services = body(&get(site.address, "/cds-services", "localhost"));
    assert_eq!(services["services"][0]["id"], "nowcxr-risk");
    let address = site.address;
    let cards = move |encounter: Value| {
        let answer = hook(address, "patient-view", encounter);
        assert_eq!(status(&answer), 200, "{answer}");
        body(&answer)["cards"].as_array().expect("a list").clone()
    };
    assert!(cards(json!("1")).is_empty(), "silent");
    let mut told = risk(5);
    told.mode = Mode::Passive;
    send(&mut site.outlet, 2, &told);
    site.wait_for(told.stay_id, 1);
    let all = cards(json!("5"));
    assert_eq!((all.len(), &all[0]["indicator"]), (1, &json!("info")));
    let summary = all[0]["summary"].as_str().expect("a text");
    assert!(summary.contains("Not validated") && summary.contains("13 %"), "{summary}");
    assert!(all[0]["detail"].as_str().expect("a text").contains("last chest film: 2.5 h old"));
    assert!(cards(json!("6")).is_empty() && cards(Value::Null).is_empty());
    assert_eq!(status(&hook(site.address, "order-sign", json!("5"))), 400);
    let headers = [("Host", "localhost")];
    let nonsense = ask(site.address, "POST /cds-services/nowcxr-risk", &headers, "{");
    assert_eq!(status(&nonsense), 400);
}
