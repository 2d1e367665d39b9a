//! The observations of one stay, hour by hour.
//!
//! Facts are only appended. What a window saw is therefore named by a time span, a bound on the
//! application count and the retractions in force, and can be cut again at any later moment.

use std::sync::OnceLock;

use super::Row;
use super::chunk::{Chunk, Entry};
use super::key_filter::KeyFilter;
use crate::ids::VariableId;
use crate::time::{EventTime, Span};

/// Chunks by hour, which of them changed, and which facts are in them.
///
/// The hours are a vector, not a map: a stay holds a hundred, rarely a thousand, and they come in
/// order. The newest one, which almost every new row belongs to, lies beside it: with thousands of
/// stays each look at another place is a look at main memory.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Ascending, all before `newest`.
    hours: Vec<Held>,
    /// None only if there is no hour at all.
    newest: Option<Held>,
    rows: usize,
    /// Made when first asked: whoever never asks for duplicates does not pay for them.
    keys: OnceLock<KeyFilter>,
    /// Hours that left and whose stored value must go too.
    gone: Vec<i64>,
    changed: bool,
}

#[derive(Clone, Debug)]
struct Held {
    chunk: Chunk,
    dirty: bool,
    /// Whether a caller of [`History::take_dirty`] was told of it: an hour that comes and goes
    /// between two commits never reaches the store.
    stored: bool,
}

impl Held {
    fn new(hour: i64) -> Self {
        Held { chunk: Chunk::new(hour), dirty: true, stored: false }
    }
}

impl History {
    /// Adds an observation and says whether it is the first of its hour. `key` is the fact's
    /// [`crate::ids::FactId::key`], `seq` the stay's application count, which never falls.
    pub fn append(
        &mut self,
        at: EventTime,
        variable: VariableId,
        value: f64,
        key: u64,
        seq: u32,
    ) -> bool {
        self.add(at, Entry { dt_ms: 0, seq, key, variable, value, charted: false })
    }

    /// As [`History::append`], for a value that may be a copy of the laboratory's.
    pub fn append_charted(
        &mut self,
        at: EventTime,
        variable: VariableId,
        value: f64,
        key: u64,
        seq: u32,
    ) -> bool {
        self.add(at, Entry { dt_ms: 0, seq, key, variable, value, charted: true })
    }

    /// Adds an entry whose place in its hour `at` says.
    #[inline]
    fn add(&mut self, at: EventTime, entry: Entry) -> bool {
        let hour = at.hour();
        let dt_ms = at.as_millis().rem_euclid(Span::HOUR.as_millis()) as u32;
        let held = self.hour_mut(hour);
        let first = held.chunk.is_empty();
        held.chunk.append(Entry { dt_ms, ..entry });
        held.dirty = true;
        self.changed = true;
        self.rows += 1;
        if let Some(keys) = self.keys.get_mut()
            && !keys.insert(entry.key)
        {
            self.index();
        }
        first
    }

    /// The observations in `from..=to` applied before `seq_below`, in the order of (observation
    /// time, application). `excluded` are retractions: the fact with that key is left out of every
    /// cut that knows the retraction, which is one with `seq_below` above its `from_seq`.
    pub fn cut(
        &self,
        from: EventTime,
        to: EventTime,
        seq_below: u32,
        excluded: &[(u64, u32)],
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        self.visit(from, to, seq_below, excluded, |row| rows.push(row));
        rows
    }

    /// As [`History::cut`], without collecting.
    pub fn visit(
        &self,
        from: EventTime,
        to: EventTime,
        seq_below: u32,
        excluded: &[(u64, u32)],
        mut visit: impl FnMut(Row),
    ) {
        if from > to {
            return;
        }
        let retracted = |entry: &Entry| {
            excluded.iter().any(|&(key, from_seq)| key == entry.key && from_seq < seq_below)
        };
        for chunk in self.within(from, to) {
            let inside = chunk.offsets(from, to);
            chunk.for_each(|entry| {
                if inside.contains(&entry.dt_ms) && entry.seq < seq_below && !retracted(&entry) {
                    visit(chunk.row(&entry));
                }
            });
        }
    }

    /// The entries of a variable observed in `from..=to`, retracted ones among them.
    pub fn entries_of(&self, variable: VariableId, from: EventTime, to: EventTime) -> Vec<Entry> {
        let mut entries = Vec::new();
        if from > to {
            return entries;
        }
        for chunk in self.within(from, to) {
            let inside = chunk.offsets(from, to);
            chunk.for_each(|entry| {
                if entry.variable == variable && inside.contains(&entry.dt_ms) {
                    entries.push(entry);
                }
            });
        }
        entries
    }

    /// The chunks of the hours from that of `from` to that of `to`, which is no earlier.
    fn within(&self, from: EventTime, to: EventTime) -> impl Iterator<Item = &Chunk> {
        let hours = from.hour()..=to.hour();
        let (first, last) = (self.place(*hours.start()), self.place(hours.end().saturating_add(1)));
        let newest = self.newest.iter().filter(move |held| hours.contains(&held.chunk.hour()));
        self.hours[first..last].iter().chain(newest).map(|held| &held.chunk)
    }

    /// When the fact with this key was observed, and its place in the order of application. Near
    /// O(1) for a fact that is not here; scans for one that is, since corrections and duplicates
    /// are rare.
    pub fn applied(&self, key: u64) -> Option<(EventTime, u32)> {
        if !self.keys.get_or_init(|| self.filter()).may_contain(key) {
            return None;
        }
        self.held().rev().find_map(|held| {
            let entry = held.chunk.find(key)?;
            Some((held.chunk.at(&entry), entry.seq))
        })
    }

    /// Forgets the hours before `hour`.
    pub fn evict_before(&mut self, hour: i64) {
        let n = self.place(hour);
        let newest = self.newest.take_if(|held| held.chunk.hour() < hour);
        if n == 0 && newest.is_none() {
            return;
        }
        for held in self.hours.drain(..n).chain(newest) {
            self.rows -= held.chunk.len();
            if held.stored {
                self.gone.push(held.chunk.hour());
            }
        }
        self.changed |= !self.gone.is_empty();
        self.index();
    }

    /// Puts a stored chunk back. It is not dirty: the store has it.
    pub fn restore(&mut self, chunk: Chunk) {
        let n = chunk.len();
        let held = self.hour_mut(chunk.hour());
        let before = std::mem::replace(held, Held { chunk, dirty: false, stored: true });
        self.rows = self.rows + n - before.chunk.len();
        self.index();
    }

    /// The hours that changed since the last call, ascending: one without a chunk left the state.
    /// The caller is taken to store them.
    pub fn take_dirty(&mut self) -> Vec<i64> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut dirty = std::mem::take(&mut self.gone);
        for held in self.hours.iter_mut().chain(&mut self.newest) {
            if std::mem::take(&mut held.dirty) {
                held.stored = true;
                dirty.push(held.chunk.hour());
            }
        }
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// The chunk of one hour.
    pub fn chunk(&self, hour: i64) -> Option<&Chunk> {
        let newest = self.newest.as_ref().filter(|held| held.chunk.hour() == hour);
        let chunk = &newest.or_else(|| self.hours.get(self.place(hour)))?.chunk;
        (chunk.hour() == hour).then_some(chunk)
    }

    /// All chunks, ascending in time.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.held().map(|held| &held.chunk)
    }

    /// Observations held.
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes held in memory, about.
    pub fn bytes(&self) -> usize {
        let chunks: usize = self.chunks().map(Chunk::bytes).sum();
        size_of::<Self>() + chunks + self.keys.get().map_or(0, KeyFilter::bytes)
    }

    fn held(&self) -> impl DoubleEndedIterator<Item = &Held> {
        self.hours.iter().chain(&self.newest)
    }

    /// Where the chunk of `hour` is or would be, if it is not the newest.
    #[inline]
    fn place(&self, hour: i64) -> usize {
        match self.hours.last() {
            Some(last) if last.chunk.hour() < hour => self.hours.len(),
            _ => self.hours.partition_point(|held| held.chunk.hour() < hour),
        }
    }

    /// The chunk of `hour`, which is made if there is none.
    #[inline]
    fn hour_mut(&mut self, hour: i64) -> &mut Held {
        match &self.newest {
            Some(newest) if newest.chunk.hour() > hour => return self.older_hour_mut(hour),
            Some(newest) if newest.chunk.hour() == hour => {}
            _ => self.hours.extend(self.newest.replace(Held::new(hour))),
        }
        self.newest.get_or_insert_with(|| Held::new(hour))
    }

    fn older_hour_mut(&mut self, hour: i64) -> &mut Held {
        let place = self.place(hour);
        if self.hours.get(place).is_none_or(|held| held.chunk.hour() != hour) {
            self.hours.insert(place, Held::new(hour));
        }
        &mut self.hours[place]
    }

    /// Makes the filter again, if there is one: it can only grow.
    fn index(&mut self) {
        if self.keys.get().is_some() {
            self.keys = OnceLock::from(self.filter());
        }
    }

    fn filter(&self) -> KeyFilter {
        KeyFilter::of(self.rows, self.chunks().flat_map(Chunk::keys))
    }
}

/// Equal histories hold equal rows; what is dirty and how keys are found does not matter.
impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.chunks().eq(other.chunks())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> EventTime {
        EventTime::from_millis(ms)
    }

    /// What `History` must do, done in the plainest way.
    #[derive(Default)]
    struct Model(Vec<(Row, u64, u32)>);

    impl Model {
        fn cut(&self, from: i64, to: i64, seq_below: u32, excluded: &[(u64, u32)]) -> Vec<Row> {
            let hidden = |key| excluded.iter().any(|&(k, s)| k == key && s < seq_below);
            let mut rows: Vec<_> = self
                .0
                .iter()
                .filter(|(row, key, seq)| {
                    (at(from)..=at(to)).contains(&row.at) && *seq < seq_below && !hidden(*key)
                })
                .collect();
            rows.sort_by_key(|(row, _, seq)| (row.at, *seq));
            rows.into_iter().map(|(row, _, _)| *row).collect()
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Append(i64, u8),
        Evict(i64),
        Save,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            20 => (-9_000_000i64..40_000_000, 0u8..17).prop_map(|(ms, v)| Op::Append(ms, v)),
            1 => (-3i64..11).prop_map(Op::Evict),
            1 => Just(Op::Save),
        ]
    }

    /// A store that keeps what it is told, and a history read back from it.
    fn save(history: &mut History, stored: &mut BTreeMap<i64, Vec<u8>>) -> History {
        for hour in history.take_dirty() {
            match history.chunk(hour) {
                Some(chunk) => stored.insert(hour, postcard::to_stdvec(chunk).unwrap()),
                None => stored.remove(&hour),
            };
        }
        let mut back = History::default();
        for bytes in stored.values() {
            back.restore(postcard::from_bytes(bytes).unwrap());
        }
        back
    }

    proptest! {
        #[test]
        fn does_what_the_naive_model_does(
            ops in prop::collection::vec(op(), 0..150),
            from in -9_000_000i64..40_000_000,
            length in -10i64..30_000_000,
            seq_below in 0u32..160,
            retracted in prop::collection::vec((0u64..150, 0u32..160), 0..4),
        ) {
            let (mut history, mut model, mut stored) =
                (History::default(), Model::default(), BTreeMap::new());
            for (i, op) in ops.iter().enumerate() {
                let (key, seq) = (i as u64, i as u32);
                match *op {
                    Op::Append(ms, v) => {
                        let row = Row { at: at(ms), variable: VariableId(v), value: ms as f64 };
                        history.append(row.at, row.variable, row.value, key, seq);
                        model.0.push((row, key, seq));
                    }
                    Op::Evict(hour) => {
                        history.evict_before(hour);
                        model.0.retain(|(row, _, _)| row.at.hour() >= hour);
                    }
                    Op::Save => {
                        history = save(&mut history, &mut stored);
                    }
                }
            }
            let to = from + length;
            prop_assert_eq!(
                history.cut(at(from), at(to), seq_below, &retracted),
                model.cut(from, to, seq_below, &retracted)
            );
            prop_assert_eq!(history.len(), model.0.len());
            for key in 0..160 {
                let known = model.0.iter().find(|(_, k, _)| *k == key);
                let want = known.map(|(row, _, seq)| (row.at, *seq));
                prop_assert_eq!(history.applied(key).is_some(), want.is_some());
                prop_assert_eq!(history.applied(key), want);
            }
            let back = save(&mut history, &mut stored);
            prop_assert!(back == history);
            prop_assert!(history.take_dirty().is_empty());
        }
    }

    #[test]
    fn an_hour_that_comes_back_after_eviction_is_written_again() {
        let mut history = History::default();
        history.append(at(0), VariableId(0), 1.0, 1, 1);
        assert_eq!(history.take_dirty(), [0]);
        history.evict_before(1);
        history.append(at(5), VariableId(0), 2.0, 2, 2);
        assert_eq!(history.take_dirty(), [0]);
        assert_eq!(history.chunk(0).map(Chunk::len), Some(1));
        assert!(history.applied(1).is_none() && history.applied(2).is_some());
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut history = History::default();
        for (key, ms) in [(1, i64::MIN), (2, i64::MAX)] {
            history.append(at(ms), VariableId(0), 1.0, key, key as u32);
            assert_eq!(history.applied(key), Some((at(ms), key as u32)));
        }
        assert_eq!(history.cut(EventTime::MIN, EventTime::MAX, 9, &[]).len(), 2);
    }

    #[test]
    fn memory_of_a_stay_is_bounded_by_its_rows() {
        let mut history = History::default();
        for i in 0..30_000u32 {
            history.append(at(i64::from(i) * 12_000), VariableId(1), 1.0, u64::from(i), i);
        }
        assert!(history.applied(30_000).is_none() && history.applied(7).is_some());
        assert!(history.bytes() < 30_000 * 60, "{} bytes", history.bytes());
    }
}
