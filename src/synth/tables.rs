//! Compressed tables, rows in a seeded disorder, the same bytes for the same seed.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::SynthError;
use super::dice::Dice;

/// Rows held back and shuffled together. MIMIC's tables are unsorted over their whole length; a
/// bounded block keeps memory flat and is disorder enough that nobody may rely on the order.
const SHUFFLE_ROWS: usize = 50_000;

/// One `.csv.gz` table being written.
pub(super) struct Table {
    path: PathBuf,
    writer: csv::Writer<GzEncoder<BufWriter<File>>>,
    waiting: Vec<csv::StringRecord>,
    columns: usize,
    rows: u64,
    dice: Dice,
}

impl Table {
    /// Creates the file with its header. The gzip header carries no time and no name, so that the
    /// bytes are a function of the rows.
    pub(super) fn create(path: &Path, header: &str, dice: Dice) -> Result<Self, SynthError> {
        let file = File::create(path).map_err(|error| SynthError::write(path, error))?;
        let gzip = GzBuilder::new().mtime(0).operating_system(255);
        let encoder = gzip.write(BufWriter::new(file), Compression::new(6));
        let mut writer = csv::Writer::from_writer(encoder);
        let names: Vec<&str> = header.split(',').collect();
        writer.write_record(&names).map_err(|error| SynthError::csv(path, error))?;
        let path = path.to_owned();
        Ok(Table { path, writer, waiting: Vec::new(), columns: names.len(), rows: 0, dice })
    }

    /// Adds a row; it must have as many fields as the header.
    pub(super) fn push<const N: usize>(&mut self, row: [&str; N]) -> Result<(), SynthError> {
        debug_assert_eq!(N, self.columns);
        self.waiting.push(csv::StringRecord::from(row.as_slice()));
        self.rows += 1;
        if self.waiting.len() >= SHUFFLE_ROWS { self.flush() } else { Ok(()) }
    }

    /// Writes what waits and closes the file; gives the number of rows.
    pub(super) fn finish(mut self) -> Result<u64, SynthError> {
        self.flush()?;
        let path = self.path;
        let encoder = self
            .writer
            .into_inner()
            .map_err(|error| SynthError::write(&path, error.into_error()))?;
        let buffer = encoder.finish().map_err(|error| SynthError::write(&path, error))?;
        let file =
            buffer.into_inner().map_err(|error| SynthError::write(&path, error.into_error()))?;
        file.sync_all().map_err(|error| SynthError::write(&path, error))?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), SynthError> {
        self.dice.shuffle(&mut self.waiting);
        for row in self.waiting.drain(..) {
            self.writer.write_record(&row).map_err(|error| SynthError::csv(&self.path, error))?;
        }
        Ok(())
    }
}
