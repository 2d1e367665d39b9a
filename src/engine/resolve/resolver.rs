//! The resolver: all persons, and the one entry for what is heard of them.

use std::collections::{BTreeMap, BTreeSet};

use super::act::{
    About, Act, Cancelled, Deed, Effect, Fate, Heard, OperationId, PersonId, Telling, VisitId, Word,
};
use super::course::{Episode, Move, Presence, Step, Units};
use super::person::{Hour, Person, Place, ReportKey};
use super::report::Version;
use crate::event::{Admission, Disposition, Reason, Rejection};
use crate::time::{EventTime, Span};

/// Persons that are followed at once.
pub const MAX_PEOPLE: usize = 100_000;
/// Visits of one person that are remembered.
pub const MAX_VISITS: usize = 32;
/// Reports of one person that may wait for an admission.
pub const MAX_HELD: usize = 5_000;
/// Results of one person in one hour of observation.
pub const MAX_REPORTS_AN_HOUR: usize = 4_096;
/// A person of whom nothing goes on is forgotten so long after the last message.
const FORGET_AFTER: Span = Span::hours(24 * 30);

/// Tags that tell the facts of one operation apart.
const ADMIT: u8 = 1;
const TRANSFER: u8 = 2;
const DISCHARGE: u8 = 3;

/// What the resolver goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolveConfig {
    pub units: Units,
    /// As the engine's: reports so long before an admission belong to the stay, and one that waits
    /// longer for it is rejected.
    pub lookback: Span,
    /// As the engine's: reports so long after the end still belong to the stay.
    pub grace: Span,
    /// As the engine's: how long reports are remembered, so that they can be corrected.
    pub keep: Span,
}

/// Who is who, and which stay is whose.
#[derive(Clone, Debug)]
pub struct Resolver<B> {
    pub(super) config: ResolveConfig,
    pub(super) people: BTreeMap<PersonId, Person<B>>,
    /// Numbers that were merged, and the surviving number of each. Never a chain.
    pub(super) aliases: BTreeMap<PersonId, PersonId>,
    /// Whose each visit is. Derived from the people, never stored.
    pub(super) visits: BTreeMap<VisitId, PersonId>,
    pub(super) changed: BTreeSet<PersonId>,
    pub(super) aliases_changed: BTreeSet<PersonId>,
    /// Hours of persons who are gone.
    pub(super) hours_gone: BTreeSet<(PersonId, i64)>,
}

/// What must be stored again since this was last asked; `None` is to be deleted.
#[derive(Debug)]
pub struct Changes<'a, B> {
    pub people: Vec<(PersonId, Option<&'a Person<B>>)>,
    pub hours: Vec<(PersonId, i64, Option<&'a Hour<B>>)>,
    pub aliases: Vec<(PersonId, Option<PersonId>)>,
}

pub(super) fn decided<B>(heard: Heard, fate: Fate) -> Effect<B> {
    Effect::Decided { heard, fate }
}

pub(super) fn rejected(reason: Reason, detail: &str) -> Fate {
    Fate::Rejected(Rejection::new(reason, detail))
}

impl<B: Clone + PartialEq> Resolver<B> {
    pub fn new(config: ResolveConfig) -> Self {
        Resolver {
            config,
            people: BTreeMap::new(),
            aliases: BTreeMap::new(),
            visits: BTreeMap::new(),
            changed: BTreeSet::new(),
            aliases_changed: BTreeSet::new(),
            hours_gone: BTreeSet::new(),
        }
    }

    /// Takes back what a store held. Hours are given to the persons before.
    pub fn restore(
        &mut self,
        people: impl IntoIterator<Item = Person<B>>,
        aliases: impl IntoIterator<Item = (PersonId, PersonId)>,
    ) {
        self.people = people.into_iter().map(|person| (person.id, person)).collect();
        self.aliases = aliases.into_iter().collect();
        self.visits.clear();
        for person in self.people.values() {
            let former = person.former_visits.keys();
            let all = person.visits.keys().chain(former);
            self.visits.extend(all.map(|visit| (*visit, person.id)));
        }
    }

    /// One act in, its effects appended.
    pub fn step(&mut self, act: Act<B>, effects: &mut Vec<Effect<B>>) {
        let Act { heard, operation, person, known_at, deed } = act;
        let id = self.canonical(person);
        if let Err(fate) = self.admit_person(id, &deed) {
            effects.push(decided(heard, fate));
            return;
        }
        let same = match deed {
            Deed::Merge { prior, visits } => Some((prior, visits)),
            Deed::Number { number } => Some((number, None)),
            _ => None,
        };
        if let Some((prior, visits)) = same {
            let fate = self.merge((operation, known_at), (id, prior), visits, effects);
            effects.push(decided(heard, fate));
            return;
        }
        let config = &self.config;
        let person = self.people.entry(id).or_insert_with(|| Person::new(id));
        person.heard_at = person.heard_at.max(known_at);
        self.changed.insert(id);
        let (visit, moves, about) = match deed {
            Deed::Report { visit, result, is_sole, observed_at, status, body } => {
                let visit = visit.map(|visit| person.canonical(visit));
                let version = Version {
                    heard,
                    operation,
                    known_at,
                    visit,
                    result,
                    is_sole,
                    observed_at,
                    status,
                    body,
                };
                person.hear(version, config, effects);
                return;
            }
            Deed::Arrive { visit, at, unit, about } => (visit, one(at, Step::Into(unit)), about),
            Deed::Leave { visit, at, disposition, about } => {
                (visit, one(at, Step::Out(disposition)), about)
            }
            Deed::Describe { visit, at, unit, about } => {
                let is_known = person.knows(visit);
                let is_told = !is_known && !unit.is_empty();
                let moves = if is_told { one(at, Step::Into(unit)) } else { Moves::None };
                (visit, moves, about)
            }
            Deed::Course { visit, moves, about } => (visit, Moves::Course(moves), about),
            Deed::Know { about } => {
                let fate = person.know(about, (operation, known_at), config, effects);
                effects.push(decided(heard, fate));
                return;
            }
            Deed::Cancel { visit, what } => {
                let visit = person.canonical(visit);
                let fate = person.cancel(visit, what, (operation, known_at), config, effects);
                effects.push(decided(heard, fate));
                return;
            }
            Deed::Merge { .. } | Deed::Number { .. } => return,
        };
        let visit = person.canonical(visit);
        self.visits.insert(visit, id);
        let fate = person.note(visit, moves, about, (operation, known_at), config, effects);
        effects.push(decided(heard, fate));
    }

    /// The surviving number of a person.
    pub(super) fn canonical(&self, person: PersonId) -> PersonId {
        self.aliases.get(&person).copied().unwrap_or(person)
    }

    /// Whether an act may be taken: its visit is nobody else's, and there is room.
    fn admit_person(&self, id: PersonId, deed: &Deed<B>) -> Result<(), Fate> {
        let visit = match deed {
            Deed::Arrive { visit, .. }
            | Deed::Leave { visit, .. }
            | Deed::Cancel { visit, .. }
            | Deed::Describe { visit, .. }
            | Deed::Course { visit, .. } => Some(*visit),
            Deed::Report { visit, .. } => *visit,
            Deed::Know { .. } | Deed::Merge { .. } | Deed::Number { .. } => None,
        };
        let owner = visit.and_then(|visit| self.visits.get(&visit));
        if owner.is_some_and(|owner| *owner != id) {
            let detail = "the visit is known to be another patient's, and no merge was reported";
            return Err(rejected(Reason::IdentityDispute, detail));
        }
        if let Deed::Number { number } = deed
            && self.aliases.get(number).is_some_and(|known| *known != id)
        {
            let detail = "a number of the patient is another's here; link the two if they are one";
            return Err(rejected(Reason::IdentityDispute, detail));
        }
        let person = self.people.get(&id);
        if person.is_none() && self.people.len() >= MAX_PEOPLE {
            let detail = format!("{MAX_PEOPLE} patients are followed already");
            return Err(rejected(Reason::TooManyWaiting, &detail));
        }
        let is_new = |visit: VisitId| owner.is_none() && person.is_none_or(|p| !p.knows(visit));
        let full = person.is_some_and(|person| person.visits.len() >= MAX_VISITS);
        let moves = !matches!(deed, Deed::Report { .. });
        if full && moves && visit.is_some_and(is_new) {
            let detail = format!("the patient has {MAX_VISITS} visits already");
            return Err(rejected(Reason::TooManyWaiting, &detail));
        }
        Ok(())
    }

    /// Lets time pass: what has waited too long is rejected, what is too old is forgotten. Costs a
    /// look at every person.
    pub fn tick(&mut self, now: EventTime, effects: &mut Vec<Effect<B>>) {
        let mut gone = Vec::new();
        for (id, person) in &mut self.people {
            if person.expire(now, &self.config, effects) {
                self.changed.insert(*id);
            }
            if person.is_quiet() && now.since(person.heard_at) > FORGET_AFTER {
                gone.push(*id);
            }
        }
        for id in gone {
            if let Some(person) = self.people.remove(&id) {
                self.forget(&person);
            }
        }
    }

    /// Removes all that leads to a person who is gone.
    pub(super) fn forget(&mut self, person: &Person<B>) {
        self.changed.insert(person.id);
        self.visits.retain(|_, owner| *owner != person.id);
        let led: Vec<PersonId> = self
            .aliases
            .iter()
            .filter(|(_, to)| **to == person.id)
            .map(|(from, _)| *from)
            .collect();
        for alias in led {
            self.aliases.remove(&alias);
            self.aliases_changed.insert(alias);
        }
        self.hours_gone.extend(person.all_hours().map(|hour| (person.id, hour)));
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes<'_, B> {
        let changed = std::mem::take(&mut self.changed);
        let gone = std::mem::take(&mut self.hours_gone);
        let aliases = std::mem::take(&mut self.aliases_changed);
        let mut hours: BTreeSet<(PersonId, i64)> = gone;
        for id in &changed {
            if let Some(person) = self.people.get_mut(id) {
                hours.extend(person.take_hours_changed().into_iter().map(|hour| (*id, hour)));
            }
        }
        let people = &self.people;
        let reports = |(id, hour): (PersonId, i64)| {
            (id, hour, people.get(&id).and_then(|person| person.hour(hour)))
        };
        Changes {
            people: changed.into_iter().map(|id| (id, people.get(&id))).collect(),
            hours: hours.into_iter().map(reports).collect(),
            aliases: aliases.into_iter().map(|id| (id, self.aliases.get(&id).copied())).collect(),
        }
    }

    pub fn n_people(&self) -> usize {
        self.people.len()
    }
}

/// What an act says of where the patient was.
enum Moves {
    None,
    One(Move),
    Course(Vec<Move>),
}

fn one(at: EventTime, step: Step) -> Moves {
    Moves::One(Move { at, step })
}

impl<B: Clone + PartialEq> Person<B> {
    fn knows(&self, visit: VisitId) -> bool {
        self.visits.contains_key(&self.canonical(visit))
    }

    fn note(
        &mut self,
        id: VisitId,
        moves: Moves,
        about: About,
        by: (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        let visit = self.visits.entry(id).or_default();
        let moved = match moves {
            Moves::None => false,
            Moves::One(Move { at, step }) => visit.note(at, step),
            Moves::Course(moves) => visit.follow(moves),
        };
        let updated = self.about.updated(about);
        let is_news = moved || updated != self.about;
        self.about = updated;
        match self.settle(id, by, config, effects) {
            true => Fate::Told,
            false if is_news => Fate::Kept,
            false => Fate::Known,
        }
    }

    /// What is known of the patient now. A birthday is no news: the age is that at admission.
    fn know(
        &mut self,
        about: About,
        by: (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        let mut updated = self.about.updated(about);
        if updated.age_years == self.about.age_years.and_then(|age| age.checked_add(1)) {
            updated.age_years = self.about.age_years;
        }
        if updated == self.about {
            return Fate::Known;
        }
        self.about = updated;
        let visits: Vec<VisitId> = self.visits.keys().copied().collect();
        let told = visits.into_iter().filter(|visit| self.settle(*visit, by, config, effects));
        if told.count() > 0 { Fate::Told } else { Fate::Kept }
    }

    fn cancel(
        &mut self,
        id: VisitId,
        what: Cancelled,
        by: (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        if !self.visits.get_mut(&id).is_some_and(|visit| visit.cancel(what)) {
            return rejected(Reason::UnknownFact, "cancels what was never reported");
        }
        if self.settle(id, by, config, effects) { Fate::Told } else { Fate::Kept }
    }

    /// Tells of a visit what follows from where the patient is now; false if there is nothing new.
    pub(super) fn settle(
        &mut self,
        id: VisitId,
        (operation, known_at): (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> bool {
        let about = self.about;
        let Some(visit) = self.visits.get_mut(&id) else { return false };
        let presence = visit.presence(&config.units);
        let before = effects.len();
        let mut tell = |kind: u8, stay, observed_at, word| {
            let id = operation.fact(kind, stay, &[]);
            let available_at = known_at;
            let telling = Telling { operation, stay, id, observed_at, available_at, word };
            effects.push(Effect::Tell(telling));
        };
        match (presence, visit.is_open()) {
            (Presence::In { since, first_unit, unit }, is_open) => {
                // Without age and sex the model could not be asked; they may still come.
                let (Some(age_years), Some(sex)) = (about.age_years, about.sex) else {
                    return false;
                };
                let admission = Admission { age_years, sex, unit: first_unit };
                if !is_open {
                    let stay = visit.next_stay(id);
                    let earlier: Vec<_> = visit.stays.iter().map(|stay| stay.stay).collect();
                    tell(ADMIT, stay, since, Word::Admit(admission.clone()));
                    if admission.unit != unit {
                        tell(TRANSFER, stay, known_at, Word::Transfer { unit: unit.clone() });
                    }
                    let (admitted_at, left_at) = (since, None);
                    visit.stays.push(Episode { stay, admitted_at, admission, unit, left_at });
                    self.catch_up(stay, &earlier, operation, config, effects);
                    return true;
                }
                let Some(open) = visit.open() else { return false };
                if open.admitted_at != since || open.admission != admission {
                    (open.admitted_at, open.admission) = (since, admission.clone());
                    tell(ADMIT, open.stay, since, Word::Admit(admission));
                }
                if open.unit != unit {
                    open.unit.clone_from(&unit);
                    let at = visit.last_move_at();
                    if let Some(open) = visit.open() {
                        tell(TRANSFER, open.stay, at, Word::Transfer { unit });
                    }
                }
            }
            (Presence::Out(out), true) => {
                let (at, disposition) = out.unwrap_or((known_at, Disposition::Alive));
                if let Some(open) = visit.open() {
                    open.left_at = Some(at);
                    tell(DISCHARGE, open.stay, at, Word::Discharge { disposition });
                }
            }
            (Presence::Out(_), false) => {}
        }
        effects.len() > before
    }

    /// Rejects reports that have waited too long, forgets old ones; whether anything changed.
    fn expire(
        &mut self,
        now: EventTime,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> bool {
        let is_old = |key: &ReportKey, known_at: EventTime, place: Place| match place {
            Place::Held => now.since(known_at) > config.lookback,
            Place::Told { .. } => now.since(key.1.max(known_at)) > config.keep,
        };
        let old: Vec<ReportKey> = self
            .reports()
            .filter(|(key, report)| is_old(key, report.known_at, report.place))
            .map(|(key, _)| key)
            .collect();
        for key in &old {
            if let Some(report) = self.remove_report(*key)
                && report.place == Place::Held
            {
                let detail = "no admission to a unit that counts came within the lookback";
                effects.push(decided(report.heard, rejected(Reason::NoAdmission, detail)));
            }
        }
        !old.is_empty()
    }
}
