//! The durable store: sled 0.34.7, one tree, one `apply_batch` a commit, explicit flush.
//!
//! A directory holds `sled/` (the engine's files), `lock` (one process at a time), `format` (the
//! newest format of any value, read before anything is touched) and `reached` (the last flushed
//! commit, so that a lost tail is noticed, and by its time of modification the state's date). sled
//! panics or silently loses a tail on damage (`reference/state-and-avro.md` 1), so it is opened
//! guarded and every call is guarded; after a failure the store answers `Reopen` to everything.

mod files;
mod open;

use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::codec;
use super::keys::OWN_TAG;
use super::ledger::{Ledger, Plan};
use crate::ids::Digest;
use crate::ports::{Commit, Opened, PortError, StateStore};
use crate::telemetry::StoreFound;
use crate::time::WallTime;
use files::Directory;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// sled's cache in bytes. The process grows by 5 to 11 times this.
    pub cache_bytes: u64,
    /// An open that takes longer counts as damage.
    pub open_timeout: Duration,
    /// For whoever does not own the store: damage is an error and moves nothing, and what was
    /// flushed last stays on record, so that the owner finds what is wrong as well.
    pub only_look: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            cache_bytes: 8 << 20,
            open_timeout: Duration::from_secs(120),
            only_look: false,
        }
    }
}

/// What opening found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// There was no store.
    New,
    /// The store is as it was left.
    Clean,
    /// The store is whole, but stands at an earlier commit than was once flushed: the disk lost
    /// its tail. Reading on from its positions makes up for it.
    RolledBack { found: u64, flushed: u64 },
    /// The store was damaged and stands now in `to`; the one opened is empty and the caller
    /// rebuilds it from the input and the journal, or from the changelog.
    MovedAside { to: PathBuf, why: String },
}

impl Recovery {
    /// The same for the log and the metrics.
    pub fn told(&self) -> StoreFound<'_> {
        match self {
            Recovery::New | Recovery::Clean => StoreFound::Whole,
            Recovery::RolledBack { flushed, .. } => StoreFound::RolledBack { flushed: *flushed },
            Recovery::MovedAside { to, why } => StoreFound::Damaged { why, moved_to: to },
        }
    }
}

/// Why a store cannot be opened; nothing of it was changed.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("another process uses the store {0}; stop it or choose another directory")]
    Locked(PathBuf),
    #[error(
        "the store {dir} has format {found}, this program knows up to {known}; \
         use the newer program, or another directory"
    )]
    FutureVersion { dir: PathBuf, found: u8, known: u8 },
    #[error(
        "the store {dir} is damaged ({why}); the run that it belongs to moves it aside and \
         rebuilds it when the same command is given again"
    )]
    Damaged { dir: PathBuf, why: String },
    #[error("cannot {what} {path}: {source}; check the disk's free space and the permissions")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Io { source, .. } if is_full(&source) => PortError::Retry(text),
            _ => PortError::Stop(text),
        }
    }
}

/// Whether somebody has only to make room.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// How a store is doing, for `inspect` and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Number of the last commit.
    pub commit: u64,
    /// Values, the outbox's included.
    pub entries: u64,
    /// Bytes of keys and values.
    pub live_bytes: u64,
    /// Bytes that the directory takes on disk.
    pub disk_bytes: u64,
    /// The running digest of all entries.
    pub digest: u128,
}

/// One task's durable state.
#[derive(Debug)]
pub struct SledStore {
    /// `None` only while being dropped.
    db: Option<::sled::Db>,
    directory: Directory,
    ledger: Ledger,
    opened: Opened,
    flushed: u64,
    /// Pieces of a changelog are in, and perhaps not all of them.
    is_partial: bool,
    broken: Cell<bool>,
}

impl SledStore {
    /// Opens the store in `dir`, or makes one, and verifies every value and the digest.
    pub fn open(
        dir: impl AsRef<Path>,
        options: &StoreOptions,
    ) -> Result<(Self, Recovery), StoreError> {
        open::open(dir.as_ref(), options)
    }

    /// When the state was last known to be whole: by a commit of its own, or because it had
    /// [`StateStore::caught_up`] with its changelog. Opening it and restoring a part of it change
    /// nothing of that. Of a new store it is when that was made; `None` if the disk does not say.
    pub fn dated_at(&self) -> Option<WallTime> {
        self.directory.dated_at()
    }

    /// The state's config from the next commit on.
    pub fn set_config_digest(&mut self, digest: Digest) {
        self.ledger.set_config(digest);
    }

    pub fn health(&self) -> Result<Health, PortError> {
        let disk_bytes = self.guarded("measure", |db| db.size_on_disk())?;
        let Ledger { number, digest, entries, live_bytes, .. } = self.ledger;
        Ok(Health { commit: number, entries, live_bytes, disk_bytes, digest })
    }

    /// Runs `work` so that neither an error nor a panic of sled leaves this store unnoticed.
    fn guarded<T>(
        &self,
        what: &str,
        work: impl FnOnce(&::sled::Db) -> ::sled::Result<T>,
    ) -> Result<T, PortError> {
        let path = self.directory.path().display();
        let Some(db) = self.db.as_ref().filter(|_| !self.broken.get()) else {
            return Err(PortError::Reopen(format!("the store {path} has failed; reopen it")));
        };
        let error = match catch_unwind(AssertUnwindSafe(|| work(db))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => open::panic_text(panic.as_ref()),
        };
        self.broken.set(true);
        Err(PortError::Reopen(format!(
            "cannot {what} the store {path}: {error}; \
             check the disk's free space and health, then reopen it"
        )))
    }

    fn stamp_of(&self, key: &[u8]) -> Result<Option<codec::Stamp>, PortError> {
        let old = self.guarded("read", |db| db.get(key))?;
        Ok(old.map(|value| codec::stamp(&value)))
    }

    fn checked(&self, value: &[u8]) -> Result<(), PortError> {
        codec::unframe(value).map(|_| ()).map_err(|error| {
            self.broken.set(true);
            let path = self.directory.path().display();
            PortError::Reopen(format!("in the store {path} a {error}"))
        })
    }
}

impl StateStore for SledStore {
    fn opened(&self) -> &Opened {
        &self.opened
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), PortError> {
        let mut entries = self.guarded("scan", |db| Ok(db.scan_prefix(prefix)))?;
        while let Some((key, value)) = self.guarded("scan", |_| entries.next().transpose())? {
            if key.first() != Some(&OWN_TAG) {
                self.checked(&value)?;
                visit(&key, &value);
            }
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PortError> {
        if key.first() == Some(&OWN_TAG) {
            return Ok(None);
        }
        let Some(value) = self.guarded("read", |db| db.get(key))? else { return Ok(None) };
        self.checked(&value)?;
        Ok(Some(value.to_vec()))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), PortError> {
        let plan = self.ledger.plan(commit, &mut |key| self.stamp_of(key))?;
        let (batch, next) = batch_of(plan);
        self.guarded("write", |db| db.apply_batch(batch))?;
        self.ledger = next;
        self.is_partial = false;
        Ok(())
    }

    fn restore(&mut self, piece: &Commit) -> Result<(), PortError> {
        let plan = self.ledger.plan_piece(piece, &mut |key| self.stamp_of(key))?;
        let (batch, next) = batch_of(plan);
        self.guarded("write", |db| db.apply_batch(batch))?;
        self.ledger = next;
        self.is_partial = true;
        self.opened = self.ledger.opened(Vec::new());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PortError> {
        if self.flushed == self.ledger.number && !self.broken.get() {
            return Ok(());
        }
        self.guarded("flush", |db| db.flush())?;
        self.flushed = self.ledger.number;
        self.directory.reached(self.flushed);
        if !self.is_partial {
            self.directory.date();
        }
        Ok(())
    }

    fn caught_up(&mut self) -> Result<(), PortError> {
        self.flush()?;
        self.is_partial = false;
        self.directory.date();
        Ok(())
    }

    fn sent(&mut self, number: u64) {
        self.ledger.sent(number);
    }
}

/// The writes of a plan as one batch, and the ledger behind it.
fn batch_of(plan: Plan<'_>) -> (::sled::Batch, Ledger) {
    let mut batch = ::sled::Batch::default();
    for (key, value) in &plan.values {
        match value {
            Some(value) => batch.insert(*key, *value),
            None => batch.remove(*key),
        }
    }
    for (key, value) in plan.own {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    (batch, plan.next)
}

impl Drop for SledStore {
    /// Flushes, if the store still works, and guards against sled's panics on the way out.
    fn drop(&mut self) {
        // If it fails, the last flushed commit stands, and the next open reports what it finds.
        drop(self.flush());
        let db = self.db.take();
        drop(catch_unwind(AssertUnwindSafe(|| drop(db))));
    }
}
