//! The journal played back: a task whose state stands before what its journal says steps the
//! journalled inputs again, each after exactly the records after which it was stepped first. So a
//! state that was lost, or is made on another node, becomes what it was, and no window is
//! predicted twice.
//!
//! Where outputs have left that the state does not know of, no journalled input can have come
//! between the last one and the last of those outputs. So until the task has read as far again,
//! nobody is asked and no feed is passed over: it would say other things than it has said.
//!
//! Every journalled input is harmless a second time (the first answer to a window is the record,
//! a mark that would go back is ignored), so entries that the state may hold already are stepped
//! too.

use std::collections::{BTreeMap, VecDeque};

use super::{Drive, DriveError};
use crate::engine::Input;
use crate::ids::{Position, Topic};
use crate::ports::{
    Committer, JournalRecord, PortError, Predictor, Source, SourceRecord, StateStore,
};
use crate::wire::{Codec, JournalInput};

/// Records held back because the journal has something to say first.
const HELD_MAX: usize = 65_536;
/// Bytes held back. One fetch may come on top of it.
const HELD_BYTES_MAX: usize = 64 << 20;

/// What is left to play. Its memory grows with the part of the journal behind the state.
#[derive(Default)]
pub(super) struct Rehearsal {
    entries: VecDeque<JournalRecord>,
    /// How far the input had been read when the last output left.
    read_to: Vec<Position>,
    /// In log order within each topic partition.
    held: BTreeMap<(Topic, u32), VecDeque<SourceRecord>>,
    held_records: usize,
    held_bytes: usize,
}

impl Rehearsal {
    /// Reads what the journal holds from `positions` on. `read_to` is empty where the state knows
    /// of every output that has left.
    pub(super) fn open(
        committer: &mut impl Committer,
        store: &impl StateStore,
        positions: &[Position],
        read_to: Vec<Position>,
    ) -> Result<Self, PortError> {
        let mut entries = VecDeque::new();
        let is_behind = |record: &JournalRecord| {
            positions.iter().any(|held| {
                let same = |p: &&Position| (p.topic, p.partition) == (held.topic, held.partition);
                record.after.iter().find(same).map_or(0, |p| p.next) < held.next
            })
        };
        committer.read_journal(store, &mut |record| {
            if !is_behind(&record) {
                entries.push_back(record);
            }
        })?;
        Ok(Rehearsal { entries, read_to, ..Rehearsal::default() })
    }

    pub(super) fn is_over(&self) -> bool {
        self.entries.is_empty() && self.read_to.is_empty()
    }

    /// Steps that are left: journalled inputs, and topics to be read as far as before.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.read_to.len()
    }

    fn hold(&mut self, records: Vec<SourceRecord>) {
        for record in records {
            self.held_records += 1;
            self.held_bytes += record.value.len();
            let place = (record.origin.topic, record.origin.partition);
            self.held.entry(place).or_default().push_back(record);
        }
    }

    /// The next journalled input, once everything before it was read.
    fn next_input(&mut self, positions: &BTreeMap<(Topic, u32), u64>) -> Option<JournalRecord> {
        let reached = |after: &Position| {
            positions.get(&(after.topic, after.partition)).is_some_and(|at| *at >= after.next)
        };
        self.read_to.retain(|position| !reached(position));
        let is_due = self.entries.front()?.after.iter().all(reached);
        is_due.then(|| self.entries.pop_front())?
    }

    /// A held record that comes before the next journalled input.
    fn next_record(&mut self) -> Option<SourceRecord> {
        let front = self.entries.front();
        for (&(topic, partition), records) in &mut self.held {
            let limit = front.map_or(u64::MAX, |entry| {
                let same = |p: &&Position| (p.topic, p.partition) == (topic, partition);
                entry.after.iter().find(same).map_or(0, |p| p.next)
            });
            if let Some(record) = records.pop_front_if(|record| record.origin.offset < limit) {
                self.held_records -= 1;
                self.held_bytes -= record.value.len();
                return Some(record);
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.held_records > HELD_MAX || self.held_bytes > HELD_BYTES_MAX
    }

    fn let_go(&mut self) {
        self.held.clear();
        (self.held_records, self.held_bytes) = (0, 0);
    }
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Steps records and journalled inputs in the order in which they were stepped first.
    pub(super) fn rehearse(&mut self, records: Vec<SourceRecord>) -> Result<(), DriveError> {
        self.rehearsal.hold(records);
        loop {
            if let Some(entry) = self.rehearsal.next_input(&self.positions) {
                self.step_entry(&entry)?;
            } else if let Some(record) = self.rehearsal.next_record() {
                self.take(&record)?;
            } else {
                break;
            }
        }
        if self.rehearsal.is_over() {
            self.restart_waits();
        } else if self.rehearsal.is_full() {
            // One topic is too far ahead of the others: it is read again later.
            self.rehearsal.let_go();
            self.ports.source.seek(&self.positions())?;
        }
        Ok(())
    }

    fn step_entry(&mut self, entry: &JournalRecord) -> Result<(), DriveError> {
        self.codec.learn(&entry.input)?;
        let input = match decode(&self.codec, entry)? {
            JournalInput::Answer(answer) => {
                self.sealed_at.remove(&answer.ticket);
                Input::Answer(answer)
            }
            JournalInput::Deadline(ticket) => {
                self.sealed_at.remove(&ticket);
                Input::Deadline(ticket)
            }
            JournalInput::DerivedMark(mark) => Input::DerivedMark(mark),
            JournalInput::Mark(mark) => Input::Mark(mark),
            // Nothing writes these yet, so a journal that has them is a newer program's.
            JournalInput::FilmVerdict(_) | JournalInput::Command(_) => return Err(newer().into()),
        };
        self.step(input)?;
        self.send_dead_letters(None)
    }
}

fn decode(codec: &Codec, entry: &JournalRecord) -> Result<JournalInput, PortError> {
    let unreadable =
        |why| PortError::Stop(format!("the journal holds a record that is none: {why}"));
    codec.decode_journal(&entry.input).map(|(_, input)| input).map_err(unreadable)
}

fn newer() -> PortError {
    PortError::Stop("the journal was written by a newer nowcxr; use that one".to_owned())
}
