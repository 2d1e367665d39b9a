//! The receiving half: requests become parcels for the desk, and its answers responses.
//!
//! A request is answered once everything that follows from it is durable; where that takes too
//! long, because the log cannot be written, the sender is told to come again, and what it sends
//! then is known if it was durable after all. The same holds where the archive does not give the
//! films of a study: of a batch the study alone waits for them, of a transaction the whole.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{post, put};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::studies::Films;
use super::{BASE, answer, studies};
use crate::edge::Hatch;
use crate::edge::fhir::outcome::operation_outcome;
use crate::edge::fhir::parcel::{MAX_BODY_BYTES, Target};
use crate::edge::fhir::{Fate, Form, Issue, Kind, Parcel, Severity, Told};
use crate::http::access::{Access, Visitor};
use crate::http::senders::{self, Barred};

/// From the first byte of a body to its last.
const STALLED: Duration = Duration::from_secs(60);
/// How long the desk may take to make a request durable.
pub const DURABLE: Duration = Duration::from_secs(20);
/// When a sender should come again, in seconds.
const LATER: u32 = 10;
/// Characters of a request's id that are kept.
const MAX_ID: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The way to the desk, and who may go it.
pub struct Receiver {
    pub hatch: Hatch<Parcel>,
    pub access: Access,
    /// How long a sender waits; [`DURABLE`].
    pub patience: Duration,
    /// `None` where no archive is configured.
    pub films: Option<Films>,
}

/// `POST [base]`, `POST [base]/TYPE`, `PUT [base]/TYPE/ID`, for the role admin.
pub fn routes(receiver: Receiver) -> Router {
    let receiver = Arc::new(receiver);
    Router::new()
        .route(BASE, post(bundle))
        .route(&format!("{BASE}/"), post(bundle))
        .route(&format!("{BASE}/{{kind}}"), post(create))
        .route(&format!("{BASE}/{{kind}}/{{id}}"), put(update))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&receiver), admit))
        .with_state(receiver)
}

/// Lets in who may send, and what is JSON.
async fn admit(
    State(receiver): State<Arc<Receiver>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = match senders::admit(&receiver.access, &request) {
        Ok(visitor) => visitor,
        Err(Barred::Refused(refusal)) => return answer::refused(&refusal),
        Err(barred) => {
            let code = if matches!(barred, Barred::Role(_)) { "forbidden" } else { "security" };
            return answer::failed(barred.status(), code, &barred.to_string());
        }
    };
    if !is_json(request.headers()) {
        let text = "send application/fhir+json; XML is not read";
        return answer::failed(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text);
    }
    let _present = receiver.hatch.enter();
    let id = request.headers().get(REQUEST_ID).cloned();
    request.extensions_mut().insert(visitor);
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Simple types, which a browser sends for any page, are not taken.
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    ["application/fhir+json", "application/json"].contains(&essence.to_ascii_lowercase().as_str())
}

async fn bundle(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    take(&receiver, Target::Base, request).await
}

async fn create(
    State(receiver): State<Arc<Receiver>>,
    Path(kind): Path<String>,
    request: Request,
) -> Response {
    match Kind::from_name(&kind) {
        Some(kind) => take(&receiver, Target::Create(kind), request).await,
        None => no_such_type(),
    }
}

async fn update(
    State(receiver): State<Arc<Receiver>>,
    Path((kind, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    match Kind::from_name(&kind) {
        Some(kind) => take(&receiver, Target::Update(kind, &id), request).await,
        None => no_such_type(),
    }
}

fn no_such_type() -> Response {
    let text = "resources of this type are not taken; see [base]/metadata";
    answer::failed(StatusCode::NOT_FOUND, "not-supported", text)
}

async fn take(receiver: &Receiver, target: Target<'_>, request: Request) -> Response {
    let sender =
        request.extensions().get::<Visitor>().map_or(String::new(), |v| v.name.to_string());
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let id: String = id.chars().take(MAX_ID).collect();
    let body = match body_of(request.into_body()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let mut parcel = Parcel::open(target, &body, sender, id);
    drop(body);
    studies::bring(receiver.films.as_ref(), &mut parcel).await;
    let form = parcel.form;
    let Some(answered) = receiver.hatch.hand_in(parcel) else {
        return answer::busy(LATER, "too many requests wait, or the service is stopping");
    };
    match timeout(receiver.patience, answered).await {
        Ok(Ok(told)) => respond(form, &told),
        Ok(Err(_)) => answer::busy(LATER, "the service is stopping; send this again"),
        Err(_) => answer::busy(LATER, "the log cannot be written at the moment; send this again"),
    }
}

async fn body_of(body: Body) -> Result<axum::body::Bytes, Response> {
    match timeout(STALLED, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => {
            let text = format!("a body may have {MAX_BODY_BYTES} bytes; send it in parts");
            Err(answer::failed(StatusCode::PAYLOAD_TOO_LARGE, "too-long", &text))
        }
        Err(_) => {
            let text = "the body did not come in time";
            Err(answer::failed(StatusCode::REQUEST_TIMEOUT, "timeout", text))
        }
    }
}

fn respond(form: Form, told: &[Told]) -> Response {
    match (form, told) {
        (Form::Single, [told]) if told.fate == Fate::Deferred => later(&told.issues),
        (Form::Single, [told]) => {
            let mut response = answer::outcome(status(told), &told.issues);
            if let Some(location) = location(told).and_then(|to| HeaderValue::try_from(to).ok()) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
        (Form::Transaction, all) if all.iter().any(|told| told.fate == Fate::Refused) => {
            let worst = all.iter().map(status).max().unwrap_or(StatusCode::BAD_REQUEST);
            answer::outcome(worst, &refusals(all))
        }
        (Form::Transaction, all) if all.iter().any(|told| told.fate == Fate::Deferred) => {
            let issues: Vec<Issue> = all.iter().flat_map(|told| told.issues.clone()).collect();
            later(&issues)
        }
        (Form::Transaction, all) => {
            answer::resource(StatusCode::OK, &bundled("transaction-response", all))
        }
        (_, all) => answer::resource(StatusCode::OK, &bundled("batch-response", all)),
    }
}

/// Come again: what was sent is to be had later.
fn later(issues: &[Issue]) -> Response {
    let text = issues.iter().find(|issue| issue.code == "transient");
    answer::busy(LATER, text.map_or("send this again", |issue| &issue.text))
}

/// Why a transaction was refused, entry by entry.
fn refusals(all: &[Told]) -> Vec<Issue> {
    let of_entry = |(n, told): (usize, &Told)| {
        let expression = Some(format!("Bundle.entry[{n}]"));
        let own = told.issues.iter().filter(|issue| issue.code != "processing");
        own.map(|issue| Issue { expression: expression.clone(), ..issue.clone() })
            .filter(|issue| issue.severity == Severity::Error)
            .collect::<Vec<_>>()
    };
    all.iter().enumerate().flat_map(of_entry).collect()
}

/// The answers to a Bundle's entries, in their order.
fn bundled(kind: &str, all: &[Told]) -> Value {
    let entry = |told: &Told| {
        let outcome = operation_outcome(&told.issues);
        let mut response = json!({ "status": status(told).to_string(), "outcome": outcome });
        if let (Some(location), Some(response)) = (location(told), response.as_object_mut()) {
            response.insert("location".to_owned(), json!(location));
        }
        json!({ "response": response })
    };
    let entries: Vec<Value> = all.iter().map(entry).collect();
    let mut bundle = json!({ "resourceType": "Bundle", "type": kind });
    if let (false, Some(bundle)) = (entries.is_empty(), bundle.as_object_mut()) {
        bundle.insert("entry".to_owned(), json!(entries));
    }
    bundle
}

fn status(told: &Told) -> StatusCode {
    let code = told.issues.first().map_or("", |issue| issue.code);
    match (told.fate, told.is_update) {
        (Fate::Taken, false) => StatusCode::CREATED,
        (Fate::Taken, true) | (Fate::Known, _) => StatusCode::OK,
        (Fate::Deferred, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Fate::Refused, _) => match code {
            "structure" => StatusCode::BAD_REQUEST,
            "too-costly" => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        },
    }
}

/// Where a resource that was taken may be changed.
fn location(told: &Told) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_id = (1..=64).contains(&told.id.len()) && told.id.chars().all(plain);
    let is_there = matches!(told.fate, Fate::Taken | Fate::Known);
    let kind = told.kind.filter(|_| is_id && is_there)?;
    Some(format!("{BASE}/{}/{}", kind.name(), told.id))
}
