//! A silent trial's report, for the committee of the site where a model ran unseen.
//!
//! It says what ran, that nobody was alerted and what the policy would have said, how good the data
//! and how fresh the inputs were, how the scores lie, and what none of this can show. How well the
//! scores rank and whether they hold is in it only where outcomes are known, drift only where a
//! profile is given. The last section goes through TRIPOD+AI item by item ([`tripod`]).
//!
//! Counts are of first revisions, as everywhere in this module's parent, unless they say otherwise.

mod burden;
mod data;
mod page;
mod sections;
#[cfg(test)]
mod tests;
mod tripod;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::drift::Comparison;
use super::{Evaluation, Provenance};
use crate::config::AlertPolicy;
use crate::event::risk::{Mode, RiskEvent};
use crate::ids::StayId;
use crate::metrics::percentile;
use crate::replay::Reconciliation;
use crate::time::EventTime;
use crate::wire::AlertRecord;

pub use burden::Burden;
pub use data::{Freshness, Quality, Scores};
pub use page::trial_page;

/// Names of models, nodes and the like that a report lists, at most; the rest are counted.
const LISTED_MOST: usize = 12;

/// What a run left behind.
pub struct TrialInput<'a> {
    /// Every risk event.
    pub events: &'a [RiskEvent],
    /// The newest record of each alert.
    pub alerts: &'a [AlertRecord],
    /// Those of the risk events.
    pub envelopes: &'a [Envelope],
    pub books: &'a Reconciliation,
    pub policy: &'a AlertPolicy,
    pub provenance: Provenance,
    /// Where outcomes are known.
    pub evaluation: Option<Evaluation>,
    /// Where a profile was given.
    pub drift: Option<Comparison>,
}

/// Where and when an event was made (`envelope.jsonl`); what else it says is left alone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Envelope {
    /// RFC 3339, in UTC.
    pub computed_at: String,
    pub node: String,
    pub program: String,
    #[serde(default)]
    pub latency_ms: Option<f64>,
}

/// A silent trial as its report tells it.
#[derive(Debug, Serialize)]
pub struct SilentTrial {
    pub warnings: Vec<&'static str>,
    pub provenance: Provenance,
    pub ran: Ran,
    pub alerts: Burden,
    pub quality: Quality,
    pub freshness: Freshness,
    pub scores: Scores,
    /// Why scores may not hold, in words, and for how many of the scored windows.
    pub doubts: Vec<(&'static str, usize)>,
    pub evaluation: Option<Evaluation>,
    pub drift: Option<Comparison>,
}

/// What ran.
#[derive(Debug, Default, Serialize)]
pub struct Ran {
    /// Event time of the first and the last window.
    pub from: Option<String>,
    pub until: Option<String>,
    /// When the events were computed.
    pub computed_from: Option<String>,
    pub computed_until: Option<String>,
    pub stays: usize,
    /// First revisions that were due, whatever came of them; a stay's closing event is none.
    pub windows: usize,
    /// From the first window of each stay to its last.
    pub patient_days: f64,
    /// All events.
    pub events: usize,
    /// Corrections among them.
    pub revisions: usize,
    /// All events by state.
    pub by_status: BTreeMap<&'static str, usize>,
    /// All events by mode; anything but `silent` disturbed somebody.
    pub by_mode: BTreeMap<&'static str, usize>,
    /// Name, version and digest.
    pub models: Vec<String>,
    pub configs: Vec<String>,
    pub nodes: Vec<String>,
    pub programs: Vec<String>,
    /// From a window's seal to its event, in milliseconds.
    pub latency_p50_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
}

impl SilentTrial {
    /// Whether nobody can have been disturbed.
    pub fn was_silent(&self) -> bool {
        let silent = Mode::Silent.name();
        self.ran.by_mode.keys().all(|mode| *mode == silent) && self.alerts.disturbing == 0
    }
}

/// Brings a run together.
pub fn silent_trial(input: TrialInput<'_>) -> SilentTrial {
    let TrialInput { events, alerts, envelopes, books, policy, provenance, evaluation, drift } =
        input;
    let ran = Ran::of(events, envelopes);
    let scored: Vec<&RiskEvent> =
        events.iter().filter(|event| event.revision == 0 && event.scores.is_some()).collect();
    SilentTrial {
        warnings: provenance.warnings(),
        alerts: Burden::of(alerts, &ran, policy),
        quality: Quality::of(books),
        freshness: Freshness::of(&scored, policy.stale_after),
        scores: Scores::of(&scored),
        doubts: data::doubts(&scored),
        ran,
        provenance,
        evaluation,
        drift,
    }
}

/// The time that the stays' windows cover, each from its first to its last.
pub fn patient_days(windows: impl Iterator<Item = (StayId, EventTime)>) -> f64 {
    let mut spans: BTreeMap<StayId, (EventTime, EventTime)> = BTreeMap::new();
    for (stay, t) in windows {
        let span = spans.entry(stay).or_insert((t, t));
        *span = (span.0.min(t), span.1.max(t));
    }
    spans.values().map(|(from, to)| to.since(*from).as_hours() / 24.0).sum()
}

impl Ran {
    fn of(events: &[RiskEvent], envelopes: &[Envelope]) -> Self {
        let mut ran = Ran { events: events.len(), ..Ran::default() };
        let mut stays = BTreeSet::new();
        let (mut models, mut configs) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            stays.insert(event.stay);
            ran.revisions += usize::from(event.revision > 0);
            ran.windows += usize::from(event.revision == 0 && event.counted_as() != "closing");
            *ran.by_status.entry(event.counted_as()).or_default() += 1;
            *ran.by_mode.entry(event.mode.name()).or_default() += 1;
            let model = &event.model;
            models.insert(format!("{} {}, {}", model.name, model.version, model.digest));
            configs.insert(event.config_digest.to_string());
        }
        let times = || events.iter().map(|event| event.t);
        ran.from = times().min().map(|t| t.to_string());
        ran.until = times().max().map(|t| t.to_string());
        // Times of one form and zone sort as text.
        let computed = || envelopes.iter().map(|envelope| envelope.computed_at.clone());
        (ran.computed_from, ran.computed_until) = (computed().min(), computed().max());
        ran.stays = stays.len();
        ran.patient_days = patient_days(events.iter().map(|event| (event.stay, event.t)));
        (ran.models, ran.configs) = (listed(models), listed(configs));
        ran.nodes = listed(envelopes.iter().map(|envelope| envelope.node.clone()).collect());
        ran.programs = listed(envelopes.iter().map(|envelope| envelope.program.clone()).collect());
        let latencies = envelopes.iter().filter_map(|envelope| envelope.latency_ms);
        let latencies = sorted(latencies.filter(|ms| ms.is_finite()));
        ran.latency_p50_ms = percentile(&latencies, 0.5);
        ran.latency_p99_ms = percentile(&latencies, 0.99);
        ran
    }
}

fn listed(names: BTreeSet<String>) -> Vec<String> {
    let more = names.len().saturating_sub(LISTED_MOST);
    let mut listed: Vec<String> = names.into_iter().take(LISTED_MOST).collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
