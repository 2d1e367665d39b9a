//! Where messages wait for the desk, which works on a thread of its own.
//!
//! Messages that wait together are taken together, and share one commit. The queue has a bound, and
//! whoever finds it full is told at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::sync::oneshot;

use super::desk::{Desk, EdgeError, Message};
use super::sink::Sink;
use crate::ports::{PortError, StateStore};
use crate::telemetry::EdgeConnections;
use crate::time::WallTime;

/// Messages that are taken together.
const BATCH_MESSAGES: usize = 32;
/// How often marks are written, and the end is looked for.
const TICK: Duration = Duration::from_secs(5);
/// How often a person's wish to stop is looked for.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// Between two attempts to send what the topics did not take.
const BACK_OFF: Duration = Duration::from_millis(500);

/// A message and the way back.
struct Delivery<M: Message> {
    message: M,
    answer: oneshot::Sender<M::Answer>,
}

/// How senders come and go, for the promise that marks are.
#[derive(Debug, Default)]
struct Presence {
    open: AtomicUsize,
    /// Whether anybody has come since this was last asked.
    came: AtomicBool,
}

/// The senders' side.
pub struct Hatch<M: Message> {
    presence: Arc<Presence>,
    queue: Sender<Delivery<M>>,
}

/// The desk's side.
pub struct Counter<M: Message> {
    presence: Arc<Presence>,
    queue: Receiver<Delivery<M>>,
}

/// Both sides of a queue of at most `waiting` messages.
pub fn counter<M: Message>(waiting: usize) -> (Hatch<M>, Counter<M>) {
    let presence = Arc::new(Presence::default());
    let (queue, taken) = bounded(waiting);
    (Hatch { presence: Arc::clone(&presence), queue }, Counter { presence, queue: taken })
}

impl<M: Message> Clone for Hatch<M> {
    fn clone(&self) -> Self {
        Hatch { presence: Arc::clone(&self.presence), queue: self.queue.clone() }
    }
}

impl<M: Message> Hatch<M> {
    /// Hands a message in. Its answer comes once what follows from it is durable; never, if the
    /// desk ends before that. `None` if the queue is full or the desk is gone.
    pub fn hand_in(&self, message: M) -> Option<oneshot::Receiver<M::Answer>> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Delivery { message, answer }).ok()?;
        Some(answered)
    }

    /// Says that a sender is there, until what this gives is dropped.
    pub fn enter(&self) -> Present {
        let before = self.presence.open.fetch_add(1, Ordering::AcqRel);
        self.presence.came.store(true, Ordering::Release);
        EdgeConnections(before + 1).emit();
        Present(Arc::clone(&self.presence))
    }
}

/// A sender that is there; gone when dropped.
pub struct Present(Arc<Presence>);

impl Drop for Present {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::AcqRel);
        EdgeConnections(before.saturating_sub(1)).emit();
    }
}

impl<M: Message> Counter<M> {
    /// Runs the desk until the listener is gone and all its messages are answered, or the desk
    /// fails. Blocks, so it needs a thread of its own; `clock` is the machine's.
    ///
    /// A mark says that nothing earlier will come, so one is written only while a sender is
    /// connected or has just been, and not in the first moments, when senders bring what they
    /// kept. Without marks the engine passes a feed over after `feeds.timeout`, and says so.
    ///
    /// # Errors
    /// As [`Desk::take`]. No message that was not answered is lost by one: its sender has it still.
    pub fn run<S: StateStore, K: Sink>(
        self,
        desk: &mut Desk<S, K>,
        mut clock: impl FnMut() -> WallTime,
        stop: &AtomicBool,
    ) -> Result<(), EdgeError> {
        let lateness = desk.parts().lateness.as_millis();
        let lateness = Duration::from_millis(u64::try_from(lateness).unwrap_or(0));
        let started = Instant::now();
        let (mut ticked, mut seen) = (started, None::<Instant>);
        settle(desk, &mut clock, stop)?;
        loop {
            let came = self.presence.came.swap(false, Ordering::AcqRel);
            if came || self.presence.open.load(Ordering::Acquire) > 0 {
                seen = Some(Instant::now());
            }
            let Some(batch) = self.next_batch() else { return Ok(()) };
            if !batch.is_empty() {
                seen = Some(Instant::now());
                serve(desk, batch, &mut clock, stop)?;
            }
            if ticked.elapsed() >= TICK.min(lateness.max(LOOK)) {
                ticked = Instant::now();
                let is_present = seen.is_some_and(|seen| seen.elapsed() <= lateness.max(LOOK));
                if is_present && started.elapsed() >= lateness {
                    retry(desk, &mut clock, stop, |desk, now| desk.mark(now))?;
                }
            }
        }
    }

    /// What waits, after a moment's wait for the first; `None` once the listener is gone.
    fn next_batch(&self) -> Option<Vec<Delivery<M>>> {
        match self.queue.recv_timeout(LOOK) {
            Ok(first) => {
                let rest = self.queue.try_iter().take(BATCH_MESSAGES - 1);
                Some(std::iter::once(first).chain(rest).collect())
            }
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Takes messages, and answers them once what they said is in its topics.
fn serve<M: Message, S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    batch: Vec<Delivery<M>>,
    clock: &mut impl FnMut() -> WallTime,
    stop: &AtomicBool,
) -> Result<(), EdgeError> {
    let (messages, ways): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|delivery| (delivery.message, delivery.answer)).unzip();
    let answers = desk.take(&messages, clock())?;
    settle(desk, clock, stop)?;
    for (way, answer) in ways.into_iter().zip(answers) {
        // A sender that is gone sends the message again, and it is known then.
        way.send(answer).ok();
    }
    Ok(())
}

fn settle<S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    clock: &mut impl FnMut() -> WallTime,
    stop: &AtomicBool,
) -> Result<(), EdgeError> {
    retry(desk, clock, stop, |desk, now| Ok(desk.settle(now)?))
}

/// Tries again what the topics cannot take now, until it is told to stop: then the senders get no
/// answer, and what is durable goes out at the next start.
fn retry<S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    clock: &mut impl FnMut() -> WallTime,
    stop: &AtomicBool,
    mut work: impl FnMut(&mut Desk<S, K>, WallTime) -> Result<(), EdgeError>,
) -> Result<(), EdgeError> {
    loop {
        match work(desk, clock()) {
            Err(EdgeError::Port(PortError::Retry(why))) if !stop.load(Ordering::Acquire) => {
                tracing::warn!("{why}; trying again");
                std::thread::sleep(BACK_OFF);
            }
            done => return done,
        }
    }
}
