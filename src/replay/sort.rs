//! An external merge sort with a named bound on memory: records fill an arena, full arenas are
//! sorted and spilled as runs, and the runs are merged while they are read.
//!
//! The arena is one buffer of encoded records and one vector of (key, place), so that sorting
//! moves keys only and nothing is allocated per record.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::error::ReplayError;

/// Bytes of an encoded [`Key`].
const KEY_BYTES: usize = 46;
/// Runs that are merged at once; more are merged in several rounds. Bounds the open files.
const MAX_FAN_IN: usize = 128;
/// Bytes buffered of each run that is merged.
const RUN_BUFFER: usize = 1 << 16;
/// A longer record in a run means that the run is damaged.
const MAX_RECORD: usize = 4 << 20;

/// The total order. Its last two fields tell equal rows of a file apart, so that a sort is the
/// same whatever its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub available_ms: i64,
    pub topic: u8,
    pub stay: u64,
    pub rank: u32,
    pub id: u128,
    pub table: u8,
    pub row: u64,
}

impl Key {
    fn encode(&self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.available_ms.to_le_bytes());
        bytes[8] = self.topic;
        bytes[9..17].copy_from_slice(&self.stay.to_le_bytes());
        bytes[17..21].copy_from_slice(&self.rank.to_le_bytes());
        bytes[21..37].copy_from_slice(&self.id.to_le_bytes());
        bytes[37] = self.table;
        bytes[38..].copy_from_slice(&self.row.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; KEY_BYTES]) -> Self {
        fn part<const N: usize>(bytes: &[u8; KEY_BYTES], at: usize) -> [u8; N] {
            std::array::from_fn(|i| bytes[at + i])
        }
        Key {
            available_ms: i64::from_le_bytes(part(bytes, 0)),
            topic: bytes[8],
            stay: u64::from_le_bytes(part(bytes, 9)),
            rank: u32::from_le_bytes(part(bytes, 17)),
            id: u128::from_le_bytes(part(bytes, 21)),
            table: bytes[37],
            row: u64::from_le_bytes(part(bytes, 38)),
        }
    }
}

/// A directory of our own, removed with what it holds.
struct SpillDir(PathBuf);

impl SpillDir {
    fn new(parent: &Path) -> io::Result<Self> {
        let mut attempt = 0u32;
        loop {
            let path = parent.join(format!("nowcxr-sort-{}-{attempt}", std::process::id()));
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                made => return made.map(|()| SpillDir(path)),
            }
        }
    }
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "could not remove sorted runs");
        }
    }
}

/// Takes records in any order.
pub struct Sorter {
    dir: SpillDir,
    bound: usize,
    arena: Arena,
    runs: Vec<PathBuf>,
    runs_made: usize,
}

#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    entries: Vec<(Key, usize, usize)>,
}

impl Arena {
    fn used(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<(Key, usize, usize)>()
    }
}

impl Sorter {
    /// A sorter that spills below `dir` and holds at most `bound` bytes of records in memory.
    pub fn new(dir: Option<&Path>, bound: usize) -> Result<Self, ReplayError> {
        let parent = dir.map_or_else(std::env::temp_dir, Path::to_owned);
        let dir = SpillDir::new(&parent).map_err(|error| ReplayError::spill(&parent, error))?;
        Ok(Sorter { dir, bound, arena: Arena::default(), runs: Vec::new(), runs_made: 0 })
    }

    /// Adds a record.
    pub fn push(&mut self, key: Key, record: &[u8]) -> Result<(), ReplayError> {
        let start = self.arena.bytes.len();
        self.arena.bytes.extend_from_slice(record);
        self.arena.entries.push((key, start, record.len()));
        // A vector that grows doubles, so half of the bound may be in use before it does.
        if self.arena.used() >= self.bound / 2 { self.spill() } else { Ok(()) }
    }

    /// All records in order.
    pub fn finish(mut self) -> Result<Sorted, ReplayError> {
        if self.runs.is_empty() {
            self.arena.entries.sort_unstable_by_key(|entry| entry.0);
            return Ok(Sorted {
                merge: Merge::Memory { arena: self.arena, at: 0 },
                _dir: self.dir,
            });
        }
        self.spill()?;
        self.arena = Arena::default();
        while self.runs.len() > MAX_FAN_IN {
            let first: Vec<PathBuf> = self.runs.drain(..MAX_FAN_IN).collect();
            let path = self.next_path();
            let fail = |error| ReplayError::spill(&path, error);
            let mut out = BufWriter::with_capacity(RUN_BUFFER, File::create(&path).map_err(fail)?);
            let mut merge = RunMerge::open(&first)?;
            while let Some(key) = merge.advance()? {
                write_record(&mut out, &key, merge.record()).map_err(fail)?;
            }
            out.flush().map_err(fail)?;
            drop(merge);
            for run in &first {
                std::fs::remove_file(run).map_err(|error| ReplayError::spill(run, error))?;
            }
            self.runs.push(path);
        }
        Ok(Sorted { merge: Merge::Runs(RunMerge::open(&self.runs)?), _dir: self.dir })
    }

    fn next_path(&mut self) -> PathBuf {
        self.runs_made += 1;
        self.dir.0.join(format!("run-{}", self.runs_made))
    }

    fn spill(&mut self) -> Result<(), ReplayError> {
        let path = self.next_path();
        self.arena.entries.sort_unstable_by_key(|entry| entry.0);
        let arena = &self.arena;
        let write = || -> io::Result<()> {
            let mut out = BufWriter::with_capacity(RUN_BUFFER, File::create(&path)?);
            for (key, start, length) in &arena.entries {
                write_record(&mut out, key, &arena.bytes[*start..start + length])?;
            }
            out.flush()
        };
        write().map_err(|error| ReplayError::spill(&path, error))?;
        self.arena.bytes.clear();
        self.arena.entries.clear();
        self.runs.push(path);
        Ok(())
    }
}

fn write_record(out: &mut impl Write, key: &Key, record: &[u8]) -> io::Result<()> {
    out.write_all(&key.encode())?;
    out.write_all(&(record.len() as u32).to_le_bytes())?;
    out.write_all(record)
}

/// The records of a [`Sorter`] in order. The runs are removed when this is dropped.
pub struct Sorted {
    merge: Merge,
    _dir: SpillDir,
}

enum Merge {
    Memory { arena: Arena, at: usize },
    Runs(RunMerge),
}

impl Sorted {
    /// The next record; valid until the next call.
    pub fn next(&mut self) -> Result<Option<(Key, &[u8])>, ReplayError> {
        match &mut self.merge {
            Merge::Memory { arena, at } => {
                let entry = arena.entries.get(*at);
                *at += 1;
                Ok(entry.map(|(key, start, len)| (*key, &arena.bytes[*start..start + len])))
            }
            Merge::Runs(merge) => match merge.advance()? {
                Some(key) => Ok(Some((key, merge.record()))),
                None => Ok(None),
            },
        }
    }
}

struct Run {
    path: PathBuf,
    input: BufReader<File>,
    record: Vec<u8>,
}

impl Run {
    /// Reads the next record into `record`.
    fn read(&mut self) -> io::Result<Option<Key>> {
        let mut key = [0; KEY_BYTES];
        match self.input.read(&mut key[..1])? {
            0 => return Ok(None),
            _ => self.input.read_exact(&mut key[1..])?,
        }
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_RECORD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a spilled run is damaged"));
        }
        self.record.resize(length, 0);
        self.input.read_exact(&mut self.record)?;
        Ok(Some(Key::decode(&key)))
    }

    fn read_next(&mut self) -> Result<Option<Key>, ReplayError> {
        self.read().map_err(|error| ReplayError::spill(&self.path, error))
    }
}

/// Merges runs by a heap of their first keys.
struct RunMerge {
    runs: Vec<Run>,
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    /// The run whose record was handed out and must be read on.
    current: Option<usize>,
}

impl RunMerge {
    fn open(paths: &[PathBuf]) -> Result<Self, ReplayError> {
        let mut merge = RunMerge { runs: Vec::new(), heap: BinaryHeap::new(), current: None };
        for (index, path) in paths.iter().enumerate() {
            let file = File::open(path).map_err(|error| ReplayError::spill(path, error))?;
            let input = BufReader::with_capacity(RUN_BUFFER, file);
            let mut run = Run { path: path.clone(), input, record: Vec::new() };
            if let Some(key) = run.read_next()? {
                merge.heap.push(Reverse((key, index)));
            }
            merge.runs.push(run);
        }
        Ok(merge)
    }

    fn advance(&mut self) -> Result<Option<Key>, ReplayError> {
        if let Some(index) = self.current.take()
            && let Some(key) = self.runs[index].read_next()?
        {
            self.heap.push(Reverse((key, index)));
        }
        let Some(Reverse((key, index))) = self.heap.pop() else { return Ok(None) };
        self.current = Some(index);
        Ok(Some(key))
    }

    /// The record whose key was returned last.
    fn record(&self) -> &[u8] {
        self.current.map_or(&[], |index| &self.runs[index].record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(available_ms: i64, row: u64) -> Key {
        Key { available_ms, topic: 3, stay: 9, rank: 1, id: u128::MAX - 5, table: 1, row }
    }

    fn sort(records: &[(Key, Vec<u8>)], bound: usize) -> (Vec<(Key, Vec<u8>)>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(Some(dir.path()), bound).unwrap();
        for (key, record) in records {
            sorter.push(*key, record).unwrap();
        }
        let runs = sorter.runs_made;
        let mut sorted = sorter.finish().unwrap();
        let mut all = Vec::new();
        while let Some((key, record)) = sorted.next().unwrap() {
            all.push((key, record.to_vec()));
        }
        drop(sorted);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "runs are removed");
        (all, runs)
    }

    proptest! {
        #[test]
        fn a_tiny_memory_gives_the_order_of_a_large_one(
            rows in proptest::collection::vec((-50i64..50, any::<u8>()), 0..400),
            bound in 64usize..4096,
        ) {
            let records: Vec<_> = rows
                .iter()
                .enumerate()
                .map(|(i, (at, n))| (key(*at, i as u64), vec![*n; usize::from(*n) % 40]))
                .collect();
            let (spilled, _) = sort(&records, bound);
            let mut expected = records;
            expected.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(spilled, expected);
        }
    }

    #[test]
    fn more_runs_than_are_merged_at_once() {
        let records: Vec<_> = (0..700u64)
            .map(|i| (key((i * 7919 % 700) as i64, i), i.to_le_bytes().into()))
            .collect();
        let (spilled, runs) = sort(&records, 1);
        assert_eq!(runs, 700);
        assert!(spilled.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(spilled.len(), 700);
    }

    #[test]
    fn a_directory_that_cannot_be_written_says_what_to_do() {
        let error = Sorter::new(Some(Path::new("/nonexistent/x")), 1).err().unwrap().to_string();
        assert!(error.contains("/nonexistent/x") && error.contains("TMPDIR"), "{error}");
    }
}
