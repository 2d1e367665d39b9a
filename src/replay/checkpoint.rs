//! How far a replay has come, so that it can go on after a stop. The order is total and the same
//! every time, so a count is a position; the last event's id proves that it is the same order.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::ReplayError;

/// A position in a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Digest of the settings.
    pub config: String,
    /// Digest of the files' names and lengths.
    pub data: String,
    /// Items told: events, marks and dead letters.
    pub items: u64,
    pub virtual_time_ms: i64,
    pub last_id: Option<String>,
}

impl Checkpoint {
    /// Replaces the file at `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), ReplayError> {
        let fail = |error: std::io::Error| ReplayError::checkpoint(path, error.to_string());
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| ReplayError::checkpoint(path, error.to_string()))?;
        let new = path.with_extension("new");
        let mut file = File::create(&new).map_err(fail)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
        fs::rename(&new, path).map_err(fail)?;
        match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail),
            None => Ok(()),
        }
    }

    /// The checkpoint at `path`; `None` if there is none yet.
    pub fn read(path: &Path) -> Result<Option<Self>, ReplayError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ReplayError::checkpoint(path, error.to_string())),
        };
        let broken = |error| {
            let advice = "remove the file to start from the beginning";
            ReplayError::checkpoint(path, format!("{error}; {advice}"))
        };
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    /// Whether a replay that stands at `start` may go on from here.
    pub(super) fn check(&self, start: &Checkpoint) -> Result<(), ReplayError> {
        let refuse = |what: &str| {
            let advice = "remove the checkpoint to start over";
            Err(ReplayError::Config(format!("cannot resume: {what}; {advice}")))
        };
        if self.config != start.config {
            return refuse("the replay's settings differ from those of the checkpoint");
        }
        if self.data != start.data {
            return refuse("the data files differ from those of the checkpoint");
        }
        if start.items > 0 {
            return refuse("this replay has already started");
        }
        Ok(())
    }

    /// Whether passing over the items led to the place that this checkpoint describes.
    pub(super) fn check_reached(&self, reached: &Checkpoint) -> Result<(), ReplayError> {
        if self.items == reached.items && self.last_id == reached.last_id {
            return Ok(());
        }
        Err(ReplayError::Config(
            "cannot resume: the recording has changed under the checkpoint; remove the checkpoint \
             to start over"
                .into(),
        ))
    }
}
