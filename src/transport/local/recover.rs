//! Opening a partition: which segments there are, where the last one really ends, and who wrote.
//!
//! The last segment is read whole. Where its records stop being valid is either a tail that a
//! crash tore before it was acknowledged, which is cut off, or damage, which is refused. Three
//! things show that a record was acknowledged: a later valid record written when it was already
//! durable, the `end` file of the last orderly close, and a segment that follows.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocks::{Blocks, Step};
use super::error::{LogError, io};
use super::frame::find;
use super::segment::{Found, Segment, Writers, base_of, read_at};
use crate::store::codec;

/// Bytes behind a broken record in which a valid one is looked for.
const SEARCH_BYTES: u64 = 64 << 20;

/// What a crash left and opening cut off: never acknowledged, so nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    pub path: PathBuf,
    /// Where the last whole record ends.
    pub at: u64,
    pub bytes: u64,
}

/// A partition as it stands on disk.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    /// Where the last segment's last whole record ends.
    pub(super) written: u64,
    pub(super) next: u64,
    pub(super) writers: Writers,
    pub(super) torn: Option<TornTail>,
    pub(super) end_file: Option<File>,
}

/// Opens the partition in `dir`. Only with `write` is anything changed.
pub(super) fn recover(dir: &Path, write: bool) -> Result<Recovered, LogError> {
    if write {
        std::fs::create_dir_all(dir).map_err(io("make", dir))?;
    }
    let mut torn = None;
    let (mut segments, mut writers) = open_segments(dir, write, &mut torn)?;
    if segments.is_empty() && write {
        segments.push(Arc::new(Segment::create(dir, 0, 0, &Writers::new())?));
    }
    let end_path = dir.join("end");
    let mut options = OpenOptions::new();
    options.read(true).write(write).create(write).truncate(false);
    let end_file = options.open(&end_path);
    let end_file =
        if write { Some(end_file.map_err(io("open", &end_path))?) } else { end_file.ok() };
    let closed_at = end_file.as_ref().map_or(0, stated_end);
    let (mut written, mut next) = (0, 0);
    if let Some(last) = segments.last() {
        (written, next) = scan(last, closed_at, &mut writers)?;
        let size = last.file.metadata().map_err(io("read", &last.path))?.len();
        if size > written {
            torn = Some(TornTail { path: last.path.clone(), at: written, bytes: size - written });
            if write {
                let cut = last.file.set_len(written).and_then(|()| last.file.sync_all());
                cut.map_err(io("cut", &last.path))?;
            }
        }
        last.publish(written);
    }
    if next < closed_at {
        let path = segments.last().map_or(dir.to_path_buf(), |last| last.path.clone());
        return Err(LogError::Damaged { path, at: written, offset: next });
    }
    Ok(Recovered { segments, written, next, writers, torn, end_file })
}

/// Notes an orderly close at offset `end`. It is a hint, so its failure is no error.
pub(super) fn note_end(file: &File, end: u64) {
    // Without the hint, a tail lost later cannot be told from one never written.
    drop(file.write_all_at(&codec::frame(1, &end.to_le_bytes()), 0));
}

fn stated_end(file: &File) -> u64 {
    let mut bytes = [0u8; 13];
    match read_at(file, &mut bytes, 0) {
        Ok(13) => codec::unframe(&bytes)
            .ok()
            .and_then(|(_, payload)| payload.first_chunk())
            .map_or(0, |end| u64::from_le_bytes(*end)),
        _ => 0,
    }
}

/// Opens every segment, checks that none is missing between two, and returns the writers that
/// the newest head names.
fn open_segments(
    dir: &Path,
    write: bool,
    torn: &mut Option<TornTail>,
) -> Result<(Vec<Arc<Segment>>, Writers), LogError> {
    let mut bases = Vec::new();
    if dir.exists() {
        for entry in std::fs::read_dir(dir).map_err(io("list", dir))? {
            let path = entry.map_err(io("list", dir))?.path();
            bases.extend(base_of(&path).map(|base| (base, path)));
        }
    }
    bases.sort();
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut writers = Writers::new();
    let count = bases.len();
    for (i, (base, path)) in bases.into_iter().enumerate() {
        match Segment::open(&path, base, write)? {
            Found::Segment(segment, known) => {
                let before = segments.last().map_or(segment.previous, |before| before.base);
                if segment.previous != before {
                    let path = dir.join(super::segment::file_name(segment.previous));
                    return Err(LogError::Damaged { path, at: 0, offset: segment.previous });
                }
                seal(segments.last())?;
                segments.push(Arc::from(segment));
                writers = known;
            }
            Found::Unfinished if i + 1 == count => *torn = Some(unfinished(&path, base, write)?),
            Found::Unfinished => return Err(LogError::Damaged { path, at: 0, offset: base }),
        }
    }
    Ok((segments, writers))
}

/// A segment that another follows is whole and readable to its end.
fn seal(segment: Option<&Arc<Segment>>) -> Result<(), LogError> {
    if let Some(segment) = segment {
        let size = segment.file.metadata().map_err(io("read", &segment.path))?.len();
        segment.publish(size);
    }
    Ok(())
}

/// Removes a segment whose head was never whole, unless it holds records.
fn unfinished(path: &Path, base: u64, write: bool) -> Result<TornTail, LogError> {
    let bytes = std::fs::read(path).map_err(io("read", path))?;
    if find(&bytes, 0, base).is_some() {
        return Err(LogError::Damaged { path: path.to_path_buf(), at: 0, offset: base });
    }
    if write {
        std::fs::remove_file(path).map_err(io("remove", path))?;
    }
    Ok(TornTail { path: path.to_path_buf(), at: 0, bytes: bytes.len() as u64 })
}

/// Reads the records of the last segment; returns where they end and the next offset.
fn scan(
    segment: &Arc<Segment>,
    closed_at: u64,
    writers: &mut Writers,
) -> Result<(u64, u64), LogError> {
    let size = segment.file.metadata().map_err(io("read", &segment.path))?.len();
    let mut blocks = Blocks::new(Arc::clone(segment), segment.base, segment.start);
    while let Step::Frame(head, _) = blocks.step(size)? {
        let (next, end) = blocks.position();
        segment.note(next, end);
        writers.insert(head.writer, head.sequence);
    }
    let (next, written) = blocks.position();
    if written < size && (next < closed_at || durable_behind(segment, written, size, next)?) {
        return Err(LogError::Damaged { path: segment.path.clone(), at: written, offset: next });
    }
    Ok((written, next))
}

/// Whether a record behind `at` was written when record `offset` was already durable.
fn durable_behind(segment: &Segment, at: u64, size: u64, offset: u64) -> Result<bool, LogError> {
    let length = usize::try_from((size - at).min(SEARCH_BYTES)).unwrap_or(usize::MAX);
    let mut bytes = vec![0u8; length];
    let read = read_at(&segment.file, &mut bytes, at).map_err(io("read", &segment.path))?;
    bytes.truncate(read);
    let mut from = 0;
    while let Some((found, head)) = find(&bytes, from, offset.saturating_add(1)) {
        if head.offset.saturating_sub(u64::from(head.lag)) > offset {
            return Ok(true);
        }
        from = found + head.frame_bytes().unwrap_or(1);
    }
    Ok(false)
}
