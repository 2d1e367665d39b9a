//! When a risk becomes an alert (`reference/clinical.md` 2.4 and 6).

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// The most predictions that `persist` may ask for.
pub const PERSIST_MAX: usize = 24;
/// The longest `min_hold` and `clear_for`: how far one decision may look back.
pub const HOLD_MAX: Span = Span::hours(24);
/// The most steps of escalation.
pub const ESCALATIONS_MAX: usize = 8;

/// The checked policy. `tau_on` must come from the site's own figures (`nowcxr policy`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertPolicy {
    /// An alert is raised at this calibrated risk or above, 0..=1.
    pub tau_on: f32,
    /// It ends below `tau_on` times this.
    pub tau_off_ratio: f32,
    /// So many predictions in a row must be that high.
    pub persist: usize,
    /// And they must span at least so long.
    pub min_hold: Span,
    /// Predictions below the lower threshold must span at least so long.
    pub clear_for: Span,
    /// No second alert on one subject within this time of the first.
    pub refractory: Span,
    /// Except that the risk rose so far above that of the last alert.
    pub refire_delta: f32,
    /// Alerts per patient-day that may disturb; the rest are only shown. See
    /// [`AlertPolicy::budget_span`].
    pub budget: f64,
    /// No alert rests on a series whose newest observation is older.
    pub stale_after: Span,
    /// No alerts so early in a stay.
    pub not_before: Span,
    /// An interruptive alert without a response is passed on after each of these times.
    pub escalate: Vec<Span>,
}

impl AlertPolicy {
    /// The risk below which an alert ends.
    pub fn tau_off(&self) -> f32 {
        self.tau_on * self.tau_off_ratio
    }

    /// The budget as a rule that holds at every moment: at most [`AlertPolicy::budget_alerts`]
    /// alerts in any such span. 0.5 a day is one in any two days, 2 a day are two in any one.
    pub fn budget_span(&self) -> Span {
        let days = if self.budget > 0.0 && self.budget < 1.0 { 1.0 / self.budget } else { 1.0 };
        Span::from_millis((days * Span::hours(24).as_millis() as f64).round() as i64)
    }

    /// Whole alerts in one [`AlertPolicy::budget_span`]; none if the budget is 0.
    pub fn budget_alerts(&self) -> usize {
        if self.budget > 0.0 { (self.budget.floor() as usize).max(1) } else { 0 }
    }
}

impl Default for AlertPolicy {
    fn default() -> Self {
        AlertPolicy {
            tau_on: 0.3,
            tau_off_ratio: 0.8,
            persist: 2,
            min_hold: Span::minutes(10),
            clear_for: Span::minutes(60),
            refractory: Span::hours(8),
            refire_delta: 0.1,
            budget: 0.5,
            stale_after: Span::hours(4),
            not_before: Span::hours(4),
            escalate: vec![Span::minutes(15), Span::minutes(30)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_whole_alerts_in_a_span() {
        let rule = |budget| {
            let policy = AlertPolicy { budget, ..AlertPolicy::default() };
            (policy.budget_alerts(), policy.budget_span())
        };
        assert_eq!(rule(0.5), (1, Span::hours(48)));
        assert_eq!(rule(2.5), (2, Span::hours(24)));
        assert_eq!(rule(0.0).0, 0);
    }
}
