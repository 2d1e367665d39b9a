//! Reads a directory in the format of the PhysioNet/CinC Challenge 2012: records of 48 hours
//! (`Time,Parameter,Value`), loose, in folders or in `.tar.gz` archives, and `Outcomes*.txt`.
//!
//! Every row is used, missing (−1, as the files write it), or rejected by the dictionary with its
//! reason; the counts add up to the rows of the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Serialize;

use super::super::TrainError;
use super::record::{HEADER, Record};
use crate::event::dictionary::Dictionary;

/// Bytes of one record or table at most; the largest record of set-a has 30 kB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Records of one directory at most; the Challenge has 12,000.
const RECORDS_MAX: usize = 200_000;
/// How deep folders are looked into.
const DEPTH_MAX: usize = 3;

/// What became of a stay. `None` where the table says −1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub died: bool,
    pub saps: Option<f32>,
    pub sofa: Option<f32>,
    pub length_of_stay_d: Option<f32>,
    /// Days from admission to death, in hospital or later.
    pub survival_d: Option<f32>,
}

/// One stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Stay {
    pub record: Record,
    /// `None` where no table names the record.
    pub outcome: Option<Outcome>,
}

/// What became of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    pub used: u64,
    /// Written as −1.
    pub missing: u64,
    /// By the code of the reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

/// A whole set of stays, in the order of their ids.
#[derive(Clone, Debug)]
pub struct Challenge {
    pub stays: Vec<Stay>,
    pub rows: RowCounts,
}

#[derive(Default)]
struct Found {
    records: BTreeMap<u32, Record>,
    outcomes: BTreeMap<u32, Outcome>,
    rows: RowCounts,
}

/// Reads everything below `dir`. Files that are neither records nor outcomes are passed over.
///
/// # Errors
/// [`TrainError::Data`] for what cannot be read, a record that occurs twice, or no record at all.
pub fn read(dir: &Path, dict: &Dictionary) -> Result<Challenge, TrainError> {
    let mut found = Found::default();
    for path in files(dir)? {
        let file = File::open(&path).map_err(|error| fault(&path, &error))?;
        if is_named(&path, ".tar.gz") || is_named(&path, ".tgz") {
            found.archive(file, &path, dict)?;
        } else {
            found.file(file, &path, dict)?;
        }
    }
    let Found { records, mut outcomes, rows } = found;
    if records.is_empty() {
        return Err(TrainError::Data(format!(
            "{} holds no record that begins with {HEADER}; name a directory with set-a.tar.gz or \
             its text files",
            dir.display()
        )));
    }
    let stays = records.into_iter();
    let stays = stays.map(|(id, record)| Stay { record, outcome: outcomes.remove(&id) }).collect();
    Ok(Challenge { stays, rows })
}

/// The files that may matter, in an order that does not depend on the file system.
fn files(dir: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = open.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|error| fault(&dir, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| fault(&dir, &error))?.path();
            if path.is_dir() {
                if depth < DEPTH_MAX {
                    open.push((path, depth + 1));
                }
            } else if [".txt", ".tar.gz", ".tgz"].iter().any(|end| is_named(&path, end)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_named(path: &Path, end: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end))
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Data(format!("cannot read {}: {error}; check the file", path.display()))
}

impl Found {
    fn archive(&mut self, file: File, path: &Path, dict: &Dictionary) -> Result<(), TrainError> {
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let entries = archive.entries().map_err(|error| fault(path, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| fault(path, &error))?;
            let name = entry.path().map_err(|error| fault(path, &error))?.into_owned();
            if entry.header().entry_type().is_file() && is_named(&name, ".txt") {
                self.file(entry, &path.join(name), dict)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: impl Read, path: &Path, dict: &Dictionary) -> Result<(), TrainError> {
        let mut text = String::new();
        let mut from = from.take(FILE_BYTES_MAX + 1);
        from.read_to_string(&mut text).map_err(|error| fault(path, &error))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(fault(path, &format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let first = text.lines().next().unwrap_or_default().trim();
        if first == HEADER {
            return self.record(&text, path, dict);
        }
        if first.starts_with("RecordID,") {
            return self.table(&text, path);
        }
        Ok(())
    }

    fn record(&mut self, text: &str, path: &Path, dict: &Dictionary) -> Result<(), TrainError> {
        let record = Record::parse(text, dict, &mut self.rows);
        let record = record.map_err(|why| fault(path, &why))?;
        if self.records.len() >= RECORDS_MAX {
            return Err(fault(path, &format!("there are more than {RECORDS_MAX} records")));
        }
        match self.records.insert(record.id, record) {
            Some(twice) => Err(fault(path, &format!("record {} occurs twice", twice.id))),
            None => Ok(()),
        }
    }

    /// A table of outcomes; columns are found by name.
    fn table(&mut self, text: &str, path: &Path) -> Result<(), TrainError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let column = |name: &str| {
            let place = header.iter().position(|known| known.trim() == name);
            place.ok_or_else(|| fault(path, &format!("there is no column {name}")))
        };
        let names = ["RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival"];
        let [id, saps, sofa, length, survival] = names.map(column);
        let (id, saps, sofa, length, survival) = (id?, saps?, sofa?, length?, survival?);
        let died = column("In-hospital_death")?;
        for line in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let number = |place: usize| cells.get(place).and_then(|cell| cell.parse::<f32>().ok());
            let known = |place: usize| number(place).filter(|number| *number >= 0.0);
            let key = cells.get(id).and_then(|cell| cell.parse::<u32>().ok());
            let dead = number(died).filter(|dead| [0.0, 1.0].contains(dead));
            let (Some(key), Some(dead)) = (key, dead) else {
                return Err(fault(path, &format!("{line:?} has no record id or no 0 or 1 death")));
            };
            let outcome = Outcome {
                died: dead == 1.0,
                saps: known(saps),
                sofa: known(sofa),
                length_of_stay_d: known(length),
                survival_d: known(survival),
            };
            if self.outcomes.insert(key, outcome).is_some() {
                return Err(fault(path, &format!("record {key} has two outcomes")));
            }
        }
        Ok(())
    }
}
