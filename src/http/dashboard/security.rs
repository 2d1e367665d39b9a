//! The headers of every answer: nothing but this program's own files is loaded, nothing inline is
//! run, and nobody frames, sniffs or keeps a page with patients on it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;
use crate::http::shown::is_for_this_machine;

/// The content-security policy of every page.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Adds them; an answer that has a word of its own about one of them keeps it.
pub async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses what another site's page makes a browser send; programs that are no browser pass.
pub async fn same_site(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let ours = site.is_none_or(|site| ["same-origin", "none"].contains(&site));
    if ours || request.method().is_safe() {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this form was sent by another site").into_response()
}

/// An open dashboard answers to this machine's own names only: another site that points its name
/// at this address (DNS rebinding) learns nothing. Where tokens are asked for, a browser sends its
/// cookie to no other name than the one it has it from.
pub async fn this_machine_only(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if is_for_this_machine(&request) || !app.access.is_open() {
        return next.run(request).await;
    }
    let text = "an open dashboard answers to localhost only; use an SSH tunnel, or set http.tokens";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}
