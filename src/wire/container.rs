//! Avro object container files: what a run leaves for programs that read files, not streams.

use apache_avro::{Schema, Writer};

use super::codec::Record;
use super::schemas::WireError;

/// `records` as one container file with its schema in the header.
pub fn container<R: Record>(records: impl IntoIterator<Item = R>) -> Result<Vec<u8>, WireError> {
    let failed = |error: apache_avro::Error| WireError::Encode {
        record: R::KIND.name(),
        cause: error.to_string(),
    };
    let schema = Schema::parse_str(R::KIND.schema_text()).map_err(failed)?;
    let mut writer = Writer::new(&schema, Vec::new()).map_err(failed)?;
    for record in records {
        writer.append_ser(record).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}
