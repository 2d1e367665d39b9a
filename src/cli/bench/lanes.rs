//! Events to shards: in place for one shard, by bounded channels to a thread each for more.
//!
//! The watermark is one for all stays, so it is computed before events are split, and every batch
//! carries it. That makes the answer independent of the number of shards.

use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::durable::{Durability, Keeper};
use super::input::Event;
use super::shard::{Emission, Shard, Tally};
use super::usage;
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
    /// Processor time of threads that have ended.
    pub(super) exited_cpu_s: f64,
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

/// All shards.
pub(super) enum Lanes {
    Here(Box<Lane>),
    Threads { watermark: EventTime, remotes: Vec<Remote> },
}

impl Lanes {
    pub(super) fn open(
        shards: usize,
        emission: Emission,
        durability: Option<&Durability>,
    ) -> anyhow::Result<Self> {
        let lane = |partition: u32| -> anyhow::Result<Lane> {
            let keeper = durability.map(|how| Keeper::open(how, partition)).transpose()?;
            Ok(Lane { shard: Shard::new(emission), keeper })
        };
        if shards <= 1 {
            return Ok(Lanes::Here(Box::new(lane(0)?)));
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
        Ok(Lanes::Threads { watermark: EventTime::MIN, remotes })
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
            Lanes::Here(lane) => {
                lane.shard.advance(to);
                Ok(())
            }
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
        let mut total = Total::default();
        match self {
            Lanes::Here(lane) => total = lane.finish()?,
            Lanes::Threads { remotes, .. } => {
                for Remote { batches, thread, .. } in remotes {
                    drop(batches);
                    total.add(join(thread)?);
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
                self.shard.advance(watermark);
            }
            self.take(&events)?;
        }
        let mut total = self.finish()?;
        total.exited_cpu_s = usage::thread_cpu_seconds()?;
        Ok(total)
    }

    fn take(&mut self, events: &[Event]) -> anyhow::Result<()> {
        self.shard.take(events);
        match &mut self.keeper {
            Some(keeper) => keeper.took(events.len(), &mut self.shard),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> anyhow::Result<Total> {
        let mut commits = 0;
        if let Some(keeper) = &mut self.keeper {
            keeper.commit(&mut self.shard)?;
            commits = keeper.commits;
        }
        Ok(Total { tally: self.shard.tally(), commits, exited_cpu_s: 0.0 })
    }
}

impl Total {
    fn add(&mut self, other: Total) {
        self.tally.add(other.tally);
        self.commits += other.commits;
        self.exited_cpu_s += other.exited_cpu_s;
    }
}
