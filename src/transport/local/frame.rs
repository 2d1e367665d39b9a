//! The bytes of one record in a segment.
//!
//! Little-endian: CRC-32 of all that follows (4), length of what follows the length (4), offset
//! (8), append time in ms (8), writer (8), sequence (8), lag (4), key length or `NO_KEY` (4),
//! headers length (4), then key, headers and value. The lag is the offset less the first offset
//! that was not durable when the record was written: it tells recovery which of the records
//! before this one had been acknowledged.

use bytes::Bytes;

use super::error::LogError;
use crate::time::WallTime;

/// The newest format of segments and records that this program reads and writes.
pub(super) const LOG_VERSION: u8 = 1;

/// The largest record: key, headers and value together.
pub const MAX_RECORD_BYTES: usize = 64 << 20;

/// Bytes before the key.
pub(super) const HEAD_BYTES: usize = 52;
/// The CRC and the length.
const PREFIX_BYTES: usize = 8;
const NO_KEY: u32 = u32::MAX;

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Who appends. Sequences of one writer must rise; one that does not is a repetition.
    pub writer: u64,
    pub sequence: u64,
    pub key: Option<&'a [u8]>,
    pub headers: &'a [u8],
    pub value: &'a [u8],
}

/// A record that was read. Its parts are slices of one block of the file, which stays in memory
/// as long as any of them does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: u64,
    pub appended_at: WallTime,
    pub writer: u64,
    pub sequence: u64,
    pub key: Option<Bytes>,
    pub headers: Bytes,
    pub value: Bytes,
}

/// The fixed part of a frame, as it stands in bytes that need not be valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    crc: u32,
    length: u32,
    pub(super) offset: u64,
    pub(super) appended_at: WallTime,
    pub(super) writer: u64,
    pub(super) sequence: u64,
    pub(super) lag: u32,
    key: u32,
    headers: u32,
}

impl NewRecord<'_> {
    fn body_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.headers.len() + self.value.len()
    }

    /// The bytes that the record takes in a segment, if it may be appended at all.
    pub(super) fn frame_bytes(&self) -> Result<usize, LogError> {
        match self.body_bytes() {
            bytes if bytes > MAX_RECORD_BYTES => Err(LogError::TooLarge { bytes }),
            bytes => Ok(HEAD_BYTES + bytes),
        }
    }

    /// Appends the frame; `frame_bytes` has accepted the record, so that no length overflows.
    pub(super) fn encode(&self, offset: u64, at: WallTime, lag: u32, into: &mut Vec<u8>) {
        let start = into.len();
        let length = (HEAD_BYTES - PREFIX_BYTES + self.body_bytes()) as u32;
        let mut head = [0u8; HEAD_BYTES];
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..16].copy_from_slice(&offset.to_le_bytes());
        head[16..24].copy_from_slice(&at.as_millis().to_le_bytes());
        head[24..32].copy_from_slice(&self.writer.to_le_bytes());
        head[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        head[40..44].copy_from_slice(&lag.to_le_bytes());
        let key = self.key.map_or(NO_KEY, |key| key.len() as u32);
        head[44..48].copy_from_slice(&key.to_le_bytes());
        head[48..52].copy_from_slice(&(self.headers.len() as u32).to_le_bytes());
        into.extend_from_slice(&head);
        into.extend_from_slice(self.key.unwrap_or_default());
        into.extend_from_slice(self.headers);
        into.extend_from_slice(self.value);
        let crc = crc32fast::hash(&into[start + 4..]);
        into[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

impl Head {
    /// Reads the fixed part; `None` if there are too few bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Some(Head {
            crc: word(0),
            length: word(4),
            offset: long(8),
            appended_at: WallTime::from_millis(long(16) as i64),
            writer: long(24),
            sequence: long(32),
            lag: word(40),
            key: word(44),
            headers: word(48),
        })
    }

    /// The bytes of the whole frame; `None` if no frame has this length.
    pub(super) fn frame_bytes(&self) -> Option<usize> {
        let bytes = self.length as usize + PREFIX_BYTES;
        (HEAD_BYTES..=HEAD_BYTES + MAX_RECORD_BYTES).contains(&bytes).then_some(bytes)
    }

    /// Whether `frame`, the whole of it, is as it was written.
    pub(super) fn holds(&self, frame: &[u8]) -> bool {
        frame.get(4..).is_some_and(|body| crc32fast::hash(body) == self.crc)
            && self.parts().is_some_and(|(key, headers)| HEAD_BYTES + key + headers <= frame.len())
    }

    /// Lengths of key and headers.
    fn parts(&self) -> Option<(usize, usize)> {
        let key = if self.key == NO_KEY { 0 } else { self.key as usize };
        (key <= MAX_RECORD_BYTES).then_some((key, self.headers as usize))
    }

    /// The record at `start..end` of `block`; `holds` has been asked.
    pub(super) fn record(&self, block: &Bytes, start: usize, end: usize) -> Option<Record> {
        let (key_bytes, headers_bytes) = self.parts()?;
        let key_end = start + HEAD_BYTES + key_bytes;
        let headers_end = key_end + headers_bytes;
        if headers_end > end || end > block.len() {
            return None;
        }
        Some(Record {
            offset: self.offset,
            appended_at: self.appended_at,
            writer: self.writer,
            sequence: self.sequence,
            key: (self.key != NO_KEY).then(|| block.slice(start + HEAD_BYTES..key_end)),
            headers: match headers_bytes {
                0 => Bytes::new(),
                _ => block.slice(key_end..headers_end),
            },
            value: block.slice(headers_end..end),
        })
    }
}

/// The first valid frame in `bytes` at or after `from` whose offset is `least` or above, and
/// where it begins. The offset is looked at first, so that few checksums are computed.
pub(super) fn find(bytes: &[u8], from: usize, least: u64) -> Option<(usize, Head)> {
    let plausible = least..=least.saturating_add(bytes.len() as u64);
    (from..bytes.len().saturating_sub(HEAD_BYTES - 1)).find_map(|at| {
        let rest = bytes.get(at..)?;
        let head = Head::read(rest).filter(|head| plausible.contains(&head.offset))?;
        let frame = rest.get(..head.frame_bytes()?)?;
        head.holds(frame).then_some((at, head))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for offset in 0..n {
            let key = format!("{offset}");
            let record = NewRecord {
                writer: 9,
                sequence: offset + 1,
                key: (offset % 2 == 0).then_some(key.as_bytes()),
                headers: b"h",
                value: b"value",
            };
            record.encode(offset, WallTime::from_millis(-5), 3, &mut bytes);
        }
        bytes
    }

    #[test]
    fn records_round_trip() {
        let block = Bytes::from(frames(2));
        let head = Head::read(&block).expect("head");
        let end = head.frame_bytes().expect("length");
        assert!(head.holds(&block[..end]));
        let record = head.record(&block, 0, end).expect("record");
        assert_eq!((record.offset, record.writer, record.sequence), (0, 9, 1));
        assert_eq!(record.appended_at.as_millis(), -5);
        assert_eq!(record.key.as_deref(), Some(&b"0"[..]));
        assert_eq!((&*record.headers, &*record.value), (&b"h"[..], &b"value"[..]));
        let next = Head::read(&block[end..]).expect("head");
        assert_eq!(next.record(&block, end, block.len()).expect("record").key, None);
    }

    #[test]
    fn no_flipped_bit_holds() {
        let good = frames(1);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let head = Head::read(&bad).expect("head");
            let whole = head.frame_bytes() == Some(bad.len()) && head.holds(&bad);
            assert!(!whole, "bit {bit}");
        }
    }

    #[test]
    fn finds_the_next_frame_behind_damage() {
        let mut bytes = frames(4);
        let size = bytes.len() / 4;
        bytes[size + 20] ^= 1;
        let (at, head) = find(&bytes, size, 2).expect("frame 2");
        assert!(head.offset == 2 && at >= 2 * size - 2 && at <= 2 * size + 2);
    }
}
