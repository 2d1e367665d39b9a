//! A producer that tells its caller what became of the records, not only that it took them.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::client::{log_line, producer};
use super::error::port_error;
use super::hearing::Hearing;
use super::settings::KafkaSettings;
use crate::ports::PortError;
use crate::time::WallTime;

/// The producer polls so long at a time; it always takes the whole of it.
const POLL: Duration = Duration::from_millis(1);
/// Delivery reports are looked at once for so many records.
const POLL_EVERY: u32 = 256;
/// librdkafka gives up a record after the delivery timeout; so much later it must have said so.
const GRACE: Duration = Duration::from_secs(5);

/// One record to send.
pub(super) struct Outgoing<'a> {
    pub topic: &'a str,
    /// `None` leaves it to the partitioner.
    pub partition: Option<u32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub at: Option<WallTime>,
    pub headers: Option<OwnedHeaders>,
}

impl<'a> Outgoing<'a> {
    pub fn into_record(self) -> BaseRecord<'a, [u8], [u8]> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(self.topic);
        record.payload = self.value;
        record.key = self.key;
        record.partition = self.partition.map(|p| i32::try_from(p).unwrap_or(i32::MAX));
        record.timestamp = self.at.map(WallTime::as_millis);
        record.headers = self.headers;
        record
    }
}

/// Collects delivery reports: the first failure is the one that is told.
#[derive(Default)]
struct Reports {
    hearing: Hearing,
    failure: Mutex<Option<(KafkaError, String)>>,
}

pub(super) struct Delivery {
    producer: BaseProducer<Reports>,
    bootstrap: String,
    limit: Duration,
    since_poll: u32,
}

impl Reports {
    fn take(&self) -> Option<(KafkaError, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.hearing.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hearing.note(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| (error.clone(), message.topic().to_owned()));
        }
    }
}

impl Delivery {
    pub fn open(settings: &KafkaSettings, role: &str) -> Result<Self, PortError> {
        let producer = producer(settings, role)
            .create_with_context(Reports { hearing: Hearing::of(settings), ..Reports::default() })
            .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
        Ok(Delivery {
            producer,
            bootstrap: settings.bootstrap.clone(),
            limit: settings.delivery_timeout() + GRACE,
            since_poll: 0,
        })
    }

    /// Takes the record, waiting while the producer's buffer is full. That it is durable is said
    /// by [`Delivery::finish`] only.
    pub fn enqueue(&mut self, outgoing: Outgoing<'_>) -> Result<(), PortError> {
        let topic = outgoing.topic;
        let mut record = outgoing.into_record();
        self.since_poll += 1;
        if self.since_poll >= POLL_EVERY {
            self.since_poll = 0;
            self.producer.poll(Duration::ZERO);
        }
        let deadline = Instant::now() + self.limit;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !is_full || Instant::now() >= deadline {
                        return Err(self.failure(&error, topic));
                    }
                    record = back;
                    self.producer.poll(POLL);
                }
            }
        }
    }

    /// Waits until every record taken is durable on all replicas, or has failed.
    ///
    /// # Errors
    /// `Retry`: some of them may have arrived all the same, so what is sent again must be equal.
    /// `Reopen`: the producer is of no use any more. `Stop`: the cluster does not let us in.
    pub fn finish(&mut self) -> Result<(), PortError> {
        let deadline = Instant::now() + self.limit;
        while self.producer.in_flight_count() > 0 {
            if let Some(refusal) = self.producer.context().hearing.refusal() {
                return Err(refusal);
            }
            if Instant::now() >= deadline {
                return Err(PortError::Reopen(format!(
                    "kafka at {} neither took nor refused {} records within {} s",
                    self.bootstrap,
                    self.producer.in_flight_count(),
                    self.limit.as_secs()
                )));
            }
            self.producer.poll(POLL);
        }
        match self.producer.context().take() {
            Some((error, topic)) => Err(self.failure(&error, &topic)),
            None => {
                self.producer.context().hearing.forget();
                Ok(())
            }
        }
    }

    fn failure(&self, error: &KafkaError, topic: &str) -> PortError {
        if let Some((code, why)) = self.producer.client().fatal_error() {
            return PortError::Reopen(format!("the kafka producer failed for good: {code}: {why}"));
        }
        let doing = format!("writing to kafka topic {topic}");
        self.producer.context().hearing.explain(port_error(&doing, &self.bootstrap, error))
    }
}
