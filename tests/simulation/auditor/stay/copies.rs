//! Charted copies of what the laboratory has reported.

use nowcxr::config::EngineConfig;
use nowcxr::event::Fact;
use nowcxr::ids::{FactId, Topic};

use super::super::window::Applied;
use super::Stay;
use crate::ward::dictionary;

fn is_of_lab(fact: &Fact, config: &EngineConfig) -> bool {
    config.feeds[usize::from(fact.feed.0)].topic == Topic::Lab
}

/// Whether the second is a copy of the first, wherever they come from.
fn is_copy(of: &Applied, copy: &Applied, config: &EngineConfig) -> bool {
    let (Some((variable, reported)), Some((other, charted))) = (of.value(), copy.value()) else {
        return false;
    };
    let precision = dictionary().variable(variable).unwrap().signal.copied_within;
    let behind = copy.fact.observed_at.since(of.fact.observed_at).as_millis();
    variable == other
        && precision.is_some_and(|precision| (reported - charted).abs() <= precision)
        && (0..=config.shadow.as_millis()).contains(&behind)
        && is_of_lab(&of.fact, config)
        && !is_of_lab(&copy.fact, config)
}

impl Stay {
    pub(super) fn is_shadow(&self, fact: &Fact, config: &EngineConfig) -> bool {
        let own = Applied { fact: fact.clone(), void: false };
        self.applied.iter().any(|of| is_copy(of, &own, config))
    }

    /// The copies of a result do not hold any more.
    pub(super) fn overshadow(&mut self, fact: &Fact, config: &EngineConfig) {
        let own = Applied { fact: fact.clone(), void: false };
        let mut copies: Vec<FactId> = Vec::new();
        for other in self.applied.iter_mut().filter(|a| !a.void && is_copy(&own, a, config)) {
            other.void = true;
            copies.push(other.fact.id);
        }
        self.copies.insert(fact.id, copies);
    }
}
