//! The directory of a local log and its lock.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::error::{LogError, io};
use super::partition::Partition;

/// How a log is laid out.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { segment_bytes: 64 << 20 }
    }
}

/// A log: a directory of topics × partitions. One process writes it; others may read.
#[derive(Debug)]
pub struct LocalLog {
    dir: PathBuf,
    options: LogOptions,
    /// `None` when opened for reading.
    lock: Option<Arc<Lock>>,
    partitions: Mutex<BTreeMap<(String, u32), Arc<Partition>>>,
    wake: Arc<Wake>,
}

impl LocalLog {
    /// Opens the log in `dir`, or makes one, for this process alone to write.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<Arc<Self>, LogError> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(io("make", dir))?;
        let path = dir.join("lock");
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        let lock = open.open(&path).map_err(io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked(dir.to_path_buf())),
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        Ok(LocalLog::over(dir, options, Some(Arc::new(Lock(lock)))))
    }

    /// Opens the log in `dir` for reading what it holds at this moment. Changes nothing, and
    /// another process may be writing.
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Arc<Self>, LogError> {
        let dir = dir.as_ref();
        std::fs::metadata(dir).map_err(io("open", dir))?;
        Ok(LocalLog::over(dir, LogOptions::default(), None))
    }

    fn over(dir: &Path, options: LogOptions, lock: Option<Arc<Lock>>) -> Arc<Self> {
        let (partitions, wake) = (Mutex::default(), Arc::new(Wake::default()));
        Arc::new(LocalLog { dir: dir.to_path_buf(), options, lock, partitions, wake })
    }

    /// The partition `number` of `topic`, recovered when it is first asked for, and made if the
    /// log is open for writing. Topics are named in lower-case letters, digits, `_` and `-`.
    pub fn partition(&self, topic: &str, number: u32) -> Result<Arc<Partition>, LogError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c);
        if topic.is_empty() || topic.len() > 200 || !topic.bytes().all(plain) {
            let why =
                format!("{topic:?} is no topic name; use lower-case letters, digits, _ and -");
            return Err(LogError::Refused(why));
        }
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic.to_owned(), number);
        if let Some(partition) = partitions.get(&key) {
            return Ok(Arc::clone(partition));
        }
        let dir = self.dir.join(format!("{topic}-{number}"));
        let (name, wake) = (format!("{topic}/{number}"), Arc::clone(&self.wake));
        let (options, lock) = (self.options.clone(), self.lock.clone());
        let opened = Partition::open(&dir, name, options, wake, lock)?;
        let opened = Arc::new(opened);
        partitions.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// The partitions that exist on disk, as topic and number, in order.
    pub fn list(&self) -> Result<Vec<(String, u32)>, LogError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io("list", &self.dir))? {
            let entry = entry.map_err(io("list", &self.dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let parts = name.rsplit_once('-').map(|(topic, number)| (topic, number.parse()));
            if let Some((topic, Ok(number))) = parts.filter(|_| entry.path().is_dir()) {
                found.push((topic.to_owned(), number));
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn wake(&self) -> Arc<Wake> {
        Arc::clone(&self.wake)
    }
}

/// The lock on the directory; every partition holds it, so that it outlives the last writer.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a process being forked elsewhere holds a copy for a moment.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

/// Tells readers that something became durable.
#[derive(Debug, Default)]
pub(super) struct Wake {
    generation: Mutex<u64>,
    changed: Condvar,
}

impl Wake {
    pub(super) fn all(&self) {
        let mut generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        *generation += 1;
        self.changed.notify_all();
    }

    pub(super) fn generation(&self) -> u64 {
        *self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something became durable after `seen`, or for `wait`.
    pub(super) fn wait(&self, seen: u64, wait: Duration) {
        let generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |now: &mut u64| *now == seen;
        // Whether it was a change or the time, the caller looks again.
        drop(self.changed.wait_timeout_while(generation, wait, same));
    }
}
