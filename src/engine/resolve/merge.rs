//! Two numbers that are one patient, and two visits that are one.

use super::act::{Effect, Fate, OperationId, PersonId, Telling, VisitId, Word};
use super::person::{Person, Place, Report, ReportKey};
use super::resolver::{ResolveConfig, Resolver, decided};
use crate::event::Disposition;
use crate::ids::StayId;
use crate::time::EventTime;

/// Tag of the discharge that ends a stay which was another stay's.
const MERGED: u8 = 20;

impl<B: Clone + PartialEq> Resolver<B> {
    /// `prior` is the same patient as `into`.
    pub(super) fn merge(
        &mut self,
        (operation, known_at): (OperationId, EventTime),
        (into, prior): (PersonId, PersonId),
        visits: Option<(VisitId, VisitId)>,
        effects: &mut Vec<Effect<B>>,
    ) -> Fate {
        let old = self.canonical(prior);
        let mut is_news = false;
        if old != into {
            self.lead(old, into);
            is_news = true;
        } else if prior != into && !self.aliases.contains_key(&prior) {
            self.lead(prior, into);
            is_news = true;
        }
        let gone = if old != into { self.people.remove(&old) } else { None };
        let person = self.people.entry(into).or_insert_with(|| Person::new(into));
        person.heard_at = person.heard_at.max(known_at);
        person.identity = person.identity.saturating_add(u32::from(is_news));
        self.changed.insert(into);
        let before = effects.len();
        if let Some(gone) = gone {
            self.hours_gone.extend(gone.all_hours().map(|hour| (old, hour)));
            self.changed.insert(old);
            person.absorb(gone, effects);
        }
        if let Some((from, to)) = visits {
            let (from, to) = (person.canonical(from), person.canonical(to));
            is_news |= person.merge_visits(from, to, (operation, known_at), &self.config, effects);
        }
        let all: Vec<VisitId> = person.visits.keys().copied().collect();
        for visit in &all {
            person.settle(*visit, (operation, known_at), &self.config, effects);
        }
        person.adopt(operation, &self.config, effects);
        let former: Vec<VisitId> = person.former_visits.keys().copied().collect();
        self.visits.extend(all.into_iter().chain(former).map(|visit| (visit, into)));
        let told = effects.iter().skip(before).any(|effect| matches!(effect, Effect::Tell(_)));
        match (told, is_news) {
            (true, _) => Fate::Told,
            (false, true) => Fate::Kept,
            (false, false) => Fate::Known,
        }
    }

    /// From now on `from`, and whatever led to it, leads to `to`.
    fn lead(&mut self, from: PersonId, to: PersonId) {
        for (alias, target) in &mut self.aliases {
            if *target == from {
                *target = to;
                self.aliases_changed.insert(*alias);
            }
        }
        self.aliases.remove(&to);
        self.aliases.insert(from, to);
        self.aliases_changed.extend([from, to]);
    }
}

impl<B: Clone + PartialEq> Person<B> {
    /// Takes over everything of a person who is the same. Of a result that both know, the newer
    /// version stays.
    fn absorb(&mut self, other: Person<B>, effects: &mut Vec<Effect<B>>) {
        self.about = other.about.updated(self.about);
        self.identity = self.identity.max(other.identity.saturating_add(1));
        self.heard_at = self.heard_at.max(other.heard_at);
        let theirs: Vec<(ReportKey, _)> =
            other.reports().map(|(key, report)| (key, report.clone())).collect();
        for (key, report) in theirs {
            let is_newer = self.report(key).is_none_or(|own| own.known_at < report.known_at);
            let loser = if is_newer { self.remove_report(key) } else { Some(report.clone()) };
            if is_newer {
                self.put_report(key, report);
            }
            if let Some(loser) = loser.filter(|loser| loser.place == Place::Held) {
                effects.push(decided(loser.heard, Fate::Known));
            }
        }
        self.former_visits.extend(other.former_visits);
        for (id, visit) in other.visits {
            self.visits.insert(id, visit);
        }
    }

    /// `from` is the visit `to`. If only one of them has stays, they are those of both; if both
    /// have, the surviving visit's stays get what the other's were told, and those end.
    fn merge_visits(
        &mut self,
        from: VisitId,
        to: VisitId,
        (operation, known_at): (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) -> bool {
        if from == to {
            return false;
        }
        let mut gone = self.visits.remove(&from).unwrap_or_default();
        let survivor = self.visits.entry(to).or_default();
        let stays = std::mem::take(&mut gone.stays);
        let moves_to_survivor = survivor.stays.is_empty();
        if moves_to_survivor {
            survivor.stays.clone_from(&stays);
        }
        if moves_to_survivor || !survivor.has_moves() {
            survivor.adopt_moves(gone);
        }
        for former in self.former_visits.values_mut().filter(|former| **former == from) {
            *former = to;
        }
        self.former_visits.insert(from, to);
        self.rename_visit(from, to);
        if moves_to_survivor {
            return true;
        }
        for stay in stays {
            self.move_reports(stay.stay, to, (operation, known_at), config, effects);
            if stay.left_at.is_none() {
                effects.push(Effect::Tell(Telling {
                    operation,
                    stay: stay.stay,
                    id: operation.fact(MERGED, stay.stay, &[]),
                    observed_at: known_at,
                    available_at: known_at,
                    word: Word::Discharge { disposition: Disposition::Alive },
                }));
            }
        }
        true
    }

    fn rename_visit(&mut self, from: VisitId, to: VisitId) {
        let of_it: Vec<ReportKey> = self
            .reports()
            .filter(|(_, report)| report.visit == Some(from))
            .map(|(key, _)| key)
            .collect();
        for key in of_it {
            if let Some(report) = self.report(key).cloned() {
                self.put_report(key, Report { visit: Some(to), ..report });
            }
        }
    }

    /// What `stay` was told goes to the stay of `visit` that it belongs to: taken back from the one
    /// and told to the other, under one operation.
    fn move_reports(
        &mut self,
        stay: StayId,
        visit: VisitId,
        (operation, known_at): (OperationId, EventTime),
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) {
        let mut told: Vec<ReportKey> = self
            .reports()
            .filter(|(_, report)| matches!(report.place, Place::Told { stay: s, .. } if s == stay))
            .map(|(key, _)| key)
            .collect();
        told.sort_by_key(|key| (key.1, key.0));
        for key in told {
            if let Some(to) = self.stay_for(Some(visit), key.1, config) {
                self.take_back(key, operation, known_at, effects);
                self.tell_report(key, to, operation, None, effects);
            }
        }
    }

    /// Tells what was held and has a stay now.
    fn adopt(
        &mut self,
        operation: OperationId,
        config: &ResolveConfig,
        effects: &mut Vec<Effect<B>>,
    ) {
        let mut due: Vec<(ReportKey, _)> = self
            .reports()
            .filter(|(_, report)| report.place == Place::Held)
            .filter_map(|(key, r)| Some((key, self.stay_for(r.visit, key.1, config)?)))
            .collect();
        due.sort_by_key(|(key, _)| (key.1, key.0));
        for (key, stay) in due {
            self.tell_report(key, stay, operation, None, effects);
        }
    }
}
