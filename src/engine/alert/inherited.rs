//! Alerts that an earlier maker raised: whatever is told of them later still goes by their name.

use serde::{Deserialize, Serialize};

use super::{Alert, Voice, alert_id};
use crate::engine::identity::Maker;
use crate::event::alert::Subject;
use crate::ids::AlertId;
use crate::time::EventTime;

/// A standing alert among those of its stay, and who raised it. At most one a subject stands.
type Raised = (EventTime, Subject, Maker);

/// Who raised which of the alerts of a stay; whoever speaks now raised the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inherited(Vec<Raised>);

impl Inherited {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The alerts with these keys were raised by `earlier`, unless by somebody before.
    pub(super) fn add(
        &mut self,
        keys: impl Iterator<Item = (EventTime, Subject)> + Clone,
        earlier: Maker,
    ) {
        self.keep(keys.clone());
        for (at, subject) in keys {
            if !self.0.iter().any(|(t, s, _)| (*t, *s) == (at, subject)) {
                self.0.push((at, subject, earlier));
            }
        }
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, keys: impl Iterator<Item = (EventTime, Subject)> + Clone) {
        self.0.retain(|(t, s, _)| keys.clone().any(|key| key == (*t, *s)));
    }

    pub(super) fn maker_of(&self, alert: &Alert, voice: Voice<'_>) -> Maker {
        let raised = self.0.iter().find(|(t, s, _)| (*t, *s) == alert.key());
        raised.map_or_else(|| voice.identity.maker(), |(_, _, maker)| *maker)
    }

    pub(super) fn id_of(&self, alert: &Alert, voice: Voice<'_>) -> AlertId {
        alert_id(alert, self.maker_of(alert, voice), voice.stay)
    }
}
