//! Damage to the files of a closed store, and formats of the future.

use super::*;

/// Opens the engine beneath a store, waiting for the threads of an earlier one to end.
fn raw(dir: &Path) -> sled::Db {
    for _ in 0..1_000 {
        match sled::Config::new().path(dir.join("sled-1")).open() {
            Ok(db) => return db,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
    panic!("the engine's files are never released");
}

/// Bytes of every file under `dir`, by path.
fn files(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("dir").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).expect("file"));
        }
    }
    found
}

fn restore(files: &BTreeMap<std::path::PathBuf, Vec<u8>>, from: &Path, to: &Path) {
    for (path, bytes) in files {
        let target = to.join(path.strip_prefix(from).expect("inside"));
        std::fs::create_dir_all(target.parent().expect("parent")).expect("mkdir");
        std::fs::write(target, bytes).expect("write");
    }
}

#[test]
fn a_store_of_the_future_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("dir");
    drop(open(dir.path()));
    std::fs::write(dir.path().join("format"), frame(NEWEST_VERSION + 1, b"?")).expect("write");
    let before = files(dir.path());
    let refused = SledStore::open(dir.path(), &StoreOptions::default()).expect_err("future");
    let is_next = |error: &StoreError| match error {
        StoreError::FutureVersion { found, known, .. } => {
            (*found, *known) == (NEWEST_VERSION + 1, NEWEST_VERSION)
        }
        _ => false,
    };
    assert!(is_next(&refused), "{refused}");
    assert!(refused.to_string().contains("use the newer program"));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_value_of_the_future_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("dir");
    drop(open(dir.path()));
    let key = Key::Head { stay: StayId(1) }.encode();
    raw(dir.path()).insert(&key, frame(NEWEST_VERSION + 1, b"new")).expect("insert");
    let refused = SledStore::open(dir.path(), &StoreOptions::default()).expect_err("future");
    let found = NEWEST_VERSION + 1;
    assert!(
        matches!(refused, StoreError::FutureVersion { found: f, .. } if f == found),
        "{refused}"
    );
    let kept = raw(dir.path()).get(&key).expect("get").expect("kept");
    assert_eq!(&*kept, frame(NEWEST_VERSION + 1, b"new").as_slice());
}

#[test]
fn an_unfinished_snapshot_is_cleared_away() {
    let dir = tempfile::tempdir().expect("dir");
    let (mut store, _) = open(dir.path());
    let key = Key::Head { stay: StayId(1) }.encode();
    let puts = vec![(key.clone(), frame(NEWEST_VERSION, b"x"))];
    store.commit(&Commit { number: 1, puts, ..Commit::default() }).expect("commit");
    drop(store);
    std::fs::write(dir.path().join("sled-1/snap.FFFF.generating"), b"").expect("write");
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Clean);
    assert!(store.get(&key).expect("get").is_some());
}

/// A value that was replaced by an older one of the same key has a good checksum of its own; only
/// the digest of the whole store finds it.
#[test]
fn a_stale_value_is_found_by_the_digest() {
    let parent = tempfile::tempdir().expect("dir");
    let dir = parent.path().join("task-0");
    let (mut store, _) = open(&dir);
    let key = Key::Head { stay: StayId(1) }.encode();
    for (number, text) in [(1, "old"), (2, "new")] {
        let puts = vec![(key.clone(), frame(NEWEST_VERSION, text.as_bytes()))];
        store.commit(&Commit { number, puts, ..Commit::default() }).expect("commit");
    }
    drop(store);
    raw(&dir).insert(&key, frame(NEWEST_VERSION, b"old")).expect("insert");
    let looking = StoreOptions { only_look: true, ..Default::default() };
    let refused = SledStore::open(&dir, &looking).expect_err("only looked");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    assert!(!parent.path().join("task-0.damaged-1").exists());
    let (store, recovery) = open(&dir);
    let Recovery::MovedAside { to, why } = recovery else { panic!("not found: {recovery:?}") };
    assert!(why.contains("digest") && to.ends_with("task-0.damaged-1") && to.is_dir());
    assert_eq!(store.opened(), &Opened::default());
}

#[test]
fn an_open_that_hangs_counts_as_damage() {
    // What hangs goes on in its own thread; over many rounds it meets the new store at any moment.
    for _ in 0..50 {
        let parent = tempfile::tempdir().expect("dir");
        let dir = parent.path().join("task-0");
        drop(open(&dir));
        let hasty = StoreOptions { open_timeout: std::time::Duration::ZERO, ..Default::default() };
        let (store, recovery) = SledStore::open(&dir, &hasty).expect("open");
        let Recovery::MovedAside { to, why } = recovery else { panic!("not moved: {recovery:?}") };
        assert!(why.contains("longer than") && to.is_dir());
        assert_eq!(store.opened(), &Opened::default());
        drop(store);
        assert!(matches!(open(&dir).1, Recovery::Clean));
    }
}

/// One change to one file of a closed store.
fn damage(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) -> String {
    let at = below(rng, bytes.len().max(1) as u64) as usize;
    match below(rng, 4) {
        0 => {
            bytes.truncate(at);
            format!("cut to {at}")
        }
        1 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
            format!("zeroed {at}..{end}")
        }
        _ if bytes.is_empty() => "nothing".to_owned(),
        _ => {
            bytes[at] ^= 1 << below(rng, 8);
            format!("flipped a bit of byte {at}")
        }
    }
}

#[test]
fn damage_is_found_or_harmless() {
    let seed = seed();
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let parent = tempfile::tempdir().expect("dir");
    let whole = parent.path().join("whole");
    let (mut store, _) = open(&whole);
    store.set_config_digest(config());
    let mut history = vec![Model::default()];
    for _ in 0..120 {
        let mut model = history.last().expect("first").clone();
        let commit = random_commit(rng, &model);
        store.commit(&commit).expect("commit");
        store.flush().expect("flush");
        model.apply(&commit);
        history.push(model);
    }
    drop(store);
    let good = files(&whole);
    let (mut moved, mut rolled, mut harmless) = (0, 0, 0);
    for trial in 0..60 {
        let dir = parent.path().join(format!("trial-{trial}"));
        let mut bad = good.clone();
        let engine: Vec<_> =
            bad.keys().filter(|path| path.starts_with(whole.join("sled-1"))).cloned().collect();
        let pool = if trial % 6 == 5 { bad.keys().cloned().collect() } else { engine };
        let path = pool[below(rng, pool.len() as u64) as usize].clone();
        let what = damage(rng, bad.get_mut(&path).expect("chosen"));
        restore(&bad, &whole, &dir);
        let name = path.strip_prefix(&whole).expect("inside").display();
        let (store, recovery) = match SledStore::open(&dir, &StoreOptions::default()) {
            Ok(opened) => opened,
            Err(error) => panic!("seed {seed} trial {trial}: {name} {what}: {error}"),
        };
        let model = match &recovery {
            Recovery::MovedAside { .. } => {
                moved += 1;
                &history[0]
            }
            Recovery::RolledBack { found, flushed } => {
                assert!(found < flushed && *flushed == 120);
                rolled += 1;
                &history[*found as usize]
            }
            Recovery::New => panic!("seed {seed} trial {trial}: {name} {what}: taken for new"),
            Recovery::Clean => {
                harmless += 1;
                &history[store.opened().commit as usize]
            }
        };
        assert_eq!(store.opened(), &model.opened(), "seed {seed} {trial}: {name} {what}");
        assert!(content(&store, &[]) == model.values, "seed {seed} {trial}: {name} {what}");
    }
    println!("moved aside {moved}, rolled back {rolled}, harmless {harmless}");
    assert!(moved > 0 && moved + rolled + harmless == 60);
}
