//! The Kafka transport: each commit of a task is one transaction, so its effects are there exactly
//! once for whoever reads committed records.
//!
//! A *task* is one partition of the five input topics, which are co-partitioned by stay. One
//! [`KafkaGroup`] a process is a member of the consumer group and hands out a [`KafkaSource`] a
//! partition; a process that needs no group (a rebuild, a test, the only node) opens a
//! [`KafkaSource`] on the partitions that it names. Where a source reads on is said by the task's
//! own state, by `seek`: nothing is read before that. Offsets are committed to the broker for
//! those who watch; they decide nothing, because state and positions must move together.
//!
//! [`KafkaCommitter`] writes outputs, state, journal and input positions; recorded data get in
//! through [`KafkaSink`]. The state's home is the changelog: the local store is a copy of it that
//! may lag, and a task that opens reads the rest before it reads its inputs. [`Standbys`] keep such
//! copies of what other members own. Nothing here waits for
//! ever: each wait has a limit named in [`settings`], and each queue a bound.
//!
//! Facts about librdkafka on which this rests are in `reference/kafka.md`.

mod acts;
mod alerts;
mod audit;
mod changelog;
mod changeover;
mod client;
mod committer;
mod delivery;
mod error;
mod grants;
mod group;
mod hearing;
mod inquiry;
pub mod journal;
mod lane;
mod letters;
mod outlet;
mod ownership;
mod reader;
mod reset;
pub mod settings;
mod sink;
mod source;
mod standby;
mod stretch;
mod token;
mod topics;
mod transaction;
mod watch;

#[cfg(test)]
mod mock_tests;

pub use acts::KafkaActs;
pub use alerts::KafkaAlerts;
pub use audit::{Finding, TopicReport, audit_topics, tombstones_kept};
pub use changeover::Changeover;
pub use committer::{CommitterOptions, KafkaCommitter};
pub use grants::{Grant, Resource, Role, grants};
pub use group::KafkaGroup;
pub use letters::{Place, StoredRecord, read_place, visit_inputs, visit_outputs};
pub use ownership::{Hold, Ownership};
pub use reset::{Emptied, members, reset};
pub use settings::{AppendClock, KafkaSettings};
pub use sink::KafkaSink;
pub use source::KafkaSource;
pub use standby::{Copies, StandbyOptions, Standbys};
pub use topics::{check_topics, ensure_topic_beside, ensure_topics, remove_topics};
pub use watch::{KafkaWatch, Seen, Watched};
