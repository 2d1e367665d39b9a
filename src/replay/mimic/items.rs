//! Which item ids the model reads: a bit a possible id, because this is asked of every row.

use crate::event::dictionary::{Dictionary, Kind};

/// Item ids of MIMIC-IV lie below this (chart items end at 229,xxx).
const ID_LIMIT: u32 = 1 << 18;
const WORD: u32 = u64::BITS;

/// A set of item ids, and of those whose text says more than their number.
#[derive(Clone, Debug)]
pub struct ItemFilter {
    wanted: Vec<u64>,
    textual: Vec<u64>,
}

impl ItemFilter {
    /// The items in `wanted`; those in `textual` are categories, recorded as text.
    pub fn new(
        wanted: impl IntoIterator<Item = u32>,
        textual: impl IntoIterator<Item = u32>,
    ) -> Self {
        ItemFilter { wanted: bits(wanted), textual: bits(textual) }
    }

    /// The items of a dictionary, those it knows only to refuse (a wrong specimen) included: it is
    /// the engine that says why they are not used.
    pub fn of(dictionary: &Dictionary) -> Self {
        let wanted = |item: &u32| {
            dictionary.by_mimic_item(*item).is_some() || dictionary.refused_item(*item).is_some()
        };
        let textual = |item: &u32| {
            let variable = dictionary.by_mimic_item(*item).and_then(|id| dictionary.variable(id));
            variable.is_some_and(|variable| matches!(variable.kind, Kind::Categorical { .. }))
        };
        ItemFilter::new((0..ID_LIMIT).filter(wanted), (0..ID_LIMIT).filter(textual))
    }

    pub fn wants(&self, item: u32) -> bool {
        has(&self.wanted, item)
    }

    pub fn is_textual(&self, item: u32) -> bool {
        has(&self.textual, item)
    }
}

fn bits(items: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let mut words = vec![0; (ID_LIMIT / WORD) as usize];
    for item in items {
        if let Some(word) = words.get_mut((item / WORD) as usize) {
            *word |= 1 << (item % WORD);
        }
    }
    words
}

fn has(words: &[u64], item: u32) -> bool {
    words.get((item / WORD) as usize).is_some_and(|word| word >> (item % WORD) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::dictionary::Profile;

    #[test]
    fn a_dictionary_says_which_items_are_wanted_and_which_are_words() {
        let filter = ItemFilter::of(&Dictionary::builtin(Profile::Clinical).unwrap());
        for item in [220_045, 220_739, 50_931, 223_761] {
            assert!(filter.wants(item), "{item}");
        }
        assert!(filter.wants(51_491), "urine pH is refused by the engine, not ignored here");
        assert!(!filter.wants(51_277) && !filter.wants(0));
        assert!(filter.is_textual(223_900) && !filter.is_textual(220_045));
    }

    #[test]
    fn wants_what_it_was_given_and_nothing_else() {
        let filter = ItemFilter::new([50_931, 220_045, 220_739], [220_739]);
        let wanted: Vec<u32> = (0..300_000).filter(|&item| filter.wants(item)).collect();
        assert_eq!(wanted, [50_931, 220_045, 220_739]);
        assert!(filter.is_textual(220_739) && !filter.is_textual(220_045));
        assert!(!filter.wants(u32::MAX));
    }
}
