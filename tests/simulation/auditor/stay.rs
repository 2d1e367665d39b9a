//! The course of one stay by the design's rules, done in the plainest way: everything is kept,
//! everything is looked for by scanning.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use nowcxr::config::{EngineConfig, LatePolicy};
use nowcxr::engine::{Identity, Outcome, PredictionRequest};
use nowcxr::event::risk::{StayEnd, Triggers};
use nowcxr::event::{Disposition, Fact, FactBody, Reason, StayEvent};
use nowcxr::ids::{Digest, FactId, Origin, StayId, Ticket};
use nowcxr::series::StaticFacts;
use nowcxr::time::{EventTime, Span};

use super::window::{Applied, Kind, State, Window, film_of, rows_of};
use super::{Fate, Said};

#[derive(Clone, Debug)]
pub struct Pending {
    pub effective: EventTime,
    pub fact: Fact,
    pub origin: Origin,
    pub passed_by: Option<EventTime>,
}

impl Pending {
    fn order(&self) -> (EventTime, nowcxr::ids::Topic, FactId, Origin) {
        (self.effective, self.origin.topic, self.fact.id, self.origin)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Unknown,
    Open,
    Silent,
    Ended { at: EventTime, known_at: EventTime },
}

/// What the stay is judged by, and where its doings are written down.
pub struct Desk<'a> {
    pub config: &'a EngineConfig,
    pub identity: &'a Identity,
    pub watermark: EventTime,
    /// Names of the feeds that were missing at a moment.
    pub missing: &'a dyn Fn(EventTime) -> Vec<String>,
    pub said: &'a mut Vec<Said>,
    pub fates: &'a mut Vec<(Origin, Fate)>,
    pub questions: &'a mut BTreeMap<Ticket, PredictionRequest>,
    pub films: &'a mut BTreeMap<Ticket, Digest>,
    pub ended: &'a mut u64,
    pub expired: &'a mut u64,
}

#[derive(Clone, Debug)]
pub struct Stay {
    id: StayId,
    phase: Phase,
    admitted: Option<(EventTime, StaticFacts)>,
    pub pending: Vec<Pending>,
    orphans: Vec<Pending>,
    applied: Vec<Applied>,
    /// Ids that a correction has replaced, known or not.
    void: BTreeSet<FactId>,
    admissions: BTreeSet<FactId>,
    films_due: BTreeSet<EventTime>,
    sealed_to: EventTime,
    last_fact_at: EventTime,
    windows: Vec<Window>,
}

/// What time does next.
enum Next {
    Apply(usize),
    GiveUp,
    End(StayEnd),
    Seal(Triggers),
    Expire,
}

impl Stay {
    pub fn new(id: StayId) -> Self {
        Stay {
            id,
            phase: Phase::Unknown,
            admitted: None,
            pending: Vec::new(),
            orphans: Vec::new(),
            applied: Vec::new(),
            void: BTreeSet::new(),
            admissions: BTreeSet::new(),
            films_due: BTreeSet::new(),
            sealed_to: EventTime::MIN,
            last_fact_at: EventTime::MIN,
            windows: Vec::new(),
        }
    }

    /// Lets time pass. False when nothing is left of the stay.
    pub fn advance(&mut self, desk: &mut Desk<'_>) -> bool {
        while let Some((at, next)) = self.next(desk.config) {
            if at > desk.watermark {
                return true;
            }
            match next {
                Next::Apply(index) => {
                    let pending = self.pending.remove(index);
                    self.apply(pending, desk);
                }
                Next::GiveUp => {
                    let orphan = self.orphans.remove(oldest(&self.orphans));
                    self.reject(&orphan, Reason::NoAdmission, desk);
                    if self.orphans.is_empty() && !self.expire(desk) {
                        return false;
                    }
                }
                Next::End(how) => self.end(at, at, how, desk),
                Next::Seal(triggers) => {
                    self.sealed_to = at;
                    self.films_due.retain(|due| *due > at);
                    self.seal(at, 0, at, triggers, None, desk);
                }
                Next::Expire => {
                    if !self.expire(desk) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// What comes later is of a stay that nobody knows. False if nothing comes.
    fn expire(&mut self, desk: &mut Desk<'_>) -> bool {
        *desk.expired += 1;
        let left = std::mem::take(&mut self.pending);
        *self = Stay { pending: left, ..Stay::new(self.id) };
        !self.pending.is_empty()
    }

    fn next(&self, config: &EngineConfig) -> Option<(EventTime, Next)> {
        let course = self.course(config);
        let fact = (0..self.pending.len()).min_by_key(|&i| self.pending[i].order());
        let fact = fact.map(|i| (self.pending[i].effective, Next::Apply(i)));
        match (fact, course) {
            // Nothing that comes after the expiry belongs to this stay any more, also while an
            // answer is waited for.
            (Some((at, _)), Some((until, Next::Expire))) if self.is_waiting() => {
                (at <= until).then_some(fact_of(self)?)
            }
            (None, Some((_, Next::Expire))) if self.is_waiting() => None,
            (Some(fact), Some(course)) => Some(if course.0 < fact.0 { course } else { fact }),
            (fact, course) => fact.or(course),
        }
    }

    fn is_waiting(&self) -> bool {
        self.windows.iter().any(|window| window.state == State::Open)
    }

    fn course(&self, config: &EngineConfig) -> Option<(EventTime, Next)> {
        match self.phase {
            Phase::Unknown => {
                let first = self.orphans.iter().map(|orphan| orphan.effective).min()?;
                Some((first + config.lookback, Next::GiveUp))
            }
            Phase::Silent => {
                let (admitted, _) = self.admitted?;
                let longest = (admitted + config.max_stay).max(self.last_fact_at);
                Some((longest + config.keep, Next::Expire))
            }
            Phase::Ended { known_at, .. } => Some((known_at + config.keep, Next::Expire)),
            Phase::Open => {
                let (admitted, _) = self.admitted?;
                let silent = self.last_fact_at + config.silent_after;
                let longest = (admitted + config.max_stay).max(self.last_fact_at);
                let end = if longest < silent {
                    (longest, Next::End(StayEnd::MaxStay))
                } else {
                    (silent, Next::End(StayEnd::Silent))
                };
                match self.next_window(admitted, config) {
                    Some((t, triggers)) if t < end.0 => Some((t, Next::Seal(triggers))),
                    _ => Some(end),
                }
            }
        }
    }

    fn next_window(
        &self,
        admitted: EventTime,
        config: &EngineConfig,
    ) -> Option<(EventTime, Triggers)> {
        let hour = config.every.and_then(|every| {
            let mut t = admitted + every;
            while t <= self.sealed_to && t < EventTime::MAX {
                t = t + every;
            }
            (t > self.sealed_to).then_some(t)
        });
        let ages = config.landmarks.iter().map(|age| admitted + *age);
        let landmark = ages.filter(|t| *t > self.sealed_to).min();
        let film = self.films_due.iter().copied().find(|t| *t > self.sealed_to);
        let t = [hour, landmark, film].into_iter().flatten().min()?;
        let triggers = Triggers {
            hour: hour == Some(t),
            landmark: landmark == Some(t),
            film: film == Some(t),
            request: false,
        };
        Some((t, triggers))
    }

    fn apply(&mut self, pending: Pending, desk: &mut Desk<'_>) {
        if self.knows(pending.fact.id, desk.config) {
            return self.decide(&pending, Fate::Duplicate, desk);
        }
        if self.phase != Phase::Unknown {
            let effective = pending.effective;
            return self.apply_admitted(pending, effective, desk);
        }
        let FactBody::Stay(StayEvent::Admitted(admission)) = &pending.fact.body else {
            let id = pending.fact.id;
            if self.orphans.iter().any(|orphan| orphan.fact.id == id) {
                return self.decide(&pending, Fate::Duplicate, desk);
            }
            self.orphans.push(pending);
            return;
        };
        let statics = StaticFacts { age_years: admission.age_years, sex: admission.sex };
        self.admitted = Some((pending.fact.observed_at, statics));
        self.phase = Phase::Open;
        self.last_fact_at = pending.effective;
        self.sealed_to = pending.effective - Span::from_millis(1);
        self.admissions.insert(pending.fact.id);
        self.decide(&pending, Fate::Used, desk);
        while !self.orphans.is_empty() {
            let orphan = self.orphans.remove(oldest(&self.orphans));
            self.apply_admitted(orphan, pending.effective, desk);
        }
    }

    fn apply_admitted(&mut self, pending: Pending, effective: EventTime, desk: &mut Desk<'_>) {
        let config = desk.config;
        if self.knows(pending.fact.id, config) {
            return self.decide(&pending, Fate::Duplicate, desk);
        }
        let late = pending.passed_by.is_some_and(|mark| self.missed(&pending.fact, mark));
        if late && config.late == LatePolicy::Drop {
            return self.decide(&pending, Fate::Late, desk);
        }
        if let Some(reason) = self.out_of_range(&pending.fact, config) {
            return self.reject(&pending, reason, desk);
        }
        self.decide(&pending, if late { Fate::Late } else { Fate::Used }, desk);
        if self.phase == Phase::Silent {
            self.phase = Phase::Open;
            self.sealed_to = effective - Span::from_millis(1);
        }
        self.last_fact_at = self.last_fact_at.max(effective);
        let fact = pending.fact;
        let void = self.void.contains(&fact.id);
        self.applied.push(Applied { fact: fact.clone(), void });
        let is_film = self.applied.last().is_some_and(|a| a.film().is_some());
        if is_film && config.on_film {
            self.films_due.insert(effective);
        }
        match fact.body {
            FactBody::Observed(_) | FactBody::Filmed(_) => {}
            FactBody::Corrected { replaces, .. } | FactBody::FilmCorrected { replaces, .. } => {
                self.correct(replaces, effective, desk);
            }
            FactBody::Retracted { fact } => self.retract(fact, effective, desk),
            FactBody::Stay(StayEvent::Admitted(admission)) => {
                let statics = StaticFacts { age_years: admission.age_years, sex: admission.sex };
                if matches!(self.phase, Phase::Open | Phase::Silent) {
                    self.admitted = Some((fact.observed_at, statics));
                }
            }
            FactBody::Stay(StayEvent::Transferred { .. }) => {}
            FactBody::Stay(StayEvent::Discharged { disposition }) => {
                let how = match disposition {
                    Disposition::Alive => StayEnd::Discharged,
                    Disposition::Died => StayEnd::Died,
                };
                self.end(fact.observed_at, effective, how, desk);
            }
        }
    }

    /// Whether a window that should have held the fact had been promised complete by `mark`.
    fn missed(&self, fact: &Fact, mark: EventTime) -> bool {
        let should = |w: &Window| {
            (w.from..=w.t).contains(&fact.observed_at) && (fact.available_at..=mark).contains(&w.t)
        };
        self.windows.iter().any(should)
    }

    fn out_of_range(&self, fact: &Fact, config: &EngineConfig) -> Option<Reason> {
        let (admitted, _) = self.admitted?;
        let too_old = fact.observed_at < admitted - config.lookback
            || fact.observed_at.hour() < self.horizon(config);
        if too_old {
            return Some(Reason::BeforeLookback);
        }
        if let Phase::Ended { at, .. } = self.phase
            && fact.observed_at > at + config.grace
        {
            return Some(Reason::AfterDischarge);
        }
        match fact.body {
            FactBody::Retracted { fact } if !self.knows(fact, config) => Some(Reason::UnknownFact),
            _ => None,
        }
    }

    /// The first hour of observation that counts.
    fn horizon(&self, config: &EngineConfig) -> i64 {
        (self.sealed_to - config.keep).hour()
    }

    fn knows(&self, id: FactId, config: &EngineConfig) -> bool {
        let held = |a: &Applied| {
            let counts = a.fact.observed_at.hour() >= self.horizon(config);
            a.fact.id == id && (a.value().is_none() || counts)
        };
        self.admissions.contains(&id) || self.applied.iter().any(held)
    }

    /// Whether a film or an observation with this id is there to be replaced.
    fn touches(&self, id: FactId, config: &EngineConfig) -> bool {
        let held = |a: &Applied| {
            let counts = a.fact.observed_at.hour() >= self.horizon(config);
            a.fact.id == id && (a.film().is_some() || a.value().is_some() && counts)
        };
        self.applied.iter().any(held)
    }

    fn make_void(&mut self, id: FactId) {
        self.void.insert(id);
        self.applied.iter_mut().filter(|a| a.fact.id == id).for_each(|a| a.void = true);
    }

    /// The fact and all that it corrected, as far as it still counts.
    fn corrected_by(&self, id: FactId, config: &EngineConfig) -> Vec<FactId> {
        let mut ids = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next.filter(|id| !ids.contains(id) && self.touches(*id, config)) {
            ids.push(id);
            let fact = self.applied.iter().rev().find(|a| a.fact.id == id);
            next = fact.and_then(|a| match a.fact.body {
                FactBody::Corrected { replaces, .. } => Some(replaces),
                _ => None,
            });
        }
        ids
    }

    /// The newest revision of each window that used one of the facts, newest window first.
    fn used_by(&self, ids: &[FactId]) -> Vec<Window> {
        let mut last: BTreeMap<EventTime, &Window> = BTreeMap::new();
        for window in &self.windows {
            last.insert(window.t, window);
        }
        let used = last.into_values().rev();
        let has_used = |w: &Window| ids.iter().any(|id| w.used(*id));
        used.filter(|w| w.kind == Kind::Prediction && has_used(w)).cloned().collect()
    }

    fn correct(&mut self, id: FactId, known_at: EventTime, desk: &mut Desk<'_>) {
        let touches = self.touches(id, desk.config);
        let stale = self.used_by(&[id]);
        self.make_void(id);
        if !touches {
            return;
        }
        for window in stale.into_iter().take(desk.config.revise_windows) {
            self.seal_again(&window, known_at, desk);
        }
    }

    fn retract(&mut self, id: FactId, known_at: EventTime, desk: &mut Desk<'_>) {
        if !self.touches(id, desk.config) {
            return;
        }
        let stale = self.used_by(&self.corrected_by(id, desk.config));
        self.make_void(id);
        for window in stale.iter().skip(1).rev() {
            let revision = window.revision + 1;
            let reason = Outcome::Unscored("retracted".to_owned());
            let state = State::Held(Box::new(reason), false);
            let back =
                Window { revision, known_at, kind: Kind::Retraction, state, ..window.clone() };
            self.windows.push(back);
            self.say(desk);
        }
        if let Some(newest) = stale.first() {
            self.seal_again(newest, known_at, desk);
        }
    }

    fn seal_again(&mut self, window: &Window, known_at: EventTime, desk: &mut Desk<'_>) {
        let admitted = Some((window.admitted_at, window.statics));
        self.seal(window.t, window.revision + 1, known_at, window.triggers, admitted, desk);
    }

    fn seal(
        &mut self,
        t: EventTime,
        revision: u32,
        known_at: EventTime,
        triggers: Triggers,
        admitted: Option<(EventTime, StaticFacts)>,
        desk: &mut Desk<'_>,
    ) {
        let Some(window) = self.cut(t, revision, known_at, triggers, admitted, desk) else {
            return;
        };
        let question = window.question(self.id, desk.identity);
        let film = window.film.map(|(_, film)| (question.ticket, film.digest));
        desk.films.extend(film);
        desk.questions.insert(question.ticket, question);
        self.windows.push(window);
    }

    fn cut(
        &self,
        t: EventTime,
        revision: u32,
        known_at: EventTime,
        triggers: Triggers,
        admitted: Option<(EventTime, StaticFacts)>,
        desk: &Desk<'_>,
    ) -> Option<Window> {
        let (admitted_at, statics) = admitted.or(self.admitted)?;
        let film = film_of(&self.applied, t);
        let floor = t - Span::hours(12);
        let generation_start =
            film.map_or(floor, |(_, film)| film.acquired_at.min(floor).max(t - Span::hours(70)));
        // What lies before the horizon has been forgotten.
        let oldest = EventTime::from_millis(
            self.horizon(desk.config).saturating_mul(Span::HOUR.as_millis()),
        );
        let from = generation_start.min(t - Span::hours(48)).max(oldest);
        Some(Window {
            t,
            revision,
            known_at,
            triggers,
            admitted_at,
            statics,
            generation_start,
            from,
            rows: rows_of(&self.applied, from, t),
            film,
            feed_missing: (desk.missing)(known_at),
            kind: Kind::Prediction,
            state: State::Open,
        })
    }

    fn end(&mut self, at: EventTime, known_at: EventTime, how: StayEnd, desk: &mut Desk<'_>) {
        if !matches!(self.phase, Phase::Open | Phase::Silent) {
            return;
        }
        self.phase = match how {
            StayEnd::Silent => Phase::Silent,
            _ => Phase::Ended { at, known_at },
        };
        *desk.ended += 1;
        if self.windows.iter().any(|window| window.t == known_at) {
            return;
        }
        self.sealed_to = known_at;
        self.films_due.clear();
        let cut = self.cut(known_at, 0, known_at, Triggers::default(), None, desk);
        let state = State::Held(Box::new(Outcome::Unscored("stay_ended".to_owned())), false);
        if let Some(window) = cut {
            self.windows.push(Window { kind: Kind::Closing(how), state, ..window });
            self.say(desk);
        }
    }

    fn decide(&self, pending: &Pending, fate: Fate, desk: &mut Desk<'_>) {
        desk.fates.push((pending.origin, fate));
    }

    fn reject(&self, pending: &Pending, reason: Reason, desk: &mut Desk<'_>) {
        self.decide(pending, Fate::Rejected(reason), desk);
        desk.said.push(Said::letter(pending.origin, Some(self.id), reason, None));
    }
}

fn oldest(pending: &[Pending]) -> usize {
    (0..pending.len()).min_by_key(|&i| pending[i].order()).unwrap_or(0)
}

fn fact_of(stay: &Stay) -> Option<(EventTime, Next)> {
    let index = (!stay.pending.is_empty()).then(|| oldest(&stay.pending))?;
    Some((stay.pending[index].effective, Next::Apply(index)))
}
