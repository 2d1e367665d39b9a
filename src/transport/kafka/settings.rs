//! What must be said about a Kafka cluster, and every bound of this transport.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{AppendTime, KafkaConfig, Properties, TokenPlace};
use crate::ids::Topic;
use crate::ports::OutputKind;
use crate::wire::RecordKind;

/// The largest record: an inline film of 16 MiB, and room for its key, headers and framing.
pub const MAX_RECORD_BYTES: usize = 17 * 1024 * 1024;
/// What one fetch may return. Must exceed [`MAX_RECORD_BYTES`], or a film would block its topic.
pub const MAX_FETCH_BYTES: usize = 2 * MAX_RECORD_BYTES;
/// What librdkafka may hold ahead of us, in KiB. One fetch may come on top of it.
pub const PREFETCH_KBYTES: usize = 32 * 1024;
/// What a source holds for its task, in records.
pub const QUEUE_RECORDS: usize = 4_096;
/// What a source holds for its task, in bytes. One record may come on top of it.
pub const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What a producer holds before it makes its caller wait, in KiB.
pub const SEND_KBYTES: usize = 64 * 1024;
/// How long a question to the cluster (metadata, offsets, topic creation) may take.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a fetch may be unanswered before its connection is given up and it is sent again.
/// librdkafka's own 60 s would keep a task from its input for a minute after one lost answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A member that does not poll for so long is taken for dead (`max.poll.interval.ms`).
pub const MAX_POLL: Duration = Duration::from_secs(120);
/// How long revoked tasks have to commit and let go before their partitions are taken away: half
/// of the time after which the whole member would be given up.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(60);
/// Heartbeats in a session.
pub const HEARTBEATS: u64 = 5;

/// One cluster, and how this application is named in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// Names the consumer group, the producers, and the tasks' own topics: `<app>-changelog` and
    /// `<app>-journal`.
    #[serde(default = "default_app")]
    pub app: String,
    /// Stands before the name of every input and output topic, for instance `icu.`.
    #[serde(default)]
    pub prefix: String,
    /// Whether topics that do not exist are created.
    #[serde(default = "default_create")]
    pub create_topics: bool,
    /// How many partitions topics get that are created here: the most tasks there can ever be.
    #[serde(default = "default_partitions")]
    pub partitions: u32,
    /// How many copies topics get that are created here; no more than there are brokers.
    #[serde(default = "default_replication")]
    pub replication: u32,
    #[serde(default)]
    pub clock: AppendClock,
    /// A name for this process that survives its restart (`group.instance.id`), so that a restart
    /// within the session timeout moves no partition.
    #[serde(default)]
    pub instance: Option<String>,
    /// How long an output may take to be acknowledged by all replicas.
    #[serde(default = "default_delivery")]
    pub delivery_timeout_ms: u64,
    /// A member that is not heard of for so long is dead, and its partitions go to others.
    #[serde(default = "default_session")]
    pub session_timeout_ms: u64,
    /// Further librdkafka properties, such as `security.protocol`. They win over ours.
    #[serde(default)]
    pub properties: Properties,
    /// Where the token of SASL/OAUTHBEARER is, which is that mechanism then.
    #[serde(default)]
    pub token: Option<TokenPlace>,
}

/// Which timestamp of a record says when it was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppendClock {
    /// The broker's (`LogAppendTime`). A topic without it gives no append time.
    #[default]
    Broker,
    /// The one that the replay wrote: its own clock, which runs in the patients' time.
    Replay,
}

fn default_app() -> String {
    "nowcxr".to_owned()
}

fn default_create() -> bool {
    true
}

fn default_partitions() -> u32 {
    16
}

fn default_replication() -> u32 {
    1
}

fn default_delivery() -> u64 {
    30_000
}

fn default_session() -> u64 {
    6_000
}

impl From<&KafkaConfig> for KafkaSettings {
    fn from(config: &KafkaConfig) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        KafkaSettings {
            bootstrap: config.brokers.join(","),
            app: config.group.clone(),
            prefix: config.prefix.clone(),
            create_topics: config.create_topics,
            partitions: config.partitions,
            replication: config.replication,
            clock: match config.clock {
                AppendTime::Broker => AppendClock::Broker,
                AppendTime::Replay => AppendClock::Replay,
            },
            instance: config.instance.clone(),
            delivery_timeout_ms: millis(config.delivery_timeout),
            session_timeout_ms: millis(config.session_timeout),
            properties: config.properties.clone(),
            token: config.token.clone(),
        }
    }
}

impl KafkaSettings {
    /// The defaults, for the cluster at `bootstrap`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        KafkaSettings {
            bootstrap: bootstrap.into(),
            app: default_app(),
            prefix: String::new(),
            create_topics: default_create(),
            partitions: default_partitions(),
            replication: default_replication(),
            clock: AppendClock::default(),
            instance: None,
            delivery_timeout_ms: default_delivery(),
            session_timeout_ms: default_session(),
            properties: Properties::default(),
            token: None,
        }
    }

    /// Name of an input topic.
    pub fn input(&self, topic: Topic) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// Name of an output topic.
    pub fn output(&self, kind: OutputKind) -> String {
        let name = match kind {
            OutputKind::Risk => "risk",
            OutputKind::Alert => "alert",
            OutputKind::DeadLetter => "dead_letter",
            OutputKind::View => "view",
        };
        format!("{}{name}", self.prefix)
    }

    /// Name of the topic of labels, which a replay writes and nothing here reads.
    pub fn labels(&self) -> String {
        format!("{}label", self.prefix)
    }

    pub fn changelog(&self) -> String {
        format!("{}-changelog", self.app)
    }

    pub fn journal(&self) -> String {
        format!("{}-journal", self.app)
    }

    /// Names of the topics that hold records of a kind.
    pub fn topics_of(&self, kind: RecordKind) -> Vec<String> {
        let input = |topic| vec![self.input(topic)];
        match kind {
            RecordKind::Lab => input(Topic::Lab),
            RecordKind::Vital => input(Topic::Vital),
            RecordKind::Imaging => input(Topic::Imaging),
            RecordKind::Stay => input(Topic::Stay),
            RecordKind::Mark => self.inputs().to_vec(),
            RecordKind::Journal => vec![self.journal()],
            RecordKind::Risk => vec![self.output(OutputKind::Risk)],
            RecordKind::Alert => vec![self.output(OutputKind::Alert)],
            RecordKind::View => vec![self.output(OutputKind::View)],
            RecordKind::DeadLetter => vec![self.output(OutputKind::DeadLetter)],
            RecordKind::Label => vec![self.labels()],
            RecordKind::Acknowledgement => vec![format!("{}{}", self.prefix, kind.name())],
        }
    }

    /// Names of the input topics, in the order of [`Topic::ALL`].
    pub fn inputs(&self) -> [String; 5] {
        Topic::ALL.map(|topic| self.input(topic))
    }

    pub(super) fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(self.delivery_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_enough_and_unknown_keys_are_refused() {
        let short: KafkaSettings = serde_json::from_str(r#"{"bootstrap": "a:1"}"#).unwrap();
        assert_eq!(short, KafkaSettings::new("a:1"));
        let typo = r#"{"bootstrap": "a:1", "partition": 3}"#;
        assert!(serde_json::from_str::<KafkaSettings>(typo).is_err());
    }

    #[test]
    fn topics_carry_the_prefix_and_the_journal_the_application() {
        let settings = KafkaSettings { prefix: "icu.".to_owned(), ..KafkaSettings::new("a:1") };
        assert_eq!(settings.input(Topic::Lab), "icu.lab");
        assert_eq!(settings.output(OutputKind::DeadLetter), "icu.dead_letter");
        assert_eq!(settings.journal(), "nowcxr-journal");
    }
}
