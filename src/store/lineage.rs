//! Who makes a task's state, as a value of the state itself.

use serde::{Deserialize, Serialize};

use crate::engine::Maker;
use crate::ids::Position;
use crate::time::EventTime;

/// Who makes the state, and up to where it only repeats what was computed before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// `None` before the first commit.
    pub maker: Option<Maker>,
    /// How far an earlier state had read the inputs when this one was begun anew: of what they say
    /// up to there, nobody is alerted a second time.
    pub computed_before: Vec<Position>,
    /// The watermark when that had been read again; alerts known by then are not told.
    pub quiet_until: Option<EventTime>,
    /// How far an earlier state, which was lost, had read when the last of its outputs left. Until
    /// this one has read as far, what it makes may have left already. Stored behind the rest, where
    /// there is something to store.
    #[serde(skip)]
    pub told_to: Vec<Position>,
}

impl Lineage {
    /// Whether an alert known at `known_at` speaks of what was computed before.
    pub fn is_quiet(&self, known_at: EventTime) -> bool {
        !self.computed_before.is_empty() && self.quiet_until.is_none_or(|until| known_at <= until)
    }

    /// Whether the inputs are being read once more.
    pub fn is_catching_up(&self) -> bool {
        !self.computed_before.is_empty() && self.quiet_until.is_none()
    }
}
