//! Where the readers put their rows: each is counted, given its two clocks and its place in the
//! total order, and handed to the sorter.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::config::{Anchor, ReplayConfig};
use super::error::ReplayError;
use super::item::{MimicTable, RejectedRow};
use super::mimic::stays::{Link, Stay, Stays};
use super::reconcile::Reconciliation;
use super::sort::{Key, Sorter};
use crate::event::{Reason, Rejection, ViewPosition};
use crate::ids::{FactId, NAMESPACE, StayId};
use crate::time::{EventTime, Span};

/// What a sorted record holds beside its key.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spilled<'a> {
    pub observed_ms: i64,
    #[serde(borrow)]
    pub payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Payload<'a> {
    Admitted,
    Transferred { unit: &'a str },
    Discharged,
    Number { value: f64, unit: &'a str },
    Text { value: &'a str, unit: &'a str },
    Filmed { view: ViewPosition, dicom: &'a str, subject: u64, study: u64 },
    Rejected { stay: Option<u64>, reason: Reason, detail: &'a str },
}

/// A row on its way into the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub table: MimicTable,
    pub row: u64,
    /// Index of its stay.
    pub stay: usize,
    /// Name of the fact inside its table; equal rows have equal names and so equal ids.
    pub name: &'a [u8],
    pub rank: u32,
    pub observed_at: EventTime,
    pub available_at: EventTime,
    pub payload: Payload<'a>,
}

/// Takes rows, gives a sorter.
pub(super) struct Intake<'a> {
    pub config: &'a ReplayConfig,
    pub stays: &'a Stays,
    pub counts: Reconciliation,
    sorter: Sorter,
    record: Vec<u8>,
    shift: Shift,
}

/// By how much the times of a stay's rows are moved.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shift {
    All(Span),
    AdmissionTo(EventTime),
}

impl Shift {
    pub fn new(anchor: Anchor, stays: &Stays) -> Self {
        match anchor {
            Anchor::Original => Shift::All(Span::ZERO),
            Anchor::Each(now) => Shift::AdmissionTo(EventTime::from_millis(now.as_millis())),
            Anchor::First(now) => {
                let first = stays.chosen().map(|stay| stay.intime).min();
                let now = EventTime::from_millis(now.as_millis());
                Shift::All(first.map_or(Span::ZERO, |first| now.since(first)))
            }
        }
    }

    pub fn of(self, stay: &Stay) -> Span {
        match self {
            Shift::All(shift) => shift,
            Shift::AdmissionTo(now) => now.since(stay.intime),
        }
    }
}

impl<'a> Intake<'a> {
    pub fn new(config: &'a ReplayConfig, stays: &'a Stays) -> Result<Self, ReplayError> {
        let sorter = Sorter::new(config.spill_dir.as_deref(), config.sort_bytes)?;
        let shift = Shift::new(config.anchor, stays);
        let counts = Reconciliation::default();
        Ok(Intake { config, stays, counts, sorter, record: Vec::new(), shift })
    }

    /// The stay of a link, or `None` after counting the row as outside.
    pub fn in_scope(&mut self, table: MimicTable, link: Link) -> Option<usize> {
        let counts = self.counts.table(table);
        match link {
            Link::Stay(index) => return Some(index),
            Link::NotInCohort => counts.not_in_cohort += 1,
            Link::OutOfScope => counts.out_of_scope += 1,
        }
        None
    }

    /// Puts an event into the order. The caller counts its row.
    pub fn push(&mut self, arrival: Arrival<'_>) -> Result<(), ReplayError> {
        let Some(stay) = self.stays.get(arrival.stay) else { return Ok(()) };
        let shift = self.shift.of(stay);
        let key = Key {
            available_ms: (arrival.available_at + shift).as_millis(),
            topic: arrival.table.topic() as u8,
            stay: stay.id.0,
            rank: arrival.rank,
            id: Uuid::new_v5(&NAMESPACE, arrival.name).as_u128(),
            table: arrival.table.code(),
            row: arrival.row,
        };
        let observed_ms = (arrival.observed_at + shift).as_millis();
        self.counts.table(arrival.table).events += 1;
        self.put(key, Spilled { observed_ms, payload: arrival.payload })
    }

    /// Puts a dead letter into the order, at `at` if its time is known and before everything else
    /// if not, and counts its row as rejected.
    pub fn reject(
        &mut self,
        table: MimicTable,
        row: u64,
        place: Option<(usize, EventTime)>,
        rejection: Rejection,
    ) -> Result<(), ReplayError> {
        let stay = place.and_then(|(index, at)| Some((self.stays.get(index)?, at)));
        let at = stay.map_or(EventTime::MIN, |(stay, at)| at + self.shift.of(stay));
        let stay = stay.map(|(stay, _)| stay.id);
        self.reject_at(at, RejectedRow { table, row, stay, rejection })
    }

    /// As [`Intake::reject`], of a row that some reader has already judged.
    pub fn reject_at(&mut self, at: EventTime, row: RejectedRow) -> Result<(), ReplayError> {
        *self.counts.table(row.table).rejected.entry(row.rejection.reason).or_default() += 1;
        let stay = row.stay.map(|stay| stay.0);
        let key = Key {
            available_ms: at.as_millis(),
            topic: row.table.topic() as u8,
            stay: stay.unwrap_or(0),
            rank: u32::MAX,
            id: 0,
            table: row.table.code(),
            row: row.row,
        };
        let (reason, detail) = (row.rejection.reason, row.rejection.detail.as_str());
        let payload = Payload::Rejected { stay, reason, detail };
        self.put(key, Spilled { observed_ms: at.as_millis(), payload })
    }

    /// A row without the columns it needs.
    pub fn malformed(
        &mut self,
        table: MimicTable,
        row: u64,
        detail: &str,
    ) -> Result<(), ReplayError> {
        self.reject(table, row, None, Rejection::new(Reason::MalformedRow, detail))
    }

    /// The sorter with all rows, and what became of each.
    pub fn finish(self) -> (Sorter, Reconciliation) {
        (self.sorter, self.counts)
    }

    fn put(&mut self, key: Key, spilled: Spilled<'_>) -> Result<(), ReplayError> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        self.record = encode(&spilled, record)?;
        self.sorter.push(key, &self.record)
    }
}

pub(super) fn encode(spilled: &Spilled<'_>, into: Vec<u8>) -> Result<Vec<u8>, ReplayError> {
    let fail =
        |error: postcard::Error| ReplayError::Encode { topic: "sort", problem: error.to_string() };
    postcard::to_extend(spilled, into).map_err(fail)
}

pub(super) fn decode(record: &[u8]) -> Result<Spilled<'_>, ReplayError> {
    let fail =
        |error: postcard::Error| ReplayError::Encode { topic: "sort", problem: error.to_string() };
    postcard::from_bytes(record).map_err(fail)
}

/// The id of a sorted record.
pub(super) fn fact_id(key: &Key) -> FactId {
    FactId(Uuid::from_u128(key.id))
}

/// The stay of a sorted record.
pub(super) fn stay_id(key: &Key) -> StayId {
    StayId(key.stay)
}
