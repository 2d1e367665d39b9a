//! A schema registry as far as the client asks: subjects, versions, ids, BACKWARD compatibility.
//! Written from Confluent's public API; on loopback, in this process, ended with the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// What the registry holds, and what it was asked.
#[derive(Default)]
pub struct Held {
    /// Texts by id; ids count from 101, so that they are never those of `schemas/ids.toml`.
    texts: BTreeMap<u32, String>,
    /// Ids of each subject, oldest first.
    pub subjects: BTreeMap<String, Vec<u32>>,
    pub asked: Vec<String>,
    /// The `Authorization` header that is demanded.
    pub demands: Option<String>,
    /// Answers every question with this status.
    pub ill: Option<u16>,
}

type Shared = Arc<Mutex<Held>>;

/// The running server.
pub struct Registry {
    pub url: String,
    pub held: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl Registry {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let held = Shared::default();
        let app = Router::new()
            .route("/schemas/ids/{id}", get(text))
            .route("/subjects/{subject}/versions", post(register))
            .route("/subjects/{subject}", post(look_up))
            .layer(middleware::from_fn_with_state(Arc::clone(&held), guard))
            .with_state(Arc::clone(&held));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Registry { url, held, _runtime: runtime }
    }

    /// How often it was asked anything.
    pub fn asked(&self) -> usize {
        self.held.lock().unwrap().asked.len()
    }
}

impl Held {
    pub fn add(&mut self, subject: &str, text: &str) -> Result<u32, String> {
        let schema = Schema::parse_str(text).map_err(|error| error.to_string())?;
        let newest = self.subjects.get(subject).and_then(|ids| ids.last());
        if let Some(older) = newest.map(|id| Schema::parse_str(&self.texts[id]).unwrap()) {
            SchemaCompatibility::can_read(&older, &schema).map_err(|error| error.to_string())?;
        }
        // The same text has the same id under every subject.
        let same = self.texts.iter().find(|(_, held)| *held == text).map(|(id, _)| *id);
        let id = same.unwrap_or(101 + self.texts.len() as u32);
        self.texts.insert(id, text.to_owned());
        let ids = self.subjects.entry(subject.to_owned()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        Ok(id)
    }
}

async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    {
        let mut held = shared.lock().unwrap();
        held.asked.push(format!("{} {}", request.method(), request.uri().path()));
        if let Some(status) = held.ill {
            return refuse(StatusCode::from_u16(status).unwrap(), status.into(), "not today");
        }
        let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        if held.demands.is_some() && held.demands.as_deref() != given {
            return refuse(StatusCode::UNAUTHORIZED, 40101, "Unauthorized");
        }
    }
    next.run(request).await
}

fn refuse(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(json!({ "error_code": code, "message": message }))).into_response()
}

async fn text(State(shared): State<Shared>, Path(id): Path<u32>) -> Response {
    match shared.lock().unwrap().texts.get(&id) {
        Some(text) => Json(json!({ "schema": text })).into_response(),
        None => refuse(StatusCode::NOT_FOUND, 40403, "Schema not found"),
    }
}

async fn register(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    match shared.lock().unwrap().add(&subject, body["schema"].as_str().unwrap_or_default()) {
        Ok(id) => Json(json!({ "id": id })).into_response(),
        Err(why) => refuse(StatusCode::CONFLICT, 409, &why),
    }
}

async fn look_up(
    State(shared): State<Shared>,
    Path(subject): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let held = shared.lock().unwrap();
    let ids = held.subjects.get(&subject).cloned().unwrap_or_default();
    let found = ids
        .into_iter()
        .zip(1..)
        .find(|(id, _)| Some(held.texts[id].as_str()) == body["schema"].as_str());
    match found {
        Some((id, version)) => {
            Json(json!({ "subject": subject, "id": id, "version": version })).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, 40403, "Schema not found"),
    }
}
