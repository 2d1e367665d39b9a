//! The memory twin of the durable store: the same commits, digest and outbox, and nothing on disk.
//!
//! Tests and the simulator use it, and it can forget what was not flushed, as a crash would.

use std::collections::BTreeMap;

use super::codec;
use super::keys::OWN_TAG;
use super::ledger::{Audit, Fault, Ledger, Plan};
use crate::ids::Digest;
use crate::ports::{Commit, Opened, PortError, StateStore};

/// A store that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    ledger: Ledger,
    opened: Opened,
    /// How to undo the commits since the last flush, newest last; `None` to keep nothing.
    undo: Option<Vec<Undo>>,
}

/// The entries that one commit changed, as they were before.
#[derive(Debug)]
struct Undo(Writes);

/// Keys and their new values; none to delete.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn changes(plan: Plan<'_>) -> (Writes, Ledger) {
    let state =
        plan.values.into_iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
    (state.chain(plan.own).collect(), plan.next)
}

impl MemoryStore {
    /// A store that never looks back.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// A store that can [`MemoryStore::crash`]: until each flush it keeps what commits overwrite.
    pub fn crashable() -> Self {
        MemoryStore { undo: Some(Vec::new()), ..MemoryStore::default() }
    }

    /// The state config from the next commit on.
    pub fn set_config_digest(&mut self, digest: Digest) {
        self.ledger.set_config(digest);
    }

    /// Closes and opens again: nothing is lost, and `opened` tells the state of now.
    pub fn restart(self) -> Result<Self, PortError> {
        let mut audit = Audit::default();
        for (key, value) in &self.values {
            audit.entry(key, value).map_err(broken)?;
        }
        let (ledger, opened) = audit.finish().map_err(broken)?;
        let undo = self.undo.map(|_| Vec::new());
        Ok(MemoryStore { values: self.values, ledger, opened, undo })
    }

    /// Loses every commit since the last flush, then restarts. Without
    /// [`MemoryStore::crashable`] nothing is lost.
    pub fn crash(mut self) -> Result<Self, PortError> {
        while let Some(Undo(entries)) = self.undo.as_mut().and_then(Vec::pop) {
            for (key, value) in entries {
                self.write(key, value);
            }
        }
        self.restart()
    }

    /// Carries out a plan; what it overwrites is kept while a crash may bring it back.
    fn apply(&mut self, writes: Writes, next: Ledger) {
        self.ledger = next;
        let mut before = Vec::new();
        for (key, value) in writes {
            let kept = self.undo.is_some().then(|| key.clone());
            let old = self.write(key, value);
            before.extend(kept.map(|key| (key, old)));
        }
        if let Some(undo) = &mut self.undo {
            undo.push(Undo(before));
        }
    }

    /// Puts or deletes; returns what stood there.
    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        }
    }
}

impl StateStore for MemoryStore {
    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), PortError> {
        for (key, value) in self.values.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            if key.first() != Some(&OWN_TAG) {
                visit(key, value);
            }
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PortError> {
        let own = key.first() == Some(&OWN_TAG);
        Ok(if own { None } else { self.values.get(key).cloned() })
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), PortError> {
        let values = &self.values;
        let plan = self
            .ledger
            .plan(commit, &mut |key| Ok(values.get(key).map(|value| codec::stamp(value))))?;
        let (writes, next) = changes(plan);
        self.apply(writes, next);
        Ok(())
    }

    fn restore(&mut self, piece: &Commit) -> Result<(), PortError> {
        let values = &self.values;
        let plan = self
            .ledger
            .plan_piece(piece, &mut |key| Ok(values.get(key).map(|value| codec::stamp(value))))?;
        let (writes, next) = changes(plan);
        self.apply(writes, next);
        self.opened = self.ledger.opened(Vec::new());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PortError> {
        if let Some(undo) = &mut self.undo {
            undo.clear();
        }
        Ok(())
    }

    fn sent(&mut self, number: u64) {
        self.ledger.sent(number);
    }
}

fn broken(fault: Fault) -> PortError {
    PortError::Stop(format!("the memory store broke its own rules: {fault:?}; report this"))
}
