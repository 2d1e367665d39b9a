//! A store that was damaged between two runs is moved aside and rebuilt from log and journal; the
//! output log holds no doubled and no different payload.

use std::path::Path;

use nowcxr::config::EngineConfig;
use nowcxr::store::sled::{Recovery, SledStore, StoreOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::records::{clean, codec};
use super::world::{Outcomes, append, run, run_in_memory};

const SEED: u64 = 5;
const TRIALS: u64 = 12;

/// Changes the files of a closed store; says what it did.
fn damage(engine: &Path, trial: u64, rng: &mut ChaCha8Rng) -> String {
    let mut files = files(engine);
    files.retain(|file| file.metadata().unwrap().len() > 0);
    files.sort();
    let file = files[rng.random_range(0..files.len())].clone();
    // Every third trial spoils the largest file throughout, so that it cannot go unseen.
    let thorough = trial.is_multiple_of(3);
    let largest = files.iter().max_by_key(|file| file.metadata().unwrap().len()).cloned();
    let file = if thorough { largest.unwrap() } else { file };
    let mut bytes = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let what = if thorough {
        bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
        format!("{name}: a byte in 97 changed")
    } else if rng.random_bool(0.3) {
        bytes.truncate(rng.random_range(0..bytes.len()));
        format!("{name}: cut to {}", bytes.len())
    } else {
        let n = rng.random_range(1..20);
        for _ in 0..n {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
        format!("{name}: {n} bits flipped")
    };
    std::fs::write(&file, bytes).unwrap();
    what
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let nested = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(nested).collect()
}

fn open(state: &Path) -> (SledStore, Recovery) {
    SledStore::open(state, &StoreOptions::default()).unwrap()
}

fn same(got: &Outcomes, expected: &Outcomes, what: &str) {
    assert_eq!(got.risks.len(), expected.risks.len(), "{what}: events were lost or doubled");
    assert!(got.risks == expected.risks, "{what}: events changed");
    assert_eq!(got.letters, expected.letters, "{what}");
    assert_eq!(got.counts.fates, expected.counts.fates, "{what}");
    assert_eq!(got.counts.events, expected.counts.events, "{what}");
}

#[test]
fn a_damaged_store_is_rebuilt_without_a_doubled_or_changed_event() {
    println!("seed {SEED}");
    let codec = codec();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut records = clean(&codec);
    // Some dead letters too: they must not leave twice either.
    for at in [50, 150, 250] {
        let mut spoilt = records.iter().find(|sent| sent.key.is_some()).cloned().unwrap();
        spoilt.value.truncate(9);
        spoilt.at = super::records::minute(at);
        records.push(spoilt);
    }
    let (expected, _) = run_in_memory(&records, EngineConfig::default());
    assert_eq!(expected.letters.len(), 3);
    let mut n_moved = 0;
    for trial in 0..TRIALS {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        append(dir.path(), &records);
        same(&run(dir.path(), open(&state).0, EngineConfig::default()), &expected, "first run");
        let what = damage(&state.join("sled-1"), trial, &mut rng);
        let (store, recovery) = open(&state);
        println!("trial {trial}: {what}: {recovery:?}");
        let moved = match &recovery {
            Recovery::MovedAside { to, .. } => Some(to.clone()),
            _ => None,
        };
        let got = run(dir.path(), store, EngineConfig::default());
        same(&got, &expected, &format!("trial {trial}, {what}, {recovery:?}"));
        if let Some(to) = moved {
            n_moved += 1;
            assert!(!files(&to).is_empty(), "the damaged store is kept for whoever looks");
            assert_eq!(got.asked, 0, "trial {trial}: the journal has every answer");
        }
        let again = run(dir.path(), open(&state).0, EngineConfig::default());
        same(&again, &expected, &format!("trial {trial}, run again"));
        assert_eq!(again.asked, 0);
    }
    assert!(n_moved >= TRIALS / 3, "only {n_moved} stores were found damaged");
}
