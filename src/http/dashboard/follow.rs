//! The thread that reads the feed into the ward, and tells the open pages what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tracing::warn;

use super::board::{self, Tile};
use super::feed::{Feed, News, Place, Told};
use super::ward::Ward;
use crate::event::dictionary::Dictionary;
use crate::ids::StayId;
use crate::time::WallTime;
use crate::wire::Codec;

/// How often the topics are looked at. With it an event reaches the pages within 100 ms.
pub const POLL: Duration = Duration::from_millis(50);
/// How often a log of another process is opened again once nothing more was in it.
pub const REOPEN: Duration = Duration::from_millis(500);
/// Updates that a slow page may lag behind; one that lags more is told to load anew.
pub const MAX_LAG: usize = 64;

/// What the pages read.
pub struct Shared {
    ward: RwLock<Ward>,
    state: Mutex<FeedState>,
    updates: broadcast::Sender<Arc<Update>>,
    pub codec: Codec,
    pub dictionary: Dictionary,
}

/// How the feed does.
#[derive(Clone, Debug, Default)]
pub struct FeedState {
    /// When the topics were last read without an error.
    pub read_at: Option<WallTime>,
    /// When something new was last in them.
    pub changed_at: Option<WallTime>,
    /// Why they cannot be read at the moment.
    pub trouble: Option<String>,
    /// The recording is over: nothing more will come.
    pub finished: bool,
}

/// One change of the ward, rendered once for all open pages.
#[derive(Debug)]
pub struct Update {
    /// Of each changed stay its tile and its row.
    pub stays: BTreeMap<StayId, Rendered>,
    /// The line above the tiles.
    pub summary: String,
}

/// One stay as HTML, in both forms of the ward page.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub tile: String,
    pub row: String,
}

/// The running thread; it ends when this is dropped.
pub struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shared {
    pub fn new(codec: Codec, dictionary: Dictionary) -> Arc<Self> {
        let (updates, _) = broadcast::channel(MAX_LAG);
        let (ward, state) = (RwLock::default(), Mutex::default());
        Arc::new(Shared { ward, state, updates, codec, dictionary })
    }

    /// The ward; hold it for as short as possible.
    pub fn ward(&self) -> RwLockReadGuard<'_, Ward> {
        self.ward.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self) -> FeedState {
        self.lock_state().clone()
    }

    /// Says that the recording is over.
    pub fn finish(&self) {
        self.lock_state().finished = true;
    }

    pub fn updates(&self) -> broadcast::Receiver<Arc<Update>> {
        self.updates.subscribe()
    }

    /// Takes records; the stays that changed.
    pub fn take(&self, told: &[Told]) -> BTreeSet<StayId> {
        let news: Vec<(Place, Option<News>)> =
            told.iter().map(|one| (one.place, one.news(&self.codec))).collect();
        let mut ward = self.ward.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = BTreeSet::new();
        for (place, news) in news {
            match news {
                Some(news) => changed.extend(ward.take(place, news)),
                // Marks stand among the records of input topics; they are no fault.
                None if place.topic.is_output() => ward.unreadable(),
                None => {}
            }
        }
        changed
    }

    /// Tells the open pages about `changed`, if there are any.
    pub fn announce(&self, changed: &BTreeSet<StayId>) {
        if changed.is_empty() || self.updates.receiver_count() == 0 {
            return;
        }
        let ward = self.ward();
        let Some(now) = ward.clock() else { return };
        let rendered = |id: &StayId| {
            let tile = Tile::new(*id, ward.stay(*id)?, None, now)?;
            let (tile, row) = (board::tile(&tile, None), board::row(&tile, None));
            Some((*id, Rendered { tile: tile.into_string(), row: row.into_string() }))
        };
        let stays = changed.iter().filter_map(rendered).collect();
        let summary = board::summary(&board::tiles(&ward, None), now).into_string();
        drop(ward);
        // An error means that the last page has just been closed.
        self.updates.send(Arc::new(Update { stays, summary })).ok();
    }

    fn lock_state(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, n: usize) {
        let now = wall_now();
        let mut state = self.lock_state();
        state.read_at = Some(now);
        state.trouble = None;
        if n > 0 {
            state.changed_at = Some(now);
        }
    }

    fn failed(&self, why: String) {
        let mut state = self.lock_state();
        if state.trouble.as_ref() != Some(&why) {
            warn!("the dashboard cannot read its topics: {why}");
        }
        state.trouble = Some(why);
    }
}

impl Follower {
    /// Starts to read `feed` into `shared`.
    ///
    /// # Errors
    /// If the machine has no thread left.
    pub fn start(mut feed: impl Feed + 'static, shared: Arc<Shared>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("dashboard".to_owned()).spawn(move || {
            while !seen.load(Ordering::Acquire) {
                let began = Instant::now();
                let more = turn(&mut feed, &shared);
                if !more {
                    let wait = if feed.is_reopened() { REOPEN } else { POLL };
                    std::thread::sleep(wait.saturating_sub(began.elapsed()));
                }
            }
        })?;
        Ok(Follower { stop, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the hook; the pages go on with what they have.
            thread.join().ok();
        }
    }
}

/// Reads once; true if there may be more at once.
fn turn(feed: &mut impl Feed, shared: &Shared) -> bool {
    let mut told = Vec::new();
    let polled = feed.poll(&mut told);
    if !told.is_empty() {
        let changed = shared.take(&told);
        shared.announce(&changed);
    }
    match polled {
        Ok(()) => shared.read(told.len()),
        Err(error) => shared.failed(error.to_string()),
    }
    told.len() >= super::feed::MAX_BATCH
}

/// The machine's clock: when something was seen, for people and for the audit log.
pub fn wall_now() -> WallTime {
    WallTime::from_millis(chrono::Utc::now().timestamp_millis())
}
