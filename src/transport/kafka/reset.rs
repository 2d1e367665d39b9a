//! Back to the beginning: an application's state, journal and offsets are emptied, its topics stay.
//!
//! The state is emptied by a commit of its own, in one transaction a task, so whoever wrote for the
//! task is fenced, and a copy of the state on any node follows when it catches up with the
//! changelog. Topics that were made anew would leave such a copy with positions of the old ones.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, GroupResult};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::changeover::Changeover;
use super::committer::{CommitterOptions, KafkaCommitter};
use super::error::port_error;
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use super::source::KafkaSource;
use super::topics::{Admin, admin, check_topics, wait_for};
use crate::config::ProductionHandler;
use crate::ids::Digest;
use crate::ports::PortError;
use crate::store::memory::MemoryStore;

/// What one task held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emptied {
    pub partition: u32,
    /// Values of its state.
    pub values: u64,
}

/// Members of the application's consumer group.
///
/// # Errors
/// `Retry` when no broker answers.
pub fn members(settings: &KafkaSettings) -> Result<usize, PortError> {
    let failed = |e| port_error("asking kafka for the consumer group", &settings.bootstrap, &e);
    let groups = admin(settings)?
        .inner()
        .fetch_group_list(Some(&settings.app), ASK_TIMEOUT)
        .map_err(failed)?;
    Ok(groups.groups().iter().map(|group| group.members().len()).sum())
}

/// Empties state and journal of every task and forgets the group's offsets, telling `each` task.
/// Whoever starts next reads the inputs from their first records, and tells no alert of what had
/// been read before. Risk events and other outputs stay where they are.
///
/// # Errors
/// `Stop` while the group has members; `Retry` and `Reopen`: give it again, it repeats nothing.
pub fn reset(settings: &KafkaSettings, each: &mut dyn FnMut(Emptied)) -> Result<(), PortError> {
    let partitions = check_topics(settings)?;
    let alive = members(settings)?;
    if alive > 0 {
        let app = &settings.app;
        return Err(PortError::Stop(format!(
            "group {app} has {alive} members; stop them first (a member that was killed counts \
             until kafka.session_timeout has passed)"
        )));
    }
    for partition in 0..partitions {
        let values = empty(settings, partition)?;
        each(Emptied { partition, values });
    }
    let admin = admin(settings)?;
    empty_journal(&admin, settings, partitions)?;
    forget_offsets(&admin, settings)
}

fn empty(settings: &KafkaSettings, partition: u32) -> Result<u64, PortError> {
    let source = KafkaSource::open(settings, [partition])?;
    let options = CommitterOptions {
        partition,
        config: Digest::of(b""),
        flush_every: Duration::ZERO,
        changeover: Changeover::Refuse,
        production: ProductionHandler::Retry,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut committer = KafkaCommitter::open(settings, source.ownership(), options)?;
    let mut store = MemoryStore::new();
    committer.restore(&mut store)?;
    committer.begin_anew(&mut store, None)
}

/// A journal of a state that is no more would never be read again.
fn empty_journal(
    admin: &Admin,
    settings: &KafkaSettings,
    partitions: u32,
) -> Result<(), PortError> {
    let topic = settings.journal();
    let failed = |e| port_error(&format!("emptying kafka topic {topic}"), &settings.bootstrap, &e);
    let mut ends = TopicPartitionList::new();
    for partition in 0..partitions {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        ends.add_partition_offset(&topic, partition, Offset::End).map_err(failed)?;
    }
    let done = wait_for(admin.delete_records(&ends, &options()), 2 * ASK_TIMEOUT)
        .unwrap_or_else(timed_out)
        .map_err(failed)?;
    done.elements().iter().try_for_each(|element| element.error()).map_err(failed)
}

fn forget_offsets(admin: &Admin, settings: &KafkaSettings) -> Result<(), PortError> {
    let failed = |e| port_error("deleting the consumer group", &settings.bootstrap, &e);
    let groups: Vec<GroupResult> =
        wait_for(admin.delete_groups(&[&settings.app], &options()), 2 * ASK_TIMEOUT)
            .unwrap_or_else(timed_out)
            .map_err(failed)?;
    match groups.into_iter().find_map(Result::err) {
        None | Some((_, RDKafkaErrorCode::GroupIdNotFound)) => Ok(()),
        Some((_, code)) => Err(failed(KafkaError::AdminOp(code))),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ASK_TIMEOUT))
}

fn timed_out<T>() -> Result<T, KafkaError> {
    Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
}
