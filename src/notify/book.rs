//! Which record of an alert holds.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{AlertId, EventId};
use crate::wire::AlertRecord;

/// Alerts that are remembered; the one that was heard of first is forgotten first. Two years of a
/// unit of twenty beds, at an alert in two patient-days each.
const ALERTS_MAX: usize = 8_192;

/// What a record is to what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The first that was heard of this alert, whatever its revision.
    First,
    /// It takes the place of what was known.
    Newer,
    /// A later revision is known already.
    Older,
    /// The same record once more.
    Again,
}

/// The newest revision of each alert.
#[derive(Debug, Default)]
pub struct Book {
    newest: BTreeMap<AlertId, (u32, EventId)>,
    /// In the order in which they were first heard of.
    order: VecDeque<AlertId>,
}

impl Book {
    /// Takes note of a record.
    pub fn take(&mut self, record: &AlertRecord) -> Seen {
        let is = (record.revision, record.event_id);
        let Some(held) = self.newest.get_mut(&record.alert_id) else {
            self.newest.insert(record.alert_id, is);
            self.order.push_back(record.alert_id);
            if self.order.len() > ALERTS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.newest.remove(&oldest);
            }
            return Seen::First;
        };
        if held.1 == is.1 {
            return Seen::Again;
        }
        if held.0 >= is.0 {
            return Seen::Older;
        }
        *held = is;
        Seen::Newer
    }

    /// Alerts that are remembered.
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }
}
