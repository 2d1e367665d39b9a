//! The report of an evaluation of what is shown, as `nowcxr evaluate` wrote it: a page of its own,
//! with its own style and nothing else.

use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::html;
use sha2::{Digest as _, Sha256};

use super::page::{self, Here};
use super::stay_routes::off_thread;
use super::{App, format};
use crate::http::access::Visitor;

/// Bytes of a report that are shown. One has some hundred kilobytes.
const MAX_REPORT: u64 = 32 << 20;

/// The way back, which the report itself does not know.
const BACK: &str = "<main>\n<p><a href=\"/ward\">Back to the ward</a></p>";

/// `GET /evaluation`.
pub async fn evaluation(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let Some(path) = app.report.clone() else { return none(&app, &visitor).into_response() };
    let read = off_thread(&app, move |_| read(&path)).await;
    match read {
        Some(Ok(report)) => shown(&report),
        Some(Err(why)) => {
            let text = format!("the report cannot be read: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_REPORT {
        let why = format!("it has {length} bytes, {MAX_REPORT} are shown; open the file itself");
        return Err(std::io::Error::other(why));
    }
    std::fs::read_to_string(path)
}

/// The report, allowed its own style by that style's digest.
fn shown(report: &str) -> Response {
    let style = report.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let digest = Sha256::digest(style.map_or("", |(style, _)| style).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'",
        BASE64_STANDARD.encode(digest)
    );
    let mut response = Html(report.replacen("<main>", BACK, 1)).into_response();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn none(app: &App, visitor: &Visitor) -> Html<String> {
    let chrome = app.chrome("/evaluation", (None, 0), visitor);
    let body = html! {
        h1 { "Evaluation" }
        section.card.prose {
            p { "Nothing says here how good the scores are: no report was given." }
            p { "Where outcomes are known, make one and show it:" }
            pre tabindex="0" {
                "nowcxr evaluate --run DIR --out EVALUATION\n"
                "nowcxr serve --out DIR --evaluation EVALUATION"
            }
            p { "It tells discrimination and calibration with intervals, by film age and by group, \
                 and what the same model says without the film and without the update." }
            @if let Some(at) = app.shared.ward().clock() {
                p.faint { "Read up to " (format::stamp(at)) "." }
            }
        }
    };
    Html(page::frame(&chrome, "Evaluation", Here::Evaluation, body).into_string())
}
