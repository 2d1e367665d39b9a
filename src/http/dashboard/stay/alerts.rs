//! The stay's alerts and what people did about them.

use maud::{Markup, html};

use super::StayPage;
use crate::event::alert::{Priority, Subject};
use crate::event::risk::Mode;
use crate::http::dashboard::ward::AlertNote;
use crate::http::dashboard::{acts, format};
use crate::wire::AlertState;

impl StayPage<'_> {
    /// Nothing where there was no alert: most stays have none.
    pub fn alerts(&self) -> Markup {
        let alerts = self.stay.alerts(self.at);
        html! {
            @if !alerts.is_empty() {
                section.card.alerts-card aria-labelledby="alerts-title" {
                    h2 #alerts-title { "Alerts" }
                    p.faint { "What the alert policy says. Silent ones have disturbed nobody." }
                    div.scroll.tall tabindex="0" role="region" aria-label="All alerts" { table {
                        thead { tr {
                            th scope="col" { "Raised" } th scope="col" { "About" }
                            th scope="col" { "State" } th scope="col" { "What it says" }
                            @if self.may_answer { th scope="col" { "Answer" } }
                        } }
                        tbody { @for note in alerts { (self.alert(note)) } }
                    } }
                }
            }
        }
    }
}

impl StayPage<'_> {
    fn alert(&self, note: &AlertNote) -> Markup {
        html! {
            tr data-alert=(note.alert) {
                th scope="row" { (format::stamp(note.raised_at)) }
                td { (subject(note.subject)) ", " (priority(note.priority)) }
                td {
                    (state(note.state))
                    @if let Some((role, at)) = &note.response {
                        ", " @if let Some(role) = role { (role) ", " } (format::stamp(*at))
                    }
                    @if note.delivery == Mode::Silent { " (silent)" }
                }
                td { (note.summary) }
                @if self.may_answer { td {
                    @if self.told == Some(note.alert) {
                        p.told role="status" { "Written; what comes of it is shown here." }
                    }
                    (acts::form(self.id, note))
                } }
            }
        }
    }
}

const fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::InHospitalDeath => "risk",
        Subject::DataQuality => "data",
    }
}

const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}

/// The state in words of a reader.
pub const fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Open => "open",
        AlertState::Acknowledged => "seen",
        AlertState::Actioned => "acted upon",
        AlertState::Dismissed => "dismissed",
        AlertState::Resolved => "over",
        AlertState::EnteredInError => "taken back",
    }
}
