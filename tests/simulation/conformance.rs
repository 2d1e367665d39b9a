//! What the simulated log promises, said so that the same could be asked of a broker: each test
//! uses only what a client of Kafka can do.

use crate::log::{Fenced, Log};

type TestLog = Log<u32, &'static str>;

fn read(log: &TestLog, partition: u32) -> Vec<&'static str> {
    log.committed(partition, 0).map(|(_, record)| *record).collect()
}

#[test]
fn a_reader_of_committed_records_sees_a_transaction_whole_or_not_at_all() {
    let mut log = TestLog::default();
    let epoch = log.init("a");
    log.begin("a", epoch).unwrap();
    log.add("a", epoch, 0, "one").unwrap();
    log.add("a", epoch, 1, "two").unwrap();
    assert!(read(&log, 0).is_empty() && read(&log, 1).is_empty());
    log.commit("a", epoch).unwrap();
    assert_eq!((read(&log, 0), read(&log, 1)), (vec!["one"], vec!["two"]));
    log.begin("a", epoch).unwrap();
    log.add("a", epoch, 0, "never").unwrap();
    log.abort("a", epoch).unwrap();
    assert_eq!(read(&log, 0), ["one"]);
    assert!(log.uncommitted(0, 0).any(|(_, record)| *record == "never"));
}

#[test]
fn nothing_is_read_behind_an_open_transaction() {
    let mut log = TestLog::default();
    let epoch = log.init("a");
    log.append(0, "before");
    log.begin("a", epoch).unwrap();
    log.add("a", epoch, 0, "open").unwrap();
    log.append(0, "behind");
    assert_eq!((log.stable_end(0), log.end_of(0)), (1, 3));
    assert_eq!(read(&log, 0), ["before"]);
    log.commit("a", epoch).unwrap();
    assert_eq!(read(&log, 0), ["before", "open", "behind"]);
}

#[test]
fn a_new_producer_fences_the_old_one_and_aborts_what_it_had_open() {
    let mut log = TestLog::default();
    let old = log.init("a");
    log.begin("a", old).unwrap();
    log.add("a", old, 0, "lost").unwrap();
    let new = log.init("a");
    assert!(new > old);
    assert_eq!(log.stable_end(0), log.end_of(0), "the new owner need not wait");
    assert_eq!(log.add("a", old, 0, "zombie"), Err(Fenced));
    assert_eq!(log.commit("a", old), Err(Fenced));
    assert_eq!(log.begin("a", old), Err(Fenced));
    log.begin("a", new).unwrap();
    log.add("a", new, 0, "good").unwrap();
    log.commit("a", new).unwrap();
    assert_eq!(read(&log, 0), ["good"]);
}

#[test]
fn ends_of_transactions_take_offsets_and_are_no_records() {
    let mut log = TestLog::default();
    let epoch = log.init("a");
    for record in ["one", "two"] {
        log.begin("a", epoch).unwrap();
        log.add("a", epoch, 0, record).unwrap();
        log.commit("a", epoch).unwrap();
    }
    let offsets: Vec<u64> = log.committed(0, 0).map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 2]);
    assert_eq!(log.committed(0, 1).map(|(_, r)| *r).collect::<Vec<_>>(), ["two"]);
}

#[test]
fn compaction_keeps_the_newest_committed_record_of_each_key_and_all_offsets() {
    let mut log = TestLog::default();
    for record in ["a1", "b1", "a2"] {
        log.append(0, record);
    }
    let epoch = log.init("w");
    log.begin("w", epoch).unwrap();
    log.add("w", epoch, 0, "a3").unwrap();
    log.abort("w", epoch).unwrap();
    assert_eq!(log.compact(0, |record| record.as_bytes()[0]), 1);
    let kept: Vec<(u64, &str)> = log.committed(0, 0).map(|(o, r)| (o, *r)).collect();
    assert_eq!(kept, [(1, "b1"), (2, "a2")], "an aborted record is nobody's newest");
}
