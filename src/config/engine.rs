//! How windows are cut, how long things are kept, and who the feeds are.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::AlertPolicy;
use crate::event::dictionary::{Dictionary, Profile, Signal};
use crate::ids::Topic;
use crate::time::Span;

/// The checked settings of the engine. Every bound of the engine is named here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    /// The sources of facts, in the order of their [`crate::ids::FeedId`].
    pub feeds: Vec<Feed>,
    /// A window closes every so long after admission; `None` for none.
    pub every: Option<Span>,
    /// Windows at these ages of the stay, always.
    pub landmarks: Vec<Span>,
    /// Whether a film that arrives closes a window at once.
    pub on_film: bool,
    /// Facts up to this long before admission belong to the stay.
    pub lookback: Span,
    /// Facts observed up to this long after discharge still belong to it.
    pub grace: Span,
    /// Windows stop this long after admission.
    pub max_stay: Span,
    /// Windows stop after so long without a fact.
    pub silent_after: Span,
    /// How many of the newest sealed windows a correction revises.
    pub revise_windows: usize,
    /// What becomes of a fact that its own feed's marks had already passed.
    pub late: LatePolicy,
    /// Facts of one stay that may wait for the watermark or for an admission.
    pub max_waiting: usize,
    /// How long a stay is remembered after its end; until then any fact can still be taken back.
    /// Alerts are judged again so far back and no further.
    pub keep: Span,
    /// A record available so long after it was appended is rejected.
    pub max_future: Span,
    /// A charted copy of what the laboratory has reported, observed up to this long after it, is
    /// not used a second time; zero for no such rule.
    pub shadow: Span,
    /// How the values of each variable can deceive, in the order of their ids: see [`signals`].
    pub signals: Vec<Signal>,
    /// When a risk becomes an alert.
    pub alerts: AlertPolicy,
}

/// One source of facts in one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    pub name: String,
    pub topic: Topic,
    /// How long after a fact became available its record is in the topic at the latest. With it
    /// the feed's marks are derived from when records were appended; without, it sends them.
    #[serde(default)]
    pub lateness: Option<Span>,
}

impl Feed {
    /// The feed of this topic that is named like it and sends marks.
    pub fn of(topic: Topic) -> Self {
        Feed { name: topic.name().to_owned(), topic, lateness: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatePolicy {
    /// It counts as available from the mark that passed it, and serves later windows.
    Keep,
    /// It is counted and forgotten.
    Drop,
}

impl EngineConfig {
    /// The longest that a fact can matter: from before the admission until its stay is forgotten.
    pub fn memory(&self) -> Span {
        let parts = [self.lookback, self.max_stay, self.grace, self.keep];
        Span::from_millis(parts.iter().fold(0, |ms, span| ms.saturating_add(span.as_millis())))
    }
}

/// What the dictionary of this version says of each variable's values. Whoever reads values opens
/// the dictionary itself, and says what is wrong with it if anything is.
pub fn signals(profile: Profile) -> Vec<Signal> {
    static BOTH: LazyLock<[Vec<Signal>; 2]> = LazyLock::new(|| {
        [Profile::Clinical, Profile::Reference].map(|profile| {
            let known = Dictionary::builtin(profile);
            known.map_or_else(|_| Vec::new(), |d| d.variables().iter().map(|v| v.signal).collect())
        })
    });
    let [clinical, reference] = &*BOTH;
    match profile {
        Profile::Clinical => clinical.clone(),
        Profile::Reference => reference.clone(),
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            feeds: Topic::ALL.into_iter().map(Feed::of).collect(),
            every: Some(Span::HOUR),
            landmarks: vec![Span::hours(48)],
            on_film: true,
            lookback: Span::hours(24),
            grace: Span::hours(24),
            max_stay: Span::hours(24 * 90),
            silent_after: Span::hours(24),
            revise_windows: 1,
            late: LatePolicy::Keep,
            max_waiting: 20_000,
            keep: Span::hours(96),
            max_future: Span::minutes(5),
            shadow: Span::minutes(65),
            signals: signals(Profile::Clinical),
            alerts: AlertPolicy::default(),
        }
    }
}
