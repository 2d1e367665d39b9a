//! The outputs of a run as files that people and other programs read: risk events as JSON lines
//! and as an Avro container file, alerts and dead letters as JSON lines, and the digest of the risk
//! payloads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::feeding::UNTOLD;
use crate::event::risk::RiskEvent;
use crate::ids::Digest;
use crate::ports::OutputKind;
use crate::transport::local::{LocalLog, outputs};
use crate::wire::{AlertRecord, Codec, DeadLetter, RiskRecord, container, risk_to_json};

/// What was written where.
pub struct Exports {
    pub risk_jsonl: PathBuf,
    pub risk_avro: PathBuf,
    /// Every record of every alert, in the order of leaving.
    pub alerts_jsonl: PathBuf,
    pub dead_letters: PathBuf,
    /// SHA-256 over the payloads in the order of (stay, t, revision).
    pub digest: Digest,
    /// In the same order.
    pub events: Vec<RiskEvent>,
    /// The newest record of each alert, by stay and window.
    pub alerts: Vec<AlertRecord>,
}

/// Reads the output log of task 0 in `home` and writes the files into `dir`.
pub fn export(log: &LocalLog, codec: &Codec, dir: &Path) -> Result<Exports> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut risks = Vec::new();
    for stored in outputs(log, OutputKind::Risk, 0)? {
        let stored = stored?;
        let event = codec.decode_risk(&stored.payload).map_err(|why| anyhow!("{why}"))?;
        risks.push((event, stored.payload));
    }
    risks.sort_by_key(|(event, _)| (event.stay, event.t, event.revision));
    let mut hash = Sha256::new();
    for (_, payload) in &risks {
        hash.update(payload);
    }
    let digest = Digest(hash.finalize().into());
    let events: Vec<RiskEvent> = risks.into_iter().map(|(event, _)| event).collect();
    let risk_jsonl = dir.join("risk.jsonl");
    write_lines(&risk_jsonl, events.iter().map(|event| Ok(risk_to_json(event)?)))?;
    let risk_avro = dir.join("risk.avro");
    let bytes = container(events.iter().map(RiskRecord::from))?;
    std::fs::write(&risk_avro, bytes)
        .with_context(|| format!("cannot write {}", risk_avro.display()))?;
    let alerts_jsonl = dir.join("alerts.jsonl");
    let records = alerts_of(log, codec)?;
    write_lines(&alerts_jsonl, records.iter().map(|record| Ok(serde_json::to_string(record)?)))?;
    let dead_letters = dir.join("dead_letters.jsonl");
    write_lines(&dead_letters, dead_letters_of(log, codec)?.iter().map(line))?;
    let alerts = newest(records);
    Ok(Exports { risk_jsonl, risk_avro, alerts_jsonl, dead_letters, digest, events, alerts })
}

fn alerts_of(log: &LocalLog, codec: &Codec) -> Result<Vec<AlertRecord>> {
    let mut records = Vec::new();
    for stored in outputs(log, OutputKind::Alert, 0)? {
        let record = codec.decode::<AlertRecord>(&stored?.payload);
        records.push(record.map_err(|why| anyhow!("{why}"))?);
    }
    Ok(records)
}

/// The highest revision of each alert.
pub(super) fn newest(records: Vec<AlertRecord>) -> Vec<AlertRecord> {
    let mut newest: BTreeMap<_, AlertRecord> = BTreeMap::new();
    for record in records {
        let key = (record.stay_id, record.t, record.alert_id);
        if newest.get(&key).is_none_or(|held| held.revision <= record.revision) {
            newest.insert(key, record);
        }
    }
    newest.into_values().collect()
}

/// The rows that the replay could not tell, and then what the engine did not use.
fn dead_letters_of(log: &LocalLog, codec: &Codec) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    let untold = log.partition(UNTOLD, 0)?;
    if untold.end() > 0 {
        let mut reader = untold.reader(untold.start())?;
        while let Some(record) = reader.read()? {
            let letter = codec.decode::<DeadLetter>(&record.value);
            letters.push(letter.map_err(|why| anyhow!("{why}"))?);
        }
    }
    for stored in outputs(log, OutputKind::DeadLetter, 0)? {
        let letter = codec.decode::<DeadLetter>(&stored?.payload);
        letters.push(letter.map_err(|why| anyhow!("{why}"))?);
    }
    Ok(letters)
}

/// Where the record stands and why it was not used; its bytes stay in the log. A row stands in its
/// table, as the record of that number.
fn line(letter: &DeadLetter) -> Result<String> {
    Ok(json!({
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "detail": letter.detail,
    })
    .to_string())
}

pub(super) fn write_lines(path: &Path, lines: impl Iterator<Item = Result<String>>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = BufWriter::new(file);
    for line in lines {
        writeln!(file, "{}", line?)?;
    }
    file.flush().with_context(|| format!("cannot write {}", path.display()))
}
