//! The frame of every stored value: format version, payload, CRC.
//!
//! No embedded store that was measured finds every flipped bit (`reference/state-and-avro.md` 1,
//! `reference/streaming.md` 3), so each value carries its own checksum, whatever the engine below.
//! The changelog holds the same bytes.
//!
//! Layout: version (1 byte), payload, CRC-32 of both (4 bytes, little-endian).

use thiserror::Error;

/// The newest format that this program reads and writes. It counts for all values together: a
/// change in any one of them raises it, so that an older program refuses the whole store.
///
/// Format 2 knows the topic of acknowledgements and what people did; format 3 says of a row whether
/// it was charted, by a bit that was unset before; in format 4 a stay's alerts are a value of their
/// own, which until then stood at the end of its head. All else is as in format 1, so values of all
/// four are read alike.
pub const NEWEST_VERSION: u8 = 4;

const CRC_BYTES: usize = 4;
const SMALLEST: usize = 1 + CRC_BYTES;

/// Why bytes are not a value, split by what follows: damage is rebuilt, the future is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    #[error("value is damaged; rebuild the store")]
    Corrupt,
    #[error("value has format {found}, this program knows up to {NEWEST_VERSION}; use a newer one")]
    FutureVersion { found: u8 },
}

/// What identifies a framed value without its content: length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) len: u64,
    pub(super) crc: u32,
}

/// Frames `payload` under format `version`.
pub fn frame(version: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + SMALLEST);
    bytes.push(version);
    bytes.extend_from_slice(payload);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version and the payload of a framed value.
pub fn unframe(bytes: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(CodecError::Corrupt)?;
    let (&version, payload) = body.split_first().ok_or(CodecError::Corrupt)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(CodecError::Corrupt);
    }
    if version > NEWEST_VERSION {
        return Err(CodecError::FutureVersion { found: version });
    }
    Ok((version, payload))
}

/// The stamp of framed bytes, read from the trailer; bytes that are too short have checksum 0.
pub(super) fn stamp(bytes: &[u8]) -> Stamp {
    let crc = bytes.last_chunk::<CRC_BYTES>().map_or(0, |crc| u32::from_le_bytes(*crc));
    Stamp { len: bytes.len() as u64, crc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        for payload in [&b""[..], b"x", &[0u8; 5000]] {
            assert_eq!(unframe(&frame(1, payload)), Ok((1, payload)));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let good = frame(1, b"the state of a stay");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unframe(&bad), Err(CodecError::Corrupt), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert_eq!(unframe(&good[..cut]), Err(CodecError::Corrupt), "cut {cut}");
        }
    }

    #[test]
    fn the_future_is_not_damage() {
        let found = NEWEST_VERSION + 1;
        assert_eq!(unframe(&frame(found, b"new")), Err(CodecError::FutureVersion { found }));
    }
}
