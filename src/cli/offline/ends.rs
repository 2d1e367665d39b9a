//! The ends of the loop while inputs are only looked at: nothing leaves but risk events, to whoever
//! looks, and only the questions that he wants answered reach a model.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::ports::{
    Answer, Commit, Committer, Held, JournalRecord, Outcome, OutputKind, PortError,
    PredictionRequest, Predictor, StateStore,
};
use crate::time::EventTime;
use crate::wire::{Codec, JournalInput};

/// Payloads of risk events that were committed since they were last taken; a commit's at most.
#[derive(Clone, Default)]
pub struct Collected(Rc<RefCell<Vec<Vec<u8>>>>);

impl Collected {
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// Commits to the store alone and keeps the risk events.
pub struct Collector {
    /// Of the journal the marks that no feed made: what is sealed depends on them.
    marks: Vec<JournalRecord>,
    collected: Collected,
}

impl Collector {
    /// # Errors
    /// If the journal holds something that is no journal record.
    pub fn new(journal: Vec<JournalRecord>, codec: &Codec, collected: Collected) -> Result<Self> {
        let mut marks = Vec::new();
        for record in journal {
            let (_, input) = codec.decode_journal(&record.input).map_err(|why| anyhow!("{why}"))?;
            if matches!(input, JournalInput::DerivedMark(_) | JournalInput::Mark(_)) {
                marks.push(record);
            }
        }
        Ok(Collector { marks, collected })
    }
}

impl Committer for Collector {
    fn open(&mut self, store: &mut impl StateStore) -> Result<u64, PortError> {
        Ok(store.opened().last_output)
    }

    fn held(&self) -> Result<Held, PortError> {
        Ok(Held::default())
    }

    fn read_journal(
        &mut self,
        _store: &impl StateStore,
        visit: &mut dyn FnMut(JournalRecord),
    ) -> Result<(), PortError> {
        self.marks.drain(..).for_each(visit);
        Ok(())
    }

    fn commit(
        &mut self,
        commit: &mut Commit,
        store: &mut impl StateStore,
    ) -> Result<(), PortError> {
        let risks = commit.outputs.drain(..).filter(|output| output.kind == OutputKind::Risk);
        self.collected.0.borrow_mut().extend(risks.map(|output| output.payload));
        commit.journal.clear();
        store.commit(commit)
    }

    fn settle(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        store.flush()
    }
}

/// Answers every question at once, with nothing.
#[derive(Default)]
pub struct Nobody(VecDeque<Answer>);

impl Predictor for Nobody {
    /// The loop takes all answers in each turn, so no more than a turn's questions wait.
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        let (ticket, epoch) = (request.ticket, request.epoch);
        let outcome = Outcome::Unscored("nobody was asked".to_owned());
        self.0.push_back(Answer { ticket, epoch, outcome });
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        self.0.pop_front()
    }

    fn pending(&self) -> usize {
        self.0.len()
    }
}

/// `P` for the windows of a stretch, and nobody for all others.
pub struct Within<P> {
    predictor: P,
    from: EventTime,
    until: EventTime,
    outside: Nobody,
}

impl<P> Within<P> {
    pub fn new(predictor: P, from: EventTime, until: EventTime) -> Self {
        Within { predictor, from, until, outside: Nobody::default() }
    }
}

impl<P: Predictor> Predictor for Within<P> {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        match (self.from..self.until).contains(&request.ticket.t) {
            true => self.predictor.submit(request),
            false => self.outside.submit(request),
        }
    }

    fn poll(&mut self, wait: Duration) -> Option<Answer> {
        self.outside.poll(Duration::ZERO).or_else(|| self.predictor.poll(wait))
    }

    fn pending(&self) -> usize {
        self.outside.pending() + self.predictor.pending()
    }
}
