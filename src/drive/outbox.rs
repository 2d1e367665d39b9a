//! The commit of a transport without transactions: the journal, then state, positions and outbox
//! in one batch of the store, flushed, then the outbox to the outlet, which knows by number what
//! it holds. With the next commit the outbox is forgotten.

use crate::ports::{
    Commit, Committer, Held, Journal, JournalRecord, Outlet, PortError, StateStore,
};

/// An outlet and a journal that each are durable by themselves.
pub struct Outbox<O, J> {
    pub outlet: O,
    pub journal: J,
}

impl<O: Outlet, J: Journal> Committer for Outbox<O, J> {
    fn open(&mut self, store: &mut impl StateStore) -> Result<u64, PortError> {
        let waiting = store.opened().outbox.clone();
        self.outlet.send(&waiting)?;
        if let Some(last) = waiting.last() {
            store.sent(last.number);
        }
        Ok(self.outlet.last_number())
    }

    fn held(&self) -> Result<Held, PortError> {
        self.outlet.held()
    }

    /// The journal is appended before the store commits, so it may hold more than the state.
    fn read_journal(
        &mut self,
        _: &impl StateStore,
        visit: &mut dyn FnMut(JournalRecord),
    ) -> Result<(), PortError> {
        self.journal.read(visit)
    }

    fn commit(
        &mut self,
        commit: &mut Commit,
        store: &mut impl StateStore,
    ) -> Result<(), PortError> {
        self.journal.append(&commit.journal)?;
        store.commit(commit)?;
        store.flush()?;
        self.outlet.send(&commit.outputs)?;
        if let Some(last) = commit.outputs.last() {
            store.sent(last.number);
        }
        Ok(())
    }

    /// Every commit is flushed already.
    fn settle(&mut self, _: &mut impl StateStore) -> Result<(), PortError> {
        Ok(())
    }
}
