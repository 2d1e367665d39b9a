//! A resource on its way into acts.

use serde_json::Value;

use super::names::{Keys, Name, ours};
use super::resource::{Head, Reference, said};
use super::time::moment;
use crate::edge::body::Body;
use crate::edge::clock::{Clock, first_moment};
use crate::edge::reader::{Reader, Reading};
use crate::engine::resolve::{Act, Deed, Heard, PersonId, VisitId};
use crate::event::{Reason, Rejection};
use crate::time::{EventTime, WallTime};

/// What there is to know beside the resource itself.
pub(super) struct Context<'a> {
    pub reader: &'a Reader,
    pub clock: Clock,
    /// `id`, `identifier`, `meta` and what is contained.
    pub head: Head,
    /// The patient whom a Bundle or the resource itself brought along.
    pub patient: Option<&'a Value>,
    /// Number of the resource at this edge.
    number: u64,
    /// Pseudonym of the resource with its content.
    pseudonym: u128,
}

/// What a resource says.
#[derive(Debug, Default)]
pub(super) struct Heeded {
    pub reading: Reading,
    /// What is passed on, although it will not be used where it is read; by part as
    /// [`Reading::refused`] is.
    pub notes: Vec<(u32, Rejection)>,
    /// FHIRPath of each part, the first of which has the number 1.
    pub parts: Vec<String>,
}

impl<'a> Context<'a> {
    pub fn new(
        reader: &'a Reader,
        head: Head,
        patient: Option<&'a Value>,
        (number, pseudonym): (u64, u128),
        arrived_at: WallTime,
    ) -> Self {
        let arrived_at = EventTime::from_millis(arrived_at.as_millis());
        let clock = Clock::new(reader.config.time_zone, arrived_at);
        Context { reader, clock, head, patient, number, pseudonym }
    }

    /// What the part `place` of the resource says; 0 is the resource itself. Acts of one resource
    /// have different numbers `nth`.
    pub fn act(
        &self,
        (place, nth): (u32, usize),
        person: PersonId,
        known_at: EventTime,
        deed: Deed<Body>,
    ) -> Act<Body> {
        let parts = [self.pseudonym.to_string(), nth.to_string()];
        let operation = self.reader.pseudonyms.operation(&[&parts[0], &parts[1]]);
        let heard = Heard { message: self.number, segment: place };
        Act { heard, operation, person, known_at, deed }
    }

    pub fn keys(&self) -> Keys<'a> {
        let reader = self.reader;
        let config = &reader.config;
        let (authority, systems) = (config.authority.as_str(), &config.systems);
        Keys { pseudonyms: &reader.pseudonyms, authority, systems }
    }

    /// The id of the resource: its own, or one that is made of its identifier or its content.
    pub fn id(&self, kind: &str) -> String {
        match Name::of(&self.head) {
            Some(name) => name.id(kind, self.keys()),
            None => ours(self.pseudonym),
        }
    }

    /// The patient that the resource is about.
    pub fn person(&self, subject: Option<&Reference>) -> Result<PersonId, Rejection> {
        let name = subject.map(|subject| Name::meant(subject, "Patient")).transpose()?.flatten();
        let none = || Rejection::new(Reason::MissingKey, "subject names no Patient");
        Ok(name.ok_or_else(none)?.person(self.keys()))
    }

    pub fn visit(&self, encounter: Option<&Reference>) -> Result<Option<VisitId>, Rejection> {
        let name = encounter.map(|one| Name::meant(one, "Encounter")).transpose()?.flatten();
        Ok(name.map(|name| name.visit(self.keys())))
    }

    /// When this version was put on record: `meta.lastUpdated`.
    pub fn updated_at(&self) -> Option<EventTime> {
        moment(&self.clock, said(self.head.meta.last_updated.as_ref())?).ok()
    }

    /// The first of these fields that is a moment: see [`first_moment`].
    pub fn moment(&self, fields: &[(&str, Option<&String>)]) -> Result<EventTime, Rejection> {
        let read = |field: Option<&String>| moment(&self.clock, said(field).unwrap_or_default());
        first_moment(fields.iter().map(|(name, field)| (*name, read(*field))))
    }
}
