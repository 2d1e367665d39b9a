//! Versions of results: first, preliminary, corrected, withdrawn; told to a stay or held for one.

use super::act::{Effect, Fate, Heard, OperationId, ResultId, Status, Telling, VisitId, Word};
use super::person::{Person, Place, Report, ReportKey};
use super::resolver::{MAX_HELD, MAX_REPORTS_AN_HOUR, ResolveConfig, decided, rejected};
use crate::event::Reason;
use crate::ids::{FactId, StayId};
use crate::time::EventTime;

/// Tags that tell the facts of one operation apart.
const REPORT: u8 = 10;
const WITHDRAW: u8 = 11;

/// A version of a result, as it came.
pub(super) struct Version<B> {
    pub heard: Heard,
    pub operation: OperationId,
    pub known_at: EventTime,
    pub visit: Option<VisitId>,
    pub result: ResultId,
    pub is_sole: bool,
    pub observed_at: EventTime,
    pub status: Status,
    pub body: B,
}

impl<B: Clone + PartialEq> Person<B> {
    /// Takes a version of a result.
    pub(super) fn hear(
        &mut self,
        version: Version<B>,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) {
        let heard = version.heard;
        let exact = (version.result, version.observed_at);
        // A correction may have moved the time of what it corrects.
        let corrects = !matches!(version.status, Status::Preliminary | Status::Final);
        let names_earlier = corrects || version.is_sole;
        let known = match self.report(exact) {
            Some(_) => Some(exact),
            None if names_earlier => self.sole_report(version.result),
            None => None,
        };
        let fate = match (known, version.status) {
            (None, Status::Withdrawn | Status::Confirmed) => {
                rejected(Reason::UnknownFact, "speaks of a result that never came, or long ago")
            }
            (Some(_), Status::Confirmed) => Fate::Known,
            (Some(key), _) if self.is_older(key, version.known_at) => {
                rejected(Reason::Outdated, "a newer version of this result is known")
            }
            (Some(key), Status::Withdrawn) => self.withdraw(key, &version, effects),
            (Some(key), _) => self.replace(key, version, config, effects),
            (None, _) => self.first(version, config, effects),
        };
        effects.push(decided(heard, fate));
    }

    fn is_older(&self, key: ReportKey, known_at: EventTime) -> bool {
        self.report(key).is_some_and(|report| known_at < report.known_at)
    }

    fn first(
        &mut self,
        version: Version<B>,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        if self.reports_in_hour(version.observed_at) >= MAX_REPORTS_AN_HOUR {
            let detail = "more results of one patient in one hour than are followed";
            return rejected(Reason::TooManyWaiting, detail);
        }
        let stay = self.stay_for(version.visit, version.observed_at, config);
        if stay.is_none() && self.n_held() >= MAX_HELD {
            let detail = "too many results of this patient wait for an admission to a unit";
            return rejected(Reason::TooManyWaiting, detail);
        }
        let key = (version.result, version.observed_at);
        let report = Report {
            heard: version.heard,
            operation: version.operation,
            visit: version.visit,
            known_at: version.known_at,
            status: version.status,
            body: version.body,
            place: Place::Held,
        };
        self.put_report(key, report);
        match stay {
            Some(stay) => {
                self.tell_report(key, stay, version.operation, None, effects);
                Fate::Told
            }
            None => Fate::Kept,
        }
    }

    fn replace(
        &mut self,
        key: ReportKey,
        version: Version<B>,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        let Some(mut report) = self.report(key).cloned() else { return Fate::Known };
        let new_key = (version.result, version.observed_at);
        if report.body == version.body && key == new_key {
            return Fate::Known;
        }
        self.remove_report(key);
        let place = report.place;
        report.heard = version.heard;
        report.operation = version.operation;
        report.visit = version.visit.or(report.visit);
        report.known_at = version.known_at;
        report.status = version.status;
        report.body = version.body;
        self.put_report(new_key, report);
        match place {
            Place::Held => match self.stay_for(version.visit, version.observed_at, config) {
                Some(stay) => self.tell_report(new_key, stay, version.operation, None, effects),
                None => return Fate::Kept,
            },
            Place::Told { stay, fact } => {
                self.tell_report(new_key, stay, version.operation, Some(fact), effects);
            }
        }
        Fate::Told
    }

    fn withdraw(
        &mut self,
        key: ReportKey,
        version: &Version<B>,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        let Some(report) = self.remove_report(key) else { return Fate::Known };
        let Place::Told { stay, fact } = report.place else {
            return Fate::Kept;
        };
        let (operation, known_at) = (version.operation, version.known_at);
        effects.push(withdrawal(operation, key, stay, fact, known_at, report.body));
        Fate::Told
    }

    /// Tells the report of this key to a stay, and remembers that it did.
    pub(super) fn tell_report(
        &mut self,
        key: ReportKey,
        stay: StayId,
        operation: OperationId,
        replaces: Option<FactId>,
        effects: &mut Vec<Effect<B>>,
    ) {
        let Some(mut report) = self.report(key).cloned() else { return };
        let fact = report.operation.fact(REPORT, stay, &parts(key));
        let status = match (replaces, report.status) {
            // What it corrects was never told, so it is the first that this stay hears.
            (None, Status::Corrected) => Status::Final,
            (Some(_), Status::Preliminary) => Status::Preliminary,
            (Some(_), _) => Status::Corrected,
            (None, status) => status,
        };
        effects.push(Effect::Tell(Telling {
            operation,
            stay,
            id: fact,
            observed_at: key.1,
            available_at: report.known_at,
            word: Word::Report { body: report.body.clone(), status, replaces },
        }));
        report.place = Place::Told { stay, fact };
        self.put_report(key, report);
    }

    /// Takes a report back from the stay that it was told to; the caller tells it elsewhere.
    pub(super) fn take_back(
        &self,
        key: ReportKey,
        operation: OperationId,
        known_at: EventTime,
        effects: &mut Vec<Effect<B>>,
    ) {
        if let Some(Report { place: Place::Told { stay, fact }, body, .. }) = self.report(key) {
            effects.push(withdrawal(operation, key, *stay, *fact, known_at, body.clone()));
        }
    }

    /// Tells a stay that has begun what was held for it, and what its span needs of the reports
    /// that went to earlier stays of the same visit.
    pub(super) fn catch_up(
        &mut self,
        stay: StayId,
        earlier: &[StayId],
        operation: OperationId,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) {
        let is_due = |report: &Report<B>| match report.place {
            Place::Held => true,
            Place::Told { stay: told, .. } => earlier.contains(&told),
        };
        let mut due: Vec<ReportKey> = self
            .reports()
            .filter(|(key, report)| {
                is_due(report) && self.stay_for(report.visit, key.1, config) == Some(stay)
            })
            .map(|(key, _)| key)
            .collect();
        due.sort_by_key(|key| (key.1, key.0));
        for key in due {
            self.tell_report(key, stay, operation, None, effects);
        }
    }
}

fn withdrawal<B>(
    operation: OperationId,
    key: ReportKey,
    stay: StayId,
    fact: FactId,
    known_at: EventTime,
    body: B,
) -> Effect<B> {
    Effect::Tell(Telling {
        operation,
        stay,
        id: operation.fact(WITHDRAW, stay, &parts(key)),
        observed_at: key.1,
        available_at: known_at,
        word: Word::Withdraw { body, fact },
    })
}

/// The bytes of a report's name in the name of a fact.
fn parts(key: ReportKey) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (result, at) = bytes.split_at_mut(16);
    result.copy_from_slice(&key.0.0.to_be_bytes());
    at.copy_from_slice(&key.1.as_millis().to_be_bytes());
    bytes
}
