//! Updates of an open page by server-sent events: as the ward changes, or as a recording is played
//! by a clock of the page's own. The clock belongs to the connection, so that one reader's replay
//! is not another's.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::App;
use super::board::{self, Tile};
use super::follow::Update;
use super::{format, guard};
use crate::http::access::{Role, Visitor};
use crate::ids::StayId;
use crate::time::{EventTime, Span};

/// Pages that may be open for updates at once.
pub const MAX_STREAMS: usize = 256;
/// A page that hears nothing for three of these greys out.
pub const BEAT: Duration = Duration::from_secs(2);
/// How often a replay's clock moves.
const TICK: Duration = Duration::from_millis(500);
/// Ticks after which everything is sent, so that the ages move on where nothing else does.
const WHOLE_EVERY: u32 = 8;
/// The fastest replay: an hour a second.
pub const MAX_SPEED: u32 = 3_600;

/// Which updates a page wants.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    stay: Option<u64>,
    #[serde(default)]
    at: String,
    #[serde(default)]
    speed: String,
}

/// A speed as written; 0 for none, which stands still.
pub fn speed(text: &str) -> u32 {
    text.parse().unwrap_or(0).min(MAX_SPEED)
}

type Sent = Result<Event, Infallible>;

/// Updates end with the visitor's access.
fn still_admitted(app: &App, visitor: &Visitor) -> bool {
    app.access.still_admits(visitor, std::time::Instant::now())
}

/// `GET /live`.
pub async fn live(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
) -> Response {
    if wanted.stay.is_some() && visitor.role < Role::Clinician {
        return guard::forbidden(&app, &visitor, Role::Clinician);
    }
    let Ok(place) = Arc::clone(&app.streams).try_acquire_owned() else {
        let text = "too many pages are open for updates; close one, or load again by hand";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let closing = app.closing.subscribe();
    let stay = wanted.stay.map(StayId);
    match format::parse_time(&wanted.at) {
        Some(at) => {
            let speed = speed(&wanted.speed).max(1);
            Sse::new(Replaying::stream(app, visitor, (at, speed), stay, closing, place))
                .into_response()
        }
        None => Sse::new(Following::stream(app, visitor, stay, closing, place)).into_response(),
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// A page that shows now.
struct Following {
    app: Arc<App>,
    visitor: Visitor,
    updates: Receiver<Arc<Update>>,
    beat: Interval,
    stay: Option<StayId>,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    fn stream(
        app: Arc<App>,
        visitor: Visitor,
        stay: Option<StayId>,
        closing: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Sent> {
        let updates = app.shared.updates();
        let beat = interval(BEAT);
        let state = Following { app, visitor, updates, beat, stay, closing, _place: place };
        unfold(state, |mut state| async move {
            let next = state.next().await?;
            Some((Ok(next), state))
        })
    }

    /// `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                update = self.updates.recv() => match update {
                    Ok(update) => {
                        if let Some(event) = self.update(&update) {
                            return Some(event);
                        }
                    }
                    // The page was too slow: what it missed is gone, so it loads anew.
                    Err(RecvError::Lagged(_)) => return Some(event("reload", &json!({}))),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => {
                    return still_admitted(&self.app, &self.visitor).then(|| self.beat());
                }
                _ = self.closing.changed() => return None,
            }
        }
    }

    fn update(&self, update: &Update) -> Option<Event> {
        match self.stay {
            Some(stay) => {
                update.stays.contains_key(&stay).then(|| event("stay", &json!({ "stay": stay.0 })))
            }
            None => {
                let stays: BTreeMap<String, Value> = update
                    .stays
                    .iter()
                    .map(|(id, html)| {
                        (id.to_string(), json!({ "tile": html.tile, "row": html.row }))
                    })
                    .collect();
                Some(event("ward", &json!({ "summary": update.summary, "stays": stays })))
            }
        }
    }

    fn beat(&self) -> Event {
        let state = self.app.shared.state();
        event("beat", &json!({ "trouble": state.trouble, "finished": state.finished }))
    }
}

/// A page that plays a recording.
struct Replaying {
    app: Arc<App>,
    visitor: Visitor,
    at: EventTime,
    speed: u32,
    stay: Option<StayId>,
    ticks: Interval,
    last: Instant,
    n: u32,
    /// Events that wait to be sent, at most two.
    waiting: Vec<Event>,
    over: bool,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Replaying {
    fn stream(
        app: Arc<App>,
        visitor: Visitor,
        (at, speed): (EventTime, u32),
        stay: Option<StayId>,
        closing: watch::Receiver<bool>,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Sent> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = Replaying {
            app,
            visitor,
            at,
            speed,
            stay,
            ticks,
            last: Instant::now(),
            n: 0,
            waiting: Vec::new(),
            over: false,
            closing,
            _place: place,
        };
        unfold(state, |mut state| async move {
            let next = state.next().await?;
            Some((Ok(next), state))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            let look = self.n.is_multiple_of(WHOLE_EVERY);
            if self.over || look && !still_admitted(&self.app, &self.visitor) {
                return None;
            }
            tokio::select! {
                _ = self.ticks.tick() => self.tick(),
                _ = self.closing.changed() => return None,
            }
        }
    }

    /// Moves the clock on by the time that has passed, times the speed.
    fn tick(&mut self) {
        let passed = i64::try_from(self.last.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.last = Instant::now();
        let before = self.at;
        let ward = self.app.shared.ward();
        let end = ward.clock().unwrap_or(self.at);
        let step = Span::from_millis(passed.saturating_mul(i64::from(self.speed)));
        self.at = before.saturating_add(step).min(end).max(before);
        self.over = self.at >= end;
        self.n += 1;
        let whole = self.n % WHOLE_EVERY == 1 || self.over;
        let happened =
            |id: StayId| ward.stay(id).is_some_and(|stay| stay.has_news(before, self.at)) || whole;
        // Sent from the last to the first.
        let at = self.at;
        let clock = json!({ "at": at.as_millis(), "text": format::stamp(at), "over": self.over });
        match self.stay {
            Some(stay) if happened(stay) => {
                self.waiting.push(event("stay", &json!({ "stay": stay.0 })));
            }
            Some(_) => {}
            None => {
                let tiles = board::tiles(&ward, Some(at));
                let stays: BTreeMap<String, Value> = tiles
                    .iter()
                    .filter(|tile| happened(tile.id))
                    .map(|tile| (tile.id.to_string(), rendered(tile, at)))
                    .collect();
                let summary = board::summary(&tiles, at).into_string();
                self.waiting.push(event("ward", &json!({ "summary": summary, "stays": stays })));
            }
        }
        self.waiting.push(event("clock", &clock));
    }
}

fn rendered(tile: &Tile<'_>, at: EventTime) -> Value {
    json!({
        "tile": board::tile(tile, Some(at)).into_string(),
        "row": board::row(tile, Some(at)).into_string(),
    })
}
