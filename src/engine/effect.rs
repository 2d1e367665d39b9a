//! Everything that can leave the engine, what we only want to count included, so that a test can
//! assert it.

use super::request::PredictionRequest;
use crate::event::Rejection;
use crate::event::alert::AlertEvent;
use crate::event::risk::{RiskEvent, StayEnd, Triggers};
use crate::ids::{Digest, Origin, StayId, Ticket};
use crate::time::EventTime;

/// The closed list of effects.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A record's fate, decided once. A rejected record leaves as a dead letter.
    Decided { origin: Origin, stay: Option<StayId>, fate: Fate },
    /// So many charted values were copies of what the laboratory has reported now, and are not used
    /// from here on.
    Overshadowed { stay: StayId, copies: usize },
    /// The watermark moved to this time.
    Advanced(EventTime),
    /// A window was closed over what was known; it is to be asked for after the commit.
    Sealed { ticket: Ticket, triggers: Triggers, input_digest: Digest },
    /// A risk event leaves.
    Risk(Box<RiskEvent>),
    /// What a dashboard needs to show the newest window of a stay. Follows its risk event.
    View(Box<View>),
    /// A record of an alert leaves, behind the risk event that led to it.
    Alert(Box<AlertEvent>),
    /// An answer that nobody waits for: of another epoch, or given twice.
    Unasked(Ticket),
    /// The stay has ended, so its windows stop.
    Ended { stay: StayId, at: EventTime, how: StayEnd },
    /// The stay's state may be forgotten.
    Expired(StayId),
}

/// A risk event and what it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub event: RiskEvent,
    /// `None` for a retraction, and for an answer so late that the series is forgotten.
    pub given: Option<PredictionRequest>,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Used,
    /// Behind a window that its own feed had already promised complete; what a person did, behind
    /// its feed's promise.
    Late,
    /// A fact with this id was decided before.
    Duplicate,
    /// A charted copy of what the laboratory has reported, which is used instead.
    Shadow,
    Rejected(Rejection),
}
