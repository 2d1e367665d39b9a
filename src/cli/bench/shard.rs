//! One shard: the stays of one thread, their histories, and what their closed hours emit.

use std::collections::BTreeMap;

use super::input::Event;
use super::stays::Stays;
use crate::engine::window::Tumbling;
use crate::ids::{StayId, VariableId};
use crate::series::History;
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
    /// All values after the last film before the hour's end are read; of them as above.
    SinceFilm,
}

/// Sums that do not depend on the order of emissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) late: u64,
    pub(super) outputs: u64,
    pub(super) accepted: u64,
    pub(super) sum_milli: i64,
    pub(super) reads: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.late += other.late;
        self.outputs += other.outputs;
        self.accepted += other.accepted;
        self.sum_milli = self.sum_milli.saturating_add(other.sum_milli);
        self.reads += other.reads;
    }

    fn emit(&mut self, value: f64) {
        self.sum_milli = self.sum_milli.saturating_add((value * 1000.0).round() as i64);
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
    pub(super) fn new(emission: Emission) -> Self {
        Shard {
            emission,
            watermark: EventTime::MIN,
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
            self.stays.push(Stay {
                id,
                history: History::default(),
                seq: 0,
                film: EventTime::MIN,
                films_open: Vec::new(),
            });
        }
        place
    }

    /// Closes the windows that `watermark` has reached, the oldest first.
    pub(super) fn advance(&mut self, watermark: EventTime) {
        self.watermark = watermark;
        while let Some(entry) = self.open.first_entry() {
            if !Tumbling::HOURLY.is_closed(*entry.key(), watermark) {
                return;
            }
            let (hour, places) = entry.remove_entry();
            for place in places {
                let stay = &mut self.stays[place as usize];
                self.tally.outputs += 1;
                match self.emission {
                    Emission::LastValues => stay.emit_last(hour, &mut self.last, &mut self.tally),
                    Emission::SinceFilm => stay.emit_series(hour, &mut self.last, &mut self.tally),
                }
            }
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }
}

impl Stay {
    /// Takes one event; true if it is the first of its hour.
    fn accept(&mut self, event: &Event) -> bool {
        self.seq += 1;
        if event.variable == FILM_VARIABLE && event.value >= FILM_VALUE {
            self.films_open.push(event.at);
        }
        let key = u64::from(self.seq);
        self.history.append(event.at, event.variable, event.value, key, self.seq)
    }

    fn emit_last(&mut self, hour: i64, last: &mut LastValues, tally: &mut Tally) {
        if let Some(chunk) = self.history.chunk(hour) {
            chunk.for_each(|entry| last.take(entry.variable, entry.value));
        }
        last.emit(tally);
        self.films_open.clear();
        self.history.evict_before(hour + 1);
    }

    fn emit_series(&mut self, hour: i64, last: &mut LastValues, tally: &mut Tally) {
        let end = Tumbling::HOURLY.end(hour);
        let taken = self.films_open.iter().copied().filter(|&film| film < end).max();
        self.film = taken.unwrap_or(self.film).max(self.film);
        self.films_open.retain(|&film| film >= end);
        let (from, to) = (self.film + MILLISECOND, end - MILLISECOND);
        self.history.visit(from, to, u32::MAX, &[], |row| {
            tally.reads += 1;
            last.take(row.variable, row.value);
        });
        last.emit(tally);
        // Nothing before the film is read again: films of later windows are not older.
        self.history.evict_before(self.film.hour());
    }
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
