//! Questions about the cluster's topics, by whoever may not even be let in.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;

use super::client::{common, with_properties};
use super::error::port_error;
use super::hearing::Hearing;
use super::settings::{ASK_TIMEOUT, KafkaSettings};
use crate::ports::PortError;

/// How long the first attempt of a question may take; each further one twice as long as the last.
/// In between it shows whether we are let in.
const FIRST: Duration = Duration::from_millis(500);
/// For so long after a failure nothing more is heard of why.
const LISTEN: Duration = Duration::from_millis(50);
/// How long it takes at most to find out what is wrong with a certificate.
const DOUBT: Duration = Duration::from_secs(3);

/// A consumer without a group, since most questions are asked by users who have no rights on one.
/// It creates no topic by asking for it, as a producer would.
pub(super) struct Inquiry<'a> {
    settings: &'a KafkaSettings,
    consumer: BaseConsumer<Hearing>,
}

impl<'a> Inquiry<'a> {
    /// # Errors
    /// `Stop` when a setting is refused. Whether we are let in shows with the first question.
    pub fn open(settings: &'a KafkaSettings) -> Result<Self, PortError> {
        let config = with_properties(common(settings, "inquiry"), settings);
        let consumer = config
            .create_with_context(Hearing::of(settings))
            .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
        Ok(Inquiry { settings, consumer })
    }

    /// All topics that this user may see.
    ///
    /// # Errors
    /// `Retry` when no broker answers within [`ASK_TIMEOUT`]; `Stop` when we are not let in, which
    /// is told as soon as it is known.
    pub fn topics(&self) -> Result<Metadata, PortError> {
        self.ask(None)
    }

    /// Whether the topic is kept from this user. He cannot know then whether it exists.
    pub fn is_hidden(&self, topic: &str) -> Result<bool, PortError> {
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        let answer = self.ask(Some(topic))?;
        Ok(answer.topics().iter().any(|topic| topic.error() == Some(refused)))
    }

    fn ask(&self, topic: Option<&str>) -> Result<Metadata, PortError> {
        let deadline = Instant::now() + ASK_TIMEOUT;
        let mut patience = FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.consumer.fetch_metadata(topic, patience.min(left)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            while self.consumer.poll(LISTEN).is_some() && Instant::now() < deadline {}
            let doing = "asking kafka for its topics";
            let failed = port_error(doing, &self.settings.bootstrap, &error);
            let hearing = self.consumer.context();
            match hearing.explain(failed) {
                PortError::Stop(why) if hearing.is_distrust() => {
                    let doubt = doubt(self.settings)?;
                    return Err(PortError::Stop(format!("{why}; {doubt}")));
                }
                PortError::Retry(_) if Instant::now() < deadline => patience *= 2,
                other => return Err(other),
            }
        }
    }
}

/// What is wrong with a broker's certificate: OpenSSL has told librdkafka, but it tells only that
/// the certificate was not believed. So the broker is met once more without a look at its name,
/// and without SASL, so that no secret reaches who may be another.
fn doubt(settings: &KafkaSettings) -> Result<&'static str, PortError> {
    let mut config = with_properties(common(settings, "doubt"), settings);
    config.set("security.protocol", "ssl").set("ssl.endpoint.identification.algorithm", "none");
    let consumer: BaseConsumer<Hearing> = config
        .create_with_context(Hearing::of(settings))
        .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
    let deadline = Instant::now() + DOUBT;
    while Instant::now() < deadline {
        // A broker that wants SASL ends the connection: an error, but another one.
        let is_answered = consumer.fetch_metadata(None, FIRST).is_ok();
        if consumer.poll(LISTEN).is_some() || is_answered {
            return Ok(match consumer.context().is_distrust() {
                true => "its issuer is unknown",
                false => "its names are not the one under which the broker was called",
            });
        }
    }
    Ok("issuer or name do not fit")
}
