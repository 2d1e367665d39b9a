//! A set of 64-bit keys in 2-byte slots, to ask "have I seen this fact?" of every fact.
//!
//! It keeps 16 bits of each key besides its place, so a "yes" (wrong once in some 30,000 times)
//! must be confirmed by whoever has the keys; a "no" is certain. A set of whole keys would cost as
//! much memory and as many cache misses as the rows themselves.

/// Never more than 3 of 4 slots are taken.
const LOAD: (usize, usize) = (3, 4);
const FIRST_SLOTS: usize = 64;

/// Open addressing with linear probing; the number of slots is a power of two, 0 is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyFilter {
    slots: Vec<u16>,
    taken: usize,
}

impl KeyFilter {
    /// Adds a key unless there is no room left; false then, and [`KeyFilter::of`] makes a larger
    /// one.
    #[inline]
    pub(super) fn insert(&mut self, key: u64) -> bool {
        if (self.taken + 1) * LOAD.1 > self.slots.len() * LOAD.0 {
            return false;
        }
        let (mut at, print) = self.probe(key);
        while self.slots[at] != 0 && self.slots[at] != print {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.taken += usize::from(self.slots[at] == 0);
        self.slots[at] = print;
        true
    }

    /// False: certainly not. True: very likely.
    #[inline]
    pub(super) fn may_contain(&self, key: u64) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let (mut at, print) = self.probe(key);
        while self.slots[at] != 0 {
            if self.slots[at] == print {
                return true;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        false
    }

    /// A filter of these `n` keys with room for as many more.
    pub(super) fn of(n: usize, keys: impl Iterator<Item = u64>) -> Self {
        let slots = (n * 2).next_power_of_two().max(FIRST_SLOTS);
        let mut filter = KeyFilter { slots: vec![0; slots], taken: 0 };
        for key in keys {
            filter.insert(key);
        }
        filter
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>()
    }

    /// First slot and fingerprint. The multiplication (Fibonacci hashing) spreads keys that count.
    #[inline]
    fn probe(&self, key: u64) -> (usize, u16) {
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = (mixed >> 32) as usize & (self.slots.len() - 1);
        (slot, ((mixed >> 16) as u16).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_is_found_and_little_else() {
        let mut filter = KeyFilter::default();
        assert!(!filter.may_contain(7));
        let keys = |n: u64| (0..n).map(|i| i.wrapping_mul(0x2545_f491_4f6c_dd1d));
        for (n, key) in keys(5_000).enumerate() {
            if !filter.insert(key) {
                filter = KeyFilter::of(n + 1, keys(n as u64 + 1));
            }
        }
        assert!(keys(5_000).all(|key| filter.may_contain(key)));
        let wrong = (1u64..100_000).filter(|i| filter.may_contain(i << 40 | i)).count();
        assert!(wrong < 30, "{wrong} of 100,000");
        assert!(filter.bytes() < 5_000 * 2 * 8);
    }
}
