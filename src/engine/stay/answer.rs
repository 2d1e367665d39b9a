//! From answers to risk events. A stay's answers take effect in the order of sealing.

use std::collections::BTreeMap;

use super::seal::Kind;
use super::{Context, Stay, Window, WindowState};
use crate::engine::alert::Point;
use crate::engine::effect::{Effect, View};
use crate::engine::request::{Answer, Outcome, PredictionRequest};
use crate::event::risk::{Doubt, FilmAge, LastObserved, RiskEvent, Scores, Status};
use crate::ids::{Ticket, VariableId};
use crate::series::suspicion;
use crate::time::{EventTime, Span};

/// Fewer variables than this in the series, and the prediction says so.
const FEW_VARIABLES: u32 = 6;
/// No training pair of the reference lies further apart (`reference/ddl-cxr.md` 1.7).
const FILM_AGE_MAX: Span = Span::hours(70);
/// The age of a stay at which the reference defines its prediction (`reference/ddl-cxr.md` 4.1).
const LANDMARK: Span = Span::hours(48);

impl Stay {
    /// Takes an answer. The first one for a sealed revision is the record.
    pub fn answer(&mut self, answer: Answer, context: Context<'_>, effects: &mut Vec<Effect>) {
        let ticket = answer.ticket;
        if answer.epoch != context.identity.epoch {
            effects.push(Effect::Unasked(ticket));
            return;
        }
        let Some(index) = self.index_of(ticket) else {
            effects.push(Effect::Unasked(ticket));
            return;
        };
        match self.windows[index].state {
            WindowState::Open => {
                self.set_state(index, WindowState::Held(Box::new(answer.outcome)));
                self.emit_ready(context, effects);
            }
            WindowState::Overdue => self.answer_late(index, answer.outcome, context, effects),
            WindowState::Held(_) | WindowState::Answered => {
                effects.push(Effect::Unasked(ticket));
            }
        }
    }

    /// No answer came in time: the event leaves unscored.
    pub fn deadline(&mut self, ticket: Ticket, context: Context<'_>, effects: &mut Vec<Effect>) {
        let Some(index) = self.index_of(ticket) else { return };
        if self.windows[index].state != WindowState::Open {
            return;
        }
        let outcome = Outcome::Unscored(DEADLINE_PASSED.to_owned());
        self.set_state(index, WindowState::Held(Box::new(outcome)));
        self.emit_ready(context, effects);
    }

    fn index_of(&self, ticket: Ticket) -> Option<usize> {
        self.windows.iter().rposition(|w| w.t == ticket.t && w.revision == ticket.revision)
    }

    /// Emits every answered window that no unanswered one precedes.
    fn emit_ready(&mut self, context: Context<'_>, effects: &mut Vec<Effect>) {
        for index in 0..self.windows.len() {
            match &self.windows[index].state {
                WindowState::Open => return,
                WindowState::Held(outcome) => {
                    let outcome = Outcome::clone(outcome);
                    let overdue = outcome == Outcome::Unscored(DEADLINE_PASSED.to_owned());
                    let point = self.emit(&self.windows[index], outcome, context, effects);
                    let state = if overdue { WindowState::Overdue } else { WindowState::Answered };
                    self.set_state(index, state);
                    self.alerting.risk(point, self.voice(context), effects);
                }
                WindowState::Answered | WindowState::Overdue => {}
            }
        }
    }

    /// The answer to a window that had to leave unscored: its next revision, over the same cut.
    fn answer_late(
        &mut self,
        index: usize,
        outcome: Outcome,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        self.set_state(index, WindowState::Answered);
        let mut window = self.windows[index].clone();
        let newest = self.windows.iter().filter(|w| w.t == window.t).map(|w| w.revision).max();
        if newest != Some(window.revision) {
            effects.push(Effect::Unasked(self.ticket_of(&window)));
            return;
        }
        window.revision += 1;
        let point = self.emit(&window, outcome, context, effects);
        self.push_window(window);
        self.alerting.risk(point, self.voice(context), effects);
    }

    /// Adds a revision that asks the model nothing; its event leaves when its turn comes.
    pub(super) fn push_unasked(
        &mut self,
        window: Window,
        kind: Kind,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let reason = match kind {
            Kind::Prediction => return,
            Kind::Closing(_) => "stay_ended",
            Kind::Retraction => "retracted",
        };
        let state = WindowState::Held(Box::new(Outcome::Unscored(reason.to_owned())));
        self.push_window(Window { kind, state, ..window });
        self.emit_ready(context, effects);
    }

    /// Takes back what was said of a window, as its next revision.
    pub(super) fn take_back(
        &mut self,
        window: &Window,
        known_at: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let revision = window.revision + 1;
        let retraction = Window { revision, known_at, seq_below: self.next_seq, ..window.clone() };
        self.push_unasked(retraction, Kind::Retraction, context, effects);
    }

    /// The event leaves; what the alert policy takes from it is returned.
    fn emit(
        &self,
        window: &Window,
        outcome: Outcome,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> Point {
        let mut event = self.event(window, context);
        let (status, scores) = match outcome {
            Outcome::Scored(scores) => (Status::Scored, Some(scores)),
            Outcome::Degraded(scores, reason) => (Status::Degraded { reason }, Some(scores)),
            Outcome::Unscored(reason) => (Status::Unscored { reason }, None),
        };
        event.validity = doubts(window, &status, scores.as_ref(), context);
        event.status = if window.kind == Kind::Retraction { Status::Retracted } else { status };
        event.scores = scores;
        if let Kind::Closing(how) = window.kind {
            event.stay_end = Some(how);
        }
        let given = self.given(window, context);
        event.last_observed = last_observed(given.as_ref(), context);
        let point = Point::of(&event, window.admitted.at, &context.config.alerts);
        let view = View { event: event.clone(), given };
        effects.push(Effect::Risk(Box::new(event)));
        if self.is_newest_said(window) {
            effects.push(Effect::View(Box::new(view)));
        }
        point
    }

    /// What a window was cut from.
    fn given(&self, window: &Window, context: Context<'_>) -> Option<PredictionRequest> {
        (window.kind != Kind::Retraction).then(|| self.request_of(window, context))
    }

    /// Whether nothing was said yet of a later window.
    fn is_newest_said(&self, window: &Window) -> bool {
        let said = |w: &Window| matches!(w.state, WindowState::Answered | WindowState::Overdue);
        !self.windows.iter().rev().any(|w| w.t > window.t && said(w))
    }

    /// The event of a window, but for what the model said.
    fn event(&self, window: &Window, context: Context<'_>) -> RiskEvent {
        let identity = context.identity;
        let ticket = self.ticket_of(window);
        let superseded =
            window.revision.checked_sub(1).map(|revision| Ticket { revision, ..ticket });
        let name_of = |feed: &crate::ids::FeedId| {
            let feed = context.config.feeds.get(usize::from(feed.0));
            feed.map_or_else(String::new, |feed| feed.name.clone())
        };
        RiskEvent {
            id: identity.event_id(ticket, "risk"),
            stay: self.id,
            t: window.t,
            known_at: window.known_at,
            revision: window.revision,
            supersedes: superseded
                .map(|earlier| self.maker_of(earlier, identity).event_id(earlier, "risk")),
            triggers: window.triggers,
            status: Status::Unscored { reason: String::new() },
            scores: None,
            series: window.series,
            last_observed: Vec::new(),
            film: window.film,
            validity: Vec::new(),
            feed_missing: window.feed_missing.iter().map(name_of).collect(),
            stay_end: None,
            input_digest: window.input_digest,
            model: identity.model.clone(),
            config_digest: identity.config_digest,
            mode: identity.mode,
        }
    }
}

/// The newest row of each variable, in the order of their ids, and whether it is suspect.
fn last_observed(given: Option<&PredictionRequest>, context: Context<'_>) -> Vec<LastObserved> {
    let (codes, signals) = (&context.identity.variables, &context.config.signals);
    let rows = given.map_or(&[][..], |given| &given.rows);
    // Rows are in order of observation, so the last of a variable is its newest.
    let newest: BTreeMap<VariableId, EventTime> =
        rows.iter().map(|row| (row.variable, row.at)).collect();
    let named = |(id, at): (VariableId, EventTime)| {
        let variable = codes.get(usize::from(id.0))?.clone();
        let own = rows.iter().rev().filter(|row| row.variable == id);
        let signal = signals.get(usize::from(id.0));
        let suspect = signal.and_then(|s| suspicion(own.map(|row| (row.at, row.value)), s));
        Some(LastObserved { variable, at, suspect })
    };
    newest.into_iter().filter_map(named).collect()
}

/// The reason of an event that left at its deadline.
const DEADLINE_PASSED: &str = "deadline_passed";

/// Every reason why this prediction lies outside what was validated, in a fixed order.
fn doubts(
    window: &Window,
    status: &Status,
    scores: Option<&Scores>,
    context: Context<'_>,
) -> Vec<Doubt> {
    let film_age = window.film.map(|film| window.t.since(film.acquired_at));
    let generated = scores.is_some_and(|scores| scores.generation.is_some());
    let mut doubts = context.identity.doubts.clone();
    let mut doubt = |doubt: Doubt, holds: bool| {
        if holds {
            doubts.push(doubt);
        }
    };
    doubt(Doubt::NotAtLandmark, window.t != window.admitted.at + LANDMARK);
    doubt(Doubt::NoFilm, film_age.is_none());
    let fresh = film_age.is_some_and(|age| FilmAge::of(age) == FilmAge::Under12h);
    doubt(Doubt::GeneratedAtFloor, generated && fresh);
    doubt(Doubt::FilmTooOld, film_age.is_some_and(|age| age > FILM_AGE_MAX));
    doubt(Doubt::FewVariables, window.n_variables_seen < FEW_VARIABLES);
    doubt(Doubt::FeedMissing, !window.feed_missing.is_empty());
    doubt(Doubt::Degraded, *status != Status::Scored);
    doubts.sort();
    doubts.dedup();
    doubts
}
