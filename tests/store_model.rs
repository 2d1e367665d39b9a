//! The stores against a plain map: random commits, reads, flushes and restarts by printed seed,
//! damage to the files of a closed store, and formats of the future.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nowcxr::ids::{Digest, FeedId, Position, StayId, Topic};
use nowcxr::ports::{Commit, JournalRecord, Opened, Output, OutputKind, PortError, StateStore};
use nowcxr::store::codec::{NEWEST_VERSION, frame};
use nowcxr::store::keys::{Key, Kind};
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::sled::{Recovery, SledStore, StoreError, StoreOptions};
use nowcxr::time::EventTime;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a correct store holds after a commit.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    number: u64,
    positions: BTreeMap<(Topic, u32), u64>,
    outbox: Vec<Output>,
    last_output: u64,
    journal: u64,
    /// Confirmed, but not yet by a commit.
    sent: u64,
}

impl Model {
    fn apply(&mut self, commit: &Commit) {
        self.values.extend(commit.puts.iter().cloned());
        for key in &commit.deletes {
            self.values.remove(key);
        }
        self.number = commit.number;
        self.positions.extend(commit.positions.iter().map(|p| ((p.topic, p.partition), p.next)));
        let sent = self.sent;
        self.outbox.retain(|output| output.number > sent);
        self.outbox.extend(commit.outputs.iter().cloned());
        self.last_output = commit.outputs.last().map_or(self.last_output, |o| o.number);
        self.journal += commit.journal.len() as u64;
    }

    fn opened(&self) -> Opened {
        let positions = self.positions.iter();
        Opened {
            commit: self.number,
            positions: positions
                .map(|(&(topic, partition), &next)| Position { topic, partition, next })
                .collect(),
            outbox: self.outbox.iter().filter(|o| o.number > self.sent).cloned().collect(),
            config_digest: (self.number > 0).then(config),
            journal: self.journal,
        }
    }
}

fn config() -> Digest {
    Digest::of(b"config")
}

fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    rng.next_u64() % n
}

/// A key of a small space, so that keys are overwritten and deleted often.
fn random_key(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let stay = StayId(below(rng, 5));
    let small = below(rng, 8) as i64 - 4;
    match below(rng, 5) {
        0 => Key::Head { stay },
        1 => Key::Chunk { stay, hour: small },
        2 => Key::Film { stay, digest: Digest([small as u8; 32]) },
        3 => Key::Window { stay, t: EventTime::from_millis(small), revision: 0 },
        _ => Key::FeedMark { topic: Topic::Lab, partition: 0, feed: FeedId(small as u8) },
    }
    .encode()
}

fn random_value(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let len = match below(rng, 20) {
        0 => 50_000,
        1 => 0,
        _ => below(rng, 900),
    };
    let payload: Vec<u8> = (0..len).map(|_| rng.next_u32() as u8).collect();
    frame(NEWEST_VERSION, &payload)
}

fn random_commit(rng: &mut ChaCha8Rng, model: &Model) -> Commit {
    let kinds = [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];
    let (puts, deletes, outputs) = (below(rng, 8), below(rng, 3), below(rng, 4));
    Commit {
        number: model.number + 1,
        puts: (0..puts).map(|_| (random_key(rng), random_value(rng))).collect(),
        deletes: (0..deletes).map(|_| random_key(rng)).collect(),
        positions: vec![Position {
            topic: Topic::ALL[below(rng, 4) as usize],
            partition: 1,
            next: rng.next_u64(),
        }],
        outputs: (1..=outputs)
            .map(|i| Output {
                number: model.last_output + i,
                kind: kinds[below(rng, 4) as usize],
                stay: (below(rng, 2) == 0).then_some(StayId(i)),
                payload: random_value(rng),
                envelope: b"{}".to_vec(),
            })
            .collect(),
        journal: vec![JournalRecord { after: vec![], input: vec![1] }; below(rng, 3) as usize],
    }
}

fn content(store: &dyn StateStore, prefix: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut last: Option<Vec<u8>> = None;
    store
        .scan(prefix, &mut |key, value| {
            assert!(last.as_deref() < Some(key), "scan out of order");
            last = Some(key.to_vec());
            found.insert(key.to_vec(), value.to_vec());
        })
        .expect("scan");
    found
}

fn same(store: &dyn StateStore, model: &Model, rng: &mut ChaCha8Rng) {
    let key = random_key(rng);
    assert_eq!(store.get(&key).expect("get"), model.values.get(&key).cloned());
    for prefix in [vec![], Kind::Chunk.prefix(), Kind::Window.prefix_of(StayId(2))] {
        let mut expected = model.values.clone();
        expected.retain(|key, _| key.starts_with(&prefix));
        assert!(content(store, &prefix) == expected, "scan of {prefix:?} differs");
    }
}

fn open(dir: &Path) -> (SledStore, Recovery) {
    SledStore::open(dir, &StoreOptions { cache_bytes: 1 << 20, ..Default::default() })
        .expect("open")
}

fn seed() -> u64 {
    let seed = std::env::var("NOWCXR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set NOWCXR_SEED to change it)");
    seed
}

#[test]
fn both_stores_follow_the_model() {
    for seed in seed()..seed() + 6 {
        println!("seed {seed}");
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("dir");
        let (mut disk, recovery) = open(dir.path());
        assert_eq!(recovery, Recovery::New);
        disk.set_config_digest(config());
        let mut memory = MemoryStore::crashable();
        memory.set_config_digest(config());
        let mut model = Model::default();
        let mut confirmed = 0;
        for step in 0..150 {
            match below(rng, 20) {
                0..12 => {
                    let commit = random_commit(rng, &model);
                    disk.commit(&commit).expect("commit");
                    memory.commit(&commit).expect("commit");
                    model.apply(&commit);
                    confirmed = model.sent;
                }
                12..14 => {
                    disk.flush().expect("flush");
                    memory.flush().expect("flush");
                }
                14..16 => {
                    let number = below(rng, model.last_output + 1);
                    disk.sent(number);
                    memory.sent(number);
                    model.sent = model.sent.max(number);
                }
                16 => {
                    drop(disk);
                    let (again, recovery) = open(dir.path());
                    assert_eq!(recovery, Recovery::Clean, "step {step}");
                    disk = again;
                    memory = memory.restart().expect("restart");
                    // A confirmation that no commit carried is forgotten.
                    model.sent = confirmed;
                    assert_eq!(disk.opened(), &model.opened(), "step {step}");
                    assert_eq!(memory.opened(), &model.opened(), "step {step}");
                }
                _ => {
                    same(&disk, &model, rng);
                    same(&memory, &model, rng);
                }
            }
        }
        same(&disk, &model, rng);
        assert_eq!(disk.health().expect("health").commit, model.number);
    }
}

#[test]
fn the_memory_twin_forgets_what_was_not_flushed() {
    for seed in seed()..seed() + 20 {
        println!("seed {seed}");
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut store = MemoryStore::crashable();
        store.set_config_digest(config());
        let (mut model, mut flushed) = (Model::default(), Model::default());
        for _ in 0..60 {
            let commit = random_commit(rng, &model);
            store.commit(&commit).expect("commit");
            model.apply(&commit);
            if below(rng, 4) == 0 {
                store.flush().expect("flush");
                flushed = model.clone();
            }
            if below(rng, 10) == 0 {
                store = store.crash().expect("crash");
                store.set_config_digest(config());
                model = flushed.clone();
                assert_eq!(store.opened(), &model.opened());
                same(&store, &model, rng);
            }
        }
    }
}

#[test]
fn what_breaks_the_rules_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let (mut disk, _) = open(dir.path());
    let key = Key::Head { stay: StayId(1) }.encode();
    let commit = |number, key: &[u8], value: Vec<u8>| Commit {
        number,
        puts: vec![(key.to_vec(), value)],
        ..Commit::default()
    };
    let good = frame(NEWEST_VERSION, b"x");
    disk.commit(&commit(1, &key, good.clone())).expect("good");
    let before = (content(&disk, &[]), disk.health().expect("health").digest);
    for bad in [
        commit(1, &key, good.clone()),
        commit(3, &key, good.clone()),
        commit(2, &key, b"not framed".to_vec()),
        commit(2, &key, frame(NEWEST_VERSION + 1, b"x")),
        commit(2, &[0, 1], good.clone()),
        commit(2, &[], good.clone()),
    ] {
        assert!(matches!(disk.commit(&bad), Err(PortError::Stop(_))), "{bad:?}");
        assert_eq!((content(&disk, &[]), disk.health().expect("health").digest), before);
    }
    disk.commit(&commit(2, &key, good)).expect("still usable");
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("dir");
    let held = open(dir.path());
    let second = SledStore::open(dir.path(), &StoreOptions::default());
    assert!(matches!(second, Err(StoreError::Locked(_))));
    drop(held);
    assert_eq!(open(dir.path()).1, Recovery::Clean);
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
    assert!(matches!(refused, StoreError::FutureVersion { found: 2, known: 1, .. }));
    assert!(refused.to_string().contains("use the newer program"));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_value_of_the_future_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("dir");
    drop(open(dir.path()));
    let key = Key::Head { stay: StayId(1) }.encode();
    let raw = || sled::Config::new().path(dir.path().join("sled")).open().expect("sled");
    raw().insert(&key, frame(NEWEST_VERSION + 1, b"new")).expect("insert");
    let refused = SledStore::open(dir.path(), &StoreOptions::default()).expect_err("future");
    assert!(matches!(refused, StoreError::FutureVersion { found: 2, .. }), "{refused}");
    let kept = raw().get(&key).expect("get").expect("kept");
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
    std::fs::write(dir.path().join("sled/snap.FFFF.generating"), b"").expect("write");
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
    let raw = sled::Config::new().path(dir.join("sled")).open().expect("sled");
    raw.insert(&key, frame(NEWEST_VERSION, b"old")).expect("insert");
    drop(raw);
    let (store, recovery) = open(&dir);
    let Recovery::MovedAside { to, why } = recovery else { panic!("not found: {recovery:?}") };
    assert!(why.contains("digest") && to.ends_with("task-0.damaged-1") && to.is_dir());
    assert_eq!(store.opened(), &Opened::default());
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
            bad.keys().filter(|path| path.starts_with(whole.join("sled"))).cloned().collect();
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

const CHILD: &str = "NOWCXR_TEST_STORE_CHILD";
const CHILD_FULL: &str = "NOWCXR_TEST_STORE_FULL";

/// Not a test of its own: the process that `kill_loses_nothing_flushed` kills. Commits by seed
/// for ever and prints the number of each flushed commit.
#[test]
fn child_that_commits() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (mut store, _) = open(Path::new(&dir));
    store.set_config_digest(config());
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    for _ in 0..5_000u32 {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
        store.commit(&commit).expect("commit");
        if commit.number.is_multiple_of(3) {
            store.flush().expect("flush");
            println!("flushed {}", commit.number);
        }
    }
}

/// Not a test of its own: commits until the disk is full, which `a_full_disk_is_an_error` arranges,
/// and then checks that the store says so to everything.
#[test]
fn child_that_fills() {
    let Ok(dir) = std::env::var(CHILD_FULL) else { return };
    let (mut store, _) = open(Path::new(&dir));
    store.set_config_digest(config());
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    let error = loop {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
        let done = store.commit(&commit).and_then(|()| store.flush());
        match done {
            Ok(()) => println!("flushed {}", commit.number),
            Err(error) => break error,
        }
        assert!(commit.number < 5_000, "the disk never filled");
    };
    assert!(matches!(error, PortError::Reopen(_)), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert!(matches!(store.get(b"\x01"), Err(PortError::Reopen(_))));
    assert!(matches!(store.flush(), Err(PortError::Reopen(_))));
    drop(store);
    println!("ended well");
}

/// The limit on file size stands for a full disk: both make writes fail in their middle.
#[test]
fn a_full_disk_is_an_error() {
    let dir = tempfile::tempdir().expect("dir");
    let mut running = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 6000; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("self"))
        .args(["child_that_fills", "--exact", "--nocapture"])
        .env(CHILD_FULL, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("child");
    let began = std::time::Instant::now();
    while running.try_wait().expect("wait").is_none() {
        if began.elapsed().as_secs() > 120 {
            running.kill().expect("kill");
            panic!("the store hangs on a full disk");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = running.wait_with_output().expect("output");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("ended well"), "{text}");
    let flushed = flushed_by(&output.stdout);
    let (store, recovery) = open(dir.path());
    let found = store.opened().commit;
    println!("flushed {flushed}, found {found}, {recovery:?}");
    assert!(flushed > 0 && found >= flushed);
    let model = model_at(found);
    assert_eq!(store.opened(), &model.opened());
    assert!(content(&store, &[]) == model.values);
}

/// What the children hold after commit `number`.
fn model_at(number: u64) -> Model {
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let mut model = Model::default();
    for _ in 0..number {
        let commit = random_commit(rng, &model);
        model.apply(&commit);
    }
    model
}

/// Starts this test program again as the child of `dir`.
fn child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("self"));
    command.args(["child_that_commits", "--exact", "--nocapture"]).env(CHILD, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn flushed_by(stdout: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stdout).into_owned();
    // The last line may be cut in its middle.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|l| l.strip_prefix("flushed ")?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn kill_loses_nothing_flushed() {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed());
    for round in 0..8 {
        let dir = tempfile::tempdir().expect("dir");
        let mut running = child(dir.path()).spawn().expect("child");
        std::thread::sleep(std::time::Duration::from_millis(30 + below(rng, 300)));
        running.kill().expect("kill");
        let output = running.wait_with_output().expect("wait");
        let flushed = flushed_by(&output.stdout);
        let (store, recovery) = open(dir.path());
        let found = store.opened().commit;
        println!("round {round}: flushed {flushed}, found {found}, {recovery:?}");
        assert!(found >= flushed, "round {round}: lost {flushed}..{found}, {recovery:?}");
        let model = model_at(found);
        assert_eq!(store.opened(), &model.opened());
        assert!(content(&store, &[]) == model.values);
    }
}
