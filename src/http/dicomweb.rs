//! DICOM files by HTTP: those that are sent here by STOW-RS (PS3.18 10.5), each a part of a
//! multipart body, and those that are fetched from an archive by WADO-RS ([`archive`]).
//!
//! Every part that is sent is answered for itself: a body of which some parts failed is a 202, one
//! of which all failed a 409, and each failed part stands in the answer with its reason. Nothing is
//! retrieved here: files are not kept.

pub mod archive;
pub mod multipart;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use multer::Multipart;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::multipart::{boundary, constraints};
use super::access::Access;
use super::senders::{self, Barred};
use super::shown::advise;
use crate::edge::dicom::command::Status;
use crate::edge::dicom::{Answered, Intake, Stored};

pub use self::archive::{Archive, ArchiveError, Unfetched};

/// Where the service stands on its server.
pub const BASE: &str = "/dicomweb";
/// Files of one request.
pub const MAX_FILES: usize = 16;
/// Requests that are read at once. Each may hold one file in memory.
const MAX_REQUESTS: usize = 4;
/// From one part of a body to the next.
const STALLED: Duration = Duration::from_secs(60);
/// When a sender should come again, in seconds.
const LATER: u32 = 10;

/// The way to the desk, and who may go it.
pub struct Receiver {
    intake: Intake,
    access: Access,
    places: Semaphore,
}

impl Receiver {
    pub fn new(intake: Intake, access: Access) -> Self {
        Receiver { intake, access, places: Semaphore::new(MAX_REQUESTS) }
    }
}

/// What was answered to the parts of a request.
#[derive(Default)]
struct Parts {
    stored: Vec<Answered>,
    failed: Vec<(Answered, Status)>,
}

/// `POST [base]/studies` and `POST [base]/studies/STUDY`, for the role admin.
pub fn routes(receiver: Receiver) -> Router {
    Router::new()
        .route(&format!("{BASE}/studies"), post(store))
        .route(&format!("{BASE}/studies/{{study}}"), post(store))
        .with_state(Arc::new(receiver))
}

async fn store(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let visitor = match senders::admit(&receiver.access, &request) {
        Ok(visitor) => visitor,
        Err(barred) => return refused(&barred),
    };
    let Some(boundary) = boundary(request.headers()) else {
        let text = "send multipart/related; type=\"application/dicom\"; boundary=...";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    };
    let Ok(_place) = receiver.places.try_acquire() else {
        return later("too many requests are read at once");
    };
    let _present = receiver.intake.enter();
    match take(&receiver.intake, &visitor.name, request.into_body(), boundary).await {
        Ok(parts) => answer(&parts),
        Err(response) => response,
    }
}

/// Takes one part after another. Those that were taken before an error stay taken.
async fn take(
    intake: &Intake,
    sender: &str,
    body: Body,
    boundary: String,
) -> Result<Parts, Response> {
    let limits = constraints(MAX_FILES);
    let mut body = Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let mut parts = Parts::default();
    for _ in 0..MAX_FILES {
        let read = async {
            let Some(part) = body.next_field().await? else { return Ok(None) };
            part.bytes().await.map(Some)
        };
        let file = match timeout(STALLED, read).await {
            Ok(Ok(Some(file))) => file,
            Ok(Ok(None)) => return Ok(parts),
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => {
                let text = "the body did not come in time";
                return Err((StatusCode::REQUEST_TIMEOUT, text).into_response());
            }
        };
        match intake.store(sender.to_owned(), file.to_vec()).await {
            Some(answered) => parts.add(answered),
            None => return Err(later("it cannot be written at the moment")),
        }
    }
    match timeout(STALLED, body.next_field()).await {
        Ok(Ok(None)) => Ok(parts),
        _ => {
            let text = format!("a request may bring {MAX_FILES} files; send the others by another");
            Err((StatusCode::PAYLOAD_TOO_LARGE, text).into_response())
        }
    }
}

impl Parts {
    fn add(&mut self, answered: Answered) {
        match answered.stored {
            Stored::Refused(_) => self.failed.push((answered, Status::CannotUnderstand)),
            Stored::Taken | Stored::Known | Stored::OfNoUse(_) => self.stored.push(answered),
        }
    }
}

fn broken(error: &multer::Error) -> Response {
    let is_long = matches!(
        error,
        multer::Error::FieldSizeExceeded { .. } | multer::Error::StreamSizeExceeded { .. }
    );
    let text = format!("the body cannot be read: {error}");
    let status = if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
    (status, text).into_response()
}

fn refused(barred: &Barred) -> Response {
    let mut response = (barred.status(), barred.to_string()).into_response();
    if let Barred::Refused(refusal) = barred {
        advise(response.headers_mut(), refusal);
    }
    response
}

fn later(why: &str) -> Response {
    let text = format!("{why}; send this again");
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, LATER.into());
    response
}

/// The answer to all parts, in the DICOM JSON Model (PS3.18 F).
fn answer(parts: &Parts) -> Response {
    let status = match (parts.stored.is_empty(), parts.failed.is_empty()) {
        (true, true) => return (StatusCode::BAD_REQUEST, "no file in the body").into_response(),
        (false, true) => StatusCode::OK,
        (false, false) => StatusCode::ACCEPTED,
        (true, false) => StatusCode::CONFLICT,
    };
    let named = |answered: &Answered| {
        json!({
            "00081150": { "vr": "UI", "Value": [answered.class] },
            "00081155": { "vr": "UI", "Value": [answered.instance] },
        })
    };
    let stored: Vec<Value> = parts.stored.iter().map(named).collect();
    let failure = |(answered, status): &(Answered, Status)| {
        let mut item = named(answered);
        item["00081197"] = json!({ "vr": "US", "Value": [status.code()] });
        item
    };
    let failed: Vec<Value> = parts.failed.iter().map(failure).collect();
    let mut set = json!({});
    for (tag, items) in [("00081199", stored), ("00081198", failed)] {
        if !items.is_empty() {
            set[tag] = json!({ "vr": "SQ", "Value": items });
        }
    }
    let kind = [(header::CONTENT_TYPE, "application/dicom+json")];
    (status, kind, set.to_string()).into_response()
}
