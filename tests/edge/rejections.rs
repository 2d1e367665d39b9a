//! Rejection notes: films that their archive takes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use nowcxr::edge::dicom::Instance;
use nowcxr::transport::local::LocalLog;
use nowcxr::wire::records::{ImagingEvent, ObservationStatus, PictureField};
use proptest::prelude::*;

use super::dicom::{films, parts, reasons, stow};
use super::dicom_site::{NOTE, Site, implicit_peer, peer};
use super::fhir_site::MORNING;
use super::film_files::{EXPLICIT, FILM, File};
use super::world::log;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RELATED: &str = "multipart/related; type=\"application/dicom\"; boundary=part";

/// A key object selection of patient 7 with a title of DCM, and the instances that it names.
fn note(instance: &str, title: &str, named: &[(&str, &str)]) -> File {
    let text = |tag, vr, text: &str| DataElement::new(tag, vr, PrimitiveValue::from(text));
    let sequence = |tag, items: Vec<InMemDicomObject>| {
        DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
    };
    let of = |all: Vec<DataElement<_, _>>| InMemDicomObject::from_element_iter(all);
    let code = of(vec![
        text(tags::CODE_VALUE, VR::SH, title),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
    ]);
    let image = |(class, instance): &(&str, &str)| {
        let referenced = of(vec![
            text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
            text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
        ]);
        of(vec![
            text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
            text(tags::VALUE_TYPE, VR::CS, "IMAGE"),
            sequence(tags::REFERENCED_SOP_SEQUENCE, vec![referenced]),
        ])
    };
    let words = of(vec![
        text(tags::VALUE_TYPE, VR::CS, "TEXT"),
        text(tags::TEXT_VALUE, VR::UT, "the wrong side"),
    ]);
    let content = std::iter::once(words).chain(named.iter().map(image)).collect();
    let mut set = InMemDicomObject::new_empty();
    set.put(sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code]));
    set.put(sequence(tags::CONTENT_SEQUENCE, content));
    File(set)
        .with(tags::SOP_CLASS_UID, VR::UI, NOTE)
        .with(tags::SOP_INSTANCE_UID, VR::UI, instance)
        .with(tags::MODALITY, VR::CS, "KO")
        .with(tags::PATIENT_ID, VR::LO, "7")
        .with(tags::ISSUER_OF_PATIENT_ID, VR::LO, "H")
}

/// An edge with films of patient 7.
fn place(instances: &[&str]) -> (tempfile::TempDir, Arc<LocalLog>, Site) {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let site = Site::start(dir.path(), &log, &[]);
    site.admit(7);
    site.now.store(MORNING + 40 * 60_000, Ordering::Release);
    let mut scu = peer(&site);
    for instance in instances {
        assert_eq!(scu.store(&File::new(instance).data_set(EXPLICIT)), 0);
    }
    scu.release();
    (dir, log, site)
}

fn sent(site: &Site, note: &File) -> u16 {
    peer(site).of_notes().store(&note.data_set(EXPLICIT))
}

/// What takes a film back says nothing of it but which it was.
fn is_end_of(end: &ImagingEvent, film: &ImagingEvent) -> bool {
    let names_it = (end.replaces, end.stay_id) == (Some(film.event_id), film.stay_id);
    let is_bare = end.status == ObservationStatus::EnteredInError
        && matches!(end.picture, PictureField::Missing);
    names_it && is_bare && end.available_at >= film.available_at
}

#[test]
fn each_rejection_takes_its_films_back() {
    let uids = ["1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"];
    let (_dir, log, site) = place(&uids);
    let told = films(&log);
    assert_eq!(told.len(), 5);
    for (n, title) in ["113001", "113037", "113038"].into_iter().enumerate() {
        let note = note(&format!("1.3.{n}"), title, &[(FILM, uids[n])]);
        assert_eq!(sent(&site, &note), 0, "{title}");
        // The same note again is known.
        assert_eq!(sent(&site, &note), 0, "{title}");
        let all = films(&log);
        assert_eq!(all.len(), 6 + n, "{title}");
        assert!(is_end_of(&all[5 + n], &told[n]), "{title}");
    }
    // Two at once, beside a CT that nobody has here, by STOW-RS and in implicit little endian.
    let both = note("1.3.9", "113039", &[(FILM, uids[3]), (CT, "1.2.99"), (FILM, uids[4])]);
    let (mut scu, syntax) = implicit_peer(&site);
    let unknown = note("1.3.8", "113001", &[(FILM, "1.2.77")]);
    scu = scu.of_notes();
    assert_eq!(scu.store(&unknown.data_set(syntax)), 0);
    assert_eq!(reasons(&log), ["unknown_fact"], "a film that never came");
    let (status, set) = stow(&site, "/dicomweb/studies", RELATED, &parts(&[both.bytes()]));
    assert_eq!(
        (status, &set["00081199"]["Value"][0]["00081155"]["Value"][0]),
        (200, &"1.3.9".into())
    );
    let all = films(&log);
    assert_eq!(all.len(), 10);
    assert!(is_end_of(&all[8], &told[3]) && is_end_of(&all[9], &told[4]));
    assert_eq!(reasons(&log).len(), 1);
    site.end();
}

#[test]
fn what_is_no_rejection_takes_nothing_back() {
    let (_dir, log, site) = place(&["1.2.1"]);
    let of_film = |n: u32, title: &str| note(&format!("1.3.{n}"), title, &[(FILM, "1.2.1")]);
    let many: Vec<String> = (0..65).map(|n| format!("1.2.{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|uid| (FILM, uid.as_str())).collect();
    let other = of_film(6, "113001").with(tags::PATIENT_ID, VR::LO, "8");
    let judged = [
        // Of interest.
        (of_film(1, "113000"), 0, "unsupported"),
        (of_film(2, "113001").without(tags::CONCEPT_NAME_CODE_SEQUENCE), 0, "unsupported"),
        (note("1.3.3", "113001", &[(CT, "1.2.1")]), 0, "unsupported"),
        (of_film(4, "113001").without(tags::CONTENT_SEQUENCE), 0, "unsupported"),
        (of_film(5, "113001").without(tags::PATIENT_ID), 0xc000, "missing_key"),
        // It rejects a film of somebody else.
        (other, 0, "unknown_fact"),
        (note("1.3.7", "113001", &many), 0xc000, "too_many"),
        (note("1.3.8", "113001", &[(FILM, "1.2.x")]), 0xc000, "undecodable"),
    ];
    for (n, (note, status, reason)) in judged.into_iter().enumerate() {
        assert_eq!(sent(&site, &note), status, "{reason} {n}");
        assert_eq!(reasons(&log).get(n).map(String::as_str), Some(reason), "{n}");
    }
    assert_eq!(films(&log).len(), 1);
    site.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_note_is_judged(
        cut in 0usize..1_200, spoilt in prop::collection::vec((0usize..1_200, any::<u8>()), 0..6),
    ) {
        let note = note("1.3.1", "113001", &[(FILM, "1.2.1"), (CT, "1.2.2")]);
        let mut bytes = note.bytes();
        let whole = bytes.len();
        for (at, byte) in spoilt {
            // The head of the file stays, so that what is behind it is read.
            let at = 132 + at % (whole - 132);
            bytes[at] = byte;
        }
        bytes.truncate(whole.saturating_sub(cut % whole));
        let opened = Instance::open("ARCHIVE".into(), &bytes);
        prop_assert!(opened.uids().1.len() <= 64);
    }
}
