//! A person: visits, and the reports that are remembered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::act::{About, Heard, OperationId, PersonId, ResultId, Status, VisitId};
use super::course::{Episode, Visit};
use super::resolver::ResolveConfig;
use crate::ids::{FactId, StayId};
use crate::time::EventTime;

/// The reports of one person that were observed in one hour, newest version each.
pub type Hour<B> = BTreeMap<(ResultId, EventTime), Report<B>>;

/// One patient of the hospital.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Person<B> {
    pub id: PersonId,
    pub(super) about: About,
    /// Counts what has changed who this is: each merge.
    pub(super) identity: u32,
    pub(super) visits: BTreeMap<VisitId, Visit>,
    /// Visits that were merged, and into which.
    pub(super) former_visits: BTreeMap<VisitId, VisitId>,
    pub(super) heard_at: EventTime,
    /// Stored apart, one value each.
    #[serde(skip, default = "BTreeMap::new")]
    hours: BTreeMap<i64, Hour<B>>,
    /// Hours that changed since the last commit.
    #[serde(skip)]
    hours_changed: BTreeSet<i64>,
}

/// The newest version of one result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report<B> {
    pub(super) heard: Heard,
    pub(super) operation: OperationId,
    pub(super) visit: Option<VisitId>,
    pub(super) known_at: EventTime,
    pub(super) status: Status,
    pub(super) body: B,
    pub(super) place: Place,
}

/// Whether a report has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// There is no stay that it belongs to yet.
    Held,
    Told {
        stay: StayId,
        fact: FactId,
    },
}

/// Names one report of a person.
pub(super) type ReportKey = (ResultId, EventTime);

impl<B> Person<B> {
    pub(super) fn new(id: PersonId) -> Self {
        Person {
            id,
            about: About::default(),
            identity: 0,
            visits: BTreeMap::new(),
            former_visits: BTreeMap::new(),
            heard_at: EventTime::MIN,
            hours: BTreeMap::new(),
            hours_changed: BTreeSet::new(),
        }
    }

    /// Takes back an hour that was stored apart.
    pub fn restore_hour(&mut self, hour: i64, reports: Hour<B>) {
        self.hours.insert(hour, reports);
    }

    /// The visit that is meant: merged ones are the surviving one.
    pub(super) fn canonical(&self, visit: VisitId) -> VisitId {
        self.former_visits.get(&visit).copied().unwrap_or(visit)
    }

    pub(super) fn hour(&self, hour: i64) -> Option<&Hour<B>> {
        self.hours.get(&hour)
    }

    pub(super) fn take_hours_changed(&mut self) -> BTreeSet<i64> {
        std::mem::take(&mut self.hours_changed)
    }

    pub(super) fn all_hours(&self) -> impl Iterator<Item = i64> {
        self.hours.keys().copied()
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = (ReportKey, &Report<B>)> {
        self.hours.values().flatten().map(|(key, report)| (*key, report))
    }

    pub(super) fn report(&self, key: ReportKey) -> Option<&Report<B>> {
        self.hours.get(&key.1.hour())?.get(&key)
    }

    pub(super) fn put_report(&mut self, key: ReportKey, report: Report<B>) {
        let hour = key.1.hour();
        self.hours.entry(hour).or_default().insert(key, report);
        self.hours_changed.insert(hour);
    }

    pub(super) fn remove_report(&mut self, key: ReportKey) -> Option<Report<B>> {
        let hour = key.1.hour();
        let reports = self.hours.get_mut(&hour)?;
        let removed = reports.remove(&key)?;
        if reports.is_empty() {
            self.hours.remove(&hour);
        }
        self.hours_changed.insert(hour);
        Some(removed)
    }

    /// The one report of `result`, whatever its time; `None` if there are several or none.
    pub(super) fn sole_report(&self, result: ResultId) -> Option<ReportKey> {
        let range = (result, EventTime::MIN)..=(result, EventTime::MAX);
        let mut found = self.hours.values().flat_map(|hour| hour.range(range.clone()));
        let key = found.next().map(|(key, _)| *key)?;
        found.next().is_none().then_some(key)
    }

    pub(super) fn reports_in_hour(&self, at: EventTime) -> usize {
        self.hours.get(&at.hour()).map_or(0, BTreeMap::len)
    }

    pub(super) fn n_held(&self) -> usize {
        self.reports().filter(|(_, report)| report.place == Place::Held).count()
    }

    /// The stay that a report belongs to: the one that began last, of those whose span holds it.
    pub(super) fn stay_for(
        &self,
        visit: Option<VisitId>,
        observed_at: EventTime,
        config: &ResolveConfig,
    ) -> Option<StayId> {
        let is_meant = |id: VisitId| visit.is_none_or(|visit| visit == id);
        let covers = |stay: &&Episode| {
            let ended = stay.left_at.is_some_and(|left| observed_at > left + config.grace);
            observed_at >= stay.admitted_at - config.lookback && !ended
        };
        self.visits
            .iter()
            .filter(|(id, _)| is_meant(**id))
            .flat_map(|(_, visit)| visit.stays.iter().enumerate())
            .filter(|(_, stay)| covers(stay))
            .max_by_key(|(number, stay)| (stay.admitted_at, *number))
            .map(|(_, stay)| stay.stay)
    }

    /// Whether nothing of this person is going on.
    pub(super) fn is_quiet(&self) -> bool {
        self.hours.is_empty() && !self.visits.values().any(Visit::is_open)
    }
}
