//! What came in, how fresh it was, and how the scores lie.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sorted;
use crate::event::risk::{Doubt, FilmAge, RiskEvent};
use crate::metrics::percentile;
use crate::replay::Reconciliation;
use crate::time::Span;

/// Bars of the histogram of scores, over 0 to 1.
pub(super) const SCORE_BARS: usize = 10;

/// The fate of every record, and of the rows that never became one.
#[derive(Debug, Default, Serialize)]
pub struct Quality {
    pub topics: Vec<TopicFates>,
    /// Topic or table, reason, how many.
    pub reasons: Vec<(String, &'static str, u64)>,
}

/// Of the records of one topic, each counted once.
#[derive(Debug, Serialize)]
pub struct TopicFates {
    pub topic: &'static str,
    pub used: u64,
    pub late: u64,
    pub duplicate: u64,
    pub shadow: u64,
    pub rejected: u64,
}

/// How old inputs were when they were scored.
#[derive(Debug, Default, Serialize)]
pub struct Freshness {
    pub windows: usize,
    /// Hours from the newest observation to the window: median and 95th percentile.
    pub newest_p50_h: Option<f64>,
    pub newest_p95_h: Option<f64>,
    /// Windows whose newest observation was older than the policy allows, or that had none.
    pub stale: usize,
    pub stale_after_h: f64,
    /// Windows for which a feed was silent.
    pub feed_missing: usize,
    /// Windows by stratum of the film's age, from fresh to none.
    pub films: Vec<(&'static str, usize)>,
    /// In the order of their codes.
    pub variables: Vec<VariableAge>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct VariableAge {
    pub code: String,
    /// Windows that had an observation of it.
    pub windows: usize,
    /// Hours since the last one, in those.
    pub p50_h: Option<f64>,
    pub p95_h: Option<f64>,
}

/// Scores of the windows, and of each stay's last one.
#[derive(Debug, Default, Serialize)]
pub struct Scores {
    pub windows: usize,
    /// Windows by tenth of the probability.
    pub histogram: [usize; SCORE_BARS],
    pub p05: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    /// Mean absolute difference of the score from that without any film.
    pub from_ehr_only: Option<f64>,
    /// The same from that with the last film as it was taken.
    pub from_carry_forward: Option<f64>,
}

impl Quality {
    pub(super) fn of(books: &Reconciliation) -> Self {
        let mut quality = Quality::default();
        for (topic, counts) in books.topics() {
            quality.topics.push(TopicFates {
                topic: topic.name(),
                used: counts.used,
                late: counts.late,
                duplicate: counts.duplicate,
                shadow: counts.shadow,
                rejected: counts.rejected.values().sum(),
            });
            let rejected = counts.rejected.iter();
            let told = rejected.map(|(reason, n)| (topic.name().to_owned(), reason.code(), *n));
            quality.reasons.extend(told);
        }
        for (table, counts) in books.tables() {
            let rejected = counts.rejected.iter();
            let place = format!("table {}", table.name());
            quality.reasons.extend(rejected.map(|(why, n)| (place.clone(), why.code(), *n)));
        }
        quality.reasons.sort_by_key(|(_, _, n)| std::cmp::Reverse(*n));
        quality
    }
}

impl Freshness {
    pub(super) fn of(scored: &[&RiskEvent], stale_after: Span) -> Self {
        let newest = |event: &RiskEvent| Some(event.t.since(event.series.last_observed_at?));
        let ages = sorted(scored.iter().filter_map(|event| newest(event)).map(Span::as_hours));
        let stale = scored.iter().filter(|event| newest(event).is_none_or(|age| age > stale_after));
        let mut by_variable: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for event in scored {
            for one in &event.last_observed {
                let hours = event.t.since(one.at).as_hours();
                by_variable.entry(&one.variable).or_default().push(hours);
            }
        }
        let variable = |(code, hours): (&str, Vec<f64>)| {
            let hours = sorted(hours.into_iter());
            VariableAge {
                code: code.to_owned(),
                windows: hours.len(),
                p50_h: percentile(&hours, 0.5),
                p95_h: percentile(&hours, 0.95),
            }
        };
        Freshness {
            windows: scored.len(),
            newest_p50_h: percentile(&ages, 0.5),
            newest_p95_h: percentile(&ages, 0.95),
            stale: stale.count(),
            stale_after_h: stale_after.as_hours(),
            feed_missing: scored.iter().filter(|event| !event.feed_missing.is_empty()).count(),
            films: films(scored),
            variables: by_variable.into_iter().map(variable).collect(),
        }
    }
}

fn films(scored: &[&RiskEvent]) -> Vec<(&'static str, usize)> {
    let age = |event: &RiskEvent| Some(FilmAge::of(event.t.since(event.film?.acquired_at)));
    let of = |wanted| scored.iter().filter(|event| age(event) == wanted).count();
    let mut all: Vec<_> = FilmAge::ALL.map(|age| (age.name(), of(Some(age)))).into();
    all.push(("no film", of(None)));
    all
}

impl Scores {
    pub(super) fn of(scored: &[&RiskEvent]) -> Self {
        let all = || scored.iter().filter_map(|event| event.scores.as_ref());
        let values = sorted(all().map(|scores| f64::from(scores.mortality.get())));
        let mut histogram = [0; SCORE_BARS];
        for value in &values {
            let place = ((value * SCORE_BARS as f64) as usize).min(SCORE_BARS - 1);
            histogram.get_mut(place).into_iter().for_each(|n| *n += 1);
        }
        let mean =
            |of: Vec<f64>| (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64);
        let apart = |a: f32, b: f32| f64::from((a - b).abs());
        let ehr = all().filter_map(|s| Some(apart(s.mortality.get(), s.ehr_only?.get())));
        let old = all().filter_map(|s| Some(apart(s.mortality.get(), s.carry_forward?.get())));
        Scores {
            windows: values.len(),
            histogram,
            p05: percentile(&values, 0.05),
            p50: percentile(&values, 0.5),
            p95: percentile(&values, 0.95),
            from_ehr_only: mean(ehr.collect()),
            from_carry_forward: mean(old.collect()),
        }
    }
}

/// Doubts of the scored windows, the most frequent first.
pub(super) fn doubts(scored: &[&RiskEvent]) -> Vec<(&'static str, usize)> {
    let mut counts: BTreeMap<&'static str, (Doubt, usize)> = BTreeMap::new();
    for doubt in scored.iter().flat_map(|event| &event.validity) {
        counts.entry(doubt.code()).or_insert((*doubt, 0)).1 += 1;
    }
    let mut all: Vec<_> = counts.into_values().map(|(doubt, n)| (doubt.words(), n)).collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    all
}
