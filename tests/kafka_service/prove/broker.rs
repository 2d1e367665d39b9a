//! One broker that goes and comes back, stands still, or is not heard.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::relay::Relay;
use super::trial::{Nodes, Trial, kafka, outages, ran};
use super::{WARD, seed};

/// What stands still or is cut off for longer shows nothing more: every time-out has passed.
const LONG_ENOUGH: u64 = 20;
/// An outage that is longer than the service's delivery time-out of 4 s by so much must leave a
/// transaction whose outcome is not known.
const SURELY_UNKNOWN: u64 = 10;

fn some_time(rng: &mut impl rand::Rng) -> Duration {
    Duration::from_millis(rng.random_range(500..3_000))
}

#[test]
fn a_broker_that_goes_and_comes_back_changes_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    let (nodes, mut rng) = (Nodes::new(), seed("broker"));
    let dir = nodes.first();
    let place = ward.named("broker", &nodes.run("start", &dir, &[]));
    place.replay("kafka");
    let mut trial = Trial::begin("broker", &place, &place);
    for seconds in outages(u64::MAX) {
        thread::sleep(some_time(&mut rng));
        // Half of the time in an orderly way, half by death.
        let how = if rng.random() { "-KILL" } else { "-TERM" };
        nodes.signal(&dir, how);
        thread::sleep(Duration::from_secs(seconds));
        nodes.run("stop", &dir, &[]);
        nodes.run("start", &dir, &[]);
        trial.resumes(&format!("{how}, away {seconds} s"), Instant::now());
    }
    trial.end(expected);
}

#[test]
fn a_broker_that_stands_still_changes_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    let (nodes, mut rng) = (Nodes::new(), seed("still broker"));
    let dir = nodes.first();
    let place = ward.named("still", &nodes.run("start", &dir, &[]));
    place.replay("kafka");
    let mut trial = Trial::begin("still broker", &place, &place);
    for seconds in outages(LONG_ENOUGH) {
        thread::sleep(some_time(&mut rng));
        // What it was sent meanwhile lies in its sockets, and is done late.
        nodes.signal(&dir, "-STOP");
        thread::sleep(Duration::from_secs(seconds));
        nodes.signal(&dir, "-CONT");
        trial.resumes(&format!("stood still for {seconds} s"), Instant::now());
    }
    let unknown = trial.end(expected);
    let is_sure = outages(LONG_ENOUGH).iter().any(|seconds| *seconds >= SURELY_UNKNOWN);
    assert!(unknown > 0 || !is_sure, "every outcome was known");
}

#[test]
fn answers_that_are_lost_change_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    let (nodes, mut rng) = (Nodes::new(), seed("lost answers"));
    let dir = nodes.first();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let direct = ran(kafka("start", &dir).env("NOWCXR_KAFKA_RELAY", &port));
    let relayed = std::fs::read_to_string(dir.join("relayed")).unwrap();
    let relay = Relay::start(listener, relayed.trim().to_owned());
    let direct = ward.named("answers", &direct);
    let place = ward.named("answers", &format!("127.0.0.1:{port}"));
    place.replay("kafka");
    let mut trial = Trial::begin("lost answers", &place, &direct);
    for seconds in outages(LONG_ENOUGH) {
        thread::sleep(some_time(&mut rng));
        relay.swallow(true);
        thread::sleep(Duration::from_secs(seconds));
        relay.swallow(false);
        trial.resumes(&format!("answers were lost for {seconds} s"), Instant::now());
    }
    let unknown = trial.end(expected);
    let is_sure = outages(LONG_ENOUGH).iter().any(|seconds| *seconds >= SURELY_UNKNOWN);
    assert!(unknown > 0 || !is_sure, "every outcome was known");
}
