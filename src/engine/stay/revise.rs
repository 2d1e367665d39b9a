//! When a fact that was used turns out wrong: corrections seal a new revision, retractions take
//! back every event that used the fact.

use std::collections::BTreeMap;

use super::seal::{Cut, Kind};
use super::{Context, Stay, Window};
use crate::engine::effect::Effect;
use crate::ids::{FactId, Ticket};
use crate::time::EventTime;

/// What a fact touched, and its place in the order of application.
#[derive(Clone, Copy)]
struct Touched {
    key: u64,
    seq: u32,
    /// The moment of the series; `None` for a film.
    at: Option<EventTime>,
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
        let Some(touched) = self.touched_by(replaces.key()) else { return };
        let stale = self.newest_that_used(&[touched], context.config.revise_windows);
        for window in stale {
            self.seal_again(&window, known_at, context, effects);
        }
    }

    /// `fact` never held, and what it had corrected neither: every event that used one of them is
    /// retracted, and the newest recomputed.
    pub(super) fn retract(
        &mut self,
        fact: FactId,
        seq: u32,
        known_at: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let corrected = self.corrected_by(fact);
        if corrected.is_empty() {
            return;
        }
        self.retractions.push((fact.key(), seq));
        let mut stale = self.newest_that_used(&corrected, usize::MAX);
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

    /// What the fact with this key put into the series; `None` for stay events and unknown ones.
    fn touched_by(&self, key: u64) -> Option<Touched> {
        if let Some(film) = self.films.iter().find(|film| film.key == key) {
            return Some(Touched { key, seq: film.seq, at: None });
        }
        let (at, seq) = self.history.applied(key)?;
        Some(Touched { key, seq, at: Some(at) })
    }

    /// The fact, what it corrected, what that corrected, and so on; and the charted copies of each.
    /// A correction has put what it replaced among the retractions under its own place in the
    /// order, a result its copies.
    fn corrected_by(&self, fact: FactId) -> Vec<Touched> {
        let mut chain: Vec<Touched> = Vec::new();
        let mut next = vec![fact.key()];
        while let Some(key) = next.pop() {
            let Some(touched) = self.touched_by(key) else { continue };
            if chain.iter().any(|known| known.key == touched.key) {
                continue;
            }
            chain.push(touched);
            // A film that was taken anew is another film: the one before may well be good.
            if touched.at.is_some() {
                let replaced = self.retractions.iter().filter(|(_, from)| *from == touched.seq);
                next.extend(replaced.map(|(key, _)| *key));
            }
        }
        chain
    }

    /// The windows whose newest revision used one of the facts, newest window first.
    fn newest_that_used(&self, touched: &[Touched], most: usize) -> Vec<Window> {
        let mut last_words: BTreeMap<EventTime, &Window> = BTreeMap::new();
        for window in &self.windows {
            last_words.insert(window.t, window);
        }
        let has_used = |window: &Window| touched.iter().any(|t| self.has_used(window, *t));
        let used = |w: &&Window| w.kind == Kind::Prediction && has_used(w);
        last_words.into_values().rev().filter(used).take(most).cloned().collect()
    }

    /// Whether the cut of this window held the fact: one that was applied after the window had been
    /// sealed did not reach it, nor did one that had been replaced before.
    fn has_used(&self, window: &Window, touched: Touched) -> bool {
        let Touched { key, seq, at } = touched;
        let Some(at) = at else {
            let film = self.film_as_of(window.t, window.seq_below);
            return film.is_some_and(|film| film.key == key);
        };
        let gone = |&(k, from): &(u64, u32)| k == key && from < window.seq_below;
        seq < window.seq_below
            && (window.series.from..=window.t).contains(&at)
            && !self.retractions.iter().any(gone)
    }

    pub(super) fn ticket_of(&self, window: &Window) -> Ticket {
        Ticket { stay: self.id, t: window.t, revision: window.revision }
    }
}
