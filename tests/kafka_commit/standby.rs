//! Warm copies of a state whose owner goes on writing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nowcxr::ids::Topic;
use nowcxr::ports::{Committer, OutputKind, PortError, StateStore};
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::telemetry::{Metrics, name};
use nowcxr::transport::kafka::{
    Copies, KafkaCommitter, KafkaSettings, StandbyOptions, Standbys, ensure_topics, members,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::support::{LONG, alone, commit, dump, settings, values};

/// Stores below a directory.
#[derive(Clone, Default)]
struct Shelf {
    dir: PathBuf,
    /// The next store that is looked at is too old.
    is_stale: Arc<AtomicBool>,
    /// The partition that cannot be opened.
    refused: Option<u32>,
    /// Of each opening, the partition and the changelog position found.
    opened: Arc<Mutex<Vec<(u32, u64)>>>,
}

impl Copies for Shelf {
    type Store = SledStore;

    fn open(&self, partition: u32) -> Result<SledStore, PortError> {
        if self.refused == Some(partition) {
            return Err(PortError::Stop("refused by the test".to_owned()));
        }
        let dir = self.dir.join(partition.to_string());
        if self.is_stale.swap(false, Ordering::AcqRel) {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        let (store, _) = SledStore::open(dir, &StoreOptions::default())?;
        self.opened.lock().unwrap().push((partition, store.opened().changelog));
        Ok(store)
    }

    fn is_stale(&self, _: &SledStore) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }
}

/// As many copies as `most`, looked after quickly.
fn keep(settings: &KafkaSettings, shelf: &Shelf, most: u32) -> Standbys<Shelf> {
    let options = StandbyOptions {
        every: Duration::from_millis(100),
        settle: Duration::ZERO,
        ..StandbyOptions::new(most, settings.partitions)
    };
    let standbys = Standbys::start(settings, options, shelf.clone()).unwrap();
    standbys.assigned(&BTreeSet::new());
    standbys
}

fn metric(series: &str) -> Option<f64> {
    let text = Metrics::global().unwrap().render().unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn restored() -> f64 {
    metric(name::RESTORED_RECORDS).unwrap()
}

/// Takes the copy of partition 0 once it has reached a commit; until then it stays a copy.
fn take_at(standbys: &Standbys<Shelf>, number: u64) -> SledStore {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < LONG, "commit {number} has not come within {LONG:?}");
        std::thread::sleep(Duration::from_millis(500));
        standbys.assigned(&BTreeSet::from([0]));
        match standbys.take(0) {
            Some(store) if store.opened().commit == number => return store,
            other => drop(other),
        }
        standbys.assigned(&BTreeSet::new());
    }
}

fn assert_same(copy: &SledStore, owner: &SledStore) {
    let (theirs, ours) = (owner.health().unwrap(), copy.health().unwrap());
    assert_eq!((ours.digest, ours.entries), (theirs.digest, theirs.entries));
    assert_eq!(ours.live_bytes, theirs.live_bytes);
    assert!(values(copy) == values(owner), "the copy differs from its owner's state");
}

fn consumer(settings: &KafkaSettings) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", &settings.app)
        .create()
        .unwrap()
}

/// Where every topic that a task writes ends, and what its group has committed.
fn written(settings: &KafkaSettings) -> (Vec<i64>, Vec<Offset>) {
    let consumer = consumer(settings);
    let outputs = [OutputKind::Risk, OutputKind::View, OutputKind::Alert, OutputKind::DeadLetter];
    let mut topics: Vec<String> = outputs.map(|kind| settings.output(kind)).to_vec();
    topics.extend([settings.changelog(), settings.journal()]);
    let end = |topic: &String| consumer.fetch_watermarks(topic, 0, LONG).unwrap().1;
    let ends = topics.iter().map(end).collect();
    let mut asked = TopicPartitionList::new();
    for topic in Topic::ALL {
        asked.add_partition(&settings.input(topic), 0);
    }
    let noted = consumer.committed_offsets(asked, LONG).unwrap();
    (ends, noted.elements().iter().map(|element| element.offset()).collect())
}

#[test]
fn a_copy_follows_its_owner_writes_nothing_and_is_taken_with_only_the_tail_to_read() {
    let Some(settings) = settings("warm") else { return };
    ensure_topics(&settings).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf { dir: dir.path().join("copies"), ..Shelf::default() };
    let (mut owned, _) = SledStore::open(dir.path().join("own"), &Default::default()).unwrap();
    let mut owner = alone(&settings, &mut owned);
    (1..=200).for_each(|n| owner.commit(&mut commit(n), &mut owned).unwrap());
    let before = written(&settings);
    let standbys = keep(&settings, &shelf, 2);
    // A copy that follows while its owner writes.
    let copy = take_at(&standbys, 200);
    assert_same(&copy, &owned);
    drop(copy);
    standbys.assigned(&BTreeSet::new());
    assert!(written(&settings) == before, "a standby has written something");
    assert_eq!(members(&settings).unwrap(), 0, "a standby has joined the group");
    (201..=230).for_each(|n| owner.commit(&mut commit(n), &mut owned).unwrap());
    let mut copy = take_at(&standbys, 230);
    assert_same(&copy, &owned);

    // It is a copy no more, so it lacks what comes now.
    (231..=233).for_each(|n| owner.commit(&mut commit(n), &mut owned).unwrap());
    drop(owner);
    let from = copy.opened().changelog as i64;
    let changelog = dump(&settings, &settings.changelog());
    let tail = changelog.iter().filter(|r| rdkafka::Message::offset(*r) >= from).count();
    assert!(tail > 3 && tail < 20, "{tail} records of three commits");
    let already = restored();
    let mut owner = alone(&settings, &mut copy);
    let read = restored() - already;
    println!("the take-over read {read} of {} records", changelog.len());
    assert_eq!(read, tail as f64);
    assert_same(&copy, &owned);
    owner.commit(&mut commit(234), &mut copy).unwrap();

    // Taken back, it is a copy again from where its task has left it.
    let (theirs, reached) = (values(&copy), copy.opened().changelog);
    drop((owner, copy));
    standbys.assigned(&BTreeSet::new());
    let copy = take_at(&standbys, 234);
    assert!(values(&copy) == theirs);
    let (partition, found) = *shelf.opened.lock().unwrap().last().unwrap();
    assert_eq!(partition, 0);
    assert!(found >= reached, "it began at {found}, and its task had reached {reached}");
}

#[test]
fn a_copy_that_is_too_old_is_thrown_away_and_one_that_fails_leaves_the_others_alone() {
    let Some(settings) = settings("old") else { return };
    ensure_topics(&settings).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shelf = Shelf { dir: dir.path().join("copies"), ..Shelf::default() };
    let (mut owned, _) = SledStore::open(dir.path().join("own"), &Default::default()).unwrap();
    let mut owner: KafkaCommitter = alone(&settings, &mut owned);
    (1..=20).for_each(|n| owner.commit(&mut commit(n), &mut owned).unwrap());
    let standbys = keep(&settings, &shelf, 1);
    drop(take_at(&standbys, 20));
    let behind = format!("{}{{task=\"0\"}}", name::STANDBY_BEHIND);
    assert_eq!(metric(&behind), None, "what is not kept is not told");

    // As it waits, and as it is to be handed over.
    let await_warm = || {
        let started = Instant::now();
        while metric(&behind) != Some(0.0) {
            assert!(started.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    standbys.assigned(&BTreeSet::new());
    await_warm();
    shelf.is_stale.store(true, Ordering::Release);
    let copy = take_at(&standbys, 20);
    assert_same(&copy, &owned);
    assert_eq!(shelf.opened.lock().unwrap().last(), Some(&(0, 0)), "it was not thrown away");
    drop(copy);
    standbys.assigned(&BTreeSet::new());
    await_warm();
    standbys.assigned(&BTreeSet::from([0]));
    shelf.is_stale.store(true, Ordering::Release);
    assert!(standbys.take(0).is_none(), "a stale copy was handed over");
    assert!(standbys.take(1).is_none(), "more copies than asked for");
    drop(standbys);

    let refused = Shelf { refused: Some(1), ..Shelf { is_stale: Arc::default(), ..shelf } };
    let standbys = keep(&settings, &refused, 2);
    assert_same(&take_at(&standbys, 20), &owned);
    assert!(standbys.take(1).is_none());
}
