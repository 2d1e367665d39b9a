//! The part of the ZIP format that `torch.save` writes: members stored without compression, with
//! 64-bit sizes where needed. Anything else is refused, so a member is never larger than the file
//! that holds it, and nothing needs to be unpacked to be measured.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

/// Bound of the members of one archive. The published checkpoints have 3,000.
const MAX_MEMBERS: u64 = 200_000;
/// Bound of the directory at the archive's end, in bytes.
const MAX_DIRECTORY: u64 = 64 << 20;
/// The end record and the longest remark behind it.
const MAX_TAIL: u64 = 22 + 65_535;

const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// The tag of the 64-bit sizes among an entry's extras.
const EXTRA_64: u16 = 1;
/// Says that the true size is among the extras.
const IN_EXTRA: u64 = 0xffff_ffff;

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub size: u64,
    crc: u32,
    /// Of its local header.
    header: u64,
}

/// The directory of an archive.
#[derive(Debug)]
pub struct Archive {
    pub members: BTreeMap<String, Member>,
    length: u64,
}

/// A damaged or foreign archive, in a few words.
pub type Fault = String;

/// Reads little-endian numbers off a slice, never past its end.
struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or("its directory is cut short")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, n: usize) -> Result<u64, Fault> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    fn tag(&mut self, tag: &[u8; 4]) -> Result<(), Fault> {
        if self.take(4)? == tag { Ok(()) } else { Err("its directory is damaged".to_owned()) }
    }
}

fn read_at<R: Read + Seek>(file: &mut R, at: u64, length: u64) -> Result<Vec<u8>, Fault> {
    let length = usize::try_from(length).map_err(|_| "it is too large for this machine")?;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
    file.read_exact(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Where the directory lies and how many members it has.
fn find_directory<R: Read + Seek>(file: &mut R, length: u64) -> Result<(u64, u64, u64), Fault> {
    let tail_at = length.saturating_sub(MAX_TAIL);
    let tail = read_at(file, tail_at, length - tail_at)?;
    let end = tail
        .windows(END.len())
        .rposition(|window| window == END)
        .ok_or("it has no directory; it may have been cut short")?;
    let mut cursor = Cursor { bytes: tail.get(end + 4..).unwrap_or_default() };
    cursor.take(6)?;
    let members = cursor.number(2)?;
    let (size, at) = (cursor.number(4)?, cursor.number(4)?);
    let remark = cursor.number(2)? as usize;
    if cursor.bytes.len() != remark {
        return Err("its directory is cut short".to_owned());
    }
    let end = tail_at + end as u64;
    if members != 0xffff && size != IN_EXTRA && at != IN_EXTRA {
        return Ok((at, size, members));
    }
    let locator = read_at(file, end.checked_sub(20).ok_or("its directory is damaged")?, 20)?;
    let mut cursor = Cursor { bytes: &locator };
    cursor.tag(LOCATOR_64)?;
    cursor.take(4)?;
    let record = read_at(file, cursor.number(8)?.min(length), 56)?;
    let mut cursor = Cursor { bytes: &record };
    cursor.tag(END_64)?;
    cursor.take(28)?;
    let (members, size, at) = (cursor.number(8)?, cursor.number(8)?, cursor.number(8)?);
    Ok((at, size, members))
}

/// One entry of the directory.
fn entry(cursor: &mut Cursor<'_>) -> Result<(String, Member), Fault> {
    cursor.tag(ENTRY)?;
    cursor.take(4)?;
    let (flags, method) = (cursor.number(2)?, cursor.number(2)?);
    cursor.take(4)?;
    let crc = u32::try_from(cursor.number(4)?).unwrap_or_default();
    let (mut packed, mut size) = (cursor.number(4)?, cursor.number(4)?);
    let (name, extra, remark) =
        (cursor.number(2)? as usize, cursor.number(2)? as usize, cursor.number(2)? as usize);
    cursor.take(8)?;
    let mut header = cursor.number(4)?;
    let name = String::from_utf8(cursor.take(name)?.to_vec())
        .map_err(|_| "a member's name is not UTF-8")?;
    let mut extras = Cursor { bytes: cursor.take(extra)? };
    cursor.take(remark)?;
    while !extras.bytes.is_empty() {
        let (tag, length) = (extras.number(2)?, extras.number(2)? as usize);
        let mut extra = Cursor { bytes: extras.take(length)? };
        if tag == u64::from(EXTRA_64) {
            for value in [&mut size, &mut packed, &mut header] {
                if *value == IN_EXTRA {
                    *value = extra.number(8)?;
                }
            }
        }
    }
    if method != 0 || flags & 1 != 0 || packed != size {
        return Err(format!("its member {name} is compressed or encrypted"));
    }
    Ok((name, Member { size, crc, header }))
}

impl Archive {
    /// Reads the directory of an archive of `length` bytes.
    pub fn open<R: Read + Seek>(file: &mut R, length: u64) -> Result<Archive, Fault> {
        let (at, size, count) = find_directory(file, length)?;
        let inside = at.checked_add(size).is_some_and(|end| end <= length);
        if !inside || size > MAX_DIRECTORY || count > MAX_MEMBERS {
            return Err("its directory is damaged or too large".to_owned());
        }
        let directory = read_at(file, at, size)?;
        let mut cursor = Cursor { bytes: &directory };
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let (name, member) = entry(&mut cursor)?;
            if members.insert(name.clone(), member).is_some() {
                return Err(format!("it has two members {name}"));
            }
        }
        Ok(Archive { members, length })
    }

    /// The bytes of a member of at most `most` bytes, checked against its CRC.
    pub fn read<R: Read + Seek>(
        &self,
        file: &mut R,
        name: &str,
        most: u64,
    ) -> Result<Vec<u8>, Fault> {
        let member = self.members.get(name).ok_or_else(|| format!("it has no member {name}"))?;
        if member.size > most {
            return Err(format!("its member {name} has {} bytes, more than {most}", member.size));
        }
        let header = read_at(file, member.header.min(self.length), 30)?;
        let mut cursor = Cursor { bytes: &header };
        cursor.tag(LOCAL)?;
        cursor.take(22)?;
        let skip = 30 + cursor.number(2)? + cursor.number(2)?;
        let start = member.header.saturating_add(skip);
        if start.checked_add(member.size).is_none_or(|end| end > self.length) {
            return Err(format!("its member {name} is cut short"));
        }
        let bytes = read_at(file, start, member.size)?;
        if crc32fast::hash(&bytes) != member.crc {
            return Err(format!("its member {name} is damaged"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor as Bytes;

    use super::*;

    /// An archive with these members, as `torch.save` would store them.
    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, bytes) in members {
            let at = out.len() as u32;
            let mut common = Vec::new();
            for field in [0u16, 0, 0, 0, 0] {
                common.extend(field.to_le_bytes());
            }
            common.extend(crc32fast::hash(bytes).to_le_bytes());
            common.extend((bytes.len() as u32).to_le_bytes());
            common.extend((bytes.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend(0u16.to_le_bytes());
            out.extend(LOCAL);
            out.extend(&common);
            out.extend(name.as_bytes());
            out.extend(*bytes);
            directory.extend(ENTRY);
            directory.extend(0u16.to_le_bytes());
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let at = out.len() as u32;
        out.extend(&directory);
        out.extend(END);
        out.extend([0; 4]);
        out.extend((members.len() as u16).to_le_bytes());
        out.extend((members.len() as u16).to_le_bytes());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend([0; 2]);
        out
    }

    fn open(bytes: &[u8]) -> Result<Archive, Fault> {
        Archive::open(&mut Bytes::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn members_are_found_and_read() {
        let bytes = archive(&[("a/data.pkl", b"hello"), ("a/data/0", &[7; 100])]);
        let archive = open(&bytes).expect("an archive");
        assert_eq!(archive.members.len(), 2);
        let mut file = Bytes::new(&bytes);
        assert_eq!(archive.read(&mut file, "a/data.pkl", 10).expect("member"), b"hello");
        assert_eq!(archive.read(&mut file, "a/data/0", 100).expect("member"), [7; 100]);
        assert!(archive.read(&mut file, "a/data/0", 99).is_err());
        assert!(archive.read(&mut file, "a/data/1", 99).is_err());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_harmless() {
        let bytes = archive(&[("a/data.pkl", b"hello"), ("a/data/0", &[7; 40])]);
        for cut in 0..bytes.len() {
            assert!(open(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0xff;
            let Ok(archive) = open(&wrong) else { continue };
            let mut file = Bytes::new(&wrong);
            for (name, good) in [("a/data.pkl", &b"hello"[..]), ("a/data/0", &[7; 40])] {
                if let Ok(read) = archive.read(&mut file, name, 1 << 20) {
                    assert_eq!(read, good, "byte {at} changed {name} unseen");
                }
            }
        }
    }
}
