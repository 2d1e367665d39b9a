//! Every position that a group has ever committed, from the broker's own topic of them: none may be
//! missed, as it would be by whoever asks now and then, and none may lie before an earlier one.
//!
//! The layout of keys and values is Kafka's (`OffsetCommitKey`, `OffsetCommitValue`): a version of
//! two bytes, then strings with their lengths, numbers big-endian.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::place::LONG;

const TOPIC: &str = "__consumer_offsets";
/// Keys of a higher version are not of positions.
const KEY_VERSION_MAX: i16 = 1;

/// By topic and partition, the positions in the order in which they were committed.
pub type Committed = BTreeMap<(String, i32), Vec<i64>>;

/// What `group` has committed. A group's records all lie in one partition of the topic.
pub fn committed(broker: &str, group: &str) -> Committed {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "auditor of positions")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(TOPIC), LONG).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut ended, start) = (Committed::new(), BTreeSet::new(), Instant::now());
    while ended.len() < partitions {
        assert!(start.elapsed() < LONG, "{TOPIC}: only {ended:?} have ended");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = message.key().and_then(|key| place(key, group));
                let position = message.payload().and_then(position);
                if let (Some(place), Some(position)) = (place, position) {
                    found.entry(place).or_default().push(position);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => println!("the auditor of positions waits: {error}"),
            None => {}
        }
    }
    found
}

/// The topic and partition of a key, if it is of a position of this group.
fn place(key: &[u8], group: &str) -> Option<(String, i32)> {
    let (version, rest) = key.split_first_chunk::<2>()?;
    let (of, rest) = text(rest)?;
    let (topic, rest) = text(rest)?;
    let ours = i16::from_be_bytes(*version) <= KEY_VERSION_MAX && of == group;
    let partition = i32::from_be_bytes(*rest.first_chunk()?);
    ours.then(|| (topic.to_owned(), partition))
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// In every version it follows that of the value.
fn position(value: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(*value.get(2..)?.first_chunk()?))
}

/// How many commits moved a position, or the first that moved one back.
pub fn monotone(committed: &Committed) -> Result<usize, String> {
    let mut n_moved = 0;
    for ((topic, partition), positions) in committed {
        for pair in positions.windows(2) {
            if pair[1] < pair[0] {
                let [from, to] = [pair[0], pair[1]];
                return Err(format!("{topic}/{partition} was moved back from {from} to {to}"));
            }
            n_moved += usize::from(pair[1] > pair[0]);
        }
    }
    Ok(n_moved)
}

#[test]
fn a_position_that_moves_back_is_seen() {
    let key = |version: u8, group: &str| {
        let text = |text: &str| [&[0, text.len() as u8], text.as_bytes()].concat();
        [&[0, version][..], &text(group), &text("lab"), &7i32.to_be_bytes()].concat()
    };
    assert_eq!(place(&key(1, "icu"), "icu"), Some(("lab".to_owned(), 7)));
    assert_eq!(place(&key(2, "icu"), "icu"), None, "what a group is, and not where it stands");
    assert_eq!((place(&key(1, "icu"), "other"), place(&[0, 1, 0], "icu")), (None, None));
    let value = [&[0, 3][..], &258i64.to_be_bytes(), &[0; 9]].concat();
    assert_eq!((position(&value), position(&value[..9])), (Some(258), None));
    let history = |positions: &[i64]| {
        monotone(&Committed::from([(("lab".to_owned(), 7), positions.to_vec())]))
    };
    assert_eq!(history(&[1, 1, 5, 9]), Ok(2));
    assert_eq!(history(&[1, 5, 4, 9]), Err("lab/7 was moved back from 5 to 4".to_owned()));
}
