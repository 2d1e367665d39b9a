//! From what was written to what is valid: each section as a struct of checked values.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::feeds;
use super::registry::{TokenPlace, with_secrets};
use super::value::Reader;
use super::{
    AlertPolicy, ESCALATIONS_MAX, EngineConfig, HOLD_MAX, LatePolicy, PERSIST_MAX, signals,
};
use crate::event::dictionary::Profile;
use crate::event::risk::Mode;
use crate::time::Span;

/// The most partitions that a topic may be given here.
const PARTITIONS_MAX: u32 = 10_000;

/// `[predict]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictConfig {
    pub model: PathBuf,
    pub deadline: Duration,
    pub queue: usize,
    pub device: DeviceChoice,
    /// 0 for one a core.
    pub threads: usize,
}

/// Where the networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// The first GPU if this build and this machine have one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    pub dir: PathBuf,
    pub cache_bytes: u64,
    pub flush_every: Duration,
}

/// `[local]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalConfig {
    pub segment_bytes: u64,
    /// How long the log of an edge keeps a record; for ever if `None`.
    pub retention: Option<Span>,
}

/// `[kafka]`.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaConfig {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub group: String,
    pub prefix: String,
    pub create_topics: bool,
    pub partitions: u32,
    pub replication: u32,
    pub clock: AppendTime,
    pub instance: Option<String>,
    pub delivery_timeout: Duration,
    pub commit_interval: Duration,
    pub session_timeout: Duration,
    /// The most warm copies of partitions that others own.
    pub standby: u32,
    pub properties: Properties,
    /// Where the token of SASL/OAUTHBEARER is.
    pub token: Option<TokenPlace>,
}

/// Which timestamp says when a record was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppendTime {
    Broker,
    Replay,
}

/// librdkafka's own properties. They may hold passwords, so their values are not printed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    pub format: LogFormat,
    /// `None` leaves it to the command.
    pub filter: Option<String>,
    /// `None` for the host's name.
    pub node: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

/// `[alerts]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertConfig {
    pub mode: Mode,
}

pub fn profile(reader: &mut Reader) -> Profile {
    reader.choice("engine.profile", Profile::Clinical)
}

pub fn engine(reader: &mut Reader, profile: Profile) -> EngineConfig {
    let config = EngineConfig {
        feeds: feeds::feeds(reader),
        every: reader.span_or_off("engine.every", Span::MINUTE),
        landmarks: reader.spans("engine.landmarks", Span::MINUTE),
        on_film: reader.flag("engine.on_film"),
        lookback: reader.span("engine.lookback", Span::ZERO),
        grace: reader.span("engine.grace", Span::ZERO),
        max_stay: reader.span("engine.max_stay", Span::HOUR),
        silent_after: reader.span("engine.silent_after", Span::HOUR),
        revise_windows: reader.count("engine.revise_windows", 0, 168),
        late: reader.choice("engine.late", LatePolicy::Keep),
        max_waiting: reader.count("engine.max_waiting", 1, 1_000_000),
        keep: reader.span("engine.keep", Span::HOUR),
        max_future: reader.span("engine.max_future", Span::ZERO),
        shadow: reader.span("engine.shadow", Span::ZERO),
        signals: signals(profile),
        alerts: alert_policy(reader),
    };
    if config.every.is_none() && config.landmarks.is_empty() && !config.on_film {
        let what = "is off, and so are landmarks and on_film: no window would ever close";
        reader.complain("engine.every", what.to_owned());
    }
    config
}

/// A name that can stand in labels and headers.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=40).contains(&name.len()) && name.chars().all(plain)
}

pub fn predict(reader: &mut Reader) -> PredictConfig {
    let queue = reader.count("predict.queue", 1, 65_536);
    PredictConfig {
        model: path(reader, "predict.model"),
        deadline: reader.duration("predict.deadline", Duration::from_millis(100)),
        queue,
        device: reader.choice("predict.device", DeviceChoice::Auto),
        threads: reader.count("predict.threads", 0, 1_024),
    }
}

pub fn store(reader: &mut Reader) -> StoreConfig {
    StoreConfig {
        dir: path(reader, "store.dir"),
        cache_bytes: reader.size("store.cache_bytes", 1 << 20, 4 << 30),
        flush_every: reader.duration("store.flush_every", Duration::from_millis(10)),
    }
}

/// `memory` is how long a fact can matter.
pub fn local(reader: &mut Reader, memory: Span) -> LocalConfig {
    LocalConfig {
        segment_bytes: reader.size("local.segment_bytes", 64 << 10, 4 << 30),
        retention: reader.span_or_off("local.retention", memory),
    }
}

pub(super) fn path(reader: &mut Reader, key: &str) -> PathBuf {
    let text = reader.text(key);
    if text.is_empty() {
        reader.complain(key, "is empty; name a directory".to_owned());
    }
    PathBuf::from(text)
}

pub fn kafka(reader: &mut Reader) -> KafkaConfig {
    let count = |reader: &mut Reader, path: &str, low: u32, high: u32| {
        u32::try_from(reader.count(path, low as usize, high as usize)).unwrap_or(high)
    };
    let group = reader.text("kafka.group");
    if group.is_empty() {
        reader.complain("kafka.group", "is empty; name the group".to_owned());
    }
    let instance = reader.text("kafka.instance");
    let written = reader.read("kafka.properties", Properties::default(), properties);
    KafkaConfig {
        brokers: brokers(reader),
        group,
        prefix: reader.text("kafka.prefix"),
        create_topics: reader.flag("kafka.create_topics"),
        partitions: count(reader, "kafka.partitions", 1, PARTITIONS_MAX),
        replication: count(reader, "kafka.replication", 1, 100),
        clock: reader.choice("kafka.clock", AppendTime::Broker),
        instance: (!instance.is_empty()).then_some(instance),
        delivery_timeout: reader.duration("kafka.delivery_timeout", Duration::from_secs(1)),
        commit_interval: reader.duration("kafka.commit_interval", Duration::from_millis(1)),
        session_timeout: reader.duration("kafka.session_timeout", Duration::from_secs(6)),
        standby: count(reader, "kafka.standby", 0, PARTITIONS_MAX),
        properties: with_secrets(reader, written),
        token: TokenPlace::of(&reader.text("kafka.token")),
    }
}

fn brokers(reader: &mut Reader) -> Vec<String> {
    let brokers: Vec<String> =
        reader.text("kafka.brokers").split(',').map(|broker| broker.trim().to_owned()).collect();
    let port = |broker: &str| {
        let (host, port) = broker.rsplit_once(':')?;
        (!host.is_empty()).then(|| port.parse::<u16>().ok())?
    };
    if let Some(wrong) = brokers.iter().find(|broker| port(broker).is_none()) {
        let what = format!("has {wrong:?}; write host:port, several separated by commas");
        reader.complain("kafka.brokers", what);
    }
    brokers
}

fn properties(value: &Value) -> Result<Properties, String> {
    let table = value.as_table().ok_or("is not a table { \"name\" = \"value\" }")?;
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        Value::Integer(n) => Ok((name.clone(), n.to_string())),
        Value::Boolean(b) => Ok((name.clone(), b.to_string())),
        _ => Err(format!("has {name:?} without a plain value; put it in quotes")),
    };
    table.iter().map(text).collect::<Result<_, _>>().map(Properties)
}

pub fn telemetry(reader: &mut Reader) -> TelemetryConfig {
    let filter = reader.text("telemetry.filter");
    let filter = (filter != "auto").then_some(filter);
    let wrong = |filter| tracing_subscriber::EnvFilter::try_new(filter).err();
    if let Some(error) = filter.as_ref().and_then(wrong) {
        reader.complain("telemetry.filter", format!("cannot be read: {error}"));
    }
    let node = reader.text("telemetry.node");
    if !is_plain(&node) {
        let what = format!("is {node:?}; use 1 to 40 letters, digits, _ - ., or auto");
        reader.complain("telemetry.node", what);
    }
    let node = (node != "auto").then_some(node);
    TelemetryConfig { format: reader.choice("telemetry.format", LogFormat::Human), filter, node }
}

pub fn http(reader: &mut Reader) -> Option<SocketAddr> {
    reader.address("http.listen")
}

fn alert_policy(reader: &mut Reader) -> AlertPolicy {
    let policy = AlertPolicy {
        tau_on: reader.number("alerts.tau_on", 0.0, 1.0) as f32,
        tau_off_ratio: reader.number("alerts.tau_off_ratio", 0.0, 1.0) as f32,
        persist: reader.count("alerts.persist", 1, PERSIST_MAX),
        min_hold: reader.span("alerts.min_hold", Span::ZERO),
        clear_for: reader.span("alerts.clear_for", Span::ZERO),
        refractory: reader.span("alerts.refractory", Span::ZERO),
        refire_delta: reader.number("alerts.refire_delta", 0.0, 1.0) as f32,
        budget: reader.number("alerts.budget", 0.0, 24.0),
        stale_after: reader.span("alerts.stale_after", Span::MINUTE),
        not_before: reader.span("alerts.not_before", Span::ZERO),
        escalate: reader.spans("alerts.escalate", Span::MINUTE),
    };
    if policy.escalate.len() > ESCALATIONS_MAX {
        reader.complain("alerts.escalate", format!("has more than {ESCALATIONS_MAX} steps"));
    }
    if !policy.escalate.is_sorted_by(|a, b| a < b) {
        let what = "must rise: each step is counted from the alert, not from the step before";
        reader.complain("alerts.escalate", what.to_owned());
    }
    for (key, span) in [("min_hold", policy.min_hold), ("clear_for", policy.clear_for)] {
        if span > HOLD_MAX {
            let what = format!("is above {HOLD_MAX}, further than the policy looks back");
            reader.complain(&format!("alerts.{key}"), what);
        }
    }
    policy
}

pub fn alerts(reader: &mut Reader) -> AlertConfig {
    AlertConfig { mode: reader.choice("alerts.mode", Mode::Silent) }
}
