//! A log in memory that does what Kafka promises: partitions, transactions, a last stable offset,
//! fencing by producer epoch, compaction. It keeps no time and takes no lock.
//!
//! Source of the rules: `reference/kafka.md` 5 and KIP-98. The conformance tests beside it say
//! what is modelled.

use std::collections::BTreeMap;

/// What stands at an offset.
#[derive(Clone, Debug)]
struct Entry<R> {
    /// `None` for the mark that ends a transaction.
    record: Option<R>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its transaction has not ended.
    Open,
    Committed,
    Aborted,
    /// A newer record of its key stands further on.
    Compacted,
}

/// What a transactional id is known by.
#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: u64,
    /// (partition, offset) of the records of the transaction under way.
    open: Option<Vec<(usize, usize)>>,
}

/// A producer of a newer epoch has taken the transactional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// Partitions named `P` of records `R`.
#[derive(Debug)]
pub struct Log<P, R> {
    names: BTreeMap<P, usize>,
    partitions: Vec<Vec<Entry<R>>>,
    producers: BTreeMap<String, Producer>,
}

impl<P, R> Default for Log<P, R> {
    fn default() -> Self {
        Log { names: BTreeMap::new(), partitions: Vec::new(), producers: BTreeMap::new() }
    }
}

impl<P: Ord + Copy, R> Log<P, R> {
    fn place(&mut self, partition: P) -> usize {
        let next = self.partitions.len();
        let place = *self.names.entry(partition).or_insert(next);
        if place == next {
            self.partitions.push(Vec::new());
        }
        place
    }

    /// Becomes the only producer of this id: the transaction of whoever was before is aborted.
    pub fn init(&mut self, id: &str) -> u64 {
        let producer = self.producers.entry(id.to_owned()).or_default();
        producer.epoch += 1;
        let (epoch, open) = (producer.epoch, producer.open.take());
        self.end(open, State::Aborted);
        epoch
    }

    /// Appends outside any transaction. Returns the offset.
    pub fn append(&mut self, partition: P, record: R) -> u64 {
        self.push(partition, Some(record), State::Committed).1 as u64
    }

    /// The newest epoch of this id; 0 if nobody has it.
    pub fn epoch(&self, id: &str) -> u64 {
        self.producers.get(id).map_or(0, |producer| producer.epoch)
    }

    pub fn begin(&mut self, id: &str, epoch: u64) -> Result<(), Fenced> {
        self.producer(id, epoch)?.open = Some(Vec::new());
        Ok(())
    }

    /// Appends to the transaction under way. Returns the offset.
    pub fn add(&mut self, id: &str, epoch: u64, partition: P, record: R) -> Result<u64, Fenced> {
        self.producer(id, epoch)?;
        let at = self.push(partition, Some(record), State::Open);
        self.producer(id, epoch)?.open.get_or_insert_default().push(at);
        Ok(at.1 as u64)
    }

    pub fn commit(&mut self, id: &str, epoch: u64) -> Result<(), Fenced> {
        let open = self.producer(id, epoch)?.open.take();
        self.end(open, State::Committed);
        Ok(())
    }

    pub fn abort(&mut self, id: &str, epoch: u64) -> Result<(), Fenced> {
        let open = self.producer(id, epoch)?.open.take();
        self.end(open, State::Aborted);
        Ok(())
    }

    /// The first offset that a reader of committed records may not reach yet.
    pub fn stable_end(&self, partition: P) -> u64 {
        let entries = self.entries(partition);
        entries.iter().position(|e| e.state == State::Open).unwrap_or(entries.len()) as u64
    }

    pub fn end_of(&self, partition: P) -> u64 {
        self.entries(partition).len() as u64
    }

    /// Committed records from `from` on, with their offsets, up to the last stable offset.
    pub fn committed(&self, partition: P, from: u64) -> impl Iterator<Item = (u64, &R)> {
        let end = self.stable_end(partition);
        self.every(partition, from, end).filter_map(|(offset, entry)| match entry.state {
            State::Committed => Some((offset, entry.record.as_ref()?)),
            _ => None,
        })
    }

    /// Whatever stands in the log, as a reader sees it who does not ask for committed records.
    pub fn uncommitted(&self, partition: P, from: u64) -> impl Iterator<Item = (u64, &R)> {
        let all = self.every(partition, from, u64::MAX);
        all.filter_map(|(offset, entry)| Some((offset, entry.record.as_ref()?)))
    }

    /// Of each key only the newest committed record stays. Returns how many went.
    pub fn compact<K: Ord>(&mut self, partition: P, key_of: impl Fn(&R) -> K) -> u64 {
        let end = self.stable_end(partition) as usize;
        let place = self.place(partition);
        let Some(entries) = self.partitions.get_mut(place) else { return 0 };
        let mut newest: BTreeMap<K, usize> = BTreeMap::new();
        let committed = |entry: &Entry<R>| entry.state == State::Committed;
        let mut gone = Vec::new();
        for (at, entry) in entries.iter().enumerate().take(end).filter(|(_, e)| committed(e)) {
            if let Some(record) = &entry.record {
                gone.extend(newest.insert(key_of(record), at));
            }
        }
        for &at in &gone {
            entries[at].state = State::Compacted;
        }
        gone.len() as u64
    }

    fn every(&self, p: P, from: u64, end: u64) -> impl Iterator<Item = (u64, &Entry<R>)> {
        let entries = self.entries(p);
        let (first, last) = (from.min(end) as usize, end.min(entries.len() as u64) as usize);
        let wanted = entries.get(first..last).unwrap_or_default();
        (first as u64..).zip(wanted)
    }

    fn entries(&self, partition: P) -> &[Entry<R>] {
        let place = self.names.get(&partition);
        place.and_then(|&place| self.partitions.get(place)).map_or(&[], Vec::as_slice)
    }

    fn producer(&mut self, id: &str, epoch: u64) -> Result<&mut Producer, Fenced> {
        self.producers.get_mut(id).filter(|p| p.epoch == epoch).ok_or(Fenced)
    }

    fn push(&mut self, partition: P, record: Option<R>, state: State) -> (usize, usize) {
        let place = self.place(partition);
        let entries = &mut self.partitions[place];
        entries.push(Entry { record, state });
        (place, entries.len() - 1)
    }

    fn end(&mut self, open: Option<Vec<(usize, usize)>>, state: State) {
        let mut touched: Vec<usize> = Vec::new();
        for (place, at) in open.unwrap_or_default() {
            self.partitions[place][at].state = state;
            if !touched.contains(&place) {
                touched.push(place);
            }
        }
        for place in touched {
            // The mark of a transaction's end takes an offset of its own.
            self.partitions[place].push(Entry { record: None, state: State::Committed });
        }
    }
}
