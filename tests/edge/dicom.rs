//! Films by DICOM: C-STORE and STOW-RS to facts of stays, to dead letters, to risk events.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_ul::pdu::PDataValueType;
use nowcxr::edge::Language;
use nowcxr::edge::dicom::{Instance, Stored};
use nowcxr::edge::fhir::parcel::Target;
use nowcxr::edge::fhir::{Fate, Kind, Parcel};
use nowcxr::event::ViewPosition;
use nowcxr::film::{Declared, MAX_ENCODED_BYTES, prepare};
use nowcxr::ids::Topic;
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;
use nowcxr::wire::RiskRecord;
use nowcxr::wire::records::{ImagingEvent, ObservationStatus, PictureField};
use serde_json::{Value, json};

use super::dicom_site::{Scu, Site, TITLE, implicit_peer, peer};
use super::fhir_site::{MORNING, encounter, patient, with};
use super::film_files::{EXPLICIT, FEEDS, File, desk, film};
use super::world::{codec, config, letters, log, pass, risk_events};

const MINUTE: i64 = 60_000;

struct Place {
    dir: tempfile::TempDir,
    log: Arc<LocalLog>,
    site: Site,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let site = Site::start(dir.path(), &log, &[]);
    Place { dir, log, site }
}

/// The imaging records of a log, without marks.
pub fn films(log: &LocalLog) -> Vec<ImagingEvent> {
    let codec = codec(&config(&[FEEDS]));
    let partition = log.partition(Topic::Imaging.name(), 0).unwrap();
    let mut reader = partition.reader(partition.start()).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if record.key.is_some() {
            found.push(codec.decode(&record.value).unwrap());
        }
    }
    found
}

pub fn reasons(log: &LocalLog) -> Vec<String> {
    letters(&config(&[FEEDS]), log).into_iter().map(|(reason, _)| reason).collect()
}

#[test]
fn a_film_finds_the_stay_that_an_admission_began() {
    let Place { dir: _dir, log, site } = place();
    site.admit(7);
    site.now.store(MORNING + 40 * MINUTE, Ordering::Release);
    let mut scu = peer(&site);
    assert_eq!(scu.echo(), 0);
    assert_eq!(scu.store(&File::new("1.2.840.1").data_set(EXPLICIT)), 0);
    // It is in the log before the answer.
    let [event] = films(&log).try_into().expect("one film");
    assert_eq!(event.observed_at.as_millis(), MORNING + 30 * MINUTE);
    assert_eq!(event.available_at.as_millis(), MORNING + 40 * MINUTE);
    assert_eq!((event.view, event.modality.as_deref()), (ViewPosition::Ap, Some("DX")));
    let PictureField::Inline(picture) = &event.picture else { panic!("{:?}", event.picture) };
    let ap = Declared { view: Some(ViewPosition::Ap), ..Declared::default() };
    let seen = prepare(&picture.content, ap).unwrap().film;
    assert_eq!(seen.digest(), film().digest(), "the pixels are the film's, bit for bit");
    // The same file again is known, in another transfer syntax it is the same film in new words.
    assert_eq!(scu.store(&File::new("1.2.840.1").data_set(EXPLICIT)), 0);
    assert_eq!(films(&log).len(), 1);
    scu.release();
    let (mut other, syntax) = implicit_peer(&site);
    assert_eq!(other.store(&File::new("1.2.840.2").data_set(syntax)), 0);
    assert_eq!(films(&log).len(), 2);
    assert!(reasons(&log).is_empty());
    site.end();
}

#[test]
fn a_film_waits_for_its_admission_and_another_under_its_uid_takes_its_place() {
    let Place { dir: _dir, log, site } = place();
    site.now.store(MORNING + 40 * MINUTE, Ordering::Release);
    let mut scu = peer(&site);
    assert_eq!(scu.store(&File::new("1.2.840.1").data_set(EXPLICIT)), 0);
    assert!(films(&log).is_empty(), "there is no stay yet");
    site.admit(7);
    let first = films(&log).remove(0);
    assert_eq!((first.status, first.replaces), (ObservationStatus::Final, None));
    // The archive corrects when it was taken.
    let moved = File::new("1.2.840.1").with(tags::ACQUISITION_TIME, VR::TM, "0835");
    site.now.store(MORNING + 50 * MINUTE, Ordering::Release);
    assert_eq!(scu.store(&moved.data_set(EXPLICIT)), 0);
    let second = films(&log).remove(1);
    assert_eq!(second.status, ObservationStatus::Corrected);
    assert_eq!(second.replaces, Some(first.event_id));
    assert_eq!(second.observed_at.as_millis(), MORNING + 35 * MINUTE);
    assert_eq!((first.stay_id, first.feed), (second.stay_id, second.feed));
    site.end();
}

/// What a film is answered and why it became a dead letter, if it did.
fn judged(place: &Place, file: &File) -> (u16, Option<String>) {
    let before = reasons(&place.log).len();
    let status = peer(&place.site).store(&file.data_set(EXPLICIT));
    (status, reasons(&place.log).get(before).cloned())
}

#[test]
fn what_is_of_no_use_is_a_success_and_what_is_broken_an_error_and_both_are_dead_letters() {
    let place = place();
    place.site.admit(7);
    place.site.now.store(MORNING + 40 * MINUTE, Ordering::Release);
    let film = |n: u32| File::new(&format!("1.2.840.{n}"));
    let of_no_use = [
        (film(1).with(tags::VIEW_POSITION, VR::CS, "LL"), "film_view"),
        (film(2).with(tags::VIEW_POSITION, VR::CS, "PA"), "film_view"),
        (film(3).without(tags::VIEW_POSITION), "film_view"),
        (film(4).with(tags::BODY_PART_EXAMINED, VR::CS, "HAND"), "film_not_chest"),
        (film(5).with(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1"), "film_not_chest"),
        (film(6).with(tags::BURNED_IN_ANNOTATION, VR::CS, "YES"), "film_burned_in"),
        (film(7).with(tags::SYNTHETIC_DATA, VR::CS, "YES"), "film_not_chest"),
    ];
    for (file, reason) in of_no_use {
        assert_eq!(judged(&place, &file), (0, Some(reason.to_owned())));
    }
    let untaken = film(13).without(tags::ACQUISITION_DATE);
    let broken = [
        (film(11).without(tags::PATIENT_ID), "missing_key"),
        (film(12).without(tags::SOP_INSTANCE_UID), "missing_key"),
        (untaken.clone(), "absurd_time"),
        (untaken.with(tags::ACQUISITION_DATE_TIME, VR::DT, "yesterday"), "absurd_time"),
        (film(14).without(tags::PIXEL_DATA), "film_undecodable"),
        (film(15).without(tags::ROWS), "film_undecodable"),
    ];
    for (file, reason) in broken {
        assert_eq!(judged(&place, &file), (0xc000, Some(reason.to_owned())), "{reason}");
    }
    // Sent again, it is refused again, without a further dead letter.
    let again = film(11).without(tags::PATIENT_ID);
    assert_eq!(judged(&place, &again), (0xc000, None));
    assert!(films(&place.log).is_empty());
    let letter = letters(&config(&[FEEDS]), &place.log).remove(0).1;
    assert_eq!((letter.topic.as_str(), letter.value.len()), ("dicom", 0));
    place.site.end();
}

#[test]
fn moments_have_an_offset_or_the_zone_of_the_site() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let site = Site::start(dir.path(), &log, &["edge.time_zone=Europe/Berlin"]);
    site.now.store(MORNING + 100 * MINUTE, Ordering::Release);
    site.admit(7);
    let mut scu = peer(&site);
    let bare = File::new("1.1").with(tags::ACQUISITION_TIME, VR::TM, "0930");
    let offset = File::new("1.2").with(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "+0000");
    let exact = File::new("1.3").with(tags::ACQUISITION_DATE_TIME, VR::DT, "20260301093000+0100");
    let content = File::new("1.4")
        .without(tags::ACQUISITION_DATE)
        .with(tags::CONTENT_DATE, VR::DA, "20260301")
        .with(tags::CONTENT_TIME, VR::TM, "093000");
    for file in [bare, offset, exact, content] {
        assert_eq!(scu.store(&file.data_set(EXPLICIT)), 0);
    }
    let at: Vec<i64> = films(&log).iter().map(|film| film.observed_at.as_millis()).collect();
    assert_eq!(at, [MORNING + 30 * MINUTE; 4]);
    site.end();
}

#[test]
fn nothing_on_disk_names_the_patient() {
    let Place { dir, log: _log, site } = place();
    site.admit(7);
    let file = File::new("1.2.840.1").with(tags::PATIENT_ID, VR::LO, "PID-4711-PID");
    let named = file.with(tags::ADMISSION_ID, VR::LO, "VISIT-0815");
    assert_eq!(peer(&site).store(&named.data_set(EXPLICIT)), 0);
    site.end();
    let mut looked_at = 0;
    let mut look = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        looked_at += bytes.len();
        for word in ["MUSTER", "PID-4711-PID", "VISIT-0815"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} in {}", path.display());
        }
    };
    let mut open = vec![dir.path().to_owned()];
    while let Some(place) = open.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { look(&path) }
        }
    }
    assert!(looked_at > 10_000, "the film is there");
}

#[test]
fn the_film_is_used_in_the_windows_after_it() {
    let Place { dir, log, site } = place();
    site.admit(7);
    site.now.store(MORNING + 100 * MINUTE, Ordering::Release);
    let mut scu = peer(&site);
    assert_eq!(scu.store(&File::new("1.2.840.1").data_set(EXPLICIT)), 0);
    site.end();
    let mut desk = desk(dir.path(), &log, &[]);
    for hour in 1..5 {
        let now = WallTime::from_millis(MORNING + hour * 60 * MINUTE);
        pass(&mut desk, now);
        desk.mark(Language::Dicom.topics(), now).unwrap();
    }
    let event = films(&log).remove(0);
    let events = risk_events(&config(&[FEEDS]), &log);
    let seen = |risk: &RiskRecord| (risk.t >= event.available_at, risk.film.is_some());
    let of_it = events.iter().filter(|risk| risk.stay_id == event.stay_id);
    let (before, after): (Vec<_>, Vec<_>) = of_it.map(seen).partition(|(is_after, _)| !is_after);
    assert!(!before.is_empty() && before.iter().all(|(_, has_film)| !has_film), "{before:?}");
    assert!(after.len() > 1 && after.iter().all(|(_, has_film)| *has_film), "{after:?}");
}

/// The desk of DICOM and HL7 writes the same topics as one of FHIR.
#[test]
fn a_film_finds_the_stay_that_fhir_began_by_the_number_of_its_patient() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let mut desk = desk(dir.path(), &log, &[r#"edge.systems={ "urn:oid:1.2" = "H" }"#]);
    let now = WallTime::from_millis(MORNING + 40 * MINUTE);
    let film = |uid: &str| Instance::open("MODALITY".into(), &File::new(uid).bytes());
    assert_eq!(desk.take(&[film("1.1")], now).unwrap(), [Stored::Taken]);
    let mut put = |kind: Kind, id: &str, resource: &Value| {
        let body = resource.to_string();
        let target = Target::Update(kind, id);
        let parcel = Parcel::open(target, body.as_bytes(), "ehr".into(), String::new());
        let told = desk.take(&[parcel], now).unwrap().remove(0).remove(0);
        desk.settle(now).unwrap();
        (told.fate, told.issues.len())
    };
    let numbered = |id: &str| {
        let number = json!([{ "system": "urn:oid:1.2", "value": "7" }]);
        with(with(patient(), "id", json!(id)), "identifier", number)
    };
    assert_eq!(put(Kind::Encounter, "e1", &encounter("MICU")).0, Fate::Taken);
    assert!(films(&log).is_empty(), "nobody has said whose number 7 is");
    assert_eq!(put(Kind::Patient, "p1", &numbered("p1")), (Fate::Taken, 0));
    assert_eq!(films(&log).len(), 1, "the film that waited");
    // Another patient does not get it by claiming the same number.
    assert_eq!(put(Kind::Patient, "p2", &numbered("p2")), (Fate::Taken, 1));
    assert_eq!(reasons(&log), ["identity_dispute"]);
    desk.take(&[film("1.2")], now).unwrap();
    desk.settle(now).unwrap();
    assert_eq!(films(&log).len(), 2);
    assert_eq!(films(&log)[0].stay_id, films(&log)[1].stay_id);
}

#[test]
fn strangers_broken_peers_and_hostile_bytes_end_their_association_and_nothing_else() {
    let Place { dir: _dir, log, site } = place();
    site.admit(7);
    assert!(Scu::connect(site.dicom, "SOMEBODY", EXPLICIT).is_none(), "another's AE title");
    assert!(Scu::connect(site.dicom, TITLE, "1.2.840.10008.1.2.4.100").is_none(), "a video");
    // Bytes that are no DICOM, and half of a length.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0, 0xff, 0xff, 0xff, 0xff], &[4]] {
        let mut stream = TcpStream::connect(site.dicom).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
    }
    // A peer that goes in the middle of a film.
    let data_set = File::new("1.2.840.1").data_set(EXPLICIT);
    let mut gone = peer(&site);
    gone.command(0x0001, true);
    gone.data(&data_set[..20_000], false);
    gone.hang_up();
    // A film where a command belongs, a command that is none, one that is endless, one for C-FIND.
    let mut early = peer(&site);
    early.data(&data_set, true);
    assert!(early.is_over());
    for (bytes, is_last) in [(&[0xff; 64][..], true), (&[0; 8_000], false)] {
        let mut scu = peer(&site);
        scu.part(1, PDataValueType::Command, bytes, is_last);
        assert!(scu.is_over());
    }
    let mut find = peer(&site);
    find.command(0x0020, true);
    assert!(find.is_over());
    // A film that has no end is refused when it has one.
    let mut huge = peer(&site);
    huge.command(0x0001, true);
    huge.data(&data_set, false);
    huge.data(&vec![0; MAX_ENCODED_BYTES + 100_000], true);
    assert_eq!(huge.status(), 0xc000);
    assert_eq!(reasons(&log), ["film_too_large"]);
    // After all of that a film is taken.
    assert_eq!(peer(&site).store(&data_set), 0);
    assert_eq!(films(&log).len(), 1);
    site.end();
}

/// Status and body of what is answered to a POST.
pub fn stow(site: &Site, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(site.stow).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).ok();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=part";

pub fn parts(files: &[Vec<u8>]) -> Vec<u8> {
    let part = |file: &Vec<u8>| {
        [&b"--part\r\nContent-Type: application/dicom\r\n\r\n"[..], file, b"\r\n"].concat()
    };
    let all: Vec<Vec<u8>> = files.iter().map(part).collect();
    [all.concat(), b"--part--\r\n".to_vec()].concat()
}

#[test]
fn stow_answers_every_part_for_itself() {
    let Place { dir: _dir, log, site } = place();
    site.admit(7);
    site.now.store(MORNING + 40 * MINUTE, Ordering::Release);
    let good = File::new("1.2.840.1").bytes();
    let lateral = File::new("1.2.840.2").with(tags::VIEW_POSITION, VR::CS, "LL").bytes();
    let nobodys = File::new("1.2.840.3").without(tags::PATIENT_ID).bytes();
    let studies = "/dicomweb/studies";
    let (status, set) = stow(&site, studies, RELATED, &parts(&[good.clone(), lateral]));
    assert_eq!(status, 200, "{set}");
    let instances = |set: &Value, tag: &str| -> Vec<String> {
        let items = set[tag]["Value"].as_array().into_iter().flatten();
        items.map(|item| item["00081155"]["Value"][0].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(instances(&set, "00081199"), ["1.2.840.1", "1.2.840.2"]);
    assert_eq!(films(&log).len(), 1);
    let mixed = parts(&[good, nobodys.clone(), b"not DICOM".to_vec()]);
    let (status, set) = stow(&site, "/dicomweb/studies/1.2.9", RELATED, &mixed);
    assert_eq!(status, 202, "{set}");
    assert_eq!(instances(&set, "00081199"), ["1.2.840.1"], "known, and stored");
    assert_eq!(instances(&set, "00081198"), ["1.2.840.3", ""]);
    assert_eq!(set["00081198"]["Value"][0]["00081197"]["Value"][0], 0xc000);
    assert_eq!(stow(&site, studies, RELATED, &parts(&[nobodys])).0, 409);
    assert_eq!(stow(&site, studies, RELATED, &parts(&[])).0, 400);
    assert_eq!(stow(&site, studies, RELATED, b"no parts at all").0, 400);
    assert_eq!(stow(&site, studies, "application/dicom", b"x").0, 415);
    let many = vec![b"x".to_vec(); 17];
    assert_eq!(stow(&site, studies, RELATED, &parts(&many)).0, 413);
    assert_eq!(films(&log).len(), 1);
    site.end();
}
