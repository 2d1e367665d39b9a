//! The predictions as a Parquet file, for other people's evaluations: the columns of MEDS's
//! prediction schema (`subject_id`, `prediction_time`, `boolean_value`,
//! `predicted_boolean_probability`), and the twins beside them.
//!
//! `subject_id` is the stay's id: patients' own identifiers never leave the replay.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{BoolType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::EvaluateError;
use super::intake::Sample;

const SCHEMA: &str = "message predictions {
    required int64 subject_id;
    required int64 prediction_time (TIMESTAMP(MICROS,false));
    required boolean boolean_value;
    required double predicted_boolean_probability;
    optional double carry_forward_probability;
    optional double ehr_only_probability;
    optional double film_age_hours;
    required double hours_since_admission;
}";

/// Rows written together; bounds the writer's memory.
const ROWS_PER_GROUP: usize = 100_000;

/// Writes the samples in their order.
///
/// # Errors
/// [`EvaluateError::File`].
pub fn write_parquet(path: &Path, samples: &[Sample]) -> Result<(), EvaluateError> {
    let file = File::create(path).map_err(|error| EvaluateError::file(path, error))?;
    write(file, samples).map_err(|error| EvaluateError::file(path, error))
}

fn write(file: File, samples: &[Sample]) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_created_by("nowcxr".to_owned()).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    for block in samples.chunks(ROWS_PER_GROUP) {
        let mut group = writer.next_row_group()?;
        let all = |of: &dyn Fn(&Sample) -> i64| -> Vec<i64> { block.iter().map(of).collect() };
        whole(&mut group, &all(&|s| s.stay.0.cast_signed()))?;
        whole(&mut group, &all(&|s| s.t.as_millis().saturating_mul(1_000)))?;
        let died: Vec<bool> = block.iter().map(|sample| sample.died).collect();
        if let Some(mut column) = group.next_column()? {
            column.typed::<BoolType>().write_batch(&died, None, None)?;
            column.close()?;
        }
        number(&mut group, block, false, &|s| Some(s.mortality))?;
        number(&mut group, block, true, &|s| s.carry_forward)?;
        number(&mut group, block, true, &|s| s.ehr_only)?;
        number(&mut group, block, true, &|s| s.film_age)?;
        number(&mut group, block, false, &|s| Some(s.hours))?;
        group.close()?;
    }
    writer.close().map(|_| ())
}

fn whole(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[i64],
) -> Result<(), ParquetError> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}

/// A column of numbers; an optional one says for each row whether there is a value.
fn number(
    group: &mut SerializedRowGroupWriter<'_, File>,
    samples: &[Sample],
    optional: bool,
    of: &dyn Fn(&Sample) -> Option<f64>,
) -> Result<(), ParquetError> {
    let cells: Vec<Option<f64>> = samples.iter().map(of).collect();
    let values: Vec<f64> = cells.iter().flatten().copied().collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    if let Some(mut column) = group.next_column()? {
        let levels = optional.then_some(levels.as_slice());
        column.typed::<DoubleType>().write_batch(&values, levels, None)?;
        column.close()?;
    }
    Ok(())
}
