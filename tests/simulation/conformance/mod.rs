//! What the simulated log promises, asked of a real broker in the same words: each promise uses
//! only what a client of Kafka can do. The broker is asked when `NOWCXR_KAFKA` holds its address.

mod broker;
mod simulated;

use crate::log::Fenced;

/// Partitions 0 and 1 of one topic that nobody else knows, and the producers that write to them.
pub trait Subject {
    type Producer;

    /// Becomes the only producer of this id: the transaction of whoever was before is aborted.
    fn init(&mut self, id: &str) -> Self::Producer;
    /// Appends outside any transaction.
    fn append(&mut self, partition: u32, record: &'static str);
    fn begin(&mut self, producer: &Self::Producer) -> Result<(), Fenced>;
    /// Appends to the transaction under way.
    fn add(
        &mut self,
        producer: &Self::Producer,
        partition: u32,
        record: &'static str,
    ) -> Result<(), Fenced>;
    fn commit(&mut self, producer: &Self::Producer) -> Result<(), Fenced>;
    fn abort(&mut self, producer: &Self::Producer) -> Result<(), Fenced>;
    /// The first offset that a reader of committed records may not reach yet.
    fn stable_end(&self, partition: u32) -> u64;
    fn end(&self, partition: u32) -> u64;
    /// Committed records from `from` on, with their offsets, up to the last stable offset.
    fn committed(&self, partition: u32, from: u64) -> Vec<(u64, String)>;
    /// Whatever stands in the log, as a reader sees it who does not ask for committed records.
    fn uncommitted(&self, partition: u32, from: u64) -> Vec<(u64, String)>;
    /// Of each key, a record's first letter, only the newest committed record stays.
    fn compact(&mut self, partition: u32);
}

fn read(log: &impl Subject, partition: u32) -> Vec<String> {
    log.committed(partition, 0).into_iter().map(|(_, record)| record).collect()
}

fn a_reader_of_committed_records_sees_a_transaction_whole_or_not_at_all(log: &mut impl Subject) {
    let a = log.init("a");
    log.begin(&a).unwrap();
    log.add(&a, 0, "one").unwrap();
    log.add(&a, 1, "two").unwrap();
    assert!(read(log, 0).is_empty() && read(log, 1).is_empty());
    log.commit(&a).unwrap();
    assert_eq!((read(log, 0), read(log, 1)), (vec!["one".into()], vec!["two".into()]));
    log.begin(&a).unwrap();
    log.add(&a, 0, "never").unwrap();
    log.abort(&a).unwrap();
    assert_eq!(read(log, 0), ["one"]);
    assert!(log.uncommitted(0, 0).iter().any(|(_, record)| record == "never"));
}

fn nothing_is_read_behind_an_open_transaction(log: &mut impl Subject) {
    let a = log.init("a");
    log.append(0, "before");
    log.begin(&a).unwrap();
    log.add(&a, 0, "open").unwrap();
    log.append(0, "behind");
    assert_eq!((log.stable_end(0), log.end(0)), (1, 3));
    assert_eq!(read(log, 0), ["before"]);
    log.commit(&a).unwrap();
    assert_eq!(read(log, 0), ["before", "open", "behind"]);
}

fn a_new_producer_fences_the_old_one_and_aborts_what_it_had_open(log: &mut impl Subject) {
    let old = log.init("a");
    log.begin(&old).unwrap();
    log.add(&old, 0, "lost").unwrap();
    let new = log.init("a");
    assert_eq!(log.stable_end(0), log.end(0), "the new owner need not wait");
    assert_eq!(log.add(&old, 0, "zombie"), Err(Fenced));
    assert_eq!(log.commit(&old), Err(Fenced));
    assert_eq!(log.begin(&old), Err(Fenced));
    log.begin(&new).unwrap();
    log.add(&new, 0, "good").unwrap();
    log.commit(&new).unwrap();
    assert_eq!(read(log, 0), ["good"]);
}

fn ends_of_transactions_take_offsets_and_are_no_records(log: &mut impl Subject) {
    let a = log.init("a");
    for record in ["one", "two"] {
        log.begin(&a).unwrap();
        log.add(&a, 0, record).unwrap();
        log.commit(&a).unwrap();
    }
    let offsets: Vec<u64> = log.committed(0, 0).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 2]);
    assert_eq!(log.committed(0, 1), [(2, "two".to_owned())]);
}

fn two_producers_write_side_by_side_and_neither_waits(log: &mut impl Subject) {
    let (a, b) = (log.init("a"), log.init("b"));
    log.begin(&a).unwrap();
    log.begin(&b).unwrap();
    log.add(&a, 0, "of a").unwrap();
    log.add(&b, 0, "of b").unwrap();
    log.commit(&b).unwrap();
    assert!(read(log, 0).is_empty(), "b's lies behind a's, which is open");
    log.abort(&a).unwrap();
    assert_eq!(read(log, 0), ["of b"]);
}

fn compaction_keeps_the_newest_committed_record_of_each_key_and_all_offsets(
    log: &mut impl Subject,
) {
    for record in ["a1", "b1", "a2"] {
        log.append(0, record);
    }
    let writer = log.init("w");
    log.begin(&writer).unwrap();
    log.add(&writer, 0, "a3").unwrap();
    log.abort(&writer).unwrap();
    log.compact(0);
    let kept = [(1, "b1".to_owned()), (2, "a2".to_owned())];
    assert_eq!(log.committed(0, 0), kept, "an aborted record is nobody's newest");
}

/// A test of each promise in a module; `$subject` makes one, or is `None` where there is none.
macro_rules! promises {
    ($subject:expr; $($promise:ident)*) => {$(
        #[test]
        fn $promise() {
            let Some(mut subject) = $subject(stringify!($promise)) else { return };
            super::$promise(&mut subject);
        }
    )*};
    ($subject:expr) => {
        crate::conformance::promises! {
            $subject;
            a_reader_of_committed_records_sees_a_transaction_whole_or_not_at_all
            nothing_is_read_behind_an_open_transaction
            a_new_producer_fences_the_old_one_and_aborts_what_it_had_open
            ends_of_transactions_take_offsets_and_are_no_records
            two_producers_write_side_by_side_and_neither_waits
            compaction_keeps_the_newest_committed_record_of_each_key_and_all_offsets
        }
    };
}
use promises;
