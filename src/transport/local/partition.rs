//! One partition: appends, group commit, segments, retention.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use std::os::unix::fs::FileExt;

use super::error::{LogError, io};
use super::frame::NewRecord;
use super::log::{Lock, LogOptions, Wake};
use super::reader::LogReader;
use super::recover::{TornTail, note_end, recover};
use super::segment::{MAX_WRITERS, Segment, Writers};
use crate::telemetry::{LogSegmentsDeleted, LogTailCut};
use crate::time::WallTime;

/// Appended bytes that may wait in memory for a write; one batch may come on top.
const BUFFER_BYTES: usize = 1 << 20;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record of the batch that was not a repetition.
    pub first: u64,
    /// One more than the last offset of the partition.
    pub next: u64,
    /// Records that the log had already; they were not appended again.
    pub repeated: u64,
}

/// One partition of one topic. Shared by the threads that append and those that read.
#[derive(Debug)]
pub struct Partition {
    name: String,
    dir: PathBuf,
    options: LogOptions,
    segments: RwLock<Vec<Arc<Segment>>>,
    /// One more than the last durable offset.
    durable: AtomicU64,
    writer: Mutex<Writer>,
    wake: Arc<Wake>,
    torn: Option<TornTail>,
    end_file: Option<File>,
    /// Held so that nobody else writes while this partition lives.
    _lock: Option<Arc<Lock>>,
}

#[derive(Debug)]
struct Writer {
    /// `None` when the log was opened for reading only.
    segment: Option<Arc<Segment>>,
    /// Bytes of the segment that are written.
    written: u64,
    /// Frames that are not yet written.
    buffer: Vec<u8>,
    next: u64,
    writers: Writers,
    /// Set when an fsync failed: what is on disk is unknown until the log is opened again.
    failed: Option<String>,
}

impl Partition {
    pub(super) fn open(
        dir: &Path,
        name: String,
        options: LogOptions,
        wake: Arc<Wake>,
        lock: Option<Arc<Lock>>,
    ) -> Result<Self, LogError> {
        let write = lock.is_some();
        let found = recover(dir, write)?;
        if let Some(TornTail { path, at, bytes }) = found.torn.as_ref().filter(|_| write) {
            LogTailCut { partition: &name, path, at: *at, bytes: *bytes }.emit();
        }
        let writer = Writer {
            segment: found.segments.last().filter(|_| write).map(Arc::clone),
            written: found.written,
            buffer: Vec::new(),
            next: found.next,
            writers: found.writers,
            failed: None,
        };
        Ok(Partition {
            name,
            dir: dir.to_path_buf(),
            options,
            segments: RwLock::new(found.segments),
            durable: AtomicU64::new(found.next),
            writer: Mutex::new(writer),
            wake,
            torn: found.torn,
            end_file: found.end_file.filter(|_| write),
            _lock: lock,
        })
    }

    /// `topic/partition`, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first offset that was not deleted.
    pub fn start(&self) -> u64 {
        self.segments().first().map_or(0, |segment| segment.base)
    }

    /// One more than the last durable offset.
    pub fn end(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// What opening cut off.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// The last sequence that `writer` has appended, durable or not.
    pub fn last_sequence(&self, writer: u64) -> Option<u64> {
        self.writer().writers.get(&writer).copied()
    }

    /// Appends a batch, stamped `at`. Records whose sequence is not above the last one of their
    /// writer count as repeated. Nothing is durable or visible before [`Partition::sync`]. On an
    /// error nothing of the batch was appended.
    pub fn append_batch(
        &self,
        records: &[NewRecord<'_>],
        at: WallTime,
    ) -> Result<Appended, LogError> {
        self.append(&mut self.writer(), records, at)
    }

    /// Appends a batch and makes it durable. On [`LogError::Full`] nothing was changed: unlike
    /// after [`Partition::append_batch`] and a failed sync, nothing of it waits to be written.
    pub fn append_durable(
        &self,
        records: &[NewRecord<'_>],
        at: WallTime,
    ) -> Result<Appended, LogError> {
        let mut writer = self.writer();
        writer.write_out()?;
        let before = (writer.next, writer.writers.clone());
        let appended = self.append(&mut writer, records, at)?;
        let segment = writer.usable(&self.dir)?;
        if let Err(error) = writer.write_out() {
            segment.forget_from(before.0);
            writer.buffer.clear();
            (writer.next, writer.writers) = before;
            return Err(error);
        }
        if let Err(error) = segment.file.sync_data() {
            return Err(self.fail(&mut writer, &error));
        }
        self.publish(&segment, writer.written, writer.next);
        Ok(appended)
    }

    fn append(
        &self,
        writer: &mut Writer,
        records: &[NewRecord<'_>],
        at: WallTime,
    ) -> Result<Appended, LogError> {
        let bytes = records.iter().try_fold(0, |sum, r| r.frame_bytes().map(|b| sum + b))?;
        writer.usable(&self.dir)?;
        writer.admit(records, &self.name)?;
        if writer.buffer.len() + bytes > BUFFER_BYTES {
            writer.write_out()?;
        }
        if writer.written + writer.buffer.len() as u64 >= self.options.segment_bytes {
            self.roll(writer)?;
        }
        let durable = self.end();
        let first = writer.next;
        let mut repeated = 0;
        for record in records {
            repeated += u64::from(!writer.push(record, at, durable));
        }
        Ok(Appended { first, next: writer.next, repeated })
    }

    /// Makes everything appended so far durable and visible. Several threads' appends share one
    /// fsync, which runs while others append.
    pub fn sync(&self) -> Result<(), LogError> {
        let mut writer = self.writer();
        let segment = writer.usable(&self.dir)?;
        if writer.next == self.end() {
            return Ok(());
        }
        writer.write_out()?;
        let (written, next) = (writer.written, writer.next);
        drop(writer);
        if let Err(error) = segment.file.sync_data() {
            return Err(self.fail(&mut self.writer(), &error));
        }
        self.publish(&segment, written, next);
        Ok(())
    }

    /// Deletes the segments all of whose records lie before `position`; returns how many. The
    /// newest segment stays.
    pub fn delete_before(&self, position: u64) -> Result<usize, LogError> {
        self.writer().usable(&self.dir)?;
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let ends = segments.iter().skip(1);
        let count = ends.take_while(|following| following.base <= position).count();
        for done in 0..count {
            // The first file goes first, so that a crash leaves no gap.
            let Some(oldest) = segments.first().map(Arc::clone) else { return Ok(done) };
            std::fs::remove_file(&oldest.path).map_err(io("delete", &oldest.path))?;
            segments.remove(0);
        }
        if count > 0 {
            let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
            synced.map_err(io("sync", &self.dir))?;
        }
        Ok(count)
    }

    /// Deletes the segments all of whose records were appended before `time`, oldest first, and
    /// none behind one that is younger; returns how many.
    pub fn delete_appended_before(self: &Arc<Self>, time: WallTime) -> Result<usize, LogError> {
        let bases: Vec<u64> = self.segments().iter().skip(1).map(|segment| segment.base).collect();
        let mut keep_from = self.start();
        for base in bases {
            // What follows in the log was appended later.
            match self.reader(base)?.peek_time()? {
                Some(at) if at <= time => keep_from = base,
                _ => break,
            }
        }
        let deleted = self.delete_before(keep_from)?;
        if deleted > 0 {
            LogSegmentsDeleted { partition: &self.name, segments: deleted, keep_from }.emit();
        }
        Ok(deleted)
    }

    /// A reader that begins at `position`.
    pub fn reader(self: &Arc<Self>, position: u64) -> Result<LogReader, LogError> {
        LogReader::new(Arc::clone(self), position)
    }

    /// A place to begin to read that lies before `offset`, not far; the start if there is none.
    pub(super) fn mark_before(&self, offset: u64) -> u64 {
        let Some(before) = offset.checked_sub(1) else { return self.start() };
        match self.segment_of(before) {
            Ok(segment) => segment.begin_for(before).0,
            Err(_) => self.start(),
        }
    }

    /// The segment that holds `position`, or will hold it if it is the end.
    pub(super) fn segment_of(&self, position: u64) -> Result<Arc<Segment>, LogError> {
        let (end, topic) = (self.end(), self.name.clone());
        if position > end {
            return Err(LogError::Beyond { topic, position, end });
        }
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base <= position);
        let found = after.checked_sub(1).and_then(|i| segments.get(i)).map(Arc::clone);
        let start = segments.first().map_or(0, |segment| segment.base);
        found.ok_or(LogError::Deleted { topic, position, start })
    }

    /// The segment that follows the one that begins at `base`.
    pub(super) fn segment_after(&self, base: u64) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base <= base);
        segments.get(after).map(Arc::clone)
    }

    /// Why the record at `position` is gone: deleted on purpose, or else `damage`.
    pub(super) fn lost(&self, position: u64, damage: LogError) -> LogError {
        let (topic, start) = (self.name.clone(), self.start());
        if position < start { LogError::Deleted { topic, position, start } } else { damage }
    }

    /// Ends the full segment durably and begins the next.
    fn roll(&self, writer: &mut Writer) -> Result<(), LogError> {
        writer.write_out()?;
        let full = writer.usable(&self.dir)?;
        if writer.next == full.base {
            return Ok(());
        }
        if let Err(error) = full.file.sync_data() {
            return Err(self.fail(writer, &error));
        }
        self.publish(&full, writer.written, writer.next);
        let segment = Segment::create(&self.dir, writer.next, full.base, &writer.writers)?;
        let segment = Arc::new(segment);
        writer.written = segment.start;
        writer.segment = Some(Arc::clone(&segment));
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
        Ok(())
    }

    fn publish(&self, segment: &Segment, written: u64, next: u64) {
        segment.publish(written);
        self.durable.fetch_max(next, Ordering::AcqRel);
        self.wake.all();
    }

    fn fail(&self, writer: &mut Writer, error: &std::io::Error) -> LogError {
        writer.failed = Some(error.to_string());
        LogError::Unknown { path: self.dir.clone(), reason: error.to_string() }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Partition {
    /// An orderly close says how far the log was durable, so that a tail lost later is noticed.
    fn drop(&mut self) {
        if let Some(file) = &self.end_file {
            note_end(file, self.end());
        }
    }
}

impl Writer {
    fn usable(&self, dir: &Path) -> Result<Arc<Segment>, LogError> {
        let path = dir.to_path_buf();
        if let Some(reason) = &self.failed {
            return Err(LogError::Unknown { path, reason: reason.clone() });
        }
        let read_only = || LogError::Refused(format!("{} is open for reading", path.display()));
        self.segment.clone().ok_or_else(read_only)
    }

    /// Refuses a batch that would bring more writers than a segment's head can name.
    fn admit(&self, records: &[NewRecord<'_>], name: &str) -> Result<(), LogError> {
        if self.writers.len() + records.len() <= MAX_WRITERS {
            return Ok(());
        }
        let unknown = records.iter().filter(|r| !self.writers.contains_key(&r.writer));
        let new: std::collections::BTreeSet<u64> = unknown.map(|r| r.writer).collect();
        if self.writers.len() + new.len() <= MAX_WRITERS {
            return Ok(());
        }
        Err(LogError::Refused(format!(
            "{name} knows {MAX_WRITERS} writers already; use one writer id for each program"
        )))
    }

    /// Buffers one record; false if its writer has sent it before.
    fn push(&mut self, record: &NewRecord<'_>, at: WallTime, durable: u64) -> bool {
        if self.writers.get(&record.writer).is_some_and(|last| record.sequence <= *last) {
            return false;
        }
        if let Some(segment) = &self.segment {
            segment.note(self.next, self.written + self.buffer.len() as u64);
        }
        let lag = u32::try_from(self.next.saturating_sub(durable)).unwrap_or(u32::MAX);
        record.encode(self.next, at, lag, &mut self.buffer);
        self.writers.insert(record.writer, record.sequence);
        self.next += 1;
        true
    }

    /// Writes the buffer. If it fails the buffer stays, and the next attempt writes it whole to
    /// the same place.
    fn write_out(&mut self) -> Result<(), LogError> {
        let Some(segment) = self.segment.as_ref().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        let written = segment.file.write_all_at(&self.buffer, self.written);
        written.map_err(io("write", &segment.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }
}
