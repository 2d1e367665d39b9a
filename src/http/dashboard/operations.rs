//! Operations: what was read and refused, and what this process has done.

mod counters;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use counters::Counters;

use super::page::{self, Here};
use super::{App, format};
use crate::http::access::Visitor;

/// `GET /operations`.
pub async fn operations(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Html<String> {
    let chrome = app.chrome("/operations", (None, 0), &visitor);
    let state = app.shared.state();
    let ward = app.shared.ward();
    let counts = &ward.counts;
    let rows = [
        ("Stays held", ward.stays().count() as u64),
        ("Risk events read", counts.risks),
        ("Views read", counts.views),
        ("Films told", counts.films),
        ("Records that could not be read", counts.unreadable),
        ("Stays let go for want of room", counts.dropped_stays),
        ("Windows let go for want of room", counts.dropped_moments),
    ];
    let body = html! {
        h1 { "Operations" }
        div.stay {
            section.card.half { h2 { "Feed" }
                dl.facts {
                    div { dt { "State" } dd { (state.trouble.as_deref().unwrap_or("reads well")) } }
                    div { dt { "Newest data read" } dd {
                        (chrome.changed_at.as_deref().unwrap_or("none yet")) } }
                    div { dt { "Event time reached" } dd {
                        @match ward.clock() { Some(at) => (format::stamp(at)), None => "–" } } }
                    @for (words, n) in rows { div { dt { (words) } dd { (n) } } }
                }
            }
            section.card.half { h2 { "Risk events by state" }
                dl.facts { @for (status, n) in &counts.by_status {
                    div { dt { (status) } dd { (n) } }
                } }
            }
            (of_this_process(&Counters::now()))
            section.card.half { h2 { "Dead letters" }
                @if counts.dead_letters.is_empty() { p { "No record was refused." } }
                @else {
                    div.scroll tabindex="0" role="region" aria-label="Dead letters" { table {
                    thead { tr { th scope="col" { "Topic" } th scope="col" { "Reason" }
                        th scope="col" { "Records" } } }
                    tbody { @for ((topic, reason), n) in &counts.dead_letters { tr {
                        td { (topic) } td { (format::words(reason)) } td { (n) }
                    } } }
                    } }
                    p.faint { code { "nowcxr dead-letters" } " lists them, each with its place \
                        and reason, and sends again what can be used now." }
                }
            }
            section.card.half { h2 { "For machines" }
                p { a href="/metrics" { "Prometheus metrics" } " · " a href="/readyz" {
                    "Readiness" } " · " a href="/healthz" { "Health" } }
            }
        }
    };
    Html(page::frame(&chrome, "Operations", Here::Operations, body).into_string())
}

/// A process that only shows has counted nothing.
fn of_this_process(counters: &Counters) -> Markup {
    html! {
        section.card.half { h2 { "This process" }
            @if counters.is_at_work() {
                dl.facts { @for (words, n) in counters.rows() {
                    div { dt { (words) } dd { (n) } }
                } }
            } @else {
                p { "It only shows what others have computed. Delay, late and double facts are \
                     counted where that is done." }
            }
        }
    }
}
