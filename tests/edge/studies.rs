//! ImagingStudy: films that are fetched from the archive, and from nowhere else.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use nowcxr::ids::{FactId, Topic};
use nowcxr::telemetry::Metrics;
use nowcxr::transport::local::LocalLog;
use nowcxr::wire::records::{ImagingEvent, ObservationStatus};
use serde_json::{Value, json};

use super::dicom::{films, reasons};
use super::dicom_site::{Scu, TITLE};
use super::fhir_site::{MORNING, Site, issues, observation, with, without};
use super::film_files::File;
use super::study_site::{Gives, Pacs, available, settings, site, site_alone, study};
use super::world::{facts, letters, log};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const FILM: &str = "1.2.840.1";
const STUDY: &str = "/fhir/ImagingStudy";

struct Place {
    pacs: Pacs,
    log: Arc<LocalLog>,
    site: Site,
    _dir: tempfile::TempDir,
}

/// An hour after a patient has come.
fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let (log, pacs) = (log(dir.path()), Pacs::start());
    let site = site(dir.path(), &log, &pacs);
    site.now.store(MORNING + 60 * 60_000, Ordering::Release);
    Place { pacs, log, site, _dir: dir }
}

impl Place {
    /// Status and issues of what is answered to a study.
    fn post(&self, study: &Value) -> (u16, Vec<String>) {
        let answer = self.site.post(STUDY, study);
        (answer.status, answer.issues())
    }

    fn c_store(&self, file: &File) {
        let mut scu = Scu::connect(self.site.dicom.unwrap(), TITLE, EXPLICIT).unwrap();
        assert_eq!(scu.store(&file.data_set(EXPLICIT)), 0);
        scu.release();
    }
}

fn part(instance: &str) -> Gives {
    Gives::Part(File::new(instance).bytes())
}

fn taken() -> Vec<String> {
    vec!["information informational".to_owned()]
}

/// Without the id, which is made of the bytes of the message.
fn unnamed(event: &ImagingEvent) -> ImagingEvent {
    ImagingEvent { event_id: FactId(uuid::Uuid::nil()), ..event.clone() }
}

#[test]
fn the_film_of_a_study_is_the_event_that_c_store_makes_of_it() {
    let [fetched, sent] = [place(), place()];
    fetched.pacs.puts(FILM, part(FILM));
    let answer = fetched.site.post(STUDY, &available(&[FILM]));
    assert_eq!((answer.status, answer.issues()), (201, taken()));
    assert_eq!(answer.header("location"), Some("/fhir/ImagingStudy/s1"));
    // It is in the log before the answer.
    let [of_study] = films(&fetched.log).try_into().expect("one film");
    sent.c_store(&File::new(FILM));
    let [of_c_store] = films(&sent.log).try_into().expect("one film");
    assert_eq!(unnamed(&of_study), unnamed(&of_c_store));
    let asked = "/pacs/studies/1.2.840.9/series/1.2.840.8/instances/1.2.840.1";
    let accept = "multipart/related; type=\"application/dicom\"";
    let asked = (asked.to_owned(), accept.to_owned(), "Bearer opensesame".to_owned());
    assert_eq!(fetched.pacs.asked(), [asked], "and not for the CT");
    // A file that comes without parts is the same film.
    fetched.pacs.puts("1.2.840.2", Gives::Bare(File::new("1.2.840.2").bytes()));
    assert_eq!(fetched.post(&available(&["1.2.840.2"])), (201, taken()));
    assert_eq!(films(&fetched.log).len(), 2);
    assert!(reasons(&fetched.log).is_empty());
    fetched.site.end();
    sent.site.end();
}

#[test]
fn a_film_that_comes_both_ways_is_one_film_and_a_study_that_comes_again_is_known() {
    let place = place();
    for (n, first_by_study) in [("1.2.840.1", true), ("1.2.840.2", false)] {
        place.pacs.puts(n, part(n));
        let announced = with(available(&[n]), "id", json!(n));
        if !first_by_study {
            place.c_store(&File::new(n));
        }
        assert_eq!(place.post(&announced), (201, taken()));
        if first_by_study {
            place.c_store(&File::new(n));
        }
        let known = (200, vec!["information duplicate".to_owned()]);
        assert_eq!(place.post(&announced), known);
        let version = with(announced, "meta", json!({ "versionId": "2" }));
        assert_eq!(place.post(&version), (201, taken()), "another version, and the same film");
    }
    assert_eq!(films(&place.log).len(), 2);
    assert!(reasons(&place.log).is_empty());
    place.site.end();
}

#[test]
fn what_the_archive_does_not_have_is_a_dead_letter_once_and_taken_when_it_is_there() {
    let place = place();
    let both = available(&[FILM, "1.2.840.2"]);
    place.pacs.puts(FILM, part(FILM));
    let answer = place.site.post(STUDY, &both);
    assert_eq!((answer.status, answer.issues()), (201, vec!["warning processing".to_owned()]));
    let expected = "ImagingStudy.series[0].instance[1]";
    assert_eq!(answer.body["issue"][0]["expression"][0], expected);
    assert_eq!(
        (films(&place.log).len(), reasons(&place.log)),
        (1, vec!["film_unavailable".into()])
    );
    let letter = letters(&settings(&[]), &place.log).remove(0).1;
    assert_eq!((letter.topic.as_str(), letter.value.len()), ("dicom", 0));
    let known = ["information duplicate".to_owned(), "warning processing".to_owned()];
    assert_eq!(place.post(&both), (200, known.to_vec()));
    assert_eq!(reasons(&place.log).len(), 1);
    place.pacs.puts("1.2.840.2", part("1.2.840.2"));
    assert_eq!(place.post(&both), (201, taken()));
    assert_eq!(films(&place.log).len(), 2);
    place.site.end();
}

#[test]
fn the_file_is_judged_as_every_other_and_has_to_be_the_one_that_was_asked_for() {
    let place = place();
    let bytes = |file: File| file.bytes();
    let lateral = File::new("1.2.840.2").with(tags::VIEW_POSITION, VR::CS, "LL");
    let wrong = [
        ("1.2.840.1", Gives::Part(bytes(File::new("1.2.840.99"))), "film_unavailable"),
        ("1.2.840.2", Gives::Part(bytes(lateral)), "film_view"),
        ("1.2.840.3", Gives::Part(b"no DICOM".to_vec()), "film_undecodable"),
        ("1.2.840.4", Gives::Status(400), "film_unavailable"),
        ("1.2.840.5", Gives::Status(204), "film_unavailable"),
        (
            "1.2.840.6",
            Gives::Part(bytes(File::new("1").without(tags::SOP_INSTANCE_UID))),
            "film_unavailable",
        ),
        (
            "1.2.840.7",
            Gives::Part(bytes(File::new("1.2.840.7").without(tags::PATIENT_ID))),
            "missing_key",
        ),
    ];
    for (n, (instance, gives, reason)) in wrong.into_iter().enumerate() {
        place.pacs.puts(instance, gives);
        let (status, said) = place.post(&available(&[instance]));
        assert!(status == 201 && said.len() == 1, "{instance}: {status} {said:?}");
        assert!(said[0].starts_with("warning"), "{instance}: {said:?}");
        assert_eq!(reasons(&place.log).get(n).map(String::as_str), Some(reason), "{instance}");
    }
    assert!(films(&place.log).is_empty());
    place.site.end();
}

#[test]
fn while_the_archive_does_not_answer_nothing_is_taken_and_then_it_is() {
    let place = place();
    let announced = available(&[FILM, "1.2.840.2"]);
    place.pacs.puts(FILM, part(FILM));
    let file = File::new("1.2.840.2").bytes();
    let troubles = [
        Gives::Status(500),
        Gives::Status(503),
        Gives::Status(429),
        Gives::Status(401),
        Gives::CutOff(file[..2_000].to_vec()),
        Gives::Nothing,
    ];
    for gives in troubles {
        place.pacs.puts("1.2.840.2", gives);
        let answer = place.site.post(STUDY, &announced);
        assert_eq!((answer.status, answer.issues()), (503, vec!["error transient".to_owned()]));
        assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok()));
        assert!(!answer.body.to_string().contains("1.2.840"), "{}", answer.body);
    }
    assert!(films(&place.log).is_empty() && reasons(&place.log).is_empty());
    let metrics = Metrics::global().unwrap().render().unwrap();
    assert!(metrics.contains("nowcxr_edge_fetches_total{outcome=\"deferred\"} "), "{metrics}");
    place.pacs.puts("1.2.840.2", Gives::Part(file));
    assert_eq!(place.post(&announced), (201, taken()));
    assert_eq!(films(&place.log).len(), 2);
    place.site.end();
}

#[test]
fn nobody_is_asked_but_the_archive() {
    let place = place();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("http://{}/wado", elsewhere.local_addr().unwrap());
    let mut named = available(&[FILM]);
    named["contained"] = json!([{
        "resourceType": "Endpoint", "id": "w", "status": "active", "address": url,
        "connectionType": { "code": "dicom-wado-rs" },
    }]);
    named["endpoint"] = json!([{ "reference": "#w" }]);
    named["series"][0]["endpoint"] = json!([{ "reference": url }]);
    place.pacs.puts(FILM, part(FILM));
    assert_eq!(place.post(&named), (201, taken()));
    assert_eq!(place.pacs.asked().len(), 1);
    // Nor where the archive sends us.
    place.pacs.puts("1.2.840.2", Gives::Redirect(url));
    assert_eq!(place.post(&available(&["1.2.840.2"])).0, 503);
    assert_eq!(place.pacs.asked().len(), 1);
    assert!(elsewhere.accept().is_err(), "somebody came");
    // And nobody for what is no UID, or too much.
    let many: Vec<String> = (0..17).map(|n| format!("1.2.840.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(place.post(&available(&many)), (413, vec!["error too-costly".to_owned()]));
    for wrong in ["..", "1.2/../../admin", "1.2?x=1", "1.2%2f", "http://x/1"] {
        let refused = (400, vec!["error structure".to_owned()]);
        assert_eq!(place.post(&available(&["1.2.840.1", wrong])), refused, "{wrong}");
        let mut study = available(&["1.2.840.1"]);
        study["series"][0]["uid"] = json!(wrong);
        assert_eq!(place.post(&study), refused, "{wrong}");
    }
    let nameless = without(available(&["1.2.840.1"]), "identifier");
    assert_eq!(place.post(&nameless), (422, vec!["error required".to_owned()]));
    let registered = study("registered", &["1.2.840.1"], 1);
    assert_eq!(place.post(&registered), (201, vec!["warning not-supported".to_owned()]));
    assert_eq!(place.pacs.asked().len(), 0);
    place.site.end();
}

#[test]
fn a_study_that_does_not_hold_takes_its_films_back_however_they_came() {
    let place = place();
    place.pacs.puts(FILM, part(FILM));
    place.pacs.puts("1.2.840.3", part("1.2.840.3"));
    let both = [FILM, "1.2.840.2"];
    assert_eq!(place.post(&study("available", &[FILM], 1)), (201, taken()));
    place.c_store(&File::new("1.2.840.2"));
    let told = films(&place.log);
    place.pacs.asked();
    let back = study("entered-in-error", &both, 2);
    assert_eq!(place.post(&back), (201, taken()));
    assert!(place.pacs.asked().is_empty());
    let ends = films(&place.log).split_off(2);
    assert_eq!(ends.len(), 2);
    for (film, end) in told.iter().zip(&ends) {
        assert_eq!(end.status, ObservationStatus::EnteredInError);
        assert_eq!((end.replaces, end.stay_id), (Some(film.event_id), film.stay_id));
    }
    // Again, in other words: nothing is left to take back.
    let (status, said) = place.post(&study("cancelled", &[FILM], 3));
    assert_eq!((status, said), (201, vec!["warning not-found".to_owned()]));
    // The old version, which comes late, does not bring it back; a new one does.
    assert_eq!(place.post(&study("available", &[FILM], 1)).0, 200);
    assert_eq!(films(&place.log).len(), 4);
    assert_eq!(place.post(&study("available", &[FILM], 4)), (201, taken()));
    let last = films(&place.log).remove(4);
    assert_eq!((last.status, last.replaces), (ObservationStatus::Final, None));
    assert_ne!(last.event_id, told[0].event_id, "the one that was taken back does not come again");
    place.site.end();
}

#[test]
fn without_an_archive_a_study_is_refused_and_can_take_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let site = site_alone(dir.path(), &log);
    let refused = site.post(STUDY, &available(&[FILM]));
    assert_eq!((refused.status, refused.issues()), (422, vec!["error not-supported".to_owned()]));
    assert!(refused.body.to_string().contains("set edge.wado"), "{}", refused.body);
    let back = site.post(STUDY, &study("entered-in-error", &[FILM], 2));
    assert_eq!((back.status, back.issues()), (201, vec!["warning not-found".to_owned()]));
    site.end();
}

fn entry(resource: Value) -> Value {
    let url = resource["resourceType"].clone();
    json!({ "resource": resource, "request": { "method": "POST", "url": url } })
}

fn bundle(kind: &str, resources: Vec<Value>) -> Value {
    let entries: Vec<Value> = resources.into_iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

#[test]
fn of_a_batch_the_study_waits_and_of_a_transaction_the_whole() {
    let place = place();
    let vitals = || facts(&settings(&[]), &place.log, Topic::Vital).len();
    let heart = |id: &str| observation(id, 0, "8867-4", 88.0, "/min");
    place.pacs.puts(FILM, Gives::Status(503));
    let all = |kind, id: &str| bundle(kind, vec![heart(id), available(&[FILM])]);
    let answer = place.site.post("/fhir", &all("transaction", "h1"));
    assert_eq!((answer.status, answer.issues()), (503, vec!["error transient".to_owned()]));
    assert_eq!((vitals(), films(&place.log).len()), (0, 0));
    let answer = place.site.post("/fhir", &all("batch", "h2"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let of = |n: usize, body: &Value| {
        let response = &body["entry"][n]["response"];
        (response["status"].as_str().unwrap()[..3].to_owned(), issues(&response["outcome"]))
    };
    assert_eq!(of(0, &answer.body).0, "201");
    assert_eq!(of(1, &answer.body), ("503".to_owned(), vec!["error transient".to_owned()]));
    assert_eq!((vitals(), films(&place.log).len()), (1, 0));
    place.pacs.puts(FILM, part(FILM));
    // One entry that cannot be read: nothing is taken, the film that was fetched included.
    let broken = without(heart("h3"), "subject");
    let answer = place.site.post("/fhir", &bundle("transaction", vec![available(&[FILM]), broken]));
    assert_eq!((answer.status, answer.issues()), (422, vec!["error required".to_owned()]));
    assert_eq!((vitals(), films(&place.log).len()), (1, 0));
    let answer = place.site.post("/fhir", &all("transaction", "h1"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((vitals(), films(&place.log).len()), (2, 1));
    assert!(!place.log_has("1.2.840.9"), "the study's UID");
    place.site.end();
}

impl Place {
    /// Whether a text stands in a record of the inputs.
    fn log_has(&self, text: &str) -> bool {
        Topic::ALL.iter().any(|topic| {
            let partition = self.log.partition(topic.name(), 0).unwrap();
            let mut reader = partition.reader(partition.start()).unwrap();
            let records = std::iter::from_fn(|| reader.read().unwrap());
            let mut records = records.map(|record| record.value);
            records.any(|value| value.windows(text.len()).any(|part| part == text.as_bytes()))
        })
    }
}

/// The archive behind TLS: believed by its authority, and told nothing before it is.
#[cfg(feature = "https")]
#[test]
fn an_archive_is_believed_by_its_certificate() {
    use super::study_site::site_of;
    let dir = tempfile::tempdir().unwrap();
    if !super::certificates::certify(dir.path()) {
        return;
    }
    let (log, pacs) = (log(dir.path()), Pacs::start());
    pacs.puts(FILM, part(FILM));
    let front = super::front::front(&format!("http://{}", pacs.address), dir.path());
    let base = format!("edge.wado={front}/pacs");
    let stranger = site_of(dir.path(), &log, &[&base]);
    let refused = stranger.post(STUDY, &available(&[FILM]));
    assert_eq!((refused.status, pacs.asked().len()), (503, 0), "{}", refused.body);
    assert!(refused.body.to_string().contains("edge.wado_ca"), "{}", refused.body);
    stranger.end();
    let ca = format!("edge.wado_ca={}", dir.path().join("ca.pem").display());
    let site = site_of(dir.path(), &log, &[&base, &ca]);
    let answer = site.post(STUDY, &available(&[FILM]));
    assert_eq!((answer.status, answer.issues()), (201, taken()));
    assert_eq!(pacs.asked()[0].2, "Bearer opensesame");
    site.end();
}
