//! What the journal holds that the store has not seen: after a crash between the two, the answers
//! that were appended last; for a store that was lost, all of them. A window whose answer is
//! recorded is not asked about again, so nothing is predicted twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Drive, DriveError};
use crate::engine::Input;
use crate::ids::{Digest, Ticket};
use crate::ports::{
    Journal, JournalRecord, Opened, Outlet, PortError, Predictor, Source, StateStore,
};
use crate::wire::{Codec, JournalInput};

/// Recorded inputs that wait for their window.
#[derive(Default)]
pub(super) struct Recorded {
    by_ticket: BTreeMap<Ticket, Vec<(JournalInput, JournalRecord)>>,
    /// Records stepped since the last commit: the journal has them, the store must count them.
    pub stepped: Vec<JournalRecord>,
    /// Payloads that the outlet holds while a lost store is rebuilt from the input.
    sent: BTreeSet<Digest>,
}

impl Recorded {
    pub fn read(
        codec: &Codec,
        opened: &Opened,
        journal: &mut impl Journal,
        outlet: &impl Outlet,
    ) -> Result<Self, PortError> {
        let mut recorded = Recorded::default();
        let (mut number, mut unreadable) = (0, None);
        journal.read(&mut |record| {
            number += 1;
            if number <= opened.journal {
                return;
            }
            match codec.decode_journal(&record.input) {
                Ok((_, input)) => recorded.take(input, record),
                Err(rejection) => unreadable = Some(rejection),
            }
        })?;
        if let Some(rejection) = unreadable {
            let advice = "the journal belongs to another version or is damaged; move it aside";
            return Err(PortError::Stop(format!(
                "a journal record cannot be read: {rejection}; {advice}"
            )));
        }
        // A store that was lost, or lost its last commits, makes outputs again that have left.
        let last_in_store = opened.outbox.last().map_or(0, |output| output.number);
        if outlet.last_number() > last_in_store {
            recorded.sent = outlet.held()?;
        }
        Ok(recorded)
    }

    fn take(&mut self, input: JournalInput, record: JournalRecord) {
        let ticket = match &input {
            JournalInput::Answer(answer) => answer.ticket,
            JournalInput::Deadline(ticket) => *ticket,
            // These have no window; the driver makes them again as time demands.
            JournalInput::DerivedMark(_)
            | JournalInput::FilmVerdict(_)
            | JournalInput::Command(_) => return,
        };
        self.by_ticket.entry(ticket).or_default().push((input, record));
    }

    /// Whether the outlet holds this payload from before the store was lost.
    pub fn sent_before(&mut self, payload: &[u8]) -> bool {
        !self.sent.is_empty() && self.sent.remove(&Digest::of(payload))
    }
}

impl<S, T, O, J, P> Drive<S, T, O, J, P>
where
    S: Source,
    T: StateStore,
    O: Outlet,
    J: Journal,
    P: Predictor,
{
    /// Steps what the journal holds for this window; false if it holds nothing.
    pub(super) fn step_recorded(&mut self, ticket: Ticket) -> Result<bool, DriveError> {
        let Some(inputs) = self.recorded.by_ticket.remove(&ticket) else { return Ok(false) };
        self.sealed_at.remove(&ticket);
        for (input, record) in inputs {
            self.recorded.stepped.push(record);
            match input {
                JournalInput::Answer(answer) => self.step(Input::Answer(answer))?,
                JournalInput::Deadline(ticket) => self.step(Input::Deadline(ticket))?,
                _ => {}
            }
        }
        self.send_dead_letters(&[])?;
        Ok(true)
    }
}
