//! The benchmark's state made durable as the engine's is: every changed hour chunk rewritten as one
//! whole value, one batch a commit, the position in the same batch, then a flush. And read back.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::shard::Shard;
use crate::ids::{Position, StayId, Topic};
use crate::ports::{Commit, StateStore};
use crate::series::Chunk;
use crate::store::codec::{NEWEST_VERSION, frame, unframe};
use crate::store::keys::{Key, Kind};
use crate::store::sled::{SledStore, StoreOptions};

/// Where and how often.
#[derive(Clone, Debug)]
pub(super) struct Durability {
    pub(super) dir: PathBuf,
    pub(super) every: Duration,
}

/// The store of one shard.
pub(super) struct Keeper {
    store: SledStore,
    every: Duration,
    due: Instant,
    partition: u32,
    /// Events taken by this shard.
    next: u64,
    pub(super) commits: u64,
}

/// How a shard's store is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Without one.
    Cold,
    /// As this run left it.
    Restored,
}

impl Keeper {
    /// The store of one shard; what it holds goes into `shard`.
    pub(super) fn open(
        how: &Durability,
        partition: u32,
        start: Start,
        shard: &mut Shard,
    ) -> anyhow::Result<Self> {
        let dir = how.dir.join(partition.to_string());
        let (store, _) = SledStore::open(&dir, &StoreOptions::default())?;
        let opened = store.opened();
        anyhow::ensure!(
            start == Start::Restored || opened.commit == 0,
            "{} already holds a store; choose another --dir",
            dir.display()
        );
        let next = opened.positions.first().map_or(0, |position| position.next);
        let commits = opened.commit;
        restore(&store, shard)?;
        let due = Instant::now() + how.every;
        Ok(Keeper { store, every: how.every, due, partition, next, commits })
    }

    /// Events of this shard that the state holds.
    pub(super) fn taken(&self) -> u64 {
        self.next
    }

    /// Counts events; commits if it is time to.
    pub(super) fn took(&mut self, n: usize, shard: &mut Shard) -> anyhow::Result<()> {
        self.next += n as u64;
        if Instant::now() < self.due {
            return Ok(());
        }
        self.commit(shard)?;
        self.due = Instant::now() + self.every;
        Ok(())
    }

    pub(super) fn commit(&mut self, shard: &mut Shard) -> anyhow::Result<()> {
        self.commits += 1;
        let position = Position { topic: Topic::Vital, partition: self.partition, next: self.next };
        let mut commit =
            Commit { number: self.commits, positions: vec![position], ..Commit::default() };
        for stay in &mut shard.stays {
            for hour in stay.history.take_dirty() {
                let key = Key::Chunk { stay: stay.id, hour }.encode();
                match stay.history.chunk(hour) {
                    Some(chunk) => {
                        let value = frame(NEWEST_VERSION, &postcard::to_stdvec(chunk)?);
                        commit.puts.push((key, value));
                    }
                    None => commit.deletes.push(key),
                }
            }
        }
        self.store.commit(&commit)?;
        self.store.flush()?;
        Ok(())
    }
}

/// Every stored hour back into memory.
fn restore(store: &SledStore, shard: &mut Shard) -> anyhow::Result<()> {
    let mut failed = Ok(());
    store.scan(&Kind::Chunk.prefix(), &mut |key, value| {
        match read_chunk(key, value) {
            Ok((stay, chunk)) => shard.restore(stay, chunk),
            Err(error) => failed = Err(error),
        };
    })?;
    failed
}

fn read_chunk(key: &[u8], value: &[u8]) -> anyhow::Result<(StayId, Chunk)> {
    let Some(Key::Chunk { stay, .. }) = Key::decode(key) else {
        anyhow::bail!("the store holds a key that is no chunk's; choose another --dir");
    };
    let (_, bytes) = unframe(value).context("a stored chunk")?;
    Ok((stay, postcard::from_bytes(bytes).context("a stored chunk")?))
}
