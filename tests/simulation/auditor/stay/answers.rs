//! What becomes of an answer, of one that comes too late, and of one that never comes.

use nowcxr::engine::alert::{Alerting, Point, Voice};
use nowcxr::engine::{Answer, Effect, Fate as EngineFate, Outcome, View};
use nowcxr::ids::Ticket;

use super::super::window::{Kind, State, Window};
use super::super::{Fate, Said};
use super::{Desk, Stay};

impl Stay {
    pub fn answer(&mut self, answer: &Answer, desk: &mut Desk<'_>) {
        let asked = |w: &Window| w.t == answer.ticket.t && w.revision == answer.ticket.revision;
        let Some(index) = self.windows.iter().rposition(asked) else { return };
        match self.windows[index].state {
            State::Open => {
                self.windows[index].state = State::Held(Box::new(answer.outcome.clone()), false);
                self.say(desk);
            }
            State::Overdue => {
                self.windows[index].state = State::Said;
                let window = self.windows[index].clone();
                let of_t = self.windows.iter().filter(|w| w.t == window.t);
                if of_t.map(|w| w.revision).max() == Some(window.revision) {
                    let later = Window { revision: window.revision + 1, ..window };
                    self.emit(&later, answer.outcome.clone(), desk);
                    self.windows.push(later);
                }
            }
            _ => {}
        }
    }

    pub fn deadline(&mut self, ticket: Ticket, desk: &mut Desk<'_>) {
        let asked = |w: &Window| w.t == ticket.t && w.revision == ticket.revision;
        let Some(index) = self.windows.iter().rposition(asked) else { return };
        if self.windows[index].state == State::Open {
            let outcome = Outcome::Unscored("deadline_passed".to_owned());
            self.windows[index].state = State::Held(Box::new(outcome), true);
            self.say(desk);
        }
    }

    /// A stay's events leave in the order in which its windows were sealed.
    pub(super) fn say(&mut self, desk: &mut Desk<'_>) {
        for index in 0..self.windows.len() {
            match self.windows[index].state.clone() {
                State::Open => return,
                State::Held(outcome, overdue) => {
                    let window = self.windows[index].clone();
                    self.emit(&window, *outcome, desk);
                    self.windows[index].state = if overdue { State::Overdue } else { State::Said };
                }
                State::Said | State::Overdue => {}
            }
        }
    }

    /// What the alert policy says, and what becomes of people's acts.
    pub(super) fn tell(
        &mut self,
        desk: &mut Desk<'_>,
        act: impl FnOnce(&mut Alerting, Voice<'_>, &mut Vec<Effect>),
    ) {
        let mut effects = Vec::new();
        act(&mut self.alerting, Voice::new(self.id, desk.identity, desk.config), &mut effects);
        for effect in effects {
            match effect {
                Effect::Alert(event) => desk.said.push(Said::Alert(event)),
                Effect::Decided { origin, stay, fate } => {
                    let fate = match fate {
                        EngineFate::Used => Fate::Used,
                        EngineFate::Late => Fate::Late,
                        EngineFate::Duplicate => Fate::Duplicate,
                        EngineFate::Shadow => Fate::Shadow,
                        EngineFate::Rejected(rejection) => {
                            let letter = Said::letter(origin, stay, rejection.reason, None);
                            desk.said.push(letter);
                            Fate::Rejected(rejection.reason)
                        }
                    };
                    desk.fates.push((origin, fate));
                }
                other => panic!("the alert policy says {other:?}"),
            }
        }
    }

    fn emit(&mut self, window: &Window, outcome: Outcome, desk: &mut Desk<'_>) {
        let event = window.event(self.id, outcome, desk.identity);
        let point = Point::of(&event, window.admitted_at, &desk.config.alerts);
        desk.said.push(Said::Risk(Box::new(event.clone())));
        let later = |w: &Window| w.t > window.t && matches!(w.state, State::Said | State::Overdue);
        if !self.windows.iter().any(later) {
            let is_shown = window.kind != Kind::Retraction;
            let given = is_shown.then(|| window.question(self.id, desk.identity));
            desk.said.push(Said::View(Box::new(View { event, given })));
        }
        self.tell(desk, |alerts, voice, out| alerts.risk(point, voice, out));
    }
}
