//! The ports of the loop over the simulated log and disks. How a commit leaves is told here and
//! nowhere else.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use nowcxr::ids::Digest;
use nowcxr::ports::{
    Commit, Held, Journal, JournalRecord, Opened, Outlet, Output, PortError, PredictionRequest,
    StateStore,
};
use nowcxr::store::codec::{frame, unframe};
use nowcxr::store::memory::MemoryStore;

use crate::log::Fenced;
use crate::world::{Defect, Entry, Node, Place, Progress, Transport, World};

/// Under this key a store of a Kafka task says how far it has read the changelog.
pub const REACHED: [u8; 2] = [255, 1];

/// The first byte of a film's key and of a window's (`store::keys`).
const FILM_TAG: u8 = 3;
const WINDOW_TAG: u8 = 4;

/// What the ports of one opened task have in common.
#[derive(Clone)]
pub struct Link {
    pub world: Rc<World>,
    pub node: Rc<Node>,
    pub transport: Transport,
    pub partition: u32,
    pub epoch: u64,
    /// The group has taken the task away, and the member knows.
    pub revoked: Rc<Cell<bool>>,
    /// What a rebuild would have sent.
    pub extra: Rc<RefCell<Vec<Output>>>,
}

impl Link {
    pub fn call(&self) -> Result<(), PortError> {
        self.node.call(&self.world)
    }

    pub fn id(&self) -> String {
        format!("task-{}", self.partition)
    }

    pub fn asked(&self, request: PredictionRequest) {
        self.world.asked.borrow_mut().push((self.partition, request));
    }

    fn fenced(&self) -> PortError {
        self.world.count("fenced");
        PortError::Reopen("another owner has fenced this one".into())
    }

    /// The whole commit as one transaction. Returns where the changelog ends then.
    fn transact(&self, commit: &Commit) -> Result<u64, PortError> {
        let faults = self.world.faults.get();
        loop {
            self.write(commit).map_err(|error| error.unwrap_or_else(|| self.fenced()))?;
            if self.world.happens("transaction aborted", faults.abort) {
                let epoch = self.epoch();
                let aborted = self.world.log.borrow_mut().abort(&self.id(), epoch);
                aborted.map_err(|Fenced| self.fenced())?;
                continue;
            }
            let unknown = self.world.happens("outcome unknown", faults.unknown);
            if unknown && self.world.chance(0.5) {
                return Err(PortError::Reopen("nobody said what became of it".into()));
            }
            self.call()?;
            let epoch = self.epoch();
            let committed = self.world.log.borrow_mut().commit(&self.id(), epoch);
            committed.map_err(|Fenced| self.fenced())?;
            let progress = Progress { number: commit.number, positions: commit.positions.clone() };
            self.world.note_committed(self.partition, progress);
            if unknown {
                return Err(PortError::Reopen("nobody said what became of it".into()));
            }
            self.call()?;
            return Ok(self.world.log.borrow().end_of(Place::Changelog(self.partition)));
        }
    }

    /// The epoch that this producer claims; one that ignores fencing takes whichever is wanted.
    fn epoch(&self) -> u64 {
        match self.world.has(Defect::IgnoresFencing) {
            true => self.world.log.borrow().epoch(&self.id()),
            false => self.epoch,
        }
    }

    fn write(&self, commit: &Commit) -> Result<(), Option<PortError>> {
        let (id, epoch, n) = (self.id(), self.epoch(), self.partition);
        let fenced = |Fenced| None;
        self.call().map_err(Some)?;
        self.world.log.borrow_mut().begin(&id, epoch).map_err(fenced)?;
        for output in &commit.outputs {
            let entry = Entry::Output(output.clone());
            if self.world.has(Defect::TearsTransactions) {
                self.world.log.borrow_mut().append(Place::Output(n), entry);
            } else {
                let added = self.world.log.borrow_mut().add(&id, epoch, Place::Output(n), entry);
                added.map_err(fenced)?;
            }
        }
        self.call().map_err(Some)?;
        let progress = Progress { number: commit.number, positions: commit.positions.clone() };
        let mut log = self.world.log.borrow_mut();
        for record in self.journalled(&commit.journal) {
            let entry = Entry::Journal(record.clone());
            log.add(&id, epoch, Place::Journal(n), entry).map_err(fenced)?;
        }
        for (key, value) in &commit.puts {
            let entry = Entry::Value(key.clone(), Some(value.clone()));
            log.add(&id, epoch, Place::Changelog(n), entry).map_err(fenced)?;
        }
        for key in &commit.deletes {
            let entry = Entry::Value(key.clone(), None);
            log.add(&id, epoch, Place::Changelog(n), entry).map_err(fenced)?;
        }
        log.add(&id, epoch, Place::Changelog(n), Entry::Progress(progress)).map_err(fenced)?;
        Ok(())
    }

    fn journalled<'a>(&self, records: &'a [JournalRecord]) -> &'a [JournalRecord] {
        if self.world.has(Defect::ForgetsJournal) { &[] } else { records }
    }

    /// The highest number among the outputs that have left.
    pub fn last_output(&self) -> u64 {
        let log = self.world.log.borrow();
        let outputs = log.committed(Place::Output(self.partition), 0);
        let numbers = outputs.filter_map(|(_, entry)| match entry {
            Entry::Output(output) => Some(output.number),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    }

    pub fn outputs(&self) -> Vec<Output> {
        let log = self.world.log.borrow();
        let outputs = log.committed(Place::Output(self.partition), 0);
        outputs
            .filter_map(|(_, entry)| match entry {
                Entry::Output(output) => Some(output.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn journal(&self) -> Vec<JournalRecord> {
        let log = self.world.log.borrow();
        let records = log.committed(Place::Journal(self.partition), 0);
        records
            .filter_map(|(_, entry)| match entry {
                Entry::Journal(record) => Some(record.clone()),
                _ => None,
            })
            .collect()
    }
}

pub struct Store {
    pub link: Link,
    inner: Option<MemoryStore>,
    opened: Opened,
}

impl Store {
    /// What the disk of the node holds, brought up to the changelog where there is one.
    pub fn open(link: Link) -> Result<Self, PortError> {
        link.call()?;
        let world = Rc::clone(&link.world);
        let found = link.node.disks.borrow_mut().remove(&link.partition);
        let crashed = link.node.crashed.borrow_mut().remove(&link.partition);
        let mut inner = match found {
            Some(_) if world.happens("store damaged", world.faults.get().damage) => None,
            Some(store) => Some(store.restart()?),
            None => None,
        };
        if crashed && world.has(Defect::LosesTailSilently) {
            inner = inner.map(without_newest_windows).transpose()?;
        }
        let inner = inner.unwrap_or_else(MemoryStore::crashable);
        let mut store = Store { opened: inner.opened().clone(), inner: Some(inner), link };
        if store.link.transport == Transport::Kafka {
            store.restore()?;
        }
        Ok(store)
    }

    fn inner(&mut self) -> Result<&mut MemoryStore, PortError> {
        self.inner.as_mut().ok_or_else(|| PortError::Stop("the store is closed".into()))
    }

    /// Reads the changelog from where this store stands.
    fn restore(&mut self) -> Result<(), PortError> {
        let place = Place::Changelog(self.link.partition);
        let from = self.reached()?;
        let mut progress: Option<Progress> = None;
        let mut changed: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let log = self.link.world.log.borrow();
        for (_, entry) in log.committed(place, from) {
            match entry {
                Entry::Value(key, value) => drop(changed.insert(key.clone(), value.clone())),
                Entry::Progress(newer) => progress = Some(newer.clone()),
                _ => {}
            }
        }
        let end = log.stable_end(place);
        drop(log);
        if let Some(progress) = progress {
            self.link.world.count("restored from the changelog");
            let old = self.inner.take().map_or_else(Default::default, |store| values_of(&store));
            let mut puts: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                old.into_iter().map(|(key, value)| (key, Some(value))).collect();
            puts.extend(changed);
            let mut fresh = MemoryStore::crashable();
            let puts = puts.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let Progress { number, positions } = progress;
            fresh.commit(&reaching(
                Commit { number, positions, puts: puts.collect(), ..Commit::default() },
                end,
            ))?;
            fresh.flush()?;
            self.inner = Some(fresh.restart()?);
            self.opened = self.inner()?.opened().clone();
        }
        self.opened.last_output = self.link.last_output();
        Ok(())
    }

    fn reached(&self) -> Result<u64, PortError> {
        let held = self.get(&REACHED)?;
        let payload = held.as_deref().and_then(|value| unframe(value).ok());
        let bytes = payload.and_then(|(_, payload)| payload.first_chunk::<8>());
        Ok(bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn commit_to_disk(&mut self, commit: &Commit) -> Result<(), PortError> {
        let world = Rc::clone(&self.link.world);
        self.link.call()?;
        if world.happens("disk full", world.faults.get().disk_full) {
            return Err(PortError::Retry("no space left on device".into()));
        }
        self.inner()?.commit(commit)?;
        self.link.call()
    }
}

/// `commit`, and that the changelog was read up to `end`.
fn reaching(mut commit: Commit, end: u64) -> Commit {
    commit.puts.retain(|(key, _)| *key != REACHED);
    commit.puts.push((REACHED.to_vec(), frame(1, &end.to_be_bytes())));
    commit
}

/// Everything in a store but what it says of itself.
pub fn values_of(store: &impl StateStore) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut values = BTreeMap::new();
    let visited = store.scan(&[], &mut |key, value| {
        values.insert(key.to_vec(), value.to_vec());
    });
    visited.map_or_else(|_| BTreeMap::new(), |()| values)
}

/// The same store without its newest windows, and nothing says so.
fn without_newest_windows(store: MemoryStore) -> Result<MemoryStore, PortError> {
    let opened = store.opened().clone();
    let mut values = values_of(&store);
    let windows: Vec<Vec<u8>> = values.keys().filter(|key| key[0] == WINDOW_TAG).cloned().collect();
    for key in windows.iter().rev().take(2) {
        values.remove(key);
    }
    let mut fresh = MemoryStore::crashable();
    if opened.commit > 0 {
        fresh.commit(&Commit {
            number: opened.commit,
            positions: opened.positions,
            puts: values.into_iter().collect(),
            outputs: opened.outbox,
            ..Commit::default()
        })?;
        fresh.flush()?;
    }
    fresh.restart()
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(store) = self.inner.take() {
            self.link.node.disks.borrow_mut().insert(self.link.partition, store);
        }
    }
}

impl StateStore for Store {
    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), PortError> {
        self.inner.as_ref().map_or(Ok(()), |store| store.scan(prefix, visit))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PortError> {
        if self.link.world.has(Defect::LosesFilms) && key.first() == Some(&FILM_TAG) {
            return Ok(None);
        }
        self.inner.as_ref().map_or(Ok(None), |store| store.get(key))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), PortError> {
        if self.link.transport != Transport::Kafka {
            return self.commit_to_disk(commit);
        }
        let end = self.link.transact(commit)?;
        let local = Commit { outputs: Vec::new(), journal: Vec::new(), ..commit.clone() };
        self.commit_to_disk(&reaching(local, end))
    }

    fn restore(&mut self, piece: &Commit) -> Result<(), PortError> {
        self.inner()?.restore(piece)
    }

    fn flush(&mut self) -> Result<(), PortError> {
        self.link.call()?;
        let lazy = self.link.world.faults.get().lazy_flush;
        if self.link.world.happens("flush put off", lazy) {
            return Ok(());
        }
        self.inner()?.flush()
    }

    fn sent(&mut self, number: u64) {
        if let Some(store) = &mut self.inner {
            store.sent(number);
        }
    }
}

pub struct Exit(pub Link);

impl Outlet for Exit {
    fn last_number(&self) -> u64 {
        self.0.last_output()
    }

    fn held(&self) -> Result<Held, PortError> {
        self.0.world.count("store lost, outputs known");
        if self.0.transport == Transport::Kafka || self.0.world.has(Defect::DoublesAfterRebuild) {
            return Ok(Held::default());
        }
        let outputs = self.0.outputs();
        Ok(Held {
            payloads: outputs.iter().map(|output| Digest::of(&output.payload)).collect(),
            newest_envelope: outputs.last().map(|output| output.envelope.clone()),
        })
    }

    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError> {
        match self.0.transport {
            // They have left with the transaction.
            Transport::Kafka => return Ok(()),
            Transport::Rebuild => {
                self.0.extra.borrow_mut().extend_from_slice(outputs);
                return Ok(());
            }
            Transport::Local => {}
        }
        let mut last = self.last_number();
        for output in outputs {
            if let Err(died) = self.0.call() {
                if self.0.world.has(Defect::DropsOutputAtCrash) {
                    // The next number hides that this one is missing.
                    let Some(end) = outputs.last() else { return Err(died) };
                    let entry = Entry::Output(end.clone());
                    self.0.world.log.borrow_mut().append(Place::Output(self.0.partition), entry);
                }
                return Err(died);
            }
            if output.number > last {
                let entry = Entry::Output(output.clone());
                self.0.world.log.borrow_mut().append(Place::Output(self.0.partition), entry);
                last = output.number;
            }
        }
        self.0.call()
    }
}

pub struct Diary(pub Link);

impl Journal for Diary {
    fn append(&mut self, records: &[JournalRecord]) -> Result<(), PortError> {
        self.0.call()?;
        if self.0.transport != Transport::Local {
            return Ok(());
        }
        for record in self.0.journalled(records) {
            let entry = Entry::Journal(record.clone());
            self.0.world.log.borrow_mut().append(Place::Journal(self.0.partition), entry);
            self.0.call()?;
        }
        Ok(())
    }

    fn read(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError> {
        self.0.call()?;
        // State and journal come to be together: only a state that is lost must learn from it.
        if self.0.transport != Transport::Kafka {
            self.0.journal().into_iter().for_each(visit);
        }
        Ok(())
    }
}
