//! The files that pages load, embedded in the program.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::App;

const CSS: &str = include_str!("../assets/dashboard.css");
const JS: &str = include_str!("../assets/dashboard.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// How long a browser may use them without asking again: a new program may bring new ones.
const KEEP: &str = "private, max-age=60";

pub fn routes() -> Router<Arc<App>> {
    let file = |kind: &'static str, text: &'static str| get(move || send(kind, text));
    Router::new()
        .route("/assets/dashboard.css", file("text/css; charset=utf-8", CSS))
        .route("/assets/dashboard.js", file("text/javascript; charset=utf-8", JS))
        .route("/assets/icon.svg", file("image/svg+xml", ICON))
        .route("/favicon.ico", file("image/svg+xml", ICON))
}

async fn send(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEEP)], text).into_response()
}
