//! What a consumer says of an alert: to a person in a line, to a program as JSON.

use serde_json::{Value, json};

use super::book::Seen;
use crate::event::risk::Mode;
use crate::wire::{AlertRecord, AlertState};

/// The alert as it stands now, and how far it may disturb in this unit.
#[derive(Clone, Debug)]
pub struct Notice {
    pub record: AlertRecord,
    pub seen: Seen,
    /// As the record says, or less where the unit's budget is spent.
    pub reach: Mode,
    pub held_back: Option<HeldBack>,
}

/// Why an alert disturbs less than it might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// The service runs silently.
    Silent,
    /// The stay has had its share.
    StayBudget,
    /// The unit has had its share.
    UnitBudget,
    /// It was told hours ago, and comes now.
    Past,
}

impl HeldBack {
    pub const fn name(self) -> &'static str {
        match self {
            HeldBack::Silent => "silent",
            HeldBack::StayBudget => "stay_budget",
            HeldBack::UnitBudget => "unit_budget",
            HeldBack::Past => "past",
        }
    }

    /// For a person.
    const fn sentence(self) -> &'static str {
        match self {
            HeldBack::Silent => "silent mode, would have alerted",
            HeldBack::StayBudget => "over the stay's budget, shown only",
            HeldBack::UnitBudget => "over the unit's budget, shown only",
            HeldBack::Past => "of hours ago, shown only",
        }
    }
}

impl Notice {
    /// Whether it may leave by a channel that only shows.
    pub fn is_shown(&self) -> bool {
        self.reach >= Mode::Passive
    }

    /// Whether somebody is to be disturbed now: an alert nobody has answered, when it is raised,
    /// rises or is passed on.
    pub fn disturbs(&self) -> bool {
        self.reach == Mode::Interruptive && self.record.state == AlertState::Open
    }

    /// One line. What the alert says is marked for research use by its summary.
    pub fn line(&self) -> String {
        let record = &self.record;
        let mut line = format!(
            "{}  stay {}  {} {}",
            record.known_at,
            record.stay_id,
            snake(&json!(record.priority)),
            snake(&json!(record.state)),
        );
        if record.escalation > 0 {
            line.push_str(&format!(", passed on {}×", record.escalation));
        }
        if let Some(why) = self.held_back {
            line.push_str(&format!("  [{}]", why.sentence()));
        }
        line.push_str(&format!("  {}  alert {}", record.summary, record.alert_id));
        if record.revision > 0 {
            line.push_str(&format!(" r{}", record.revision));
        }
        line
    }

    /// The record, and what this consumer has decided.
    pub fn json(&self) -> Value {
        json!({
            "alert": self.record,
            "summary": self.record.summary,
            "reach": self.reach.name(),
            "disturbs": self.disturbs(),
            "held_back": self.held_back.map(HeldBack::name),
            "research_use_only": true,
        })
    }
}

/// A word as the schema writes it, without the quotes.
fn snake(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('_', " ")
}
