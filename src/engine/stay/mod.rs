//! The state of one stay. Every method touches this stay and nothing else.
//!
//! Facts wait in `waiting` until the watermark passes them, and are then applied in the order
//! (effective available time, topic rank, event id), so that no interleaving of feeds can be seen.
//! Applied facts are append-only: each has the stay's next sequence number, and a sealed window is
//! a cut below such a number.

mod answer;
mod apply;
mod handover;
mod revise;
mod seal;
mod shadow;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::alert::{Alerting, Voice};
use super::effect::Effect;
use super::identity::Identity;
use super::schedule::next_window;
use super::watermark::Watermark;
use super::window::is_closed;
use crate::config::EngineConfig;
use crate::event::Film;
use crate::event::risk::{StayEnd, Triggers};
use crate::ids::{Digest, StayId};
use crate::series::{History, StaticFacts};
use crate::time::EventTime;

use handover::Era;
pub use handover::Heritage;
pub use seal::{GENERATION_BINS_MAX, GENERATION_FLOOR, PREDICTION_BINS};
pub use seal::{Kind, Window, WindowState};
use waiting::{Order, Waiting};

/// What every step is given besides the stay: nothing here changes during a step.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub config: &'a EngineConfig,
    pub identity: &'a Identity,
    pub watermark: &'a Watermark,
}

/// One stay: what is known, what waits, what was sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    pub id: StayId,
    phase: Phase,
    /// Facts that the watermark has not reached.
    waiting: BTreeMap<Order, Waiting>,
    /// Facts of a stay whose admission is not known yet.
    orphans: BTreeMap<Order, Waiting>,
    /// Sequence number of the next fact to be applied.
    next_seq: u32,
    /// Keys of the applied facts that the history does not hold: films and stay events.
    others_seen: BTreeSet<u64>,
    films: Vec<HeldFilm>,
    /// (fact key, sequence number from which it does not hold any more).
    retractions: Vec<(u64, u32)>,
    /// Films that arrived and whose windows are not sealed yet.
    films_due: BTreeSet<EventTime>,
    /// No window at or before this time will be sealed any more, except as a revision.
    sealed_to: EventTime,
    last_fact_at: EventTime,
    /// Stored apart: it grows with every window and changes only with one.
    #[serde(skip)]
    alerting: Alerting,
    /// Every sealed window in the order of sealing. Stored apart, one value each.
    #[serde(skip)]
    windows: Vec<Window>,
    /// Places in `windows` that changed since the last commit.
    #[serde(skip)]
    windows_changed: BTreeSet<usize>,
    /// Stored apart, one value an hour.
    #[serde(skip)]
    history: History,
    /// Films of the facts that have stopped waiting since the last commit.
    #[serde(skip)]
    films_decided: BTreeSet<Digest>,
    /// Who let out the events of which windows, if not whoever speaks now. Stored with the head,
    /// where there is something to store.
    #[serde(skip)]
    eras: Vec<Era>,
}

/// What of a stay must be stored again, besides its head.
pub struct Changes<'a> {
    pub alerting: Option<&'a Alerting>,
    pub windows: Vec<&'a Window>,
    /// Hours whose chunk changed; one that the history has no more was forgotten.
    pub hours: Vec<i64>,
    pub history: &'a History,
    /// Films that came with a fact that was not used, and that no other fact speaks of.
    pub films_unused: BTreeSet<Digest>,
}

/// Where the stay is in its course.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Phase {
    /// Facts have come but no admission.
    Expected,
    Open(Admitted),
    /// No fact for `silent_after`: windows stop until one comes.
    Silent(Admitted),
    Ended {
        admitted: Admitted,
        at: EventTime,
        known_at: EventTime,
        how: StayEnd,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    pub at: EventTime,
    pub statics: StaticFacts,
}

/// A film of this stay, with its place in the order of application.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct HeldFilm {
    film: Film,
    key: u64,
    seq: u32,
    acquired_at: EventTime,
    available_at: EventTime,
}

/// The next thing that time will do to a stay.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Due {
    Apply,
    /// The oldest orphan has waited for an admission for `lookback`.
    GiveUpOrphan,
    End(StayEnd),
    Seal(Triggers),
    /// What a person did takes effect, or an alert without a response is passed on.
    Alerts,
    Expire,
}

impl Stay {
    pub fn new(id: StayId) -> Self {
        Stay {
            id,
            phase: Phase::Expected,
            waiting: BTreeMap::new(),
            orphans: BTreeMap::new(),
            next_seq: 0,
            others_seen: BTreeSet::new(),
            films: Vec::new(),
            retractions: Vec::new(),
            films_due: BTreeSet::new(),
            sealed_to: EventTime::MIN,
            last_fact_at: EventTime::MIN,
            alerting: Alerting::default(),
            windows: Vec::new(),
            windows_changed: BTreeSet::new(),
            history: History::default(),
            films_decided: BTreeSet::new(),
            eras: Vec::new(),
        }
    }

    /// What begins where this stay expires: the facts that wait for a later time, if there are any.
    /// Nobody knows yet whose they are.
    pub fn successor(&mut self) -> Option<Self> {
        let waiting = std::mem::take(&mut self.waiting);
        (!waiting.is_empty()).then(|| Stay { waiting, ..Stay::new(self.id) })
    }

    /// The films that this stay holds or that a waiting fact speaks of.
    pub fn film_digests(&self) -> BTreeSet<Digest> {
        let held = self.films.iter().map(|film| film.film.digest);
        let waiting = self.waiting.values().chain(self.orphans.values());
        held.chain(waiting.filter_map(Waiting::film)).collect()
    }

    /// Puts a stay together from its stored parts. The windows may come in any order.
    pub fn restore(mut self, mut windows: Vec<Window>, history: History) -> Self {
        windows.sort_by_key(|window| window.number);
        self.windows = windows;
        self.history = history;
        self
    }

    /// Takes back what [`Changes`] said of its alerts; what was inherited stays.
    pub fn restore_alerting(&mut self, alerting: Alerting) {
        let inherited = std::mem::take(&mut self.alerting.inherited);
        self.alerting = alerting;
        self.alerting.inherited = inherited;
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes<'_> {
        let changed = std::mem::take(&mut self.windows_changed);
        let hours = self.history.take_dirty();
        let decided = std::mem::take(&mut self.films_decided);
        let films_unused = &decided - &self.film_digests();
        let windows = changed.into_iter().filter_map(|index| self.windows.get(index)).collect();
        let is_changed = self.alerting.take_changed();
        let alerting = is_changed.then_some(&self.alerting);
        Changes { alerting, windows, hours, history: &self.history, films_unused }
    }

    /// When time will next change this stay, if the watermark gets there.
    pub fn next_due(&self, config: &EngineConfig) -> Option<EventTime> {
        self.due(config).map(|(at, _)| at)
    }

    /// Does everything that is due up to the watermark, in order of time.
    pub fn advance(&mut self, context: Context<'_>, effects: &mut Vec<Effect>) {
        while let Some((at, due)) = self.due(context.config) {
            if !is_closed(at, context.watermark.time()) {
                return;
            }
            match due {
                Due::Apply => self.apply_next(context, effects),
                Due::GiveUpOrphan => {
                    if self.give_up_orphan(effects) {
                        return;
                    }
                }
                Due::End(how) => self.end(at, at, how, context, effects),
                Due::Seal(triggers) => self.seal_due(at, triggers, context, effects),
                Due::Alerts => self.alerting.advance(at, self.voice(context), effects),
                Due::Expire => {
                    effects.push(Effect::Expired(self.id));
                    return;
                }
            }
        }
    }

    /// Windows that were sealed and have no answer, oldest first: what to ask for after a restart.
    pub fn unanswered(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| window.state == WindowState::Open)
    }

    fn voice<'a>(&self, context: Context<'a>) -> Voice<'a> {
        Voice::new(self.id, context.identity, context.config)
    }

    /// Adds a sealed window at the end of the order of sealing.
    fn push_window(&mut self, window: Window) {
        let index = self.windows.len();
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        self.windows.push(Window { number, ..window });
        self.windows_changed.insert(index);
    }

    fn set_state(&mut self, index: usize, state: WindowState) {
        if let Some(window) = self.windows.get_mut(index) {
            window.state = state;
            self.windows_changed.insert(index);
        }
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Facts that the watermark has not reached.
    pub fn n_ahead(&self) -> usize {
        self.waiting.len()
    }

    pub fn n_waiting(&self) -> usize {
        self.waiting.len() + self.orphans.len() + self.alerting.n_waiting()
    }

    /// How the stay ended, if it has.
    pub fn ended(&self) -> Option<StayEnd> {
        match self.phase {
            Phase::Ended { how, .. } => Some(how),
            _ => None,
        }
    }

    pub fn admitted(&self) -> Option<Admitted> {
        match self.phase {
            Phase::Expected => None,
            Phase::Open(admitted) | Phase::Silent(admitted) | Phase::Ended { admitted, .. } => {
                Some(admitted)
            }
        }
    }

    /// The earliest thing due. At one time a fact comes before an end, and an end before a window:
    /// a window at t holds the facts available by t, and a stay that ended has no more windows.
    /// What people did comes last: at one time the prediction was first.
    fn due(&self, config: &EngineConfig) -> Option<(EventTime, Due)> {
        let apply = self.waiting.first_key_value().map(|(order, _)| (order.effective, Due::Apply));
        let course = match self.phase {
            Phase::Expected => self
                .orphans
                .first_key_value()
                .map(|(order, _)| (order.effective + config.lookback, Due::GiveUpOrphan)),
            Phase::Open(admitted) => self.due_while_open(admitted, config),
            // Nobody may ever say how it ended, and it must not be kept for ever.
            Phase::Silent(admitted) => {
                Some((self.longest_at(admitted, config) + config.keep, Due::Expire))
            }
            Phase::Ended { known_at, .. } => Some((known_at + config.keep, Due::Expire)),
        };
        let first = match (apply, course) {
            // A question that is still open is answered first: nothing sealed is ever lost. What
            // comes after the expiry is no fact of this stay meanwhile either.
            (apply, Some((at, Due::Expire))) if self.unanswered().next().is_some() => {
                apply.filter(|apply| apply.0 <= at)
            }
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        };
        match (first, self.alerts_due(config)) {
            // Nobody is left unheard by a stay that expires.
            (Some((at, Due::Expire)), Some(alerts)) if alerts <= at => Some((alerts, Due::Alerts)),
            (Some(first), Some(at)) if first.0 <= at => Some(first),
            (_, Some(at)) => Some((at, Due::Alerts)),
            (first, None) => first,
        }
    }

    /// An open question is answered first: its answer may raise or end the alert.
    fn alerts_due(&self, config: &EngineConfig) -> Option<EventTime> {
        let at = self.alerting.next_due(&config.alerts)?;
        self.unanswered().next().is_none().then_some(at)
    }

    fn due_while_open(
        &self,
        admitted: Admitted,
        config: &EngineConfig,
    ) -> Option<(EventTime, Due)> {
        let silent = (self.last_fact_at + config.silent_after, Due::End(StayEnd::Silent));
        let longest = (self.longest_at(admitted, config), Due::End(StayEnd::MaxStay));
        let end = if longest.0 < silent.0 { longest } else { silent };
        let window = next_window(config, admitted.at, &self.films_due, self.sealed_to)
            .map(|(t, triggers)| (t, Due::Seal(triggers)));
        match window {
            Some(window) if window.0 < end.0 => Some(window),
            _ => Some(end),
        }
    }

    /// When `max_stay` is over. An admission that became known after that cannot end the stay
    /// before it was known.
    fn longest_at(&self, admitted: Admitted, config: &EngineConfig) -> EventTime {
        (admitted.at + config.max_stay).max(self.last_fact_at)
    }
}
