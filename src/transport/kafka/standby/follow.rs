//! The thread that brings warm copies up to date, one after another.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{Copies, Held, Shared, Slot};
use crate::ports::PortError;
use crate::telemetry::{StandbyEnded, StandbyFollowed, StandbyWarm, StandbysKept};
use crate::transport::kafka::changelog;
use crate::transport::kafka::settings::KafkaSettings;
use crate::transport::kafka::stretch::Stretch;

/// The longest that one copy is read for while others wait. A copy that is begun may have millions
/// of records before it.
const SLICE: Duration = Duration::from_secs(2);
/// Before a copy that has failed is looked at again. Each look at a leader that is away takes time
/// from the others.
const BACK_OFF: Duration = Duration::from_secs(5);
/// The same where a person must act.
const LONG_BACK_OFF: Duration = Duration::from_secs(60);

/// How a copy was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It had everything.
    Abreast,
    /// It was left in the middle.
    Behind,
    /// Nothing could be done.
    Alone,
}

/// The thread's own.
pub(super) struct Follower<'a, C: Copies> {
    shared: &'a Shared<C>,
    settings: &'a KafkaSettings,
    stretch: Stretch<'a>,
    /// The cluster did not answer when it was last asked.
    is_cut_off: bool,
}

impl<'a, C: Copies> Follower<'a, C> {
    /// Looks after the copies until there is nobody to keep them for.
    pub fn run(shared: &'a Shared<C>, settings: &'a KafkaSettings) {
        let stretch = match Stretch::open(settings, settings.changelog(), 0) {
            Ok(stretch) => stretch,
            Err(error) => {
                tracing::error!("no standby is kept: {error}");
                return;
            }
        };
        let mut follower = Follower { shared, settings, stretch, is_cut_off: false };
        while !shared.is_stopping() {
            let started = Instant::now();
            let pause = match follower.round() {
                true => shared.options.every.saturating_sub(started.elapsed()),
                false => Duration::ZERO,
            };
            shared.rest(pause);
        }
    }

    /// Looks after every copy once; false if one of them needs more.
    fn round(&mut self) -> bool {
        let (followed, gone) = self.shared.state().round(&self.shared.options);
        for (partition, slot) in gone {
            drop(slot.claim(partition, "others have come closer"));
        }
        let mut left = Vec::new();
        for (partition, slot) in followed {
            if self.shared.is_stopping() {
                return true;
            }
            left.push(self.follow(partition, &slot));
        }
        StandbysKept(left.iter().filter(|left| **left != Left::Alone).count()).emit();
        !left.contains(&Left::Behind)
    }

    /// Brings one copy up to date.
    fn follow(&mut self, partition: u32, slot: &Slot<C::Store>) -> Left {
        let mut held = slot.held();
        if slot.is_claimed() || Instant::now() < held.not_before {
            return Left::Alone;
        }
        match self.read_on(partition, slot, &mut held) {
            Ok(left) => {
                self.is_cut_off = false;
                left
            }
            Err(error) => {
                self.fail(partition, &mut held, error);
                Left::Alone
            }
        }
    }

    fn read_on(
        &mut self,
        partition: u32,
        slot: &Slot<C::Store>,
        held: &mut Held<C::Store>,
    ) -> Result<Left, PortError> {
        let copies = &self.shared.copies;
        // What is too old is thrown away as it is opened anew.
        let kept = held.store.take().filter(|store| !copies.is_stale(store));
        let store = match kept {
            Some(store) => held.store.insert(store),
            None => {
                held.is_warm = false;
                held.store.insert(copies.open(partition)?)
            }
        };
        self.stretch.turn_to(partition);
        let tail = changelog::tail(self.settings, partition, &self.stretch, store)?;
        StandbyFollowed { task: partition, behind: tail.end - tail.from }.emit();
        let (started, was_cut) = (Instant::now(), Cell::new(false));
        let unwanted = || {
            let is_over = started.elapsed() >= SLICE;
            was_cut.set(is_over || slot.is_claimed() || self.shared.is_stopping());
            was_cut.get()
        };
        match changelog::restore(partition, &self.stretch, tail, store, &unwanted) {
            Ok(restored) => {
                if !std::mem::replace(&mut held.is_warm, true) {
                    StandbyWarm { task: partition, records: restored.records }.emit();
                }
                Ok(Left::Abreast)
            }
            Err(_) if was_cut.get() => Ok(Left::Behind),
            Err(error) => Err(error),
        }
    }

    /// What passes leaves the copy open; else it is closed, to be opened anew later.
    fn fail(&mut self, partition: u32, held: &mut Held<C::Store>, error: PortError) {
        let is_lasting = matches!(error, PortError::Stop(_));
        held.not_before = Instant::now() + if is_lasting { LONG_BACK_OFF } else { BACK_OFF };
        match error {
            PortError::Retry(why) => {
                if !std::mem::replace(&mut self.is_cut_off, true) {
                    tracing::warn!(task = partition, "{why}; the standby waits");
                }
            }
            // The task that had the partition may still be ending.
            PortError::Reopen(why) if held.store.is_none() => {
                tracing::info!(task = partition, "{why}; the standby waits");
            }
            PortError::Reopen(why) => {
                tracing::warn!(task = partition, "{why}; the standby is opened anew");
                self.close(partition, held);
            }
            PortError::Stop(why) => {
                tracing::warn!(task = partition, "no standby is kept: {why}");
                self.close(partition, held);
            }
        }
    }

    fn close(&self, partition: u32, held: &mut Held<C::Store>) {
        if held.store.take().is_some() {
            StandbyEnded { task: partition, why: "it has failed" }.emit();
        }
    }
}
