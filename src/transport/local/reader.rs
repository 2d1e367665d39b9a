//! Reading one partition in order, across its segments, up to what is durable.

use std::sync::Arc;

use super::blocks::{Blocks, Step};
use super::error::LogError;
use super::frame::Record;
use super::partition::Partition;
use crate::time::WallTime;

/// A cursor over one partition. It may stand still at the end and go on when more is durable.
#[derive(Debug)]
pub struct LogReader {
    partition: Arc<Partition>,
    blocks: Blocks,
}

impl LogReader {
    /// Begins at `position`, which lies in the log or at its end.
    pub(super) fn new(partition: Arc<Partition>, position: u64) -> Result<Self, LogError> {
        let segment = partition.segment_of(position)?;
        let (offset, byte) = segment.begin_for(position);
        let mut reader = LogReader { partition, blocks: Blocks::new(segment, offset, byte) };
        while reader.next_offset() < position {
            if reader.read()?.is_none() {
                return Err(reader.damaged());
            }
        }
        Ok(reader)
    }

    /// The offset of the record that [`LogReader::read`] returns next.
    pub fn next_offset(&self) -> u64 {
        self.blocks.position().0
    }

    /// The next durable record, or `None` at the end.
    pub fn read(&mut self) -> Result<Option<Record>, LogError> {
        loop {
            let published = self.blocks.segment.published();
            match self.blocks.step(published)? {
                Step::Frame(head, frame) => {
                    let record = self.blocks.record(&head, frame);
                    return record.map(Some).ok_or_else(|| self.damaged());
                }
                Step::End if self.follow()? => {}
                Step::End => return Ok(None),
                Step::Broken => return Err(self.damaged()),
            }
        }
    }

    /// When the next durable record was appended, or `None` at the end.
    pub fn peek_time(&mut self) -> Result<Option<WallTime>, LogError> {
        loop {
            let published = self.blocks.segment.published();
            match self.blocks.look(published)? {
                Step::Frame(head, _) => return Ok(Some(head.appended_at)),
                Step::End if self.follow()? => {}
                Step::End => return Ok(None),
                Step::Broken => return Err(self.damaged()),
            }
        }
    }

    /// Goes over to the segment that begins where this one ends, if there is one.
    fn follow(&mut self) -> Result<bool, LogError> {
        let (next, _) = self.blocks.position();
        let Some(segment) = self.partition.segment_after(self.blocks.segment.base) else {
            return Ok(false);
        };
        if segment.base != next {
            // The rest of this segment is missing, or was deleted under a slow reader.
            return Err(self.partition.lost(next, self.damaged()));
        }
        let start = segment.start;
        self.blocks = Blocks::new(segment, next, start);
        Ok(true)
    }

    fn damaged(&self) -> LogError {
        let (offset, at) = self.blocks.position();
        LogError::Damaged { path: self.blocks.segment.path.clone(), at, offset }
    }
}
