//! What happens at the hospital's edge. Nothing here names a patient, a sender or a message's
//! content.

use tracing::{debug, info, trace, warn};

use super::happening::count;
use crate::event::Reason;
use crate::time::Span;

/// A message was answered.
#[derive(Clone, Copy, Debug)]
pub struct MessageTaken {
    /// Counts the messages of this edge.
    pub number: u64,
    pub verdict: MessageVerdict,
}

/// How a message was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageVerdict {
    Accepted,
    /// Acknowledged, and not taken again.
    Known,
    Error,
    Rejected,
}

/// What became of one thing that a message said.
#[derive(Clone, Copy, Debug)]
pub struct EdgeFact {
    pub fate: EdgeFate,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeFate {
    Told,
    Kept,
    Known,
    Rejected(Reason),
}

/// The archive was asked for a film.
#[derive(Clone, Copy, Debug)]
pub enum FilmAsked<'a> {
    Given,
    /// It does not have it, or gave something else.
    Missing,
    /// It does not give it now, and why; the sender comes again.
    Deferred(&'a str),
}

/// One thing that a message said, before it is known what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct EdgeAct {
    /// The kind of act.
    pub act: &'static str,
}

/// How many connections are open.
#[derive(Clone, Copy, Debug)]
pub struct EdgeConnections(pub usize);

/// A sender's clock, as one message shows it when it arrives.
#[derive(Clone, Copy, Debug)]
pub struct SenderClock {
    /// The number of the message.
    pub message: u64,
    /// How far it is ahead of this machine's.
    pub ahead: Span,
}

/// From so much on a clock is wrong (`reference/clinical.md` 5, failure 17).
const MAX_SKEW_MINUTES: i64 = 10;

impl MessageTaken {
    pub fn emit(&self) {
        let verdict = match self.verdict {
            MessageVerdict::Accepted => "accepted",
            MessageVerdict::Known => "known",
            MessageVerdict::Error => "error",
            MessageVerdict::Rejected => "rejected",
        };
        match self.verdict {
            MessageVerdict::Accepted | MessageVerdict::Known => {
                debug!(number = self.number, verdict, "message answered");
            }
            MessageVerdict::Error | MessageVerdict::Rejected => {
                info!(number = self.number, verdict, "message answered");
            }
        }
        count(|metrics| metrics.edge.messages.with_label_values(&[verdict]).inc());
    }
}

impl EdgeFact {
    pub fn emit(&self) {
        let fate = match self.fate {
            EdgeFate::Rejected(reason) => {
                let reason = reason.code();
                debug!(reason, "part of a message rejected");
                count(|metrics| metrics.edge.rejected.with_label_values(&[reason]).inc());
                return;
            }
            EdgeFate::Told => "told",
            EdgeFate::Kept => "kept",
            EdgeFate::Known => "known",
        };
        trace!(fate, "part of a message");
        count(|metrics| metrics.edge.said.with_label_values(&[fate]).inc());
    }
}

impl EdgeAct {
    pub fn emit(&self) {
        trace!(act = self.act, "act of a message");
        count(|metrics| metrics.edge.acts.with_label_values(&[self.act]).inc());
    }
}

impl SenderClock {
    /// Says nothing of a clock that is right.
    pub fn emit(&self) {
        let minutes = self.ahead.as_millis() / 60_000;
        let way = match minutes {
            _ if minutes.abs() < MAX_SKEW_MINUTES => return,
            0.. => "ahead",
            _ => "behind",
        };
        info!(number = self.message, minutes, "a sender's clock is {way}, or its message waited");
        count(|metrics| metrics.edge.skewed.with_label_values(&[way]).inc());
    }
}

impl FilmAsked<'_> {
    pub fn emit(&self) {
        let outcome = match self {
            FilmAsked::Given => "given",
            FilmAsked::Missing => "missing",
            FilmAsked::Deferred(why) => {
                warn!("the archive (edge.wado) does not give a film: {why}");
                "deferred"
            }
        };
        debug!(outcome, "film asked for");
        count(|metrics| metrics.edge.fetches.with_label_values(&[outcome]).inc());
    }
}

impl EdgeConnections {
    pub fn emit(&self) {
        let open = self.0;
        debug!(open, "connections of senders");
        count(|metrics| metrics.edge.connections.set(i64::try_from(open).unwrap_or(i64::MAX)));
    }
}
