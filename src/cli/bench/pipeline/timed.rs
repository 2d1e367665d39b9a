//! When each risk event was durable, how long after its window's mark was due, and what commits
//! weigh.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::super::ward::codec;
use super::PARTITION;
use crate::ports::{Commit, Committer, Held, JournalRecord, OutputKind, PortError, StateStore};
use crate::store::keys::Key;
use crate::time::EventTime;
use crate::transport::local::{LocalLog, outputs};

/// A committer that takes notes.
pub struct Noted<C> {
    committer: C,
    notes: Notes,
}

/// Of every risk event the time of its window, and when it was durable.
#[derive(Debug, Default)]
pub struct Latencies(pub(super) Vec<(EventTime, Instant)>);

/// What a [`Noted`] has noted.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Noting>>);

#[derive(Default)]
struct Noting {
    /// When risk events became durable, by output number.
    sent: BTreeMap<u64, Instant>,
    weight: Weight,
}

/// What commits hold.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Weight {
    pub commits: u64,
    /// Values of the state by kind.
    pub puts: BTreeMap<String, Heap>,
    pub outputs: BTreeMap<String, Heap>,
    pub journal_records: u64,
}

/// Values, and their bytes with their keys.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Heap {
    pub n: u64,
    pub bytes: u64,
}

impl Heap {
    fn add(&mut self, bytes: usize) {
        self.n += 1;
        self.bytes += bytes as u64;
    }
}

impl<C> Noted<C> {
    pub fn new(committer: C) -> (Self, Notes) {
        let notes = Notes::default();
        (Noted { committer, notes: notes.clone() }, notes)
    }
}

impl<C: Committer> Committer for Noted<C> {
    fn open(&mut self, store: &mut impl StateStore) -> Result<u64, PortError> {
        self.committer.open(store)
    }

    fn held(&self) -> Result<Held, PortError> {
        self.committer.held()
    }

    fn read_journal(
        &mut self,
        store: &impl StateStore,
        visit: &mut dyn FnMut(JournalRecord),
    ) -> Result<(), PortError> {
        self.committer.read_journal(store, visit)
    }

    fn commit(
        &mut self,
        commit: &mut Commit,
        store: &mut impl StateStore,
    ) -> Result<(), PortError> {
        self.committer.commit(commit, store)?;
        let now = Instant::now();
        let risks = commit.outputs.iter().filter(|output| output.kind == OutputKind::Risk);
        let mut noting = self.notes.lock();
        noting.sent.extend(risks.map(|output| (output.number, now)));
        noting.weight.add(commit);
        Ok(())
    }

    fn settle(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        self.committer.settle(store)
    }
}

impl Weight {
    fn add(&mut self, commit: &Commit) {
        self.commits += 1;
        for (key, value) in &commit.puts {
            let kind = Key::decode(key).map_or_else(String::new, |key| format!("{:?}", key.kind()));
            self.puts.entry(kind.to_lowercase()).or_default().add(key.len() + value.len());
        }
        for output in &commit.outputs {
            self.outputs
                .entry(format!("{:?}", output.kind).to_lowercase())
                .or_default()
                .add(output.payload.len());
        }
        self.journal_records += commit.journal.len() as u64;
    }
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was weighed so far.
    pub fn start(&self) {
        self.lock().weight = Weight::default();
    }

    pub fn weight(&self) -> Weight {
        self.lock().weight.clone()
    }

    /// Finds the windows of what was sent in the log.
    pub fn read(&self, log: &LocalLog) -> Result<Latencies> {
        let (noting, codec) = (self.lock(), codec()?);
        let mut latencies = Latencies::default();
        for stored in outputs(log, OutputKind::Risk, PARTITION)? {
            let stored = stored?;
            let Some(at) = noting.sent.get(&stored.number) else { continue };
            let risk = codec
                .decode_risk(&stored.payload)
                .map_err(|rejection| anyhow!("an own risk event cannot be read: {rejection}"))?;
            latencies.0.push((risk.t, *at));
        }
        Ok(latencies)
    }
}

impl Latencies {
    pub fn n_windows(&self) -> u64 {
        self.0.len() as u64
    }

    /// From when the first mark at or behind each window's time was due, sorted. What no mark
    /// closes is left out.
    pub fn since(&self, marks: &BTreeMap<EventTime, Instant>) -> Vec<Duration> {
        let since = |(t, sent): &(EventTime, Instant)| {
            let (_, due) = marks.range(t..).next()?;
            Some(sent.saturating_duration_since(*due))
        };
        let mut times: Vec<Duration> = self.0.iter().filter_map(since).collect();
        times.sort_unstable();
        times
    }
}
