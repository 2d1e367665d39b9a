//! The reference consumer of alerts: follows the topic, keeps what holds, and passes it on.
//!
//! It is written to be read, and to be taken apart by whoever needs a consumer of his own:
//!
//! ```text
//! feed ─► desk ─────────────────────────► show (a person's terminal, or JSON)
//!  ▲      book:   newest revision          └─► dispatch ┬► webhook ─┐   a thread and a bounded
//!  │      budget: the unit's share                      ├► syslog ──┤   queue for each channel
//!  │                                                    └► mail ────┤
//!  └──────────── ledger: everything before this place was delivered ┘
//! ```
//!
//! What it keeps to, and every consumer should:
//!
//! - An alert is told as records with one `alert_id`; **the highest revision holds**, whatever the
//!   order in which they come, and a missing one is no fault. Equal event ids are one record.
//! - **A position is given up only when everything before it was delivered**, so nothing is lost
//!   when this process dies. What was under way is delivered again: receivers drop it by
//!   the event id, which every channel carries, if they have it.
//! - **`delivery` decides who may be disturbed.** A silent alert is shown as one that would have
//!   been, and leaves by no channel.
//! - **What was told hours ago disturbs nobody**, as when a backlog is worked off after an outage;
//!   it is shown, and an alert that is passed on later disturbs as any other.
//! - The budget of a stay is kept by the engine; only here the whole unit is seen, so its budget is
//!   kept here. What is over it disturbs nobody and says so.
//!
//! Nothing is remembered over a restart but the position: the unit's budget counts anew.

mod book;
mod budget;
mod desk;
mod dispatch;
mod ledger;
mod letter;
mod mail;
#[cfg(test)]
mod mail_tests;
#[cfg(feature = "https")]
mod mail_tls;
mod notice;
mod syslog;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use book::{Book, Seen};
pub use budget::UnitBudget;
pub use desk::Desk;
pub use dispatch::{Backoff, Channel, DeliveryError, Dispatch, QUEUE_NOTICES};
pub use ledger::Ledger;
pub use mail::Mail;
pub use notice::{HeldBack, Notice};
pub use syslog::Syslog;
pub use webhook::{SIGNATURE, Webhook, signature};

use dispatch::{Done, Outcome};

use crate::ports::{AlertFeed, AlertPlace, AlertStored, PortError};

/// Records taken from the feed at once.
const FETCH_MAX: usize = 64;
/// How long the feed is waited for at a time; so long a wish to stop may wait.
const FETCH_WAIT: Duration = Duration::from_millis(200);
/// Before the feed is asked again after it failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub enum NotifyError {
    #[error(transparent)]
    Feed(#[from] PortError),
    #[error("{channel} cannot be used: {why}")]
    Channel { channel: &'static str, why: String },
    #[error("what was read cannot be shown: {0}")]
    Show(#[from] std::io::Error),
}

/// What a consumer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub shown: u64,
    /// Records that said nothing new: an older revision, or one that came twice.
    pub passed: u64,
    pub unreadable: u64,
    pub delivered: u64,
    /// Deliveries that a receiver refused for good.
    pub refused: u64,
}

/// When a consumer ends by itself.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Stopped,
    /// Nothing has come for so long and everything was delivered.
    Idle(Duration),
}

/// Follows `feed` until it is told to stop. `show` is given what holds now; an error of it ends
/// the consumer with the position before what could not be shown.
pub fn follow(
    feed: &mut impl AlertFeed,
    desk: &mut Desk,
    dispatch: &mut Dispatch,
    show: &mut dyn FnMut(&Notice) -> std::io::Result<()>,
    until: Until,
    stop: &AtomicBool,
) -> Result<Tally, NotifyError> {
    let mut ledger = Ledger::default();
    let mut tally = Tally::default();
    let mut records: Vec<AlertStored> = Vec::new();
    let mut last_news = Instant::now();
    while !stop.load(Ordering::Acquire) {
        match feed.fetch(FETCH_MAX, FETCH_WAIT, &mut records) {
            Ok(()) => {}
            Err(PortError::Retry(why)) => {
                tracing::warn!("{why}");
                std::thread::sleep(TRY_AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
        for AlertStored { place, value } in records.drain(..) {
            last_news = Instant::now();
            ledger.open(place, dispatch.n_channels());
            match desk.take(&value) {
                Ok(Some(notice)) => {
                    show(&notice)?;
                    tally.shown += 1;
                    dispatch.submit(place, notice, stop);
                }
                Ok(None) => {
                    tally.passed += 1;
                    ledger.close(place);
                }
                Err(rejection) => {
                    let AlertPlace { partition, offset } = place;
                    tracing::warn!(partition, offset, "no alert can be read here: {rejection}");
                    tally.unreadable += 1;
                    ledger.close(place);
                }
            }
            settle(dispatch, &mut ledger, &mut tally);
        }
        settle(dispatch, &mut ledger, &mut tally);
        commit(feed, &mut ledger)?;
        let idle = |wait| last_news.elapsed() >= wait && ledger.is_empty();
        if matches!(until, Until::Idle(wait) if idle(wait)) {
            break;
        }
    }
    settle(dispatch, &mut ledger, &mut tally);
    commit(feed, &mut ledger)?;
    Ok(tally)
}

/// Takes note of what the channels have done.
fn settle(dispatch: &mut Dispatch, ledger: &mut Ledger, tally: &mut Tally) {
    for Done { place, channel, event, outcome } in dispatch.done() {
        match outcome {
            Outcome::Delivered => {
                tracing::debug!(channel, %event, "alert delivered");
                tally.delivered += 1;
            }
            Outcome::Refused(why) => {
                tracing::error!(channel, %event, "alert refused: {why}");
                tally.refused += 1;
            }
            Outcome::NotCarried => {}
        }
        ledger.done(place);
    }
}

/// A position that cannot be given up now is given up with a later one.
fn commit(feed: &mut impl AlertFeed, ledger: &mut Ledger) -> Result<(), NotifyError> {
    let next = ledger.take_next();
    if next.is_empty() {
        return Ok(());
    }
    match feed.commit(&next) {
        Err(PortError::Retry(why) | PortError::Reopen(why)) => {
            tracing::warn!("{why}; what was delivered may be delivered again");
            Ok(())
        }
        other => Ok(other?),
    }
}
