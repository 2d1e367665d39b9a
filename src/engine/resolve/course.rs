//! The course of a visit: where the patient was when, and which stretches of it are ICU stays.

use serde::{Deserialize, Serialize};

use super::act::{Cancelled, VisitId};
use crate::event::{Admission, Disposition};
use crate::ids::StayId;
use crate::time::EventTime;

/// Moves of one visit that are remembered; the oldest is forgotten for a further one.
const MAX_MOVES: usize = 256;

/// One visit at the hospital.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// In the order of their time.
    moves: Vec<Move>,
    pub(super) stays: Vec<Episode>,
}

/// A change of place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    pub at: EventTime,
    pub step: Step,
}

/// Where a move leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Into a unit.
    Into(String),
    /// Out of the hospital.
    Out(Disposition),
}

/// One ICU stay, as it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Episode {
    pub stay: StayId,
    pub admitted_at: EventTime,
    pub admission: Admission,
    /// The unit told last.
    pub unit: String,
    pub left_at: Option<EventTime>,
}

/// Where a patient is now, as far as an ICU is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Presence {
    In {
        since: EventTime,
        first_unit: String,
        unit: String,
    },
    /// `None` if he was never in one that is still remembered.
    Out(Option<(EventTime, Disposition)>),
}

/// The units that count as an ICU: all, if none is named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Units(pub Vec<String>);

impl Units {
    pub fn contain(&self, unit: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|own| own == unit)
    }
}

impl Visit {
    /// Takes note of a move; false if it is known.
    pub(super) fn note(&mut self, at: EventTime, step: Step) -> bool {
        let new = Move { at, step };
        if self.moves.contains(&new) {
            return false;
        }
        let place = self.moves.partition_point(|known| known.at <= at);
        self.moves.insert(place, new);
        if self.moves.len() > MAX_MOVES {
            self.moves.remove(0);
        }
        true
    }

    /// Takes over a course as it is told from its first move on; false if that is what is known.
    pub(super) fn follow(&mut self, told: Vec<Move>) -> bool {
        let Some(from) = told.iter().map(|made| made.at).min() else { return false };
        let before = self.moves.clone();
        self.moves.retain(|made| made.at < from);
        for Move { at, step } in told {
            self.note(at, step);
        }
        self.moves != before
    }

    pub(super) fn has_moves(&self) -> bool {
        !self.moves.is_empty()
    }

    pub(super) fn last_move_at(&self) -> EventTime {
        self.moves.last().map_or(EventTime::MIN, |last| last.at)
    }

    /// Takes over the moves of another visit that is the same one.
    pub(super) fn adopt_moves(&mut self, other: Visit) {
        for Move { at, step } in other.moves {
            self.note(at, step);
        }
    }

    /// Undoes the last move of this kind; false if there is none.
    pub(super) fn cancel(&mut self, what: Cancelled) -> bool {
        let is_it = |step: &Step| match what {
            Cancelled::Admission => true,
            Cancelled::Transfer => matches!(step, Step::Into(_)),
            Cancelled::Discharge => matches!(step, Step::Out(_)),
        };
        let Some(last) = self.moves.iter().rposition(|made| is_it(&made.step)) else {
            return false;
        };
        match what {
            Cancelled::Admission => self.moves.clear(),
            Cancelled::Transfer | Cancelled::Discharge => drop(self.moves.remove(last)),
        }
        true
    }

    pub(super) fn presence(&self, units: &Units) -> Presence {
        let into = |made: &Move| match &made.step {
            Step::Into(unit) if units.contain(unit) => Some(unit.clone()),
            _ => None,
        };
        let outside = self.moves.iter().rposition(|made| into(made).is_none());
        let run = self.moves.get(outside.map_or(0, |last| last + 1)..).unwrap_or_default();
        if let (Some(first), Some(last)) = (run.first(), run.last())
            && let (Some(first_unit), Some(unit)) = (into(first), into(last))
        {
            return Presence::In { since: first.at, first_unit, unit };
        }
        // The first move behind the last one into an ICU is the one that led out of it.
        let inside = self.moves.iter().rposition(|made| into(made).is_some());
        let out = inside.and_then(|last| self.moves.get(last + 1));
        Presence::Out(out.map(|made| match &made.step {
            Step::Out(disposition) => (made.at, *disposition),
            Step::Into(_) => (made.at, Disposition::Alive),
        }))
    }

    /// The stay that goes on.
    pub(super) fn open(&mut self) -> Option<&mut Episode> {
        self.stays.last_mut().filter(|stay| stay.left_at.is_none())
    }

    pub(super) fn is_open(&self) -> bool {
        self.stays.last().is_some_and(|stay| stay.left_at.is_none())
    }

    /// The id of the stay that would begin now.
    pub(super) fn next_stay(&self, id: VisitId) -> StayId {
        id.stay(self.stays.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn at(hours: i64) -> EventTime {
        EventTime::from_millis(0) + Span::hours(hours)
    }

    fn into(unit: &str) -> Step {
        Step::Into(unit.to_owned())
    }

    #[test]
    fn the_stretch_in_units_of_an_icu_is_the_stay_in_whatever_order_it_is_told() {
        let units = Units(vec!["MICU".into(), "SICU".into()]);
        let mut visit = Visit::default();
        assert_eq!(visit.presence(&units), Presence::Out(None));
        assert!(visit.note(at(9), into("SICU")));
        assert!(visit.note(at(1), into("ER")));
        assert!(visit.note(at(5), into("MICU")));
        assert!(!visit.note(at(5), into("MICU")));
        let (first_unit, unit) = ("MICU".to_owned(), "SICU".to_owned());
        assert_eq!(visit.presence(&units), Presence::In { since: at(5), first_unit, unit });
        assert!(visit.note(at(12), into("WARD")));
        assert!(visit.note(at(20), Step::Out(Disposition::Died)));
        assert_eq!(visit.presence(&units), Presence::Out(Some((at(12), Disposition::Alive))));
        assert!(visit.cancel(Cancelled::Transfer), "the one to the ward");
        assert_eq!(visit.presence(&units), Presence::Out(Some((at(20), Disposition::Died))));
        assert!(visit.cancel(Cancelled::Discharge));
        assert!(matches!(visit.presence(&units), Presence::In { .. }));
        assert!(!visit.cancel(Cancelled::Discharge));
        assert!(visit.cancel(Cancelled::Admission) && !visit.has_moves());
    }

    #[test]
    fn a_course_replaces_what_was_known_from_its_first_move_on() {
        let mut visit = Visit::default();
        visit.note(at(1), into("ER"));
        let told = |moves: &[(i64, Step)]| -> Vec<Move> {
            moves.iter().map(|(hour, step)| Move { at: at(*hour), step: step.clone() }).collect()
        };
        let out = Step::Out(Disposition::Alive);
        assert!(visit.follow(told(&[(5, into("MICU")), (9, into("WARD")), (20, out)])));
        assert_eq!(visit.moves.len(), 4);
        assert!(visit.follow(told(&[(5, into("MICU"))])), "neither the ward nor the discharge was");
        assert!(!visit.follow(told(&[(5, into("MICU"))])) && !visit.follow(Vec::new()));
        assert_eq!(visit.moves, told(&[(1, into("ER")), (5, into("MICU"))]));
    }

    #[test]
    fn moves_have_a_bound() {
        let mut visit = Visit::default();
        for n in 0..2 * MAX_MOVES as i64 {
            visit.note(at(n), into("MICU"));
        }
        assert_eq!(visit.moves.len(), MAX_MOVES);
        assert_eq!(visit.last_move_at(), at(2 * MAX_MOVES as i64 - 1));
    }
}
