//! The local log under damage, repetition, kill -9 and a full disk. Seeds are printed.

mod alerts;
mod crash;
mod damage;
mod outlet;
mod source;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nowcxr::ids::{Position, StayId, Topic};
use nowcxr::ports::{
    Journal, JournalRecord, Outlet, Output, OutputKind, PortError, Source, SourceRecord,
};
use nowcxr::time::WallTime;
use nowcxr::transport::local::{
    Clock, LocalJournal, LocalLog, LocalOutlet, LocalSource, LogError, LogOptions, NewRecord,
    Partition, Record, outputs,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const SMALL: LogOptions = LogOptions { segment_bytes: 2_000 };

fn at(ms: i64) -> WallTime {
    WallTime::from_millis(ms)
}

fn clock() -> Clock {
    Box::new(|| at(5))
}

fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    rng.next_u64() % n
}

fn seed() -> u64 {
    let seed = std::env::var("NOWCXR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set NOWCXR_SEED to change it)");
    seed
}

fn open(dir: &Path) -> Arc<LocalLog> {
    LocalLog::open(dir, LogOptions::default()).expect("open")
}

/// Appends `sequence` of writer 1, whose value is a function of it.
fn append(partition: &Partition, sequences: std::ops::Range<u64>) {
    let values: Vec<Vec<u8>> = sequences.clone().map(value).collect();
    let records: Vec<NewRecord<'_>> =
        sequences.zip(&values).map(|(sequence, value)| record(sequence, value)).collect();
    partition.append_batch(&records, at(1)).expect("append");
}

fn value(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 10 + sequence as usize % 50]
}

fn record(sequence: u64, value: &[u8]) -> NewRecord<'_> {
    NewRecord { writer: 1, sequence, key: Some(b"7"), headers: b"", value }
}

fn read_all(partition: &Arc<Partition>) -> Result<Vec<Record>, LogError> {
    let mut reader = partition.reader(partition.start())?;
    let mut records = Vec::new();
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok(records)
}

/// Asserts that the records are those of sequences 1, 2, ... in order, and counts them.
fn count_right(records: &[Record]) -> u64 {
    for (i, record) in records.iter().enumerate() {
        assert_eq!((record.offset, record.sequence), (i as u64, i as u64 + 1));
        assert_eq!(record.value, value(record.sequence));
    }
    records.len() as u64
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("dir").flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

#[test]
fn what_is_synced_is_read_and_nothing_else() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    append(&lab, 1..11);
    assert_eq!(read_all(&lab).expect("read").len(), 0);
    lab.sync().expect("sync");
    assert_eq!(count_right(&read_all(&lab).expect("read")), 10);
    assert_eq!((lab.start(), lab.end()), (0, 10));
    assert_eq!(log.list().expect("list"), [("lab".to_owned(), 0)]);
    assert!(matches!(log.partition("../lab", 0), Err(LogError::Refused(_))));
}

#[test]
fn segments_follow_each_other_across_reopening_and_retention() {
    let dir = tempfile::tempdir().expect("dir");
    for round in 0..5 {
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail(), None);
        for i in 0..20 {
            let first = round * 100 + i * 5 + 1;
            append(&lab, first..first + 5);
            lab.sync().expect("sync");
        }
        assert_eq!(count_right(&read_all(&lab).expect("read")), (round + 1) * 100);
    }
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let before = segments(&dir.path().join("lab-0")).len();
    assert!(before > 10);
    for position in [0, 1, 123, 499] {
        let mut reader = lab.reader(position).expect("reader");
        assert_eq!(reader.read().expect("read").map(|r| r.offset), Some(position));
    }
    let mut slow = lab.reader(0).expect("reader");
    let deleted = lab.delete_before(250).expect("delete");
    assert!(deleted > 3 && lab.start() <= 250 && lab.start() > 200);
    assert_eq!(segments(&dir.path().join("lab-0")).len(), before - deleted);
    assert!(matches!(lab.reader(0), Err(LogError::Deleted { position: 0, .. })));
    assert!(matches!(lab.reader(501), Err(LogError::Beyond { end: 500, .. })));
    let error = loop {
        match slow.read() {
            Ok(record) => assert!(record.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Deleted { .. }), "{error}");
    drop((slow, lab, log));
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let records = read_all(&lab).expect("read");
    assert_eq!(records.last().map(|r| r.offset), Some(499));
    assert_eq!(lab.last_sequence(1), Some(500));
}

#[test]
fn what_is_older_than_its_retention_goes_and_nothing_else() {
    let dir = tempfile::tempdir().expect("dir");
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    for i in 1..=500u64 {
        let value = value(i);
        lab.append_durable(&[record(i, &value)], at(i as i64 * 10)).expect("append");
    }
    let before = segments(&dir.path().join("lab-0")).len();
    assert!(before > 10);
    assert_eq!(lab.delete_appended_before(at(9)).expect("delete"), 0);
    let mut deleted = 0;
    for time in [1_000, 1_000, 2_505, 4_000] {
        deleted += lab.delete_appended_before(at(time)).expect("delete");
        let kept = read_all(&lab).expect("read");
        let young = kept.iter().filter(|record| record.appended_at >= at(time)).count();
        assert_eq!(young as i64, 500 - (time + 9) / 10 + 1, "{time}");
        // Of what is older, less than the segment is left that it shares with the younger ones.
        assert!(kept.len() - young < 60, "{}", kept.len() - young);
    }
    assert_eq!(segments(&dir.path().join("lab-0")).len(), before - deleted);
    // The newest segment stays, however old it is.
    lab.delete_appended_before(at(1_000_000)).expect("delete");
    assert_eq!(segments(&dir.path().join("lab-0")).len(), 1);
    assert_eq!(lab.last_sequence(1), Some(500));
}

#[test]
fn a_repeated_sequence_is_appended_once_also_after_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    for round in 0..4u64 {
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        // Everything from the first record on is sent again, in batches, and twice.
        for _ in 0..2 {
            for batch in 0..=round {
                append(&lab, batch * 40 + 1..batch * 40 + 41);
            }
        }
        lab.sync().expect("sync");
        assert_eq!(count_right(&read_all(&lab).expect("read")), round * 40 + 40);
        assert!(matches!(LocalLog::open(dir.path(), SMALL), Err(LogError::Locked(_))));
    }
    assert!(segments(&dir.path().join("lab-0")).len() > 3);
}

#[test]
fn each_writer_counts_for_itself() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    let of = |writer, sequence| NewRecord { writer, ..record(sequence, b"x") };
    let batch = [of(1, 5), of(2, 5), of(1, 5), of(1, 4), of(2, 6)];
    let appended = lab.append_batch(&batch, at(1)).expect("append");
    assert_eq!((appended.first, appended.next, appended.repeated), (0, 3, 2));
    assert_eq!((lab.last_sequence(1), lab.last_sequence(3)), (Some(5), None));
    let many: Vec<NewRecord<'_>> = (10..5_000).map(|writer| of(writer, 1)).collect();
    let refused = lab.append_batch(&many, at(1)).expect_err("too many writers");
    assert!(matches!(refused, LogError::Refused(_)), "{refused}");
    lab.sync().expect("sync");
    assert_eq!(read_all(&lab).expect("read").len(), 3);
}

#[test]
fn the_journal_keeps_inputs_and_positions() {
    let dir = tempfile::tempdir().expect("dir");
    let position = |next| Position { topic: Topic::Vital, partition: 2, next };
    let records: Vec<JournalRecord> = (0..10)
        .map(|i| JournalRecord {
            after: (0..i % 4).map(position).collect(),
            input: vec![i as u8; i as usize],
        })
        .collect();
    for (round, chunk) in records.chunks(3).enumerate() {
        let log = open(dir.path());
        let mut journal = LocalJournal::open(&log, 2, clock()).expect("journal");
        assert_eq!((journal.len(), journal.is_empty()), (round as u64 * 3, round == 0));
        journal.append(chunk).expect("append");
        let mut back = Vec::new();
        journal.read(&mut |record| back.push(record)).expect("read");
        assert_eq!(back, records[..(round * 3 + chunk.len())]);
    }
}
