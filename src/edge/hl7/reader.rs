//! Messages to acts: who the patient is, and what was said of him.

use std::borrow::Cow;

use super::header::Header;
use super::message::{Message, Piece, Segment};
use super::{adt, oru};
use crate::edge::body::Body;
use crate::edge::clock::{Clock, first_moment};
use crate::edge::reader::{Reader, Reading};
use crate::engine::resolve::{Act, Deed, Heard, PersonId, VisitId};
use crate::event::{Reason, Rejection};
use crate::telemetry::SenderClock;
use crate::time::{EventTime, WallTime};

/// Identifier types of PID-3.5 that are a patient's number, best first (table 0203).
const PATIENT_TYPES: [&str; 4] = ["MR", "MRN", "PI", "PT"];

/// A message on its way into acts.
pub(super) struct Context<'a> {
    pub reader: &'a Reader,
    pub clock: Clock,
    /// MSH-7, or when the message came.
    pub sent_at: EventTime,
    /// Number of the message at this edge.
    number: u64,
    /// Pseudonym of the message with its content.
    message: u128,
}

impl Reader {
    /// What a message says, or why it says nothing. `number` counts the messages of this edge,
    /// `pseudonym` is the message's own.
    pub fn read(
        &self,
        message: &Message<'_>,
        header: &Header,
        (number, pseudonym): (u64, u128),
        arrived_at: WallTime,
    ) -> Result<Reading, Rejection> {
        let arrived_at = EventTime::from_millis(arrived_at.as_millis());
        let zone = Clock::new(self.config.time_zone, arrived_at);
        let msh_7 = message.segment("MSH").map(|msh| msh.field(7).component(1).text());
        let clock = zone.of_message(&msh_7.unwrap_or_default());
        let sent_at = Header::sent_at(message, &clock).unwrap_or(arrived_at);
        SenderClock { message: number, ahead: sent_at.since(arrived_at) }.emit();
        let context = Context { reader: self, clock, sent_at, number, message: pseudonym };
        match (header.kind.code.as_str(), header.kind.trigger.as_str()) {
            ("ORU", "R01") => oru::read(message, &context),
            ("ADT", trigger) => adt::read(message, trigger, &context),
            (code, trigger) => Err(unsupported_message(code, trigger)),
        }
    }
}

pub(super) fn unsupported_message(code: &str, trigger: &str) -> Rejection {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let detail = format!(
        "{}^{} is not read; send ORU^R01 or ADT^A01, A02, A03, A04, A08, A11, A12, A13, A17, A40",
        plain(code),
        plain(trigger)
    );
    Rejection::new(Reason::Unsupported, detail)
}

impl Context<'_> {
    /// What the segment `place` says. Acts of one message under one `operation` are one act on
    /// several stays.
    pub(super) fn act(
        &self,
        (place, operation): (usize, usize),
        person: PersonId,
        known_at: EventTime,
        deed: Deed<Body>,
    ) -> Act<Body> {
        let segment = u32::try_from(place).unwrap_or(u32::MAX);
        let parts = [self.message.to_string(), operation.to_string()];
        let operation = self.reader.pseudonyms.operation(&[&parts[0], &parts[1]]);
        let heard = Heard { message: self.number, segment };
        Act { heard, operation, person, known_at, deed }
    }

    /// PID-3, of several numbers the medical record's; in old messages PID-2.
    pub(super) fn person(&self, pid: Segment<'_>) -> Result<PersonId, Rejection> {
        let listed: Vec<Piece<'_>> =
            pid.field(3).repetitions().filter(|id| !id.component(1).is_empty()).collect();
        let of_type = |kind: &&str| listed.iter().find(|id| id.component(5).text() == **kind);
        let best = PATIENT_TYPES.iter().find_map(of_type).or(listed.first());
        match best {
            Some(id) => Ok(self.patient(*id)),
            None if !pid.field(2).component(1).is_empty() => Ok(self.patient(pid.field(2))),
            None => Err(Rejection::new(Reason::MissingKey, "PID-3 names no patient")),
        }
    }

    /// A patient by an identifier with its authority (CX).
    pub(super) fn patient(&self, id: Piece<'_>) -> PersonId {
        self.reader.pseudonyms.person(&self.authority(id), &id.component(1).text())
    }

    /// PV1-19, or the account in PID-18.
    pub(super) fn visit(
        &self,
        pid: Option<Segment<'_>>,
        pv1: Option<Segment<'_>>,
    ) -> Option<VisitId> {
        let fields = [pv1.map(|pv1| pv1.field(19)), pid.map(|pid| pid.field(18))];
        let id = fields.into_iter().flatten().find(|id| !id.component(1).is_empty())?;
        Some(self.visit_of(id))
    }

    pub(super) fn visit_of(&self, id: Piece<'_>) -> VisitId {
        self.reader.pseudonyms.visit(&self.authority(id), &id.component(1).text())
    }

    fn authority<'p>(&'p self, id: Piece<'p>) -> Cow<'p, str> {
        match id.component(4).subcomponent(1).text() {
            empty if empty.is_empty() => Cow::Borrowed(self.reader.config.authority.as_str()),
            named => named,
        }
    }

    /// The first of these fields that is a moment: see [`first_moment`].
    pub(super) fn moment(&self, fields: &[(&str, Piece<'_>)]) -> Result<EventTime, Rejection> {
        let read = |field: &Piece<'_>| self.clock.read(&field.component(1).text());
        first_moment(fields.iter().map(|(name, field)| (*name, read(field))))
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
