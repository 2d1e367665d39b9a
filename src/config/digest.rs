//! The digest of all that can change a payload. A start under another digest says so, because its
//! events would not be those of the same configuration.

use super::value::show;
use super::{AlertPolicy, Config, EngineConfig, Feed, LatePolicy};
use crate::event::dictionary::Profile;
use crate::ids::Digest;
use crate::time::Span;

/// The dictionary decides units, ranges and columns, so it belongs to the configuration.
const VARIABLES: &str = include_str!("../../schemas/variables.toml");

impl Config {
    /// One `key=value` line for each setting that can change a payload, in a fixed order. Paths,
    /// addresses, bounds of queues and the like are not among them. `model` covers the weights.
    pub fn canonical(&self, model: Digest) -> Vec<String> {
        // Named one by one, so that a new field of the engine cannot be forgotten here.
        let EngineConfig {
            feeds,
            every,
            landmarks,
            on_film,
            lookback,
            grace,
            max_stay,
            silent_after,
            revise_windows,
            late,
            max_waiting,
            keep,
            max_future,
            shadow,
            // The dictionary's.
            signals: _,
            alerts,
        } = &self.engine;
        let feeds: Vec<String> = feeds.iter().map(feed_words).collect();
        let mut landmarks: Vec<Span> = landmarks.clone();
        landmarks.sort();
        landmarks.dedup();
        let landmarks: Vec<String> = landmarks.into_iter().map(show).collect();
        let mut lines = policy(alerts);
        lines.extend([
            format!("alerts.mode={}", self.alerts.mode.name()),
            format!("engine.every={}", every.map_or("off".to_owned(), show)),
            format!("engine.grace={}", show(*grace)),
            format!("engine.keep={}", show(*keep)),
            format!("engine.landmarks={}", landmarks.join(",")),
            format!("engine.late={}", late_word(*late)),
            format!("engine.lookback={}", show(*lookback)),
            format!("engine.max_future={}", show(*max_future)),
            format!("engine.max_stay={}", show(*max_stay)),
            format!("engine.max_waiting={max_waiting}"),
            format!("engine.on_film={on_film}"),
            format!("engine.profile={}", profile(self.profile)),
            format!("engine.revise_windows={revise_windows}"),
            format!("engine.shadow={}", show(*shadow)),
            format!("engine.silent_after={}", show(*silent_after)),
            format!("feeds.list={}", feeds.join(",")),
            format!("model={model}"),
            format!("variables={}", Digest::of(VARIABLES.as_bytes())),
        ]);
        lines
    }

    /// SHA-256 of [`Config::canonical`].
    pub fn digest(&self, model: Digest) -> Digest {
        Digest::of(self.canonical(model).join("\n").as_bytes())
    }
}

/// The alert policy's lines.
fn policy(policy: &AlertPolicy) -> Vec<String> {
    let AlertPolicy {
        tau_on,
        tau_off_ratio,
        persist,
        min_hold,
        clear_for,
        refractory,
        refire_delta,
        budget,
        stale_after,
        not_before,
        escalate,
    } = policy;
    let escalate: Vec<String> = escalate.iter().map(|&span| show(span)).collect();
    vec![
        format!("alerts.budget={budget}"),
        format!("alerts.clear_for={}", show(*clear_for)),
        format!("alerts.escalate={}", escalate.join(",")),
        format!("alerts.min_hold={}", show(*min_hold)),
        format!("alerts.not_before={}", show(*not_before)),
        format!("alerts.persist={persist}"),
        format!("alerts.refire_delta={refire_delta}"),
        format!("alerts.refractory={}", show(*refractory)),
        format!("alerts.stale_after={}", show(*stale_after)),
        format!("alerts.tau_off_ratio={tau_off_ratio}"),
        format!("alerts.tau_on={tau_on}"),
    ]
}

/// What decides when this feed's windows close.
fn feed_words(feed: &Feed) -> String {
    let Feed { name, topic, lateness } = feed;
    let lateness = lateness.map_or_else(String::new, |span| format!(":{}", show(span)));
    format!("{name}:{}{lateness}", topic.name())
}

const fn late_word(late: LatePolicy) -> &'static str {
    match late {
        LatePolicy::Keep => "keep",
        LatePolicy::Drop => "drop",
    }
}

const fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::Clinical => "clinical",
        Profile::Reference => "reference",
    }
}
