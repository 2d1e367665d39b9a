//! When a fact that was used turns out wrong: corrections seal a new revision, retractions take
//! back every event that used the fact.

use std::collections::BTreeMap;

use super::seal::{Cut, Kind};
use super::{Context, Stay, Window};
use crate::engine::effect::Effect;
use crate::ids::{FactId, Ticket};
use crate::time::EventTime;

/// What a fact touched: the film with this key, or a moment of the series, to which it was applied
/// in this place of the order.
#[derive(Clone, Copy)]
enum Touched {
    Row { key: u64, at: EventTime, seq: u32 },
    Film { key: u64 },
}

impl Stay {
    /// `replaces` no longer holds. The newest sealed windows that used it are sealed again; older
    /// ones stay as they were made, for they said what was known then.
    pub(super) fn correct(
        &mut self,
        replaces: FactId,
        seq: u32,
        known_at: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        // An original that comes after its correction does not hold either.
        self.retractions.push((replaces.key(), seq));
        // A correction whose original never came is the only value there is, and is used as such.
        let Some(touched) = self.touched_by(replaces, context) else { return };
        let stale = self.newest_that_used(touched, context.config.revise_windows);
        for window in stale {
            self.seal_again(&window, known_at, context, effects);
        }
    }

    /// `fact` never held: every event that used it is retracted, and the newest recomputed.
    pub(super) fn retract(
        &mut self,
        fact: FactId,
        seq: u32,
        known_at: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(touched) = self.touched_by(fact, context) else { return };
        self.retractions.push((fact.key(), seq));
        let mut stale = self.newest_that_used(touched, usize::MAX);
        if stale.is_empty() {
            return;
        }
        let newest = stale.remove(0);
        for window in stale.into_iter().rev() {
            self.take_back(&window, known_at, context, effects);
        }
        self.seal_again(&newest, known_at, context, effects);
    }

    fn seal_again(
        &mut self,
        window: &Window,
        known_at: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let cut = Cut {
            t: window.t,
            revision: window.revision + 1,
            known_at,
            triggers: window.triggers,
            admitted: window.admitted,
        };
        self.seal(cut, context, effects);
    }

    /// What the fact with this id put into the series; `None` for stay events and unknown ids.
    fn touched_by(&self, fact: FactId, context: Context<'_>) -> Option<Touched> {
        let key = fact.key();
        if self.films.iter().any(|film| film.key == key) {
            return Some(Touched::Film { key });
        }
        self.applied(key, context).map(|(at, seq)| Touched::Row { key, at, seq })
    }

    /// The windows whose newest revision used the fact, newest window first.
    fn newest_that_used(&self, touched: Touched, most: usize) -> Vec<Window> {
        let mut last_words: BTreeMap<EventTime, &Window> = BTreeMap::new();
        for window in &self.windows {
            last_words.insert(window.t, window);
        }
        let used = |w: &&Window| w.kind == Kind::Prediction && self.has_used(w, touched);
        last_words.into_values().rev().filter(used).take(most).cloned().collect()
    }

    /// Whether the cut of this window held the fact: one that was applied after the window had been
    /// sealed did not reach it, nor did one that had been replaced before.
    fn has_used(&self, window: &Window, touched: Touched) -> bool {
        match touched {
            Touched::Row { key, at, seq } => {
                let gone = |&(k, from): &(u64, u32)| k == key && from < window.seq_below;
                seq < window.seq_below
                    && (window.series.from..=window.t).contains(&at)
                    && !self.retractions.iter().any(gone)
            }
            Touched::Film { key } => {
                self.film_as_of(window.t, window.seq_below).is_some_and(|film| film.key == key)
            }
        }
    }

    pub(super) fn ticket_of(&self, window: &Window) -> Ticket {
        Ticket { stay: self.id, t: window.t, revision: window.revision }
    }
}
