//! When another configuration or model goes on with the state of a stay.
//!
//! What was said stays said, by whoever said it: a revision of such a window names the earlier
//! event as the one that it supersedes, and an alert keeps its name. What was sealed and not said
//! yet is asked anew, because an answer of another model is none of this one. No effect leaves, so
//! neither does an alert.

use serde::{Deserialize, Serialize};

use super::{Kind, Stay, WindowState};
use crate::config::AlertPolicy;
use crate::engine::alert::Inherited;
use crate::engine::identity::{Identity, Maker};
use crate::ids::Ticket;

/// The windows of a stay whose events one earlier maker let out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Era {
    maker: Maker,
    /// Their numbers as ranges, the ends included.
    windows: Vec<(u32, u32)>,
}

/// What of a stay earlier makers have said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heritage {
    eras: Vec<Era>,
    alerts: Inherited,
}

impl Era {
    fn holds(&self, number: u32) -> bool {
        self.windows.iter().any(|&(first, last)| (first..=last).contains(&number))
    }

    fn add(&mut self, number: u32) {
        match self.windows.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => self.windows.push((number, number)),
        }
    }
}

impl Stay {
    /// `earlier` made this state until now; whoever steps it next is another.
    pub fn hand_over(&mut self, earlier: Maker, policy: &AlertPolicy) {
        let mut era = Era { maker: earlier, windows: Vec::new() };
        for index in 0..self.windows.len() {
            let window = &self.windows[index];
            let (number, asks) = (window.number, window.kind == Kind::Prediction);
            match window.state {
                WindowState::Answered | WindowState::Overdue => {
                    if !self.eras.iter().any(|era| era.holds(number)) {
                        era.add(number);
                    }
                    if window.state == WindowState::Overdue {
                        self.set_state(index, WindowState::Answered);
                    }
                }
                WindowState::Held(_) if asks => self.set_state(index, WindowState::Open),
                WindowState::Held(_) | WindowState::Open => {}
            }
        }
        if !era.windows.is_empty() {
            self.eras.push(era);
        }
        self.alerting.hand_over(earlier, policy);
    }

    /// What earlier makers have said; nothing where there was none.
    pub fn heritage(&self) -> Option<Heritage> {
        let alerts = self.alerting.inherited.clone();
        let is_empty = self.eras.is_empty() && alerts.is_empty();
        (!is_empty).then(|| Heritage { eras: self.eras.clone(), alerts })
    }

    /// Takes back what [`Stay::heritage`] gave.
    pub fn inherit(&mut self, heritage: Heritage) {
        self.eras = heritage.eras;
        self.alerting.inherited = heritage.alerts;
    }

    /// Who let out the event of a sealed window.
    pub(super) fn maker_of(&self, ticket: Ticket, identity: &Identity) -> Maker {
        let number = self.window_of(ticket).map(|window| window.number);
        let era = number.and_then(|number| self.eras.iter().find(|era| era.holds(number)));
        era.map_or_else(|| identity.maker(), |era| era.maker)
    }
}
