//! The whole series since the last film for every closed hour of every stay.

use std::collections::BTreeMap;

use crate::flow::{Emission, Record, Work};
use crate::ids::StayId;
use crate::stays::Stays;
use crate::units::{HOUR_MS, VARIABLES, hour_of};

/// A film is an event of this variable with at least [`FILM_VALUE`].
const FILM_VARIABLE: u8 = 16;
const FILM_VALUE: f64 = 115.0;

/// All stays, and those with an event in each open hour.
#[derive(Default)]
pub struct SinceFilm {
    places: Stays,
    stays: Vec<Stay>,
    open: BTreeMap<i64, Vec<u32>>,
}

/// One stay.
struct Stay {
    /// In arrival order; none before the last film.
    rows: Vec<Row>,
    /// The newest film before the end of the newest closed hour.
    film: i64,
    /// Films of hours that are still open.
    films_open: Vec<i64>,
    /// Open hours with an event.
    hours: Vec<i64>,
}

struct Row {
    at: i64,
    value: f64,
    variable: u8,
}

impl Work for SinceFilm {
    fn take(&mut self, record: &Record, hour: i64) {
        let (place, new) = self.places.place(StayId(record.stay.into()));
        if new {
            let rows = Vec::new();
            let film = i64::MIN;
            self.stays.push(Stay { rows, film, films_open: Vec::new(), hours: Vec::new() });
        }
        let stay = &mut self.stays[place as usize];
        let Record { at, value, variable, .. } = *record;
        stay.rows.push(Row { at, value, variable });
        if variable == FILM_VARIABLE && value >= FILM_VALUE {
            stay.films_open.push(at);
        }
        if !stay.hours.contains(&hour) {
            stay.hours.push(hour);
            self.open.entry(hour).or_default().push(place);
        }
    }

    fn close(&mut self, hour: i64, mut emit: impl FnMut(Emission)) {
        for place in self.open.remove(&hour).unwrap_or_default() {
            emit(self.stays[place as usize].close(hour));
        }
    }
}

impl Stay {
    /// Reads the series up to the end of `hour`, and forgets what no later hour reads.
    fn close(&mut self, hour: i64) -> Emission {
        self.hours.retain(|open| *open != hour);
        let newest = self.films_open.iter().copied().filter(|film| hour_of(*film) <= hour).max();
        if let Some(film) = newest {
            self.films_open.retain(|film| hour_of(*film) > hour);
            self.film = film.max(self.film);
            self.rows.retain(|row| row.at > self.film);
        }
        let end = (hour + 1) * HOUR_MS;
        let (mut reads, mut seen) = (0, 0_u32);
        let (mut last_at, mut last) = ([i64::MIN; VARIABLES], [0.0; VARIABLES]);
        for row in self.rows.iter().filter(|row| row.at < end) {
            let variable = usize::from(row.variable);
            reads += 1;
            seen |= 1 << variable;
            if row.at >= last_at[variable] {
                last_at[variable] = row.at;
                last[variable] = row.value;
            }
        }
        let mut sum_milli = 0;
        while seen != 0 {
            sum_milli += (last[seen.trailing_zeros() as usize] * 1000.0_f64).round() as i64;
            seen &= seen - 1;
        }
        Emission { sum_milli, reads }
    }
}
