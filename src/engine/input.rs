//! Everything that can enter the engine.

use super::request::Answer;
use crate::event::{Fact, Mark, Rejection};
use crate::ids::{Origin, Ticket};

/// The closed list of inputs. Time and ids are in them: the engine reads no clock.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A record that decoded to a fact.
    Fact { fact: Fact, origin: Origin },
    /// A record that did not; it is counted and leaves as a dead letter.
    Malformed { origin: Origin, rejection: Rejection },
    /// A feed's promise: read from its topic, or derived by the driver from when the records of a
    /// feed without marks were appended. The latter is journalled.
    Mark(Mark),
    /// A mark that the driver made for a feed that fell silent. Journalled.
    DerivedMark(Mark),
    /// The model's answer. Journalled.
    Answer(Answer),
    /// No answer came in time. Journalled.
    Deadline(Ticket),
}
