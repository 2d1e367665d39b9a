//! The observations of one stay in one hour, packed into one byte column of fixed 25-byte records.
//!
//! An hour of a stay holds some twenty rows, so what costs is not the scan but the allocations:
//! one growing buffer is one allocation where a column for each field would be five, a record is
//! 25 bytes where a struct would be 32, and the value that the store writes is the buffer itself.
//! Rows arrive nearly in order, so a row that is out of place is moved past the few behind it.
//!
//! Record, little-endian: dt ms u32 | seq u32 | key u64 | value f64 | variable u8. An hour has
//! fewer than 2^31 ms: the highest bit of the first field says that the value was charted.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::VariableId;
use crate::time::{EventTime, Span};

/// Bytes of one record.
const RECORD: usize = 25;

/// The bit of the first field that says so of a charted value.
const CHARTED: u32 = 1 << 31;

type Record = [u8; RECORD];

/// How far back a row is moved into its place. Beyond it the chunk is sorted when it is read:
/// appending stays O(1) even if a backfill arrives in reverse.
const MAX_MOVE: usize = 16;

/// Rows that a new chunk has room for: a stay's busy variables in a calm hour.
const FIRST_ROOM: usize = 24;

/// The rows of one stay whose observation time lies in one hour of event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Packed", into = "Packed")]
pub struct Chunk {
    hour: i64,
    /// False once a row lay too far out of place to be moved.
    ordered: bool,
    bytes: Vec<u8>,
}

/// One row with what identifies it inside the stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Milliseconds since the start of the chunk's hour.
    pub dt_ms: u32,
    /// The stay's application count: which facts a sealed window knew.
    pub seq: u32,
    /// [`crate::ids::FactId::key`].
    pub key: u64,
    pub variable: VariableId,
    pub value: f64,
    /// Whether it may be a copy: of a variable that the laboratory reports, and not from there.
    pub charted: bool,
}

/// What is written: hour and records, as they lie.
#[derive(Serialize, Deserialize)]
struct Packed {
    hour: i64,
    bytes: Vec<u8>,
}

/// Stored bytes that are no chunk.
#[derive(Debug, thiserror::Error)]
#[error("stored chunk is damaged: {0}; rebuild the store from its changelog")]
pub struct ChunkError(&'static str);

impl Chunk {
    /// An empty chunk of the hour `hour` (whole hours since the epoch, [`EventTime::hour`]).
    pub fn new(hour: i64) -> Self {
        Chunk { hour, ordered: true, bytes: Vec::new() }
    }

    pub fn hour(&self) -> i64 {
        self.hour
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() / RECORD
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes held in memory, the unused room included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    /// Adds a row. Amortised O(1), in any order of arrival.
    #[inline]
    pub fn append(&mut self, entry: Entry) {
        if self.bytes.is_empty() {
            self.bytes.reserve(FIRST_ROOM * RECORD);
        }
        let mut n = self.len();
        let place = (entry.dt_ms, entry.seq);
        self.bytes.extend_from_slice(&entry.pack());
        if !self.ordered || n == 0 || self.place(n - 1) <= place {
            return;
        }
        let furthest = n.saturating_sub(MAX_MOVE);
        while n > furthest && self.place(n - 1) > place {
            n -= 1;
        }
        if n > 0 && self.place(n - 1) > place {
            self.ordered = false;
            return;
        }
        self.bytes[n * RECORD..].rotate_right(RECORD);
    }

    /// The rows in the order of (observation time, seq).
    #[inline]
    pub fn for_each(&self, mut visit: impl FnMut(Entry)) {
        if self.ordered {
            self.records().iter().for_each(|record| visit(Entry::unpack(record)));
            return;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&i| self.place(i));
        for i in order {
            visit(Entry::unpack(&self.records()[i]));
        }
    }

    /// The row with this key.
    pub fn find(&self, key: u64) -> Option<Entry> {
        self.records().iter().find(|record| self::key(record) == key).map(Entry::unpack)
    }

    /// The keys of all rows, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.records().iter().map(key)
    }

    /// When a row of this chunk was observed.
    #[inline]
    pub fn at(&self, entry: &Entry) -> EventTime {
        let start = self.hour.wrapping_mul(Span::HOUR.as_millis());
        EventTime::from_millis(start.wrapping_add(i64::from(entry.dt_ms)))
    }

    /// Which offsets inside this hour lie in `from..=to`: one comparison a row is left.
    pub(super) fn offsets(&self, from: EventTime, to: EventTime) -> RangeInclusive<u32> {
        let hour_ms = i128::from(Span::HOUR.as_millis());
        let start = i128::from(self.hour) * hour_ms;
        let offset = |at: EventTime| (i128::from(at.as_millis()) - start).clamp(-1, hour_ms);
        match (offset(from), offset(to)) {
            (low, high) if high < 0 || low > high => RangeInclusive::new(1, 0),
            (low, high) => low.max(0) as u32..=high as u32,
        }
    }

    #[inline]
    pub fn row(&self, entry: &Entry) -> Row {
        Row { at: self.at(entry), variable: entry.variable, value: entry.value }
    }

    #[inline]
    fn place(&self, index: usize) -> (u32, u32) {
        self.records().get(index).map_or((0, 0), place)
    }

    #[inline]
    fn records(&self) -> &[Record] {
        self.bytes.as_chunks().0
    }
}

impl Entry {
    #[inline]
    fn pack(&self) -> Record {
        let mut record = [0; RECORD];
        let charted = if self.charted { CHARTED } else { 0 };
        record[0..4].copy_from_slice(&(self.dt_ms | charted).to_le_bytes());
        record[4..8].copy_from_slice(&self.seq.to_le_bytes());
        record[8..16].copy_from_slice(&self.key.to_le_bytes());
        record[16..24].copy_from_slice(&self.value.to_le_bytes());
        record[24] = self.variable.0;
        record
    }

    #[inline]
    fn unpack(record: &Record) -> Self {
        let (dt_ms, seq) = place(record);
        Entry {
            dt_ms,
            seq,
            key: key(record),
            value: f64::from_bits(le_u64(record, 16)),
            variable: VariableId(record[24]),
            charted: le_u64(record, 0) as u32 & CHARTED != 0,
        }
    }
}

#[inline]
fn place(record: &Record) -> (u32, u32) {
    let both = le_u64(record, 0);
    (both as u32 & !CHARTED, (both >> 32) as u32)
}

#[inline]
fn key(record: &Record) -> u64 {
    le_u64(record, 8)
}

/// Eight bytes at a constant place of a record: the bounds are known when this is inlined.
#[inline(always)]
fn le_u64(record: &Record, from: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&record[from..from + 8]);
    u64::from_le_bytes(bytes)
}

impl From<Chunk> for Packed {
    fn from(chunk: Chunk) -> Self {
        Packed { hour: chunk.hour, bytes: chunk.bytes }
    }
}

impl TryFrom<Packed> for Chunk {
    type Error = ChunkError;

    fn try_from(packed: Packed) -> Result<Self, ChunkError> {
        if !packed.bytes.len().is_multiple_of(RECORD) {
            return Err(ChunkError("its length is no multiple of a record"));
        }
        let mut chunk = Chunk { hour: packed.hour, ordered: true, bytes: packed.bytes };
        let hour_ms = Span::HOUR.as_millis();
        let sound = |entry: Entry| i64::from(entry.dt_ms) < hour_ms && entry.value.is_finite();
        if !chunk.records().iter().all(|record| sound(Entry::unpack(record))) {
            return Err(ChunkError("a time outside its hour, or a value that is not finite"));
        }
        chunk.ordered = (1..chunk.len()).all(|i| chunk.place(i - 1) <= chunk.place(i));
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(dt_ms: u32, seq: u32) -> Entry {
        let value = f64::from(dt_ms) / 7.0;
        let (key, charted) = (u64::from(seq) << 32, seq.is_multiple_of(3));
        Entry { dt_ms, seq, key, variable: VariableId(3), value, charted }
    }

    fn read(chunk: &Chunk) -> Vec<Entry> {
        let mut rows = Vec::new();
        chunk.for_each(|entry| rows.push(entry));
        rows
    }

    #[test]
    fn a_row_far_out_of_place_does_not_move_the_others() {
        let mut chunk = Chunk::new(5);
        for seq in 0..1_000 {
            chunk.append(entry(1_000_000 - seq, seq));
        }
        assert!(!chunk.ordered);
        let rows = read(&chunk);
        assert!(rows.windows(2).all(|pair| pair[0].dt_ms < pair[1].dt_ms));
        assert_eq!(rows.len(), 1_000);
    }

    #[test]
    fn damage_is_an_error_and_not_a_row() {
        let mut chunk = Chunk::new(-2);
        chunk.append(entry(3_599_999, 1));
        let good = postcard::to_stdvec(&chunk).unwrap();
        assert_eq!(postcard::from_bytes::<Chunk>(&good).unwrap(), chunk);
        let short = Packed { hour: 0, bytes: vec![0; RECORD - 1] };
        assert!(Chunk::try_from(short).is_err());
        let beyond = Packed { hour: 0, bytes: entry(3_600_000, 1).pack().to_vec() };
        assert!(Chunk::try_from(beyond).is_err());
        let nan = Entry { value: f64::NAN, ..entry(0, 1) };
        assert!(Chunk::try_from(Packed { hour: 0, bytes: nan.pack().to_vec() }).is_err());
    }

    proptest! {
        #[test]
        fn reads_in_order_whatever_the_arrival(times in prop::collection::vec(0u32..50, 0..80)) {
            let mut chunk = Chunk::new(0);
            let mut model = Vec::new();
            for (&dt_ms, seq) in times.iter().zip(0..) {
                chunk.append(entry(dt_ms, seq));
                model.push(entry(dt_ms, seq));
            }
            model.sort_by_key(|entry| (entry.dt_ms, entry.seq));
            prop_assert_eq!(read(&chunk), model);
            let bytes = postcard::to_stdvec(&chunk).unwrap();
            let back: Chunk = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(read(&back), read(&chunk));
        }
    }
}
