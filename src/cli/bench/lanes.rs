//! Events to shards: in place for one shard, by bounded channels to a thread each for more.
//!
//! The watermark is one for all stays, so it is computed before events are split, and every batch
//! carries it. That makes the answer independent of the number of shards.

use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::durable::{Durability, Keeper, Start};
use super::input::Event;
use super::shard::{Emission, Held, Shard, Tally};
use crate::ids::StayId;
use crate::time::EventTime;

/// Events of one batch to a shard.
const BATCH_EVENTS: usize = 1_024;

/// Batches that may wait for a shard; then the reader waits.
const BATCHES_WAITING: usize = 8;

/// Events that arrived under one watermark. The shard advances to it before it takes them.
struct Batch {
    watermark: EventTime,
    events: Vec<Event>,
}

/// What all shards answered together.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) tally: Tally,
    pub(super) commits: u64,
    /// Events that the stores say they hold; 0 without a store.
    pub(super) taken: u64,
}

/// A shard with its store.
pub(super) struct Lane {
    shard: Shard,
    keeper: Option<Keeper>,
}

/// The way to a shard on a thread of its own.
pub(super) struct Remote {
    batches: Sender<Batch>,
    waiting: Vec<Event>,
    thread: JoinHandle<anyhow::Result<Total>>,
}

/// What all shards have in common.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shards: usize,
    pub(super) emission: Emission,
    pub(super) durability: Option<Durability>,
}

/// All shards.
pub(super) enum Lanes {
    Here(Box<Lane>),
    Threads { watermark: EventTime, remotes: Vec<Remote> },
}

impl Lanes {
    /// Shards under `watermark`, empty or as their stores hold them, and what they hold.
    pub(super) fn open(
        plan: &Plan,
        start: Start,
        watermark: EventTime,
    ) -> anyhow::Result<(Self, Held)> {
        let (shards, mut held) = (plan.shards, Held::default());
        let mut lane = |partition: u32| -> anyhow::Result<Lane> {
            let mut shard = Shard::new(plan.emission, watermark);
            let keeper = match &plan.durability {
                Some(how) => Some(Keeper::open(how, partition, start, &mut shard)?),
                None => None,
            };
            held.add(shard.held());
            Ok(Lane { shard, keeper })
        };
        if shards <= 1 {
            return Ok((Lanes::Here(Box::new(lane(0)?)), held));
        }
        let mut remotes = Vec::with_capacity(shards);
        for partition in (0u32..).take(shards) {
            let lane = lane(partition)?;
            let (batches, inbox) = bounded(BATCHES_WAITING);
            let thread = std::thread::Builder::new()
                .name(format!("bench-shard-{partition}"))
                .spawn(move || lane.work(&inbox))
                .context("cannot start a shard's thread; use fewer --shards")?;
            let waiting = Vec::with_capacity(BATCH_EVENTS);
            remotes.push(Remote { batches, waiting, thread });
        }
        Ok((Lanes::Threads { watermark, remotes }, held))
    }

    /// Hands on events that all arrived under the present watermark.
    pub(super) fn take(&mut self, events: &[Event]) -> anyhow::Result<()> {
        match self {
            Lanes::Here(lane) => lane.take(events),
            Lanes::Threads { watermark, remotes } => {
                let n = remotes.len();
                for event in events {
                    let remote = &mut remotes[shard_of(event.stay, n)];
                    remote.waiting.push(*event);
                    if remote.waiting.len() == BATCH_EVENTS {
                        remote.send(*watermark)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Moves the watermark on. What arrived before it goes out under the old one.
    pub(super) fn advance(&mut self, to: EventTime) -> anyhow::Result<()> {
        match self {
            Lanes::Here(lane) => lane.shard.advance(to),
            Lanes::Threads { watermark, remotes } => {
                for remote in remotes.iter_mut() {
                    remote.send(*watermark)?;
                }
                *watermark = to;
                for remote in remotes.iter_mut() {
                    remote.send(to)?;
                }
                Ok(())
            }
        }
    }

    /// Closes everything and adds up.
    pub(super) fn finish(mut self) -> anyhow::Result<Total> {
        self.advance(EventTime::MAX)?;
        self.stop()
    }

    /// Commits what is open, lets go of all state and adds up.
    pub(super) fn stop(self) -> anyhow::Result<Total> {
        let mut total = Total::default();
        match self {
            Lanes::Here(lane) => total = lane.finish()?,
            Lanes::Threads { watermark, remotes } => {
                for mut remote in remotes {
                    remote.send(watermark)?;
                    drop(remote.batches);
                    total.add(join(remote.thread)?);
                }
            }
        }
        Ok(total)
    }
}

/// Which shard holds a stay; Fibonacci hashing spreads ids that count.
fn shard_of(stay: StayId, n: usize) -> usize {
    let mixed = stay.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed as usize % n
}

fn join(thread: JoinHandle<anyhow::Result<Total>>) -> anyhow::Result<Total> {
    thread.join().map_err(|_| anyhow::anyhow!("a shard's thread has panicked; report this"))?
}

impl Remote {
    fn send(&mut self, watermark: EventTime) -> anyhow::Result<()> {
        let events = std::mem::replace(&mut self.waiting, Vec::with_capacity(BATCH_EVENTS));
        let sent = self.batches.send(Batch { watermark, events });
        sent.map_err(|_| anyhow::anyhow!("a shard's thread has stopped; its store may be broken"))
    }
}

impl Lane {
    /// Until the sender is gone: advance, take, commit when due.
    fn work(mut self, inbox: &Receiver<Batch>) -> anyhow::Result<Total> {
        let mut reached = EventTime::MIN;
        for Batch { watermark, events } in inbox {
            if watermark > reached {
                reached = watermark;
                self.shard.advance(watermark)?;
            }
            self.take(&events)?;
        }
        self.finish()
    }

    fn take(&mut self, events: &[Event]) -> anyhow::Result<()> {
        self.shard.take(events);
        match &mut self.keeper {
            Some(keeper) => keeper.took(events.len(), &mut self.shard),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> anyhow::Result<Total> {
        let mut total = Total { tally: self.shard.tally(), ..Total::default() };
        if let Some(keeper) = &mut self.keeper {
            keeper.commit(&mut self.shard)?;
            total.commits = keeper.commits;
            total.taken = keeper.taken();
        }
        Ok(total)
    }
}

impl Total {
    fn add(&mut self, other: Total) {
        self.tally.add(other.tally);
        self.commits += other.commits;
        self.taken += other.taken;
    }
}
