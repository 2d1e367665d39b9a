//! What people do about alerts (`reference/clinical.md` 2.4).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{By, Word};
use crate::ids::{AlertId, NAMESPACE, StayId};
use crate::time::Span;

/// What a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The same however often its record is sent.
    pub id: Uuid,
    pub stay: StayId,
    pub deed: Deed,
    pub by: By,
}

impl Act {
    /// An act; the same of the same stay at the same moment has the same id.
    pub fn new(stay: StayId, deed: Deed, by: By) -> Self {
        let name = format!("act/{stay}/{deed:?}/{}", by.at.as_millis());
        Act { id: Uuid::new_v5(&NAMESPACE, name.as_bytes()), stay, deed, by }
    }
}

/// The closed list of what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    Acknowledge(AlertId),
    Action(AlertId),
    Dismiss(AlertId, Word),
    /// No alert on this subject, and no escalation, for so long.
    Snooze(AlertId, Snooze),
    /// No alerts at all for this stay, until released.
    Suppress(Suppression),
    Release,
}

/// How long a snooze may be (`reference/clinical.md` 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Snooze {
    OneHour,
    FourHours,
    TwelveHours,
}

/// Why a stay has no alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// Comfort care or a do-not-resuscitate order.
    ComfortCare,
    /// Another decision of the site.
    SiteDecision,
}

impl Snooze {
    pub const ALL: [Snooze; 3] = [Snooze::OneHour, Snooze::FourHours, Snooze::TwelveHours];

    pub const fn length(self) -> Span {
        Span::hours(self.hours())
    }

    pub const fn hours(self) -> i64 {
        match self {
            Snooze::OneHour => 1,
            Snooze::FourHours => 4,
            Snooze::TwelveHours => 12,
        }
    }

    pub fn from_hours(hours: i64) -> Option<Self> {
        Snooze::ALL.into_iter().find(|snooze| snooze.hours() == hours)
    }
}

impl Suppression {
    pub const ALL: [Suppression; 2] = [Suppression::ComfortCare, Suppression::SiteDecision];

    pub const fn code(self) -> &'static str {
        match self {
            Suppression::ComfortCare => "comfort_care",
            Suppression::SiteDecision => "site_decision",
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        Suppression::ALL.into_iter().find(|suppression| suppression.code() == code)
    }
}

impl Deed {
    /// The alert that it is about; `None` if it is about the stay.
    pub const fn alert(&self) -> Option<AlertId> {
        match self {
            Deed::Acknowledge(alert)
            | Deed::Action(alert)
            | Deed::Dismiss(alert, _)
            | Deed::Snooze(alert, _) => Some(*alert),
            Deed::Suppress(_) | Deed::Release => None,
        }
    }
}
