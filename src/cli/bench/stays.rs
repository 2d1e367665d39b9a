//! From a stay's id to its place in a shard's state.

use std::collections::HashMap;

use crate::ids::StayId;

/// Ids below this are looked up in a table of 4 bytes each, others in a map.
const DIRECT_MAX: u64 = 1 << 20;

/// A place that no stay has.
const FREE: u32 = u32::MAX;

/// Gives every stay a number in the order of first sight.
#[derive(Debug, Default)]
pub(super) struct Stays {
    direct: Vec<u32>,
    others: HashMap<StayId, u32>,
    n: u32,
}

impl Stays {
    /// The place of a stay, and whether it is new.
    #[inline]
    pub(super) fn place(&mut self, stay: StayId) -> (u32, bool) {
        let place = match usize::try_from(stay.0).ok().filter(|_| stay.0 < DIRECT_MAX) {
            Some(id) => {
                if id >= self.direct.len() {
                    self.direct.resize((id + 1).next_power_of_two(), FREE);
                }
                &mut self.direct[id]
            }
            None => self.others.entry(stay).or_insert(FREE),
        };
        let new = *place == FREE;
        if new {
            *place = self.n;
            self.n += 1;
        }
        (*place, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_in_order_and_kept() {
        let mut stays = Stays::default();
        for (id, place, new) in
            [(7, 0, true), (u64::MAX, 1, true), (7, 0, false), (DIRECT_MAX, 2, true), (0, 3, true)]
        {
            assert_eq!(stays.place(StayId(id)), (place, new));
        }
        assert_eq!(stays.place(StayId(u64::MAX)), (1, false));
    }
}
