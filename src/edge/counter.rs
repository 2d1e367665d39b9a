//! Where messages wait for the desk, which works on a thread of its own.
//!
//! Each language has a queue with a bound, and whoever finds it full is told at once. Messages that
//! wait together are taken together, and share one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};
use tokio::sync::oneshot;

use super::desk::{Desk, EdgeError, Message};
use super::dicom::Instance;
use super::fhir::Parcel;
use super::language::Language;
use super::sink::Sink;
use crate::ports::{PortError, StateStore};
use crate::telemetry::EdgeConnections;
use crate::time::WallTime;

/// Messages of one language that wait for the desk.
pub const MAX_WAITING: usize = 64;
/// Messages of one language that are taken together.
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

/// The senders' side, for one language. Who drops one does not listen to that language.
pub struct Hatch<M: Message> {
    presence: Arc<Presence>,
    queue: Sender<Delivery<M>>,
}

/// The senders' side.
pub struct Hatches {
    pub hl7: Hatch<Vec<u8>>,
    pub fhir: Hatch<Parcel>,
    pub dicom: Hatch<Instance>,
}

/// The desk's side, for one language.
struct Queue<M: Message> {
    presence: Arc<Presence>,
    /// `None` once nobody listens to it.
    waiting: Option<Receiver<Delivery<M>>>,
    /// When somebody was there last.
    seen: Option<Instant>,
}

/// The desk's side.
pub struct Counter {
    hl7: Queue<Vec<u8>>,
    fhir: Queue<Parcel>,
    dicom: Queue<Instance>,
}

/// Both sides.
pub fn counter() -> (Hatches, Counter) {
    let ((hl7, hl7_queue), (fhir, fhir_queue), (dicom, dicom_queue)) = (queue(), queue(), queue());
    let counter = Counter { hl7: hl7_queue, fhir: fhir_queue, dicom: dicom_queue };
    (Hatches { hl7, fhir, dicom }, counter)
}

fn queue<M: Message>() -> (Hatch<M>, Queue<M>) {
    let presence = Arc::new(Presence::default());
    let (queue, waiting) = bounded(MAX_WAITING);
    let hatch = Hatch { presence: Arc::clone(&presence), queue };
    (hatch, Queue { presence, waiting: Some(waiting), seen: None })
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

impl<M: Message> Queue<M> {
    /// Takes what waits, at most a batch, and notes whether somebody is there.
    fn drain(&mut self) -> Vec<Delivery<M>> {
        let mut drained = Vec::new();
        while let Some(waiting) = self.waiting.as_ref().filter(|_| drained.len() < BATCH_MESSAGES) {
            match waiting.try_recv() {
                Ok(delivery) => drained.push(delivery),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.waiting = None,
            }
        }
        let came = self.presence.came.swap(false, Ordering::AcqRel);
        if came || !drained.is_empty() || self.presence.open.load(Ordering::Acquire) > 0 {
            self.seen = Some(Instant::now());
        }
        drained
    }

    /// Whether a sender is there or has just been.
    fn is_present(&self, within: Duration) -> bool {
        self.seen.is_some_and(|seen| seen.elapsed() <= within)
    }

    /// Whether a sender could be missing.
    fn is_missing(&self, is_expected: bool, within: Duration) -> bool {
        is_expected && self.waiting.is_some() && !self.is_present(within)
    }
}

impl Counter {
    /// Runs the desk until the listeners are gone and all their messages are answered, or the desk
    /// fails. Blocks, so it needs a thread of its own; `clock` is the machine's.
    ///
    /// A mark says that nothing earlier will come, so one is written only while senders are
    /// connected or have just been, of each language that was ever spoken here, and not in the
    /// first moments, when they bring what they kept. A film is known when it arrives, so of films
    /// nothing earlier ever comes. Without marks the engine passes a feed over after
    /// `feeds.timeout`, and says so.
    ///
    /// # Errors
    /// As [`Desk::take`]. No message that was not answered is lost by one: its sender has it still.
    pub fn run<S: StateStore, K: Sink>(
        mut self,
        desk: &mut Desk<S, K>,
        mut clock: impl FnMut() -> WallTime,
        stop: &AtomicBool,
    ) -> Result<(), EdgeError> {
        let lateness = desk.parts().lateness.as_millis();
        let lateness = Duration::from_millis(u64::try_from(lateness).unwrap_or(0)).max(LOOK);
        let started = Instant::now();
        let mut ticked = started;
        settle(desk, &mut clock, stop)?;
        while self.serve(desk, &mut clock, stop)? {
            if ticked.elapsed() < TICK.min(lateness) || started.elapsed() < lateness {
                continue;
            }
            ticked = Instant::now();
            if self.are_values_complete(desk, lateness) {
                retry(desk, &mut clock, stop, |desk, now| {
                    desk.tick(now)?;
                    desk.mark(Language::Hl7.topics(), now)
                })?;
            }
            retry(desk, &mut clock, stop, |desk, now| desk.mark(Language::Dicom.topics(), now))?;
        }
        Ok(())
    }

    /// Whether no sender of values is missing, and one is there at all.
    fn are_values_complete<S: StateStore, K: Sink>(
        &self,
        desk: &Desk<S, K>,
        within: Duration,
    ) -> bool {
        let is_missing = self.hl7.is_missing(desk.expects(Language::Hl7), within)
            || self.fhir.is_missing(desk.expects(Language::Fhir), within);
        !is_missing && (self.hl7.is_present(within) || self.fhir.is_present(within))
    }

    /// Takes what waits, after a moment's wait for the first, and answers it once what it said is
    /// in its topics. `false` once the listeners are gone.
    fn serve<S: StateStore, K: Sink>(
        &mut self,
        desk: &mut Desk<S, K>,
        clock: &mut impl FnMut() -> WallTime,
        stop: &AtomicBool,
    ) -> Result<bool, EdgeError> {
        self.wait();
        let (hl7, fhir, dicom) = (self.hl7.drain(), self.fhir.drain(), self.dicom.drain());
        if hl7.is_empty() && fhir.is_empty() && dicom.is_empty() {
            let is_open = self.hl7.waiting.is_some() || self.fhir.waiting.is_some();
            return Ok(is_open || self.dicom.waiting.is_some());
        }
        let now = clock();
        let answers = desk.together(now, |desk| {
            (heard(desk, hl7, now), heard(desk, fhir, now), heard(desk, dicom, now))
        })?;
        settle(desk, clock, stop)?;
        answered(answers.0);
        answered(answers.1);
        answered(answers.2);
        Ok(true)
    }

    fn wait(&self) {
        let mut select = Select::new();
        self.hl7.waiting.iter().for_each(|queue| _ = select.recv(queue));
        self.fhir.waiting.iter().for_each(|queue| _ = select.recv(queue));
        self.dicom.waiting.iter().for_each(|queue| _ = select.recv(queue));
        // What it finds is taken by `drain`, in the order of the languages: admissions first.
        select.ready_timeout(LOOK).ok();
    }
}

/// Answers that may go out once the desk has settled, each with its way.
type Answers<M> = Vec<(oneshot::Sender<<M as Message>::Answer>, <M as Message>::Answer)>;

fn heard<M: Message, S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    batch: Vec<Delivery<M>>,
    now: WallTime,
) -> Answers<M> {
    batch.into_iter().map(|one| (one.answer, one.message.hear(desk, now))).collect()
}

fn answered<T>(answers: Vec<(oneshot::Sender<T>, T)>) {
    for (way, answer) in answers {
        // A sender that is gone sends the message again, and it is known then.
        way.send(answer).ok();
    }
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
