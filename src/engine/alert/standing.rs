//! The policy itself: what stands at one moment, and how a prediction or a person changes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::point::{Point, Risk, Said};
use crate::config::{AlertPolicy, HOLD_MAX};
use crate::event::alert::{
    By, Change, Claim, Deed, Fault, Priority, Resolution, Response, RiskClaim, Subject,
    Suppression, Trend, film_changes,
};
use crate::event::risk::Doubt;
use crate::time::{EventTime, Span};

/// How far a trend looks back.
const TREND: Span = Span::hours(4);
/// Sound predictions in a row that are remembered; further ones push the oldest out.
const RECENT_MAX: usize = 256;

/// What the policy holds true at one moment: a function of the points and acts before it. At most
/// one alert a subject can stand, because there is one place for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    risk: Option<Alert>,
    fault: Option<Alert>,
    /// The newest alert about the risk, whether it stands or not.
    last: Option<Last>,
    /// When the newest technical alert was raised.
    last_fault: Option<EventTime>,
    /// Alerts within the budget that count against it still.
    spent: Vec<EventTime>,
    /// Sound predictions in a row, oldest first.
    recent: Vec<Sound>,
    /// Faulty predictions in a row, as far as `persist` looks back.
    faulty: Vec<(EventTime, u32)>,
    suppressed: Option<Suppression>,
    snoozed: BTreeMap<Subject, EventTime>,
}

/// An alert as the policy sees it: everything but how often it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Alert {
    pub raised_at: EventTime,
    pub priority: Priority,
    pub within_budget: bool,
    pub claim: Claim,
    /// Windows and revisions that it rests on, oldest first.
    pub basis: Vec<(EventTime, u32)>,
    pub validity: Vec<Doubt>,
    pub response: Response,
    pub snoozed_until: Option<EventTime>,
    pub resolved: Option<(EventTime, Resolution)>,
}

/// What a later alert is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    t: EventTime,
    mortality: f32,
    film_acquired_at: Option<EventTime>,
}

/// A sound prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sound {
    t: EventTime,
    revision: u32,
    risk: Risk,
}

/// What a person did, when it took effect, and which alert it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Acted {
    pub at: EventTime,
    pub subject: Option<Subject>,
    pub deed: Deed,
    pub by: By,
}

/// Why an alert is raised.
struct Reason {
    /// Predictions that it rests on, counted from the newest.
    n_basis: usize,
    rose_further: bool,
}

impl Alert {
    pub(super) fn subject(&self) -> Subject {
        self.claim.subject()
    }

    /// Names it among the alerts of a stay.
    pub(super) fn key(&self) -> (EventTime, Subject) {
        (self.raised_at, self.subject())
    }
}

impl Standing {
    /// The alerts that stand, by subject.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.risk.iter().chain(&self.fault)
    }

    /// Steps a window. Alerts that end are added to `ended`.
    pub(super) fn point(&mut self, point: &Point, policy: &AlertPolicy, ended: &mut Vec<Alert>) {
        match &point.said {
            Said::TakenBack => {}
            Said::Closed(how) => {
                self.end_all(point.t, Resolution::of(*how), ended);
                self.recent.clear();
                self.faulty.clear();
            }
            Said::Faulty(fault) => self.faulty(point, *fault, policy),
            Said::Risk(risk) => self.sound(point, risk, policy, ended),
        }
    }

    /// Steps what a person did. A deed about an alert acts on the alert that stands on its
    /// subject at that time: if a correction has put another in the place of the one that was
    /// seen, the person has answered that one. Where none stands, nothing changes.
    pub(super) fn act(&mut self, acted: &Acted, ended: &mut Vec<Alert>) {
        match (&acted.deed, acted.subject) {
            (Deed::Suppress(reason), _) => {
                self.suppressed = Some(*reason);
                self.end_all(acted.at, Resolution::Suppressed, ended);
            }
            (Deed::Release, _) => self.suppressed = None,
            (Deed::Snooze(_, length), Some(subject)) => {
                let until = acted.at + length.length();
                self.snoozed.insert(subject, until);
                if let Some(alert) = self.place(subject) {
                    alert.snoozed_until = Some(until);
                }
            }
            (deed, Some(subject)) => {
                if let Some(alert) = self.place(subject) {
                    respond(&mut alert.response, deed, &acted.by);
                }
            }
            (_, None) => {}
        }
    }

    /// Forgets a standing alert that rests on the window at `t`, which was taken back after the
    /// predictions around it had been forgotten.
    pub(super) fn disown(&mut self, t: EventTime) {
        let rests = |alert: &Alert| alert.basis.iter().any(|&(window, _)| window == t);
        self.risk = self.risk.take().filter(|alert| !rests(alert));
        self.fault = self.fault.take().filter(|alert| !rests(alert));
    }

    /// The same with the alerts that were told of, whatever these predictions would have led to,
    /// and without the predictions: those to come are another model's.
    pub(super) fn with_told<'a>(self, told: impl Iterator<Item = &'a Alert>) -> Self {
        let Standing { suppressed, snoozed, .. } = self;
        let mut standing = Standing { suppressed, snoozed, ..Standing::default() };
        for alert in told {
            let stands = alert.resolved.is_none().then(|| alert.clone());
            match &alert.claim {
                Claim::Risk(claim) => {
                    standing.last = Some(Last {
                        t: alert.raised_at,
                        mortality: claim.mortality.get(),
                        film_acquired_at: claim.film_acquired_at,
                    });
                    standing.spent.extend(alert.within_budget.then_some(alert.raised_at));
                    standing.risk = stands;
                }
                Claim::Fault(_) => {
                    standing.last_fault = Some(alert.raised_at);
                    standing.fault = stands;
                }
            }
        }
        standing
    }

    fn place(&mut self, subject: Subject) -> Option<&mut Alert> {
        match subject {
            Subject::InHospitalDeath => self.risk.as_mut(),
            Subject::DataQuality => self.fault.as_mut(),
        }
    }

    fn end_all(&mut self, at: EventTime, why: Resolution, ended: &mut Vec<Alert>) {
        for alert in [self.risk.take(), self.fault.take()].into_iter().flatten() {
            end(alert, at, why, ended);
        }
    }

    fn may_speak(&self, point: &Point, subject: Subject, policy: &AlertPolicy) -> bool {
        let snoozed = self.snoozed.get(&subject).is_some_and(|&until| point.t < until);
        self.suppressed.is_none() && point.age >= policy.not_before && !snoozed
    }

    fn faulty(&mut self, point: &Point, fault: Fault, policy: &AlertPolicy) {
        self.recent.clear();
        self.faulty.push((point.t, point.revision));
        let surplus = self.faulty.len().saturating_sub(policy.persist);
        self.faulty.drain(..surplus);
        let rests = self.last_fault.is_some_and(|at| point.t < at + policy.refractory);
        if self.fault.is_some()
            || rests
            || self.faulty.len() < policy.persist
            || !self.may_speak(point, Subject::DataQuality, policy)
        {
            return;
        }
        self.last_fault = Some(point.t);
        self.fault = Some(Alert {
            raised_at: point.t,
            priority: Priority::Low,
            within_budget: true,
            claim: Claim::Fault(fault),
            basis: self.faulty.clone(),
            validity: Vec::new(),
            response: Response::Open,
            snoozed_until: None,
            resolved: None,
        });
    }

    fn sound(&mut self, point: &Point, risk: &Risk, policy: &AlertPolicy, ended: &mut Vec<Alert>) {
        self.faulty.clear();
        if let Some(fault) = self.fault.take() {
            end(fault, point.t, Resolution::Repaired, ended);
        }
        self.recent.push(Sound { t: point.t, revision: point.revision, risk: risk.clone() });
        self.trim(policy);
        if self.has_fallen(policy)
            && let Some(alert) = self.risk.take()
        {
            end(alert, point.t, Resolution::Fell, ended);
        }
        let Some(reason) = self.reason(point, policy) else { return };
        if let Some(alert) = self.risk.take() {
            end(alert, point.t, Resolution::RoseFurther, ended);
        }
        self.raise(point.t, risk, &reason, policy);
    }

    /// Only what a decision or a trend can look back upon is remembered.
    fn trim(&mut self, policy: &AlertPolicy) {
        let Some(newest) = self.recent.last().map(|sound| sound.t) else { return };
        let n_old = self.recent.partition_point(|sound| sound.t < newest - HOLD_MAX - TREND);
        let n_spare = self.recent.len().saturating_sub(policy.persist);
        let surplus = self.recent.len().saturating_sub(RECENT_MAX);
        self.recent.drain(..n_old.min(n_spare).max(surplus));
    }

    /// Why an alert is due now, if one is.
    fn reason(&self, point: &Point, policy: &AlertPolicy) -> Option<Reason> {
        if !self.may_speak(point, Subject::InHospitalDeath, policy) {
            return None;
        }
        let rests = self.last.is_some_and(|last| point.t < last.t + policy.refractory);
        if self.risk.is_none() && !rests {
            let n_basis = self.run(policy.tau_on, policy)?;
            return Some(Reason { n_basis, rose_further: false });
        }
        let above = self.last?.mortality + policy.refire_delta;
        let n_basis = self.run(above.max(policy.tau_on), policy)?;
        Some(Reason { n_basis, rose_further: true })
    }

    /// The least number of newest predictions in a row at or above `threshold` that is enough.
    fn run(&self, threshold: f32, policy: &AlertPolicy) -> Option<usize> {
        let newest = self.recent.last()?.t;
        let high = |sound: &&Sound| sound.risk.mortality.get() >= threshold;
        let held = |sound: &Sound| newest.since(sound.t) >= policy.min_hold;
        let mut run = self.recent.iter().rev().take_while(high).enumerate();
        run.find(|(n, sound)| n + 1 >= policy.persist && held(sound)).map(|(n, _)| n + 1)
    }

    fn has_fallen(&self, policy: &AlertPolicy) -> bool {
        let Some(newest) = self.recent.last() else { return false };
        let low = |sound: &&Sound| sound.risk.mortality.get() < policy.tau_off();
        let mut run = self.recent.iter().rev().take_while(low);
        run.any(|sound| newest.t.since(sound.t) >= policy.clear_for)
    }

    fn raise(&mut self, t: EventTime, risk: &Risk, reason: &Reason, policy: &AlertPolicy) {
        let span = policy.budget_span();
        self.spent.retain(|&at| t < at + span);
        let within_budget = self.spent.len() < policy.budget_alerts();
        if within_budget {
            self.spent.push(t);
        }
        let first = self.recent.len().saturating_sub(reason.n_basis);
        let basis = self.recent.iter().skip(first).map(|s| (s.t, s.revision)).collect();
        let trend = self.trend(t);
        let claim = RiskClaim {
            mortality: risk.mortality,
            interval: risk.interval,
            threshold: policy.tau_on,
            ehr_only: risk.ehr_only,
            trend: trend.map(|s| Trend { since: s.t, mortality: s.risk.mortality }),
            film_acquired_at: risk.film_acquired_at,
            changed: self.changes(t, risk, reason),
            contributors: risk.contributors.clone(),
        };
        self.last = Some(Last {
            t,
            mortality: risk.mortality.get(),
            film_acquired_at: risk.film_acquired_at,
        });
        let priority = if reason.rose_further { Priority::High } else { Priority::Medium };
        self.risk = Some(Alert {
            raised_at: t,
            priority,
            within_budget,
            claim: Claim::Risk(claim),
            basis,
            validity: risk.validity.clone(),
            response: Response::Open,
            snoozed_until: None,
            resolved: None,
        });
    }

    /// The newest prediction at least [`TREND`] old, in the same unbroken row.
    fn trend(&self, t: EventTime) -> Option<&Sound> {
        self.recent.iter().rev().find(|sound| t.since(sound.t) >= TREND)
    }

    fn changes(&self, t: EventTime, risk: &Risk, reason: &Reason) -> Vec<Change> {
        let mut changes = vec![match (self.last, reason.rose_further) {
            (None, _) => Change::FirstAlert,
            (Some(_), true) => Change::RoseFurther,
            (Some(_), false) => Change::HighAgain,
        }];
        let trend = || self.trend(t).map(|sound| (sound.t, sound.risk.film_acquired_at));
        let before = self.last.map(|last| (last.t, last.film_acquired_at)).or_else(trend);
        let now = (t, risk.film_acquired_at);
        changes.extend(before.and_then(|before| film_changes(before, now)));
        changes
    }
}

fn end(mut alert: Alert, at: EventTime, why: Resolution, ended: &mut Vec<Alert>) {
    alert.resolved = Some((at, why));
    ended.push(alert);
}

/// Open → acknowledged → actioned or dismissed. Nothing else is a step.
fn respond(response: &mut Response, deed: &Deed, by: &By) {
    let by = by.clone();
    match (&response, deed) {
        (Response::Open, Deed::Acknowledge(_)) => *response = Response::Acknowledged(by),
        (Response::Open | Response::Acknowledged(_), Deed::Action(_)) => {
            *response = Response::Actioned(by);
        }
        (Response::Open | Response::Acknowledged(_), Deed::Dismiss(_, reason)) => {
            *response = Response::Dismissed { by, reason: reason.clone() };
        }
        _ => {}
    }
}
