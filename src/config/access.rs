//! `http.tokens` and what goes with it: who may see the dashboard. Nothing here changes a payload.

use std::path::PathBuf;
use std::time::Duration;

use super::value::Reader;

const HOUR: Duration = Duration::from_secs(3_600);

/// The checked settings.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConfig {
    /// File of names, roles and hashes of tokens. `None` for none: then the dashboard is open, for
    /// this machine only.
    pub tokens: Option<PathBuf>,
    /// Where looks at stays are written down.
    pub audit: PathBuf,
    /// How far back a dashboard reads the topics of Kafka when it starts.
    pub history: Duration,
}

pub fn access(reader: &mut Reader) -> AccessConfig {
    let tokens = reader.text("http.tokens");
    AccessConfig {
        tokens: (!tokens.is_empty()).then(|| PathBuf::from(tokens)),
        audit: super::checked::path(reader, "http.audit"),
        history: reader.duration("http.history", HOUR),
    }
}
