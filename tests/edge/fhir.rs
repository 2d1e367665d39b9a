//! Resources over a real connection: what is answered, and which records follow.

use std::sync::atomic::Ordering;

use nowcxr::http::access::{Access, Role, mint};
use nowcxr::ids::{Digest, Topic};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fhir_site::{
    MORNING, Site, at, desk, encounter, issues, observation, patient, with, without,
};
use super::world::{config, facts, letters, log, pass, risk_events, wall};
use nowcxr::config::Config;
use nowcxr::time::EventTime;
use nowcxr::transport::local::LocalLog;
use std::sync::Arc;

struct Place {
    config: Config,
    log: Arc<LocalLog>,
    site: Site,
    dir: TempDir,
}

fn place() -> Place {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let site = Site::start(desk(&config, dir.path(), &log), Access::Open);
    Place { config, log, site, dir }
}

impl Place {
    /// A stay of `p1` in the MICU.
    fn admitted() -> Self {
        let place = place();
        assert_eq!(place.site.put("/fhir/Patient/p1", &patient()).status, 200);
        assert_eq!(place.site.put("/fhir/Encounter/e1", &encounter("MICU")).status, 200);
        place
    }

    fn facts(&self, topic: Topic) -> Vec<String> {
        facts(&self.config, &self.log, topic)
    }

    fn reasons(&self) -> Vec<String> {
        letters(&self.config, &self.log).into_iter().map(|(reason, _)| reason).collect()
    }
}

const GLUCOSE: &str = "2345-7";

#[test]
fn resources_become_facts_of_stays_before_they_are_answered() {
    let place = place();
    let site = &place.site;
    // The result comes before anything is known of its patient.
    let early = site.post("/fhir/Observation", &observation("g0", -30, GLUCOSE, 104.0, "mg/dL"));
    assert_eq!((early.status, early.issues()), (201, vec!["information informational".into()]));
    assert_eq!(early.header("location"), Some("/fhir/Observation/g0"));
    assert_eq!(site.put("/fhir/Encounter/e1", &encounter("MICU")).status, 200);
    assert_eq!(place.facts(Topic::Stay).len(), 0, "neither age nor sex is known");
    assert_eq!(site.put("/fhir/Patient/p1", &patient()).status, 200);
    let stay = place.facts(Topic::Stay);
    assert_eq!(stay.len(), 1);
    assert!(stay[0].contains("age_years: 69") && stay[0].contains("Female"), "{}", stay[0]);
    assert_eq!(place.facts(Topic::Lab).len(), 1, "what was held is told");
    let heart = observation("h1", 0, "8867-4", 88.0, "/min");
    assert_eq!(site.post("/fhir/Observation", &heart).status, 201);
    assert_eq!(place.facts(Topic::Vital).len(), 1);
    // The same again, and the same with another narrative.
    for again in [heart.clone(), with(heart, "text", json!({ "status": "generated" }))] {
        let answer = site.post("/fhir/Observation", &again);
        assert_eq!((answer.status, answer.issues()), (200, vec!["information duplicate".into()]));
    }
    assert_eq!(place.facts(Topic::Vital).len(), 1);
    place.site.end();
    for topic in Topic::ALL {
        let partition = place.log.partition(topic.name(), 0).unwrap();
        let mut reader = partition.reader(partition.start()).unwrap();
        while let Some(record) = reader.read().unwrap() {
            let text = String::from_utf8_lossy(&record.value).into_owned();
            assert!(!text.contains("MUSTER") && !text.contains("1957"), "{topic:?}");
        }
    }
    drop(place.dir);
}

#[test]
fn versions_correct_and_take_back() {
    let place = Place::admitted();
    let site = &place.site;
    let send = |resource: &Value| {
        let id = resource["id"].as_str().unwrap();
        site.put(&format!("/fhir/Observation/{id}"), resource)
    };
    let first = with(observation("g1", 0, GLUCOSE, 300.0, "mg/dL"), "status", json!("preliminary"));
    assert_eq!(send(&first).status, 200);
    let then = observation("g1", 5, GLUCOSE, 130.0, "mg/dL");
    // Corrected, and its time with it: the id says what is corrected.
    let then = with(then, "effectiveDateTime", json!(at(-12)));
    assert_eq!(send(&with(then.clone(), "status", json!("amended"))).status, 200);
    // An older version that was delayed changes nothing.
    let late = send(&with(first, "valueQuantity", json!({ "value": 280, "unit": "mg/dL" })));
    assert_eq!((late.status, late.issues()), (200, vec!["warning conflict".into()]));
    let lab = place.facts(Topic::Lab);
    assert_eq!(lab.len(), 2);
    assert!(lab[0].contains("Observed") && lab[1].contains("Corrected"), "{lab:?}");
    // Taken back by a system that keeps neither time nor value.
    let gone = json!({
        "resourceType": "Observation", "id": "g1", "status": "entered-in-error",
        "meta": { "lastUpdated": at(9) }, "code": then["code"], "subject": then["subject"],
    });
    assert_eq!(send(&gone).status, 200);
    let lab = place.facts(Topic::Lab);
    assert!(lab.len() == 3 && lab[2].contains("Retracted"), "{lab:?}");
    assert!(lab[2].contains(&format!("{}", MORNING + 9 * 60_000)), "known when it was changed");
    // Nothing is left that could be taken back.
    let again = send(&with(gone, "meta", json!({ "lastUpdated": at(10) })));
    assert_eq!((again.status, again.issues()), (200, vec!["warning not-found".into()]));
    assert_eq!(place.reasons(), ["outdated", "unknown_fact"]);
    place.site.end();
}

#[test]
fn a_panel_is_its_components() {
    let place = Place::admitted();
    let part = |loinc: &str, value: Value| {
        let coding = json!([{ "system": "http://loinc.org", "code": loinc }]);
        json!({ "code": { "coding": coding }, "valueQuantity": value })
    };
    let mercury = |value: f64| json!({ "value": value, "code": "mm[Hg]" });
    let components = json!([
        part("8480-6", mercury(121.0)),
        part("8462-4", mercury(68.0)),
        part("8478-0", json!({ "value": 85, "comparator": "<", "code": "mm[Hg]" })),
        part("9999-9", mercury(1.0)),
    ]);
    let panel = without(observation("b1", 0, "85354-9", 0.0, "x"), "valueQuantity");
    let answer =
        place.site.post("/fhir/Observation", &with(panel.clone(), "component", components));
    assert_eq!(answer.status, 201);
    assert_eq!(answer.issues(), ["warning value", "warning code-invalid"]);
    assert_eq!(answer.body["issue"][0]["expression"][0], "Observation.component[2]");
    assert_eq!(place.facts(Topic::Vital).len(), 2);
    let gone = with(panel, "status", json!("cancelled"));
    assert_eq!(place.site.put("/fhir/Observation/b1", &gone).status, 200);
    let told = place.facts(Topic::Vital);
    assert_eq!(told.iter().filter(|line| line.contains("Retracted")).count(), 2, "{told:?}");
    place.site.end();
}

/// What is sent, the status, the issues of the answer, and what becomes of it.
type Case = (&'static str, Value, u16, &'static [&'static str]);

fn usual(id: &str) -> Value {
    observation(id, 0, GLUCOSE, 104.0, "mg/dL")
}

/// Of whom and when.
fn odd_frames() -> Vec<Case> {
    let timeless = without(usual("t"), "effectiveDateTime");
    let nobody = without(usual("n"), "subject");
    let fine: &[&str] = &["information informational"];
    vec![
        (
            "a date without a time",
            with(usual("d"), "effectiveDateTime", json!("2026-03-01")),
            422,
            &["error value"],
        ),
        ("no time", timeless.clone(), 422, &["error value"]),
        ("a period", with(timeless, "effectivePeriod", json!({ "end": at(-5) })), 201, fine),
        (
            "a time without an offset",
            with(usual("o"), "effectiveDateTime", json!("2026-03-01T07:50:00")),
            201,
            fine,
        ),
        ("nobody", nobody, 422, &["error required"]),
        (
            "somebody else's kind",
            with(usual("k"), "subject", json!({ "reference": "Group/1" })),
            422,
            &["error required"],
        ),
    ]
}

/// What, and how much.
fn odd_values() -> Vec<Case> {
    let quantity = |value: Value| with(usual("q"), "valueQuantity", value);
    let bare = |id: &str| without(usual(id), "valueQuantity");
    let unknown = observation("u", 0, "718-7", 9.0, "g/dL");
    let local = json!({ "coding": [{ "system": "urn:site", "code": "GLU" }] });
    let motor = without(observation("m", 0, "9268-4", 0.0, "x"), "valueQuantity");
    let words = json!({ "coding": [{ "display": "Obeys Commands", "code": "LA6567-7" }] });
    let pressure = without(observation("s", 0, "8480-6", 0.0, "x"), "valueQuantity");
    let fine: &[&str] = &["information informational"];
    vec![
        (
            "a unit that suits no value",
            with(usual("w"), "valueQuantity", json!({ "value": 5.8, "code": "mg/dL" })),
            201,
            &["warning value"],
        ),
        (
            "an unknown unit",
            quantity(json!({ "value": 5.8, "code": "g/L" })),
            201,
            &["warning code-invalid"],
        ),
        ("a unit by its text", quantity(json!({ "value": 5.8, "unit": "mmol/L" })), 201, fine),
        (
            "a comparison",
            quantity(json!({ "value": 500, "comparator": ">", "code": "mg/dL" })),
            422,
            &["error value"],
        ),
        (
            "a number in quotes",
            quantity(json!({ "value": "104", "code": "mg/dL" })),
            400,
            &["error structure"],
        ),
        ("a text that is a number", with(bare("x"), "valueString", json!("104")), 201, fine),
        (
            "a text that is none",
            with(bare("y"), "valueString", json!("haemolytic")),
            201,
            &["warning value"],
        ),
        ("two pressures in a text", with(pressure, "valueString", json!("121/68")), 201, fine),
        ("a ratio", with(bare("r"), "valueRatio", json!({})), 201, &["warning not-supported"]),
        (
            "no value and a reason",
            with(bare("z"), "dataAbsentReason", json!({})),
            201,
            &["warning not-supported"],
        ),
        ("no value", bare("v"), 422, &["error value"]),
        ("an unknown code", unknown, 201, &["warning code-invalid"]),
        ("a local code", with(usual("l"), "code", local), 201, fine),
        ("a coded score", with(motor, "valueCodeableConcept", words), 201, fine),
        (
            "not begun",
            with(usual("g"), "status", json!("registered")),
            201,
            &["warning not-supported"],
        ),
        ("no such status", with(usual("h"), "status", json!("done")), 400, &["error structure"]),
        ("urine", with(usual("f"), "specimen", json!({ "display": "urine" })), 201, fine),
        ("a text for a code", with(usual("c"), "code", json!("GLU")), 400, &["error structure"]),
    ]
}

#[test]
fn deviations_are_used_or_answered_with_what_to_do() {
    let place = Place::admitted();
    for (what, resource, status, expected) in odd_frames().into_iter().chain(odd_values()) {
        // Twice: a sender that is refused sends again, and no further letter is written.
        for _ in 0..2 {
            let answer = place.site.post("/fhir/Observation", &resource);
            let again = answer.status == 200 && answer.issues() == ["information duplicate"];
            assert!(again || answer.status == status, "{what}: {answer:?}");
            assert!(again || answer.issues() == expected, "{what}: {answer:?}");
        }
    }
    let mut reasons = place.reasons();
    reasons.sort();
    let expected = [
        "absurd_time",
        "absurd_time",
        "missing_key",
        "missing_key",
        "not_a_number",
        "not_a_number",
        "undecodable",
        "undecodable",
        "undecodable",
        "unmapped_code",
        "unsupported",
        "unsupported",
        "unsupported",
    ];
    assert_eq!(reasons, expected);
    for (_, letter) in letters(&place.config, &place.log) {
        assert!(letter.topic == "fhir" && letter.value.is_empty(), "{letter:?}");
    }
    let lab = place.facts(Topic::Lab);
    let starting = |word: &str| lab.iter().filter(|line| line.starts_with(word)).count();
    let judged = ["unit_suspect", "unknown_unit", "not_a_number", "wrong_specimen"].map(starting);
    assert_eq!(judged, [1, 1, 1, 1], "{lab:?}");
    place.site.end();
}

#[test]
fn what_is_no_resource_is_answered_with_an_outcome() {
    let place = place();
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = place.site.send(method, path, headers, body);
        (answer.status, answer.issues().remove(0))
    };
    let error = |status: u16, code: &str| (status, format!("error {code}"));
    let cut = br#"{"resourceType": "Observation", "#;
    assert_eq!(send("POST", "/fhir/Observation", &[], cut), error(400, "structure"));
    assert_eq!(send("POST", "/fhir/Observation", &[], b""), error(400, "structure"));
    assert_eq!(send("POST", "/fhir/Observation", &[], b"\xff\xfe"), error(400, "structure"));
    assert_eq!(send("POST", "/fhir/Claim", &[], b"{}"), error(404, "not-supported"));
    let xml = [("content-type", "application/fhir+xml")];
    assert_eq!(send("POST", "/fhir/Observation", &xml, b"<a/>"), error(415, "not-supported"));
    let elsewhere = [("host", "evil.example")];
    assert_eq!(send("POST", "/fhir/Observation", &elsewhere, b"{}"), error(421, "security"));
    let huge = vec![b' '; (4 << 20) + 1];
    assert_eq!(send("POST", "/fhir", &[], &huge), error(413, "too-long"));
    let entries = vec![json!({}); 1_001];
    let many = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    let many = place.site.post("/fhir", &many);
    assert_eq!((many.status, many.issues()), (413, vec!["error too-costly".to_owned()]));
    let metadata = place.site.send("GET", "/fhir/metadata", &[], b"");
    assert_eq!(metadata.status, 200);
    assert_eq!(metadata.body["resourceType"], "CapabilityStatement");
    place.site.end();
}

#[test]
fn who_sends_needs_the_role() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let (ana, lis) = (mint().unwrap(), mint().unwrap());
    let tokens = dir.path().join("tokens.txt");
    let line = |name: &str, role: Role, token: &str| {
        format!("{name} {role} {}\n", Digest::of(token.as_bytes()))
    };
    let text = line("ana", Role::Clinician, &ana) + &line("lis", Role::Admin, &lis);
    std::fs::write(&tokens, text).unwrap();
    let access = Access::tokens(&tokens).unwrap();
    let site = Site::start(desk(&config, dir.path(), &log), access);
    let body = without(observation("g", 0, GLUCOSE, 1.0, "mg/dL"), "subject").to_string();
    let send = |token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("x-request-id", "r-17")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        site.send("POST", "/fhir/Observation", &headers, body.as_bytes())
    };
    assert_eq!((send(None).status, send(None).issues()), (401, vec!["error login".to_owned()]));
    assert_eq!(send(Some(&mint().unwrap())).status, 401);
    assert_eq!(
        (send(Some(&ana)).status, send(Some(&ana)).issues()),
        (403, vec!["error forbidden".into()])
    );
    let taken = send(Some(&lis));
    assert_eq!((taken.status, taken.header("x-request-id")), (422, Some("r-17")));
    assert_eq!(site.send("GET", "/fhir/metadata", &[], b"").status, 200, "for everybody");
    site.end();
    let (_, letter) = letters(&config, &log).remove(0);
    let header = |key: &str| {
        let header = letter.headers.iter().find(|header| header.key == key).unwrap();
        String::from_utf8(header.value.clone()).unwrap()
    };
    assert_eq!((header("sender"), header("control_id")), ("lis".to_owned(), "r-17".to_owned()));
}

fn entry(method: &str, url: &str, full_url: &str, resource: &Value) -> Value {
    let request = json!({ "method": method, "url": url });
    json!({ "fullUrl": full_url, "resource": resource, "request": request })
}

/// A patient, an encounter and a result that know each other by the Bundle only.
fn bundle(kind: &str, result: Value) -> Value {
    let patient = with(patient(), "identifier", json!([{ "system": "urn:h", "value": "42" }]));
    let subject = json!({ "reference": "urn:uuid:1" });
    let encounter = with(encounter("MICU"), "subject", subject.clone());
    let encounter = with(encounter, "identifier", json!([{ "value": "V42" }]));
    let result = with(result, "encounter", json!({ "reference": "urn:uuid:2" }));
    let result = with(result, "subject", subject);
    json!({ "resourceType": "Bundle", "type": kind, "entry": [
        entry("POST", "Observation", "urn:uuid:3", &without(result, "id")),
        entry("POST", "Encounter", "urn:uuid:2", &without(encounter, "id")),
        entry("POST", "Patient", "urn:uuid:1", &without(patient, "id")),
    ]})
}

#[test]
fn a_bundle_is_taken_entry_by_entry_or_as_a_whole() {
    let place = place();
    let bad = without(observation("x", 0, GLUCOSE, 1.0, "mg/dL"), "effectiveDateTime");
    let off = place.site.post("/fhir", &bundle("transaction", bad.clone()));
    assert_eq!((off.status, off.issues()), (422, vec!["error value".to_owned()]));
    assert_eq!(off.body["issue"][0]["expression"][0], "Bundle.entry[0]");
    assert_eq!(place.facts(Topic::Stay).len(), 0, "all or nothing");
    let batch = place.site.post("/fhir", &bundle("batch", bad));
    assert_eq!((batch.status, &batch.body["type"]), (200, &json!("batch-response")));
    let status = |n: usize| batch.body["entry"][n]["response"]["status"].as_str().unwrap();
    assert!(status(0).starts_with("422") && status(1).starts_with("201"), "{}", batch.body);
    assert_eq!(issues(&batch.body["entry"][0]["response"]["outcome"]), ["error value"]);
    assert_eq!(place.facts(Topic::Stay).len(), 1);
    let good = observation("x", 0, GLUCOSE, 104.0, "mg/dL");
    let whole = place.site.post("/fhir", &bundle("transaction", good));
    assert_eq!((whole.status, &whole.body["type"]), (200, &json!("transaction-response")));
    let status = |n: usize| whole.body["entry"][n]["response"]["status"].as_str().unwrap();
    assert!(status(0).starts_with("201") && status(1).starts_with("200"), "{}", whole.body);
    let lab = place.facts(Topic::Lab);
    assert_eq!(lab.len(), 1);
    // The id that it was given leads to it.
    let location = whole.body["entry"][0]["response"]["location"].as_str().unwrap();
    assert!(location.starts_with("/fhir/Observation/ncx-"), "{location}");
    let location = location.to_owned();
    let of = |n: usize| {
        let location = whole.body["entry"][n]["response"]["location"].as_str().unwrap();
        json!({ "reference": location.trim_start_matches("/fhir/") })
    };
    let better = without(observation("x", 3, GLUCOSE, 101.0, "mg/dL"), "id");
    let better = with(with(better, "subject", of(2)), "encounter", of(1));
    assert_eq!(place.site.put(&location, &better).status, 200);
    let lab = place.facts(Topic::Lab);
    assert!(lab.len() == 2 && lab[1].contains("Corrected"), "{lab:?}");
    let empty = json!({ "resourceType": "Bundle", "type": "batch" });
    let empty = place.site.post("/fhir/", &empty);
    assert_eq!((empty.status, empty.body.get("entry")), (200, None));
    place.site.end();
}

#[test]
fn an_encounter_is_told_as_a_whole() {
    let place = Place::admitted();
    let put = |resource: &Value| place.site.put("/fhir/Encounter/e1", resource).status;
    let stretch = |unit: &str, minute: i64| {
        let location = json!({ "reference": format!("Location/{unit}") });
        json!({ "location": location, "period": { "start": at(minute) } })
    };
    let moved = json!([stretch("MICU", -60), stretch("SICU", -10)]);
    assert_eq!(put(&with(encounter("MICU"), "location", moved)), 200);
    let ended = with(encounter("MICU"), "status", json!("finished"));
    let ended = with(ended, "period", json!({ "start": at(-60), "end": at(30) }));
    let died = json!({ "coding": [{ "code": "exp" }] });
    let ended = with(ended, "hospitalization", json!({ "dischargeDisposition": died }));
    assert_eq!(put(&with(ended, "location", json!([stretch("SICU", -10)]))), 200);
    let told = place.facts(Topic::Stay);
    let has = |word: &str| told.iter().filter(|line| line.contains(word)).count();
    assert_eq!((told.len(), has("Admitted"), has("Transferred"), has("Died")), (3, 1, 1, 1));
    // It was another patient's discharge: the stay goes on, as a new one.
    assert_eq!(put(&with(encounter("MICU"), "location", json!([stretch("SICU", -10)]))), 200);
    assert_eq!(place.facts(Topic::Stay).len(), 5, "an admission and a transfer");
    // Another patient with this encounter, and an encounter that was never.
    let other = with(encounter("MICU"), "subject", json!({ "reference": "Patient/p2" }));
    let disputed = place.site.put("/fhir/Encounter/e1", &other);
    assert_eq!(disputed.issues(), ["warning conflict"]);
    assert_eq!(put(&with(encounter("MICU"), "status", json!("entered-in-error"))), 200);
    assert_eq!(place.facts(Topic::Stay).len(), 6);
    // Patients who are one: what comes for the number that ended is the survivor's.
    let link = json!([{ "type": "replaced-by", "other": { "reference": "Patient/p1" } }]);
    let gone = with(with(patient(), "id", json!("p0")), "link", link);
    assert_eq!(place.site.put("/fhir/Patient/p0", &gone).status, 200);
    let theirs = with(encounter("MICU"), "subject", json!({ "reference": "Patient/p0" }));
    let theirs = place.site.put("/fhir/Encounter/e1", &theirs);
    assert_eq!(theirs.issues(), ["information informational"], "no dispute any more");
    place.site.end();
}

#[test]
fn a_morning_of_resources_becomes_risk_events() {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let log = log(dir.path());
    let site = Site::start(desk(&config, dir.path(), &log), Access::Open);
    let put = |minute: i64, resource: &Value| {
        site.now.store(MORNING + minute * 60_000, Ordering::Release);
        let (kind, id) = (resource["resourceType"].as_str(), resource["id"].as_str());
        let answer = site.put(&format!("/fhir/{}/{}", kind.unwrap(), id.unwrap()), resource);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    put(0, &patient());
    put(0, &encounter("MICU"));
    put(5, &observation("g", 5, GLUCOSE, 300.0, "mg/dL"));
    put(
        90,
        &with(observation("g", 90, GLUCOSE, 130.0, "mg/dL"), "effectiveDateTime", json!(at(-5))),
    );
    let ended = with(encounter("MICU"), "status", json!("finished"));
    put(130, &with(ended, "period", json!({ "start": at(-60), "end": at(130) })));
    site.end();
    let mut desk = desk(&config, dir.path(), &log);
    for hour in 0..30 {
        let at = EventTime::from_millis(MORNING + hour * 3_600_000);
        pass(&mut desk, wall(at));
    }
    let events = risk_events(&config, &log);
    let of: Vec<String> = events
        .iter()
        .map(|e| format!("{} r{} {:?}", &e.t.to_string()[11..16], e.revision, e.status))
        .collect();
    println!("{of:?}");
    // The correction came after the window of 09:00, which had used what it corrects.
    assert!(
        of.contains(&"09:00 r0 Scored".to_owned()) && of.contains(&"09:00 r1 Scored".to_owned())
    );
    assert!(events.last().unwrap().stay_end.is_some());
}
