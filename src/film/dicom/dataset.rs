//! Cuts a little-endian data set into its top-level elements (PS3.5 7.1), by lengths alone.
//!
//! Nothing is copied and nothing calls itself: a sequence of undefined length is stepped over with
//! an explicit stack of bounded depth, everything else by its length, which must lie inside the
//! bytes. Values are looked at by [`super::attributes`].

use super::undecodable;
use crate::event::Rejection;

/// Elements and items of one data set. Films have a few hundred.
const MAX_ELEMENTS: usize = 50_000;

/// Sequences of undefined length inside one another. Films have two or three.
const MAX_DEPTH: usize = 32;

const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);
pub(super) const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

/// Group and element number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub u16, pub u16);

/// Whether elements carry their value representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Implicit,
    Explicit,
}

/// One element of the top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub tag: Tag,
    /// The value's bytes; for an undefined length the items without the closing delimiter.
    pub value: &'a [u8],
    /// Whether the length was undefined: items follow, or the fragments of a codestream.
    pub encapsulated: bool,
}

struct Header {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

/// The top-level elements of a data set, in file order.
///
/// # Errors
/// `film_undecodable` where a length leads out of the bytes, or a bound is passed.
pub(super) fn elements(bytes: &[u8], encoding: Encoding) -> Result<Vec<Element<'_>>, Rejection> {
    let mut reader = Reader { bytes, at: 0, left: MAX_ELEMENTS };
    let mut found = Vec::new();
    // Some writers pad the end of the file; fewer bytes than a header are no element.
    while reader.bytes.len() - reader.at >= 8 {
        let element = reader.element(encoding)?;
        found.push(element);
        // What follows the pixels (padding, signatures) is nothing to us.
        if element.tag >= PIXEL_DATA {
            break;
        }
    }
    Ok(found)
}

/// The elements of group 2 at the start of `bytes`, and how long the group is.
pub(super) fn meta_group(bytes: &[u8]) -> Result<(Vec<Element<'_>>, usize), Rejection> {
    let mut reader = Reader { bytes, at: 0, left: MAX_ELEMENTS };
    let mut found = Vec::new();
    while bytes.get(reader.at..reader.at + 2) == Some(&[2, 0]) {
        found.push(reader.element(Encoding::Explicit)?);
    }
    Ok((found, reader.at))
}

/// The values of the items in a sequence's (or an encapsulated pixel element's) value.
pub(super) fn items(value: &[u8], encoding: Encoding) -> Result<Vec<&[u8]>, Rejection> {
    let mut reader = Reader { bytes: value, at: 0, left: MAX_ELEMENTS };
    let mut found = Vec::new();
    while reader.bytes.len() - reader.at >= 8 {
        let header = reader.header(Encoding::Implicit)?;
        match header.tag {
            ITEM if header.length == UNDEFINED => {
                let start = reader.at;
                reader.skip_undefined(ITEM_END, encoding)?;
                found.push(&value[start..reader.at - 8]);
            }
            ITEM => found.push(reader.take(header.length)?),
            SEQUENCE_END => break,
            _ => return Err(undecodable("a DICOM sequence holds something that is no item")),
        }
    }
    Ok(found)
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u32) -> Result<&'a [u8], Rejection> {
        let end = self.at.checked_add(length as usize).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| undecodable("a DICOM element leads out of the file"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Rejection> {
        Ok(self.take(2)?.iter().rev().fold(0, |n, &byte| n << 8 | u16::from(byte)))
    }

    fn u32(&mut self) -> Result<u32, Rejection> {
        Ok(self.take(4)?.iter().rev().fold(0, |n, &byte| n << 8 | u32::from(byte)))
    }

    fn header(&mut self, encoding: Encoding) -> Result<Header, Rejection> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            undecodable(format!("more than {MAX_ELEMENTS} elements in a DICOM file"))
        })?;
        let tag = Tag(self.u16()?, self.u16()?);
        // Items and delimiters have no value representation in either encoding.
        if encoding == Encoding::Implicit || tag.0 == 0xfffe {
            return Ok(Header { tag, vr: *b"  ", length: self.u32()? });
        }
        let vr = self.take(2)?;
        let vr = [vr[0], vr[1]];
        let length = match &vr {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN"
            | b"UR" | b"UT" | b"UV" => {
                self.take(2)?;
                self.u32()?
            }
            _ => u32::from(self.u16()?),
        };
        Ok(Header { tag, vr, length })
    }

    fn element(&mut self, encoding: Encoding) -> Result<Element<'a>, Rejection> {
        let Header { tag, vr, length } = self.header(encoding)?;
        if length != UNDEFINED {
            let value = self.take(length)?;
            return Ok(Element { tag, value, encapsulated: false });
        }
        let start = self.at;
        self.skip_undefined(SEQUENCE_END, inner(vr, encoding))?;
        Ok(Element { tag, value: &self.bytes[start..self.at - 8], encapsulated: true })
    }

    /// Steps over items or elements up to and including the delimiter `end`.
    fn skip_undefined(&mut self, end: Tag, encoding: Encoding) -> Result<(), Rejection> {
        let mut open = vec![(end, encoding)];
        while let Some(&(end, encoding)) = open.last() {
            let header = self.header(encoding)?;
            if header.tag == end {
                open.pop();
            } else if header.length != UNDEFINED {
                self.take(header.length)?;
            } else if open.len() >= MAX_DEPTH {
                return Err(undecodable(format!("more than {MAX_DEPTH} nested DICOM sequences")));
            } else if header.tag == ITEM {
                open.push((ITEM_END, encoding));
            } else {
                open.push((SEQUENCE_END, inner(header.vr, encoding)));
            }
        }
        Ok(())
    }
}

/// PS3.5 6.2.2: a value of unknown representation and undefined length is implicit inside.
fn inner(vr: [u8; 2], encoding: Encoding) -> Encoding {
    if vr == *b"UN" { Encoding::Implicit } else { encoding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(vr);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
        bytes
    }

    const OPEN_SEQUENCE: &[u8] = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff";
    const OPEN_ITEM: &[u8] = b"\xfe\xff\0\xe0\xff\xff\xff\xff";
    const CLOSE: &[u8] = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0";

    #[test]
    fn sequences_of_undefined_length_are_stepped_over() {
        let inside = explicit(Tag(8, 0x60), b"CS", b"OT");
        let after = explicit(Tag(8, 0x2000), b"CS", b"DX");
        let bytes = [OPEN_SEQUENCE, OPEN_ITEM, &inside, CLOSE, &after].concat();
        let found = elements(&bytes, Encoding::Explicit).expect("well formed");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].value, b"DX");
        assert_eq!(items(found[0].value, Encoding::Explicit), Ok(vec![&inside[..]]));
    }

    #[test]
    fn deep_nesting_ends_in_a_rejection_and_not_in_the_stack() {
        let bytes = [OPEN_SEQUENCE, OPEN_ITEM].concat().repeat(1_000_000);
        assert!(elements(&bytes, Encoding::Explicit).is_err());
    }

    #[test]
    fn every_prefix_is_an_error_or_shorter() {
        let inside = explicit(Tag(8, 0x60), b"CS", b"OT");
        let bytes = [OPEN_SEQUENCE, OPEN_ITEM, &inside, CLOSE, &inside].concat();
        for end in 0..bytes.len() {
            let prefix = elements(&bytes[..end], Encoding::Explicit);
            assert!(prefix.is_err() || prefix.is_ok_and(|found| found.len() < 2), "{end}");
        }
    }
}
