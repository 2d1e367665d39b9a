//! One file of a partition: a head with the writers known when it was begun, then records.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::{LogError, io};
use super::frame::LOG_VERSION;

/// Distance of the entries of the in-memory index from offset to byte.
const INDEX_BYTES: u64 = 256 * 1024;

/// Writers that one partition remembers; their last sequences stand in each segment's head.
pub(super) const MAX_WRITERS: usize = 4096;

const MAGIC: &[u8; 4] = b"NXLG";
/// Magic, version, padding, payload length, CRC of all else.
const FIXED_BYTES: usize = 16;
const MAX_HEAD_PAYLOAD: usize = 24 + 16 * MAX_WRITERS;

/// The last sequence of each writer.
pub(super) type Writers = BTreeMap<u64, u64>;

/// An open segment file. Readers see the bytes up to `published`.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    /// First offset of the segment before, or `base` for the first of all.
    pub(super) previous: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Where the records begin.
    pub(super) start: u64,
    published: AtomicU64,
    /// (offset, byte) of a record about every 256 KiB, ascending; where to begin to read.
    index: Mutex<Vec<(u64, u64)>>,
}

/// What a segment's first bytes are.
pub(super) enum Found {
    Segment(Box<Segment>, Writers),
    /// The head is not whole, as after a crash while the segment was being made.
    Unfinished,
}

pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The first offset that a file name states; `None` for other files.
pub(super) fn base_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    (name.len() == 20).then(|| name.parse().ok())?
}

impl Segment {
    /// Makes a durable empty segment, over the remains of one that was never used.
    pub(super) fn create(
        dir: &Path,
        base: u64,
        previous: u64,
        writers: &Writers,
    ) -> Result<Segment, LogError> {
        let path = dir.join(file_name(base));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(io("make", &path))?;
        let head = encode_head(base, previous, writers);
        let written = file.write_all_at(&head, 0).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| File::open(dir)?.sync_all()) {
            // Best effort: recovery removes it as well.
            drop(std::fs::remove_file(&path));
            return Err(io("write", &path)(error));
        }
        Ok(Segment::of(base, previous, path, file, head.len() as u64))
    }

    /// Opens a segment and reads its head.
    pub(super) fn open(path: &Path, base: u64, write: bool) -> Result<Found, LogError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(write).open(path).map_err(io("open", path))?;
        let mut fixed = [0u8; FIXED_BYTES];
        if read_at(&file, &mut fixed, 0).map_err(io("read", path))? < FIXED_BYTES {
            return Ok(Found::Unfinished);
        }
        let [.., l0, l1, l2, l3, c0, c1, c2, c3] = fixed;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if !fixed.starts_with(MAGIC) || length > MAX_HEAD_PAYLOAD {
            return Ok(Found::Unfinished);
        }
        let mut payload = vec![0u8; length];
        let read = read_at(&file, &mut payload, FIXED_BYTES as u64).map_err(io("read", path))?;
        let crc = head_crc(&fixed, &payload);
        if read < length || crc != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Ok(Found::Unfinished);
        }
        if fixed[4] > LOG_VERSION {
            return Err(LogError::FutureVersion { path: path.to_path_buf(), found: fixed[4] });
        }
        let Some((stated, previous, writers)) = decode_payload(&payload) else {
            return Ok(Found::Unfinished);
        };
        if stated != base {
            // The file was renamed; its records would be taken for others.
            return Err(LogError::Damaged { path: path.to_path_buf(), at: 0, offset: base });
        }
        let start = (FIXED_BYTES + length) as u64;
        let segment = Segment::of(base, previous, path.to_path_buf(), file, start);
        Ok(Found::Segment(Box::new(segment), writers))
    }

    fn of(base: u64, previous: u64, path: PathBuf, file: File, start: u64) -> Segment {
        let published = AtomicU64::new(start);
        Segment { base, previous, path, file, start, published, index: Mutex::default() }
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Lets readers see the bytes up to `end`.
    pub(super) fn publish(&self, end: u64) {
        self.published.fetch_max(end, Ordering::AcqRel);
    }

    /// Notes where a record stands, if the last note is far enough behind.
    pub(super) fn note(&self, offset: u64, byte: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let last = index.last().map_or(self.start, |(_, byte)| *byte);
        if byte >= last + INDEX_BYTES {
            index.push((offset, byte));
        }
    }

    /// Drops the notes of records from `offset` on, which were not written after all.
    pub(super) fn forget_from(&self, offset: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.retain(|(noted, _)| *noted < offset);
    }

    /// A record at or before `offset` and its byte: where to begin to look for it.
    pub(super) fn begin_for(&self, offset: u64) -> (u64, u64) {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let after = index.partition_point(|(noted, _)| *noted <= offset);
        after.checked_sub(1).and_then(|i| index.get(i).copied()).unwrap_or((self.base, self.start))
    }
}

/// Reads as much of `into` as the file has from `at` on.
pub(super) fn read_at(file: &File, into: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn encode_head(base: u64, previous: u64, writers: &Writers) -> Vec<u8> {
    let mut payload = Vec::with_capacity(24 + 16 * writers.len());
    payload.extend_from_slice(&base.to_le_bytes());
    payload.extend_from_slice(&previous.to_le_bytes());
    payload.extend_from_slice(&(writers.len() as u64).to_le_bytes());
    for (writer, sequence) in writers {
        payload.extend_from_slice(&writer.to_le_bytes());
        payload.extend_from_slice(&sequence.to_le_bytes());
    }
    let mut fixed = [0u8; FIXED_BYTES];
    fixed[..4].copy_from_slice(MAGIC);
    fixed[4] = LOG_VERSION;
    fixed[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc = head_crc(&fixed, &payload);
    fixed[12..].copy_from_slice(&crc.to_le_bytes());
    [&fixed[..], &payload].concat()
}

fn head_crc(fixed: &[u8; FIXED_BYTES], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&fixed[..12]);
    crc.update(payload);
    crc.finalize()
}

fn decode_payload(payload: &[u8]) -> Option<(u64, u64, Writers)> {
    let (words, rest) = payload.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let (base, previous, count) = (words.next()?, words.next()?, words.next()?);
    let mut writers = Writers::new();
    while let (Some(writer), Some(sequence)) = (words.next(), words.next()) {
        writers.insert(writer, sequence);
    }
    (rest.is_empty() && writers.len() as u64 == count).then_some((base, previous, writers))
}
