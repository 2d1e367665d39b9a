//! How librdkafka's clients are set up, and where their log lines go.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};

use super::settings::{
    ANSWER_TIMEOUT, HEARTBEATS, KafkaSettings, MAX_FETCH_BYTES, MAX_POLL, MAX_RECORD_BYTES,
    PREFETCH_KBYTES, SEND_KBYTES,
};

/// How long a new consumer may take to ask for its token.
const TOKEN: Duration = Duration::from_millis(50);

/// What every client of this process says of itself.
pub(super) fn common(settings: &KafkaSettings, role: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap)
        .set("client.id", format!("{}-{role}", settings.app))
        .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
        .set("log.connection.close", "false")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true");
    config
}

/// A consumer that reads only where it is told and commits nothing.
///
/// `auto.offset.reset = error`: a position that the topic does not hold any more must be an error,
/// never a silent leap to another place.
pub(super) fn consumer(settings: &KafkaSettings, role: &str) -> ClientConfig {
    let mut config = common(settings, role);
    config
        .set("group.id", &settings.app)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("fetch.message.max.bytes", MAX_RECORD_BYTES.to_string())
        .set("fetch.max.bytes", MAX_FETCH_BYTES.to_string())
        .set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string())
        .set("queued.min.messages", "10000")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "200")
        .set("socket.timeout.ms", ANSWER_TIMEOUT.as_millis().to_string());
    with_properties(config, settings)
}

/// The member of the consumer group. It fetches nothing; see [`super::group`].
pub(super) fn member(settings: &KafkaSettings) -> ClientConfig {
    let mut config = common(settings, "member");
    config
        .set("group.id", &settings.app)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", settings.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (settings.session_timeout_ms / HEARTBEATS).to_string())
        .set("max.poll.interval.ms", MAX_POLL.as_millis().to_string())
        .set("queued.min.messages", "1")
        .set("queued.max.messages.kbytes", "1024");
    if let Some(instance) = &settings.instance {
        config.set("group.instance.id", instance);
    }
    with_properties(config, settings)
}

/// An idempotent producer: a record is there once and in order, however often it is sent again by
/// librdkafka. `murmur2_random` is the JVM clients' partitioner, so that they agree with us.
pub(super) fn producer(settings: &KafkaSettings, role: &str) -> ClientConfig {
    let mut config = common(settings, role);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.kbytes", SEND_KBYTES.to_string())
        .set("message.timeout.ms", settings.delivery_timeout_ms.to_string());
    with_properties(config, settings)
}

pub(super) fn with_properties(mut config: ClientConfig, settings: &KafkaSettings) -> ClientConfig {
    if settings.token.is_some() {
        config.set("sasl.mechanism", "OAUTHBEARER");
    }
    for (key, value) in &settings.properties.0 {
        config.set(key, value);
    }
    config
}

/// Lets a new consumer have its token, for which it asks whoever polls it. Without one a question
/// that is put before the first poll would wait in vain.
pub(super) fn take_token<C: ConsumerContext>(consumer: &BaseConsumer<C>, settings: &KafkaSettings) {
    if settings.token.is_some() {
        // What else there is to say comes again, by whatever it makes fail.
        drop(consumer.poll(TOKEN));
    }
}

/// librdkafka's log lines, at our levels.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{line}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}
