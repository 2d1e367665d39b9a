//! The minimal lower layer protocol: `<VT> message <FS> <CR>` on a stream of bytes.

use thiserror::Error;

use super::message::MAX_MESSAGE_BYTES;

const START: u8 = 0x0b;
const END: u8 = 0x1c;
/// Bytes before a start of block that are passed over: line ends and spaces, by which some senders
/// part their blocks.
const FILLER: [u8; 4] = [b'\r', b'\n', b' ', 0];

/// What does not keep to the protocol. The connection cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("bytes outside a block; begin each message with 0B and end it with 1C 0D")]
    Stray,
    #[error("a block of more than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
}

/// Puts blocks together from whatever pieces they come in. Holds at most one message.
#[derive(Debug, Default)]
pub struct Deframer {
    /// Bytes that came and were not handed out, without a filler in front.
    held: Vec<u8>,
    /// How far `held` was searched for the end of its block.
    searched: usize,
}

impl Deframer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if more bytes are needed. A carriage return that is missing
    /// behind the end of a block is taken as given.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if self.searched == 0 {
            let filler = self.held.iter().take_while(|byte| FILLER.contains(byte)).count();
            self.held.drain(..filler);
        }
        match self.held.first() {
            None => return Ok(None),
            Some(&START) => {}
            Some(_) => return Err(FrameError::Stray),
        }
        let from = self.searched.max(1);
        let rest = self.held.get(from..).unwrap_or_default();
        let Some(length) = memchr::memchr(END, rest) else {
            self.searched = self.held.len();
            let too_long = self.held.len() > MAX_MESSAGE_BYTES;
            return if too_long { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let end = from + length;
        if end > MAX_MESSAGE_BYTES {
            return Err(FrameError::TooLong);
        }
        let message = self.held.get(1..end).unwrap_or_default().to_vec();
        self.held.drain(..=end);
        self.searched = 0;
        Ok(Some(message))
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.held.is_empty()
    }
}

/// A message in its block.
pub fn frame(message: &str) -> Vec<u8> {
    [&[START], message.as_bytes(), &[END, b'\r']].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameError> {
        let (mut deframer, mut found) = (Deframer::default(), Vec::new());
        for piece in pieces {
            deframer.push(piece);
            while let Some(message) = deframer.next_message()? {
                found.push(message);
            }
        }
        Ok(found)
    }

    #[test]
    fn blocks_may_lack_their_return_and_be_parted_by_line_ends() {
        let found = all(&[b"\x0bA\x1c\x0bB\x1c\r\n\n\x0bC", b"D\x1c", b"\r"]).unwrap();
        assert_eq!(found, [&b"A"[..], b"B", b"CD"]);
        assert_eq!(all(&[b"GET / HTTP/1.1"]), Err(FrameError::Stray));
    }

    #[test]
    fn a_block_has_a_bound() {
        let piece = vec![b'x'; MAX_MESSAGE_BYTES];
        assert_eq!(all(&[b"\x0b", &piece, b"xx"]), Err(FrameError::TooLong));
        assert_eq!(all(&[b"\x0bx", &piece, b"\x1c"]), Err(FrameError::TooLong));
    }

    proptest! {
        #[test]
        fn messages_come_out_however_the_stream_is_cut(
            messages in prop::collection::vec("[ -~\\r\\n]{0,40}", 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let mut places: Vec<usize> =
                cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> =
                places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let found = all(&pieces).unwrap();
            let expected: Vec<Vec<u8>> = messages.iter().map(|m| m.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn garbage_never_panics(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = all(&pieces);
        }
    }
}
