//! What was told of a stay's alerts.

use super::StayLog;
use crate::event::alert::{Priority, Subject};
use crate::event::risk::Mode;
use crate::ids::AlertId;
use crate::time::EventTime;
use crate::wire::{AlertRecord, AlertState};

/// Records of one stay's alerts; of more, the oldest are let go.
pub const MAX_ALERTS: usize = 256;

/// One record of an alert, as far as pages show it.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertNote {
    pub alert: AlertId,
    pub revision: u32,
    pub raised_at: EventTime,
    pub known_at: EventTime,
    pub subject: Subject,
    pub state: AlertState,
    pub standing: bool,
    pub priority: Priority,
    pub delivery: Mode,
    /// As which role somebody answered, and when; never a name.
    pub response: Option<(Option<String>, EventTime)>,
    pub summary: String,
}

impl AlertNote {
    pub fn new(record: AlertRecord) -> Self {
        AlertNote {
            alert: record.alert_id,
            revision: record.revision,
            raised_at: record.t,
            known_at: record.known_at,
            subject: record.subject,
            state: record.state,
            standing: record.is_standing(),
            priority: record.priority,
            delivery: record.delivery,
            response: record.response_at.map(|at| (record.response_role, at)),
            summary: record.summary,
        }
    }
}

impl StayLog {
    /// Each alert as it stood at `at`, newest first: its highest revision known by then, whatever
    /// the order in which they came.
    pub fn alerts(&self, at: Option<EventTime>) -> Vec<&AlertNote> {
        let by_then = |note: &&AlertNote| at.is_none_or(|at| note.known_at <= at);
        let mut newest: Vec<&AlertNote> = Vec::new();
        for note in self.alerts.iter().filter(by_then) {
            match newest.iter_mut().find(|held| held.alert == note.alert) {
                Some(held) if held.revision < note.revision => *held = note,
                Some(_) => {}
                None => newest.push(note),
            }
        }
        newest.sort_by_key(|note| std::cmp::Reverse((note.raised_at, note.alert)));
        newest
    }

    pub(super) fn alert(&mut self, note: AlertNote) {
        let same = |held: &AlertNote| (held.alert, held.revision) == (note.alert, note.revision);
        if self.alerts.iter().any(same) {
            return;
        }
        if self.alerts.len() >= MAX_ALERTS {
            self.alerts.remove(0);
        }
        self.alerts.push(note);
    }
}
