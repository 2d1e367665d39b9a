//! The service over a real broker, by its binary: the same ward told through Kafka and through the
//! local log gives the same risk events, also across a kill and on a node without its state. Runs
//! when `NOWCXR_KAFKA` holds a broker's address; the length of the proofs is set as `prove.rs`
//! says:
//!
//! ```sh
//! NOWCXR_KAFKA=$(.ci/kafka start) cargo test --release --test kafka_service; .ci/kafka stop
//! ```

#![allow(clippy::unwrap_used)]

mod changeover;
mod disk;
mod pages;
mod people;
mod place;
mod prove;
mod schemas;
mod standby;
mod unmarked;

use std::collections::BTreeSet;
use std::process::{Child, Command, Output};
use std::time::Instant;

use place::{LONG, Place, Reader, place, succeed};

/// The counts of a summary, which are a part of the state.
fn counted(summary: &str) -> serde_json::Value {
    let mut summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    summary.as_object_mut().unwrap().remove("wall_s");
    summary
}

/// Tells the service to stop, and waits until it has.
fn stop(service: &mut Child) -> std::process::ExitStatus {
    let pid = service.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    service.wait().unwrap()
}

/// Waits until `some` different risk events have left, then sends the signal.
fn signal_after(place: &Place, mut service: Child, signal: &str, some: usize) -> Output {
    let reader = Reader::of(&place.broker, &place.risk_topic());
    let (mut seen, start) = (BTreeSet::new(), Instant::now());
    while seen.len() < some {
        assert!(start.elapsed() < LONG, "{some} risk events within {LONG:?}");
        let ended = service.try_wait().unwrap();
        assert!(ended.is_none(), "the service ended by itself: {ended:?}");
        seen.extend(reader.next().map(|(_, payload)| payload));
    }
    let pid = service.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    service.wait_with_output().unwrap()
}

#[test]
fn kafka_and_the_local_log_give_the_same_risk_events() {
    let Some(place) = place("same", 3) else { return };
    place.replay("local");
    let expected = place.local_risks();
    assert!(expected.len() > 100, "only {} risk events", expected.len());
    place.replay("kafka");
    let summary = place.run_to_idle("a");
    assert!(summary.contains(r#""windows":"#), "{summary}");
    let told = place.sorted_kafka_risks();
    assert!(told == expected, "{} risk events, not {}", told.len(), expected.len());

    // Another node that takes over without the state: it has all of it from the changelog, and
    // nothing is left to say.
    let begun = Instant::now();
    let again = place.run_to_idle("b");
    println!("restored and idle in {:?}: {}", begun.elapsed(), again.trim());
    assert_eq!(place.kafka_risks().len(), expected.len());
    assert_eq!(counted(&again), counted(&summary));

    // A copy that has lain for longer than the changelog is sure to show deletions is not trusted.
    let reached = place.path("b").join("task-0/reached");
    let aged = Command::new("touch").args(["-d", "8 days ago"]).arg(reached).status().unwrap();
    assert!(aged.success());
    let output = place.nowcxr("run", "b").args(["--until-idle", "3"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("too old; it is restored anew"), "{log}");
    assert_eq!(counted(&String::from_utf8_lossy(&output.stdout)), counted(&summary));
}

#[test]
fn a_stop_and_a_kill_change_no_risk_event() {
    let Some(place) = place("kill", 6) else { return };
    place.replay("local");
    let expected = place.local_risks();
    place.replay("kafka");

    // A name that survives a kill: without it the group waits for the session's end.
    let run = || {
        let mut run = place.nowcxr("run", "a");
        run.args(["--set", "kafka.instance=a"]);
        run
    };
    let service = run().spawn().unwrap();
    let stopped = signal_after(&place, service, "-TERM", 10);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let n_stopped = place.sorted_kafka_risks().len();
    assert!(n_stopped < expected.len(), "it was stopped too late to tell");

    let service = run().spawn().unwrap();
    let killed = signal_after(&place, service, "-KILL", n_stopped + 10);
    assert!(!killed.status.success());
    let n_killed = place.kafka_risks().len();
    assert!(n_killed < expected.len(), "it was killed too late to tell");

    let ended = run().args(["--until-idle", "3"]).output().unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    log.lines().filter(|line| line.contains("WARN")).for_each(|line| println!("{line}"));
    succeed(ended);
    let told = place.sorted_kafka_risks();
    let missing = expected.iter().filter(|risk| told.binary_search(risk).is_err()).count();
    let (n, of) = (told.len(), expected.len());
    assert!(told == expected, "{n} risk events, not {of}; {missing} missing");
}
