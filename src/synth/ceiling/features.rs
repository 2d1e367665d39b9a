//! What a reader of the chart knows: levels of each sign around a moment, from rows that were
//! available by then.

use crate::event::risk::N_PHENOTYPES;
use crate::event::{Sex, ViewPosition};
use crate::synth::charting::{self, ChartRow};
use crate::synth::films;
use crate::synth::hospital::Hospital;
use crate::synth::labs;
use crate::synth::outcome::{Ending, phenotypes};
use crate::synth::patient::Patient;
use crate::synth::physiology::{Course, State};

/// Signs read from the chart: the published variables that this ward writes.
pub(super) const N_SIGNS: usize = 14;

/// Findings that a film shows: the first latents.
pub(super) const N_FINDINGS: usize = 6;

/// Hours from exposure until a film can be seen.
pub(super) const FILM_LAG: f64 = 0.25;

/// Items of each sign, its value before any row, and the range a value is held in.
const SIGNS: [(&[u32], f64, (f64, f64)); N_SIGNS] = [
    (&[220045], 86.0, (30.0, 220.0)),
    (&[220050, 220179], 118.0, (40.0, 260.0)),
    (&[220051, 220180], 59.0, (10.0, 180.0)),
    (&[220052, 220181], 77.0, (20.0, 200.0)),
    (&[220210], 19.0, (0.0, 70.0)),
    (&[220277], 98.0, (50.0, 100.0)),
    (&[223761, 223762], 36.6, (30.0, 43.0)),
    (&[223835], 21.0, (21.0, 100.0)),
    (&[225664, 50931, 50809], 128.0, (30.0, 600.0)),
    (&[223830, 50820], 7.4, (6.8, 7.8)),
    (&[224639, 226512], 81.0, (20.0, 300.0)),
    (&[220739], 4.0, (1.0, 4.0)),
    (&[223900], 5.0, (1.0, 5.0)),
    (&[223901], 6.0, (1.0, 6.0)),
];

/// One value: when it was observed, when it became available.
struct Reading {
    observed: f64,
    available: f64,
    value: f64,
}

/// A film of the wanted view, and what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) taken: f64,
    pub(super) shows: [f64; N_FINDINGS],
}

/// One simulated stay, without its pictures.
pub(super) struct Simulated {
    pub(super) number: u64,
    pub(super) los: f64,
    pub(super) died: bool,
    pub(super) phenotypes: [bool; N_PHENOTYPES],
    pub(super) films: Vec<Seen>,
    course: Course,
    statics: [f64; 2],
    signs: [Vec<Reading>; N_SIGNS],
}

fn findings(state: &State) -> [f64; N_FINDINGS] {
    std::array::from_fn(|i| state.0[i])
}

impl Simulated {
    pub(super) fn new(hospital: Hospital, seed: u64, number: u64) -> Self {
        let patient = Patient::new(hospital, seed, number);
        let course = Course::new(seed, &patient);
        let ending = Ending::new(seed, &patient, &course);
        let hour_of_day = (number * 7 % 24) as f64;
        let mut signs: [Vec<Reading>; N_SIGNS] = std::array::from_fn(|_| Vec::new());
        let mut read = |item: u32, observed: f64, available: f64, value: f64| {
            let sign = SIGNS.iter().position(|(items, _, _)| items.contains(&item));
            if let Some(sign) = sign {
                let (low, high) = SIGNS[sign].2;
                let value = value.clamp(low, high);
                signs[sign].push(Reading { observed, available, value });
            }
        };
        for row in charting::chart(seed, &patient, &course, hour_of_day) {
            if let Some(value) = number_of(&row) {
                read(row.item, row.observed, row.stored.max(row.observed), value);
            }
        }
        for row in labs::labs(seed, &patient, &course, hour_of_day) {
            read(row.item, row.observed, row.stored.unwrap_or(row.observed + 1.1), row.number);
        }
        signs.iter_mut().for_each(|s| s.sort_by(|a, b| a.observed.total_cmp(&b.observed)));
        let usable = |plan: &films::FilmPlan| {
            plan.view == ViewPosition::Ap && plan.fault != Some(films::FilmFault::NoView)
        };
        let mut films: Vec<Seen> = films::films(seed, &patient, &course, hour_of_day)
            .iter()
            .filter(|plan| usable(plan))
            .map(|plan| Seen { taken: plan.taken, shows: findings(&course.at(plan.taken)) })
            .collect();
        films.dedup_by(|later, earlier| later.taken == earlier.taken);
        Simulated {
            number,
            los: course.los,
            died: ending.died,
            phenotypes: phenotypes(&ending.codes),
            films,
            statics: [f64::from(patient.age), f64::from(u8::from(patient.sex == Sex::Male))],
            course,
            signs,
        }
    }

    /// The true severities at `t`.
    pub(super) fn truth(&self, t: f64) -> [f64; N_FINDINGS] {
        findings(&self.course.at(t))
    }

    /// The last film that could be seen at `t`.
    pub(super) fn last_film(&self, t: f64) -> Option<Seen> {
        self.films.iter().rev().find(|film| film.taken + FILM_LAG <= t).copied()
    }

    /// Mean of a sign over (from, to], of what was available by `known`.
    fn mean(&self, sign: usize, from: f64, to: f64, known: f64) -> Option<f64> {
        let inside = self.signs[sign]
            .iter()
            .filter(|r| r.observed > from && r.observed <= to && r.available <= known);
        let (sum, n) = inside.fold((0.0, 0.0), |(sum, n), r| (sum + r.value, n + 1.0));
        (n > 0.0).then(|| sum / n)
    }

    /// The level of a sign at `t`: the mean of the last hours, else the last value, else normal.
    fn level(&self, sign: usize, t: f64, hours: f64, known: f64) -> f64 {
        let last = || {
            let before = self.signs[sign].iter().rev();
            let mut before = before.filter(|r| r.observed <= t && r.available <= known);
            before.next().map(|r| r.value)
        };
        self.mean(sign, t - hours, t, known).or_else(last).unwrap_or(SIGNS[sign].1)
    }

    /// The chart at `t`: for each sign its level over 4, 12 and 48 h; age and sex.
    pub(super) fn chart(&self, t: f64) -> Vec<f64> {
        let mut row = Vec::with_capacity(3 * N_SIGNS + 2);
        for sign in 0..N_SIGNS {
            row.extend([4.0, 12.0, 48.0].map(|hours| self.level(sign, t, hours, t)));
        }
        row.extend(self.statics);
        row
    }

    /// The chart around a film at `film`, as known at `t`: for each sign how far it has moved since
    /// and its mean between; the film's age, and whether the chart reaches back to it.
    pub(super) fn since(&self, film: f64, t: f64) -> Vec<f64> {
        let mut row = Vec::with_capacity(2 * N_SIGNS + 2);
        for sign in 0..N_SIGNS {
            let now = self.level(sign, t, 4.0, t);
            let then = self.mean(sign, film - 3.0, (film + 3.0).min(t), t);
            let first = || self.mean(sign, -1.0, 4.0, t);
            row.push(now - then.or_else(first).unwrap_or(now));
            row.push(self.mean(sign, film, t, t).unwrap_or(now));
        }
        row.push(t - film);
        row.push(f64::from(u8::from(film > 0.0)));
        row
    }
}

/// The number of a chart row, temperatures in °C.
fn number_of(row: &ChartRow) -> Option<f64> {
    let value = row.number?;
    Some(match row.item {
        223761 => (value - 32.0) / 1.8,
        // A Fahrenheit value in the Celsius field.
        223762 if value > 60.0 => (value - 32.0) / 1.8,
        _ => value,
    })
}
