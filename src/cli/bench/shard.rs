//! One shard: the stays of one thread, their histories, and what their closed hours emit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::input::Event;
use super::stays::Stays;
use super::usage;
use crate::engine::window::Tumbling;
use crate::ids::{StayId, VariableId};
use crate::series::{Chunk, History};
use crate::time::{EventTime, Span};

/// In the benchmark a film is an event of this variable with at least [`FILM_VALUE`].
const FILM_VARIABLE: VariableId = VariableId(16);
const FILM_VALUE: f64 = 115.0;

const MILLISECOND: Span = Span::from_millis(1);

/// What a closed hour of a stay emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emission {
    /// The last value of each variable by event time; of equal times the later arrival.
    LastValues,
    /// All values after the last film before the hour's end are read; of them as above. What that
    /// reading costs is measured apart.
    SinceFilm,
}

/// Sums that do not depend on the order of emissions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) late: u64,
    pub(super) outputs: u64,
    pub(super) accepted: u64,
    pub(super) sum_milli: i64,
    pub(super) reads: u64,
    /// Processor time of reading the series of closed hours and of adding up what they emit; the
    /// one sum that is no answer.
    pub(super) emission_cpu_s: f64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.late += other.late;
        self.outputs += other.outputs;
        self.accepted += other.accepted;
        self.sum_milli = self.sum_milli.saturating_add(other.sum_milli);
        self.reads += other.reads;
        self.emission_cpu_s += other.emission_cpu_s;
    }

    fn emit(&mut self, value: f64) {
        self.sum_milli = self.sum_milli.saturating_add((value * 1000.0).round() as i64);
    }
}

/// What is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    pub stays: u64,
    /// Hour chunks, the values of the store.
    pub chunks: u64,
    /// Observations in them.
    pub observations: u64,
}

impl Held {
    pub(super) fn add(&mut self, other: Held) {
        self.stays += other.stays;
        self.chunks += other.chunks;
        self.observations += other.observations;
    }
}

/// One stay.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) id: StayId,
    pub(super) history: History,
    /// Accepted events so far.
    seq: u32,
    /// The newest film before the end of the newest closed hour.
    film: EventTime,
    /// Films of hours that are still open.
    films_open: Vec<EventTime>,
}

#[derive(Debug)]
pub(super) struct Shard {
    emission: Emission,
    watermark: EventTime,
    places: Stays,
    pub(super) stays: Vec<Stay>,
    /// The stays with an accepted event in each open hour.
    open: BTreeMap<i64, Vec<u32>>,
    last: LastValues,
    tally: Tally,
}

impl Emission {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Emission::LastValues => "window",
            Emission::SinceFilm => "series",
        }
    }
}

impl Shard {
    /// Without stays; what comes first is judged under `watermark`.
    pub(super) fn new(emission: Emission, watermark: EventTime) -> Self {
        Shard {
            emission,
            watermark,
            places: Stays::default(),
            stays: Vec::new(),
            open: BTreeMap::new(),
            last: LastValues::new(),
            tally: Tally::default(),
        }
    }

    /// Takes events that all arrived under the present watermark, in arrival order.
    pub(super) fn take(&mut self, events: &[Event]) {
        for event in events {
            let hour = Tumbling::HOURLY.window_of(event.at);
            if Tumbling::HOURLY.is_closed(hour, self.watermark) {
                self.tally.late += 1;
                continue;
            }
            self.tally.accepted += 1;
            let place = self.place(event.stay);
            if self.stays[place as usize].accept(event) {
                self.open.entry(hour).or_default().push(place);
            }
        }
    }

    fn place(&mut self, id: StayId) -> u32 {
        let (place, new) = self.places.place(id);
        if new {
            self.stays.push(Stay::new(id));
        }
        place
    }

    /// Puts back an hour of a stay as it was stored. Everything else about the stay follows from
    /// its hours and the watermark.
    pub(super) fn restore(&mut self, id: StayId, chunk: Chunk) {
        let hour = chunk.hour();
        let is_open = !Tumbling::HOURLY.is_closed(hour, self.watermark);
        let place = self.place(id);
        self.stays[place as usize].restore(chunk, is_open);
        if is_open {
            self.open.entry(hour).or_default().push(place);
        }
    }

    /// Closes the windows that `watermark` has reached, the oldest first.
    pub(super) fn advance(&mut self, watermark: EventTime) -> anyhow::Result<()> {
        self.watermark = watermark;
        while let Some(entry) = self.open.first_entry() {
            if !Tumbling::HOURLY.is_closed(*entry.key(), watermark) {
                break;
            }
            let (hour, places) = entry.remove_entry();
            self.tally.outputs += places.len() as u64;
            match self.emission {
                Emission::LastValues => self.emit_last(hour, &places),
                Emission::SinceFilm => self.emit_series(hour, &places)?,
            }
        }
        Ok(())
    }

    fn emit_last(&mut self, hour: i64, places: &[u32]) {
        for &place in places {
            let stay = &mut self.stays[place as usize];
            if let Some(chunk) = stay.history.chunk(hour) {
                chunk.for_each(|entry| self.last.take(entry.variable, entry.value));
            }
            self.last.emit(&mut self.tally);
            stay.films_open.clear();
            stay.history.evict_before(hour + 1);
        }
    }

    /// In three rounds, so that the middle one, the reading, can be clocked alone: two looks at
    /// the clock for all stays of an hour.
    fn emit_series(&mut self, hour: i64, places: &[u32]) -> anyhow::Result<()> {
        let end = Tumbling::HOURLY.end(hour);
        let mut newer_film = Vec::new();
        for &place in places {
            if self.stays[place as usize].settle_films(end) {
                newer_film.push(place);
            }
        }
        let before = usage::thread_cpu_seconds();
        for &place in places {
            self.stays[place as usize].emit_series(end, &mut self.last, &mut self.tally);
        }
        self.tally.emission_cpu_s += usage::thread_cpu_seconds() - before;
        for place in newer_film {
            let stay = &mut self.stays[place as usize];
            // Nothing before the film is read again: films of later windows are not older.
            stay.history.evict_before(stay.film.hour());
        }
        Ok(())
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    pub(super) fn held(&self) -> Held {
        let mut held = Held { stays: self.stays.len() as u64, ..Held::default() };
        for stay in &self.stays {
            held.chunks += stay.history.chunks().count() as u64;
            held.observations += stay.history.len() as u64;
        }
        held
    }
}

impl Stay {
    fn new(id: StayId) -> Self {
        Stay {
            id,
            history: History::default(),
            seq: 0,
            film: EventTime::MIN,
            films_open: Vec::new(),
        }
    }

    /// Takes one event; true if it is the first of its hour.
    fn accept(&mut self, event: &Event) -> bool {
        self.seq += 1;
        if is_film(event.variable, event.value) {
            self.films_open.push(event.at);
        }
        let key = u64::from(self.seq);
        self.history.append(event.at, event.variable, event.value, key, self.seq)
    }

    fn restore(&mut self, chunk: Chunk, is_open: bool) {
        chunk.for_each(|entry| {
            self.seq = self.seq.max(entry.seq);
            if is_film(entry.variable, entry.value) {
                match is_open {
                    true => self.films_open.push(chunk.at(&entry)),
                    false => self.film = self.film.max(chunk.at(&entry)),
                }
            }
        });
        self.history.restore(chunk);
    }

    /// Films before `end` are no longer open; the newest of them counts. Whether it is a newer one
    /// than before.
    fn settle_films(&mut self, end: EventTime) -> bool {
        let (before, newest) = (self.film, &mut self.film);
        self.films_open.retain(|&film| {
            let stays = film >= end;
            if !stays {
                *newest = film.max(*newest);
            }
            stays
        });
        self.film > before
    }

    fn emit_series(&self, end: EventTime, last: &mut LastValues, tally: &mut Tally) {
        let (from, to) = (self.film + MILLISECOND, end - MILLISECOND);
        let mut reads = 0;
        self.history.visit(from, to, u32::MAX, &[], |row| {
            reads += 1;
            last.take(row.variable, row.value);
        });
        tally.reads += reads;
        last.emit(tally);
    }
}

fn is_film(variable: VariableId, value: f64) -> bool {
    variable == FILM_VARIABLE && value >= FILM_VALUE
}

/// The last value of each variable. One for all emissions, so that it is not cleared for each.
#[derive(Debug)]
struct LastValues {
    last: [f64; 256],
    /// One bit for each variable.
    seen: [u64; 4],
}

impl LastValues {
    fn new() -> Self {
        LastValues { last: [0.0; 256], seen: [0; 4] }
    }

    /// Takes rows in the order of (time, arrival), so that the last one taken is the last.
    fn take(&mut self, variable: VariableId, value: f64) {
        let variable = usize::from(variable.0);
        self.last[variable] = value;
        self.seen[variable / 64] |= 1 << (variable % 64);
    }

    /// Emits what was taken, and starts again.
    fn emit(&mut self, tally: &mut Tally) {
        for (word, mut bits) in std::mem::take(&mut self.seen).into_iter().enumerate() {
            while bits != 0 {
                tally.emit(self.last[word * 64 + bits.trailing_zeros() as usize]);
                bits &= bits - 1;
            }
        }
    }
}
