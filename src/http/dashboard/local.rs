//! The feed from a local log: of this process, or of another one that is writing or has written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::feed::{Archive, Feed, FeedError, FeedTopic, MAX_BATCH, Place, Told};
use crate::transport::local::{LocalLog, LogReader};

/// Follows the topics of one log.
pub struct LocalFeed {
    logs: Logs,
    readers: BTreeMap<(FeedTopic, u32), LogReader>,
    next: BTreeMap<(FeedTopic, u32), u64>,
}

/// Reads single records of one log.
pub struct LocalArchive {
    log: Mutex<Logs>,
}

/// A log that this process writes is always up to date; one of another process shows what it held
/// when it was opened, so it is opened again to see more.
#[derive(Clone)]
enum Logs {
    Own(Arc<LocalLog>),
    Other { dir: PathBuf, open: Arc<LocalLog> },
}

impl Logs {
    fn other(dir: &Path) -> Result<Self, FeedError> {
        let open = LocalLog::open_read_only(dir).map_err(|error| FeedError(error.to_string()))?;
        Ok(Logs::Other { dir: dir.to_path_buf(), open })
    }

    fn log(&self) -> &Arc<LocalLog> {
        match self {
            Logs::Own(log) => log,
            Logs::Other { open, .. } => open,
        }
    }

    /// True if there may be something new to see.
    fn refresh(&mut self) -> Result<bool, FeedError> {
        match self {
            Logs::Own(_) => Ok(false),
            Logs::Other { dir, open } => {
                *open =
                    LocalLog::open_read_only(dir).map_err(|error| FeedError(error.to_string()))?;
                Ok(true)
            }
        }
    }
}

impl LocalFeed {
    /// Of a log that this process has open.
    pub fn own(log: Arc<LocalLog>) -> (Self, LocalArchive) {
        LocalFeed::of(Logs::Own(log))
    }

    /// Of a log in `dir` that another process writes, or has written.
    ///
    /// # Errors
    /// [`FeedError`] if there is none.
    pub fn other(dir: &Path) -> Result<(Self, LocalArchive), FeedError> {
        Ok(LocalFeed::of(Logs::other(dir)?))
    }

    fn of(logs: Logs) -> (Self, LocalArchive) {
        let archive = LocalArchive { log: Mutex::new(logs.clone()) };
        (LocalFeed { logs, readers: BTreeMap::new(), next: BTreeMap::new() }, archive)
    }

    /// Opens partitions that are new on disk, and after a refresh all of them.
    fn open_readers(&mut self) -> Result<(), FeedError> {
        let failed = |error: crate::transport::local::LogError| FeedError(error.to_string());
        let log = Arc::clone(self.logs.log());
        for (name, number) in log.list().map_err(failed)? {
            let Some(topic) = FeedTopic::ALL.into_iter().find(|topic| topic.name() == name) else {
                continue;
            };
            let key = (topic, number);
            if self.readers.contains_key(&key) {
                continue;
            }
            let partition = log.partition(&name, number).map_err(failed)?;
            if partition.end() == 0 {
                continue;
            }
            let from = self.next.get(&key).copied().unwrap_or_default();
            let from = from.clamp(partition.start(), partition.end());
            self.readers.insert(key, partition.reader(from).map_err(failed)?);
        }
        Ok(())
    }
}

impl Feed for LocalFeed {
    fn poll(&mut self, into: &mut Vec<Told>) -> Result<(), FeedError> {
        self.open_readers()?;
        let before = into.len();
        for ((topic, partition), reader) in &mut self.readers {
            while into.len() - before < MAX_BATCH {
                let offset = reader.next_offset();
                let read = reader.read().map_err(|error| FeedError(error.to_string()))?;
                let Some(record) = read else { break };
                self.next.insert((*topic, *partition), offset + 1);
                let place = Place { topic: *topic, partition: *partition, offset };
                into.push(Told { place, payload: record.value });
            }
        }
        if into.len() == before && self.logs.refresh()? {
            self.readers.clear();
        }
        Ok(())
    }

    fn is_reopened(&self) -> bool {
        matches!(self.logs, Logs::Other { .. })
    }
}

impl Archive for LocalArchive {
    fn read(&self, place: Place) -> Result<Option<Bytes>, FeedError> {
        let failed = |error: crate::transport::local::LogError| FeedError(error.to_string());
        let mut logs = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let name = place.topic.name();
        let mut partition = logs.log().partition(name, place.partition).map_err(failed)?;
        if place.offset >= partition.end() && logs.refresh()? {
            partition = logs.log().partition(name, place.partition).map_err(failed)?;
        }
        drop(logs);
        if !(partition.start()..partition.end()).contains(&place.offset) {
            return Ok(None);
        }
        let mut reader = partition.reader(place.offset).map_err(failed)?;
        Ok(reader.read().map_err(failed)?.map(|record| record.value))
    }
}
