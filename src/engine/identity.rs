//! Who speaks: the model, the config and the mode that every event names, and the ids and seeds
//! that follow from them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::risk::{Doubt, Mode, ModelName};
use crate::ids::{Digest, EventId, NAMESPACE, Ticket};

/// What every risk event says about its maker.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub model: ModelName,
    pub config_digest: Digest,
    pub mode: Mode,
    /// Doubts that hold for every prediction of this model.
    pub doubts: Vec<Doubt>,
    /// Codes of the variables that the model looks at, observed or not, by their id.
    pub variables: Vec<String>,
    /// Answers of another epoch are dropped: they belong to an earlier owner of the task.
    pub epoch: u64,
}

/// Model and configuration as far as ids name them: who made an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    pub model: Digest,
    pub config: Digest,
}

impl Maker {
    /// UUIDv5 of (stay, t, revision, model digest, config digest, kind).
    pub fn event_id(self, ticket: Ticket, kind: &str) -> EventId {
        let name = format!(
            "{}/{}/{}/{}/{}/{kind}",
            ticket.stay,
            ticket.t.as_millis(),
            ticket.revision,
            self.model,
            self.config,
        );
        EventId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }
}

impl Identity {
    pub fn maker(&self) -> Maker {
        Maker { model: self.model.digest, config: self.config_digest }
    }

    /// As [`Maker::event_id`], of whoever speaks now.
    pub fn event_id(&self, ticket: Ticket, kind: &str) -> EventId {
        self.maker().event_id(ticket, kind)
    }

    /// The seed of whatever noise the sampler draws for this ticket.
    pub fn seed(&self, ticket: Ticket) -> u64 {
        let id = self.event_id(ticket, "seed");
        (id.0.as_u128() >> 64) as u64
    }
}
