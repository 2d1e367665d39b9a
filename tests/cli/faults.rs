//! Faults by seed: the truth is written down, the books close all the same, and what was found is
//! counted.

use std::collections::BTreeMap;
use std::path::Path;

use nowcxr::replay::faults::{Fault, FaultKind};
use nowcxr::transport::local::LocalLog;
use serde_json::Value;

use super::support::{Ward, ended, run};

const EVERYTHING: [&str; 5] = ["--faults", "rate=0.2", "--detection", "--seed", "7"];

fn truth(dir: &Path) -> Vec<Fault> {
    let text = std::fs::read_to_string(dir.join("faults.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Of a kind of fault: how many were put in and how many were found.
fn found(summary: &Value, kind: FaultKind) -> (u64, u64) {
    let outcome = &summary["detection"][kind.name()];
    (outcome["injected"].as_u64().unwrap_or(0), outcome["found"].as_u64().unwrap_or(0))
}

#[test]
fn every_kind_of_fault_is_put_in_written_down_and_looked_for() {
    let Some(ward) = Ward::new(3) else { return };
    // Exits with 0 only if every row and every record is accounted for.
    let summary = ended(ward.replay("out", &EVERYTHING)).expect(0).json();
    let truth = truth(&ward.path().join("out"));
    let mut injected: BTreeMap<FaultKind, u64> = BTreeMap::new();
    truth.iter().for_each(|fault| *injected.entry(fault.kind).or_default() += 1);
    for kind in FaultKind::ALL {
        let n = injected.get(&kind).copied().unwrap_or(0);
        assert_eq!(found(&summary, kind).0, n, "{kind}");
        // A small ward has few films; they have a test of their own.
        let of_films = matches!(kind, FaultKind::StaleFilm | FaultKind::InvertedFilm);
        assert!(n > 0 || of_films, "no {kind} among {injected:?}");
    }
    println!("{}", serde_json::to_string_pretty(&summary["detection"]).unwrap());
    // All of these, but for records of which also the sound one is refused.
    for kind in [FaultKind::Duplicate, FaultKind::Garbage, FaultKind::Correct] {
        let became = summary["detection"][kind.name()]["became"].as_object().unwrap();
        let refused = became.iter().filter(|(what, _)| what.starts_with("rejected"));
        let refused: u64 = refused.map(|(_, n)| n.as_u64().unwrap()).sum();
        let (injected, found) = found(&summary, kind);
        let missed = if kind == FaultKind::Garbage { 0 } else { refused };
        assert_eq!(found + missed, injected, "{kind}: {became:?}");
    }
    // What cannot be seen must not be claimed.
    assert_eq!(found(&summary, FaultKind::Drop).1, 0);
    assert_eq!(found(&summary, FaultKind::Reorder).1, 0);
    for kind in [FaultKind::Late, FaultKind::Correct, FaultKind::UnitSwap] {
        assert!(found(&summary, kind).1 > 0, "no {kind} was found");
    }
    // The same lines stand in a topic of the log.
    let log = LocalLog::open_read_only(ward.path().join("out/log")).unwrap();
    assert_eq!(log.partition("fault", 0).unwrap().end(), truth.len() as u64);
    let page = ended(ward.replay("page", &EVERYTHING[..3])).expect(0);
    assert!(page.out.contains("detection"), "{}", page.out);
}

#[test]
fn films_are_shown_again_and_turned_into_negatives() {
    let Some(ward) = Ward::new(3) else { return };
    let films = ["--faults", "rate=1,kinds=stale_film+inverted_film", "--detection"];
    let summary = ended(ward.replay("out", &films)).expect(0).json();
    println!("{}", serde_json::to_string_pretty(&summary["detection"]).unwrap());
    let (inverted, refused) = found(&summary, FaultKind::InvertedFilm);
    assert!(inverted > 0 && refused > 0, "{refused} of {inverted} negatives were refused");
    assert!(found(&summary, FaultKind::StaleFilm).0 > 0, "no film was shown again");
}

#[test]
fn the_same_seed_gives_the_same_faults_and_the_same_events() {
    let Some(ward) = Ward::new(2) else { return };
    let replay = |out: &str, seed: &str| {
        let faults = ["--faults", "rate=0.05,kinds=late+duplicate+wrong_patient", "--seed", seed];
        ended(ward.replay(out, &faults)).expect(0).json()["digest"].clone()
    };
    let (once, again, other) = (replay("a", "3"), replay("b", "3"), replay("c", "4"));
    let read = |out: &str| std::fs::read(ward.path().join(out).join("faults.jsonl")).unwrap();
    assert_eq!((once.clone(), read("a")), (again, read("b")));
    assert!(once != other && read("a") != read("c"));
    let kinds = truth(&ward.path().join("a"));
    let asked = [FaultKind::Late, FaultKind::Duplicate, FaultKind::WrongPatient, FaultKind::Drop];
    assert!(kinds.iter().all(|fault| asked.contains(&fault.kind)));
    // A directory of other faults is not gone on with.
    let others: [&[&str]; 3] = [
        &[],
        &["--faults", "rate=0.06,kinds=late+duplicate+wrong_patient"],
        &["--faults", "rate=0.05,kinds=late"],
    ];
    for other in others {
        let refused = ended(ward.replay("a", &[&["--seed", "3"], other].concat())).expect(1).err;
        assert!(refused.contains("other flags"), "{other:?}: {refused}");
    }
    let wrong = run(ward.path(), &["replay", "--mimic-iv", "x", "--faults", "rate=7"]).err;
    assert!(wrong.contains("from 0 to 1"), "{wrong}");
}
