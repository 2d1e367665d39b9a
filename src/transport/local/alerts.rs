//! The alerts of a local log, followed while another process writes it or after that. Positions lie
//! in a file of the consumer's own, for the log is not ours to write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::LogError;
use super::log::LocalLog;
use super::outlet::topic_of_kind;
use super::reader::LogReader;
use crate::ports::{AlertFeed, AlertPlace, AlertStored, OutputKind, PortError};

/// The most that a file of positions may have.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Follows the topic of alerts in one log.
pub struct LocalAlerts {
    log: PathBuf,
    positions: PathBuf,
    /// The next offset to read, by partition.
    next: BTreeMap<u32, u64>,
    committed: BTreeMap<u32, u64>,
    /// A log of another process shows what it held when it was opened, so it is opened again when
    /// all of that was read.
    readers: BTreeMap<u32, LogReader>,
}

impl LocalAlerts {
    /// Goes on in the log in directory `log` where the file `positions` says, or begins with the
    /// first alert.
    ///
    /// # Errors
    /// `Stop` if the file cannot be read.
    pub fn open(log: &Path, positions: &Path) -> Result<Self, PortError> {
        let committed = read_positions(positions).map_err(|why| {
            let path = positions.display();
            PortError::Stop(format!("{path} holds no positions ({why}); remove it to begin anew"))
        })?;
        Ok(LocalAlerts {
            log: log.to_path_buf(),
            positions: positions.to_path_buf(),
            next: committed.clone(),
            committed,
            readers: BTreeMap::new(),
        })
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        self.readers.clear();
        let log = LocalLog::open_read_only(&self.log)?;
        let topic = topic_of_kind(OutputKind::Alert);
        for (name, number) in log.list()? {
            if name != topic {
                continue;
            }
            let partition = log.partition(&name, number)?;
            if partition.end() > partition.start() {
                let from = self.next.get(&number).copied().unwrap_or_default();
                let from = from.clamp(partition.start(), partition.end());
                self.readers.insert(number, partition.reader(from)?);
            }
        }
        Ok(())
    }

    fn take(&mut self, max: usize, into: &mut Vec<AlertStored>) -> Result<(), LogError> {
        for (&partition, reader) in &mut self.readers {
            while into.len() < max {
                let offset = reader.next_offset();
                let Some(record) = reader.read()? else { break };
                self.next.insert(partition, offset + 1);
                let place = AlertPlace { partition, offset };
                into.push(AlertStored { place, value: record.value });
            }
        }
        Ok(())
    }
}

impl AlertFeed for LocalAlerts {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<AlertStored>,
    ) -> Result<(), PortError> {
        let full = into.len().saturating_add(max);
        let before = into.len();
        self.take(full, into)?;
        if into.len() == before {
            self.reopen()?;
            self.take(full, into)?;
        }
        if into.len() == before {
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn commit(&mut self, next: &[AlertPlace]) -> Result<(), PortError> {
        self.committed.extend(next.iter().map(|place| (place.partition, place.offset)));
        write_positions(&self.positions, &self.committed).map_err(|error| {
            PortError::Retry(format!("{} cannot be written: {error}", self.positions.display()))
        })
    }
}

fn read_positions(path: &Path) -> Result<BTreeMap<u32, u64>, String> {
    let length = match std::fs::metadata(path) {
        Ok(file) => file.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    if length > MAX_FILE_BYTES {
        return Err(format!("{length} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whole or not at all: another name first, then the right one.
fn write_positions(path: &Path, positions: &BTreeMap<u32, u64>) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_string(positions)?)?;
    std::fs::rename(&beside, path)
}
