//! Who it is, and which stay.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nowcxr::http::audit::{AuditLog, merge_event};
use nowcxr::ids::{StayId, Topic};
use nowcxr::ports::PortError;

use super::counters::Watch;
use super::hospital::{Hospital, Order, last_word};
use super::world;

const GLUCOSE: &str = "NM|2345-7^Glucose^LN||104|mg/dL|||||F";

fn acts(watch: &Watch, act: &str) -> u64 {
    watch.rose(&format!("nowcxr_edge_acts_total{{act=\"{act}\"}}"))
}

/// A hospital whose edge has its merges written down, and where.
fn audited() -> (Hospital, PathBuf) {
    let mut audit = PathBuf::new();
    let hospital = Hospital::with(&[], |config, dir, log| {
        audit = dir.join("edge-audit.jsonl");
        let written = AuditLog::open(&audit).unwrap();
        world::desk(config, dir, log).witnessed(Box::new(move |merge, at| {
            written.add(merge_event(merge, at, "edge")).map_err(|e| PortError::Stop(e.to_string()))
        }))
    });
    (hospital, audit)
}

#[test]
fn f11_patient_merge() {
    let watch = Watch::start();
    let run = || {
        let (mut hospital, audit) = audited();
        // Unidentified at first, and one and the same.
        hospital.result(9, Order::new("O1", 60), &[GLUCOSE]);
        hospital.admit(70, 7);
        hospital.merge(80, 9, 7, Some(("V9", "V7")));
        // The old number lives on in a system that was not told.
        hospital.result(9, Order::new("O2", 90), &[GLUCOSE]);
        // Told once more by a system that was slow: it is known.
        hospital.merge(95, 9, 7, Some(("V9", "V7")));
        hospital.pass(96, 156);
        let said = std::fs::read_to_string(audit).unwrap();
        (hospital, said)
    };
    let (hospital, said) = run();
    assert_eq!((acts(&watch, "merge"), acts(&watch, "report")), (2, 2));
    let lab = hospital.facts(Topic::Lab);
    // On record once, by the edge's hashes: identity.merged.
    assert_eq!(
        (said.lines().count(), said.matches("\"code\":\"identity.merged\"").count()),
        (1, 1),
        "{said}"
    );
    let events = hospital.events();
    let stay = events[0].stay_id;
    assert!(said.contains(&stay.to_string()) && !said.contains("V7"), "{said}");
    let (again, said_again) = run();
    assert_eq!(said_again, said);
    assert_eq!(again.facts(Topic::Lab), lab, "the raw messages once more give the same");
    let stays: BTreeSet<_> = events.iter().map(|event| event.stay_id).collect();
    assert_eq!((stays.len(), last_word(&events, 130).series.n_facts), (1, 2));
    assert!(hospital.letters().is_empty());
}

#[test]
fn f12_transfer_and_readmission() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    // To another unit of the ICU, to the ward, and back on the same day.
    hospital.adt(120, "A02", 7, "V7", "SICU");
    hospital.adt(240, "A02", 7, "V7", "WARD");
    // Drawn in the first stay, reported after it.
    hospital.result(7, Order { drawn: 230, ..Order::new("O1", 250) }, &[GLUCOSE]);
    hospital.adt(600, "A02", 7, "V7", "MICU");
    hospital.result(7, Order::new("O2", 620), &[GLUCOSE]);
    hospital.pass(620, 720);
    assert_eq!(acts(&watch, "arrive"), 4);
    let said = hospital.facts(Topic::Stay);
    let count = |word: &str| said.iter().filter(|line| line.contains(word)).count();
    assert_eq!((count("Admitted"), count("Transferred"), count("Discharged")), (2, 1, 1));
    let events = hospital.events();
    let stays: BTreeSet<_> = events.iter().map(|event| event.stay_id).collect();
    assert_eq!(stays.len(), 2);
    let second = last_word(&events, 660);
    assert_ne!(second.stay_id, events.iter().find(|e| e.t < second.t).unwrap().stay_id);
    let first = events.iter().find(|event| event.stay_end.is_some()).unwrap();
    let lab = hospital.facts(Topic::Lab);
    // A result is of the stay of its time; a stay that begins within a day of it knows it too.
    let of = |stay: StayId| lab.iter().filter(|line| line.contains(&format!("{stay:?}"))).count();
    assert_eq!((of(first.stay_id), of(second.stay_id), lab.len()), (1, 2, 3), "{lab:#?}");
    // A discharge that never was: the stay goes on under a new name with what was known.
    hospital.discharge(730, 7);
    hospital.adt(740, "A13", 7, "V7", "MICU");
    assert_eq!((acts(&watch, "leave"), acts(&watch, "cancel")), (1, 1));
    assert!(hospital.facts(Topic::Lab).len() > lab.len());
}

/// Documented: who is not named is not guessed from the bed.
#[test]
fn f13_bed_only_identity() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    let text = hospital.oru(7, Order::new("M1", 70), &["NM|8867-4^HR^LN||80|/min|||||F"]);
    let only_bed = text.replace("7^^^H^MR", "").replace("V7", "");
    assert_eq!(hospital.say(70, &only_bed), "AE");
    assert_eq!(hospital.letters(), ["missing_key"]);
    assert_eq!(watch.rose("nowcxr_edge_rejected_total{reason=\"missing_key\"}"), 1);
    assert!(hospital.facts(Topic::Vital).is_empty());
}
