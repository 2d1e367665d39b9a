//! One commit as one transaction, and the way back from the changelog, against a real broker.
//! Runs when `NOWCXR_KAFKA` holds its address:
//!
//! ```sh
//! NOWCXR_KAFKA=$(.ci/kafka start) cargo test --release --test kafka_commit; .ci/kafka stop
//! ```

#![allow(clippy::unwrap_used)]

mod standby;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nowcxr::ids::{Digest, Position, Topic};
use nowcxr::ports::{Commit, Committer, OutputKind, PortError, Source, StateStore};
use nowcxr::store::memory::MemoryStore;
use nowcxr::transport::kafka::{
    CommitterOptions, Hold, KafkaCommitter, KafkaGroup, KafkaSettings, KafkaSource, ensure_topics,
    journal,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use support::{LONG, SEED, SHORT, alone, commit, dump, last, options, put, settings, tool, values};

#[test]
fn a_commit_is_there_whole_and_a_store_that_was_lost_comes_back_from_the_changelog() {
    let Some(settings) = settings("whole") else { return };
    ensure_topics(&settings).unwrap();
    let mut store = MemoryStore::new();
    let mut committer = alone(&settings, &mut store);
    for number in 1..=20 {
        committer.commit(&mut commit(number), &mut store).unwrap();
    }
    let risks = dump(&settings, &settings.output(OutputKind::Risk));
    assert_eq!(risks.len(), 20);
    for risk in &risks {
        let headers: Vec<_> = risk.headers().unwrap().iter().map(|h| h.key).collect();
        assert_eq!(headers, ["number", "latency_ms", "node"]);
        let number: u64 = String::from_utf8_lossy(&risk.payload().unwrap()[6..]).parse().unwrap();
        assert_eq!(risk.key().unwrap(), (number % 3).to_string().as_bytes());
    }
    let mut read = Vec::new();
    journal::read(&settings, 0, &mut |record| read.push(record)).unwrap();
    assert_eq!(read, (1..=20).flat_map(|n| commit(n).journal).collect::<Vec<_>>());

    // A copy that was left behind takes up where it was, and a new one has it all.
    let reached = store.restart().unwrap();
    let opened = reached.opened().clone();
    assert_eq!((opened.commit, opened.last_output, opened.journal), (20, 40, 20));
    assert!(opened.outbox.is_empty() && opened.changelog > 0);
    drop(committer);
    let mut new = MemoryStore::new();
    let mut committer = alone(&settings, &mut new);
    assert_eq!(values(&new), values(&reached));
    let mut restored = new.opened().clone();
    assert!(restored.changelog >= opened.changelog);
    restored.changelog = opened.changelog;
    assert_eq!(restored, opened);
    committer.commit(&mut commit(21), &mut new).unwrap();
    drop(committer);
    let mut old = reached;
    drop(alone(&settings, &mut old));
    assert_eq!(values(&old), values(&new));
    assert_eq!(old.opened().commit, 21);

    // State of another configuration is not gone on with.
    let source = KafkaSource::open(&settings, [0]).unwrap();
    let other = CommitterOptions { config: Digest::of(b"other"), ..options(0) };
    let mut other = KafkaCommitter::open(&settings, source.ownership(), other).unwrap();
    let refused = other.open(&mut MemoryStore::new()).unwrap_err();
    assert!(matches!(&refused, PortError::Stop(why) if why.contains("another configuration")));
}

#[test]
fn a_new_owner_fences_the_old_one_whose_commit_leaves_nothing() {
    let Some(settings) = settings("fence") else { return };
    ensure_topics(&settings).unwrap();
    let (mut old_store, mut new_store) = (MemoryStore::new(), MemoryStore::new());
    let mut old = alone(&settings, &mut old_store);
    old.commit(&mut commit(1), &mut old_store).unwrap();
    let mut new = alone(&settings, &mut new_store);
    let refused = old.commit(&mut commit(2), &mut old_store).unwrap_err();
    assert!(matches!(refused, PortError::Reopen(_)), "{refused}");
    assert_eq!(old_store.restart().unwrap().opened().commit, 1);
    new.commit(&mut commit(2), &mut new_store).unwrap();
    assert_eq!(dump(&settings, &settings.output(OutputKind::Risk)).len(), 2);
}

#[test]
fn positions_are_committed_for_those_who_watch() {
    let Some(settings) = settings("watch") else { return };
    ensure_topics(&settings).unwrap();
    let mut group = KafkaGroup::join(&settings).unwrap();
    let start = Instant::now();
    loop {
        match group.owned(&Default::default(), SHORT) {
            Ok(owned) if owned.len() == 2 => break,
            // New topics may still be finding their leaders.
            Ok(_) | Err(PortError::Retry(_)) => assert!(start.elapsed() < LONG),
            Err(error) => panic!("{error}"),
        }
    }
    let mut source = group.source(0).unwrap();
    source.seek(&[]).unwrap();
    let mut store = MemoryStore::new();
    let mut committer = KafkaCommitter::open(&settings, source.ownership(), options(0)).unwrap();
    committer.open(&mut store).unwrap();
    for number in 1..=3 {
        committer.commit(&mut commit(number), &mut store).unwrap();
    }
    let watcher: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", &settings.app)
        .create()
        .unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&settings.input(Topic::Lab), 0);
    let noted = watcher.committed_offsets(asked, LONG).unwrap();
    assert_eq!(noted.elements()[0].offset(), Offset::Offset(30));
}

#[test]
fn a_task_that_is_taken_back_commits_at_once_and_one_that_stays_goes_on() {
    let Some(settings) = settings("back") else { return };
    ensure_topics(&settings).unwrap();
    let mut a = Node::join(&settings);
    a.until(&settings, 2);
    let b = std::thread::spawn({
        let settings = settings.clone();
        move || {
            let mut b = Node::join(&settings);
            let longest = b.until(&settings, 1);
            (b, longest)
        }
    });
    let longest = a.until(&settings, 1);
    let (mut b, other) = b.join().unwrap();
    println!("commits during the rebalance took up to {longest:?} and {other:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    drop(a);
    b.until(&settings, 2);
    let risks = dump(&settings, &settings.output(OutputKind::Risk));
    let mut keys: Vec<_> = risks.iter().map(|r| r.payload().unwrap().to_vec()).collect();
    // Every number once a partition: both tasks count on where the other member stopped.
    let total: u64 = b.tasks.values().map(|(_, _, store)| last(store)).sum();
    assert_eq!(keys.len() as u64, total);
    keys.sort();
    assert!(keys.chunk_by(|a, b| a == b).all(|same| same.len() <= 2));
}

/// A member of the group with a task on each partition that it is given.
struct Node {
    /// Declared first: the group waits for its tasks to let go.
    tasks: BTreeMap<u32, (KafkaSource, KafkaCommitter, MemoryStore)>,
    group: KafkaGroup,
}

impl Node {
    fn join(settings: &KafkaSettings) -> Self {
        Node { group: KafkaGroup::join(settings).unwrap(), tasks: BTreeMap::new() }
    }

    /// Opens what it is given, and commits and lets go of what is taken back, until it has `n`.
    /// Returns the longest that a commit took.
    fn until(&mut self, settings: &KafkaSettings, n: usize) -> Duration {
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let owned = match self.group.owned(&Default::default(), Duration::from_millis(20)) {
                Ok(owned) => owned,
                Err(PortError::Retry(_)) => continue,
                Err(error) => panic!("{error}"),
            };
            for partition in &owned {
                if self.tasks.contains_key(partition) {
                    continue;
                }
                let Ok(source) = self.group.source(*partition) else { continue };
                let mut store = MemoryStore::new();
                let mut committer =
                    KafkaCommitter::open(settings, source.ownership(), options(*partition))
                        .unwrap();
                // What passes is tried again, as the service does.
                if committer.open(&mut store).is_err() {
                    continue;
                }
                self.tasks.insert(*partition, (source, committer, store));
            }
            let mut unknown = BTreeSet::new();
            for (partition, (source, committer, store)) in &mut self.tasks {
                if source.ownership().hold() != Hold::Lost {
                    let begun = Instant::now();
                    let number = last(store) + 1;
                    let position =
                        Position { topic: Topic::Lab, partition: *partition, next: number };
                    let mut commit = Commit { positions: vec![position], ..commit(number) };
                    match committer.commit(&mut commit, store) {
                        Ok(()) => longest = longest.max(begun.elapsed()),
                        // The outcome is unknown: the task is opened anew and restored.
                        Err(PortError::Reopen(_)) => drop(unknown.insert(*partition)),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            self.tasks.retain(|partition, (source, _, _)| {
                !unknown.contains(partition) && source.ownership().hold() == Hold::Ours
            });
            if self.tasks.len() == n {
                return longest;
            }
            assert!(start.elapsed() < LONG, "{owned:?}");
        }
    }
}

#[test]
fn a_compacted_changelog_restores_the_same_bytes_and_stays_small() {
    let Some(settings) = settings("compact") else { return };
    ensure_topics(&settings).unwrap();
    let small = "segment.bytes=1048576,segment.ms=1000,min.cleanable.dirty.ratio=0.01,\
                 min.compaction.lag.ms=0,max.compaction.lag.ms=1000,delete.retention.ms=600000";
    let changelog = settings.changelog();
    let to = ["--bootstrap-server", &settings.bootstrap, "--entity-type", "topics"];
    let what = ["--entity-name", &changelog, "--alter", "--add-config", small];
    tool("kafka.admin.ConfigCommand", &[&to[..], &what[..]].concat());

    let mut store = MemoryStore::new();
    let mut committer = alone(&settings, &mut store);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut written = 0;
    for number in 1..=400u64 {
        let mut commit = Commit { number, ..commit(number) };
        for _ in 0..20 {
            let payload: Vec<u8> =
                (0..rng.random_range(100..4_000)).map(|_| rng.random()).collect();
            let entry = put(rng.random_range(0..400), &payload);
            match rng.random_range(0..8) {
                0 => commit.deletes.push(entry.0),
                _ => commit.puts.push(entry),
            }
        }
        written += commit.puts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        committer.commit(&mut commit, &mut store).unwrap();
    }
    let live = values(&store);
    let live_bytes: usize = live.iter().map(|(key, value)| key.len() + value.len()).sum();

    // Compaction leaves the segment alone that is written to, so it is rolled by a late commit.
    let (start, mut number, mut kept) = (Instant::now(), 400, usize::MAX);
    while kept > 3 * live_bytes {
        assert!(start.elapsed() < LONG, "{kept} bytes kept of {live_bytes} live ones");
        std::thread::sleep(Duration::from_secs(2));
        number += 1;
        let mut beat = Commit { number, ..Commit::default() };
        committer.commit(&mut beat, &mut store).unwrap();
        let records = dump(&settings, &changelog);
        kept = records
            .iter()
            .map(|r| r.key().unwrap().len() + r.payload().map_or(0, <[u8]>::len))
            .sum();
    }
    println!("seed {SEED}: {written} bytes written, {live_bytes} live, {kept} kept");
    assert!(written > 4 * live_bytes, "too little was written to tell");
    drop(committer);
    let mut new = MemoryStore::new();
    drop(alone(&settings, &mut new));
    assert!(values(&new) == live, "the restored state differs");
    assert_eq!(new.opened().commit, number);
}
