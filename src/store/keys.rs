//! Store keys: the one place that knows their bytes.
//!
//! A key is a tag and big-endian fields, so that the order of the bytes is the order of the
//! fields, and all chunks or windows of a stay are one prefix. Signed numbers have their sign bit
//! flipped. Tag 0 is the store's own and no value of the state may use it.

use crate::ids::{Digest, FeedId, StayId, Topic};
use crate::time::EventTime;

/// The name of one value of a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// What a stay is: admission, windows due, facts that wait.
    Head { stay: StayId },
    /// The observations of one stay in one hour (`EventTime::hour`).
    Chunk { stay: StayId, hour: i64 },
    /// A prepared film.
    Film { stay: StayId, digest: Digest },
    /// A sealed window.
    Window { stay: StayId, t: EventTime, revision: u32 },
    /// How far a feed has promised in one partition of one topic.
    FeedMark { topic: Topic, partition: u32, feed: FeedId },
    /// What the driver has counted in one partition.
    Counts { partition: u32 },
    /// Who makes the state of one partition.
    Lineage { partition: u32 },
    /// Who is who at the edge: a patient's pseudonym, visits and stays.
    Person { person: u128 },
    /// The results of a patient in one hour (`EventTime::hour`), newest version each.
    Reports { person: u128, hour: i64 },
    /// A patient's number that was merged into another.
    Alias { person: u128 },
    /// A message that the edge has taken, by its number.
    Message { number: u64 },
    /// Records of the edge that may not be in their topics yet, under the number of the first.
    Sending { number: u64 },
    /// What has been told of a stay's alerts, and what it rests on.
    Alerting { stay: StayId },
}

/// The kinds of keys; the discriminant is the tag on disk and must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Head = 1,
    Chunk = 2,
    Film = 3,
    Window = 4,
    FeedMark = 5,
    Counts = 6,
    Lineage = 7,
    Person = 8,
    Reports = 9,
    Alias = 10,
    Message = 11,
    Sending = 12,
    Alerting = 13,
}

/// The store's own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Own {
    /// One record: commit number, positions, running digest, config digest, outputs sent. They
    /// change together at every commit, and one put is a quarter of the cost of four.
    Commit,
    /// Outputs that may not have left, under the number of the last of them.
    Outbox { last: u64 },
}

/// The tag of the store's own keys.
pub(super) const OWN_TAG: u8 = 0;

const OWN_COMMIT: u8 = 1;
const OWN_OUTBOX: u8 = 2;

impl Kind {
    /// The prefix of every key of this kind.
    pub fn prefix(self) -> Vec<u8> {
        vec![self as u8]
    }

    /// The prefix of the keys of this kind that belong to `stay`. Those of other kinds belong to
    /// none, and their prefix is that of the kind.
    pub fn prefix_of(self, stay: StayId) -> Vec<u8> {
        let mut bytes = self.prefix();
        if matches!(self, Kind::Head | Kind::Chunk | Kind::Film | Kind::Window | Kind::Alerting) {
            bytes.extend_from_slice(&stay.0.to_be_bytes());
        }
        bytes
    }
}

impl Key {
    pub fn kind(&self) -> Kind {
        match self {
            Key::Head { .. } => Kind::Head,
            Key::Alerting { .. } => Kind::Alerting,
            Key::Chunk { .. } => Kind::Chunk,
            Key::Film { .. } => Kind::Film,
            Key::Window { .. } => Kind::Window,
            Key::FeedMark { .. } => Kind::FeedMark,
            Key::Counts { .. } => Kind::Counts,
            Key::Lineage { .. } => Kind::Lineage,
            Key::Person { .. } => Kind::Person,
            Key::Reports { .. } => Kind::Reports,
            Key::Alias { .. } => Kind::Alias,
            Key::Message { .. } => Kind::Message,
            Key::Sending { .. } => Kind::Sending,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(41);
        bytes.push(self.kind() as u8);
        match *self {
            Key::Head { stay } | Key::Alerting { stay } => {
                bytes.extend_from_slice(&stay.0.to_be_bytes());
            }
            Key::Chunk { stay, hour } => {
                bytes.extend_from_slice(&stay.0.to_be_bytes());
                bytes.extend_from_slice(&ordered(hour));
            }
            Key::Film { stay, digest } => {
                bytes.extend_from_slice(&stay.0.to_be_bytes());
                bytes.extend_from_slice(&digest.0);
            }
            Key::Window { stay, t, revision } => {
                bytes.extend_from_slice(&stay.0.to_be_bytes());
                bytes.extend_from_slice(&ordered(t.as_millis()));
                bytes.extend_from_slice(&revision.to_be_bytes());
            }
            Key::FeedMark { topic, partition, feed } => {
                bytes.push(topic_code(topic));
                bytes.extend_from_slice(&partition.to_be_bytes());
                bytes.push(feed.0);
            }
            Key::Counts { partition } | Key::Lineage { partition } => {
                bytes.extend_from_slice(&partition.to_be_bytes());
            }
            Key::Person { person } | Key::Alias { person } => {
                bytes.extend_from_slice(&person.to_be_bytes());
            }
            Key::Reports { person, hour } => {
                bytes.extend_from_slice(&person.to_be_bytes());
                bytes.extend_from_slice(&ordered(hour));
            }
            Key::Message { number } | Key::Sending { number } => {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        bytes
    }

    /// `None` if the bytes are no key of this format.
    pub fn decode(bytes: &[u8]) -> Option<Key> {
        let mut fields = Fields(bytes);
        let key = match fields.byte()? {
            1 => Key::Head { stay: fields.stay()? },
            13 => Key::Alerting { stay: fields.stay()? },
            2 => Key::Chunk { stay: fields.stay()?, hour: fields.signed()? },
            3 => Key::Film { stay: fields.stay()?, digest: Digest(fields.take()?) },
            4 => Key::Window {
                stay: fields.stay()?,
                t: EventTime::from_millis(fields.signed()?),
                revision: u32::from_be_bytes(fields.take()?),
            },
            5 => Key::FeedMark {
                topic: topic_of(fields.byte()?)?,
                partition: u32::from_be_bytes(fields.take()?),
                feed: FeedId(fields.byte()?),
            },
            6 => Key::Counts { partition: u32::from_be_bytes(fields.take()?) },
            7 => Key::Lineage { partition: u32::from_be_bytes(fields.take()?) },
            8 => Key::Person { person: u128::from_be_bytes(fields.take()?) },
            9 => {
                Key::Reports { person: u128::from_be_bytes(fields.take()?), hour: fields.signed()? }
            }
            10 => Key::Alias { person: u128::from_be_bytes(fields.take()?) },
            11 => Key::Message { number: u64::from_be_bytes(fields.take()?) },
            12 => Key::Sending { number: u64::from_be_bytes(fields.take()?) },
            _ => return None,
        };
        fields.0.is_empty().then_some(key)
    }
}

impl Own {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Own::Commit => vec![OWN_TAG, OWN_COMMIT],
            Own::Outbox { last } => {
                let mut bytes = vec![OWN_TAG, OWN_OUTBOX];
                bytes.extend_from_slice(&last.to_be_bytes());
                bytes
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Own> {
        let mut fields = Fields(bytes);
        if fields.byte()? != OWN_TAG {
            return None;
        }
        let own = match fields.byte()? {
            OWN_COMMIT => Own::Commit,
            OWN_OUTBOX => Own::Outbox { last: u64::from_be_bytes(fields.take()?) },
            _ => return None,
        };
        fields.0.is_empty().then_some(own)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn stay(&mut self) -> Option<StayId> {
        self.take().map(|bytes| StayId(u64::from_be_bytes(bytes)))
    }

    fn signed(&mut self) -> Option<i64> {
        self.take().map(|bytes| (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
    }
}

/// Big-endian with the sign bit flipped: the byte order of the result is the order of the numbers.
fn ordered(n: i64) -> [u8; 8] {
    (n as u64 ^ (1 << 63)).to_be_bytes()
}

/// The code on disk; it must never change.
pub(crate) fn topic_code(topic: Topic) -> u8 {
    match topic {
        Topic::Stay => 0,
        Topic::Imaging => 1,
        Topic::Lab => 2,
        Topic::Vital => 3,
        Topic::Acknowledgement => 4,
    }
}

pub(crate) fn topic_of(code: u8) -> Option<Topic> {
    Topic::ALL.into_iter().find(|topic| topic_code(*topic) == code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed() -> impl Strategy<Value = i64> {
        prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(1), Just(i64::MAX), any::<i64>()]
    }

    fn key() -> impl Strategy<Value = Key> {
        let stay = || prop_oneof![0u64..3, any::<u64>()].prop_map(StayId);
        prop_oneof![
            stay().prop_map(|stay| Key::Head { stay }),
            (stay(), signed()).prop_map(|(stay, hour)| Key::Chunk { stay, hour }),
            (stay(), any::<[u8; 32]>())
                .prop_map(|(stay, bytes)| Key::Film { stay, digest: Digest(bytes) }),
            (stay(), signed(), any::<u32>()).prop_map(|(stay, t, revision)| Key::Window {
                stay,
                t: EventTime::from_millis(t),
                revision
            }),
            (0..Topic::ALL.len(), any::<u32>(), any::<u8>()).prop_map(
                |(topic, partition, feed)| {
                    Key::FeedMark { topic: Topic::ALL[topic], partition, feed: FeedId(feed) }
                }
            ),
            any::<u32>().prop_map(|partition| Key::Counts { partition }),
            any::<u32>().prop_map(|partition| Key::Lineage { partition }),
            any::<u128>().prop_map(|person| Key::Person { person }),
            (any::<u128>(), signed()).prop_map(|(person, hour)| Key::Reports { person, hour }),
            any::<u128>().prop_map(|person| Key::Alias { person }),
            any::<u64>().prop_map(|number| Key::Message { number }),
            any::<u64>().prop_map(|number| Key::Sending { number }),
            stay().prop_map(|stay| Key::Alerting { stay }),
        ]
    }

    proptest! {
        #[test]
        fn keys_round_trip_and_keep_their_order(a in key(), b in key()) {
            prop_assert_eq!(Key::decode(&a.encode()), Some(a));
            prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
        }

        #[test]
        fn no_other_bytes_are_keys(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            if let Some(key) = Key::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_stay_is_one_prefix() {
        let key = Key::Chunk { stay: StayId(7), hour: -3 };
        assert!(key.encode().starts_with(&Kind::Chunk.prefix_of(StayId(7))));
        assert!(!key.encode().starts_with(&Kind::Chunk.prefix_of(StayId(8))));
    }

    #[test]
    fn own_keys_round_trip_and_are_no_state() {
        for own in [Own::Commit, Own::Outbox { last: 3 }] {
            assert_eq!(Own::decode(&own.encode()), Some(own));
            assert_eq!(Key::decode(&own.encode()), None);
        }
    }
}
