//! chartevents: bedside observations, the largest table by far.

use std::io::Write;

use super::items::ItemFilter;
use super::measured::value_of;
use super::stays::Link;
use super::table::{Next, PROGRESS_EVERY, Row, Table};
use super::tree::Tree;
use super::value::{parse_time, parse_u32, parse_u64};
use crate::replay::config::{ChartClock, Clock, ReplayConfig};
use crate::replay::error::ReplayError;
use crate::replay::intake::{Arrival, Intake};
use crate::replay::item::MimicTable;
use crate::time::EventTime;

const TABLE: MimicTable = MimicTable::ChartEvents;
const COLUMNS: [&str; 8] =
    ["itemid", "subject_id", "stay_id", "charttime", "storetime", "value", "valuenum", "valueuom"];
const ITEM: usize = 0;

/// Reads the whole table into `intake`; `tick(rows, bytes)` is called every so often.
pub(in crate::replay) fn read(
    tree: &Tree,
    items: &ItemFilter,
    intake: &mut Intake<'_>,
    tick: &mut dyn FnMut(u64, u64),
) -> Result<(), ReplayError> {
    let mut table = Table::open(&tree.iv, TABLE.name(), COLUMNS)?;
    let mut passed = 0;
    let mut name = Vec::new();
    loop {
        // An item id that cannot be read is handed out, and rejected below.
        match table.next_where(ITEM, |id| parse_u32(id).is_none_or(|id| items.wants(id)))? {
            Next::End => break,
            Next::Passed => passed += 1,
            Next::Row(row) => take(&row, items, intake, &mut name)?,
        }
        if table.rows().is_multiple_of(PROGRESS_EVERY) {
            tick(table.rows(), table.bytes_read());
        }
    }
    tick(table.rows(), table.bytes_read());
    let counts = intake.counts.table(TABLE);
    counts.rows = table.rows();
    counts.not_a_model_variable = passed;
    Ok(())
}

/// What can be read of a row before its stay is known.
struct Charted {
    item: u32,
    subject: Option<u64>,
    stay: Option<u64>,
    at: EventTime,
    stored: Option<EventTime>,
}

fn parse(row: &Row<'_, 8>) -> Result<Charted, &'static str> {
    if row.broken {
        return Err("too few fields, or a quote that is not closed");
    }
    let [item, subject, stay, charttime, storetime] = [0, 1, 2, 3, 4].map(|at| row.get(at));
    let charted = Charted {
        item: parse_u32(item).ok_or("itemid cannot be read")?,
        subject: parse_u64(subject),
        stay: parse_u64(stay),
        at: parse_time(charttime).ok_or("charttime cannot be read")?,
        stored: parse_time(storetime),
    };
    if charted.stored.is_none() && !storetime.is_empty() {
        return Err("storetime cannot be read");
    }
    if charted.stay.is_none() && (!stay.is_empty() || charted.subject.is_none()) {
        return Err("stay_id or subject_id cannot be read");
    }
    Ok(charted)
}

fn take(
    row: &Row<'_, 8>,
    items: &ItemFilter,
    intake: &mut Intake<'_>,
    name: &mut Vec<u8>,
) -> Result<(), ReplayError> {
    let charted = match parse(row) {
        Ok(charted) => charted,
        Err(detail) => return intake.malformed(TABLE, row.number, detail),
    };
    let link = match (charted.stay, charted.subject) {
        (Some(stay), _) => intake.stays.link_id(stay, charted.at),
        (None, Some(subject)) => intake.stays.link_subject(subject, charted.at),
        (None, None) => Link::OutOfScope,
    };
    let Some(index) = intake.in_scope(TABLE, link) else { return Ok(()) };
    let available_at = available(charted.at, charted.stored, intake.config);
    let [value, valuenum, unit] = [5, 6, 7].map(|at| row.get(at));
    let payload = match value_of(value, valuenum, unit, items.is_textual(charted.item)) {
        Ok(payload) => payload,
        Err(rejection) => {
            return intake.reject(TABLE, row.number, Some((index, available_at)), rejection);
        }
    };
    // Rows that say the same are one fact, however often they stand in the file. Writing to a
    // vector cannot fail.
    let stay = intake.stays.get(index).map_or(0, |stay| stay.id.0);
    name.clear();
    let _ = write!(name, "chartevents/{stay}/{}/{}/", charted.item, charted.at.as_millis());
    for part in [value, b"/", valuenum, b"/", unit] {
        name.extend_from_slice(part);
    }
    intake.counts.table(TABLE).emitted += 1;
    intake.push(Arrival {
        table: TABLE,
        row: row.number,
        stay: index,
        name,
        rank: charted.item,
        observed_at: charted.at,
        available_at,
        payload,
    })
}

/// `reference/clinical.md` 3.1. A storetime before charttime says nothing about availability.
fn available(charted: EventTime, stored: Option<EventTime>, config: &ReplayConfig) -> EventTime {
    match (config.clock, config.charts) {
        (Clock::Charttime, _) => charted,
        (Clock::Available, ChartClock::Device) => charted + config.device_lag,
        (Clock::Available, ChartClock::Validated) => {
            stored.map_or(charted, |stored| stored.max(charted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn availability_follows_the_mode() {
        let minute = |m: i64| EventTime::from_millis(m * 60_000);
        let (charted, stored) = (minute(100), Some(minute(160)));
        let mut config = ReplayConfig::default();
        assert_eq!(available(charted, stored, &config), minute(101));
        config.charts = ChartClock::Validated;
        assert_eq!(available(charted, stored, &config), minute(160));
        assert_eq!(available(charted, Some(minute(40)), &config), charted);
        assert_eq!(available(charted, None, &config), charted);
        config.clock = Clock::Charttime;
        assert_eq!(available(charted, stored, &config), charted);
    }
}
