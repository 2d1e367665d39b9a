//! Standbys: warm copies of the state of partitions that other members own, so that a task which
//! comes to this member has only the tail of its changelog to read (Kafka Streams'
//! `num.standby.replicas`).
//!
//! A copy is the task's own store. It is kept up to date by what a task does on opening, again and
//! again: a consumer that belongs to no group reads each changelog partition from the position
//! reached to its last stable offset. Nothing is predicted from a copy, nothing here can write to
//! Kafka, and no readiness depends on it. When the group gives the partition to this member, its
//! task takes the open store and restores the rest; when it is taken back, a copy begins again
//! where that task has left its store.
//!
//! # What it costs
//! Kafka Streams counts replicas of a task and its assignor says who keeps them. librdkafka takes
//! no assignor of ours, so here each member keeps so many copies as it is told, chosen by itself
//! ([`choice`]), and the group does not know of them: with fewer copies than other members'
//! partitions, a task may come to a member that has none, and is restored from the start as without
//! standbys. With all of them every member reads every changelog and holds every state on its disk.
//! One thread brings the copies up to date one after another, about a tenth of a second each.

mod choice;
mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::settings::KafkaSettings;
use crate::ports::{PortError, StateStore};
use crate::telemetry::StandbyEnded;
use choice::choose;
use follow::Follower;

/// Between the starts of two rounds over all copies.
const EVERY: Duration = Duration::from_secs(2);
/// An assignment that has lasted for so long is worth beginning copies for; longer than a member
/// waits for its first one.
const SETTLE: Duration = Duration::from_secs(10);

/// Where copies live: the stores of the member's own tasks.
pub trait Copies: Send + Sync + 'static {
    type Store: StateStore + Send + 'static;

    /// Opens the store of a task. A state that is too old is to be thrown away first.
    fn open(&self, partition: u32) -> Result<Self::Store, PortError>;

    /// Whether the changelog may have forgotten deletions that this store has not seen.
    fn is_stale(&self, store: &Self::Store) -> bool;
}

/// How many copies, and of what.
#[derive(Clone, Copy, Debug)]
pub struct StandbyOptions {
    /// The most copies that are kept.
    pub most: u32,
    /// Partitions that the topics have.
    pub partitions: u32,
    /// Between the starts of two rounds over all copies.
    pub every: Duration,
    /// How long an assignment must have lasted before copies are begun or given up for it.
    pub settle: Duration,
}

impl StandbyOptions {
    pub fn new(most: u32, partitions: u32) -> Self {
        StandbyOptions { most, partitions, every: EVERY, settle: SETTLE }
    }
}

/// This member's warm copies. Dropping it closes them.
pub struct Standbys<C: Copies> {
    shared: Arc<Shared<C>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<C: Copies> {
    options: StandbyOptions,
    copies: C,
    state: Mutex<State<C::Store>>,
    changed: Condvar,
    stop: AtomicBool,
}

struct State<S> {
    /// The member's own partitions; `None` before it has said so.
    owned: Option<BTreeSet<u32>>,
    /// Since when they are these.
    since: Instant,
    /// At most `most`, and those of partitions that have just become the member's own.
    slots: BTreeMap<u32, Arc<Slot<S>>>,
}

/// The place of one copy.
struct Slot<S> {
    /// Its task waits for it: whoever works on it is to let go.
    is_claimed: AtomicBool,
    held: Mutex<Held<S>>,
}

struct Held<S> {
    store: Option<S>,
    /// The copy has reached the changelog's end since it was opened.
    is_warm: bool,
    /// After a failure it is left alone until then.
    not_before: Instant,
}

impl<S> Slot<S> {
    fn new() -> Self {
        let held = Held { store: None, is_warm: false, not_before: Instant::now() };
        Slot { is_claimed: AtomicBool::new(false), held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, Held<S>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Acquire)
    }

    /// Waits until nobody works on the copy any more, which is soon, and takes the store out.
    fn claim(&self, partition: u32, why: &str) -> Option<S> {
        self.is_claimed.store(true, Ordering::Release);
        let store = self.held().store.take()?;
        StandbyEnded { task: partition, why }.emit();
        Some(store)
    }
}

type Slots<S> = Vec<(u32, Arc<Slot<S>>)>;

impl<S> State<S> {
    /// The copies to look after now, and those that are not wanted any more.
    fn round(&mut self, options: &StandbyOptions) -> (Slots<S>, Slots<S>) {
        let Some(owned) = &self.owned else { return (Vec::new(), Vec::new()) };
        let mut gone = Vec::new();
        if self.since.elapsed() >= options.settle {
            let wanted = choose(owned, options.partitions, options.most);
            // One that is owned now waits for its task.
            let unwanted = |p: &u32| !wanted.contains(p) && !owned.contains(p);
            gone.extend(self.slots.extract_if(.., |partition, _| unwanted(partition)));
            for partition in wanted {
                self.slots.entry(partition).or_insert_with(|| Arc::new(Slot::new()));
            }
        }
        let followed = self.slots.iter().filter(|(partition, _)| !owned.contains(partition));
        (followed.map(|(&partition, slot)| (partition, Arc::clone(slot))).collect(), gone)
    }
}

impl<C: Copies> Shared<C> {
    fn state(&self) -> MutexGuard<'_, State<C::Store>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits for `time`, or until there is no more to wait for.
    fn rest(&self, time: Duration) {
        let is_idle = |_: &mut State<C::Store>| !self.is_stopping();
        drop(self.changed.wait_timeout_while(self.state(), time, is_idle));
    }
}

impl<C: Copies> Standbys<C> {
    /// Keeps copies as soon as it is told what is assigned to the member.
    ///
    /// # Errors
    /// `Stop` when there is no thread to be had.
    pub fn start(
        settings: &KafkaSettings,
        options: StandbyOptions,
        copies: C,
    ) -> Result<Self, PortError> {
        let state = State { owned: None, since: Instant::now(), slots: BTreeMap::new() };
        let shared = Arc::new(Shared {
            options,
            copies,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let (theirs, settings) = (Arc::clone(&shared), settings.clone());
        let thread = thread::Builder::new()
            .name("kafka-standby".to_owned())
            .spawn(move || Follower::run(&theirs, &settings))
            .map_err(|e| PortError::Stop(format!("no thread for kafka.standby: {e}")))?;
        Ok(Standbys { shared, thread: Some(thread) })
    }

    /// These partitions are the member's own, from now on. Their copies stand still until they are
    /// taken.
    pub fn assigned(&self, owned: &BTreeSet<u32>) {
        let mut state = self.shared.state();
        if state.owned.as_ref() != Some(owned) {
            state.owned = Some(owned.clone());
            state.since = Instant::now();
        }
    }

    /// The copy of a partition that is [`Standbys::assigned`], if there is one. It may lag.
    pub fn take(&self, partition: u32) -> Option<C::Store> {
        let slot = self.shared.state().slots.remove(&partition)?;
        let store = slot.claim(partition, "the task is this member's")?;
        (!self.shared.copies.is_stale(&store)).then_some(store)
    }
}

impl<C: Copies> Drop for Standbys<C> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Whoever is about to wait looks again under the lock.
        drop(self.shared.state());
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of kafka.standby had panicked");
        }
        for (partition, slot) in std::mem::take(&mut self.shared.state().slots) {
            drop(slot.claim(partition, "the process ends"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(owned: &[u32], slots: &[u32]) -> State<()> {
        State {
            owned: Some(owned.iter().copied().collect()),
            since: Instant::now(),
            slots: slots.iter().map(|&partition| (partition, Arc::new(Slot::new()))).collect(),
        }
    }

    fn numbers(slots: &Slots<()>) -> Vec<u32> {
        slots.iter().map(|(partition, _)| *partition).collect()
    }

    #[test]
    fn copies_begin_and_end_once_an_assignment_has_settled() {
        let options = StandbyOptions::new(2, 8);
        let settled = StandbyOptions { settle: Duration::ZERO, ..options };
        let mut state = state(&[0, 1], &[1, 2, 7]);
        let (followed, gone) = state.round(&options);
        assert_eq!((numbers(&followed), numbers(&gone)), (vec![2, 7], vec![]));
        let (followed, gone) = state.round(&settled);
        assert_eq!((numbers(&followed), numbers(&gone)), (vec![2, 3], vec![7]));
        assert!(state.slots.contains_key(&1), "its task has not taken it yet");
        state.owned = None;
        assert!(state.round(&settled).0.is_empty());
    }

    #[test]
    fn a_claimed_copy_is_handed_over_once() {
        let slot = Slot::new();
        slot.held().store = Some(());
        assert_eq!(slot.claim(0, "of the test"), Some(()));
        assert!(slot.is_claimed());
        assert_eq!(slot.claim(0, "of the test"), None);
    }
}
