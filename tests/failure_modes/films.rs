//! Films that are not what the model was trained on.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use nowcxr::edge::Language;
use nowcxr::edge::dicom::Instance;

use super::counters::Watch;
use super::film_files::{FEEDS, File, desk, film};
use super::hospital::{Hospital, at, last_word};
use super::world::{self, wall};

/// Sends a film at this minute.
fn store(hospital: &mut Hospital, minute: i64, file: &File) {
    let instance = Instance::open("MODALITY".into(), &file.bytes());
    hospital.desk.take(&[instance], wall(at(minute))).unwrap();
    hospital.desk.settle(wall(at(minute))).unwrap();
}

#[test]
fn f16_wrong_film() {
    let watch = Watch::start();
    let mut hospital = Hospital::with(&[FEEDS], |_, dir, log| desk(dir, log, &[]));
    hospital.admit(480, 7);
    let named = |n: u32, time: &str| {
        File::new(&format!("1.2.840.{n}")).with(tags::ACQUISITION_TIME, VR::TM, time)
    };
    let wrong = [
        (named(1, "0830").with(tags::VIEW_POSITION, VR::CS, "LL"), "film_view"),
        (named(2, "0830").with(tags::VIEW_POSITION, VR::CS, "PA"), "film_view"),
        (named(3, "0830").without(tags::VIEW_POSITION), "film_view"),
        // Its negative, whose label is wrong.
        (
            named(4, "0830").with(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1"),
            "film_not_chest",
        ),
        // A processed copy and a made one.
        (named(5, "0830").with(tags::BURNED_IN_ANNOTATION, VR::CS, "YES"), "film_burned_in"),
        (named(6, "0830").with(tags::SYNTHETIC_DATA, VR::CS, "YES"), "film_not_chest"),
    ];
    for (file, _) in &wrong {
        store(&mut hospital, 520, file);
    }
    let reasons: Vec<&str> = wrong.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(hospital.letters(), reasons);
    for (reason, n) in [("film_view", 3), ("film_not_chest", 2), ("film_burned_in", 1)] {
        let series = format!("nowcxr_edge_rejected_total{{reason=\"{reason}\"}}");
        assert_eq!(watch.rose(&series), n, "{reason}");
    }
    // Another patient's waits; one of long before the stay is none of it.
    store(&mut hospital, 520, &named(7, "0830").with(tags::PATIENT_ID, VR::LO, "8"));
    let old = named(8, "0700").with(tags::ACQUISITION_DATE, VR::DA, "20260227");
    store(&mut hospital, 520, &old);
    // The same twice, and a repeat of the study.
    let first = named(9, "0835");
    store(&mut hospital, 521, &first);
    store(&mut hospital, 522, &first);
    store(&mut hospital, 525, &named(10, "0845"));
    for minute in (540..=720).step_by(30) {
        world::pass(&mut hospital.desk, wall(at(minute)));
        hospital.promise(Language::Dicom.topics(), minute);
    }
    assert_eq!(watch.rose("nowcxr_edge_said_total{fate=\"kept\"}"), 2);
    assert_eq!(watch.rose("nowcxr_edge_said_total{fate=\"told\"}"), 3, "admission and two films");
    let events = hospital.events();
    let used = last_word(&events, 600).film.as_ref().expect("a film");
    assert_eq!(used.acquired_at, at(8 * 60 + 45), "the film taken last");
    assert_eq!(used.digest, film().digest());
    // What waited for an admission is given up after a day.
    world::pass(&mut hospital.desk, wall(at(520 + 25 * 60)));
    assert_eq!(hospital.letters()[reasons.len()..], ["no_admission", "no_admission"]);
}
