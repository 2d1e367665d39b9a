//! The ward in memory: for each stay the course of its risk, and where the whole records stand.
//!
//! Everything is bounded: what a page needs beyond this is read again from its place. Nothing here
//! is the truth; it can be built again from the topics at any time.

mod alerts;

use std::collections::BTreeMap;

pub use alerts::{AlertNote, MAX_ALERTS};

use super::feed::{News, Place, unit_of};
use crate::event::risk::{Doubt, FilmAge, Mode, StayEnd};
use crate::event::{Sex, ViewPosition};
use crate::ids::{Digest, StayId};
use crate::time::{EventTime, Span};
use crate::wire::{RiskRecord, RiskStatus, StayView};

/// Stays held; of more, the one whose last news is oldest is let go.
pub const MAX_STAYS: usize = 1_000;
/// Windows of one stay: six weeks of hourly ones. Of more, the oldest are let go.
pub const MAX_MOMENTS: usize = 1_024;
/// Films of one stay.
pub const MAX_FILMS: usize = 128;
/// Reasons of dead letters that are counted apart; further ones count as `other`.
pub const MAX_REASONS: usize = 64;
/// Characters kept of a unit's name.
pub const MAX_UNIT: usize = 60;

/// All stays.
#[derive(Debug, Default)]
pub struct Ward {
    stays: BTreeMap<StayId, StayLog>,
    /// Event time that the newest risk event has reached.
    clock: Option<EventTime>,
    pub mode: Mode,
    pub counts: WardCounts,
}

/// What has been read since the start.
#[derive(Clone, Debug, Default)]
pub struct WardCounts {
    pub risks: u64,
    pub views: u64,
    pub films: u64,
    pub unreadable: u64,
    pub dropped_stays: u64,
    pub dropped_moments: u64,
    pub by_status: BTreeMap<&'static str, u64>,
    /// By topic and reason.
    pub dead_letters: BTreeMap<(String, String), u64>,
}

/// One stay.
#[derive(Debug, Default)]
pub struct StayLog {
    pub admitted_at: Option<EventTime>,
    pub age_years: Option<u8>,
    pub sex: Option<Sex>,
    pub units: Vec<(EventTime, String)>,
    /// In the order of (t, revision).
    moments: Vec<Moment>,
    /// In the order of acquisition.
    pub films: Vec<FilmNote>,
    /// In the order in which they were read.
    alerts: Vec<AlertNote>,
}

/// One risk event, as far as lists and curves show it.
#[derive(Clone, Debug)]
pub struct Moment {
    pub t: EventTime,
    pub known_at: EventTime,
    pub revision: u32,
    pub status: RiskStatus,
    pub mortality: Option<f32>,
    pub interval: Option<(f32, f32)>,
    pub carry_forward: Option<f32>,
    pub ehr_only: Option<f32>,
    pub film: Option<(EventTime, Digest)>,
    pub last_observed_at: Option<EventTime>,
    pub film_trigger: bool,
    pub doubts: Vec<Doubt>,
    pub feed_missing: bool,
    pub end: Option<StayEnd>,
    pub risk: Place,
    pub view: Option<Place>,
}

/// A film that was told, without its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilmNote {
    pub acquired_at: EventTime,
    pub available_at: EventTime,
    pub view: ViewPosition,
    pub place: Place,
}

/// How high a probability of death in hospital is, in a word. The edges are conventions of this
/// display; 30 % is the default of the alert policy (`reference/clinical.md` 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    Low,
    Raised,
    High,
}

impl Band {
    pub const ALL: [Band; 3] = [Band::Low, Band::Raised, Band::High];

    pub fn of(p: f32) -> Self {
        match p {
            p if p < 0.10 => Band::Low,
            p if p < 0.30 => Band::Raised,
            _ => Band::High,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Band::Low => "Low",
            Band::Raised => "Raised",
            Band::High => "High",
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Band::Low => "low",
            Band::Raised => "raised",
            Band::High => "high",
        }
    }
}

impl Ward {
    /// Event time of the newest risk event; `None` before the first.
    pub fn clock(&self) -> Option<EventTime> {
        self.clock
    }

    pub fn stay(&self, id: StayId) -> Option<&StayLog> {
        self.stays.get(&id)
    }

    pub fn stays(&self) -> impl Iterator<Item = (StayId, &StayLog)> {
        self.stays.iter().map(|(id, stay)| (*id, stay))
    }

    pub fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    /// First admission and newest event.
    pub fn span(&self) -> Option<(EventTime, EventTime)> {
        let first = self.stays.values().filter_map(|stay| stay.begins()).min()?;
        Some((first, self.clock?))
    }

    /// Takes one record; says which stay a page must show anew.
    pub fn take(&mut self, place: Place, news: News) -> Option<StayId> {
        match news {
            News::Risk(risk) => Some(self.risk(place, &risk)),
            News::View(view) => Some(self.view(place, &view)),
            News::Alert(alert) => {
                let stay = alert.stay_id;
                self.entry(stay).alert(AlertNote::new(*alert));
                Some(stay)
            }
            News::DeadLetter(letter) => {
                self.dead_letter(letter.topic, letter.reason);
                None
            }
            News::Stay(change) => {
                let unit = unit_of(&change.change)?;
                let unit: String = unit.chars().take(MAX_UNIT).collect();
                let stay = self.entry(change.stay_id);
                let at = change.available_at;
                stay.units.retain(|(known, _)| *known != at);
                stay.units.push((at, unit));
                stay.units.sort_by_key(|(at, _)| *at);
                if stay.units.len() > MAX_FILMS {
                    stay.units.remove(0);
                }
                Some(change.stay_id)
            }
            News::Film(film) => {
                self.counts.films += 1;
                let note = FilmNote {
                    acquired_at: film.observed_at,
                    available_at: film.available_at,
                    view: film.view,
                    place,
                };
                self.entry(film.stay_id).film(note);
                Some(film.stay_id)
            }
        }
    }

    /// A record that could not be read, or that is none of ours.
    pub fn unreadable(&mut self) {
        self.counts.unreadable += 1;
    }

    fn risk(&mut self, place: Place, risk: &RiskRecord) -> StayId {
        self.counts.risks += 1;
        *self.counts.by_status.entry(status_name(risk.status)).or_default() += 1;
        self.mode = risk.mode;
        self.clock = self.clock.max(Some(risk.known_at));
        let moment = Moment::new(place, risk);
        let dropped = self.entry(risk.stay_id).moment(moment);
        self.counts.dropped_moments += u64::from(dropped);
        risk.stay_id
    }

    fn view(&mut self, place: Place, view: &StayView) -> StayId {
        self.counts.views += 1;
        let stay = self.entry(view.stay_id);
        if let Some(given) = &view.given {
            stay.admitted_at = Some(given.admitted_at);
            stay.age_years = Some(given.age_years);
            stay.sex = Some(given.sex);
        }
        let key = (view.risk.t, view.risk.revision);
        match stay.moments.binary_search_by_key(&key, |m| (m.t, m.revision)) {
            Ok(i) => {
                if let Some(moment) = stay.moments.get_mut(i) {
                    moment.view = Some(place);
                }
            }
            // The view is read before its event: it holds the event as well.
            Err(_) => {
                let moment = Moment { view: Some(place), ..Moment::new(place, &view.risk) };
                stay.moment(moment);
            }
        }
        view.stay_id
    }

    fn dead_letter(&mut self, topic: String, reason: String) {
        let letters = &mut self.counts.dead_letters;
        let key = (topic, reason);
        let known = letters.contains_key(&key) || letters.len() < MAX_REASONS;
        let key = if known { key } else { ("any".to_owned(), "other".to_owned()) };
        *letters.entry(key).or_default() += 1;
    }

    fn entry(&mut self, id: StayId) -> &mut StayLog {
        if self.stays.len() >= MAX_STAYS && !self.stays.contains_key(&id) {
            let oldest = self.stays.iter().min_by_key(|(id, stay)| (stay.newest(), **id));
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.stays.remove(&id);
                self.counts.dropped_stays += 1;
            }
        }
        self.stays.entry(id).or_default()
    }
}

impl StayLog {
    /// Everything known of the stay's risk at `at`: for each window its newest revision by then,
    /// in the order of time. `None` is now.
    pub fn known(&self, at: Option<EventTime>) -> Vec<&Moment> {
        let mut known: Vec<&Moment> = Vec::new();
        for moment in self.moments.iter().filter(|m| at.is_none_or(|at| m.known_at <= at)) {
            match known.last_mut() {
                Some(last) if last.t == moment.t => *last = moment,
                _ => known.push(moment),
            }
        }
        known
    }

    /// True if something became known after `from`, and by `to`.
    pub fn has_news(&self, from: EventTime, to: EventTime) -> bool {
        self.moments.iter().any(|moment| moment.known_at > from && moment.known_at <= to)
    }

    /// Times of all windows.
    pub fn times(&self) -> impl Iterator<Item = EventTime> {
        self.moments.iter().map(|moment| moment.t)
    }

    /// When the stay begins, as far as it is known.
    pub fn begins(&self) -> Option<EventTime> {
        self.admitted_at.or_else(|| self.moments.first().map(|moment| moment.t))
    }

    /// One revision of one window.
    pub fn moment_at(&self, t: EventTime, revision: u32) -> Option<&Moment> {
        let found = self.moments.binary_search_by_key(&(t, revision), |m| (m.t, m.revision));
        self.moments.get(found.ok()?)
    }

    /// How and when it ended, as known at `at`.
    pub fn ended(&self, at: Option<EventTime>) -> Option<(StayEnd, EventTime)> {
        self.known(at).into_iter().rev().find_map(|moment| Some((moment.end?, moment.t)))
    }

    pub fn unit(&self, at: Option<EventTime>) -> Option<&str> {
        let by_then = |(known, _): &&(EventTime, String)| at.is_none_or(|at| *known <= at);
        self.units.iter().rev().find(by_then).map(|(_, unit)| unit.as_str())
    }

    /// The film acquired at that moment.
    pub fn film_of(&self, acquired_at: EventTime) -> Option<&FilmNote> {
        self.films.iter().find(|film| film.acquired_at == acquired_at)
    }

    fn newest(&self) -> Option<EventTime> {
        self.moments.last().map(|moment| moment.t)
    }

    /// True if an older moment had to go.
    fn moment(&mut self, moment: Moment) -> bool {
        let key = (moment.t, moment.revision);
        match self.moments.binary_search_by_key(&key, |m| (m.t, m.revision)) {
            Ok(i) => {
                if let Some(old) = self.moments.get_mut(i) {
                    *old = Moment { view: moment.view.or(old.view), ..moment };
                }
                false
            }
            Err(i) => {
                self.moments.insert(i, moment);
                let full = self.moments.len() > MAX_MOMENTS;
                if full {
                    self.moments.remove(0);
                }
                full
            }
        }
    }

    fn film(&mut self, note: FilmNote) {
        match self.films.binary_search_by_key(&note.acquired_at, |film| film.acquired_at) {
            // A repeat, or a repeated exposure at the same moment: the first one stays.
            Ok(_) => {}
            Err(i) => self.films.insert(i, note),
        }
        if self.films.len() > MAX_FILMS {
            self.films.remove(0);
        }
    }
}

impl Moment {
    fn new(place: Place, risk: &RiskRecord) -> Self {
        let scores = risk.scores.as_ref();
        let interval = scores.and_then(|scores| scores.mortality_interval);
        Moment {
            t: risk.t,
            known_at: risk.known_at,
            revision: risk.revision,
            status: risk.status,
            mortality: scores.map(|scores| scores.mortality),
            interval: interval.map(|interval| (interval.low, interval.high)),
            carry_forward: scores.and_then(|scores| scores.carry_forward),
            ehr_only: scores.and_then(|scores| scores.ehr_only),
            film: risk.film.map(|film| (film.acquired_at, film.digest)),
            last_observed_at: risk.series.last_observed_at,
            film_trigger: risk.triggers.film,
            doubts: risk.validity.clone(),
            feed_missing: !risk.feed_missing.is_empty(),
            end: risk.stay_end,
            risk: place,
            view: None,
        }
    }

    /// Age of the film that was used, at `now`.
    pub fn film_age(&self, now: EventTime) -> Option<(Span, FilmAge)> {
        let age = now.since(self.film?.0);
        Some((age, FilmAge::of(age)))
    }
}

pub const fn status_name(status: RiskStatus) -> &'static str {
    match status {
        RiskStatus::Scored => "scored",
        RiskStatus::Degraded => "degraded",
        RiskStatus::Unscored => "unscored",
        RiskStatus::Retracted => "retracted",
    }
}

#[cfg(test)]
mod tests;
