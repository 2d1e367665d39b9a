//! The transactional producer of one task.
//!
//! Its id is `<app>-<partition>`, so whoever opens it next fences this one and ends its open
//! transaction at once. Every call here returns within the limit given; what it leaves unknown is
//! settled by opening a new one, because that waits for the outcome of what was under way.

use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, TopicPartitionList};

use super::client::{log_line, producer};
use super::delivery::Outgoing;
use super::error::{lacks_right, port_error};
use super::hearing::Hearing;
use super::ownership::{Hold, Ownership};
use super::settings::KafkaSettings;
use crate::ports::PortError;

/// One call to librdkafka waits so long; in between the caller may have changed its mind.
const SLICE: Duration = Duration::from_millis(500);
/// The producer polls so long at a time.
const POLL: Duration = Duration::from_millis(1);
/// Delivery reports are looked at once for so many records.
const POLL_EVERY: u32 = 256;

/// What has become of the records of a transaction.
struct Reports {
    hearing: Hearing,
    /// The topic whose offsets are wanted.
    changelog: String,
    /// The position behind the changelog's last record.
    end: AtomicI64,
    failure: Mutex<Option<(KafkaError, String)>>,
}

/// Why a transaction has not come to be, or may not have.
pub(super) enum Failed {
    /// It must be aborted; then the same may be tried again.
    Undone(String),
    /// Nobody has answered within the limit, and the outcome may be unknown.
    Unanswered(PortError),
    /// This producer is of no use any more.
    Unusable(PortError),
}

/// Where the inputs stand, and as what member of which generation that is said.
pub(super) struct Offsets<'a> {
    pub positions: &'a TopicPartitionList,
    pub member: &'a ConsumerGroupMetadata,
}

pub(super) struct Transactions {
    producer: BaseProducer<Reports>,
    bootstrap: String,
    limit: Duration,
    ownership: Ownership,
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
        match result {
            Ok(message) if message.topic() == self.changelog => {
                self.end.fetch_max(message.offset().saturating_add(1), Ordering::AcqRel);
            }
            Ok(_) => {}
            Err((error, message)) => {
                let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| (error.clone(), message.topic().to_owned()));
            }
        }
    }
}

impl Transactions {
    /// Becomes the only writer of the task: fences whoever was, and waits until what that one had
    /// under way has come to be or not. Gives up when `unwanted` says so.
    ///
    /// # Errors
    /// `Retry` when no broker answers; `Reopen` when it was unwanted; `Stop` when the cluster does
    /// not let us in or write.
    pub fn open(
        settings: &KafkaSettings,
        partition: u32,
        ownership: Ownership,
        unwanted: &dyn Fn() -> bool,
    ) -> Result<Self, PortError> {
        let doing = "becoming the only writer of a task";
        let failed = |error: &KafkaError| port_error(doing, &settings.bootstrap, error);
        let limit = settings.delivery_timeout();
        let reports = Reports {
            hearing: Hearing::of(settings),
            changelog: settings.changelog(),
            end: AtomicI64::new(0),
            failure: Mutex::default(),
        };
        let producer: BaseProducer<Reports> = producer(settings, "task")
            .set("transactional.id", format!("{}-{partition}", settings.app))
            .set("transaction.timeout.ms", settings.delivery_timeout_ms.to_string())
            .create_with_context(reports)
            .map_err(|e| failed(&e))?;
        let deadline = Instant::now() + limit;
        loop {
            match producer.init_transactions(SLICE) {
                Ok(()) => break,
                Err(error) if !is_retriable(&error) || Instant::now() >= deadline => {
                    return Err(failed(&error));
                }
                Err(_) if unwanted() => {
                    return Err(PortError::Reopen("the task is not wanted any more".to_owned()));
                }
                Err(_) => {
                    producer.poll(POLL);
                }
            }
            if let Some(refusal) = producer.context().hearing.refusal() {
                return Err(refusal);
            }
        }
        Ok(Transactions { producer, bootstrap: settings.bootstrap.clone(), limit, ownership })
    }

    /// Writes all records and offsets in one transaction. Returns the position behind the last
    /// record of the changelog, if there was one.
    pub fn run<'a>(
        &mut self,
        records: impl Iterator<Item = Outgoing<'a>>,
        offsets: Option<&Offsets<'_>>,
    ) -> Result<Option<u64>, Failed> {
        let context = self.producer.context();
        context.end.store(0, Ordering::Release);
        context.take();
        self.complete("beginning", |_| self.producer.begin_transaction())?;
        for (n, record) in (1u32..).zip(records) {
            self.enqueue(record)?;
            if n.is_multiple_of(POLL_EVERY) {
                self.producer.poll(Duration::ZERO);
            }
        }
        if let Some(Offsets { positions, member }) = offsets {
            self.complete("adding positions to", |slice| {
                self.producer.send_offsets_to_transaction(positions, member, slice)
            })?;
        }
        self.complete("committing", |slice| {
            self.drain(slice);
            self.producer.commit_transaction(slice)
        })?;
        let context = self.producer.context();
        context.hearing.forget();
        let end = context.end.load(Ordering::Acquire);
        Ok(u64::try_from(end).ok().filter(|end| *end > 0))
    }

    /// Takes back what a failed [`Transactions::run`] has left.
    pub fn abort(&mut self) -> Result<(), Failed> {
        // What has not left need not be waited for; its reports must be taken all the same.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.complete("aborting", |slice| {
            self.drain(slice);
            self.producer.abort_transaction(slice)
        })
    }

    /// Waits up to `slice` until no record is under way. The crate's own `flush`, which a commit
    /// begins with, looks only every 100 ms.
    fn drain(&self, slice: Duration) {
        let deadline = Instant::now() + slice;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(POLL);
        }
    }

    fn enqueue(&self, outgoing: Outgoing<'_>) -> Result<(), Failed> {
        let topic = outgoing.topic;
        let mut record = outgoing.into_record();
        let deadline = Instant::now() + self.limit;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    let is_lost = self.ownership.hold() == Hold::Lost;
                    if !is_full || is_lost || Instant::now() >= deadline {
                        return Err(self.undone(&format!("writing to kafka topic {topic}"), &error));
                    }
                    record = back;
                    self.producer.poll(POLL);
                }
            }
        }
    }

    /// Calls until the call has come to its end, of which librdkafka keeps track. Whoever has lost
    /// the partition waits no longer: what he has under way is ended by the new owner.
    fn complete(
        &self,
        doing: &str,
        call: impl Fn(Duration) -> KafkaResult<()>,
    ) -> Result<(), Failed> {
        let deadline = Instant::now() + self.limit;
        loop {
            let Err(error) = call(SLICE) else { return Ok(()) };
            if self.producer.client().fatal_error().is_some() || is_fatal(&error) {
                return Err(Failed::Unusable(self.unusable(doing, &error)));
            }
            if requires_abort(&error) {
                return Err(self.undone(&format!("{doing} a transaction"), &error));
            }
            if !is_retriable(&error) || self.ownership.hold() == Hold::Lost {
                return Err(Failed::Unusable(self.unusable(doing, &error)));
            }
            if Instant::now() >= deadline {
                return Err(Failed::Unanswered(self.unusable(doing, &error)));
            }
            self.producer.poll(POLL);
        }
    }

    /// If a record was refused for a reason that a person must mend, that is what is told.
    fn undone(&self, doing: &str, error: &KafkaError) -> Failed {
        if let Some((cause, topic)) = self.producer.context().take() {
            let told =
                port_error(&format!("writing to kafka topic {topic}"), &self.bootstrap, &cause);
            if let stop @ PortError::Stop(_) = told {
                return Failed::Unusable(stop);
            }
        }
        match lacks_right(error) {
            true => Failed::Unusable(port_error(doing, &self.bootstrap, error)),
            false => Failed::Undone(format!("{doing} failed: {error}")),
        }
    }

    fn unusable(&self, doing: &str, error: &KafkaError) -> PortError {
        let fatal = self.producer.client().fatal_error();
        let cause = fatal.as_ref().map_or(error.clone(), |(code, _)| KafkaError::Global(*code));
        let doing = format!("{doing} a transaction in kafka");
        if lacks_right(&cause) {
            return port_error(&doing, &self.bootstrap, &cause);
        }
        let why = fatal.map_or(error.to_string(), |(code, why)| format!("{code}: {why}"));
        let unknown = format!("{doing} failed: {why}; the changelog will tell its outcome");
        self.producer.context().hearing.explain(PortError::Reopen(unknown))
    }
}

impl Reports {
    fn take(&self) -> Option<(KafkaError, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whether the same call may go on. What `flush` says of its time is an error without these marks.
fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(inner) => inner.is_retriable(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.is_fatal())
}

fn requires_abort(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.txn_requires_abort())
}
