//! Members replaced one by one under load, by another program or under other settings, while an
//! older and a newer producer tell the same ward.
//!
//! `NOWCXR_OLD_PROGRAM` names a binary of an earlier commit: two of its members run first, and what
//! they have made is taken over by this program's, state directories included. It must make the
//! same configuration digest (or the new member is refused, as it should be) and the same payloads.
//! Without it this program under other settings stands in for it, which shows that members that
//! differ in what does not change a payload do not disturb each other, and nothing of versions.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::super::place::{LONG, Place, Service, succeed};
use super::{QUIET, WARD, Watch, figures, number, seed, settle, signal};

/// What may differ from member to member.
const OTHER_SETTINGS: [&str; 8] = [
    "--set",
    "kafka.commit_interval=250ms",
    "--set",
    "store.flush_every=5s",
    "--set",
    "kafka.standby=1",
    "--set",
    "kafka.delivery_timeout=20s",
];

/// Tells the ward to Kafka, and leaves what it says of itself in `out`.
fn producer(place: &Place, out: &str) -> Command {
    let mut replay = place.nowcxr("replay", "unused");
    replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
    replay.args(["--to", "kafka", "--out", out]);
    replay
}

fn member(place: &Place, name: &str, more: &[&str]) -> Service {
    let mut run = place.service(name);
    run.args(["--set", &format!("kafka.instance={name}")]).args(more);
    Service(run.spawn().unwrap())
}

#[test]
fn members_that_are_replaced_one_by_one_change_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    seed("upgrade");
    let place = ward.named("upgrade", &ward.broker);
    let old_program = std::env::var_os("NOWCXR_OLD_PROGRAM").map(PathBuf::from);
    let what = old_program
        .as_ref()
        .map_or("this program, other settings".to_owned(), |program| program.display().to_string());
    println!("upgrade: from {what}");
    let old = old_program.map_or_else(|| place.clone(), |program| place.by(program));
    succeed(place.nowcxr("topics", "unused").arg("create").output().unwrap());
    let watch = Watch::over(&place);
    // The two tell the same at once: each fact is used once, whoever of them was quicker.
    let producers = [(&old, "told-by-old"), (&place, "told-by-new")]
        .map(|(place, out)| producer(place, out).spawn().unwrap());
    let mut members = ["m0", "m1"].map(|name| member(&old, name, &OTHER_SETTINGS));
    assert!(watch.first_after(Instant::now(), LONG).is_some(), "no output at all");
    for producer in producers {
        succeed(producer.wait_with_output().unwrap());
    }
    let mixed = Duration::from_secs(number("NOWCXR_PROVE_MIXED", 10));
    let mut resumed = Vec::new();
    for (name, slot) in ["m0", "m1"].into_iter().zip(&mut members) {
        let left = Instant::now();
        signal(&slot.0, "-TERM");
        assert!(slot.0.wait().unwrap().success(), "{name} did not end well");
        resumed.extend(watch.each_after(left, QUIET, QUIET).into_values());
        *slot = member(&place, name, &[]);
        let started = Instant::now();
        resumed.extend(watch.each_after(started, QUIET, QUIET).into_values());
        // Until the second is replaced, one of each runs.
        thread::sleep(if name == "m0" { mixed } else { Duration::ZERO });
        assert!(slot.0.try_wait().unwrap().is_none(), "{name} has ended by itself");
    }
    let (n, of) = (place.kafka_risks().len(), expected.len());
    println!("upgrade: {mixed:?} of one old and one new member; {n} of {of} told at its end");
    figures("upgrade: a leave or a join to each partition's next output", resumed);
    for slot in &mut members {
        signal(&slot.0, "-TERM");
        assert!(slot.0.wait().unwrap().success());
    }
    drop(watch);
    settle("upgrade", &place, expected);
}
