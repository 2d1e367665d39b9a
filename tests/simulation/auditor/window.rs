//! What a window must say, counted out from the facts by scanning all of them.

use std::collections::{BTreeMap, BTreeSet};

use nowcxr::engine::{Identity, Outcome, PredictionRequest};
use nowcxr::event::risk::{
    Doubt, FilmUsed, LastObserved, RiskEvent, Scores, SeriesUsed, Status, StayEnd, Suspicion,
    Triggers,
};
use nowcxr::event::{Fact, FactBody, Film};
use nowcxr::ids::{Digest, EventId, FactId, NAMESPACE, StayId, Ticket, VariableId};
use nowcxr::series::{Row, StaticFacts};
use nowcxr::time::{EventTime, Span};
use uuid::Uuid;

use crate::ward::dictionary;

/// What a window is there to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Prediction,
    Closing(StayEnd),
    Retraction,
}

#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Open,
    Held(Box<Outcome>, bool),
    Said,
    /// Said without a score, because time had run out.
    Overdue,
}

#[derive(Clone, Debug)]
pub struct Window {
    pub t: EventTime,
    pub revision: u32,
    pub known_at: EventTime,
    pub triggers: Triggers,
    pub admitted_at: EventTime,
    pub statics: StaticFacts,
    pub generation_start: EventTime,
    pub from: EventTime,
    /// The facts in it, in the order of observation.
    pub rows: Vec<(FactId, Row)>,
    pub film: Option<(FactId, FilmUsed)>,
    pub feed_missing: Vec<String>,
    pub kind: Kind,
    pub state: State,
}

/// A fact that was applied, and from when on it did not hold any more.
#[derive(Clone, Debug)]
pub struct Applied {
    pub fact: Fact,
    pub void: bool,
}

impl Applied {
    pub fn value(&self) -> Option<(VariableId, f64)> {
        match &self.fact.body {
            FactBody::Observed(o) | FactBody::Corrected { observation: o, .. } => {
                Some((o.variable(), o.value()))
            }
            _ => None,
        }
    }

    pub fn film(&self) -> Option<Film> {
        match self.fact.body {
            FactBody::Filmed(film) | FactBody::FilmCorrected { film, .. } => Some(film),
            _ => None,
        }
    }
}

/// Of the films that hold, the one taken last.
pub fn film_of(applied: &[Applied], t: EventTime) -> Option<(FactId, FilmUsed)> {
    let holds = |a: &&Applied| !a.void && a.fact.observed_at <= t && a.film().is_some();
    let newest =
        applied.iter().filter(holds).max_by_key(|a| (a.fact.observed_at, a.fact.id.key()))?;
    let Film { digest, view } = newest.film()?;
    let fact = &newest.fact;
    let (acquired_at, available_at) = (fact.observed_at, fact.available_at);
    Some((fact.id, FilmUsed { digest, view, acquired_at, available_at }))
}

/// The observations in `from..=t` that hold, in the order of observation, then of application.
pub fn rows_of(applied: &[Applied], from: EventTime, t: EventTime) -> Vec<(FactId, Row)> {
    let inside = |a: &Applied| {
        let at = a.fact.observed_at;
        let (variable, value) = a.value().filter(|_| !a.void && from <= at && at <= t)?;
        Some((a.fact.id, Row { at, variable, value }))
    };
    let mut rows: Vec<_> = applied.iter().filter_map(inside).collect();
    rows.sort_by_key(|(_, row)| row.at);
    rows
}

/// Why the newest of a variable's values may be no measurement, by looking at all before it.
fn suspect(rows: &[Row], variable: VariableId) -> Option<Suspicion> {
    let signal = dictionary().variable(variable)?.signal;
    let own: Vec<&Row> = rows.iter().filter(|row| row.variable == variable).collect();
    let newest = *own.last()?;
    let ms = |row: &Row| newest.at.as_millis() - row.at.as_millis();
    let leaps = |from: &Row, to: &Row| {
        let minutes = ((ms(from) - ms(to)) as f64 / 60_000.0).max(1.0);
        let limit = signal.max_change.unwrap_or(f64::INFINITY);
        (to.value - from.value).abs() > limit * minutes
    };
    if let [.., one, _] = own[..]
        && leaps(one, newest)
    {
        match own[..] {
            [.., other, one, _] if leaps(other, one) && !leaps(other, newest) => {}
            _ => return Some(Suspicion::Jump),
        }
    }
    let stuck = signal.stuck?;
    let same: Vec<&&Row> = own.iter().rev().take_while(|row| row.value == newest.value).collect();
    let is_long = ms(same.last()?) >= stuck.over.as_millis();
    let is_low = stuck.below.is_none_or(|below| newest.value < below);
    (same.len() >= stuck.times && is_long && is_low).then_some(Suspicion::Stuck)
}

pub fn event_id(ticket: Ticket, identity: &Identity, kind: &str) -> EventId {
    let Ticket { stay, t, revision } = ticket;
    let (t, model, config) = (t.as_millis(), identity.model.digest, identity.config_digest);
    let name = format!("{stay}/{t}/{revision}/{model}/{config}/{kind}");
    EventId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

impl Window {
    pub fn plain_rows(&self) -> Vec<Row> {
        self.rows.iter().map(|(_, row)| *row).collect()
    }

    pub fn used(&self, fact: FactId) -> bool {
        let in_rows = self.rows.iter().any(|(id, _)| *id == fact);
        in_rows || self.film.is_some_and(|(id, _)| id == fact)
    }

    fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for time in [self.t, self.admitted_at, self.generation_start] {
            bytes.extend(time.as_millis().to_be_bytes());
        }
        bytes.extend([self.statics.age_years, self.statics.sex as u8]);
        for (_, row) in &self.rows {
            bytes.extend(row.at.as_millis().to_be_bytes());
            bytes.push(row.variable.0);
            bytes.extend(row.value.to_bits().to_be_bytes());
        }
        if let Some((_, film)) = self.film {
            bytes.extend(film.digest.0);
            bytes.extend(film.acquired_at.as_millis().to_be_bytes());
        }
        Digest::of(&bytes)
    }

    fn series(&self, n_variables: usize) -> SeriesUsed {
        let hour = Span::HOUR.as_millis();
        let start = self.admitted_at.max(self.t - Span::hours(48));
        let mut cells = BTreeSet::new();
        for (_, row) in self.rows.iter().filter(|(_, row)| row.at >= start) {
            cells.insert(((row.at.as_millis() - start.as_millis()) / hour, row.variable));
        }
        let length = self.t.as_millis() - start.as_millis();
        let bins = ((length + hour - 1).div_euclid(hour)).max(1);
        let share = cells.len() as f64 / (bins as f64 * n_variables.max(1) as f64);
        SeriesUsed {
            from: self.from,
            start: self.rows.first().map_or(self.t, |(_, row)| row.at),
            n_facts: self.rows.len() as u32,
            last_observed_at: self.rows.last().map(|(_, row)| row.at),
            imputed: (1.0 - share).clamp(0.0, 1.0) as f32,
        }
    }

    fn doubts(&self, status: &Status, scores: Option<&Scores>, identity: &Identity) -> Vec<Doubt> {
        let mut doubts: BTreeSet<Doubt> = identity.doubts.iter().copied().collect();
        let age = self.film.map(|(_, film)| self.t.since(film.acquired_at));
        if self.t != self.admitted_at + Span::hours(48) {
            doubts.insert(Doubt::NotAtLandmark);
        }
        match age {
            None => drop(doubts.insert(Doubt::NoFilm)),
            Some(age) if age > Span::hours(70) => drop(doubts.insert(Doubt::FilmTooOld)),
            Some(_) => {}
        }
        let generated = scores.is_some_and(|scores| scores.generation.is_some());
        if generated && age.is_some_and(|age| age < Span::hours(12)) {
            doubts.insert(Doubt::GeneratedAtFloor);
        }
        let variables: BTreeSet<VariableId> = self.rows.iter().map(|(_, r)| r.variable).collect();
        if variables.len() < 6 {
            doubts.insert(Doubt::FewVariables);
        }
        if !self.feed_missing.is_empty() {
            doubts.insert(Doubt::FeedMissing);
        }
        if *status != Status::Scored {
            doubts.insert(Doubt::Degraded);
        }
        doubts.into_iter().collect()
    }

    pub fn ticket(&self, stay: StayId) -> Ticket {
        Ticket { stay, t: self.t, revision: self.revision }
    }

    /// The event of this window, given what was answered.
    pub fn event(&self, stay: StayId, outcome: Outcome, identity: &Identity) -> RiskEvent {
        let ticket = self.ticket(stay);
        let (status, scores) = match outcome {
            Outcome::Scored(scores) => (Status::Scored, Some(scores)),
            Outcome::Degraded(scores, reason) => (Status::Degraded { reason }, Some(scores)),
            Outcome::Unscored(reason) => (Status::Unscored { reason }, None),
        };
        let validity = self.doubts(&status, scores.as_ref(), identity);
        let before = self.revision.checked_sub(1).map(|revision| Ticket { revision, ..ticket });
        let mut newest: BTreeMap<VariableId, EventTime> = BTreeMap::new();
        if self.kind != Kind::Retraction {
            newest.extend(self.rows.iter().map(|(_, row)| (row.variable, row.at)));
        }
        let name = |id: VariableId| identity.variables[usize::from(id.0)].clone();
        RiskEvent {
            id: event_id(ticket, identity, "risk"),
            stay,
            t: self.t,
            known_at: self.known_at,
            revision: self.revision,
            supersedes: before.map(|before| event_id(before, identity, "risk")),
            triggers: self.triggers,
            status: if self.kind == Kind::Retraction { Status::Retracted } else { status },
            scores,
            series: self.series(identity.variables.len()),
            last_observed: newest
                .into_iter()
                .map(|(id, at)| LastObserved {
                    variable: name(id),
                    at,
                    suspect: suspect(&self.plain_rows(), id),
                })
                .collect(),
            film: self.film.map(|(_, film)| film),
            validity,
            feed_missing: self.feed_missing.clone(),
            stay_end: match self.kind {
                Kind::Closing(how) => Some(how),
                _ => None,
            },
            input_digest: self.digest(),
            model: identity.model.clone(),
            config_digest: identity.config_digest,
            mode: identity.mode,
        }
    }

    /// What the model must have been asked.
    pub fn question(&self, stay: StayId, identity: &Identity) -> PredictionRequest {
        let seed = event_id(self.ticket(stay), identity, "seed").0.as_u128() >> 64;
        PredictionRequest {
            ticket: self.ticket(stay),
            epoch: identity.epoch,
            seed: seed as u64,
            admitted_at: self.admitted_at,
            generation_start: self.generation_start,
            rows: self.plain_rows().into(),
            static_facts: self.statics,
            film: None,
        }
    }
}
