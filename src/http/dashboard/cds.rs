//! CDS Hooks: a card for the encounter that somebody opens.
//!
//! While the mode of the alert policy is silent there is no card, nor any other trace of a risk:
//! whether a site wants to be told anything is its own decision.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::fhir::{From, admit, told};
use super::format;
use super::stay::moment_shown;
use super::stay_routes::off_thread;
use crate::event::risk::Mode;
use crate::http::access::{Role, Visitor};
use crate::ids::StayId;
use crate::wire::RiskRecord;

/// Bytes of one request.
const MAX_BODY: usize = 256 << 10;
/// Name of the one service.
const SERVICE: &str = "nowcxr-risk";
const HOOK: &str = "patient-view";
/// Characters of a card's summary (CDS Hooks).
const MAX_SUMMARY: usize = 140;

/// What is read of a request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    hook: String,
    context: Context,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    #[serde(default)]
    encounter_id: Option<String>,
}

/// `GET /cds-services` for everybody, the service itself for clinicians.
pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let need = middleware::from_fn_with_state((Arc::clone(app), Role::Clinician), admit);
    Router::new()
        .route(&format!("/cds-services/{SERVICE}"), post(serve))
        .route_layer(need)
        .route("/cds-services", get(discover))
}

async fn discover() -> Json<Value> {
    Json(json!({ "services": [{
        "hook": HOOK,
        "id": SERVICE,
        "title": "Risk of death in hospital (research)",
        "description": "The newest risk of an intensive care stay, by a model that has not been \
            validated for clinical use. No card while the service is silent, which is the default.",
        "usageRequirements": "context.encounterId, named as the Encounter was sent",
    }] }))
}

async fn serve(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Extension(from): Extension<From>,
    request: Request,
) -> Response {
    let Ok(body) = to_bytes(request.into_body(), MAX_BODY).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too long").into_response();
    };
    let asked = match serde_json::from_slice::<Asked>(&body) {
        Ok(asked) if asked.hook == HOOK => asked,
        Ok(_) => return (StatusCode::BAD_REQUEST, "the hook is patient-view").into_response(),
        Err(_) => {
            let text = "send a request of CDS Hooks with hook and context";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let stay = asked.context.encounter_id.and_then(|encounter| app.stay_of(&encounter));
    let Some(stay) = stay else { return cards(Vec::new()) };
    let card = off_thread(&app, move |app| app.card(stay)).await.flatten();
    match card {
        None => cards(Vec::new()),
        Some(card) => {
            let path = format!("/cds-services/{SERVICE}?encounter={stay}");
            told(&app, (visitor, from), (stay, "card", path), cards(vec![card])).await
        }
    }
}

fn cards(cards: Vec<Value>) -> Response {
    Json(json!({ "cards": cards })).into_response()
}

impl App {
    /// The card of a stay that goes on and has a score, unless nobody wants to be told.
    fn card(&self, stay: StayId) -> Option<Value> {
        let moment = {
            let ward = self.shared.ward();
            let log = ward.stay(stay)?;
            if log.ended(None).is_some() {
                return None;
            }
            moment_shown(log, None)?
        };
        let risk = self.risk_of(&moment)?;
        (risk.mode != Mode::Silent).then(|| card(&risk))?
    }
}

fn card(risk: &RiskRecord) -> Option<Value> {
    let scores = risk.scores.as_ref()?;
    let interval = scores.mortality_interval.map(|interval| {
        format!(" (95 % {} to {})", format::percent(interval.low), format::percent(interval.high))
    });
    let interval = interval.unwrap_or_default();
    let death = format::percent(scores.mortality);
    let as_of = format::stamp(risk.t);
    let summary: String =
        format!("Death in hospital {death}{interval}, as of {as_of}. Not validated.")
            .chars()
            .take(MAX_SUMMARY)
            .collect();
    let film = match &risk.film {
        Some(film) => format!("{:.1} h old", film.age_hours),
        None => "none".to_owned(),
    };
    let twin = scores.ehr_only.map(|p| format!("- without a film: {}\n", format::percent(p)));
    let doubts: Vec<&str> = risk.validity.iter().map(|doubt| doubt.code()).collect();
    let detail = format!(
        "**This model has not been validated for clinical use.** For research only.\n\n\
         - risk of death in hospital: {death}{interval}\n{}\
         - as of: {as_of} (UTC)\n- last chest film: {film}\n- why this may not hold: {}\n",
        twin.unwrap_or_default(),
        doubts.join(", "),
    );
    Some(json!({
        "uuid": risk.event_id.to_string(),
        "summary": summary,
        "detail": detail,
        "indicator": "info",
        "source": { "label": format!("nowcxr, model {} {}", risk.model.name, risk.model.version) },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_when_from_what_and_that_it_is_not_validated() {
        let text = include_str!("../../../schemas/examples/risk.json");
        let mut risk: RiskRecord = serde_json::from_str(text).expect("example");
        let said = card(&risk).expect("a score");
        let summary = said["summary"].as_str().expect("a text");
        assert!(summary.chars().count() <= MAX_SUMMARY && summary.contains("Not validated"));
        assert_eq!(said["indicator"], "info");
        let detail = said["detail"].as_str().expect("a text");
        for word in ["not been validated", "2.5 h old", "01-Mar-2150", "not_at_48h"] {
            assert!(detail.contains(word), "{word} in {detail}");
        }
        risk.scores = None;
        assert_eq!(card(&risk), None);
    }
}
