//! A mark: the promise by which time moves on.

use crate::ids::FeedId;
use crate::time::EventTime;

/// In this partition of this topic no further record of `feed` has `available_at` ≤ `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub feed: FeedId,
    pub time: EventTime,
}
