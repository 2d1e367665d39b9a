//! The messages that were taken, so that one that comes again is acknowledged and not taken twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::scribe::Letterhead;
use crate::time::{Span, WallTime};

/// Messages that are remembered at once; the oldest are forgotten first.
pub const MAX_MESSAGES: usize = 300_000;
/// A message that comes again so long after it was taken counts as new.
pub const REMEMBERED_FOR: Span = Span::hours(24 * 7);

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// Pseudonym of sender, control id and content. The content counts because senders begin their
    /// control ids anew, and a message that says something else must not be lost.
    pub pseudonym: u128,
    pub at_ms: i64,
    pub head: Letterhead,
}

/// What is remembered of them in memory: the rest stands in the store.
#[derive(Debug, Default)]
pub struct Register {
    by_pseudonym: BTreeMap<u128, u64>,
    by_number: BTreeMap<u64, (u128, i64)>,
}

impl Register {
    pub fn knows(&self, pseudonym: u128) -> bool {
        self.by_pseudonym.contains_key(&pseudonym)
    }

    pub fn add(&mut self, number: u64, taken: &Taken) {
        self.by_pseudonym.insert(taken.pseudonym, number);
        self.by_number.insert(number, (taken.pseudonym, taken.at_ms));
    }

    /// Forgets what is too old or too much; gives the numbers that are gone.
    pub fn forget(&mut self, now: WallTime) -> Vec<u64> {
        let until = now.as_millis().saturating_sub(REMEMBERED_FOR.as_millis());
        let mut gone = Vec::new();
        while let Some((&number, &(pseudonym, at_ms))) = self.by_number.first_key_value()
            && (at_ms < until || self.by_number.len() > MAX_MESSAGES)
        {
            self.by_number.remove(&number);
            if self.by_pseudonym.get(&pseudonym) == Some(&number) {
                self.by_pseudonym.remove(&pseudonym);
            }
            gone.push(number);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_forgotten_after_a_week_and_the_oldest_first() {
        let mut register = Register::default();
        let taken = |pseudonym, at_ms| Taken { pseudonym, at_ms, head: Letterhead::default() };
        register.add(1, &taken(10, 0));
        register.add(2, &taken(20, 1_000));
        assert!(register.knows(10) && !register.knows(30));
        let week = REMEMBERED_FOR.as_millis();
        assert!(register.forget(WallTime::from_millis(week)).is_empty());
        assert_eq!(register.forget(WallTime::from_millis(week + 1)), [1]);
        assert!(!register.knows(10) && register.knows(20));
        for number in 3..MAX_MESSAGES as u64 + 4 {
            register.add(number, &taken(u128::from(number) << 64, 1_000));
        }
        assert_eq!(register.forget(WallTime::from_millis(2_000)), [2, 3]);
    }
}
