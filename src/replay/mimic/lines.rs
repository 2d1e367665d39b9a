//! A large CSV file as records: decompressed on a thread of its own, split at line ends that stand
//! outside quotes. Nothing is allocated per record.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use flate2::read::MultiGzDecoder;
use memchr::{memchr, memchr_iter};

use crate::replay::progress::ByteCount;

/// Bytes of one block that travels from the reading thread to the splitting one.
const BLOCK: usize = 1 << 20;
/// Blocks that may wait between the two threads.
const BLOCKS_WAITING: usize = 3;
/// A quoted record longer than this is taken for an unclosed quote, and only its first line is
/// given up, so that one stray quote does not swallow the rest of the file.
const MAX_QUOTED_RECORD: usize = 1 << 20;

/// One record, without its line end. `broken` says that a quote was opened and never closed.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub bytes: &'a [u8],
    pub quoted: bool,
    pub broken: bool,
}

/// The records of one file in their order.
pub struct Lines {
    blocks: Receiver<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    /// Start of the next record in `buffer`.
    at: usize,
    ended: bool,
    bytes_read: ByteCount,
}

impl Lines {
    /// Opens a file, gzip-compressed if its name ends in `.gz`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let bytes_read = ByteCount::default();
        let file = Counted { inner: File::open(path)?, count: bytes_read.clone() };
        let gzip = path.extension().is_some_and(|ext| ext == "gz");
        let input: Box<dyn Read + Send> =
            if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let (sender, blocks) = bounded(BLOCKS_WAITING);
        thread::Builder::new().name("mimic-read".into()).spawn(move || {
            let mut input = input;
            loop {
                let block = read_block(&mut input);
                let last = !matches!(&block, Ok(bytes) if !bytes.is_empty());
                if sender.send(block).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Lines { blocks, buffer: Vec::new(), at: 0, ended: false, bytes_read })
    }

    /// Bytes of the file that have been read, for progress.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// The next record; `None` at the end. Empty lines are passed over.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let Some(found) = self.find_record()? else { return Ok(None) };
            let start = self.at;
            self.at = start + found.next;
            let bytes = &self.buffer[start..start + found.end];
            let length = bytes.strip_suffix(b"\r").unwrap_or(bytes).len();
            if length > 0 {
                let bytes = &self.buffer[start..start + length];
                return Ok(Some(Line { bytes, quoted: found.quoted, broken: found.broken }));
            }
        }
    }

    /// Where the next record ends. All offsets count from `self.at`, which stays meaningful when
    /// [`Lines::fill`] moves the buffer's contents.
    fn find_record(&mut self) -> io::Result<Option<Found>> {
        let (mut scanned, mut quotes) = (0, 0);
        let mut first_line = None;
        loop {
            let rest = &self.buffer[self.at + scanned..];
            let (length, at_end) = match memchr(b'\n', rest) {
                Some(length) => (length, false),
                None if self.ended => (rest.len(), true),
                None => {
                    self.fill()?;
                    continue;
                }
            };
            if at_end && scanned + length == 0 {
                return Ok(None);
            }
            quotes += memchr_iter(b'"', &rest[..length]).count();
            let end = scanned + length;
            let next = if at_end { end } else { end + 1 };
            let first = *first_line.get_or_insert((end, next));
            if quotes % 2 == 0 {
                return Ok(Some(Found { end, next, quoted: quotes > 0, broken: false }));
            }
            if at_end || next > MAX_QUOTED_RECORD {
                let (end, next) = first;
                return Ok(Some(Found { end, next, quoted: true, broken: true }));
            }
            scanned = next;
        }
    }

    /// Takes one more block behind what is left of the buffer.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        match self.blocks.recv() {
            Ok(Ok(block)) if block.is_empty() => self.ended = true,
            Ok(Ok(block)) => self.buffer.extend_from_slice(&block),
            Ok(Err(error)) => {
                self.ended = true;
                return Err(error);
            }
            Err(_) => self.ended = true,
        }
        Ok(())
    }
}

struct Found {
    end: usize,
    next: usize,
    quoted: bool,
    broken: bool,
}

fn read_block(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    while length < BLOCK {
        match input.read(&mut block[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.truncate(length);
    Ok(block)
}

/// A file that tells how much of it was read.
struct Counted {
    inner: File,
    count: ByteCount,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.count.add(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn records(text: &[u8]) -> Vec<(String, bool, bool)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let mut lines = Lines::open(file.path()).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            let bytes = String::from_utf8_lossy(line.bytes).into_owned();
            all.push((bytes, line.quoted, line.broken));
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        all
    }

    #[test]
    fn splits_at_line_ends_outside_quotes() {
        let all = records(b"a,b\r\n\n1,\"x\ny\"\"\",3\n2,z");
        let expected = [("a,b", false), ("1,\"x\ny\"\"\",3", true), ("2,z", false)]
            .map(|(t, q)| (t.to_owned(), q, false));
        assert_eq!(all, expected);
    }

    #[test]
    fn an_unclosed_quote_costs_one_line() {
        let all = records(b"a\n\"open,1\nb\nc\n");
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], ("\"open,1".to_owned(), true, true));
        assert_eq!(all[3].0, "c");
    }

    #[test]
    fn records_cross_block_borders() {
        let line = "0123456789,".repeat(1000);
        let text = format!("{line}\n").repeat(300);
        let all = records(text.as_bytes());
        assert_eq!(all.len(), 300);
        assert!(all.iter().all(|(bytes, _, _)| *bytes == line));
    }

    #[test]
    fn a_truncated_gzip_is_an_error() {
        let mut file = tempfile::Builder::new().suffix(".csv.gz").tempfile().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for i in 0..100_000 {
            writeln!(gzip, "{i},{}", i * 7919).unwrap();
        }
        let bytes = gzip.finish().unwrap();
        file.write_all(&bytes[..bytes.len() / 2]).unwrap();
        let mut lines = Lines::open(file.path()).unwrap();
        let outcome = loop {
            match lines.next_line() {
                Ok(Some(_)) => {}
                other => break other.map(|_| ()),
            }
        };
        assert!(outcome.is_err());
    }
}
