//! A task: one partition's stays, its watermark, and what time will do next.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Effect, Fate};
use super::identity::{Identity, Maker};
use super::input::Input;
use super::request::PredictionRequest;
use super::stay::{Context, Stay, WindowState};
use super::watermark::Watermark;
use crate::config::EngineConfig;
use crate::ids::{Digest, FeedId, StayId, Ticket};
use crate::time::EventTime;

/// The engine of one partition. `step` is total and reads nothing but its arguments and this state.
#[derive(Clone, Debug)]
pub struct Task {
    config: EngineConfig,
    identity: Identity,
    watermark: Watermark,
    stays: BTreeMap<StayId, Stay>,
    /// When time will next change which stay. Derived from the stays, never stored.
    due: BTreeSet<(EventTime, StayId)>,
    /// Stays that changed since the last commit.
    dirty: BTreeSet<StayId>,
    /// Stays that expired since the last commit.
    expired: BTreeSet<StayId>,
    /// Facts of all stays that the watermark has not reached. Derived from the stays.
    n_ahead: usize,
}

impl Task {
    pub fn new(config: EngineConfig, identity: Identity) -> Self {
        let watermark = Watermark::new(config.feeds.len());
        Task {
            config,
            identity,
            watermark,
            stays: BTreeMap::new(),
            due: BTreeSet::new(),
            dirty: BTreeSet::new(),
            expired: BTreeSet::new(),
            n_ahead: 0,
        }
    }

    /// Takes back what a store held.
    pub fn restore(&mut self, watermark: Watermark, stays: impl IntoIterator<Item = Stay>) {
        self.watermark = watermark;
        self.stays = stays.into_iter().map(|stay| (stay.id, stay)).collect();
        self.schedule();
    }

    /// The state that `earlier` made is gone on with under this task's own identity.
    pub fn hand_over(&mut self, earlier: Maker) {
        for stay in self.stays.values_mut() {
            stay.hand_over(earlier, &self.config.alerts);
        }
        self.dirty.extend(self.stays.keys());
        self.schedule();
    }

    fn schedule(&mut self) {
        self.n_ahead = self.stays.values().map(Stay::n_ahead).sum();
        self.due.clear();
        for stay in self.stays.values() {
            if let Some(at) = stay.next_due(&self.config) {
                self.due.insert((at, stay.id));
            }
        }
    }

    /// One input in, its effects appended.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Fact { fact, origin } => {
                let stay = fact.stay;
                self.on_stay(stay, effects, |stay, context, effects| {
                    stay.receive(fact, origin, context, effects);
                });
            }
            Input::Malformed { origin, rejection } => {
                let fate = Fate::Rejected(rejection);
                effects.push(Effect::Decided { origin, stay: None, fate });
            }
            Input::Mark(mark) => self.move_time(|watermark| watermark.mark(mark), effects),
            // Nothing is missing from a window without what people did, since it holds none of it.
            Input::DerivedMark(mark) if self.is_of_people(mark.feed) => {
                self.move_time(|watermark| watermark.mark(mark), effects);
            }
            Input::DerivedMark(mark) => {
                self.move_time(|watermark| watermark.derive(mark), effects);
            }
            Input::Answer(answer) => {
                self.on_known(answer.ticket, effects, |stay, context, effects| {
                    stay.answer(answer, context, effects);
                });
            }
            Input::Deadline(ticket) => self.on_known(ticket, effects, |stay, context, effects| {
                stay.deadline(ticket, context, effects);
            }),
        }
        // An answer can be what a stay's expiry waited for.
        self.fire(self.watermark.time(), effects);
    }

    /// The question for a sealed window, without the film's pixels; `None` if there is none.
    pub fn request(&self, ticket: Ticket) -> Option<PredictionRequest> {
        self.stays.get(&ticket.stay)?.request(ticket, self.context())
    }

    /// Whether a sealed window still needs its answer.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        let window = self.stays.get(&ticket.stay).and_then(|stay| stay.window_of(ticket));
        window.is_some_and(|window| window.state == WindowState::Open)
    }

    /// The film that a sealed window was cut with.
    pub fn film_of(&self, ticket: Ticket) -> Option<Digest> {
        let window = self.stays.get(&ticket.stay)?.window_of(ticket)?;
        window.film.map(|film| film.digest)
    }

    /// The digest of what a sealed window was cut from.
    pub fn input_digest_of(&self, ticket: Ticket) -> Option<Digest> {
        let window = self.stays.get(&ticket.stay)?.window_of(ticket)?;
        Some(window.input_digest)
    }

    /// Facts of all stays that the watermark has not reached.
    pub fn n_ahead(&self) -> usize {
        self.n_ahead
    }

    /// Whether anything changed since [`Task::take_dirty`].
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || !self.expired.is_empty()
    }

    /// Every sealed window without an answer: what to ask for after a restart.
    pub fn unanswered(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.stays.values().flat_map(|stay| {
            stay.unanswered().map(|window| Ticket {
                stay: stay.id,
                t: window.t,
                revision: window.revision,
            })
        })
    }

    pub fn stays(&self) -> &BTreeMap<StayId, Stay> {
        &self.stays
    }

    pub fn stay_mut(&mut self, id: StayId) -> Option<&mut Stay> {
        self.stays.get_mut(&id)
    }

    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The stays that changed, and those that expired, since this was last asked.
    pub fn take_dirty(&mut self) -> (BTreeSet<StayId>, BTreeSet<StayId>) {
        (std::mem::take(&mut self.dirty), std::mem::take(&mut self.expired))
    }

    fn is_of_people(&self, feed: FeedId) -> bool {
        let feed = self.config.feeds.get(usize::from(feed.0));
        feed.is_some_and(|feed| feed.topic.is_of_people())
    }

    fn context(&self) -> Context<'_> {
        Context { config: &self.config, identity: &self.identity, watermark: &self.watermark }
    }

    fn move_time(&mut self, raise: impl FnOnce(&mut Watermark), effects: &mut Vec<Effect>) {
        let before = self.watermark.time();
        raise(&mut self.watermark);
        let now = self.watermark.time();
        if now > before {
            effects.push(Effect::Advanced(now));
        }
    }

    /// Lets time change every stay that is due, one stay at a time.
    fn fire(&mut self, now: EventTime, effects: &mut Vec<Effect>) {
        while let Some(&(at, id)) = self.due.first() {
            if at > now {
                return;
            }
            self.on_stay(id, effects, |stay, context, effects| stay.advance(context, effects));
        }
    }

    /// Only a stay that exists can have asked.
    fn on_known(
        &mut self,
        ticket: Ticket,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Stay, Context<'_>, &mut Vec<Effect>),
    ) {
        if self.stays.contains_key(&ticket.stay) {
            self.on_stay(ticket.stay, effects, act);
        } else {
            effects.push(Effect::Unasked(ticket));
        }
    }

    fn on_stay(
        &mut self,
        id: StayId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Stay, Context<'_>, &mut Vec<Effect>),
    ) {
        let context =
            Context { config: &self.config, identity: &self.identity, watermark: &self.watermark };
        let stay = self.stays.entry(id).or_insert_with(|| Stay::new(id));
        if let Some(at) = stay.next_due(&self.config) {
            self.due.remove(&(at, id));
        }
        let (already, before) = (effects.len(), stay.n_ahead());
        act(stay, context, effects);
        // What expires hands them all to its successor.
        self.n_ahead = (self.n_ahead + stay.n_ahead()).saturating_sub(before);
        self.dirty.insert(id);
        let expired = effects[already..].contains(&Effect::Expired(id));
        if expired {
            self.expired.insert(id);
            match stay.successor() {
                Some(next) => *stay = next,
                None => {
                    self.stays.remove(&id);
                    self.dirty.remove(&id);
                    return;
                }
            }
        }
        if let Some(at) = stay.next_due(&self.config) {
            self.due.insert((at, id));
        }
    }
}
