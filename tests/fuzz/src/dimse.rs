//! DIMSE commands: an input is what a peer sends as one.

use nowcxr::edge::dicom::command::{MAX_COMMAND_BYTES, Request, Status};

use crate::memory::bounded;

/// Bytes that one command may need.
const MEMORY: usize = 4 << 20;
/// Bytes of an answer beyond the names that it repeats.
const MAX_ANSWER: usize = 512;

/// Holds whatever a peer asks.
pub fn check(bytes: &[u8]) {
    bounded(MEMORY, || {
        let Ok(request) = Request::read(bytes) else { return };
        assert!(bytes.len() <= MAX_COMMAND_BYTES);
        assert_eq!(Request::read(bytes).ok().as_ref(), Some(&request));
        for status in [Status::Success, Status::OutOfResources, Status::CannotUnderstand] {
            let comment = "no time: send it again ".repeat(8);
            let answer = request.answer(status, &comment).expect("what was read can be answered");
            assert!(answer.len().is_multiple_of(2) && answer.len() <= bytes.len() + MAX_ANSWER);
            // An answer is no request.
            assert!(Request::read(&answer).is_err());
        }
    });
}

/// The elements that matter, and the lengths that do not fit.
pub const WORDS: [&[u8]; 8] = [
    b"\0\0\x02\0",
    b"\0\0\0\x01",
    b"\0\0\x10\x01",
    b"\0\0\0\x08",
    b"\0\0\0\x10",
    b"\xff\xff\xff\xff",
    b"\x02\0\0\0\x01\0",
    b"\x02\0\0\0\x30\0",
];

/// An echo and a film, as peers ask for them.
pub fn seeds() -> Vec<Vec<u8>> {
    let element = |number: u16, value: &[u8]| {
        let length = (value.len() as u32).to_le_bytes();
        [&[0, 0], &number.to_le_bytes()[..], &length, value].concat()
    };
    let class = element(0x0002, b"1.2.840.10008.1.1\0");
    let word = |number: u16, word: u16| element(number, &word.to_le_bytes());
    let echo = [class.clone(), word(0x0100, 0x30), word(0x0110, 7), word(0x0800, 0x101)].concat();
    let instance = element(0x1000, b"1.2.840.99.1");
    let store = [class, word(0x0100, 1), word(0x0110, 8), word(0x0800, 1), instance].concat();
    vec![echo, store]
}
