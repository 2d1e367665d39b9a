//! What becomes of the windows that used a fact which turns out wrong.

use std::collections::BTreeMap;

use nowcxr::engine::Outcome;
use nowcxr::event::FactBody;
use nowcxr::ids::FactId;
use nowcxr::time::EventTime;

use super::super::window::{Kind, State, Window};
use super::{Desk, Stay};

impl Stay {
    fn make_void(&mut self, id: FactId) {
        self.void.insert(id);
        self.applied.iter_mut().filter(|a| a.fact.id == id).for_each(|a| a.void = true);
    }

    /// The fact, all that it corrected, and the copies of each.
    fn corrected_by(&self, id: FactId) -> Vec<FactId> {
        let mut ids = Vec::new();
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            if ids.contains(&id) || !self.touches(id) {
                continue;
            }
            ids.push(id);
            next.extend(self.copies.get(&id).into_iter().flatten());
            let fact = self.applied.iter().rev().find(|a| a.fact.id == id);
            next.extend(fact.and_then(|a| match a.fact.body {
                FactBody::Corrected { replaces, .. } => Some(replaces),
                _ => None,
            }));
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

    pub(super) fn correct(&mut self, id: FactId, known_at: EventTime, desk: &mut Desk<'_>) {
        let touches = self.touches(id);
        let stale = self.used_by(&[id]);
        self.make_void(id);
        if !touches {
            return;
        }
        for window in stale.into_iter().take(desk.config.revise_windows) {
            self.seal_again(&window, known_at, desk);
        }
    }

    pub(super) fn retract(&mut self, id: FactId, known_at: EventTime, desk: &mut Desk<'_>) {
        if !self.touches(id) {
            return;
        }
        let stale = self.used_by(&self.corrected_by(id));
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
}
