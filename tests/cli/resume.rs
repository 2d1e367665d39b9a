//! A replay that is stopped or killed goes on where it was: the same directory ends with the same
//! events, each once, and with the same books.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::support::{Ran, Ward, ended, files, kill, run, start, wait};

/// Directories that are killed again and again.
const TRIALS: u64 = 3;

/// What must not depend on how often a run was interrupted.
#[derive(Debug, PartialEq)]
struct Result {
    digest: Value,
    events: Value,
    risk: String,
    dead_letters: String,
    reconciliation: String,
}

fn result(ward: &Ward, out: &str, summary: &Value) -> Result {
    let read = |name: &str| std::fs::read_to_string(ward.path().join(out).join(name)).unwrap();
    Result {
        digest: summary["digest"].clone(),
        events: summary["events"].clone(),
        risk: read("risk.jsonl"),
        dead_letters: read("dead_letters.jsonl"),
        reconciliation: read("reconciliation.json"),
    }
}

/// Seeds are printed, so that a failure can be looked for again.
fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("seed {seed}; set SEED for another");
    seed
}

#[test]
fn a_replay_killed_anywhere_ends_as_one_that_was_not() {
    let Some(ward) = Ward::new(2) else { return };
    let began = Instant::now();
    let calm = ended(ward.replay("calm", &[])).expect(0).json();
    let took = began.elapsed();
    let expected = result(&ward, "calm", &calm);
    assert!(expected.risk.lines().count() > 30, "too little to compare");
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let mut n_killed = 0;
    for trial in 0..TRIALS {
        let out = format!("trial-{trial}");
        // Every second directory twice: going on may be killed too.
        for _ in 0..=trial % 2 {
            let after = took.mul_f64(rng.random_range(0.02..0.95));
            let mut child = start(&mut ward.replay(&out, &[]), ward.path());
            std::thread::sleep(after);
            // Child::kill is SIGKILL: nothing gets a chance to close.
            child.kill().unwrap();
            let ended = wait(child, ward.path());
            assert!(!ended.err.contains("error"), "trial {trial}: {}", ended.err);
            n_killed += u32::from(ended.code().is_none());
            println!("trial {trial}: killed after {after:?}");
        }
        let summary = ended(ward.replay(&out, &[])).expect(0).json();
        assert_eq!(result(&ward, &out, &summary), expected, "trial {trial}");
    }
    assert!(n_killed > 0, "no run was killed");
    // And once more over what is complete: nothing is added.
    let size = |out: &str| log_bytes(&ward.path().join(out));
    let before = size("calm");
    let again = ended(ward.replay("calm", &[])).expect(0).json();
    assert_eq!(result(&ward, "calm", &again), expected);
    assert_eq!(size("calm"), before, "the log has grown");
}

/// Bytes of the records in a log.
fn log_bytes(out: &Path) -> u64 {
    let log = files(&out.join("log")).into_iter();
    let records = log.filter(|path| path.extension().is_some_and(|ext| ext == "log"));
    records.map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn a_replay_that_is_asked_to_stop_says_so_and_goes_on_later() {
    let Some(ward) = Ward::new(1) else { return };
    let calm = ended(ward.replay("calm", &[])).expect(0).json();
    // An hour a second: it cannot be through before it is stopped.
    let child = start(&mut ward.replay("out", &["--speed", "3600"]), ward.path());
    let risk = ward.path().join("out/log/risk-0");
    let began = Instant::now();
    while log_bytes(&ward.path().join("out")) == 0 || !has_records(&risk) {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing was predicted");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(kill("-TERM", child.id()));
    let stopped = wait(child, ward.path()).expect(130);
    assert!(stopped.err.contains("stopping; once more to stop at once"), "{}", stopped.err);
    assert_eq!(stopped.json()["stopped_early"], true);
    inspect(&ward, &stopped);
    let whole = ended(ward.replay("out", &[])).expect(0).json();
    assert_eq!(whole["stopped_early"], false);
    assert_eq!(result(&ward, "out", &whole), result(&ward, "calm", &calm));
}

fn has_records(topic: &Path) -> bool {
    let longer = |path: std::path::PathBuf| path.metadata().is_ok_and(|meta| meta.len() > 200);
    files(topic).into_iter().any(longer)
}

/// What `inspect` says of a store whose stays are still on the ward.
fn inspect(ward: &Ward, stopped: &Ran) {
    let overview = run(ward.path(), &["inspect", "--out", "out"]).expect(0).json();
    assert_eq!(overview["opened"], "Clean");
    for number in ["commit", "entries", "live_bytes", "disk_bytes"] {
        assert!(overview[number].as_u64().unwrap() > 0, "{number} in {overview}");
    }
    let topics: Vec<&str> = overview["positions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|position| position["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["stay", "imaging", "lab", "vital", "acknowledgement"]);
    let stays = overview["stays"].as_array().unwrap();
    assert_eq!(stays.len() as u64, stopped.json()["stays"].as_u64().unwrap());
    let id = stays[0]["stay"].to_string();
    let stay = run(ward.path(), &["inspect", "--out", "out", &id]).expect(0).json();
    assert_eq!(stay["summary"], stays[0]);
    let windows = stay["windows"].as_array().unwrap();
    assert!(!windows.is_empty());
    for window in windows {
        assert!(window["t"].is_string() && window["input_digest"].is_string(), "{window}");
    }
    // The first window may be that of a film, before any observation.
    let hours = stay["hours"].as_array().unwrap().iter();
    let held: u64 = hours.map(|hour| hour["observations"].as_u64().unwrap()).sum();
    assert_eq!(held, stays[0]["observations"].as_u64().unwrap(), "{stay}");
    let none = run(ward.path(), &["inspect", "--out", "out", "1"]).expect(1).err;
    assert!(none.contains("no stay 1"), "{none}");
    let nothing = run(ward.path(), &["inspect", "--out", "ward"]).expect(1).err;
    assert!(nothing.contains("holds no state") && nothing.contains("--out"), "{nothing}");
}

#[test]
fn a_directory_of_another_run_is_refused_and_left_as_it_was() {
    let Some(ward) = Ward::new(1) else { return };
    let coarse = ["--set", "engine.every=24h"];
    ended(ward.replay("out", &coarse)).expect(0);
    let before = log_bytes(&ward.path().join("out"));
    let other = ended(ward.replay("out", &["--set", "engine.every=12h"])).expect(1).err;
    assert!(other.contains("another configuration") && other.contains("--out"), "{other}");
    let flags = [&coarse[..], &["--min-stay", "1"]].concat();
    let flags = ended(ward.replay("out", &flags)).expect(1).err;
    assert!(flags.contains("other flags") && flags.contains("--out"), "{flags}");
    let table = ward.path().join("ward/mimiciv/hosp/transfers.csv.gz");
    let bytes = std::fs::read(&table).unwrap();
    std::fs::write(&table, &bytes[..bytes.len() - 1]).unwrap();
    let data = ended(ward.replay("out", &coarse));
    assert_eq!(data.code(), Some(1), "{}", data.out);
    assert_eq!(log_bytes(&ward.path().join("out")), before);
}
