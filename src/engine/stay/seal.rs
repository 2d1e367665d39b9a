//! Closing windows: what was known by t is cut, digested and asked about, and never changes again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Admitted, Context, HeldFilm, Phase, Stay};
use crate::engine::effect::Effect;
use crate::engine::request::{Outcome, PredictionRequest};
use crate::event::risk::{FilmUsed, SeriesUsed, StayEnd, Triggers};
use crate::ids::{Digest, FeedId, Ticket};
use crate::series::Row;
use crate::time::{EventTime, Span};

/// The generation's EHR reaches back at least this far, also behind a fresh film
/// (`reference/ddl-cxr.md` 1.9).
pub const GENERATION_FLOOR: Span = Span::hours(12);
/// The generation's EHR encoder takes at most this many hourly bins (`reference/ddl-cxr.md` 3.1).
pub const GENERATION_BINS_MAX: i64 = 70;
/// The fusion takes at most this many hourly bins (`reference/ddl-cxr.md` 4.1).
pub const PREDICTION_BINS: i64 = 48;

/// One revision of a window, as sealed. Only `state` changes afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Place in the stay's order of sealing.
    pub number: u32,
    pub t: EventTime,
    pub revision: u32,
    /// Nothing available after this was used. Equal to `t` for the first revision.
    pub known_at: EventTime,
    pub triggers: Triggers,
    /// Facts applied before this sequence number are in the cut.
    pub seq_below: u32,
    pub generation_start: EventTime,
    pub admitted: Admitted,
    pub film: Option<FilmUsed>,
    pub series: SeriesUsed,
    pub n_variables_seen: u32,
    pub input_digest: Digest,
    pub feed_missing: Vec<FeedId>,
    pub kind: Kind,
    pub state: WindowState,
}

/// What a sealed revision is there to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A prediction, asked of the model.
    Prediction,
    /// That the stay's windows stop here. Asks nothing.
    Closing(StayEnd),
    /// That what was said of this window must not be shown any more. Asks nothing.
    Retraction,
}

/// How far a sealed window has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WindowState {
    /// Asked for, or to be asked for.
    Open,
    /// Answered, but an earlier window of the stay is not: answers take effect in order.
    Held(Box<Outcome>),
    Answered,
    /// Left unscored at its deadline; an answer that still comes makes the next revision.
    Overdue,
}

impl Stay {
    /// Seals the first revision of the window due at `t`.
    pub(super) fn seal_due(
        &mut self,
        t: EventTime,
        triggers: Triggers,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        self.sealed_to = t;
        self.films_due.retain(|&due| due > t);
        if let Some(admitted) = self.admitted() {
            self.seal(Cut { t, revision: 0, known_at: t, triggers, admitted }, context, effects);
        }
    }

    /// Stops the windows, and closes with an event that says why.
    pub(super) fn end(
        &mut self,
        at: EventTime,
        known_at: EventTime,
        how: StayEnd,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (Phase::Open(admitted) | Phase::Silent(admitted)) = self.phase else { return };
        self.phase = match how {
            StayEnd::Silent => Phase::Silent(admitted),
            _ => Phase::Ended { admitted, at, known_at, how },
        };
        effects.push(Effect::Ended { stay: self.id, at, how });
        if self.windows.iter().any(|window| window.t == known_at) {
            return;
        }
        let triggers = Triggers::default();
        let cut = Cut { t: known_at, revision: 0, known_at, triggers, admitted };
        self.sealed_to = known_at;
        self.films_due.clear();
        let window = self.window(&cut, context);
        self.push_unasked(window, Kind::Closing(how), context, effects);
    }

    pub(super) fn seal(&mut self, cut: Cut, context: Context<'_>, effects: &mut Vec<Effect>) {
        let window = self.window(&cut, context);
        effects.push(Effect::Sealed {
            ticket: Ticket { stay: self.id, t: cut.t, revision: cut.revision },
            triggers: cut.triggers,
            input_digest: window.input_digest,
        });
        self.push_window(window);
    }

    /// A window over what is known now; its number is given when it is pushed.
    fn window(&self, cut: &Cut, context: Context<'_>) -> Window {
        let seq_below = self.next_seq;
        let film = self.film_as_of(cut.t, seq_below);
        let generation_start = generation_start(cut.t, film.map(|film| film.acquired_at));
        let from = generation_start.min(cut.t - Span::hours(PREDICTION_BINS));
        let rows = self.history.cut(from, cut.t, seq_below, &self.retractions);
        let film = film.map(|held| FilmUsed {
            digest: held.film.digest,
            view: held.film.view,
            acquired_at: held.acquired_at,
            available_at: held.available_at,
        });
        Window {
            number: 0,
            t: cut.t,
            revision: cut.revision,
            known_at: cut.known_at,
            triggers: cut.triggers,
            seq_below,
            generation_start,
            admitted: cut.admitted,
            film,
            series: series_used(&rows, from, cut, context.identity.variables.len()),
            n_variables_seen: n_variables(&rows),
            input_digest: input_digest(cut, generation_start, &rows, film.as_ref()),
            feed_missing: context.watermark.missing_at(cut.known_at).collect(),
            kind: Kind::Prediction,
            state: WindowState::Open,
        }
    }

    /// The question for a sealed window, without the film's pixels; `None` if there is none.
    pub fn request(&self, ticket: Ticket, context: Context<'_>) -> Option<PredictionRequest> {
        let window = self.window_of(ticket).filter(|w| w.kind == Kind::Prediction)?;
        Some(self.request_of(window, context))
    }

    /// What the model is given for this cut, or would be.
    pub(super) fn request_of(&self, window: &Window, context: Context<'_>) -> PredictionRequest {
        let ticket = self.ticket_of(window);
        let from = window.series.from;
        let rows = self.history.cut(from, window.t, window.seq_below, &self.retractions);
        PredictionRequest {
            ticket,
            epoch: context.identity.epoch,
            seed: context.identity.seed(ticket),
            admitted_at: window.admitted.at,
            generation_start: window.generation_start,
            rows: rows.into(),
            static_facts: window.admitted.statics,
            film: None,
        }
    }

    pub fn window_of(&self, ticket: Ticket) -> Option<&Window> {
        let is_it = |w: &&Window| w.t == ticket.t && w.revision == ticket.revision;
        self.windows.iter().rev().find(is_it)
    }

    /// The film taken last, of those known below `seq_below` and not retracted by then.
    pub(super) fn film_as_of(&self, t: EventTime, seq_below: u32) -> Option<&HeldFilm> {
        let holds = |film: &&HeldFilm| {
            let retracted = |&(key, seq): &(u64, u32)| key == film.key && seq < seq_below;
            film.seq < seq_below && film.acquired_at <= t && !self.retractions.iter().any(retracted)
        };
        self.films.iter().filter(holds).max_by_key(|film| (film.acquired_at, film.key))
    }
}

/// Which window is to be cut, as of when, and knowing what.
pub(super) struct Cut {
    pub t: EventTime,
    pub revision: u32,
    pub known_at: EventTime,
    pub triggers: Triggers,
    pub admitted: Admitted,
}

fn generation_start(t: EventTime, film_at: Option<EventTime>) -> EventTime {
    let floor = t - GENERATION_FLOOR;
    let cap = t - Span::hours(GENERATION_BINS_MAX);
    film_at.map_or(floor, |at| at.min(floor).max(cap))
}

fn series_used(rows: &[Row], from: EventTime, cut: &Cut, n_variables: usize) -> SeriesUsed {
    let start = cut.admitted.at.max(cut.t - Span::hours(PREDICTION_BINS));
    let seen: BTreeSet<(i64, u8)> = rows
        .iter()
        .filter(|row| row.at >= start)
        .map(|row| (row.at.since(start).as_millis() / Span::HOUR.as_millis(), row.variable.0))
        .collect();
    let n_bins = cut.t.since(start).as_hours().ceil().max(1.0);
    let share = seen.len() as f64 / (n_bins * n_variables.max(1) as f64);
    SeriesUsed {
        from,
        start: rows.first().map_or(cut.t, |row| row.at),
        n_facts: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        last_observed_at: rows.last().map(|row| row.at),
        imputed: (1.0 - share).clamp(0.0, 1.0) as f32,
    }
}

fn n_variables(rows: &[Row]) -> u32 {
    let seen: BTreeSet<u8> = rows.iter().map(|row| row.variable.0).collect();
    u32::try_from(seen.len()).unwrap_or(u32::MAX)
}

/// SHA-256 of everything the model is given, in a fixed order and byte layout.
fn input_digest(
    cut: &Cut,
    generation_start: EventTime,
    rows: &[Row],
    film: Option<&FilmUsed>,
) -> Digest {
    let mut hash = Sha256::new();
    for time in [cut.t, cut.admitted.at, generation_start] {
        hash.update(time.as_millis().to_be_bytes());
    }
    hash.update([cut.admitted.statics.age_years, cut.admitted.statics.sex as u8]);
    for row in rows {
        hash.update(row.at.as_millis().to_be_bytes());
        hash.update([row.variable.0]);
        hash.update(row.value.to_bits().to_be_bytes());
    }
    if let Some(film) = film {
        hash.update(film.digest.0);
        hash.update(film.acquired_at.as_millis().to_be_bytes());
    }
    Digest(hash.finalize().into())
}
