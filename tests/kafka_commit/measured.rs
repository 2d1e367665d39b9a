//! What producers and restores take, by hand.

use std::time::Instant;

use nowcxr::ports::{Commit, Committer, PortError};
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::transport::kafka::{KafkaCommitter, KafkaSettings, KafkaSource, ensure_topics};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::support::{SEED, alone, commit, options, put, settings, values};

/// A number of `/proc/self/status`.
fn of_process(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// By hand: `NOWCXR_MEASURE=1 cargo test --release --test kafka_commit producers -- --nocapture`.
#[test]
fn what_the_producers_of_many_tasks_take() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: a measurement; set NOWCXR_MEASURE=1");
        return;
    }
    for n in [1, 16, 64] {
        let Some(settings) = settings("many") else { return };
        let settings = KafkaSettings { partitions: n, ..settings };
        ensure_topics(&settings).unwrap();
        let source = KafkaSource::open(&settings, [0]).unwrap();
        let before = (of_process("Threads"), of_process("VmRSS"), Instant::now());
        let mut committers: Vec<_> = (0..n)
            .map(|partition| {
                let mut store = MemoryStore::new();
                let options = options(partition);
                let mut committer =
                    KafkaCommitter::open(&settings, source.ownership(), options).unwrap();
                // New topics may still be finding their leaders.
                while let Err(error) = committer.open(&mut store) {
                    assert!(matches!(error, PortError::Retry(_)), "{error}");
                }
                (committer, store)
            })
            .collect();
        let opened = before.2.elapsed();
        let mut times = Vec::new();
        for number in 1..=10 {
            for (committer, store) in &mut committers {
                let begun = Instant::now();
                committer.commit(&mut commit(number), store).unwrap();
                times.push(begun.elapsed());
            }
        }
        times.sort();
        println!(
            "{n} tasks: {} threads and {} KiB more, opened in {opened:.2?}, a commit takes {:.2?} \
             (median), {:.2?} (p99)",
            of_process("Threads") - before.0,
            of_process("VmRSS").saturating_sub(before.1),
            times[times.len() / 2],
            times[times.len() * 99 / 100],
        );
    }
}

/// By hand: `NOWCXR_MEASURE=1 cargo test --release --test kafka_commit restore -- --nocapture`.
#[test]
fn what_a_restore_takes() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: a measurement; set NOWCXR_MEASURE=1");
        return;
    }
    /// Values a commit: as many hour chunks of about 600 bytes.
    const VALUES: u64 = 2_000;
    let Some(settings) = settings("restore") else { return };
    ensure_topics(&settings).unwrap();
    let mut store = MemoryStore::new();
    let mut committer = alone(&settings, &mut store);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (begun, mut bytes) = (Instant::now(), 0);
    for number in 1..=100 {
        let mut commit = Commit { number, ..Commit::default() };
        for n in 0..VALUES {
            let payload: Vec<u8> = (0..600).map(|_| rng.random()).collect();
            commit.puts.push(put(number * VALUES + n, &payload));
        }
        bytes += commit.puts.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        committer.commit(&mut commit, &mut store).unwrap();
    }
    println!("{} values, {bytes} bytes, written in {:.2?}", 100 * VALUES, begun.elapsed());
    drop(committer);
    let begun = Instant::now();
    drop(alone(&settings, &mut MemoryStore::new()));
    println!("restored to memory in {:.2?}", begun.elapsed());
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, _) = SledStore::open(dir.path(), &StoreOptions::default()).unwrap();
    let begun = Instant::now();
    let source = KafkaSource::open(&settings, [0]).unwrap();
    let mut committer = KafkaCommitter::open(&settings, source.ownership(), options(0)).unwrap();
    committer.open(&mut disk).unwrap();
    println!("restored to sled in {:.2?}", begun.elapsed());
    assert!(values(&disk) == values(&store));
}
