//! The FHIR addresses below `/fhir`: RiskAssessment and Provenance of the stays that are shown, and
//! looks at them as AuditEvents. Each look is written down before its answer leaves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::Value;
use uuid::Uuid;

use super::App;
use super::follow::wall_now;
use super::looks::{self, UNWRITTEN};
use super::stay_routes::off_thread;
use super::ward::{MAX_MOMENTS, Moment};
use crate::http::access::{Role, Visitor};
use crate::http::audit::Look;
use crate::http::fhir::provenance::provenance;
use crate::http::fhir::risk_assessment::{id, named, risk_assessment};
use crate::http::fhir::searchset::{Found, searchset};
use crate::http::fhir::{BASE, answer};
use crate::http::shown::{is_for_this_machine, peer, shown};
use crate::ids::{NAMESPACE, StayId};
use crate::wire::{RiskRecord, StayView};

/// Windows of a stay that a search gives, unless `_count` says otherwise.
const USUAL: usize = 24;
/// Looks that a search gives at most.
const MAX_LOOKS: usize = 200;

/// Where somebody asks from.
#[derive(Clone, Copy)]
pub struct From(pub IpAddr);

/// All addresses; answers are for those whom `admit` lets in.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let need = |role| middleware::from_fn_with_state((Arc::clone(app), role), admit);
    let stays = Router::new()
        .route(&format!("{BASE}/RiskAssessment"), get(search).fallback(not_done))
        .route(&format!("{BASE}/RiskAssessment/{{id}}"), get(read).fallback(not_done))
        .route(&format!("{BASE}/Provenance/{{id}}"), get(read_provenance).fallback(not_done))
        .route_layer(need(Role::Clinician));
    let looks = Router::new()
        .route(&format!("{BASE}/AuditEvent"), get(audit_events).fallback(not_done))
        .route_layer(need(Role::Admin));
    stays.merge(looks)
}

async fn not_done() -> Response {
    let text = "this is not done here; see [base]/metadata";
    answer::failed(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
}

/// What is answered below the base where there is nothing.
pub async fn nothing() -> Response {
    let text = "there is nothing here; see [base]/metadata";
    answer::failed(StatusCode::NOT_FOUND, "not-found", text)
}

/// Lets in whoever has at least that role.
pub async fn admit(
    State((app, role)): State<(Arc<App>, Role)>,
    mut request: Request,
    next: Next,
) -> Response {
    if app.access.is_open() && !is_for_this_machine(&request) {
        let text = "an open service answers to localhost only; set http.tokens";
        return answer::failed(StatusCode::MISDIRECTED_REQUEST, "security", text);
    }
    let from = peer(&request);
    match app.access.admit(shown(request.headers()), from, Instant::now()) {
        Ok(visitor) if visitor.role >= role => {
            request.extensions_mut().insert(visitor);
            request.extensions_mut().insert(From(from));
            next.run(request).await
        }
        Ok(visitor) => {
            let text = format!("this needs the role {role}; you are {}", visitor.role);
            answer::failed(StatusCode::FORBIDDEN, "forbidden", &text)
        }
        Err(refusal) => answer::refused(&refusal),
    }
}

impl App {
    /// The stay that an encounter is: by its own number, else by its sender's name. Of several that
    /// are known the last, since an encounter may come back to intensive care.
    pub fn stay_of(&self, encounter: &str) -> Option<StayId> {
        let name = encounter.strip_prefix("Encounter/").unwrap_or(encounter);
        let ward = self.shared.ward();
        let is_known = |stay: &StayId| ward.stay(*stay).is_some();
        let own = name.parse().ok().map(StayId).filter(is_known);
        own.or_else(|| self.stays.as_ref()?.of_id(name).filter(is_known).last())
    }

    /// As [`App::stay_of`], by a business identifier `system|value`.
    fn stay_numbered(&self, token: &str) -> Option<StayId> {
        let (system, value) = token.split_once('|').unwrap_or(("", token));
        let ward = self.shared.ward();
        let all = self.stays.as_ref()?.of_number(system, value);
        all.filter(|stay| ward.stay(*stay).is_some()).last()
    }

    /// The risk event of a window, read again from its place.
    pub fn risk_of(&self, moment: &Moment) -> Option<RiskRecord> {
        // A moment that only its view told stands at the view's place.
        let of_view = || self.record::<StayView>(moment.view).map(|view| view.risk);
        self.record(Some(moment.risk)).or_else(of_view)
    }

    /// One revision of one window by the id of its resource.
    fn risk_named(&self, text: &str) -> Option<RiskRecord> {
        let (stay, t, revision) = named(text)?;
        let moment = self.shared.ward().stay(stay)?.moment_at(t, revision)?.clone();
        self.risk_of(&moment)
    }

    /// The newest windows of a stay, each in its newest revision; and how many there are.
    fn assessments(&self, stay: StayId, count: usize) -> (usize, Vec<Found>) {
        let moments: Vec<Moment> = match self.shared.ward().stay(stay) {
            Some(log) => log.known(None).into_iter().cloned().collect(),
            None => Vec::new(),
        };
        let found = |risk: RiskRecord| Found {
            full_url: format!("urn:uuid:{}", risk.event_id),
            resource: risk_assessment(&risk, &self.provenance),
        };
        let newest = moments.iter().rev().take(count).filter_map(|moment| self.risk_of(moment));
        (moments.len(), newest.map(found).collect())
    }
}

/// Writes a look at a stay down, and gives the answer; without that, none is given.
pub async fn told(
    app: &App,
    (visitor, From(from)): (Visitor, From),
    (stay, what, path): (StayId, &'static str, String),
    response: Response,
) -> Response {
    let Some(looks) = app.looks.clone() else { return response };
    let outcome = looks::outcome(response.status());
    let (at, node) = (wall_now(), looks.node.clone());
    let look = Look { at, visitor, peer: from, stay, what, path, outcome, node };
    match looks::write(looks, look).await {
        Ok(()) => response,
        Err(error) => {
            tracing::error!("a look at a stay is refused: {error}");
            answer::failed(StatusCode::SERVICE_UNAVAILABLE, "exception", UNWRITTEN)
        }
    }
}

async fn search(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Extension(from): Extension<From>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    let unknown = |key: &&String| {
        !["encounter", "encounter:identifier", "_count", "_format"].contains(&key.as_str())
    };
    if let Some(key) = asked.keys().find(unknown) {
        let text = format!("{key} is no search parameter here; see [base]/metadata");
        return answer::failed(StatusCode::BAD_REQUEST, "not-supported", &text);
    }
    let count = match asked.get("_count").map(|text| text.parse::<usize>()) {
        None => USUAL,
        Some(Ok(count)) => count.min(MAX_MOMENTS),
        Some(Err(_)) => {
            return answer::failed(StatusCode::BAD_REQUEST, "invalid", "_count is no number");
        }
    };
    let stay = match (asked.get("encounter"), asked.get("encounter:identifier")) {
        (Some(encounter), None) => app.stay_of(encounter),
        (None, Some(token)) => app.stay_numbered(token),
        _ => {
            let text = "say whose risks: encounter=STAY, or encounter:identifier=SYSTEM|VALUE";
            return answer::failed(StatusCode::BAD_REQUEST, "required", text);
        }
    };
    // By the number of the stay alone: what the sender calls it is not written down.
    let own = |stay: &str| format!("{BASE}/RiskAssessment?encounter={stay}&_count={count}");
    let Some(stay) = stay else {
        return answer::resource(StatusCode::OK, &searchset(&own("unknown"), 0, Vec::new()));
    };
    let read = off_thread(&app, move |app| app.assessments(stay, count)).await;
    let (total, found) = read.unwrap_or_default();
    let path = own(&stay.to_string());
    let response = answer::resource(StatusCode::OK, &searchset(&path, total, found));
    told(&app, (visitor, from), (stay, "risk assessments", path), response).await
}

async fn read(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Extension(from): Extension<From>,
    Path(asked): Path<String>,
) -> Response {
    let make = |app: &App, risk: &RiskRecord| risk_assessment(risk, &app.provenance);
    one(&app, (visitor, from), asked, ("RiskAssessment", "risk assessment"), make).await
}

async fn read_provenance(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Extension(from): Extension<From>,
    Path(asked): Path<String>,
) -> Response {
    let make = |_: &App, risk: &RiskRecord| provenance(risk);
    one(&app, (visitor, from), asked, ("Provenance", "provenance"), make).await
}

/// One resource of one revision of a window.
async fn one(
    app: &Arc<App>,
    who: (Visitor, From),
    asked: String,
    (kind, what): (&str, &'static str),
    make: impl Fn(&App, &RiskRecord) -> Value + Send + 'static,
) -> Response {
    let Some((stay, t, revision)) = named(&asked) else { return missing(kind) };
    let risk = off_thread(app, move |app| Some(make(app, &app.risk_named(&asked)?)));
    let response = match risk.await.flatten() {
        Some(resource) => answer::resource(StatusCode::OK, &resource),
        None => missing(kind),
    };
    let path = format!("{BASE}/{kind}/{}", id(stay, t, revision));
    told(app, who, (stay, what, path), response).await
}

fn missing(kind: &str) -> Response {
    let text = format!("there is no such {kind}");
    answer::failed(StatusCode::NOT_FOUND, "not-found", &text)
}

async fn audit_events(State(app): State<Arc<App>>) -> Response {
    let Some(looks) = app.looks.clone() else {
        let text = "nobody's looks are written down here; set http.tokens to change that";
        return answer::failed(StatusCode::NOT_FOUND, "not-found", text);
    };
    let events = tokio::task::spawn_blocking(move || looks.log.events()).await;
    match events {
        Ok(Ok(events)) => {
            let total = events.len();
            let found: Vec<Found> = events.into_iter().take(MAX_LOOKS).map(numbered).collect();
            let bundle = searchset(&format!("{BASE}/AuditEvent"), total, found);
            answer::resource(StatusCode::OK, &bundle)
        }
        Ok(Err(error)) => {
            let text = format!("the log cannot be read: {error}");
            answer::failed(StatusCode::INTERNAL_SERVER_ERROR, "exception", &text)
        }
        Err(_) => {
            let text = "the log cannot be read";
            answer::failed(StatusCode::INTERNAL_SERVER_ERROR, "exception", text)
        }
    }
}

/// An AuditEvent with an id of its content. The file has none: a line is found by its hash there.
fn numbered(mut event: Value) -> Found {
    let id = Uuid::new_v5(&NAMESPACE, event.to_string().as_bytes());
    if let Some(fields) = event.as_object_mut() {
        fields.insert("id".to_owned(), Value::String(id.to_string()));
    }
    Found { full_url: id.urn().to_string(), resource: event }
}
