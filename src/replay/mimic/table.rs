//! One MIMIC table: a CSV file whose columns are addressed by name.

use std::path::{Path, PathBuf};

use memchr::memchr_iter;

use super::lines::Lines;
use crate::replay::error::ReplayError;

/// Records between two calls of a progress callback.
pub const PROGRESS_EVERY: u64 = 100_000;

/// A table open for reading. `N` is the number of columns that were asked for.
pub struct Table<const N: usize> {
    name: &'static str,
    path: PathBuf,
    lines: Lines,
    columns: [Option<usize>; N],
    /// One more than the largest column index asked for.
    width: usize,
    record: Fields,
    row: u64,
}

/// One record's fields, split once and unquoted, in buffers that are used again.
#[derive(Default)]
struct Fields {
    text: Vec<u8>,
    /// End of each field in `text`.
    ends: Vec<usize>,
}

/// A record of a table.
pub struct Row<'a, const N: usize> {
    fields: &'a Fields,
    columns: &'a [Option<usize>; N],
    /// Number of the record in its file; the header is 1.
    pub number: u64,
    /// It has too few fields, or a quote that is never closed.
    pub broken: bool,
}

/// What [`Table::next_where`] found.
pub enum Next<'a, const N: usize> {
    End,
    /// A record that `wanted` refused; it was not split.
    Passed,
    Row(Row<'a, N>),
}

impl<const N: usize> Table<N> {
    /// Opens `dir/name.csv` or `dir/name.csv.gz`. A column whose name ends in `?` may be absent
    /// and then reads as empty.
    pub fn open(dir: &Path, name: &'static str, columns: [&str; N]) -> Result<Self, ReplayError> {
        let path = find(dir, name)?;
        let read = |row, source| ReplayError::Read { file: show(&path), row, source };
        let mut lines = Lines::open(&path).map_err(|error| read(0, error))?;
        let mut fields = Fields::default();
        if let Some(line) = lines.next_line().map_err(|error| read(1, error))? {
            fields
                .split(line.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line.bytes), line.quoted);
        }
        let header = fields.names();
        let position = |column: &str| header.iter().position(|name| name == column);
        let missing: Vec<String> = columns
            .iter()
            .filter(|column| !column.ends_with('?') && position(column).is_none())
            .map(|column| (*column).to_owned())
            .collect();
        if !missing.is_empty() {
            let file = show(&path);
            return Err(ReplayError::MissingColumns { file, missing, found: header });
        }
        let columns = columns.map(|column| position(column.trim_end_matches('?')));
        let width = columns.iter().flatten().max().map_or(0, |last| last + 1);
        Ok(Table { name, path, lines, columns, width, record: fields, row: 1 })
    }

    /// The table's name, such as `hosp/labevents`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Records read so far, the header not counted.
    pub fn rows(&self) -> u64 {
        self.row - 1
    }

    /// Bytes of the file read so far.
    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// The next record.
    pub fn next_row(&mut self) -> Result<Option<Row<'_, N>>, ReplayError> {
        match self.next_where(0, |_| true)? {
            Next::Row(row) => Ok(Some(row)),
            Next::End | Next::Passed => Ok(None),
        }
    }

    /// The next record, split only if `wanted` says so of its field `column`. A record that is
    /// too short to have that field, or is broken, is always handed out.
    pub fn next_where(
        &mut self,
        column: usize,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Next<'_, N>, ReplayError> {
        let number = self.row + 1;
        let file = &self.path;
        let read = |source| ReplayError::Read { file: show(file), row: number, source };
        let Some(line) = self.lines.next_line().map_err(read)? else { return Ok(Next::End) };
        self.row = number;
        let at = self.columns.get(column).copied().flatten().unwrap_or(0);
        if !line.broken
            && let Some(field) = field_before_quotes(line.bytes, at, line.quoted)
            && !wanted(field)
        {
            return Ok(Next::Passed);
        }
        self.record.split(line.bytes, line.quoted && !line.broken);
        let broken = line.broken || self.record.ends.len() < self.width;
        if !broken && line.quoted && !wanted(self.record.get(at)) {
            return Ok(Next::Passed);
        }
        Ok(Next::Row(Row { fields: &self.record, columns: &self.columns, number, broken }))
    }
}

impl<const N: usize> Row<'_, N> {
    /// A field by its place in the list of columns given to [`Table::open`]; empty means null.
    pub fn get(&self, column: usize) -> &[u8] {
        match self.columns.get(column).copied().flatten() {
            Some(at) => self.fields.get(at),
            None => &[],
        }
    }

    /// A field as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, column: usize) -> String {
        String::from_utf8_lossy(self.get(column)).into_owned()
    }
}

impl Fields {
    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        match self.ends.get(index) {
            Some(&end) => &self.text[start.unwrap_or(0)..end],
            None => &[],
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |i| String::from_utf8_lossy(self.get(i)).trim().to_owned();
        (0..self.ends.len()).map(name).collect()
    }

    /// Splits a record at its commas; doubled quotes inside a quoted field stand for one.
    fn split(&mut self, record: &[u8], quoted: bool) {
        self.text.clear();
        self.ends.clear();
        if !quoted {
            let mut start = 0;
            for comma in memchr_iter(b',', record) {
                self.push(&record[start..comma]);
                start = comma + 1;
            }
            self.push(&record[start..]);
            return;
        }
        let (mut inside, mut i) = (false, 0);
        while let Some(&byte) = record.get(i) {
            match byte {
                b'"' if inside && record.get(i + 1) == Some(&b'"') => {
                    self.text.push(b'"');
                    i += 1;
                }
                b'"' => inside = !inside,
                b',' if !inside => self.ends.push(self.text.len()),
                _ => self.text.push(byte),
            }
            i += 1;
        }
        self.ends.push(self.text.len());
    }

    fn push(&mut self, field: &[u8]) {
        self.text.extend_from_slice(field);
        self.ends.push(self.text.len());
    }
}

/// Field `index`, if no quote stands in or before it, so that commas are what they seem.
fn field_before_quotes(record: &[u8], index: usize, quoted: bool) -> Option<&[u8]> {
    let mut start = 0;
    let mut commas = memchr_iter(b',', record);
    for _ in 0..index {
        start = commas.next()? + 1;
    }
    let end = commas.next().unwrap_or(record.len());
    (!quoted || !record[..end].contains(&b'"')).then(|| &record[start..end])
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// `dir/name.csv` or `dir/name.csv.gz`.
pub fn find(dir: &Path, name: &str) -> Result<PathBuf, ReplayError> {
    let candidates = [dir.join(format!("{name}.csv")), dir.join(format!("{name}.csv.gz"))];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        let advice = "name the directory of the data set itself, or complete its download";
        let missing = format!("holds neither {name}.csv nor {name}.csv.gz; {advice}");
        ReplayError::layout(dir, missing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open<const N: usize>(text: &str, columns: [&str; N]) -> (tempfile::TempDir, Table<N>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.csv"), text).unwrap();
        let table = Table::open(dir.path(), "t", columns).unwrap();
        (dir, table)
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let (_dir, mut table) = open("\u{feff}b,c,a\r\n1,\"x, \"\"y\"\"\",2\r\n", ["a", "c", "z?"]);
        let row = table.next_row().unwrap().unwrap();
        assert_eq!((row.get(0), row.get(1), row.get(2)), (&b"2"[..], &b"x, \"y\""[..], &b""[..]));
        assert_eq!((row.number, row.broken), (2, false));
        assert!(table.next_row().unwrap().is_none());
    }

    #[test]
    fn missing_columns_are_named_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.csv"), "a,b\n").unwrap();
        let error = Table::open(dir.path(), "t", ["a", "x", "y"]).err().unwrap().to_string();
        assert!(error.contains("t.csv: missing columns [\"x\", \"y\"]"), "{error}");
    }

    #[test]
    fn refused_rows_are_passed_and_short_ones_handed_out() {
        let (_dir, mut table) = open("s,i,v\n1,7,a\n2,8,b\n3\n\"4\",7,c\n5,8,\"d\n", ["i", "v"]);
        let mut seen = Vec::new();
        loop {
            match table.next_where(0, |item| item == b"8").unwrap() {
                Next::End => break,
                Next::Passed => seen.push("passed".to_owned()),
                Next::Row(row) => seen.push(format!("{} {}", row.text(1), row.broken)),
            }
        }
        assert_eq!(seen, ["passed", "b false", " true", "passed", "\"d true"]);
        assert_eq!(table.rows(), 5);
    }
}
