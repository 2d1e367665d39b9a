//! Effects to outputs and counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Drive, DriveError};
use crate::config::{ErrorHandlers, RecordHandler};
use crate::engine::{Effect, Fate, View};
use crate::event::alert::{AlertEvent, Subject};
use crate::event::risk::RiskEvent;
use crate::event::{Reason, Rejection};
use crate::ids::{Digest, Origin, StayId, Ticket, Topic};
use crate::ports::{
    Commit, Committer, Output, OutputKind, PortError, Predictor, Source, SourceRecord, StateStore,
};
use crate::store::values;
use crate::telemetry::{
    AlertTold, AlertWithheld, FactDuplicate, FactLate, FactShadow, FactUsed, FactsOvershadowed,
    PredictionAnswered, PredictionStatus, RecordRejected, RiskTold, ValueSuspected,
    WatermarkAdvanced, WindowSealed,
};
use crate::time::{EventTime, Span};
use crate::wire::{Codec, DeadLetter};

/// Latencies kept for the percentiles; later ones replace the oldest.
const LATENCIES_MAX: usize = 100_000;

/// The names of fates and of statuses, as they are counted and stored.
const FATES: [&str; 5] = ["used", "late", "duplicate", "shadow", "rejected"];
const STATUSES: [&str; 5] = ["scored", "degraded", "closing", "unscored", "retracted"];

/// What a task has done since its state began. The counts are a value of the state, so that they
/// still reconcile after a restart; only the latencies are of this process alone.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By topic: how many records ended as what.
    pub fates: BTreeMap<(Topic, &'static str), u64>,
    /// By topic and reason.
    pub rejected: BTreeMap<(Topic, Reason), u64>,
    pub sealed: u64,
    /// By status.
    pub events: BTreeMap<&'static str, u64>,
    /// Alerts raised, by what they are about.
    pub alerts: BTreeMap<&'static str, u64>,
    pub ended: u64,
    /// Stays whose state was forgotten after their end.
    pub expired: u64,
    /// Answers taken.
    pub answered: u64,
    /// From sealing a window to the commit of its risk event.
    pub latencies: Vec<Duration>,
}

/// The counts as the store keeps them.
#[derive(Serialize, Deserialize)]
struct StoredCounts {
    fates: Vec<(Topic, String, u64)>,
    rejected: Vec<(Topic, Reason, u64)>,
    sealed: u64,
    events: Vec<(String, u64)>,
    alerts: Vec<(String, u64)>,
    ended: u64,
    expired: u64,
    answered: u64,
}

/// The name in `names` that a stored name is; a name of another version is not counted on.
fn known(names: &[&'static str], stored: &str) -> Option<&'static str> {
    names.iter().find(|name| **name == stored).copied()
}

impl Counts {
    /// What the store holds of a partition's counts; zeros if nothing.
    pub(super) fn restored(store: &impl StateStore, partition: u32) -> Result<Self, PortError> {
        let Some(stored) = values::counts::<StoredCounts>(store, partition)? else {
            return Ok(Counts::default());
        };
        let fate =
            |(topic, name, n): &(Topic, String, u64)| Some(((*topic, known(&FATES, name)?), *n));
        let status = |(name, n): &(String, u64)| Some((known(&STATUSES, name)?, *n));
        let subjects = Subject::ALL.map(Subject::name);
        let subject = |(name, n): &(String, u64)| Some((known(&subjects, name)?, *n));
        Ok(Counts {
            fates: stored.fates.iter().filter_map(fate).collect(),
            rejected: stored.rejected.iter().map(|(topic, r, n)| ((*topic, *r), *n)).collect(),
            sealed: stored.sealed,
            events: stored.events.iter().filter_map(status).collect(),
            alerts: stored.alerts.iter().filter_map(subject).collect(),
            ended: stored.ended,
            expired: stored.expired,
            answered: stored.answered,
            latencies: Vec::new(),
        })
    }

    /// Adds the counts to a commit.
    pub(super) fn put(&self, partition: u32, commit: &mut Commit) -> Result<(), PortError> {
        let fate = |((topic, name), n): (&(Topic, &str), &u64)| (*topic, (*name).to_owned(), *n);
        let status = |(name, n): (&&str, &u64)| ((*name).to_owned(), *n);
        let stored = StoredCounts {
            fates: self.fates.iter().map(fate).collect(),
            rejected: self.rejected.iter().map(|((topic, r), n)| (*topic, *r, *n)).collect(),
            sealed: self.sealed,
            events: self.events.iter().map(status).collect(),
            alerts: self.alerts.iter().map(status).collect(),
            ended: self.ended,
            expired: self.expired,
            answered: self.answered,
        };
        values::put_counts(partition, &stored, commit)
    }

    /// The `q`-quantile of the latencies, 0 ≤ q ≤ 1.
    pub fn latency(&self, q: f64) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let index = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).copied()
    }

    fn decided(&mut self, topic: Topic, fate: &Fate) {
        let name = match fate {
            Fate::Used => "used",
            Fate::Late => "late",
            Fate::Duplicate => "duplicate",
            Fate::Shadow => "shadow",
            Fate::Rejected(rejection) => {
                *self.rejected.entry((topic, rejection.reason)).or_default() += 1;
                "rejected"
            }
        };
        *self.fates.entry((topic, name)).or_default() += 1;
    }

    fn latency_of(&mut self, latency: Duration) {
        if self.latencies.len() < LATENCIES_MAX {
            self.latencies.push(latency);
        }
    }
}

/// One record's fate, to the log and the metrics.
fn tell(origin: Origin, stay: Option<StayId>, fate: &Fate) {
    match fate {
        Fate::Used => FactUsed { origin, stay }.emit(),
        Fate::Late => FactLate { origin, stay }.emit(),
        Fate::Duplicate => FactDuplicate { origin, stay }.emit(),
        Fate::Shadow => FactShadow { origin, stay }.emit(),
        Fate::Rejected(rejection) => RecordRejected { origin, rejection }.emit(),
    }
}

/// A record that the engine rejected, to be sent as a dead letter.
pub(super) struct Rejected {
    pub origin: Origin,
    pub stay: Option<StayId>,
    pub rejection: Rejection,
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    pub(super) fn take_effect(&mut self, effect: Effect) -> Result<(), DriveError> {
        match effect {
            Effect::Decided { origin, stay, fate } => {
                self.counts.decided(origin.topic, &fate);
                tell(origin, stay, &fate);
                if let Some(watcher) = &mut self.watcher {
                    watcher(origin, &fate);
                }
                if let Fate::Rejected(rejection) = fate {
                    self.may_reject(origin, stay, &rejection)?;
                    self.rejected.push(Rejected { origin, stay, rejection });
                }
                Ok(())
            }
            Effect::Overshadowed { stay, copies } => {
                FactsOvershadowed { stay, copies }.emit();
                Ok(())
            }
            Effect::Sealed { ticket, triggers, .. } => {
                let feeds_missing = self.task.watermark().missing().count();
                WindowSealed { ticket, triggers, feeds_missing }.emit();
                self.counts.sealed += 1;
                self.sealed.push(ticket);
                self.sealed_at.insert(ticket, Instant::now());
                Ok(())
            }
            Effect::Risk(event) => self.risk(&event),
            Effect::View(view) => self.view(&view),
            Effect::Alert(alert) => self.alert(&alert),
            Effect::Ended { .. } => {
                self.counts.ended += 1;
                Ok(())
            }
            Effect::Expired(_) => {
                self.counts.expired += 1;
                Ok(())
            }
            Effect::Advanced(to) => {
                self.advanced(to);
                Ok(())
            }
            Effect::Unasked(ticket) => {
                let (status, reason) = (PredictionStatus::Dropped, "nobody waits for it");
                PredictionAnswered { ticket, status, reason, latency: Duration::ZERO }.emit();
                Ok(())
            }
        }
    }

    /// Whether what is rejected becomes a dead letter.
    ///
    /// # Errors
    /// `Stop` if it shall end the process: nothing that was stepped since the last commit, this
    /// record with it, is committed then.
    fn may_reject(
        &self,
        origin: Origin,
        stay: Option<StayId>,
        rejection: &Rejection,
    ) -> Result<(), PortError> {
        let ErrorHandlers { deserialization, processing, .. } = self.options.errors;
        let (key, handler) = match stay {
            None => ("deserialization", deserialization),
            Some(_) => ("processing", processing),
        };
        match handler {
            RecordHandler::DeadLetter => Ok(()),
            RecordHandler::Fail => Err(PortError::Stop(format!(
                "{origin} cannot be used ({rejection}), and errors.{key} is fail; mend its \
                 producer and remove the record, or start again with errors.{key} = dead_letter"
            ))),
        }
    }

    /// The lag is measured by the clock of the newest record, which in a replay is the replay's.
    fn advanced(&self, to: EventTime) {
        let now = self.newest_append.unwrap_or_else(self.clock);
        let lag = Span::from_millis(now.as_millis().saturating_sub(to.as_millis()));
        WatermarkAdvanced { task: self.options.partition, to, lag }.emit();
    }

    fn risk(&mut self, event: &RiskEvent) -> Result<(), DriveError> {
        RiskTold { event }.emit();
        *self.counts.events.entry(event.counted_as()).or_default() += 1;
        let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
        for last in &event.last_observed {
            if let Some(why) = last.suspect {
                ValueSuspected { ticket, variable: &last.variable, why }.emit();
            }
        }
        let latency = self.answered_after.remove(&ticket);
        if let Some(latency) = latency {
            self.counts.latency_of(latency);
        }
        let payload = self.codec.encode_risk(event)?;
        self.push_output(OutputKind::Risk, Some(event.stay), payload, latency);
        Ok(())
    }

    fn view(&mut self, view: &View) -> Result<(), DriveError> {
        let payload = self.codec.encode_view(view)?;
        self.push_output(OutputKind::View, Some(view.event.stay), payload, None);
        Ok(())
    }

    fn alert(&mut self, event: &AlertEvent) -> Result<(), DriveError> {
        if self.withholds(event) {
            AlertWithheld { event }.emit();
            return Ok(());
        }
        AlertTold { event }.emit();
        if event.revision == 0 {
            *self.counts.alerts.entry(event.claim.subject().name()).or_default() += 1;
        }
        let payload = self.codec.encode_alert(event)?;
        self.push_output(OutputKind::Alert, Some(event.stay), payload, None);
        Ok(())
    }

    /// Dead letters for what was rejected. Only one that never became a fact carries its bytes,
    /// which are those of `record`. A fact may be rejected long after it was read, so its letter
    /// names its position, where its bytes stand; a letter is the same however records are batched.
    pub(super) fn send_dead_letters(
        &mut self,
        record: Option<&SourceRecord>,
    ) -> Result<(), DriveError> {
        for Rejected { origin, stay, rejection } in std::mem::take(&mut self.rejected) {
            let raw = record.filter(|record| stay.is_none() && record.origin == origin);
            let known = stay.map(Codec::key);
            let key = raw.and_then(|raw| raw.key.as_deref());
            let key = key.or(known.as_deref().map(str::as_bytes));
            let value = raw.map_or(&[][..], |raw| &raw.value);
            let letter = DeadLetter::new(origin, key, value, &rejection);
            let payload = self.codec.encode(&letter)?;
            self.push_output(OutputKind::DeadLetter, stay, payload, None);
        }
        Ok(())
    }

    fn push_output(
        &mut self,
        kind: OutputKind,
        stay: Option<StayId>,
        payload: Vec<u8>,
        latency: Option<Duration>,
    ) {
        if !self.sent_before.is_empty() && self.sent_before.remove(&Digest::of(&payload)) {
            return;
        }
        self.output_number += 1;
        self.pending.outputs.push(Output {
            number: self.output_number,
            kind,
            stay,
            payload,
            envelope: self.envelope(latency).to_string().into_bytes(),
        });
    }
}
