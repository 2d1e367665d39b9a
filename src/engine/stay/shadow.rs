//! The same value said twice: by the laboratory, and charted at the bedside up to an hour later
//! (`reference/clinical.md` 5, failure 2). The laboratory's counts.
//!
//! A charted value is a shadow if the laboratory has reported the same, within the variable's
//! precision, of a moment up to `shadow` before it; whether that result was taken back since does
//! not matter, for a copy of what is wrong is wrong. What comes first cannot be seen in the series
//! then: a copy behind its result is not used, and one before it no longer holds from there on.

use super::{Context, Stay};
use crate::event::{Fact, Observation};
use crate::ids::{FeedId, Topic};
use crate::series::chunk::Entry;
use crate::time::Span;

/// How copies of one variable are known.
#[derive(Clone, Copy)]
struct Rule {
    within: f64,
    behind: Span,
}

impl Rule {
    fn says_the_same(&self, observation: Observation, entry: &Entry) -> bool {
        (entry.value - observation.value()).abs() <= self.within
    }
}

/// The rule for an observation of this feed; `None` where copies are not looked for.
fn rule_of(observation: Observation, context: Context<'_>) -> Option<Rule> {
    let behind = Some(context.config.shadow).filter(|shadow| *shadow > Span::ZERO)?;
    let signal = context.config.signals.get(usize::from(observation.variable().0))?;
    Some(Rule { within: signal.copied_within?, behind })
}

/// Whether a feed is a laboratory's.
fn is_of_lab(feed: FeedId, context: Context<'_>) -> bool {
    let feed = context.config.feeds.get(usize::from(feed.0));
    feed.is_some_and(|feed| feed.topic == Topic::Lab)
}

impl Stay {
    /// Whether the fact is a charted copy of what the laboratory has reported.
    pub(super) fn is_shadow(&self, fact: &Fact, context: Context<'_>) -> bool {
        let Some(observation) = fact.body.observation() else { return false };
        let Some(rule) = rule_of(observation, context) else { return false };
        if is_of_lab(fact.feed, context) {
            return false;
        }
        let (from, to) = (fact.observed_at - rule.behind, fact.observed_at);
        let reported = self.history.entries_of(observation.variable(), from, to);
        reported.iter().any(|entry| !entry.charted && rule.says_the_same(observation, entry))
    }

    /// Adds an observation to the series. A laboratory's ends the use of its copies; how many.
    pub(super) fn append(
        &mut self,
        fact: &Fact,
        observation: Observation,
        seq: u32,
        context: Context<'_>,
    ) -> usize {
        let (at, variable, key) = (fact.observed_at, observation.variable(), fact.id.key());
        let rule = rule_of(observation, context);
        if rule.is_some() && !is_of_lab(fact.feed, context) {
            self.history.append_charted(at, variable, observation.value(), key, seq);
            return 0;
        }
        self.history.append(at, variable, observation.value(), key, seq);
        let Some(rule) = rule else { return 0 };
        let charted = self.history.entries_of(variable, at, at + rule.behind);
        let is_held = |key: u64| !self.retractions.iter().any(|(gone, _)| *gone == key);
        let copies: Vec<u64> = charted
            .iter()
            .filter(|entry| entry.charted && rule.says_the_same(observation, entry))
            .map(|entry| entry.key)
            .filter(|key| is_held(*key))
            .collect();
        self.retractions.extend(copies.iter().map(|key| (*key, seq)));
        copies.len()
    }
}
