//! Operations and the model card: what was read and refused, and what the model is.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::page::{self, Here};
use super::{App, format};
use crate::http::access::Visitor;

/// Bytes of a model card that are shown.
const MAX_CARD: usize = 256 << 10;

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
            section.card.half { h2 { "Dead letters" }
                @if counts.dead_letters.is_empty() { p { "No record was refused." } }
                @else { div.scroll tabindex="0" role="region" aria-label="Dead letters" { table {
                    thead { tr { th scope="col" { "Topic" } th scope="col" { "Reason" }
                        th scope="col" { "Records" } } }
                    tbody { @for ((topic, reason), n) in &counts.dead_letters { tr {
                        td { (topic) } td { (format::words(reason)) } td { (n) }
                    } } }
                } } }
            }
            section.card.half { h2 { "For machines" }
                p { a href="/metrics" { "Prometheus metrics" } " · " a href="/readyz" {
                    "Readiness" } " · " a href="/healthz" { "Health" } }
            }
        }
    };
    Html(page::frame(&chrome, "Operations", Here::Operations, body).into_string())
}

/// `GET /model`.
pub async fn model(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Html<String> {
    let chrome = app.chrome("/model", (None, 0), &visitor);
    let path = app.model.join("model_card.md");
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = read.ok().and_then(Result::ok);
    let body = match text {
        Some(text) => {
            let text: String = text.chars().take(MAX_CARD).collect();
            html! { article.card.prose { (markdown(&text)) } }
        }
        None => html! {
            h1 { "Model card" }
            p { "The model's directory has no model_card.md that can be read." }
        },
    };
    Html(page::frame(&chrome, "Model card", Here::Model, body).into_string())
}

/// Headings, paragraphs, tables and fences of a card; everything else stays as it was written.
fn markdown(text: &str) -> Markup {
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    html! { @for block in blocks { (one_block(block)) } }
}

fn one_block(block: &str) -> Markup {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    if let Some(title) = block.strip_prefix("# ") {
        return html! { h1 { (title) } };
    }
    if let Some(title) = block.strip_prefix("## ") {
        return html! { h2 { (title) } };
    }
    if block.starts_with("```") {
        return html! { pre tabindex="0" { (block.trim_matches('`').trim()) } };
    }
    if block.starts_with('|') {
        let mut lines = block.lines();
        let head = lines.next().map(cells).unwrap_or_default();
        return html! { div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr { @for cell in head { th scope="col" { (cell) } } } }
            tbody { @for line in lines.skip(1) { tr {
                @for cell in cells(line) { td { (cell) } }
            } } }
        } } };
    }
    html! { p { (block.replace("**", "").replace('`', "")) } }
}
