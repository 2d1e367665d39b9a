//! From a record of the topic to what is said of it.

use std::collections::BTreeSet;

use super::book::{Book, Seen};
use super::budget::UnitBudget;
use super::notice::{HeldBack, Notice};
use crate::event::Rejection;
use crate::event::alert::Subject;
use crate::event::risk::Mode;
use crate::ids::AlertId;
use crate::time::{EventTime, Span, WallTime};
use crate::wire::{AlertRecord, AlertState, Codec};

/// Alerts of which it is remembered what the unit's budget said.
const DECIDED_MAX: usize = 8_192;

/// Keeps the book and the unit's budget.
pub struct Desk {
    codec: Codec,
    book: Book,
    budget: UnitBudget,
    /// Alerts that may disturb: they were counted.
    within: BTreeSet<AlertId>,
    /// Alerts that came when the budget was spent; they stay passive in all their revisions.
    over: BTreeSet<AlertId>,
    /// From which age on an alert disturbs nobody, and by whose clock.
    past: Option<(Span, fn() -> WallTime)>,
}

impl Desk {
    pub fn new(codec: Codec, budget: UnitBudget) -> Self {
        let (within, over) = (BTreeSet::new(), BTreeSet::new());
        Desk { codec, book: Book::default(), budget, within, over, past: None }
    }

    /// Lets what was told longer ago than `age` disturb nobody: a backlog of hours, as after an
    /// outage, is no news.
    #[must_use]
    pub fn fresh(self, age: Option<Span>, clock: fn() -> WallTime) -> Self {
        Desk { past: age.map(|age| (age, clock)), ..self }
    }

    /// What is to be said of a record; `None` if it says nothing new.
    ///
    /// # Errors
    /// A rejection if it is no alert.
    pub fn take(&mut self, value: &[u8]) -> Result<Option<Notice>, Rejection> {
        let record: AlertRecord = self.codec.decode(value)?;
        let seen = self.book.take(&record);
        if matches!(seen, Seen::Older | Seen::Again) {
            return Ok(None);
        }
        let (reach, held_back) = self.reach(&record);
        Ok(Some(Notice { record, seen, reach, held_back }))
    }

    fn reach(&mut self, record: &AlertRecord) -> (Mode, Option<HeldBack>) {
        match record.delivery {
            Mode::Silent => (Mode::Silent, Some(HeldBack::Silent)),
            Mode::Passive if record.mode == Mode::Interruptive && !record.within_budget => {
                (Mode::Passive, Some(HeldBack::StayBudget))
            }
            Mode::Interruptive if self.is_past(record) => (Mode::Passive, Some(HeldBack::Past)),
            Mode::Interruptive if !self.may_disturb(record) => {
                (Mode::Passive, Some(HeldBack::UnitBudget))
            }
            reach => (reach, None),
        }
    }

    fn is_past(&self, record: &AlertRecord) -> bool {
        self.past.is_some_and(|(age, clock)| {
            let now = EventTime::from_millis(clock().as_millis());
            now.since(record.known_at) > age
        })
    }

    /// The budget is of alerts about risk: a technical alert asks for a repair.
    fn may_disturb(&mut self, record: &AlertRecord) -> bool {
        let id = record.alert_id;
        if record.subject != Subject::InHospitalDeath || self.within.contains(&id) {
            return true;
        }
        if self.over.contains(&id) {
            return false;
        }
        // An alert that was over before it was first heard of disturbs nobody.
        if record.state != AlertState::Open {
            return true;
        }
        let may = self.budget.spend(record.known_at);
        let decided = if may { &mut self.within } else { &mut self.over };
        decided.insert(id);
        if decided.len() > DECIDED_MAX {
            decided.pop_first();
        }
        may
    }
}
