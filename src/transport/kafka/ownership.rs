//! What a task knows of its hold on its partition.

use std::sync::Arc;

use rdkafka::consumer::ConsumerGroupMetadata;

use super::group::Members;
use super::lane::Lane;

/// Whether a partition is its task's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Ours,
    /// The group wants it back and waits: commit what is done and let go.
    Revoked,
    /// It may be another's already: commit nothing.
    Lost,
}

/// The hold of one task. The partition is given up when the last clone and the source are gone.
#[derive(Clone)]
pub struct Ownership {
    lane: Arc<Lane>,
    members: Option<Arc<Members>>,
}

impl Ownership {
    pub(super) fn new(lane: Arc<Lane>, members: Option<Arc<Members>>) -> Self {
        Ownership { lane, members }
    }

    pub fn hold(&self) -> Hold {
        self.lane.hold()
    }

    /// Whether there is a group at all.
    pub fn is_member(&self) -> bool {
        self.members.is_some()
    }

    /// As what member of which generation positions are to be committed; `None` while the group
    /// has not said so.
    pub(super) fn member(&self) -> Option<Arc<ConsumerGroupMetadata>> {
        self.members.as_ref()?.metadata()
    }
}
