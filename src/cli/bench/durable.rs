//! The benchmark's state made durable as the engine's is: every changed hour chunk rewritten as one
//! whole value, one batch a commit, the position in the same batch, then a flush.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::shard::Shard;
use crate::ids::{Position, Topic};
use crate::ports::{Commit, StateStore};
use crate::store::codec::{NEWEST_VERSION, frame};
use crate::store::keys::Key;
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

impl Keeper {
    pub(super) fn open(how: &Durability, partition: u32) -> anyhow::Result<Self> {
        let dir = how.dir.join(partition.to_string());
        let (store, _) = SledStore::open(&dir, &StoreOptions::default())?;
        anyhow::ensure!(
            store.opened().commit == 0,
            "{} already holds a store; choose another --dir",
            dir.display()
        );
        let due = Instant::now() + how.every;
        Ok(Keeper { store, every: how.every, due, partition, next: 0, commits: 0 })
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
