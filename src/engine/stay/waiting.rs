//! Facts that wait for the watermark, and facts that wait for an admission.

use serde::{Deserialize, Serialize};

use super::{Context, Stay};
use crate::engine::effect::{Effect, Fate};
use crate::event::{Fact, FactBody, Reason, Rejection};
use crate::ids::{Digest, FactId, Origin, Topic};
use crate::time::{EventTime, Span};

/// The order in which facts are applied. Two facts that differ in nothing above `tie` are the same
/// fact sent twice; `tie` and `origin` only make the order total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Order {
    pub effective: EventTime,
    topic: Topic,
    id: FactId,
    tie: u64,
    origin: Origin,
}

/// A fact whose turn has not come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub fact: Fact,
    pub origin: Origin,
    /// Its own feed's mark, if that had already passed `available_at` when the fact was read.
    pub passed_by: Option<EventTime>,
}

impl Waiting {
    /// The film that the fact brings.
    pub(super) fn film(&self) -> Option<Digest> {
        match self.fact.body {
            FactBody::Filmed(film) | FactBody::FilmCorrected { film, .. } => Some(film.digest),
            _ => None,
        }
    }
}

impl Stay {
    /// Takes a fact from its topic. Nothing is decided yet, except that a stay whose waiting list
    /// is full rejects it.
    pub fn receive(
        &mut self,
        fact: Fact,
        origin: Origin,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        if self.n_waiting() >= context.config.max_waiting {
            let detail = format!("{} facts of this stay wait already", self.n_waiting());
            self.reject(origin, Rejection::new(Reason::TooManyWaiting, detail), effects);
            return;
        }
        let mark = context.watermark.mark_of(fact.feed);
        let passed_by = (mark >= fact.available_at).then_some(mark);
        // One millisecond behind the mark: whether the watermark had reached the mark yet depends
        // on the other feeds, and must not be seen in what a window holds.
        let effective = passed_by.map_or(fact.available_at, |mark| mark + Span::from_millis(1));
        let order =
            Order { effective, topic: origin.topic, id: fact.id, tie: tie_of(&fact), origin };
        self.waiting.insert(order, Waiting { fact, origin, passed_by });
    }

    /// Rejects the oldest orphan: no admission came within `lookback`. True if it was the last, and
    /// the stay has expired.
    pub(super) fn give_up_orphan(&mut self, effects: &mut Vec<Effect>) -> bool {
        if let Some((_, orphan)) = self.orphans.pop_first() {
            self.films_decided.extend(orphan.film());
            let detail = "no admission of this stay became known within the lookback";
            self.reject(orphan.origin, Rejection::new(Reason::NoAdmission, detail), effects);
        }
        // What waits for a later time goes on in a stay of its own, whether it was read or not.
        let is_last = self.orphans.is_empty();
        if is_last {
            effects.push(Effect::Expired(self.id));
        }
        is_last
    }

    pub(super) fn reject(&self, origin: Origin, rejection: Rejection, effects: &mut Vec<Effect>) {
        self.decide(origin, Fate::Rejected(rejection), effects);
    }

    pub(super) fn decide(&self, origin: Origin, fate: Fate, effects: &mut Vec<Effect>) {
        effects.push(Effect::Decided { origin, stay: Some(self.id), fate });
    }
}

/// Orders records that claim the same id but differ, so that arrival order cannot matter.
fn tie_of(fact: &Fact) -> u64 {
    let content = match &fact.body {
        FactBody::Observed(observation) | FactBody::Corrected { observation, .. } => {
            observation.value().to_bits()
        }
        FactBody::Filmed(film) | FactBody::FilmCorrected { film, .. } => first_8(&film.digest.0),
        FactBody::Retracted { fact } => fact.key(),
        FactBody::Stay(_) => 0,
    };
    content.rotate_left(17) ^ fact.observed_at.as_millis() as u64
}

fn first_8(bytes: &[u8; 32]) -> u64 {
    bytes.iter().take(8).fold(0, |n, &byte| n << 8 | u64::from(byte))
}
