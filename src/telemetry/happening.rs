//! What happens in a running task, and how it is told.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, trace, warn};

use super::Metrics;
use crate::event::Rejection;
use crate::event::risk::Triggers;
use crate::ids::{FeedId, Origin, StayId, Ticket};
use crate::ports::Outcome;
use crate::time::{EventTime, Span};

/// A record became a dead letter.
#[derive(Clone, Copy, Debug)]
pub struct RecordRejected<'a> {
    pub origin: Origin,
    pub rejection: &'a Rejection,
}

/// A fact came after its own feed's marks had passed a window that should have held it.
#[derive(Clone, Copy, Debug)]
pub struct FactLate {
    pub origin: Origin,
    pub stay: Option<StayId>,
}

/// A fact that its stay has already.
#[derive(Clone, Copy, Debug)]
pub struct FactDuplicate {
    pub origin: Origin,
    pub stay: Option<StayId>,
}

/// A charted copy of what the laboratory has reported.
#[derive(Clone, Copy, Debug)]
pub struct FactShadow {
    pub origin: Origin,
    pub stay: Option<StayId>,
}

/// Charted values that the laboratory has reported only now: they were used, and are not any more.
#[derive(Clone, Copy, Debug)]
pub struct FactsOvershadowed {
    pub stay: StayId,
    pub copies: usize,
}

/// A fact entered its stay's state. The most frequent happening: it logs at `trace`.
#[derive(Clone, Copy, Debug)]
pub struct FactUsed {
    pub origin: Origin,
    pub stay: Option<StayId>,
}

/// A window was sealed. Its triggers are a set, and it is counted once.
#[derive(Clone, Copy, Debug)]
pub struct WindowSealed {
    pub ticket: Ticket,
    pub triggers: Triggers,
    /// Feeds whose marks had stopped.
    pub feeds_missing: usize,
}

/// The model was asked.
#[derive(Clone, Copy, Debug)]
pub struct PredictionRequested {
    pub ticket: Ticket,
    /// Requests without an answer, this one included.
    pub pending: usize,
}

/// The model's answer was taken, or its deadline passed.
#[derive(Clone, Copy, Debug)]
pub struct PredictionAnswered<'a> {
    pub ticket: Ticket,
    pub status: PredictionStatus,
    /// Why it is less than a score; empty for a score.
    pub reason: &'a str,
    pub latency: Duration,
}

/// How a prediction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionStatus {
    Scored,
    Degraded,
    Unscored,
    /// No answer came before the deadline.
    Expired,
    /// The answer was for a task or an epoch that is no longer ours.
    Dropped,
}

/// Two answers to one question lie apart by more than arithmetic may.
#[derive(Clone, Copy, Debug)]
pub struct PredictionsDisagree {
    pub ticket: Ticket,
    /// The largest difference of any risk.
    pub apart: f32,
}

/// One commit is applied.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    pub task: u32,
    pub number: u64,
    pub puts: usize,
    pub outputs: usize,
    pub took: Duration,
    /// As in the envelopes of the outputs.
    pub trace_id: &'a str,
}

/// A task's watermark moved.
#[derive(Clone, Copy, Debug)]
pub struct WatermarkAdvanced {
    pub task: u32,
    pub to: EventTime,
    /// Behind the clock, in replay behind the replay's clock.
    pub lag: Span,
}

/// A feed fell silent, and the task passes it over by a mark of its own.
#[derive(Clone, Copy, Debug)]
pub struct FeedPassed {
    pub task: u32,
    pub feed: FeedId,
    pub to: EventTime,
}

/// A store is open and its task can read on.
#[derive(Clone, Copy, Debug)]
pub struct StoreRecovered<'a> {
    pub task: u32,
    pub commit: u64,
    pub values: u64,
    pub found: StoreFound<'a>,
    pub took: Duration,
}

/// How a store was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFound<'a> {
    /// Absent, or as its last commit left it.
    Whole,
    /// At an earlier commit than `flushed`: the disk has lost its tail, which is made again.
    RolledBack { flushed: u64 },
    /// Damaged; it stands aside, and its state is made anew from the changelog or the inputs.
    Damaged { why: &'a str, moved_to: &'a Path },
}

/// Segments of a local log whose retention was over are gone.
#[derive(Clone, Copy, Debug)]
pub struct LogSegmentsDeleted<'a> {
    /// `topic/partition`.
    pub partition: &'a str,
    pub segments: usize,
    /// The first offset that is left.
    pub keep_from: u64,
}

/// A local log was opened and held a tail that a crash had torn. It was never acknowledged, so
/// cutting it off loses nothing.
#[derive(Clone, Copy, Debug)]
pub struct LogTailCut<'a> {
    /// `topic/partition`.
    pub partition: &'a str,
    pub path: &'a Path,
    /// Where the last whole record ends.
    pub at: u64,
    pub bytes: u64,
}

/// A task stopped reading its inputs, so that a bounded queue behind it can drain.
#[derive(Clone, Copy, Debug)]
pub struct TaskPaused {
    pub task: u32,
    pub cause: PauseCause,
}

/// What a paused task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// The predictor's queue is full.
    Predictor,
    /// Source, journal or outlet failed in a way that passes; it is tried again after a while.
    Transport,
}

/// A paused task reads again.
#[derive(Clone, Copy, Debug)]
pub struct TaskResumed {
    pub task: u32,
    pub paused_for: Duration,
}

/// The metrics of the process. They cannot fail to exist once [`super::init`] has returned; a
/// program that never called it only loses the count.
pub(super) fn count(on: impl FnOnce(&Metrics)) {
    if let Ok(metrics) = Metrics::global() {
        on(metrics);
    }
}

impl RecordRejected<'_> {
    pub fn emit(&self) {
        let Rejection { reason, detail } = self.rejection;
        info!(reason = reason.code(), %detail, origin = %self.origin, "record rejected");
        count(|metrics| self.count(metrics));
    }

    fn count(&self, metrics: &Metrics) {
        let labels = [self.rejection.reason.code(), self.origin.topic.name()];
        metrics.records_rejected.with_label_values(&labels).inc();
    }
}

impl FactLate {
    pub fn emit(&self) {
        debug!(origin = %self.origin, stay = self.stay.map(|stay| stay.0), "fact late");
        count(|metrics| metrics.facts.late.of(self.origin.topic).inc());
    }
}

impl FactDuplicate {
    pub fn emit(&self) {
        debug!(origin = %self.origin, stay = self.stay.map(|stay| stay.0), "fact duplicate");
        count(|metrics| metrics.facts.duplicate.of(self.origin.topic).inc());
    }
}

impl FactShadow {
    pub fn emit(&self) {
        debug!(origin = %self.origin, stay = self.stay.map(|stay| stay.0), "fact is a shadow");
        count(|metrics| metrics.facts.shadow.of(self.origin.topic).inc());
    }
}

impl FactsOvershadowed {
    pub fn emit(&self) {
        debug!(stay = self.stay.0, copies = self.copies, "charted copies not used any more");
        count(|metrics| metrics.facts.overshadowed.inc_by(self.copies as u64));
    }
}

impl FactUsed {
    pub fn emit(&self) {
        trace!(origin = %self.origin, stay = self.stay.map(|stay| stay.0), "fact used");
        count(|metrics| metrics.facts.used.of(self.origin.topic).inc());
    }
}

impl WindowSealed {
    pub fn emit(&self) {
        let (ticket, triggers) = (self.ticket, trigger_set(self.triggers));
        let feeds_missing = self.feeds_missing;
        debug!(%ticket, triggers, feeds_missing, "window sealed");
        count(|metrics| metrics.windows_sealed.with_label_values(&[triggers.as_str()]).inc());
    }
}

impl PredictionRequested {
    pub fn emit(&self) {
        debug!(ticket = %self.ticket, pending = self.pending, "prediction requested");
        count(|metrics| metrics.predictions_requested.inc());
    }
}

impl PredictionStatus {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            PredictionStatus::Scored => "scored",
            PredictionStatus::Degraded => "degraded",
            PredictionStatus::Unscored => "unscored",
            PredictionStatus::Expired => "expired",
            PredictionStatus::Dropped => "dropped",
        }
    }
}

impl<'a> PredictionAnswered<'a> {
    /// An answer that was accepted.
    pub fn of(ticket: Ticket, outcome: &'a Outcome, latency: Duration) -> Self {
        let (status, reason) = match outcome {
            Outcome::Scored(_) => (PredictionStatus::Scored, ""),
            Outcome::Degraded(_, reason) => (PredictionStatus::Degraded, reason.as_str()),
            Outcome::Unscored(reason) => (PredictionStatus::Unscored, reason.as_str()),
        };
        PredictionAnswered { ticket, status, reason, latency }
    }

    pub fn emit(&self) {
        let (ticket, status, reason) = (self.ticket, self.status.name(), self.reason);
        let latency_ms = self.latency.as_millis() as u64;
        match self.status {
            PredictionStatus::Scored => debug!(%ticket, status, latency_ms, "prediction answered"),
            // As a window without a film is, which is nobody's fault.
            PredictionStatus::Degraded => {
                info!(%ticket, status, reason, latency_ms, "prediction answered");
            }
            PredictionStatus::Dropped => {
                debug!(%ticket, status, reason, latency_ms, "prediction answered");
            }
            _ => warn!(%ticket, status, reason, latency_ms, "prediction answered"),
        }
        count(|metrics| self.count(metrics));
    }

    fn count(&self, metrics: &Metrics) {
        let latency = metrics.prediction_latency.with_label_values(&[self.status.name()]);
        latency.observe(self.latency.as_secs_f64());
    }
}

impl PredictionsDisagree {
    pub fn emit(&self) {
        let (ticket, apart) = (self.ticket, self.apart);
        warn!(%ticket, apart, "two answers to one question disagree; the first one holds");
        count(|metrics| metrics.predictions_disagreed.inc());
    }
}

impl Committed<'_> {
    pub fn emit(&self) {
        let Committed { task, number, puts, outputs, took, trace_id } = *self;
        let took_us = took.as_micros() as u64;
        debug!(task, number, puts, outputs, took_us, trace_id, "committed");
        count(|metrics| {
            metrics.commit_time.observe(took.as_secs_f64());
            metrics.commit_puts.observe(puts as f64);
        });
    }
}

impl WatermarkAdvanced {
    pub fn emit(&self) {
        trace!(task = self.task, to = %self.to, lag = %self.lag, "watermark advanced");
        count(|metrics| self.count(metrics));
    }

    fn count(&self, metrics: &Metrics) {
        // The two ends of the range are no times: they would ruin every graph.
        if self.to == EventTime::MIN || self.to == EventTime::MAX {
            return;
        }
        let task = self.task.to_string();
        let (to, lag) = (self.to.as_millis(), self.lag.as_millis());
        metrics.watermark.with_label_values(&[&task]).set(to.div_euclid(1_000));
        metrics.watermark_lag.with_label_values(&[&task]).set(lag.div_euclid(1_000));
    }
}

impl FeedPassed {
    pub fn emit(&self) {
        let feed = self.feed.0;
        warn!(task = self.task, feed, to = %self.to, "silent feed passed over");
        count(|metrics| metrics.feed_passed.with_label_values(&[feed.to_string()]).inc());
    }
}

impl StoreRecovered<'_> {
    pub fn emit(&self) {
        let StoreRecovered { task, commit, values, found, took } = *self;
        let took_ms = took.as_millis() as u64;
        let how = match found {
            StoreFound::Whole => {
                info!(task, commit, values, took_ms, "store opened");
                "opened"
            }
            StoreFound::RolledBack { flushed } => {
                warn!(
                    task,
                    commit,
                    flushed,
                    values,
                    took_ms,
                    "store has lost its last commits, which are made again"
                );
                "rolled_back"
            }
            StoreFound::Damaged { why, moved_to } => {
                let moved_to = moved_to.display();
                error!(
                    task, commit, values, took_ms, why, %moved_to,
                    "store was damaged, moved aside and is rebuilt"
                );
                "rebuilt"
            }
        };
        count(|metrics| {
            let time = metrics.store_recovery_time.with_label_values(&[how]);
            time.observe(took.as_secs_f64());
        });
    }
}

impl LogSegmentsDeleted<'_> {
    pub fn emit(&self) {
        let LogSegmentsDeleted { partition, segments, keep_from } = *self;
        info!(partition, segments, keep_from, "segments of a local log deleted: retention");
        count(|metrics| metrics.log_segments_deleted.inc_by(segments as u64));
    }
}

impl LogTailCut<'_> {
    pub fn emit(&self) {
        let LogTailCut { partition, path, at, bytes } = *self;
        let path = path.display();
        warn!(partition, %path, at, bytes, "torn tail of a local log cut off; nothing is lost");
        count(|metrics| metrics.log_tails_cut.inc());
    }
}

impl PauseCause {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            PauseCause::Predictor => "predictor",
            PauseCause::Transport => "transport",
        }
    }
}

impl TaskPaused {
    pub fn emit(&self) {
        let (task, cause) = (self.task, self.cause.name());
        match self.cause {
            // Part of the work at full speed.
            PauseCause::Predictor => debug!(task, cause, "task paused"),
            PauseCause::Transport => warn!(task, cause, "task paused"),
        }
        count(|metrics| {
            metrics.task_paused.with_label_values(&[self.task.to_string()]).set(1);
            metrics.task_pauses.with_label_values(&[self.cause.name()]).inc();
        });
    }
}

impl TaskResumed {
    pub fn emit(&self) {
        let paused_ms = self.paused_for.as_millis() as u64;
        debug!(task = self.task, paused_ms, "task resumed");
        count(|metrics| {
            metrics.task_paused.with_label_values(&[self.task.to_string()]).set(0);
            metrics.task_paused_time.observe(self.paused_for.as_secs_f64());
        });
    }
}

/// The set as one word, in a fixed order: `hour+film`, or `none`.
fn trigger_set(triggers: Triggers) -> String {
    let Triggers { hour, landmark, film, request } = triggers;
    let names = [(hour, "hour"), (landmark, "landmark"), (film, "film"), (request, "request")];
    let set: Vec<&str> = names.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join("+") }
}

#[cfg(test)]
mod tests;
