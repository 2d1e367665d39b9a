//! How far everything has been delivered.

use std::collections::{BTreeMap, VecDeque};

use crate::ports::AlertPlace;

/// Records that are under way, by partition and in order. A position is given up when nothing
/// before it is under way. Bounded by the queues of the channels, which make the reader wait.
#[derive(Debug, Default)]
pub struct Ledger {
    under_way: BTreeMap<u32, VecDeque<(u64, usize)>>,
    /// Positions that may be given up: the next offset to read.
    next: BTreeMap<u32, u64>,
}

impl Ledger {
    /// A record that `n` channels have to deliver.
    pub fn open(&mut self, place: AlertPlace, n: usize) {
        self.under_way.entry(place.partition).or_default().push_back((place.offset, n));
        self.advance(place.partition);
    }

    /// One channel has delivered it.
    pub fn done(&mut self, place: AlertPlace) {
        self.lower(place, |left| left.saturating_sub(1));
    }

    /// Nobody has to deliver it.
    pub fn close(&mut self, place: AlertPlace) {
        self.lower(place, |_| 0);
    }

    /// Positions that have become certain since this was last asked.
    pub fn take_next(&mut self) -> Vec<AlertPlace> {
        let next = std::mem::take(&mut self.next);
        next.into_iter().map(|(partition, offset)| AlertPlace { partition, offset }).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.under_way.values().all(VecDeque::is_empty)
    }

    fn lower(&mut self, place: AlertPlace, to: impl Fn(usize) -> usize) {
        if let Some(queue) = self.under_way.get_mut(&place.partition)
            && let Some(held) = queue.iter_mut().find(|(offset, _)| *offset == place.offset)
        {
            held.1 = to(held.1);
        }
        self.advance(place.partition);
    }

    fn advance(&mut self, partition: u32) {
        let Some(queue) = self.under_way.get_mut(&partition) else { return };
        while let Some((offset, _)) = queue.pop_front_if(|(_, left)| *left == 0) {
            self.next.insert(partition, offset + 1);
        }
    }
}
