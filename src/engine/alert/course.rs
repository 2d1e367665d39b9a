//! The course of a stay as the policy sees it: predictions and what people did, in the order of
//! the patient's time.
//!
//! Nothing is kept of what followed from them but a base, the state before the oldest kept point.
//! What stands now is folded from there each time, so a revised prediction needs no rule of its
//! own: it takes the place of the wrong one, and the outcome is that of a course in which the
//! wrong one never was.

use serde::{Deserialize, Serialize};

use super::point::{Point, Said};
use super::standing::{Acted, Alert, Standing};
use crate::config::AlertPolicy;
use crate::time::EventTime;

/// Points that are kept, whatever `engine.keep` says; older ones become part of the base.
const POINTS_MAX: usize = 1_024;
/// Acts of one stay that are kept or wait; more are refused.
pub(super) const ACTS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    base: Standing,
    /// Everything up to this time is in the base.
    base_to: EventTime,
    /// The newest revision of each window, in order of time.
    points: Vec<Point>,
    /// In order of time.
    acts: Vec<Acted>,
}

/// The next thing of a course.
enum Next<'a> {
    Point(&'a Point),
    Act(&'a Acted),
}

impl Default for Course {
    fn default() -> Self {
        Course {
            base: Standing::default(),
            base_to: EventTime::MIN,
            points: Vec::new(),
            acts: Vec::new(),
        }
    }
}

impl Course {
    /// Takes a revision of a window; an older one than is known changes nothing. Behind the base
    /// only a retraction is heard: an alert that stands on the window is disowned.
    pub(super) fn take_point(&mut self, point: Point) {
        if point.t <= self.base_to {
            if point.said == Said::TakenBack {
                self.base.disown(point.t);
            }
            return;
        }
        match self.points.binary_search_by_key(&point.t, |held| held.t) {
            Ok(index) if self.points[index].revision < point.revision => {
                self.points[index] = point;
            }
            Ok(_) => {}
            Err(index) => self.points.insert(index, point),
        }
    }

    /// Takes what a person did, after everything that happened before.
    pub(super) fn take_act(&mut self, acted: Acted) {
        let index = self.acts.partition_point(|held| held.at <= acted.at);
        self.acts.insert(index, acted);
    }

    pub(super) fn n_acts(&self) -> usize {
        self.acts.len()
    }

    /// Every alert that ended since the base, in the order of their ends, and those that stand.
    pub(super) fn alerts(&self, policy: &AlertPolicy) -> Vec<Alert> {
        let mut standing = self.base.clone();
        let mut alerts = Vec::new();
        for next in self.in_order() {
            step(&mut standing, next, policy, &mut alerts);
        }
        alerts.extend(standing.alerts().cloned());
        alerts
    }

    /// Makes everything before `before` part of the base, and returns the alerts that ended there:
    /// no correction can reach them any more.
    pub(super) fn forget(&mut self, before: EventTime, policy: &AlertPolicy) -> Vec<Alert> {
        let too_many = self.points.len().checked_sub(POINTS_MAX + 1);
        let bound = too_many.and_then(|index| self.points.get(index)).map(|point| point.t);
        let old = |at: EventTime| at < before || bound.is_some_and(|bound| at <= bound);
        let mut ended = Vec::new();
        let (n_points, n_acts) = (
            self.points.partition_point(|point| old(point.t)),
            self.acts.partition_point(|acted| old(acted.at)),
        );
        if n_points + n_acts == 0 {
            return ended;
        }
        let mut base = self.base.clone();
        for next in self.in_order().take(n_points + n_acts) {
            step(&mut base, next, policy, &mut ended);
        }
        let newest_point = self.points[..n_points].last().map(|point| point.t);
        let newest_act = self.acts[..n_acts].last().map(|acted| acted.at);
        self.base_to = self.base_to.max(newest_point.max(newest_act).unwrap_or(self.base_to));
        self.base = base;
        self.points.drain(..n_points);
        self.acts.drain(..n_acts);
        ended
    }

    /// Forgets every prediction and makes what stands the base: `told` are the alerts that were
    /// told of, in the order in which they were. What people did is kept in the base.
    pub(super) fn begin_anew<'a>(
        &mut self,
        told: impl Iterator<Item = &'a Alert>,
        policy: &AlertPolicy,
    ) {
        let mut base = self.base.clone();
        for next in self.in_order() {
            step(&mut base, next, policy, &mut Vec::new());
        }
        let newest_act = self.acts.last().map(|acted| acted.at);
        let newest = self.newest().max(newest_act);
        self.base_to = newest.map_or(self.base_to, |newest| self.base_to.max(newest));
        self.base = base.with_told(told);
        self.points.clear();
        self.acts.clear();
    }

    pub(super) fn newest(&self) -> Option<EventTime> {
        self.points.last().map(|point| point.t)
    }

    /// Points and acts by time; at one time the prediction comes first, for people answer what
    /// they have been told.
    fn in_order(&self) -> impl Iterator<Item = Next<'_>> {
        let mut points = self.points.iter().peekable();
        let mut acts = self.acts.iter().peekable();
        std::iter::from_fn(move || match (points.peek(), acts.peek()) {
            (Some(point), Some(act)) if act.at < point.t => acts.next().map(Next::Act),
            (None, Some(_)) => acts.next().map(Next::Act),
            _ => points.next().map(Next::Point),
        })
    }
}

fn step(standing: &mut Standing, next: Next<'_>, policy: &AlertPolicy, ended: &mut Vec<Alert>) {
    match next {
        Next::Point(point) => standing.point(point, policy, ended),
        Next::Act(acted) => standing.act(acted, ended),
    }
}
