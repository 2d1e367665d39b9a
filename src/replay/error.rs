//! What can stop a replay, split by what its caller does about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::ports::PortError;

/// A single bad row never stops a replay: it becomes a dead letter. These do.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The input is not there, or not in the layout that we read.
    #[error("{path}: {problem}")]
    Layout { path: PathBuf, problem: String },
    /// A table lacks columns that the replay needs.
    #[error(
        "{file}: missing columns {missing:?} (the header has {found:?}); \
         this reader knows MIMIC-IV 2.2 and 3.1 and MIMIC-CXR 2.0 and 2.1, use unmodified files"
    )]
    MissingColumns { file: String, missing: Vec<String>, found: Vec<String> },
    /// A table could not be read on.
    #[error("{file}:{row}: {source}; compare the file with SHA256SUMS.txt and download it again")]
    Read { file: String, row: u64, source: io::Error },
    /// The sorted runs could not be written or read.
    #[error("{path}: {source}; free space there, or set TMPDIR to another directory")]
    Spill { path: PathBuf, source: io::Error },
    /// A setting or the cohort file makes no sense.
    #[error("{0}")]
    Config(String),
    /// The checkpoint cannot be used.
    #[error("{path}: {problem}")]
    Checkpoint { path: PathBuf, problem: String },
    /// Whoever takes the records failed.
    #[error(transparent)]
    Sink(#[from] PortError),
    /// A record could not be encoded. A fault of this program.
    #[error("could not encode a record of topic {topic}: {problem}; please report this")]
    Encode { topic: &'static str, problem: String },
}

impl ReplayError {
    pub(super) fn layout(path: &Path, problem: impl Into<String>) -> Self {
        ReplayError::Layout { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn spill(path: &Path, source: io::Error) -> Self {
        ReplayError::Spill { path: path.to_owned(), source }
    }

    pub(super) fn checkpoint(path: &Path, problem: impl Into<String>) -> Self {
        ReplayError::Checkpoint { path: path.to_owned(), problem: problem.into() }
    }
}
