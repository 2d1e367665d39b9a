//! The files around sled's own: the lock, the format, the last flushed commit.

use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::StoreError;
use crate::store::codec::{self, CodecError, NEWEST_VERSION};
use crate::time::WallTime;

/// Where sled's own files are: this and the engine's generation.
const ENGINE: &str = "sled-";

/// What a disk must take for a failure to count as the data's: two of sled's buffers.
const PROBE_BYTES: usize = 1 << 20;

/// A locked store directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Counts the engines that were begun here. An opening that was given up may still be under
    /// way on its old path, so an engine that replaces another never takes its name.
    generation: Cell<u32>,
    /// Its time of modification is the state's date: see [`Directory::date`].
    reached: File,
    lock: File,
}

impl Directory {
    /// Locks `path` for this process and refuses a format of the future, before any other file
    /// is touched.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(io("make", path))?;
        let lock_path = path.join("lock");
        let lock = open_file(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(io("lock", &lock_path)(error)),
        }
        refuse_future(path)?;
        let reached = open_file(&path.join("reached"))?;
        let generation = Cell::new(newest_generation(path)?);
        Ok(Directory { path: path.to_path_buf(), generation, reached, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled's own files are.
    pub(super) fn engine(&self) -> PathBuf {
        self.path.join(format!("{ENGINE}{}", self.generation.get()))
    }

    /// Declares that this program's format may now be in the store. Durable on return.
    pub(super) fn declare_format(&self) -> Result<(), StoreError> {
        let path = self.path.join("format");
        let framed = codec::frame(NEWEST_VERSION, b"nowcxr store");
        if std::fs::read(&path).is_ok_and(|old| old == framed) {
            return Ok(());
        }
        let written = self.path.join("format.new");
        let mut file = File::create(&written).map_err(io("write", &written))?;
        file.write_all(&framed).and_then(|()| file.sync_all()).map_err(io("write", &written))?;
        std::fs::rename(&written, &path).map_err(io("write", &path))?;
        sync_dir(&self.path)
    }

    /// Notes the last flushed commit and leaves the date alone. Only a hint for noticing a lost
    /// tail, so it costs no fsync and its failure is no error.
    pub(super) fn reached(&self, commit: u64) {
        let framed = codec::frame(NEWEST_VERSION, &commit.to_le_bytes());
        let date = self.reached.metadata().and_then(|metadata| metadata.modified());
        // A hint that is too low only hides a lost tail from the report.
        drop(self.reached.write_all_at(&framed, 0));
        drop(date.and_then(|date| self.reached.set_modified(date)));
    }

    /// Dates the state: what is flushed is all that there is, as of now. A date that is too early
    /// only has a good copy restored anew.
    pub(super) fn date(&self) {
        drop(self.reached.set_modified(SystemTime::now()));
    }

    /// When the state was dated last; of a new store, when it was made.
    pub(super) fn dated_at(&self) -> Option<WallTime> {
        let since = self.reached.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH);
        Some(WallTime::from_millis(i64::try_from(since.ok()?.as_millis()).ok()?))
    }

    /// The last flushed commit, 0 if not known.
    pub(super) fn flushed(&self) -> u64 {
        let mut bytes = [0u8; 13];
        if self.reached.read_exact_at(&mut bytes, 0).is_err() {
            return 0;
        }
        match codec::unframe(&bytes) {
            Ok((_, payload)) => payload.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)),
            Err(_) => 0,
        }
    }

    /// Fails if the disk takes no writes now: then sled's failure need not be the data's fault.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0u8; PROBE_BYTES]).and_then(|()| file.sync_all())
        });
        drop(std::fs::remove_file(&path));
        written.map_err(io("write", &path))
    }

    /// Moves sled's files to `<dir>.damaged-<n>`, n the first that is free; the next engine is of
    /// the next generation.
    pub(super) fn move_aside(&self) -> Result<PathBuf, StoreError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = |n: u32| self.path.with_file_name(format!("{name}.damaged-{n}"));
        let to = (1..=u32::MAX).map(target).find(|path| !path.exists());
        let to = to.unwrap_or_else(|| target(0));
        std::fs::rename(self.engine(), &to).map_err(io("move aside", &to))?;
        self.generation.set(self.generation.get().saturating_add(1));
        sync_dir(&self.path)?;
        Ok(to)
    }

    /// Removes `snap.*.generating`, which a crash leaves and sled then fails on (sled 1527).
    pub(super) fn remove_unfinished_snapshots(&self) -> Result<(), StoreError> {
        let Ok(entries) = std::fs::read_dir(self.engine()) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                std::fs::remove_file(entry.path()).map_err(io("remove", &entry.path()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Directory {
    /// Closing the file is not enough: a process being forked elsewhere holds a copy for a moment.
    fn drop(&mut self) {
        drop(self.lock.unlock());
    }
}

/// The newest engine's number, 1 in an empty directory. Older ones are what an opening that was
/// given up left behind, and are removed.
fn newest_generation(dir: &Path) -> Result<u32, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io("list", dir))? {
        let name = entry.map_err(io("list", dir))?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_prefix(ENGINE).and_then(|n| n.parse::<u32>().ok()));
    }
    found.sort_unstable();
    let newest = found.pop().unwrap_or(1);
    for old in found {
        let old = dir.join(format!("{ENGINE}{old}"));
        std::fs::remove_dir_all(&old).map_err(io("remove", &old))?;
    }
    Ok(newest)
}

fn refuse_future(dir: &Path) -> Result<(), StoreError> {
    let Ok(bytes) = std::fs::read(dir.join("format")) else { return Ok(()) };
    match codec::unframe(&bytes) {
        Err(CodecError::FutureVersion { found }) => {
            let known = NEWEST_VERSION;
            Err(StoreError::FutureVersion { dir: dir.to_path_buf(), found, known })
        }
        // A damaged format file says nothing: the values themselves are checked next.
        Ok(_) | Err(CodecError::Corrupt) => Ok(()),
    }
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(io("open", path))
}

/// Makes renames in `dir` durable.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

/// Wraps an error of the file system with what was done to which path.
pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { what, path, source }
}
