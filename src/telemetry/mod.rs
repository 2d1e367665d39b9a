//! One struct per happening. Its `emit` writes the log line and counts the metric, so that the two
//! cannot drift apart and no other place in the program needs to know a metric's name.
//!
//! Metrics carry no patient: their labels are topics, reasons, states and task numbers, all of
//! them closed or small. Log lines may name the opaque stay id. Logs go to stderr; stdout belongs
//! to a command's result.

mod edge;
mod happening;
mod held;
mod metrics;
mod standby;
mod told;
#[cfg(test)]
mod watchers;

use std::io::IsTerminal as _;
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

pub use edge::{
    EdgeAct, EdgeConnections, EdgeFact, EdgeFate, FilmAsked, MessageTaken, MessageVerdict,
    SenderClock,
};
pub use happening::{
    Committed, FactDuplicate, FactLate, FactShadow, FactUsed, FactsOvershadowed, FeedPassed,
    LogSegmentsDeleted, LogTailCut, PauseCause, PredictionAnswered, PredictionRequested,
    PredictionStatus, PredictionsDisagree, RecordRejected, StoreFound, StoreRecovered, TaskPaused,
    TaskResumed, WatermarkAdvanced, WindowSealed,
};
pub use held::{TopicsHeldBack, TopicsLetGo};
pub use metrics::{CONTENT_TYPE, Metrics, name};
pub use standby::{StandbyEnded, StandbyFollowed, StandbyWarm, StandbysKept, StateRestored};
pub use told::{AlertTold, AlertWithheld, RiskTold, ValueSuspected};

/// Why logging or metrics could not be set up. Nothing was changed.
#[derive(Debug, Error)]
pub enum TelemetryError {
    #[error("log filter {filter:?}: {message}; write for instance `info,nowcxr=debug`")]
    Filter { filter: String, message: String },
    #[error("log format {0:?} is unknown; use `human` or `json`")]
    Format(String),
    #[error("a logger is set already: {0}; call init once, at the start")]
    AlreadySet(String),
    #[error("the metrics could not be made: {0}; report this")]
    Metrics(String),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For a person at a terminal.
    #[default]
    Human,
    /// One JSON object a line, its fields at the top level.
    Json,
}

/// What [`init`] gives: proof that logging is on, and the way to the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Telemetry {
    metrics: &'static Metrics,
}

impl Telemetry {
    /// All metrics of the process, for `/metrics`.
    pub fn metrics(&self) -> &'static Metrics {
        self.metrics
    }
}

impl FromStr for Format {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "human" => Ok(Format::Human),
            "json" => Ok(Format::Json),
            other => Err(TelemetryError::Format(other.to_owned())),
        }
    }
}

/// Turns logging on for the whole process. `filter` is in the syntax of `RUST_LOG`.
///
/// # Errors
/// [`TelemetryError`]; a second call is one.
pub fn init(format: Format, filter: &str) -> Result<Telemetry, TelemetryError> {
    let metrics = Metrics::global().map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let filter = parse_filter(filter)?;
    let builder: SubscriberBuilder = tracing_subscriber::fmt();
    let builder = builder
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter);
    match format {
        Format::Human => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| TelemetryError::AlreadySet(error.to_string()))?;
    Ok(Telemetry { metrics })
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_are_checked() {
        assert_eq!("json".parse::<Format>().ok(), Some(Format::Json));
        let error = "xml".parse::<Format>().expect_err("no such format").to_string();
        assert!(error.contains("human"), "{error}");
        assert!(parse_filter("info,nowcxr=debug").is_ok());
        assert!(matches!(parse_filter("nowcxr=loud"), Err(TelemetryError::Filter { .. })));
    }
}
