//! Opening sled so that damage ends as a report and an empty store, and never as a process that
//! died, hangs or reads wrong values (guard rails of `reference/state-and-avro.md` 1).

use std::any::Any;
use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{Directory, io};
use super::{Recovery, SledStore, StoreError, StoreOptions};
use crate::ports::Opened;
use crate::store::codec::NEWEST_VERSION;
use crate::store::ledger::{Audit, Fault, Ledger};

/// How long an earlier instance may take to let go of its files.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a new, empty store is given at least.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Nothing came within the time given. What hangs goes on hanging, so it is not tried again.
    Slow(Duration),
}

pub(super) fn open(
    dir: &Path,
    options: &StoreOptions,
) -> Result<(SledStore, Recovery), StoreError> {
    let directory = Directory::lock(dir)?;
    let flushed = directory.flushed();
    let new = flushed == 0 && !directory.engine().exists();
    let mut attempted = attempt(&directory, options)?;
    if matches!(attempted, Err(Failure::Content(Fault::Damage(_)))) {
        // A left-over or a moment's trouble may be gone at the second try.
        attempted = attempt(&directory, options)?;
    }
    if let Err(Failure::Slow(limit)) = attempted {
        attempted = Err(damage(format!("opening took longer than {} s", limit.as_secs())));
    }
    let (loaded, recovery) = match attempted {
        Ok(loaded) => {
            let found = loaded.ledger.number;
            let recovery = match new {
                true => Recovery::New,
                false if found < flushed => Recovery::RolledBack { found, flushed },
                false => Recovery::Clean,
            };
            (loaded, recovery)
        }
        Err(Failure::Content(Fault::Damage(why))) if options.only_look => {
            return Err(StoreError::Damaged { dir: dir.to_path_buf(), why });
        }
        Err(Failure::Content(Fault::Damage(why))) => {
            directory.probe()?;
            let to = directory.move_aside()?;
            let patient = options.open_timeout.max(EMPTY_TIMEOUT);
            let options = StoreOptions { open_timeout: patient, ..options.clone() };
            let empty = attempt(&directory, &options)?;
            let loaded = empty.map_err(|failure| give_up(failure, dir))?;
            (loaded, Recovery::MovedAside { to, why })
        }
        Err(failure) => return Err(give_up(failure, dir)),
    };
    if !options.only_look {
        directory.declare_format()?;
        directory.reached(loaded.ledger.number);
    }
    let Loaded { db, ledger, opened } = loaded;
    let (flushed, broken) = (ledger.number, Cell::new(false));
    let is_partial = false;
    let store = SledStore { db: Some(db), directory, ledger, opened, flushed, is_partial, broken };
    Ok((store, recovery))
}

fn give_up(failure: Failure, dir: &Path) -> StoreError {
    match failure {
        Failure::Disk(source) => io("open", dir)(source),
        Failure::Content(Fault::Future { found }) => {
            StoreError::FutureVersion { dir: dir.to_path_buf(), found, known: NEWEST_VERSION }
        }
        Failure::Content(Fault::Damage(why)) => io("open", dir)(std::io::Error::other(why)),
        Failure::Slow(_) => io("open", dir)(ErrorKind::TimedOut.into()),
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
        Err(RecvTimeoutError::Timeout) => return Ok(Err(Failure::Slow(options.open_timeout))),
        Err(RecvTimeoutError::Disconnected) => Err(damage("the opening thread died".to_owned())),
    };
    if thread.join().is_err() {
        return Ok(Err(damage("the opening thread died".to_owned())));
    }
    Ok(result)
}

fn load(engine: PathBuf, cache_bytes: u64) -> Result<Loaded, Failure> {
    wait_for_release(&engine).map_err(Failure::Disk)?;
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

/// Waits for an earlier instance in this process: sled's own threads keep its file, and the lock
/// on it, a moment longer than the instance lives. Other processes are kept out by our lock.
fn wait_for_release(engine: &Path) -> std::io::Result<()> {
    let Ok(file) = File::open(engine.join("db")) else { return Ok(()) };
    let began = Instant::now();
    while let Err(error) = file.try_lock() {
        if began.elapsed() > RELEASE_TIMEOUT {
            return Err(error.into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    file.unlock()
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

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("sled gave up ({})", text.unwrap_or("it did not say why"))
}
