//! What was written, checked once into what is valid: all errors at once, unknown keys refused.
//!
//! Precedence: defaults, then the file, then the environment (`NOWCXR_SECTION__KEY`), then flags
//! (`--set section.key=value`). The table in `keys.rs` knows every key.

mod access;
mod alerts;
mod checked;
mod digest;
mod edge;
mod edge_keys;
mod engine;
mod errors;
mod feeds;
mod key;
mod keys;
mod notify;
mod raw;
mod reference;
mod registry;
mod replay;
mod spelling;
mod value;
mod web;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub use access::AccessConfig;
pub use alerts::{AlertPolicy, ESCALATIONS_MAX, HOLD_MAX, PERSIST_MAX};
pub use checked::{
    AlertConfig, AppendTime, DeviceChoice, KafkaConfig, LocalConfig, LogFormat, PredictConfig,
    Properties, StoreConfig, TelemetryConfig,
};
pub use edge::{EdgeConfig, HashKey, TlsConfig, WadoConfig};
pub use engine::{EngineConfig, Feed, LatePolicy, signals};
pub use errors::{ErrorHandlers, ProductionHandler, RecordHandler};
pub use key::Key;
pub use keys::{KEYS, SECTIONS};
pub use notify::{MailConfig, MailSecurity, NotifyConfig, RECIPIENTS_MAX, Secret};
pub use raw::Place;
pub use reference::reference;
pub use registry::{RegistryConfig, SubjectNames, TokenPlace, secret};
pub use replay::{Availability, ChartClock, Clock, LAG_MAX};

use crate::event::dictionary::Profile;
use value::Reader;

/// Everything that can be configured, valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub profile: Profile,
    pub engine: EngineConfig,
    /// A feed whose marks stop for so long is passed over.
    pub feed_timeout: Duration,
    pub errors: ErrorHandlers,
    pub predict: PredictConfig,
    pub store: StoreConfig,
    pub local: LocalConfig,
    pub kafka: KafkaConfig,
    pub registry: RegistryConfig,
    pub edge: EdgeConfig,
    /// Where HTTP listens; `None` for not at all.
    pub http: Option<SocketAddr>,
    /// Who may see the dashboard.
    pub access: AccessConfig,
    pub telemetry: TelemetryConfig,
    pub alerts: AlertConfig,
    pub notify: NotifyConfig,
    /// When what is replayed counts as known.
    pub replay: Availability,
}

/// One thing that is wrong, where it was written, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `section.key`, or `file`.
    pub key: String,
    pub place: String,
    pub what: String,
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl Problem {
    fn new(key: &str, place: &Place, what: impl Into<String>) -> Self {
        Problem { key: key.to_owned(), place: place.to_string(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.key, self.place, self.what)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl ConfigError {
    fn one(key: &str, place: &Place, what: impl Into<String>) -> Self {
        ConfigError(vec![Problem::new(key, place, what)])
    }
}

impl Config {
    /// The configuration from its four places. `environment` holds names and values of variables,
    /// `flags` texts of the form `section.key=value`.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(raw::Written::gather(file, environment, flags)?);
        let profile = checked::profile(&mut reader);
        let engine = checked::engine(&mut reader, profile);
        let memory = engine.memory();
        let config = Config {
            profile,
            engine,
            feed_timeout: reader.duration("feeds.timeout", Duration::from_secs(1)),
            errors: errors::errors(&mut reader),
            predict: checked::predict(&mut reader),
            local: checked::local(&mut reader, memory),
            store: checked::store(&mut reader),
            kafka: checked::kafka(&mut reader),
            registry: registry::registry(&mut reader),
            edge: edge::edge(&mut reader),
            http: checked::http(&mut reader),
            access: access::access(&mut reader),
            telemetry: checked::telemetry(&mut reader),
            alerts: checked::alerts(&mut reader),
            notify: notify::notify(&mut reader),
            replay: replay::availability(&mut reader),
        };
        match reader.into_problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(ConfigError(problems)),
        }
    }
}

#[cfg(test)]
mod tests;
