//! What a unit can bear: so many alerts of risk a day over all its stays, beyond which they are
//! shown and disturb nobody.

use std::collections::VecDeque;

use crate::time::{EventTime, Span};

const DAY: Span = Span::hours(24);
/// What is older than this beside the newest is forgotten: no partition is a day behind another.
const REMEMBERED: Span = Span::hours(48);

/// A sliding day of the patients' time.
#[derive(Clone, Debug)]
pub struct UnitBudget {
    per_day: usize,
    /// When the alerts that disturbed were told, oldest first; never more than `per_day` and those
    /// of the day before the newest.
    spent: VecDeque<EventTime>,
}

impl UnitBudget {
    /// `per_patient_day` alerts for each of `beds`; at least one a day, unless it is 0.
    pub fn new(beds: usize, per_patient_day: f64) -> Self {
        let whole = (beds as f64 * per_patient_day).floor() as usize;
        let per_day = if per_patient_day > 0.0 { whole.max(1) } else { 0 };
        UnitBudget { per_day, spent: VecDeque::new() }
    }

    pub fn per_day(&self) -> usize {
        self.per_day
    }

    /// Whether an alert that is told at `at` may disturb; if so, it counts from then on. Alerts of
    /// different partitions come in any order, so a day on both sides is looked at.
    pub fn spend(&mut self, at: EventTime) -> bool {
        let near = |other: &&EventTime| at.since(**other) < DAY && other.since(at) < DAY;
        if self.spent.iter().filter(near).count() >= self.per_day {
            return false;
        }
        let index = self.spent.partition_point(|other| *other <= at);
        self.spent.insert(index, at);
        let newest = self.spent.back().copied().unwrap_or(at);
        while self.spent.front().is_some_and(|oldest| newest.since(*oldest) > REMEMBERED) {
            self.spent.pop_front();
        }
        true
    }
}
