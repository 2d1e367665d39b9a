//! The course of one stay by the design's rules, done in the plainest way: everything is kept,
//! everything is looked for by scanning.

mod answers;
mod copies;
mod revise;

use std::collections::{BTreeMap, BTreeSet};

use nowcxr::config::{EngineConfig, LatePolicy};
use nowcxr::engine::alert::{Alerting, Heard};
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
    /// Of a laboratory's result the charted copies that it took the place of.
    copies: BTreeMap<FactId, Vec<FactId>>,
    admissions: BTreeSet<FactId>,
    films_due: BTreeSet<EventTime>,
    sealed_to: EventTime,
    last_fact_at: EventTime,
    windows: Vec<Window>,
    alerting: Alerting,
}

/// What time does next.
enum Next {
    Apply(usize),
    GiveUp,
    End(StayEnd),
    Seal(Triggers),
    /// What a person did takes effect, or an alert is passed on.
    Alerts,
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
            copies: BTreeMap::new(),
            admissions: BTreeSet::new(),
            films_due: BTreeSet::new(),
            sealed_to: EventTime::MIN,
            last_fact_at: EventTime::MIN,
            windows: Vec::new(),
            alerting: Alerting::default(),
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
                Next::Alerts => {
                    self.tell(desk, |alerts, voice, out| alerts.advance(at, voice, out))
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

    /// People come last: at one time facts, ends and windows were first. Only an expiry lets them
    /// go first, for it forgets them. They wait for every answer.
    fn next(&self, config: &EngineConfig) -> Option<(EventTime, Next)> {
        let facts = self.next_fact(config);
        let due = self.alerting.next_due(&config.alerts).filter(|_| !self.is_waiting());
        match (facts, due) {
            (Some((at, Next::Expire)), Some(due)) if due <= at => Some((due, Next::Alerts)),
            (Some(facts), due) if due.is_none_or(|due| facts.0 <= due) => Some(facts),
            (facts, due) => due.map(|due| (due, Next::Alerts)).or(facts),
        }
    }

    fn next_fact(&self, config: &EngineConfig) -> Option<(EventTime, Next)> {
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
        if self.knows(pending.fact.id) {
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
        if let FactBody::Acted(act) = pending.fact.body {
            let (origin, late) = (pending.origin, pending.passed_by.is_some());
            return self.alerting.hear(Heard { at: effective, act: *act, origin, late });
        }
        if self.knows(pending.fact.id) {
            return self.decide(&pending, Fate::Duplicate, desk);
        }
        let late = pending.passed_by.is_some_and(|mark| self.missed(&pending.fact, mark));
        if late && config.late == LatePolicy::Drop {
            return self.decide(&pending, Fate::Late, desk);
        }
        if let Some(reason) = self.out_of_range(&pending.fact, config) {
            return self.reject(&pending, reason, desk);
        }
        let shadow = self.is_shadow(&pending.fact, config);
        let fate = match late {
            _ if shadow => Fate::Shadow,
            true => Fate::Late,
            false => Fate::Used,
        };
        self.decide(&pending, fate, desk);
        if self.phase == Phase::Silent {
            self.phase = Phase::Open;
            self.sealed_to = effective - Span::from_millis(1);
        }
        self.last_fact_at = self.last_fact_at.max(effective);
        let fact = pending.fact;
        let void = shadow || self.void.contains(&fact.id);
        self.applied.push(Applied { fact: fact.clone(), void });
        self.overshadow(&fact, config);
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
            FactBody::Stay(StayEvent::Transferred { .. }) | FactBody::Acted(_) => {}
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
        if fact.observed_at < admitted - config.lookback {
            return Some(Reason::BeforeLookback);
        }
        if let Phase::Ended { at, .. } = self.phase
            && fact.observed_at > at + config.grace
        {
            return Some(Reason::AfterDischarge);
        }
        match fact.body {
            FactBody::Retracted { fact } if !self.knows(fact) => Some(Reason::UnknownFact),
            _ => None,
        }
    }

    fn knows(&self, id: FactId) -> bool {
        self.admissions.contains(&id) || self.applied.iter().any(|a| a.fact.id == id)
    }

    /// Whether a film or an observation with this id is there to be replaced.
    fn touches(&self, id: FactId) -> bool {
        let held = |a: &Applied| a.fact.id == id && (a.film().is_some() || a.value().is_some());
        self.applied.iter().any(held)
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
        let from = generation_start.min(t - Span::hours(48));
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
