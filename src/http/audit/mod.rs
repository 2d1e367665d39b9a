//! Who looked at which stay: a line for each look, on disk before the page is sent. The edge keeps
//! a file of its own of merged patients, the service one of switches of `alerts.mode`.
//!
//! Each line holds the SHA-256 of the one before it, so a line that is taken out, altered or put in
//! shows ([`verify`]). Whoever can write the file could write it anew from some line on; a head
//! that was noted elsewhere shows that as well. A line that a crash or a full disk has cut off
//! stays where it is and is part of the chain.

mod look;
mod merge;
mod mode;
mod verify;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use look::{Look, Outcome, Told};
pub use merge::merge_event;
pub use mode::{mode_event, mode_told};
pub use verify::{Broken, Verified, verify};

use crate::ids::Digest;

/// Bytes of one line; none of ours is longer.
pub const MAX_LINE: usize = 8 << 10;
/// What the first line has in the place of a hash.
pub const START: Digest = Digest([0; 32]);
/// Bytes from the file's end that are looked at for the newest looks.
pub const RECENT: u64 = 256 << 10;

/// Why a look cannot be written down. The page must not be shown then.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the audit log {path} cannot be used: {source}; make room, or name another file")]
    Io { path: PathBuf, source: io::Error },
    #[error("another process writes the audit log {0}; give each process a file of its own")]
    Taken(PathBuf),
    #[error(
        "the audit log {0} ends in a line that is none of ours; set http.audit to another file"
    )]
    Foreign(PathBuf),
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    /// SHA-256 of the line before, in hexadecimal digits.
    previous: String,
    /// A FHIR AuditEvent.
    event: Value,
}

/// The file, which this process alone adds to.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    file: File,
    /// Hash of the last line; `None` where it must be looked up, as after a failure.
    last: Option<Digest>,
}

impl AuditLog {
    /// Opens the file, making it if it is missing, and keeps others from adding to it.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let log = AuditLog { path: path.to_owned(), end: Mutex::new(End { file, last: None }) };
        let head = log.head(&mut log.lock())?;
        tracing::info!(path = %path.display(), %head, "audit log opened");
        Ok(log)
    }

    /// Writes a look down and waits until it is on disk.
    ///
    /// # Errors
    /// [`AuditError`]; then nobody may see what was asked for.
    pub fn append(&self, look: &Look) -> Result<(), AuditError> {
        self.add(look.event())
    }

    /// Writes an AuditEvent down and waits until it is on disk.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn add(&self, event: Value) -> Result<(), AuditError> {
        let mut end = self.lock();
        let previous = self.head(&mut end)?.to_string();
        let line = serde_json::to_vec(&Line { previous, event });
        let mut line = line.map_err(|error| self.failed(error.into()))?;
        let hash = Digest::of(&line);
        line.push(b'\n');
        // Until it is known to be on disk, what the file ends with is not.
        end.last = None;
        let written = end.file.write_all(&line).and_then(|()| end.file.sync_data());
        written.map_err(|error| self.failed(error))?;
        end.last = Some(hash);
        Ok(())
    }

    /// The newest looks, newest first, at most `n`.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn recent(&self, n: usize) -> Result<Vec<Told>, AuditError> {
        Ok(self.events()?.iter().filter_map(Told::of).take(n).collect())
    }

    /// The AuditEvents of the newest looks, newest first, as far as [`RECENT`] goes.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn events(&self) -> Result<Vec<Value>, AuditError> {
        let bytes = self.lock().tail(RECENT).map_err(|error| self.failed(error))?;
        let lines = bytes.split(|byte| *byte == b'\n').rev();
        let told = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        Ok(told.map(|line| line.event).collect())
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: io::Error) -> AuditError {
        AuditError::Io { path: self.path.clone(), source }
    }

    /// Hash of the last line. One that was cut off is ended here, and counts as it stands.
    fn head(&self, end: &mut End) -> Result<Digest, AuditError> {
        if let Some(last) = end.last {
            return Ok(last);
        }
        let window = 2 * MAX_LINE as u64;
        let bytes = end.tail(window).map_err(|error| self.failed(error))?;
        let whole = bytes.strip_suffix(b"\n");
        let last = whole.unwrap_or(&bytes);
        let begin = last.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let last = match begin {
            Some(begin) => last.get(begin..).unwrap_or_default(),
            None if bytes.len() as u64 == window => {
                return Err(AuditError::Foreign(self.path.clone()));
            }
            None => last,
        };
        let head = if bytes.is_empty() { START } else { Digest::of(last) };
        if whole.is_none() && !bytes.is_empty() {
            let ended = end.file.write_all(b"\n").and_then(|()| end.file.sync_data());
            ended.map_err(|error| self.failed(error))?;
        }
        end.last = Some(head);
        Ok(head)
    }
}

impl End {
    /// At most `n` bytes from the file's end.
    fn tail(&mut self, n: u64) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(n)))?;
        let mut bytes = Vec::new();
        // A device says that it has no bytes, and may give them without end.
        io::Read::by_ref(&mut self.file).take(length.min(n)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
