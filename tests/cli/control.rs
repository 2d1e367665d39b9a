//! A replay that runs is paused, made faster and taken forward, and says the same in the end.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Ran, Ward, ended, run, start, wait};

/// How long a replay may take to sit down at its controls.
const STARTS: Duration = Duration::from_secs(60);
/// Longer than the replay looks away.
const WHILE: Duration = Duration::from_millis(700);

fn control(ward: &Ward, wish: &[&str]) -> Ran {
    run(ward.path(), &[&["control", "--out", "told", "--json"], wish].concat())
}

fn standing(ward: &Ward, wish: &[&str]) -> Value {
    control(ward, wish).expect(0).json()
}

/// A replay at an hour a second that has told something.
fn playing(ward: &Ward) -> Child {
    let child = start(&mut ward.replay("told", &["--speed", "3600"]), ward.path());
    let begun = Instant::now();
    while control(ward, &["show"]).code() != Some(0) {
        assert!(begun.elapsed() < STARTS, "no controls within {STARTS:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    while standing(ward, &["show"])["items"] == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_replay_obeys_its_controls_and_says_the_same() {
    let Some(ward) = Ward::new(2) else { return };
    let expected = ended(ward.replay("calm", &[])).expect(0).json();
    let child = playing(&ward);

    let paused = standing(&ward, &["pause"]);
    assert_eq!(paused["paused"], true);
    std::thread::sleep(WHILE);
    let later = standing(&ward, &["show"]);
    assert_eq!(later, paused, "nothing is told meanwhile");

    let back = control(&ward, &["seek", "2000-01-01"]).expect(1);
    assert!(back.err.contains("cannot be taken back"), "{}", back.err);
    assert!(control(&ward, &["speed", "0"]).expect(1).err.contains("a number above 0"));
    control(&ward, &["seek", "soon"]).expect(2);

    let told = |standing: &Value| standing["told_to"].as_str().unwrap().to_owned();
    let day = told(&paused).get(..10).unwrap().to_owned();
    let goal = format!("{day}T23:59:59.999Z");
    assert!(goal > told(&paused));
    assert_eq!(standing(&ward, &["speed", "1"])["paused"], true);
    assert_eq!(standing(&ward, &["seek", &goal])["paused"], false);
    // At the speed of life it would take hours.
    let begun = Instant::now();
    while told(&standing(&ward, &["show"])) < format!("{day}T22") {
        assert!(begun.elapsed() < STARTS, "it does not hurry");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(WHILE);
    let there = standing(&ward, &["show"]);
    assert!(told(&there) <= goal, "{there} has gone past {goal}");

    assert_eq!(standing(&ward, &["speed", "max"])["speed"], "max");
    let summary = wait(child, ward.path()).expect(0).json();
    assert_eq!(summary["digest"], expected["digest"]);
    let gone = control(&ward, &["show"]).expect(1);
    assert!(gone.err.contains("no replay runs in told"), "{}", gone.err);
}

#[test]
fn a_second_replay_into_one_directory_is_refused() {
    let Some(ward) = Ward::new(2) else { return };
    let child = playing(&ward);
    let second = ended(ward.replay("told", &[])).expect(1);
    assert!(second.err.contains("another"), "{}", second.err);
    standing(&ward, &["speed", "max"]);
    wait(child, ward.path()).expect(0);
}
