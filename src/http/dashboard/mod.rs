//! The dashboard: what the service says of each stay, as pages for people.
//!
//! It is a consumer of the output topics and never a window into the engine (design decision 15):
//! a thread follows the topics ([`feed`], [`follow`]) into a bounded model of the ward ([`ward`]),
//! and the pages are rendered from that, at any moment of what is recorded. A page is whole
//! without script; with it, it is kept up to date by server-sent events ([`live`]). No page asks
//! anything of another host, and a strict content-security policy holds that.

mod acts;
mod assets;
mod board;
mod cds;
mod chart;
mod evaluation;
pub mod feed;
mod fhir;
mod follow;
mod format;
mod guard;
mod kafka;
mod live;
pub mod local;
mod login;
mod looks;
mod markdown;
mod model_card;
mod operations;
mod page;
mod pictures;
mod security;
mod stay;
mod stay_routes;
pub mod ward;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use tokio::sync::{Semaphore, watch};

use board::BoardQuery;
use follow::Follower;
use page::Chrome;
use pictures::Studio;

use crate::edge::fhir::Stays;
use crate::http::access::{Access, Role, Visitor};
use crate::http::fhir::{BASE, Offer, metadata};
use crate::time::EventTime;

pub use acts::Acts;
pub use feed::{Archive, Feed};
pub use follow::{FeedState, POLL, REOPEN, Shared};
pub use kafka::{KafkaArchive, KafkaFeed, kafka};
pub use live::{BEAT, MAX_STREAMS};
pub use local::{LocalArchive, LocalFeed};
pub use looks::Looks;

/// What a dashboard is made of.
pub struct Options {
    /// What is shown, in a sentence; it stands at the foot of every page.
    pub provenance: String,
    /// Directory of the model that draws generated films again.
    pub model: PathBuf,
    /// Who may look.
    pub access: Access,
    /// Where looks at stays are written down; `None` for a synthetic ward that is open.
    pub looks: Option<Looks>,
    /// Where answers to alerts go; `None` for a recording, which nobody can answer.
    pub acts: Option<Arc<dyn Acts>>,
    /// Which stays an Encounter has had; `None` without `edge.secret`.
    pub stays: Option<Stays>,
    /// The report of an evaluation of what is shown.
    pub report: Option<PathBuf>,
}

/// What the handlers share.
pub struct App {
    shared: Arc<Shared>,
    archive: Arc<dyn Archive>,
    provenance: String,
    model: PathBuf,
    access: Access,
    looks: Option<Arc<Looks>>,
    acts: Option<Arc<dyn Acts>>,
    stays: Option<Stays>,
    report: Option<PathBuf>,
    studio: Studio,
    streams: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// A dashboard that follows its topics; the pages are in [`Dashboard::routes`].
pub struct Dashboard {
    app: Arc<App>,
    _follower: Follower,
}

impl Dashboard {
    /// Starts to follow `feed`.
    ///
    /// # Errors
    /// If the machine has no thread left.
    pub fn start(
        feed: impl Feed + 'static,
        archive: impl Archive + 'static,
        shared: Arc<Shared>,
        options: Options,
    ) -> std::io::Result<Self> {
        let follower = Follower::start(feed, Arc::clone(&shared))?;
        let app = Arc::new(App {
            shared,
            archive: Arc::new(archive),
            studio: Studio::new(options.model.clone()),
            provenance: options.provenance,
            model: options.model,
            access: options.access,
            looks: options.looks.map(Arc::new),
            acts: options.acts,
            stays: options.stays,
            report: options.report,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            closing: watch::Sender::new(false),
        });
        Ok(Dashboard { app, _follower: follower })
    }

    /// True where nobody is asked for a token.
    pub fn is_open(&self) -> bool {
        self.app.access.is_open()
    }

    /// All pages, to be merged with others' routes.
    pub fn routes(&self) -> Router {
        let app = || Arc::clone(&self.app);
        let need = |role| middleware::from_fn_with_state((app(), role), guard::need);
        Router::new()
            .route("/", get(home))
            .route("/ward", get(ward_page))
            .route("/live", get(live::live))
            .route("/operations", get(operations::operations))
            .route("/model", get(model_card::model))
            .route("/evaluation", get(evaluation::evaluation))
            .fallback(unknown)
            .merge(
                stay_routes::routes()
                    .merge(acts::routes())
                    .route_layer(need(Role::Clinician))
                    .route_layer(middleware::from_fn_with_state(app(), looks::written_down)),
            )
            .merge(Router::new().route("/audit", get(looks::audit)).route_layer(need(Role::Admin)))
            .layer(middleware::from_fn_with_state(app(), guard::admit))
            // What stands below is for everybody.
            .merge(login::routes())
            .merge(assets::routes())
            .merge(metadata(self.offer()))
            .route(&format!("{BASE}/{{*rest}}"), any(fhir::nothing))
            // These let in for themselves, and answer programs.
            .merge(fhir::routes(&self.app))
            .merge(cds::routes(&self.app))
            .with_state(app())
            .layer(middleware::from_fn(security::same_site))
            .layer(middleware::from_fn_with_state(app(), security::this_machine_only))
            .layer(middleware::map_response(security::headers))
    }

    /// What of FHIR is served.
    pub fn offer(&self) -> Offer {
        Offer { serves: true, audits: self.app.looks.is_some(), ..Offer::default() }
    }

    /// The addresses for programs alone, to be merged with others' routes.
    pub fn services(&self) -> Router {
        fhir::routes(&self.app).merge(cds::routes(&self.app)).with_state(Arc::clone(&self.app))
    }

    /// Says on every page that the recording is over.
    pub fn finish(&self) {
        self.app.shared.finish();
    }

    /// Ends the open pages' updates, so that a shutdown need not wait for them.
    pub fn close(&self) {
        self.app.closing.send_replace(true);
    }
}

impl App {
    /// The frame for a page at `path`.
    fn chrome(&self, path: &str, query: (Option<EventTime>, u32), visitor: &Visitor) -> Chrome {
        let state = self.shared.state();
        let ward = self.shared.ward();
        Chrome {
            mode: ward.mode,
            at: query.0,
            speed: query.1,
            finished: state.finished,
            trouble: state.trouble,
            changed_at: state.changed_at.map(format::wall_clock),
            span: ward.span(),
            path: path.to_owned(),
            live: String::new(),
            provenance: self.provenance.clone(),
            visitor: visitor.by_token.then(|| visitor.clone()),
            audited: self.looks.is_some() && visitor.role >= Role::Admin,
        }
    }
}

/// A finished recording opens at its fullest moment, since all of its stays have ended by now.
async fn home(State(app): State<Arc<App>>) -> Redirect {
    let finished = app.shared.state().finished;
    let fullest = finished.then(|| board::busiest(&app.shared.ward())).flatten();
    match fullest {
        Some(at) => Redirect::to(&format!("/ward?at={}", format::machine(at))),
        None => Redirect::to("/ward"),
    }
}

async fn ward_page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<board::Asked>,
) -> Html<String> {
    let query = BoardQuery::from(asked);
    let mut chrome = app.chrome("/ward", (query.at, query.speed), &visitor);
    if query.at.is_none() && !chrome.finished {
        chrome.live = "/live".to_owned();
    }
    Html(board::page(&app.shared.ward(), &query, &chrome).into_string())
}

async fn unknown(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    let chrome = app.chrome("/ward", (None, 0), &visitor);
    not_found(&chrome, "There is no such page.")
}

fn not_found(chrome: &Chrome, text: &str) -> Response {
    let page = page::message(chrome, "Not found", text);
    (StatusCode::NOT_FOUND, Html(page.into_string())).into_response()
}
