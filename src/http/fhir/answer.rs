//! Answers: resources, and OperationOutcomes in the place of errors.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::edge::fhir::outcome::operation_outcome;
use crate::edge::fhir::{Issue, Severity};
use crate::http::access::Refusal;
use crate::http::shown;

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json; charset=utf-8");

/// A resource. Nobody keeps it: it may speak of a person.
pub fn resource(status: StatusCode, resource: &Value) -> Response {
    let mut response = (status, resource.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, FHIR_JSON);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What was not done, and why. `code` is one of the value set `issue-type`.
pub fn failed(status: StatusCode, code: &'static str, text: &str) -> Response {
    outcome(status, &[Issue::new(Severity::Error, code, text)])
}

pub fn outcome(status: StatusCode, issues: &[Issue]) -> Response {
    resource(status, &operation_outcome(issues))
}

/// Come again later.
pub fn busy(seconds: u32, text: &str) -> Response {
    let mut response = failed(StatusCode::SERVICE_UNAVAILABLE, "transient", text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Why a visitor is not let in.
pub fn refused(refusal: &Refusal) -> Response {
    let code = match refusal {
        Refusal::NoToken | Refusal::Unknown => "login",
        Refusal::TooMany(_) => "throttled",
        Refusal::Broken(_) => "exception",
    };
    let mut response = failed(shown::status(refusal), code, &refusal.to_string());
    shown::advise(response.headers_mut(), refusal);
    response
}
