//! How far the reading is, for a progress bar with an estimate of the time left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A report about the table being read. Bytes are those of the file, compressed if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    pub table: &'a str,
    pub rows: u64,
    pub bytes_read: u64,
    /// Of all tables that this replay reads.
    pub bytes_read_in_all: u64,
    pub bytes_in_all: u64,
}

/// Bytes read of one file, shared with the thread that reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteCount(Arc<AtomicU64>);

impl ByteCount {
    pub(super) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
