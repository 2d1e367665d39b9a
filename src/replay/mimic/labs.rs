//! labevents: laboratory results with both of their clocks.
//!
//! A result is available from its storetime. About one in a hundred has none; it is given the
//! median lag from charttime to storetime of its item, measured over the whole file in the same
//! pass (whole minutes, in scope or not, so that a cohort does not change it). Such rows wait in a
//! sorter of their own, bounded like the other, until the medians are known.

use std::collections::BTreeMap;
use std::io::Write;

use super::items::ItemFilter;
use super::measured::value_of;
use super::table::{Next, PROGRESS_EVERY, Row, Table};
use super::tree::Tree;
use super::value::{parse_time, parse_u32, parse_u64};
use crate::replay::config::{Clock, ReplayConfig};
use crate::replay::error::ReplayError;
use crate::replay::intake::{Arrival, Intake, Payload, Spilled, decode, encode};
use crate::replay::item::MimicTable;
use crate::replay::sort::{Key, Sorter};
use crate::time::{EventTime, Span};

const TABLE: MimicTable = MimicTable::LabEvents;
const COLUMNS: [&str; 8] = [
    "itemid",
    "labevent_id",
    "subject_id",
    "charttime",
    "storetime",
    "value",
    "valuenum",
    "valueuom",
];
const ITEM: usize = 0;
/// The share of the sorting memory that rows without a storetime may take.
const WAITING_SHARE: usize = 8;
/// Lags are counted by the minute up to this; longer ones count as this long.
const LONGEST_LAG_MINUTES: usize = 2 * 24 * 60;

/// Reads the whole table into `intake`; `tick(rows, bytes)` is called every so often.
pub(in crate::replay) fn read(
    tree: &Tree,
    items: &ItemFilter,
    intake: &mut Intake<'_>,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<(), ReplayError> {
    let mut table = Table::open(&tree.iv, TABLE.name(), COLUMNS)?;
    let mut labs = Labs::new(intake.config)?;
    let mut passed = 0;
    loop {
        match table.next_where(ITEM, |id| parse_u32(id).is_none_or(|id| items.wants(id)))? {
            Next::End => break,
            Next::Passed => passed += 1,
            Next::Row(row) => labs.take(&row, intake)?,
        }
        if table.rows().is_multiple_of(PROGRESS_EVERY) {
            tick(table.rows(), table.bytes_read());
        }
    }
    tick(table.rows(), table.bytes_read());
    let counts = intake.counts.table(TABLE);
    counts.rows = table.rows();
    counts.not_a_model_variable = passed;
    labs.finish(intake)
}

/// The fluid of each item, from d_labitems; empty if that table is not there.
pub(in crate::replay) fn specimens(
    tree: &Tree,
    items: &ItemFilter,
) -> Result<BTreeMap<u32, String>, ReplayError> {
    let mut fluids = BTreeMap::new();
    if super::table::find(&tree.iv, "hosp/d_labitems").is_err() {
        return Ok(fluids);
    }
    let mut table = Table::open(&tree.iv, "hosp/d_labitems", ["itemid", "fluid"])?;
    while let Some(row) = table.next_row()? {
        if let Some(item) = parse_u32(row.get(0)).filter(|&item| items.wants(item)) {
            fluids.insert(item, row.text(1));
        }
    }
    Ok(fluids)
}

struct Labs {
    lags: BTreeMap<u32, LagHistogram>,
    waiting: Sorter,
    name: Vec<u8>,
    record: Vec<u8>,
}

/// What can be read of a row before its stay is known.
#[derive(Clone, Copy)]
struct Resulted {
    item: u32,
    labevent: u64,
    subject: u64,
    charted: EventTime,
    stored: Option<EventTime>,
}

fn parse(row: &Row<'_, 8>) -> Result<Resulted, &'static str> {
    if row.broken {
        return Err("too few fields, or a quote that is not closed");
    }
    let storetime = row.get(4);
    let result = Resulted {
        item: parse_u32(row.get(0)).ok_or("itemid cannot be read")?,
        labevent: parse_u64(row.get(1)).ok_or("labevent_id cannot be read")?,
        subject: parse_u64(row.get(2)).ok_or("subject_id cannot be read")?,
        charted: parse_time(row.get(3)).ok_or("charttime cannot be read")?,
        stored: parse_time(storetime),
    };
    if result.stored.is_none() && !storetime.is_empty() {
        return Err("storetime cannot be read");
    }
    Ok(result)
}

impl Labs {
    fn new(config: &ReplayConfig) -> Result<Self, ReplayError> {
        let waiting = Sorter::new(config.spill_dir.as_deref(), config.sort_bytes / WAITING_SHARE)?;
        Ok(Labs { lags: BTreeMap::new(), waiting, name: Vec::new(), record: Vec::new() })
    }

    fn take(&mut self, row: &Row<'_, 8>, intake: &mut Intake<'_>) -> Result<(), ReplayError> {
        let lab = match parse(row) {
            Ok(lab) => lab,
            Err(detail) => return intake.malformed(TABLE, row.number, detail),
        };
        if let Some(stored) = lab.stored {
            self.lags.entry(lab.item).or_default().add(stored.since(lab.charted));
        }
        // The admission's id is empty in a quarter of the rows, so the patient and the time say
        // which stay it is.
        let link = intake.stays.link_subject(lab.subject, lab.charted);
        let Some(index) = intake.in_scope(TABLE, link) else { return Ok(()) };
        let payload = match value_of(row.get(5), row.get(6), row.get(7), false) {
            Ok(payload) => payload,
            Err(rejection) => {
                let place = Some((index, lab.stored.unwrap_or(lab.charted)));
                return intake.reject(TABLE, row.number, place, rejection);
            }
        };
        let (number, Resulted { item, labevent, charted, .. }) = (row.number, lab);
        let row = Waiting { number, index, item, labevent, charted };
        match (intake.config.clock, lab.stored) {
            (Clock::Charttime, _) => self.emit(&row, charted, payload, intake),
            (Clock::Available, Some(stored)) => {
                self.emit(&row, stored.max(charted), payload, intake)
            }
            (Clock::Available, None) => self.wait(&row, payload),
        }
    }

    fn emit(
        &mut self,
        row: &Waiting,
        available_at: EventTime,
        payload: Payload<'_>,
        intake: &mut Intake<'_>,
    ) -> Result<(), ReplayError> {
        self.name.clear();
        // Writing to a vector cannot fail.
        let _ = write!(self.name, "labevents/{}", row.labevent);
        intake.counts.table(TABLE).emitted += 1;
        intake.push(Arrival {
            table: TABLE,
            row: row.number,
            stay: row.index,
            name: &self.name,
            rank: row.item,
            observed_at: row.charted,
            available_at,
            payload,
        })
    }

    /// Lays a row aside until its item's lag is known. The key only carries it.
    fn wait(&mut self, row: &Waiting, payload: Payload<'_>) -> Result<(), ReplayError> {
        let key = Key {
            available_ms: row.charted.as_millis(),
            topic: TABLE.topic() as u8,
            stay: row.index as u64,
            rank: row.item,
            id: u128::from(row.labevent),
            table: TABLE.code(),
            row: row.number,
        };
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        let spilled = Spilled { observed_ms: row.charted.as_millis(), payload };
        self.record = encode(&spilled, record)?;
        self.waiting.push(key, &self.record)
    }

    fn finish(mut self, intake: &mut Intake<'_>) -> Result<(), ReplayError> {
        let empty = Sorter::new(intake.config.spill_dir.as_deref(), 0)?;
        let mut waiting = std::mem::replace(&mut self.waiting, empty).finish()?;
        while let Some((key, record)) = waiting.next()? {
            let row = Waiting {
                number: key.row,
                index: key.stay as usize,
                item: key.rank,
                labevent: key.id as u64,
                charted: EventTime::from_millis(key.available_ms),
            };
            let lag = self.lags.get(&row.item).and_then(LagHistogram::median);
            let available_at = row.charted + lag.unwrap_or(intake.config.lab_lag);
            let payload = decode(record)?.payload;
            self.emit(&row, available_at, payload, intake)?;
        }
        Ok(())
    }
}

struct Waiting {
    number: u64,
    index: usize,
    item: u32,
    labevent: u64,
    charted: EventTime,
}

/// Lags of one item by the minute.
#[derive(Default)]
struct LagHistogram {
    minutes: Vec<u32>,
    count: u64,
}

impl LagHistogram {
    fn add(&mut self, lag: Span) {
        let minute = (lag.as_millis() / Span::MINUTE.as_millis()).max(0) as usize;
        let minute = minute.min(LONGEST_LAG_MINUTES);
        if self.minutes.len() <= minute {
            self.minutes.resize(minute + 1, 0);
        }
        self.minutes[minute] = self.minutes[minute].saturating_add(1);
        self.count += 1;
    }

    /// The lower median.
    fn median(&self) -> Option<Span> {
        let mut below = 0;
        let half = self.count.div_ceil(2);
        let minute = self.minutes.iter().position(|&n| {
            below += u64::from(n);
            below >= half && half > 0
        });
        minute.map(|minute| Span::minutes(minute as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lag_is_the_lower_one_in_whole_minutes() {
        let mut lags = LagHistogram::default();
        assert_eq!(lags.median(), None);
        for minutes in [60, 5, 90, 24 * 60 * 40] {
            lags.add(Span::from_millis(minutes * 60_000 + 1_000));
        }
        assert_eq!(lags.median(), Some(Span::minutes(60)));
        lags.add(Span::minutes(-5));
        lags.add(Span::minutes(1));
        assert_eq!(lags.median(), Some(Span::minutes(5)));
    }
}
