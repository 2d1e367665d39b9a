//! Reading the frames of one segment out of large blocks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{LogError, io};
use super::frame::{HEAD_BYTES, Head, Record};
use super::segment::{Segment, read_at};

/// Bytes read at a time; a larger record is read whole.
const BLOCK_BYTES: u64 = 256 * 1024;

/// Walks the frames of a segment, holding one block of it.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) segment: Arc<Segment>,
    block: Bytes,
    /// The byte of the file at which the block begins.
    block_at: u64,
    /// How much of the block has been taken.
    taken: usize,
    /// The offset that the next frame must have.
    next: u64,
}

/// What comes next in a segment.
pub(super) enum Step {
    /// A frame and where it lies in the block.
    Frame(Head, Range<usize>),
    /// Nothing before the limit.
    End,
    /// Bytes that are not the frame that must be here.
    Broken,
}

impl Blocks {
    /// Begins at the record `offset`, which stands at `byte`.
    pub(super) fn new(segment: Arc<Segment>, offset: u64, byte: u64) -> Self {
        Blocks { segment, block: Bytes::new(), block_at: byte, taken: 0, next: offset }
    }

    /// The next offset and its byte in the file.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.next, self.byte())
    }

    /// Takes the next frame that ends at or before the byte `limit`, and checks it.
    pub(super) fn step(&mut self, limit: u64) -> Result<Step, LogError> {
        let step = self.look(limit)?;
        if let Step::Frame(head, frame) = &step {
            if head.offset != self.next || !head.holds(&self.block[frame.clone()]) {
                return Ok(Step::Broken);
            }
            self.taken = frame.end;
            self.next += 1;
        }
        Ok(step)
    }

    /// The next frame, not taken and not checked.
    pub(super) fn look(&mut self, limit: u64) -> Result<Step, LogError> {
        let mut need = HEAD_BYTES;
        loop {
            if self.byte() >= limit {
                return Ok(Step::End);
            }
            if self.block.len() - self.taken < need && !self.fill(need, limit)? {
                return Ok(Step::Broken);
            }
            let Some(head) = Head::read(&self.block[self.taken..]) else {
                return Ok(Step::Broken);
            };
            match head.frame_bytes() {
                None => return Ok(Step::Broken),
                Some(bytes) if self.block.len() - self.taken >= bytes => {
                    return Ok(Step::Frame(head, self.taken..self.taken + bytes));
                }
                Some(bytes) => need = bytes,
            }
        }
    }

    /// The record of a frame that [`Blocks::step`] has just returned.
    pub(super) fn record(&self, head: &Head, frame: Range<usize>) -> Option<Record> {
        head.record(&self.block, frame.start, frame.end)
    }

    fn byte(&self) -> u64 {
        self.block_at + self.taken as u64
    }

    /// Reads a block from where the last one was taken to; false if the file has fewer than
    /// `need` bytes there before `limit`.
    fn fill(&mut self, need: usize, limit: u64) -> Result<bool, LogError> {
        let at = self.byte();
        let length = (limit - at).min(BLOCK_BYTES.max(need as u64)) as usize;
        if length < need {
            return Ok(false);
        }
        let mut block = vec![0u8; length];
        let read = read_at(&self.segment.file, &mut block, at);
        block.truncate(read.map_err(io("read", &self.segment.path))?);
        let enough = block.len() >= need;
        (self.block, self.block_at, self.taken) = (Bytes::from(block), at, 0);
        Ok(enough)
    }
}
