//! The chain, and what crashes, full disks and people do to it.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::edge::{MAX_STAYS, Merged};
use crate::engine::resolve::{OperationId, PersonId};
use crate::http::access::{Role, Visitor};
use crate::ids::StayId;
use crate::time::{EventTime, WallTime};

fn look(stay: u64) -> Look {
    Look {
        at: WallTime::from_millis(1_796_000_000_000),
        visitor: Visitor { name: "ana".into(), role: Role::Clinician, by_token: true },
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        stay: StayId(stay),
        what: "stay page",
        path: format!("/stay/{stay}"),
        outcome: Outcome::Shown,
        node: "icu-2".to_owned(),
    }
}

fn written(n: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.jsonl");
    let log = AuditLog::open(&path).expect("new");
    (1..=n).for_each(|stay| log.append(&look(stay)).expect("room"));
    (dir, path)
}

fn read(path: &Path) -> Result<Verified, Broken> {
    verify(io::BufReader::new(File::open(path).expect("there")), None)
}

#[test]
fn every_look_is_a_line_and_the_chain_goes_on_after_a_restart() {
    let (_dir, path) = written(2);
    let log = AuditLog::open(&path).expect("again");
    log.append(&look(3)).expect("room");
    let stays: Vec<String> =
        log.recent(9).expect("readable").into_iter().map(|told| told.stay).collect();
    assert_eq!(stays, ["3", "2", "1"]);
    let whole = read(&path).expect("whole");
    assert_eq!((whole.lines, whole.cut_off), (3, 0));
    assert_eq!(read(Path::new("/dev/null")).expect("empty").head, START.to_string());
}

#[test]
fn one_process_writes_a_log() {
    let (_dir, path) = written(1);
    let _log = AuditLog::open(&path).expect("first");
    assert!(matches!(AuditLog::open(&path), Err(AuditError::Taken(_))));
}

#[test]
fn a_line_taken_out_altered_moved_or_put_in_shows() {
    let (_dir, path) = written(5);
    let text = std::fs::read_to_string(&path).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let broken = |lines: &[&str]| {
        let text = lines.join("\n") + "\n";
        matches!(verify(text.as_bytes(), None), Err(Broken::Chain(_)))
    };
    for at in 0..4 {
        let mut less = lines.clone();
        less.remove(at);
        assert!(broken(&less), "without line {at}");
        let mut more = lines.clone();
        more.insert(at, lines[4]);
        assert!(broken(&more), "line {at} was put in");
        let mut moved = lines.clone();
        moved.swap(at, at + 1);
        assert!(broken(&moved), "line {at} was moved");
        let other = lines[at].replace("ana", "bo");
        let mut altered = lines.clone();
        altered[at] = &other;
        assert!(broken(&altered), "line {at} was altered");
        let mut garbage = lines.clone();
        garbage[at] = "{";
        assert!(broken(&garbage), "line {at} was made unreadable");
    }
}

#[test]
fn the_last_line_taken_out_shows_by_a_head_that_was_noted() {
    let (_dir, path) = written(3);
    let text = std::fs::read_to_string(&path).expect("text");
    let noted = Digest::from_hex(&read(&path).expect("whole").head);
    let holds = |text: &str| verify(text.as_bytes(), noted).expect("a chain").holds_head;
    assert_eq!(holds(&text), Some(true));
    let cut = text.trim_end().rsplit_once('\n').expect("lines").0;
    assert_eq!(holds(cut), Some(false));
}

#[test]
fn a_line_that_was_cut_off_anywhere_is_ended_and_counted() {
    let (_dir, path) = written(2);
    let whole = std::fs::read(&path).expect("bytes");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for cut in (1..whole.len()).step_by(7).chain([first, first - 1]) {
        std::fs::write(&path, &whole[..cut]).expect("cut");
        let log = AuditLog::open(&path).expect("opens");
        log.append(&look(9)).expect("room");
        let found = read(&path).unwrap_or_else(|broken| panic!("cut at {cut}: {broken}"));
        let torn = cut != first && cut != first - 1 && cut + 1 != whole.len();
        assert_eq!(found.cut_off, u64::from(torn), "cut at {cut}");
        assert_eq!(log.recent(1).expect("readable")[0].stay, "9");
    }
}

#[test]
fn a_full_disk_is_an_error_and_a_strange_file_is_left_alone() {
    let full = AuditLog::open(Path::new("/dev/full")).expect("opens");
    for _ in 0..2 {
        let error = full.append(&look(1)).expect_err("full").to_string();
        assert!(error.contains("/dev/full") && error.contains("make room"), "{error}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("film.png");
    std::fs::write(&path, vec![7; 3 * MAX_LINE]).expect("written");
    assert!(matches!(AuditLog::open(&path), Err(AuditError::Foreign(_))));
    assert_eq!(std::fs::metadata(&path).expect("there").len(), 3 * MAX_LINE as u64);
    assert!(matches!(read(&path), Err(Broken::TooLong(1))));
}

#[test]
fn an_event_has_what_the_profile_wants_and_no_more_than_is_known() {
    let event = look(7).event();
    let at = |pointer: &str| event.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/resourceType"), "AuditEvent");
    assert_eq!(at("/recorded"), "2026-11-30T00:53:20.000Z");
    let codes = ["/type/code", "/subtype/0/code", "/action"].map(at);
    assert_eq!(codes, ["rest", "read", "R"].map(Value::from));
    assert_eq!(at("/agent/0/type/coding/0/code"), "110152");
    assert_eq!(at("/agent/1/type/coding/0/code"), "110153");
    assert_eq!(at("/agent/2/type/coding/0/code"), "IRCP");
    let requestors: Vec<Value> = (0..3).map(|n| at(&format!("/agent/{n}/requestor"))).collect();
    assert_eq!(requestors, [false, false, true].map(Value::from));
    assert_eq!(at("/entity/0/what/identifier"), serde_json::json!({ "value": "7" }));
    assert!(at("/entity/1/what/identifier").is_null() && event.get("id").is_none());
    assert_eq!(at("/agent/1/network/address"), "icu-2");
    assert_eq!(at("/meta/profile/0"), look::PROFILE);
    let refused = Look { outcome: Outcome::Refused, path: "/x".repeat(4_000), ..look(7) };
    assert_eq!(refused.event().pointer("/outcome"), Some(&Value::from("4")));
    assert!(refused.event().get("meta").is_none(), "the profile is of reads that succeed");
    let told = Told::of(&refused.event()).expect("ours");
    assert!(told.outcome.contains("role") && told.role == "clinician");
    assert!(serde_json::to_vec(&refused.event()).expect("JSON").len() < MAX_LINE);
}

#[test]
fn a_merge_is_a_line_of_the_chain_that_names_nobody() {
    let merge = Merged {
        message: 5,
        operation: OperationId(u128::MAX),
        survivor: PersonId(0xabc),
        prior: PersonId(0xdef),
        known_at: EventTime::from_millis(1_796_000_000_000),
        stays: (0..MAX_STAYS as u64).map(|n| StayId(u64::MAX - n)).collect(),
        n_stays: 40,
    };
    let event = merge_event(&merge, WallTime::from_millis(1_796_000_060_000), "icu-2");
    let at = |pointer: &str| event.pointer(pointer).cloned().unwrap_or_default();
    let said = ["/type/code", "/subtype/0/code", "/action", "/outcome"].map(at);
    assert_eq!(said, ["110110", "identity.merged", "U", "0"].map(Value::from));
    assert_eq!(at("/recorded"), "2026-11-30T00:54:20.000Z");
    let hash = |n: usize| at(&format!("/entity/{n}/what/identifier/value"));
    assert_eq!(
        (hash(0), hash(1)),
        (format!("{:032x}", 0xabc).into(), format!("{:032x}", 0xdef).into())
    );
    assert_eq!(at("/entity/0/detail/3/valueString"), "40");
    assert_eq!(event["entity"].as_array().map(Vec::len), Some(2 + MAX_STAYS));
    let (_dir, path) = written(1);
    let log = AuditLog::open(&path).expect("again");
    log.add(event).expect("room");
    log.append(&look(2)).expect("room");
    let whole = read(&path).expect("whole");
    assert_eq!((whole.lines, whole.cut_off), (3, 0));
    let longest = std::fs::read_to_string(&path).expect("text");
    assert!(longest.lines().all(|line| line.len() < MAX_LINE));
    assert_eq!(log.recent(9).expect("readable").len(), 2, "a merge is no look");
}

#[test]
fn a_switch_of_the_mode_says_from_what_to_what() {
    let event = mode_event("silent", crate::event::risk::Mode::Passive, look(1).at, "icu-2");
    assert_eq!(mode_told(&event), Some("passive"));
    assert_eq!(event["outcomeDesc"], "the mode of alerts was silent and is passive");
    assert_eq!(event.pointer("/entity/0/detail/0/valueString"), Some(&Value::from("silent")));
    assert_eq!(mode_told(&look(1).event()), None);
}
