//! What the policy takes from a risk event.

use serde::{Deserialize, Serialize};

use crate::config::AlertPolicy;
use crate::event::alert::Fault;
use crate::event::risk::{Doubt, Interval, Probability, RiskEvent, Status, StayEnd};
use crate::time::{EventTime, Span};

/// One revision of one window, as far as the policy cares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The window's end.
    pub t: EventTime,
    pub known_at: EventTime,
    pub revision: u32,
    /// Time since admission at `t`.
    pub age: Span,
    pub said: Said,
}

/// What was said of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// A score that an alert may rest on.
    Risk(Risk),
    /// No alert may rest on it.
    Faulty(Fault),
    /// The stay's windows stop here.
    Closed(StayEnd),
    /// Nothing any more.
    TakenBack,
}

/// A score and what an alert says beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// Calibrated.
    pub mortality: Probability,
    pub interval: Option<Interval>,
    pub ehr_only: Option<Probability>,
    pub film_acquired_at: Option<EventTime>,
    pub validity: Vec<Doubt>,
    /// Codes of variables, strongest first.
    pub contributors: Vec<String>,
}

impl Point {
    /// Of an event of a stay that was admitted at `admitted_at`.
    pub fn of(event: &RiskEvent, admitted_at: EventTime, policy: &AlertPolicy) -> Self {
        Point {
            t: event.t,
            known_at: event.known_at,
            revision: event.revision,
            age: event.t.since(admitted_at),
            said: said(event, policy),
        }
    }
}

fn said(event: &RiskEvent, policy: &AlertPolicy) -> Said {
    if event.status == Status::Retracted {
        return Said::TakenBack;
    }
    if let Some(end) = event.stay_end {
        return Said::Closed(end);
    }
    if let Some(fault) = fault(event, policy) {
        return Said::Faulty(fault);
    }
    let Some(scores) = &event.scores else { return Said::Faulty(Fault::Unscored) };
    Said::Risk(Risk {
        mortality: scores.mortality,
        interval: scores.mortality_interval,
        ehr_only: scores.ehr_only,
        film_acquired_at: event.film.map(|film| film.acquired_at),
        validity: event.validity.clone(),
        contributors: scores.attribution.iter().map(|c| c.variable.clone()).collect(),
    })
}

/// Why no alert may rest on this event; what a person can repair comes first.
fn fault(event: &RiskEvent, policy: &AlertPolicy) -> Option<Fault> {
    let is_stale = |at: EventTime| event.t.since(at) > policy.stale_after;
    if !event.feed_missing.is_empty() {
        return Some(Fault::FeedMissing);
    }
    match &event.status {
        Status::Unscored { .. } => return Some(Fault::Unscored),
        // Before the first film the method predicts from the EHR alone, which is no fault.
        Status::Degraded { .. } if event.film.is_some() => return Some(Fault::ModelDegraded),
        Status::Degraded { .. } | Status::Scored | Status::Retracted => {}
    }
    event.series.last_observed_at.is_none_or(is_stale).then_some(Fault::StaleEhr)
}
