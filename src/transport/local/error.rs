//! Why the log cannot do something, split by what the caller does about it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::frame::{LOG_VERSION, MAX_RECORD_BYTES};
use crate::ports::PortError;

#[derive(Debug, Error)]
pub enum LogError {
    #[error("another process writes the log {0}; stop it or choose another directory")]
    Locked(PathBuf),
    #[error(
        "the log segment {path} has format {found}, this program knows up to {LOG_VERSION}; \
         use the newer program"
    )]
    FutureVersion { path: PathBuf, found: u8 },
    #[error(
        "the log segment {path} is damaged at byte {at}: record {offset}, which was acknowledged, \
         cannot be read; restore the file from a backup, or move the log aside and replay"
    )]
    Damaged { path: PathBuf, at: u64, offset: u64 },
    #[error(
        "record {position} of {topic} was deleted, the log begins at {start}; \
         start from now, or replay the input"
    )]
    Deleted { topic: String, position: u64, start: u64 },
    #[error(
        "position {position} of {topic} lies behind the log's end {end}; \
         the state belongs to another log, or the log lost its tail: replay the input"
    )]
    Beyond { topic: String, position: u64, end: u64 },
    #[error("record of {bytes} bytes is larger than {MAX_RECORD_BYTES}; send it by reference")]
    TooLarge { bytes: usize },
    #[error("{0}")]
    Refused(String),
    /// Nothing was changed; the same call may succeed later.
    #[error("no space to write {path}: {source}; free some space on its disk")]
    Full { path: PathBuf, source: std::io::Error },
    /// What is on disk is unknown until the log is opened again.
    #[error("cannot make {path} durable: {reason}; check the disk, then reopen the log")]
    Unknown { path: PathBuf, reason: String },
    #[error("cannot {what} {path}: {source}; check the disk and the permissions")]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl From<LogError> for PortError {
    fn from(error: LogError) -> Self {
        let text = error.to_string();
        match error {
            LogError::Full { .. } => PortError::Retry(text),
            LogError::Unknown { .. } => PortError::Reopen(text),
            _ => PortError::Stop(text),
        }
    }
}

/// Wraps an error of the file system with what was done to which path.
pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            LogError::Full { path, source }
        }
        _ => LogError::Io { what, path, source },
    }
}
