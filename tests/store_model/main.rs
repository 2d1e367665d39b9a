//! The stores against a plain map: random commits, reads, flushes and restarts by printed seed,
//! damage to the files of a closed store, and formats of the future.

mod crash;
mod damage;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

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
            last_output: self.last_output,
            config_digest: (self.number > 0).then(config),
            journal: self.journal,
            changelog: 0,
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
            topic: Topic::ALL[below(rng, Topic::ALL.len() as u64) as usize],
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
        reached: None,
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
                    disk.set_config_digest(config());
                    memory.set_config_digest(config());
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

#[test]
fn a_state_is_dated_by_when_it_was_whole() {
    let dir = tempfile::tempdir().expect("dir");
    let reached = dir.path().join("reached");
    let commit = |number: u64| Commit {
        number,
        puts: vec![(Key::Head { stay: StayId(number) }.encode(), frame(NEWEST_VERSION, b"x"))],
        ..Commit::default()
    };
    let date = || std::fs::metadata(&reached).and_then(|m| m.modified()).expect("a date");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let age = || {
        let file = std::fs::File::options().write(true).open(&reached).expect("reached");
        file.set_modified(long_ago).expect("aged");
    };
    let (mut store, _) = open(dir.path());
    assert!(date() > long_ago, "a new store is of now");
    // Neither opening it, nor a part of its changelog, nor closing it makes it whole.
    drop(store);
    age();
    store = open(dir.path()).0;
    store.restore(&commit(1)).expect("a piece");
    store.flush().expect("flush");
    store.restore(&commit(2)).expect("a piece");
    drop(store);
    assert_eq!(date(), long_ago);
    store = open(dir.path()).0;
    assert_eq!(store.opened().commit, 2);
    assert_eq!(store.dated_at().map(|at| at.as_millis()), Some(1_000_000_000_000));
    store.caught_up().expect("caught up");
    assert!(date() > long_ago);
    // Its own commits are all that there is.
    age();
    store.commit(&commit(3)).expect("commit");
    assert_eq!(date(), long_ago, "not before it is flushed");
    store.flush().expect("flush");
    assert!(date() > long_ago);
}

/// By hand: `NOWCXR_MEASURE=1 cargo test --release --test store_model speed -- --nocapture`.
#[test]
fn speed() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: a measurement; set NOWCXR_MEASURE=1");
        return;
    }
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let dir = tempfile::tempdir().expect("dir");
    let (mut store, _) = open(dir.path());
    let payload: Vec<u8> = (0..2_700).map(|_| rng.next_u32() as u8).collect();
    let value = frame(NEWEST_VERSION, &payload);
    let began = std::time::Instant::now();
    for number in 1..=100u64 {
        // An hour of 1,000 stays, rewritten ten times.
        let hour = number as i64 / 10;
        let key = |stay| Key::Chunk { stay: StayId(stay), hour }.encode();
        let puts = (0..1_000).map(|stay| (key(stay), value.clone())).collect();
        store.commit(&Commit { number, puts, ..Commit::default() }).expect("commit");
        store.flush().expect("flush");
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / 100_000.0;
    println!("{each:.1} us wall a put of 2.7 kB, flushed every 1,000");
    let health = store.health().expect("health");
    println!("{} bytes live, {} on disk", health.live_bytes, health.disk_bytes);
    drop(store);
    let began = std::time::Instant::now();
    drop(open(dir.path()));
    println!("open and verify {:.3} s", began.elapsed().as_secs_f64());
}
