//! Signing in: a form that puts a token into a cookie which scripts and other sites cannot use.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Form, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{RequestExt as _, Router};
use maud::{Markup, html};
use serde::Deserialize;

use super::{App, page};
use crate::http::access::{LEAST_TOKEN, Role};
use crate::http::shown::{COOKIE, peer, status};

/// How long a browser keeps the token: a shift.
const KEEP_SECONDS: u32 = 12 * 3_600;
/// Bytes of the form.
const MAX_FORM: usize = 4 << 10;
/// Characters of the address to go to afterwards; a longer one is let go.
const MAX_NEXT: usize = 1_024;

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Filled {
    token: String,
    #[serde(default)]
    next: String,
}

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/login", get(form).post(sign_in))
        .route("/logout", post(sign_out))
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

async fn form(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Response {
    if app.access.is_open() {
        return Redirect::to("/").into_response();
    }
    Html(login_page(&asked.next, None).into_string()).into_response()
}

async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Response {
    let peer = peer(&request);
    let secure = came_by_tls(request.headers());
    let Ok(Form(filled)) = request.extract::<Form<Filled>, _>().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let token = filled.token.trim();
    match app.access.admit(Some(token), peer, Instant::now()) {
        Ok(visitor) => {
            tracing::info!(name = %visitor.name, role = %visitor.role, "signed in");
            let cookie = cookie(token, KEEP_SECONDS, secure);
            let to = Redirect::to(own_path(&filled.next));
            ([(header::SET_COOKIE, cookie)], to).into_response()
        }
        Err(refusal) => {
            let page = login_page(&filled.next, Some(&refusal.to_string()));
            (status(&refusal), Html(page.into_string())).into_response()
        }
    }
}

async fn sign_out(headers: HeaderMap) -> Response {
    let cookie = cookie("", 0, came_by_tls(&headers));
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// A cookie that no script reads and that no other site's page makes a browser send. A proxy that
/// does TLS says so, and then the cookie never leaves without it.
fn cookie(token: &str, seconds: u32, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // What was let in has only the characters of a header; nothing else reaches this.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("nowcxr_token="))
}

fn came_by_tls(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

/// `next` if it is a path of this site, else the start: nobody may send a visitor elsewhere.
fn own_path(next: &str) -> &str {
    let local = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let plain = next.len() <= MAX_NEXT && next.chars().all(|c| c.is_ascii_graphic());
    if local && plain { next } else { "/" }
}

fn login_page(next: &str, wrong: Option<&str>) -> Markup {
    let next = own_path(next);
    page::plain(
        "Sign in",
        html! {
            form.card.login action="/login" method="post" {
                h1 { "Sign in" }
                p { "This dashboard shows patients' stays. Sign in with the token that whoever \
                     runs this service has given you." }
                @if let Some(wrong) = wrong { p #wrong.wrong role="alert" { (wrong) } }
                label for="token" { "Token" }
                input #token type="password" name="token" required minlength=(LEAST_TOKEN)
                    autocomplete="current-password" autofocus
                    aria-describedby=[wrong.map(|_| "wrong")];
                input type="hidden" name="next" value=(next);
                button type="submit" { "Sign in" }
                p.faint { "It is kept in this browser for 12 hours, or until you sign out. A "
                    (Role::Viewer) " sees the ward, a " (Role::Clinician) " the stays and films as \
                    well; looking at a stay is written down." }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        assert_eq!(own_path("/ward?at=2150-01-01T00:00:00Z"), "/ward?at=2150-01-01T00:00:00Z");
        let long = format!("/{}", "x".repeat(MAX_NEXT));
        for other in ["//evil.example", "https://evil.example", "/\\evil", "", "/a\r\nb", &long] {
            assert_eq!(own_path(other), "/");
        }
    }

    #[test]
    fn the_cookie_is_strict() {
        let cookie = cookie("abc", 5, true);
        let text = cookie.to_str().expect("plain");
        for word in ["nowcxr_token=abc;", "HttpOnly", "SameSite=Strict", "Secure", "Max-Age=5"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
