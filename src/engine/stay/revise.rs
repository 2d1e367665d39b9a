//! When a fact that was used turns out wrong: corrections seal a new revision, retractions take
//! back every event that used the fact.

use std::collections::BTreeMap;

use super::seal::{Cut, Kind};
use super::{Context, Stay, Window};
use crate::engine::effect::Effect;
use crate::ids::{Digest, FactId, Ticket};
use crate::time::EventTime;

/// What a fact touched: a moment of the series, or a film.
#[derive(Clone, Copy)]
enum Touched {
    Row(EventTime),
    Film(Digest),
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
        // A correction whose original never came is the only value there is, and is used as such.
        let Some(touched) = self.touched_by(replaces, context) else { return };
        self.retractions.push((replaces.key(), seq));
        let stale = self.newest_that_used(touched, seq, context.config.revise_windows);
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
        let mut stale = self.newest_that_used(touched, seq, usize::MAX);
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
        let film = self.films.iter().find(|film| film.key == key);
        film.map(|film| Touched::Film(film.film.digest))
            .or_else(|| self.found(key, context).map(Touched::Row))
    }

    /// The windows whose newest revision used the fact, newest window first.
    fn newest_that_used(&self, touched: Touched, seq: u32, most: usize) -> Vec<Window> {
        let mut last_words: BTreeMap<EventTime, &Window> = BTreeMap::new();
        for window in &self.windows {
            last_words.insert(window.t, window);
        }
        let used = |window: &&Window| window.kind == Kind::Prediction && window.used(touched, seq);
        last_words.into_values().rev().filter(used).take(most).cloned().collect()
    }

    pub(super) fn ticket_of(&self, window: &Window) -> Ticket {
        Ticket { stay: self.id, t: window.t, revision: window.revision }
    }
}

impl Window {
    /// Whether a fact that is being replaced at `seq` was in this cut.
    fn used(&self, touched: Touched, seq: u32) -> bool {
        self.seq_below <= seq
            && match touched {
                Touched::Row(at) => self.series.from <= at && at <= self.t,
                Touched::Film(digest) => self.film.is_some_and(|film| film.digest == digest),
            }
    }
}
