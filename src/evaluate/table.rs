//! The predictions as a Parquet file, for other people's evaluations: the columns of MEDS's
//! prediction schema (`subject_id`, `prediction_time`, `boolean_value`,
//! `predicted_boolean_probability`), and the twins beside them.
//!
//! `subject_id` is the stay's id: patients' own identifiers never leave the replay.
//!
//! Written by hand, because one plain table needs one page of Parquet's specification (a data page
//! v1 a column, PLAIN values, no compression, a footer in Thrift's compact protocol), and the crate
//! `parquet` changes the features of what burn is built on, which then all builds anew.

use std::path::Path;

use super::EvaluateError;
use super::intake::Sample;

/// Rows written together; bounds a page.
const ROWS_PER_GROUP: usize = 100_000;

const MAGIC: &[u8; 4] = b"PAR1";

/// Parquet's numbers of physical types.
const BOOLEAN: i64 = 0;
const INT64: i64 = 2;
const DOUBLE: i64 = 5;

/// A column: name, physical type, whether it may be empty, whether it is a time.
struct Column {
    name: &'static str,
    kind: i64,
    optional: bool,
    time: bool,
    values: fn(&[Sample]) -> Values,
}

enum Values {
    Whole(Vec<i64>),
    Truth(Vec<bool>),
    Number(Vec<Option<f64>>),
}

const fn number(name: &'static str, optional: bool, values: fn(&[Sample]) -> Values) -> Column {
    Column { name, kind: DOUBLE, optional, time: false, values }
}

const COLUMNS: [Column; 8] = [
    Column {
        name: "subject_id",
        kind: INT64,
        optional: false,
        time: false,
        values: |rows| Values::Whole(rows.iter().map(|s| s.stay.0.cast_signed()).collect()),
    },
    Column {
        name: "prediction_time",
        kind: INT64,
        optional: false,
        time: true,
        values: |rows| {
            Values::Whole(rows.iter().map(|s| s.t.as_millis().saturating_mul(1_000)).collect())
        },
    },
    Column {
        name: "boolean_value",
        kind: BOOLEAN,
        optional: false,
        time: false,
        values: |rows| Values::Truth(rows.iter().map(|s| s.died).collect()),
    },
    number("predicted_boolean_probability", false, |rows| {
        Values::Number(rows.iter().map(|s| Some(s.mortality)).collect())
    }),
    number("carry_forward_probability", true, |rows| {
        Values::Number(rows.iter().map(|s| s.carry_forward).collect())
    }),
    number("ehr_only_probability", true, |rows| {
        Values::Number(rows.iter().map(|s| s.ehr_only).collect())
    }),
    number("film_age_hours", true, |rows| {
        Values::Number(rows.iter().map(|s| s.film_age).collect())
    }),
    number("hours_since_admission", false, |rows| {
        Values::Number(rows.iter().map(|s| Some(s.hours)).collect())
    }),
];

/// Where a column's page lies.
struct Chunk {
    offset: usize,
    bytes: usize,
}

/// Writes the samples in their order.
///
/// # Errors
/// [`EvaluateError::File`].
pub fn write_parquet(path: &Path, samples: &[Sample]) -> Result<(), EvaluateError> {
    std::fs::write(path, table(samples)).map_err(|error| EvaluateError::file(path, error))
}

fn table(samples: &[Sample]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut groups = Vec::new();
    for rows in samples.chunks(ROWS_PER_GROUP) {
        let mut chunks = Vec::new();
        for column in &COLUMNS {
            let (offset, page) = (out.len(), page(column, rows));
            out.extend_from_slice(&page);
            chunks.push(Chunk { offset, bytes: page.len() });
        }
        groups.push((rows.len(), chunks));
    }
    let footer = footer(samples.len(), &groups);
    out.extend_from_slice(&footer);
    out.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

/// A data page with its header.
fn page(column: &Column, rows: &[Sample]) -> Vec<u8> {
    let mut data = Vec::new();
    match (column.values)(rows) {
        Values::Whole(values) => values.iter().for_each(|v| data.extend(v.to_le_bytes())),
        Values::Truth(values) => data = bits(&values),
        Values::Number(cells) => {
            if column.optional {
                let there: Vec<bool> = cells.iter().map(Option::is_some).collect();
                let packed = bits(&there);
                // Definition levels: one run of groups of eight, one bit each.
                let mut levels = Vec::new();
                varint(&mut levels, (packed.len() as u64) << 1 | 1);
                levels.extend(packed);
                data.extend((levels.len() as u32).to_le_bytes());
                data.extend(levels);
            }
            cells.iter().flatten().for_each(|v| data.extend(v.to_le_bytes()));
        }
    }
    let mut header = Thrift::default();
    header.int(1, 0);
    header.int(2, data.len() as i64);
    header.int(3, data.len() as i64);
    header.within(5, |header| {
        header.int(1, rows.len() as i64);
        header.int(2, 0);
        header.int(3, 3);
        header.int(4, 3);
    });
    let mut page = header.end();
    page.extend(data);
    page
}

fn footer(rows: usize, groups: &[(usize, Vec<Chunk>)]) -> Vec<u8> {
    let mut file = Thrift::default();
    file.int(1, 2);
    file.structs(2, COLUMNS.len() + 1, |index, element| match index.checked_sub(1) {
        None => {
            element.text(4, "predictions");
            element.int(5, COLUMNS.len() as i64);
        }
        Some(column) => describe(&COLUMNS[column], element),
    });
    file.long(3, rows as i64);
    file.structs(4, groups.len(), |index, group| {
        let (rows, chunks) = &groups[index];
        group.structs(1, COLUMNS.len(), |index, chunk| {
            chunk.long(2, chunks[index].offset as i64);
            chunk.within(3, |meta| locate(&COLUMNS[index], &chunks[index], *rows, meta));
        });
        group.long(2, chunks.iter().map(|chunk| chunk.bytes as i64).sum());
        group.long(3, *rows as i64);
    });
    file.text(6, "nowcxr");
    file.end()
}

/// A column's element of the schema.
fn describe(column: &Column, element: &mut Thrift) {
    element.int(1, column.kind);
    element.int(3, i64::from(column.optional));
    element.text(4, column.name);
    if column.time {
        // Microseconds, in a time zone of no name: MIMIC's times are shifted and naive.
        element.within(10, |logical| {
            logical.within(8, |timestamp| {
                timestamp.truth(1, false);
                timestamp.within(2, |unit| unit.within(2, |_| ()));
            });
        });
    }
}

/// A column chunk's metadata.
fn locate(column: &Column, chunk: &Chunk, rows: usize, meta: &mut Thrift) {
    meta.int(1, column.kind);
    meta.ints(2, &[0, 3]);
    meta.texts(3, &[column.name]);
    meta.int(4, 0);
    meta.long(5, rows as i64);
    meta.long(6, chunk.bytes as i64);
    meta.long(7, chunk.bytes as i64);
    meta.long(9, chunk.offset as i64);
}

/// Bits from the lowest up, as Parquet packs truths and levels.
fn bits(values: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| {
        eight.iter().enumerate().fold(0, |byte, (i, &value)| byte | u8::from(value) << i)
    };
    values.chunks(8).map(byte).collect()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A struct in Thrift's compact protocol. Fields must come in ascending order.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    fn field(&mut self, id: u8, kind: u8) {
        // Ids here never lie more than 15 apart.
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn zigzag(&mut self, value: i64) {
        varint(&mut self.bytes, (value << 1 ^ value >> 63).cast_unsigned());
    }

    fn truth(&mut self, id: u8, value: bool) {
        self.field(id, if value { 1 } else { 2 });
    }

    fn int(&mut self, id: u8, value: i64) {
        self.field(id, 5);
        self.zigzag(value);
    }

    fn long(&mut self, id: u8, value: i64) {
        self.field(id, 6);
        self.zigzag(value);
    }

    fn raw_text(&mut self, text: &str) {
        varint(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, id: u8, text: &str) {
        self.field(id, 8);
        self.raw_text(text);
    }

    fn within(&mut self, id: u8, fill: impl FnOnce(&mut Thrift)) {
        self.field(id, 12);
        let mut inner = Thrift::default();
        fill(&mut inner);
        self.bytes.extend(inner.end());
    }

    fn list(&mut self, id: u8, n: usize, kind: u8) {
        self.field(id, 9);
        if n < 15 {
            self.bytes.push((n as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            varint(&mut self.bytes, n as u64);
        }
    }

    fn ints(&mut self, id: u8, values: &[i64]) {
        self.list(id, values.len(), 5);
        values.iter().for_each(|value| self.zigzag(*value));
    }

    fn texts(&mut self, id: u8, values: &[&str]) {
        self.list(id, values.len(), 8);
        values.iter().for_each(|value| self.raw_text(value));
    }

    fn structs(&mut self, id: u8, n: usize, mut fill: impl FnMut(usize, &mut Thrift)) {
        self.list(id, n, 12);
        for index in 0..n {
            let mut inner = Thrift::default();
            fill(index, &mut inner);
            self.bytes.extend(inner.end());
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

#[cfg(test)]
pub(super) fn bytes_of(samples: &[Sample]) -> Vec<u8> {
    table(samples)
}
