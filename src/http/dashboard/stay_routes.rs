//! The addresses below `/stay`: the page, its films, and its data for other programs.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, IntoResponseParts, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use serde::Deserialize;

use super::board::Tile;
use super::feed::Place;
use super::pictures::{Found, PictureError, Which};
use super::stay::{StayPage, moment_shown};
use super::{App, acts, format, not_found};
use crate::event::risk::ModelName;
use crate::film::{GeneratedFilm, secondary_capture};
use crate::http::access::Visitor;
use crate::ids::{AlertId, StayId};
use crate::time::EventTime;
use crate::wire::{ModelRecord, Record, RiskRecord, StayView};

/// A picture never changes: its address names its moment and revision.
const KEEP: &str = "private, max-age=3600, immutable";

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    at: String,
    #[serde(default)]
    speed: String,
    /// The alert that was just answered.
    told: Option<uuid::Uuid>,
}

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/stay/{id}", get(page))
        .route("/stay/{id}/film/{acquired}", get(film))
        .route("/stay/{id}/generated/{t}/{revision}", get(generated))
        .route("/stay/{id}/generated/{t}/{revision}/dicom", get(generated_dicom))
        .route("/stay/{id}/provenance.json", get(provenance))
        .route("/stay/{id}/inputs.csv", get(inputs))
}

/// The two records behind a page.
struct Records {
    risk: Option<RiskRecord>,
    view: Option<StayView>,
}

impl App {
    pub fn record<R: Record>(&self, place: Option<Place>) -> Option<R> {
        let bytes = self.archive.read(place?).ok()??;
        self.shared.codec.decode::<R>(&bytes).ok()
    }

    /// Reads what a page about `id` at `at` needs; `None` for a stay unknown at that moment.
    fn records(&self, id: StayId, at: Option<EventTime>) -> Option<Records> {
        let shown = moment_shown(self.shared.ward().stay(id)?, at)?;
        let view: Option<StayView> = self.record(shown.view);
        // A moment that only its view told stands at the view's place.
        let risk = self.record(Some(shown.risk)).or_else(|| Some(view.as_ref()?.risk.clone()));
        Some(Records { risk, view })
    }

    fn stay_page(
        &self,
        id: StayId,
        (at, speed, told): (Option<EventTime>, u32, Option<AlertId>),
        visitor: &Visitor,
    ) -> Option<String> {
        let records = self.records(id, at)?;
        let mut chrome = self.chrome(&format!("/stay/{id}"), (at, speed), visitor);
        if at.is_none() && !chrome.finished {
            chrome.live = format!("/live?stay={id}");
        }
        let ward = self.shared.ward();
        let stay = ward.stay(id)?;
        let now = at.or(ward.clock())?;
        let tile = Tile::new(id, stay, at, now)?;
        let page = StayPage {
            id,
            stay,
            known: stay.known(at),
            now: tile.now,
            may_answer: at.is_none() && acts::may_answer(self, visitor),
            told,
            tile,
            risk: records.risk.as_ref(),
            view: records.view.as_ref(),
            dictionary: &self.shared.dictionary,
            at,
        };
        Some(page.page(&chrome).into_string())
    }

    fn picture(&self, which: Which) -> Result<Bytes, PictureError> {
        let found = self.find(which).ok_or(PictureError::None)?;
        self.studio.picture(which, found, self.archive.as_ref(), &self.shared.codec)
    }

    fn exported(&self, id: StayId, t: EventTime, revision: u32) -> Result<Bytes, PictureError> {
        let place = self.shared.ward().stay(id).and_then(|stay| stay.moment_at(t, revision)?.view);
        let view: StayView = self.record(place).ok_or(PictureError::None)?;
        let ModelRecord { name, version, digest } = view.risk.model;
        let marked = self.picture(Which::Generated { stay: id, t, revision })?;
        let model = &ModelName { name, version, digest };
        let file =
            secondary_capture(&GeneratedFilm { stay: id, t, revision, model, marked: &marked });
        file.map(Bytes::from).map_err(|error| PictureError::Model(error.to_string()))
    }

    fn find(&self, which: Which) -> Option<Found> {
        let ward = self.shared.ward();
        match which {
            Which::Film { stay, acquired_at } => {
                let film = ward.stay(stay)?.film_of(acquired_at)?.place;
                Some(Found { film, view: None })
            }
            Which::Generated { stay, t, revision } => {
                let stay = ward.stay(stay)?;
                let moment = stay.moment_at(t, revision)?;
                let film = stay.film_of(moment.film?.0)?.place;
                Some(Found { film, view: Some(moment.view?) })
            }
        }
    }
}

/// Reading the log is work for a thread that may wait.
pub async fn off_thread<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> T + Send + 'static,
) -> Option<T> {
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || work(&app)).await.ok()
}

fn unknown(app: &App, visitor: &Visitor) -> Response {
    not_found(&app.chrome("/ward", (None, 0), visitor), "There is no such stay at this moment.")
}

async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Query(asked): Query<Asked>,
) -> Response {
    let at = format::parse_time(&asked.at);
    let speed = super::live::speed(&asked.speed);
    let (whose, told) = (visitor.clone(), asked.told.map(AlertId));
    let work = move |app: &App| app.stay_page(StayId(id), (at, speed, told), &whose);
    let page = off_thread(&app, work).await;
    match page.flatten() {
        Some(page) => Html(page).into_response(),
        None => unknown(&app, &visitor),
    }
}

async fn film(State(app): State<Arc<App>>, Path((id, acquired)): Path<(u64, i64)>) -> Response {
    let acquired_at = EventTime::from_millis(acquired);
    picture(&app, Which::Film { stay: StayId(id), acquired_at }).await
}

async fn generated(
    State(app): State<Arc<App>>,
    Path((id, t, revision)): Path<(u64, i64, u32)>,
) -> Response {
    let t = EventTime::from_millis(t);
    picture(&app, Which::Generated { stay: StayId(id), t, revision }).await
}

/// The same as a file for an archive, for who asks for one.
async fn generated_dicom(
    State(app): State<Arc<App>>,
    Path((id, t, revision)): Path<(u64, i64, u32)>,
) -> Response {
    let (stay, t) = (StayId(id), EventTime::from_millis(t));
    let drawn = off_thread(&app, move |app| app.exported(stay, t, revision)).await;
    let name = format!("attachment; filename=\"generated-{stay}-{revision}.dcm\"");
    let headers = [
        (header::CONTENT_TYPE, "application/dicom".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    drawn_or_why(drawn, headers)
}

async fn picture(app: &Arc<App>, which: Which) -> Response {
    let drawn = off_thread(app, move |app| app.picture(which)).await;
    drawn_or_why(drawn, [(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, KEEP)])
}

fn drawn_or_why(
    drawn: Option<Result<Bytes, PictureError>>,
    headers: impl IntoResponseParts,
) -> Response {
    match drawn {
        Some(Ok(bytes)) => (headers, bytes).into_response(),
        Some(Err(error)) => {
            let status = match error {
                PictureError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                PictureError::Feed(_) | PictureError::Model(_) => StatusCode::INTERNAL_SERVER_ERROR,
                PictureError::None | PictureError::Film(_) | PictureError::OtherModel(_) => {
                    StatusCode::NOT_FOUND
                }
            };
            (status, error.to_string()).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn provenance(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Query(asked): Query<Asked>,
) -> Response {
    let at = format::parse_time(&asked.at);
    let risk = off_thread(&app, move |app| app.records(StayId(id), at)?.risk).await.flatten();
    match risk.and_then(|risk| serde_json::to_string_pretty(&risk).ok()) {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        None => unknown(&app, &visitor),
    }
}

/// Every observation that the model was given, raw and as it saw it.
async fn inputs(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<u64>,
    Query(asked): Query<Asked>,
) -> Response {
    let at = format::parse_time(&asked.at);
    let table = off_thread(&app, move |app| {
        let view = app.records(StayId(id), at)?.view?;
        Some(inputs_table(&view, app))
    });
    let Some(text) = table.await.flatten() else { return unknown(&app, &visitor) };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/csv"));
    let name = header::HeaderValue::from_static("attachment; filename=\"inputs.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    (headers, text).into_response()
}

fn inputs_table(view: &StayView, app: &App) -> String {
    let mut text = String::from("observed_at,variable,value,unit,model_saw\n");
    let dictionary = &app.shared.dictionary;
    for series in view.given.iter().flat_map(|given| &given.series) {
        let id = dictionary.by_code(&series.variable);
        let Some(variable) = id.and_then(|id| dictionary.variable(id)) else { continue };
        for (at, value) in series.at.iter().zip(&series.values) {
            let seen = variable.clamped(*value);
            let row = format!("{at},{},{value},{},{seen}\n", variable.code, variable.unit);
            text.push_str(&row);
        }
    }
    text
}
