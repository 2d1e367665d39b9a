//! Opening sled so that damage ends as a report and an empty store, and never as a process that
//! died, hangs or reads wrong values (guard rails of `reference/state-and-avro.md` 1).

use std::any::Any;
use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::files::{Directory, io};
use super::{Recovery, SledStore, StoreError, StoreOptions};
use crate::ports::Opened;
use crate::store::codec::NEWEST_VERSION;
use crate::store::ledger::{Audit, Fault, Ledger};

/// An opened and verified engine.
struct Loaded {
    db: ::sled::Db,
    ledger: Ledger,
    opened: Opened,
}

/// Why an attempt to open failed.
enum Failure {
    /// The disk's fault or ours, not the data's: a person must act, and nothing is moved.
    Disk(std::io::Error),
    Content(Fault),
}

pub(super) fn open(
    dir: &Path,
    options: &StoreOptions,
) -> Result<(SledStore, Recovery), StoreError> {
    let directory = Directory::lock(dir)?;
    let new = !directory.engine().exists();
    let flushed = directory.flushed();
    let attempt = match attempt(&directory, options)? {
        // A left-over or a moment's trouble may be gone at the second try.
        Err(Failure::Content(Fault::Damage(_))) => self::attempt(&directory, options)?,
        other => other,
    };
    let (loaded, recovery) = match attempt {
        Ok(loaded) => {
            let found = loaded.ledger.number;
            let recovery = match new {
                true => Recovery::New,
                false if found < flushed => Recovery::RolledBack { found, flushed },
                false => Recovery::Clean,
            };
            (loaded, recovery)
        }
        Err(Failure::Content(Fault::Damage(why))) => {
            let to = directory.move_aside()?;
            let empty = self::attempt(&directory, options)?;
            let loaded = empty.map_err(|failure| give_up(failure, dir))?;
            (loaded, Recovery::MovedAside { to, why })
        }
        Err(failure) => return Err(give_up(failure, dir)),
    };
    directory.declare_format()?;
    directory.reached(loaded.ledger.number);
    let Loaded { db, ledger, opened } = loaded;
    let (flushed, broken) = (ledger.number, Cell::new(false));
    let store = SledStore { db: Some(db), directory, ledger, opened, flushed, broken };
    Ok((store, recovery))
}

fn give_up(failure: Failure, dir: &Path) -> StoreError {
    match failure {
        Failure::Disk(source) => io("open", dir)(source),
        Failure::Content(Fault::Future { found }) => {
            StoreError::FutureVersion { dir: dir.to_path_buf(), found, known: NEWEST_VERSION }
        }
        Failure::Content(Fault::Damage(why)) => io("open", dir)(std::io::Error::other(why)),
    }
}

/// Opens and verifies on a thread of its own, so that a panic or a hang stays there.
fn attempt(
    directory: &Directory,
    options: &StoreOptions,
) -> Result<Result<Loaded, Failure>, StoreError> {
    directory.remove_unfinished_snapshots()?;
    let (engine, cache_bytes) = (directory.engine(), options.cache_bytes);
    let (send, receive) = sync_channel(1);
    let work = move || {
        let result = catch_unwind(AssertUnwindSafe(|| load(engine, cache_bytes)));
        let result = result.unwrap_or_else(|panic| Err(damage(panic_text(panic.as_ref()))));
        // If nobody waits any more, what was opened is closed again.
        if let Err(unwanted) = send.send(result) {
            let closed = catch_unwind(AssertUnwindSafe(|| drop(unwanted)));
            drop(closed);
        }
    };
    let thread = thread::Builder::new().name("store-open".to_owned()).spawn(work);
    let thread = thread.map_err(io("start a thread for", directory.path()))?;
    let result = match receive.recv_timeout(options.open_timeout) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => return Ok(Err(too_long(options.open_timeout))),
        Err(RecvTimeoutError::Disconnected) => Err(damage("the opening thread died".to_owned())),
    };
    if thread.join().is_err() {
        return Ok(Err(damage("the opening thread died".to_owned())));
    }
    Ok(result)
}

fn load(engine: PathBuf, cache_bytes: u64) -> Result<Loaded, Failure> {
    let config =
        ::sled::Config::new().path(engine).cache_capacity(cache_bytes).flush_every_ms(None);
    let db = config.open().map_err(failure)?;
    let mut audit = Audit::default();
    for entry in db.iter() {
        let (key, value) = entry.map_err(failure)?;
        audit.entry(&key, &value).map_err(Failure::Content)?;
    }
    let (ledger, opened) = audit.finish().map_err(Failure::Content)?;
    Ok(Loaded { db, ledger, opened })
}

/// Tells a disk that refuses from data that is wrong.
fn failure(error: ::sled::Error) -> Failure {
    match error {
        ::sled::Error::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                damage(error.to_string())
            }
            _ => Failure::Disk(error),
        },
        other => damage(other.to_string()),
    }
}

fn damage(why: String) -> Failure {
    Failure::Content(Fault::Damage(why))
}

fn too_long(timeout: Duration) -> Failure {
    damage(format!("opening took longer than {} s", timeout.as_secs()))
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("sled gave up ({})", text.unwrap_or("it did not say why"))
}
