//! The last value of each variable for every closed hour of every stay.

use std::collections::BTreeMap;

use crate::flow::{Emission, Record, Work};
use crate::ids::StayId;
use crate::stays::Stays;
use crate::units::{HOUR_MS, VARIABLES};

/// No event yet.
const NONE: u32 = u32::MAX;

/// Open hours. What has closed is used again.
#[derive(Default)]
pub struct LastValues {
    places: Stays,
    open: BTreeMap<i64, Hour>,
    closed: Option<Hour>,
}

#[derive(Default)]
struct Hour {
    /// The row of the stay at each place, or [`NONE`].
    row_of: Vec<u32>,
    rows: Vec<Row>,
}

/// The last values of one stay.
struct Row {
    /// One bit for each variable that has one.
    seen: u32,
    /// Milliseconds within the hour.
    at: [u32; VARIABLES],
    value: [f64; VARIABLES],
}

impl Hour {
    fn row(&mut self, place: usize) -> &mut Row {
        if place >= self.row_of.len() {
            self.row_of.resize(place + 1, NONE);
        }
        if self.row_of[place] == NONE {
            self.row_of[place] = self.rows.len() as u32;
            self.rows.push(Row { seen: 0, at: [0; VARIABLES], value: [0.0; VARIABLES] });
        }
        &mut self.rows[self.row_of[place] as usize]
    }
}

impl Work for LastValues {
    fn take(&mut self, record: &Record, hour: i64) {
        let (place, _) = self.places.place(StayId(record.stay.into()));
        let closed = &mut self.closed;
        let open = self.open.entry(hour).or_insert_with(|| closed.take().unwrap_or_default());
        let row = open.row(place as usize);
        let (variable, at) = (usize::from(record.variable), (record.at - hour * HOUR_MS) as u32);
        // Where there is none yet, its time is 0, which none is below. Of equal times the later
        // arrival.
        if at >= row.at[variable] {
            row.at[variable] = at;
            row.value[variable] = record.value;
        }
        row.seen |= 1 << variable;
    }

    fn close(&mut self, hour: i64, mut emit: impl FnMut(Emission)) {
        let Some(mut closed) = self.open.remove(&hour) else { return };
        for row in closed.rows.drain(..) {
            let (mut sum_milli, mut seen) = (0, row.seen);
            while seen != 0 {
                sum_milli += (row.value[seen.trailing_zeros() as usize] * 1000.0).round() as i64;
                seen &= seen - 1;
            }
            emit(Emission { sum_milli, reads: 0 });
        }
        closed.row_of.fill(NONE);
        self.closed = Some(closed);
    }
}
