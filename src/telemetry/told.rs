//! What leaves for people: risk events, what is doubtful in them, and alerts.

use tracing::{debug, info};

use super::happening::count;
use crate::event::alert::AlertEvent;
use crate::event::risk::{RiskEvent, Suspicion};
use crate::ids::Ticket;

/// A risk event leaves.
#[derive(Clone, Copy, Debug)]
pub struct RiskTold<'a> {
    pub event: &'a RiskEvent,
}

/// The newest value of a variable in a window may be no measurement.
#[derive(Clone, Copy, Debug)]
pub struct ValueSuspected<'a> {
    pub ticket: Ticket,
    pub variable: &'a str,
    pub why: Suspicion,
}

/// A record of an alert speaks of what an earlier state had computed, and nobody is told.
#[derive(Clone, Copy, Debug)]
pub struct AlertWithheld<'a> {
    pub event: &'a AlertEvent,
}

/// A record of an alert leaves.
#[derive(Clone, Copy, Debug)]
pub struct AlertTold<'a> {
    pub event: &'a AlertEvent,
}

impl RiskTold<'_> {
    pub fn emit(&self) {
        let event = self.event;
        let (stay, status, revision) = (event.stay.0, event.counted_as(), event.revision);
        debug!(stay, t = %event.t, status, revision, "risk event told");
        let which = if revision == 0 { "first" } else { "later" };
        count(|metrics| metrics.told.risk_events.with_label_values(&[status, which]).inc());
    }
}

impl ValueSuspected<'_> {
    pub fn emit(&self) {
        let (ticket, variable, why) = (self.ticket, self.variable, self.why.code());
        debug!(%ticket, variable, why, "value suspected");
        count(|metrics| metrics.told.values_suspected.with_label_values(&[variable, why]).inc());
    }
}

impl AlertWithheld<'_> {
    pub fn emit(&self) {
        let event = self.event;
        debug!(stay = event.stay.0, alert = %event.alert, "alert of the past withheld");
        count(|metrics| metrics.told.alerts_withheld.inc());
    }
}

impl AlertTold<'_> {
    pub fn emit(&self) {
        let event = self.event;
        let (stay, alert, revision) = (event.stay.0, event.alert, event.revision);
        let (subject, state) = (event.claim.subject().name(), event.state.name());
        let (raised_at, escalation) = (event.raised_at, event.escalation);
        let delivery = event.delivery.name();
        info!(
            stay, %alert, revision, subject, state, delivery, escalation, %raised_at,
            "alert told"
        );
        count(|metrics| metrics.told.alerts.with_label_values(&[subject, state, delivery]).inc());
    }
}
