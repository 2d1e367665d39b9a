//! The local transport: an append-only segmented log on disk, in the same process, no broker.
//!
//! A [`LocalLog`] is a directory of topics × partitions, each a row of segment files named by
//! their first offset. What is appended becomes durable, and visible to readers, with
//! [`Partition::sync`]: a reader never acts on a record that a power cut could take back. Appends
//! carry (writer, sequence), so sending again changes nothing.
//!
//! A tail that a crash tore is cut off on open and reported. A record that was once durable and
//! cannot be read is never skipped: the log refuses, because what was acknowledged would be lost.

mod alerts;
mod blocks;
mod error;
mod frame;
mod journal;
mod log;
mod outlet;
mod partition;
mod reader;
mod recover;
mod segment;
mod source;

pub use alerts::LocalAlerts;
pub use error::LogError;
pub use frame::{MAX_RECORD_BYTES, NewRecord, Record};
pub use journal::LocalJournal;
pub use log::{LocalLog, LogOptions};
pub use outlet::{LocalOutlet, StoredOutput, outputs, topic_of_kind};
pub use partition::{Appended, Partition};
pub use reader::LogReader;
pub use recover::TornTail;
pub use source::LocalSource;

use crate::time::WallTime;

/// The clock that stamps what a port appends: the machine's in service, the replay's in a replay.
pub type Clock = Box<dyn FnMut() -> WallTime + Send>;
