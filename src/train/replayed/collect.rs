//! From the questions of the two passes to samples.

use std::collections::BTreeMap;

use super::pass::{Asked, Happening};
use super::truth::{FilmTruth, StayTruth, Truth};
use super::{DataConfig, window_hours};
use crate::engine::Task;
use crate::event::PreparedFilm;
use crate::event::dictionary::{Dictionary, GRID_COLUMNS};
use crate::ids::{Digest, StayId};
use crate::series::{Grid, GridSpan, Row, hourly};
use crate::time::{EventTime, Span};
use crate::train::TrainError;
use crate::train::store::{Body, Head, SampleWriter};

/// Rows of a stay kept behind its newest question: a pair's EHR reaches back 70 h.
const KEEP_ROWS: Span = Span::hours(72);
/// A question's rows reach back at least this far (`engine::seal`).
const ROWS_SPAN: Span = Span::hours(48);
/// Pairs of one stay held until it is over. Of a stay with more only the first count.
const PAIRS_HELD: usize = 512;
/// Observation masks at the end of a grid's line.
const MASKS: usize = 17;

/// Writes the samples of the two passes.
pub(super) struct Collector<'a> {
    truth: &'a Truth,
    config: &'a DataConfig,
    dictionary: &'a Dictionary,
    out: SampleWriter,
    /// Films written, by split.
    counts: [u32; 3],
    /// Numbers of the films written.
    films: BTreeMap<(StayId, Digest), u32>,
    live: BTreeMap<StayId, Live>,
    /// Pairs left out because a stay had more than [`PAIRS_HELD`].
    pub(super) pairs_left_out: u64,
}

/// A stay that is under way in the first pass.
#[derive(Default)]
struct Live {
    films: Vec<Seen>,
    /// In order of observation.
    rows: Vec<Row>,
    pairs: Vec<Pair>,
}

struct Seen {
    at: EventTime,
    number: u32,
    study: u64,
}

struct Pair {
    reference: u32,
    target: u32,
    gap_h: f64,
    ehr: Grid,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        truth: &'a Truth,
        config: &'a DataConfig,
        dictionary: &'a Dictionary,
        out: SampleWriter,
    ) -> Self {
        Collector {
            truth,
            config,
            dictionary,
            out,
            counts: [0; 3],
            films: BTreeMap::new(),
            live: BTreeMap::new(),
            pairs_left_out: 0,
        }
    }

    /// The first pass: films, and pairs of them. A film's window closes when it was taken.
    pub(super) fn film(&mut self, happening: Happening<'_>) -> Result<(), TrainError> {
        match happening {
            Happening::Asked(asked) => self.film_window(asked),
            Happening::Turned(task) => self.let_go(task),
        }
    }

    /// The second pass: windows as they are served.
    pub(super) fn window(&mut self, happening: Happening<'_>) -> Result<(), TrainError> {
        match happening {
            Happening::Asked(asked) => self.served_window(asked),
            Happening::Turned(_) => Ok(()),
        }
    }

    pub(super) fn finish(self) -> Result<(), TrainError> {
        self.out.finish(self.truth.counts)
    }

    /// The first pass is over: what is still held is written.
    pub(super) fn end_films(&mut self) -> Result<(), TrainError> {
        for (id, live) in std::mem::take(&mut self.live) {
            self.write_pairs(id, live)?;
        }
        Ok(())
    }

    fn film_window(&mut self, asked: &Asked) -> Result<(), TrainError> {
        let ticket = asked.request.ticket;
        let Some(truth) = self.truth.stays.get(&ticket.stay).copied() else { return Ok(()) };
        if ticket.revision > 0 {
            return Ok(());
        }
        let mut live = self.live.remove(&ticket.stay).unwrap_or_default();
        live.learn(asked);
        if let (Some(film), Some(at)) = (&asked.request.film, asked.film_at)
            && !self.films.contains_key(&(ticket.stay, film.digest()))
        {
            let known = self.film_truth(ticket.stay, at);
            let number = self.write_film(ticket.stay, film, known, truth.split)?;
            // Of a study the latest film counts (`reference/ddl-cxr.md` 1.3).
            let repeated: Vec<u32> = live
                .films
                .iter()
                .filter(|seen| known.study != 0 && seen.study == known.study)
                .map(|seen| seen.number)
                .collect();
            live.films.retain(|seen| !repeated.contains(&seen.number));
            live.pairs.retain(|pair| !repeated.contains(&pair.target));
            if at == ticket.t {
                self.pair_up(&mut live, asked, number);
            }
            live.films.push(Seen { at, number, study: known.study });
        }
        self.live.insert(ticket.stay, live);
        Ok(())
    }

    /// Pairs the film of this window with every earlier one (`reference/ddl-cxr.md` 1.4).
    fn pair_up(&mut self, live: &mut Live, asked: &Asked, target: u32) {
        let to = asked.request.ticket.t;
        for seen in &live.films {
            let gap = to.since(seen.at);
            let near = gap <= Span::hours(self.config.pair_gap_min_h);
            if near || gap > Span::hours(self.config.pair_gap_max_h) {
                continue;
            }
            let span = GridSpan::generation(seen.at, to);
            let ehr = hourly(&live.rows, span, asked.request.static_facts, self.dictionary);
            let lines = ehr.values.chunks_exact(GRID_COLUMNS);
            let filled = lines.filter(|line| line[GRID_COLUMNS - MASKS..].contains(&1.0)).count();
            if filled < self.config.pair_bins_min {
                continue;
            }
            if live.pairs.len() >= PAIRS_HELD {
                self.pairs_left_out += 1;
                continue;
            }
            live.pairs.push(Pair { reference: seen.number, target, gap_h: gap.as_hours(), ehr });
        }
    }

    /// Writes the pairs of stays that are over.
    fn let_go(&mut self, task: &Task) -> Result<(), TrainError> {
        let over = |id: &StayId| task.stays().get(id).is_none_or(|stay| stay.ended().is_some());
        let ended: Vec<StayId> = self.live.keys().copied().filter(over).collect();
        for id in ended {
            if let Some(live) = self.live.remove(&id) {
                self.write_pairs(id, live)?;
            }
        }
        Ok(())
    }

    fn write_pairs(&mut self, id: StayId, live: Live) -> Result<(), TrainError> {
        let Some(truth) = self.truth.stays.get(&id) else { return Ok(()) };
        let mut pairs = live.pairs;
        if self.config.pairs_per_stay > 0 {
            super::super::dataset::thin(&mut pairs, self.config.pairs_per_stay);
        }
        for Pair { reference, target, gap_h, ehr } in pairs {
            let head = Head::Pair { reference, target, gap_h };
            self.out.put(truth.split, &head, Body::Series(&[&ehr.values]))?;
        }
        Ok(())
    }

    fn served_window(&mut self, asked: &Asked) -> Result<(), TrainError> {
        let request = &asked.request;
        let ticket = request.ticket;
        let Some(truth) = self.truth.stays.get(&ticket.stay).copied() else { return Ok(()) };
        let since = ticket.t.since(request.admitted_at);
        let hours = window_hours(self.config, ticket.stay.0);
        if ticket.revision > 0 || !hours.iter().any(|&hour| since == Span::hours(hour)) {
            return Ok(());
        }
        let span = GridSpan::prediction(request.admitted_at, ticket.t);
        let ehr = hourly(&request.rows, span, request.static_facts, self.dictionary);
        let film = match (&request.film, asked.film_at) {
            (Some(film), Some(at)) => {
                let number = match self.films.get(&(ticket.stay, film.digest())) {
                    Some(&number) => number,
                    None => {
                        let known = self.film_truth(ticket.stay, at);
                        self.write_film(ticket.stay, film, known, truth.split)?
                    }
                };
                let span = GridSpan::generation(request.generation_start, ticket.t);
                let grid = hourly(&request.rows, span, request.static_facts, self.dictionary);
                Some((number, ticket.t.since(at).as_hours(), grid))
            }
            _ => None,
        };
        self.write_window(ticket.stay, since.as_hours(), film, &ehr, truth)
    }

    fn write_window(
        &mut self,
        stay: StayId,
        t_h: f64,
        film: Option<(u32, f64, Grid)>,
        ehr: &Grid,
        truth: StayTruth,
    ) -> Result<(), TrainError> {
        let bit = |bits: u32, (k, &yes): (usize, &bool)| bits | u32::from(yes) << k;
        let head = Head::Window {
            stay: stay.0,
            t_h,
            film: film.as_ref().map(|(number, age_h, _)| (*number, *age_h)),
            died: truth.died,
            phenotypes: truth.phenotypes.iter().enumerate().fold(0, bit),
        };
        match film {
            Some((_, _, grid)) => {
                self.out.put(truth.split, &head, Body::Series(&[&ehr.values, &grid.values]))
            }
            None => self.out.put(truth.split, &head, Body::Series(&[&ehr.values])),
        }
    }

    fn film_truth(&self, stay: StayId, at: EventTime) -> FilmTruth {
        self.truth.films.get(&(stay, at)).copied().unwrap_or_default()
    }

    fn write_film(
        &mut self,
        stay: StayId,
        film: &PreparedFilm,
        known: FilmTruth,
        split: usize,
    ) -> Result<u32, TrainError> {
        let head = Head::Film { findings: known.findings };
        self.out.put(split, &head, Body::Film(film))?;
        let count = self.counts.get_mut(split).ok_or(TrainError::TooFew("no such split"))?;
        let number = *count;
        *count += 1;
        self.films.insert((stay, film.digest()), number);
        Ok(number)
    }
}

impl Live {
    /// Takes the rows of a question. It holds those of the last 48 h whole and in the engine's own
    /// order; what it held before that is kept from earlier questions, each of which was asked
    /// before this one, so nothing is learnt too early.
    fn learn(&mut self, asked: &Asked) {
        let request = &asked.request;
        let from = request.generation_start.min(request.ticket.t - ROWS_SPAN);
        let oldest = request.ticket.t - KEEP_ROWS;
        self.rows.retain(|row| row.at < from && row.at >= oldest);
        self.rows.extend(request.rows.iter());
    }
}
