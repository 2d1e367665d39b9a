//! Merges of patients, told to whoever keeps a record of them.

use crate::engine::resolve::{Act, Deed, Effect, Fate, OperationId, PersonId};
use crate::ids::StayId;
use crate::ports::PortError;
use crate::time::{EventTime, WallTime};

/// Stays that one record names; a merge that changes more says how many in all.
pub const MAX_STAYS: usize = 8;

/// Two numbers have become one patient. Nothing in it names one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The number of the message at its edge.
    pub message: u64,
    /// The same however often the merge is sent. A crash may have a merge told twice under it.
    pub operation: OperationId,
    pub survivor: PersonId,
    pub prior: PersonId,
    /// When it could be known.
    pub known_at: EventTime,
    /// Stays that were told something on account of it, at most [`MAX_STAYS`].
    pub stays: Vec<StayId>,
    pub n_stays: usize,
}

/// Is told of every merge that changes something, before it is durable. If it fails, the merge is
/// not acknowledged, and the edge ends.
pub type Witness = Box<dyn FnMut(&Merged, WallTime) -> Result<(), PortError> + Send>;

impl Merged {
    /// `None` unless an act is a merge.
    pub(super) fn said_by<B>(act: &Act<B>) -> Option<Self> {
        let Deed::Merge { prior, .. } = act.deed else { return None };
        Some(Merged {
            message: act.heard.message,
            operation: act.operation,
            survivor: act.person,
            prior,
            known_at: act.known_at,
            stays: Vec::new(),
            n_stays: 0,
        })
    }

    /// The merge with what followed from it; `None` if it was known before, or refused.
    pub(super) fn with_effects<'a, B: 'a>(
        mut self,
        effects: impl Iterator<Item = &'a Effect<B>>,
    ) -> Option<Self> {
        let mut is_news = false;
        for effect in effects {
            match effect {
                Effect::Tell(telling) => self.stays.push(telling.stay),
                Effect::Decided { heard, fate } if heard.message == self.message => {
                    is_news |= matches!(fate, Fate::Told | Fate::Kept);
                }
                Effect::Decided { .. } => {}
            }
        }
        self.stays.sort_unstable();
        self.stays.dedup();
        self.n_stays = self.stays.len();
        self.stays.truncate(MAX_STAYS);
        is_news.then_some(self)
    }
}
