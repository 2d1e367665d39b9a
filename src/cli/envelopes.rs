//! The envelopes of a run's risk events as a file beside them: when and where each was made, by
//! which program and commit, after which records, and how long its window had waited. What is in
//! here differs between runs that say the same.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, Value};

use super::exports::write_lines;
use crate::ports::OutputKind;
use crate::transport::local::{LocalLog, outputs};
use crate::wire::Codec;

/// Writes `envelope.jsonl` into `dir` from the output log of task 0: a line a risk event with its
/// `event_id`, in the order of `risk.jsonl`.
pub fn export(log: &LocalLog, codec: &Codec, dir: &Path) -> Result<PathBuf> {
    let mut lines = Vec::new();
    for stored in outputs(log, OutputKind::Risk, 0)? {
        let stored = stored?;
        let event = codec.decode_risk(&stored.payload).map_err(|why| anyhow!("{why}"))?;
        let envelope: Map<String, Value> = serde_json::from_slice(&stored.envelope)
            .with_context(|| format!("the envelope of output {} is damaged", stored.number))?;
        let mut line = Map::from_iter([("event_id".to_owned(), event.id.to_string().into())]);
        line.extend(envelope);
        lines.push(((event.stay, event.t, event.revision), Value::Object(line)));
    }
    lines.sort_by_key(|(order, _)| *order);
    let path = dir.join("envelope.jsonl");
    write_lines(&path, lines.iter().map(|(_, line)| Ok(line.to_string())))?;
    Ok(path)
}
