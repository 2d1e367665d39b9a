//! `http.tokens` and what goes with it: who may see the dashboard. Nothing here changes a payload.

use std::path::PathBuf;

use super::value::Reader;

/// The checked settings.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConfig {
    /// File of names, roles and hashes of tokens. `None` for none: then the dashboard is open, for
    /// this machine only.
    pub tokens: Option<PathBuf>,
    /// Where looks at stays are written down.
    pub audit: PathBuf,
}

pub fn access(reader: &mut Reader) -> AccessConfig {
    let tokens = reader.text("http.tokens");
    AccessConfig {
        tokens: (!tokens.is_empty()).then(|| PathBuf::from(tokens)),
        audit: super::checked::path(reader, "http.audit"),
    }
}
