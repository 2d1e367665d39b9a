//! The Kafka transport, first form: at least once, with ids that make a repeat harmless.
//!
//! A *task* is one partition of the four input topics, which are co-partitioned by stay. One
//! [`KafkaGroup`] a process is a member of the consumer group and hands out a [`KafkaSource`] a
//! partition; a process that needs no group (a rebuild, a test, the only node) opens a
//! [`KafkaSource`] on the partitions that it names. Where a source reads on is said by the task's
//! own state, by `seek`: nothing is read before that, and offsets committed to the broker are not
//! looked at, because state and positions must move together.
//!
//! What leaves goes through [`KafkaOutlet`], what must be replayed through [`KafkaJournal`], and
//! recorded data get in through [`KafkaSink`]. Nothing here waits for ever: each wait has a limit
//! named in [`settings`], and each queue a bound.
//!
//! Facts about librdkafka on which this rests are in `reference/kafka.md`.

mod client;
mod delivery;
mod error;
mod group;
mod journal;
mod lane;
mod outlet;
mod reader;
pub mod settings;
mod sink;
mod source;
mod topics;

#[cfg(test)]
mod mock_tests;

pub use group::KafkaGroup;
pub use journal::KafkaJournal;
pub use outlet::KafkaOutlet;
pub use settings::{AppendClock, KafkaSettings};
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use topics::{check_topics, ensure_topics};
