//! Looks at stays: each is written down before its answer leaves, and administrators can read them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use maud::{Markup, html};

use super::follow::wall_now;
use super::page::{self, Here};
use super::{App, format};
use crate::http::access::Visitor;
use crate::http::audit::{AuditError, AuditLog, Look, Outcome, Told};
use crate::http::shown::peer;
use crate::ids::StayId;

/// Looks that the page shows.
const SHOWN: usize = 200;

/// Where looks are written down.
pub struct Looks {
    pub log: AuditLog,
    /// Name of this node.
    pub node: String,
}

/// Writes down who asked for what of which stay and what came of it. An answer whose look cannot
/// be written down is not given.
pub async fn written_down(
    State(app): State<Arc<App>>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let Some(looks) = app.looks.clone() else { return next.run(request).await };
    let stay = params.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.parse::<u64>());
    let visitor = request.extensions().get::<Visitor>().cloned();
    // An address without the number of a stay shows none.
    let (Some(Ok(stay)), Some(visitor)) = (stay, visitor) else { return next.run(request).await };
    let asked = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
    let matched = request.extensions().get::<MatchedPath>();
    let what = what(matched.map_or("", MatchedPath::as_str));
    let peer = peer(&request);
    let mut response = next.run(request).await;
    let outcome = outcome(response.status());
    let (at, stay, node) = (wall_now(), StayId(stay), looks.node.clone());
    let look = Look { at, visitor, peer, stay, what, path: asked, outcome, node };
    match write(looks, look).await {
        Ok(()) => {
            // What a browser kept would be looked at again without our knowing.
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => unwritten(&error),
    }
}

/// Writes a look down; says why it could not be.
pub async fn write(looks: Arc<Looks>, look: Look) -> Result<(), String> {
    match tokio::task::spawn_blocking(move || looks.log.append(&look)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What is answered instead of a page whose look cannot be written down.
pub const UNWRITTEN: &str = "No stay can be shown: looks at stays cannot be written down at the \
    moment. Whoever runs this service finds the reason in its log.";

fn unwritten(error: &str) -> Response {
    tracing::error!("a look at a stay is refused: {error}");
    (StatusCode::SERVICE_UNAVAILABLE, UNWRITTEN).into_response()
}

/// What the routes below `/stay` show.
fn what(route: &str) -> &'static str {
    match route.strip_prefix("/stay/{id}").unwrap_or_default() {
        "" => "stay page",
        rest if rest.starts_with("/film/") => "film",
        rest if rest.starts_with("/generated/") && rest.ends_with("/dicom") => {
            "generated film as DICOM"
        }
        rest if rest.starts_with("/generated/") => "generated film",
        "/provenance.json" => "provenance",
        "/inputs.csv" => "model inputs",
        rest if rest.starts_with("/alert/") => "answer to an alert",
        _ => "data of a stay",
    }
}

pub fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::FORBIDDEN => Outcome::Refused,
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Outcome::Missing,
        status if status.is_success() => Outcome::Shown,
        _ => Outcome::Failed,
    }
}

/// `GET /audit`.
pub async fn audit(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let chrome = app.chrome("/audit", (None, 0), &visitor);
    let read =
        app.looks.clone().map(|looks| tokio::task::spawn_blocking(move || looks.log.recent(SHOWN)));
    let (status, content) = match read {
        None => (
            StatusCode::OK,
            html! {
                p { "Nobody's looks are written down: this synthetic ward is open to everybody on \
                     this machine. Set http.tokens to change that." }
            },
        ),
        Some(read) => match read.await {
            Ok(Ok(told)) => (StatusCode::OK, table(&told)),
            Ok(Err(error)) => unreadable(&error),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, html! {}),
        },
    };
    let body = html! { h1 { "Audit log" } (content) };
    let page = page::frame(&chrome, "Audit log", Here::Audit, body);
    (status, Html(page.into_string())).into_response()
}

fn unreadable(error: &AuditError) -> (StatusCode, Markup) {
    let content = html! { p { "The log cannot be read: " (error.to_string()) } };
    (StatusCode::INTERNAL_SERVER_ERROR, content)
}

fn table(told: &[Told]) -> Markup {
    html! {
        p.lead { "The newest " (told.len()) " looks at stays. " code { "nowcxr audit verify" }
            " says whether the file is whole." }
        div.card.scroll tabindex="0" role="region" aria-label="Looks at stays" { table.looks {
            thead { tr {
                @for head in ["When (UTC)", "Who", "Role", "From", "Stay", "What", "Outcome"] {
                    th scope="col" { (head) }
                }
            } }
            tbody { @for one in told { tr {
                th scope="row" { (format::wall_stamp(one.at)) }
                td { (one.who) } td { (one.role) } td { (one.from) } td { (one.stay) }
                td title=(one.path) { (one.what) }
                td { (one.outcome) }
            } } }
        } }
    }
}
