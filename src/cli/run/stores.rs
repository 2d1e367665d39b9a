//! Where this process keeps the states of its tasks and the warm copies of others: `store.dir`, a
//! directory below it for each partition.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::now;
use crate::config::Config;
use crate::ports::PortError;
use crate::store::sled::{SledStore, StoreError, StoreOptions};
use crate::telemetry::StoreRecovered;
use crate::time::WallTime;
use crate::transport::kafka::Copies;

/// Less than this makes no sense for one task.
const LEAST_CACHE_BYTES: u64 = 1 << 20;
/// How long an earlier process may take to let go of the directory.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The stores of one process.
pub struct Stores {
    dir: PathBuf,
    cache_bytes: u64,
    tombstones_kept: Duration,
    /// Held as long as the stores may be used.
    _claim: Option<File>,
}

impl Stores {
    /// With warm copies the directory is this process's alone: where two processes share one, a
    /// copy of the first would keep the second from a task of its own.
    ///
    /// # Errors
    /// `Stop` when another process uses the directory in a way that does not go with this one.
    pub fn of(
        config: &Config,
        partitions: u32,
        tombstones_kept: Duration,
    ) -> Result<Self, PortError> {
        let dir = config.store.dir.clone();
        let share = config.store.cache_bytes / u64::from(partitions.max(1));
        Ok(Stores {
            _claim: claim(&dir, config.kafka.standby > 0)?,
            dir,
            cache_bytes: share.max(LEAST_CACHE_BYTES),
            tombstones_kept,
        })
    }

    /// Opens the state of a task. One that is too old is thrown away first.
    pub fn open(&self, partition: u32) -> Result<SledStore, PortError> {
        let started = Instant::now();
        let dir = self.dir.join(format!("task-{partition}"));
        let options = StoreOptions { cache_bytes: self.cache_bytes, ..StoreOptions::default() };
        let open = || {
            SledStore::open(&dir, &options).map_err(|error| match error {
                // Another process may be about to give the partition up.
                StoreError::Locked(_) => PortError::Reopen(error.to_string()),
                error => error.into(),
            })
        };
        let (mut store, mut recovery) = open()?;
        if self.is_stale(&store) {
            tracing::warn!(task = partition, "the state is too old; it is restored anew");
            drop(store);
            discard(&dir)?;
            (store, recovery) = open()?;
        }
        let health = store.health()?;
        StoreRecovered {
            task: partition,
            commit: health.commit,
            values: health.entries,
            found: recovery.told(),
            took: started.elapsed(),
        }
        .emit();
        Ok(store)
    }

    /// Whether the changelog may have forgotten deletions that this copy has not seen: half of the
    /// time has passed for which tombstones are kept. The rest is for clocks that differ and for
    /// the restore itself.
    fn is_stale(&self, store: &SledStore) -> bool {
        let age = |at: WallTime| now().as_millis().saturating_sub(at.as_millis());
        let age = store.dated_at().map(age).and_then(|ms| u64::try_from(ms).ok());
        age.is_some_and(|ms| Duration::from_millis(ms) > self.tombstones_kept / 2)
    }
}

impl Copies for Arc<Stores> {
    type Store = SledStore;

    fn open(&self, partition: u32) -> Result<SledStore, PortError> {
        Stores::open(self, partition)
    }

    fn is_stale(&self, store: &SledStore) -> bool {
        Stores::is_stale(self, store)
    }
}

fn discard(dir: &Path) -> Result<(), PortError> {
    std::fs::remove_dir_all(dir).map_err(|error| {
        PortError::Stop(format!("cannot remove {}: {error}; remove it by hand", dir.display()))
    })
}

/// Takes the directory, alone or beside others. Without warm copies a file system that knows no
/// locks, or has no room, is no obstacle: each store has a lock of its own.
fn claim(dir: &Path, is_alone: bool) -> Result<Option<File>, PortError> {
    let path = dir.join("run.lock");
    let since = Instant::now();
    let failed = |error: io::Error| match is_alone {
        true => Err(PortError::Stop(format!(
            "cannot lock {}, as kafka.standby asks for: {error}; correct store.dir or set \
             kafka.standby = 0",
            path.display()
        ))),
        false => Ok(None),
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = match std::fs::create_dir_all(dir).and_then(|()| options.open(&path)) {
        Ok(file) => file,
        Err(error) => return failed(error),
    };
    loop {
        let locked = if is_alone { file.try_lock() } else { file.try_lock_shared() };
        match locked {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return failed(error),
            Err(TryLockError::WouldBlock) if since.elapsed() < CLAIM_WAIT => {
                thread::sleep(LOOK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(PortError::Stop(format!(
                    "another process uses the states in {}; with kafka.standby each process needs \
                     a store.dir of its own",
                    dir.display()
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_copies_need_the_directory_alone() {
        let dir = tempfile::tempdir().unwrap();
        let is_free = |is_alone| {
            let file = File::open(dir.path().join("run.lock")).unwrap();
            if is_alone { file.try_lock().is_ok() } else { file.try_lock_shared().is_ok() }
        };
        let one = claim(dir.path(), false).unwrap();
        let two = claim(dir.path(), false).unwrap();
        assert!(one.is_some() && two.is_some() && !is_free(true));
        drop((one, two));
        let alone = claim(dir.path(), true).unwrap();
        assert!(!is_free(false));
        drop(alone);
        assert!(is_free(true));
    }

    #[test]
    fn only_warm_copies_insist_on_the_lock() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(claim(file.path(), false).unwrap().is_none());
        let refused = claim(file.path(), true).unwrap_err();
        assert!(refused.to_string().contains("kafka.standby = 0"), "{refused}");
    }
}
