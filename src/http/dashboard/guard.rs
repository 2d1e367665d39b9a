//! Who is let in to which page: finds the visitor's token, and asks for the role of each page.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Redirect, Response};

use super::{App, page};
use crate::http::access::{Refusal, Role, Visitor};
use crate::http::shown::{advise, peer, shown, status};

/// Lets visitors in and says to the page who it is; sends browsers without a token to sign in.
pub async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let shown = shown(request.headers());
    match app.access.admit(shown, peer(&request), Instant::now()) {
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refusal @ (Refusal::NoToken | Refusal::Unknown)) if is_page(&request) => {
            tracing::debug!("sent to sign in: {refusal}");
            let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
            Redirect::to(&format!("/login?next={}", escaped(asked))).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

/// Lets in whom [`admit`] has let in with at least that role.
pub async fn need(
    State((app, role)): State<(Arc<App>, Role)>,
    request: Request,
    next: Next,
) -> Response {
    match request.extensions().get::<Visitor>() {
        Some(visitor) if visitor.role >= role => next.run(request).await,
        Some(visitor) => forbidden(&app, visitor, role),
        None => refused(&Refusal::NoToken),
    }
}

/// Why, for a visitor who is in but may not see this.
pub fn forbidden(app: &App, visitor: &Visitor, role: Role) -> Response {
    let chrome = app.chrome("/ward", (None, 0), visitor);
    let text = format!(
        "This page is for the role {role}; you are {}, {}. Whoever runs this service gives roles.",
        visitor.name, visitor.role
    );
    let page = page::message(&chrome, "Not for this role", &text);
    (StatusCode::FORBIDDEN, Html(page.into_string())).into_response()
}

/// A refusal as an answer to a program.
pub fn refused(refusal: &Refusal) -> Response {
    let mut response = (status(refusal), refusal.to_string()).into_response();
    advise(response.headers_mut(), refusal);
    response
}

/// True where a person looks, who can sign in.
fn is_page(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    request.method() == Method::GET && accepted.is_some_and(|kinds| kinds.contains("text/html"))
}

/// A path with its query as the value of a query.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?:=".contains(&byte);
    path.bytes().fold(String::new(), |mut text, byte| {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_visitor_wanted_to_go_is_kept_in_the_address() {
        assert_eq!(escaped("/ward?q=a%20b&sort=risk"), "/ward?q=a%2520b%26sort=risk");
    }
}
