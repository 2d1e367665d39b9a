//! The MLLP server: connections on one side, the desk on a thread of its own on the other.
//!
//! A sender waits for the answer to each message, so a connection has one message on its way at a
//! time, and the queue to the desk is as long as there may be connections. Messages that wait
//! together are taken together, and share one commit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::desk::{Desk, EdgeError};
use super::hl7::mllp::{Deframer, frame};
use super::sink::Sink;
use crate::ports::{PortError, StateStore};
use crate::telemetry::EdgeConnections;
use crate::time::WallTime;

/// Connections held at once. Further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 32;
/// Messages that wait for the desk: one a connection, so that the queue always has room.
const QUEUE_MESSAGES: usize = MAX_CONNECTIONS;
/// Messages that are taken together.
const BATCH_MESSAGES: usize = MAX_CONNECTIONS;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// From a message's first byte to its last, and for an answer to be taken: a sender that drips
/// does not hold a place for ever.
const STALLED: Duration = Duration::from_secs(60);
/// Between two messages of a connection. Senders that are longer silent connect again.
const SILENT: Duration = Duration::from_secs(4 * 3_600);
/// How often marks are written, and the end is looked for.
const TICK: Duration = Duration::from_secs(5);
/// How often a person's wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Between two attempts to send what the topics did not take.
const BACK_OFF: Duration = Duration::from_millis(500);

/// A message and the way back.
struct Delivery {
    message: Vec<u8>,
    answer: oneshot::Sender<Vec<String>>,
}

/// How senders come and go, for the promise that marks are.
#[derive(Debug, Default)]
struct Presence {
    open: AtomicUsize,
}

/// The listening side.
pub struct Listener {
    listener: TcpListener,
    presence: Arc<Presence>,
    queue: Sender<Delivery>,
}

/// The desk's side.
pub struct Counter {
    presence: Arc<Presence>,
    queue: Receiver<Delivery>,
}

/// Both sides, on an address.
///
/// # Errors
/// If the address cannot be taken.
pub async fn bind(address: SocketAddr) -> io::Result<(Listener, Counter)> {
    let listener = TcpListener::bind(address).await?;
    let presence = Arc::new(Presence::default());
    let (queue, waiting) = bounded(QUEUE_MESSAGES);
    let counter = Counter { presence: Arc::clone(&presence), queue: waiting };
    Ok((Listener { listener, presence, queue }, counter))
}

impl Listener {
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until `stop`, then lets go of all of them.
    pub async fn serve(self, stop: &AtomicBool) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        while !stop.load(Ordering::Acquire) {
            while connections.try_join_next().is_some() {}
            let Ok(Ok(place)) = timeout(LOOK, Arc::clone(&places).acquire_owned()).await else {
                continue;
            };
            let stream = match timeout(LOOK, self.listener.accept()).await {
                Ok(Ok((stream, _))) => stream,
                Ok(Err(error)) => {
                    tracing::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Err(_) => continue,
            };
            let (queue, presence) = (self.queue.clone(), Arc::clone(&self.presence));
            connections.spawn(async move {
                let _place = place;
                let _present = presence.enter();
                if let Err(error) = converse(stream, &queue).await {
                    tracing::info!("a sender's connection was closed: {error}");
                }
            });
        }
        connections.shutdown().await;
    }
}

/// A sender that is there; gone when dropped.
struct Present(Arc<Presence>);

impl Presence {
    fn enter(self: Arc<Self>) -> Present {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        EdgeConnections(before + 1).emit();
        Present(self)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Ordering::AcqRel);
        EdgeConnections(before.saturating_sub(1)).emit();
    }
}

/// One sender's messages, each answered before the next is read. An error closes the connection
/// without an answer, and the sender sends the message again.
async fn converse(stream: TcpStream, queue: &Sender<Delivery>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut began = None;
    loop {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        while let Some(message) = deframer.next_message().map_err(invalid)? {
            began = None;
            let (answer, answered) = oneshot::channel();
            let gone = || io::Error::other("the edge is stopping");
            queue.try_send(Delivery { message, answer }).map_err(|_| gone())?;
            for text in answered.await.map_err(|_| gone())? {
                timeout(STALLED, write_all(&stream, &frame(&text))).await??;
            }
        }
        began = if deframer.is_inside() { began.or(Some(Instant::now())) } else { None };
        let patience = match began {
            Some(began) => STALLED.saturating_sub(Instant::now().duration_since(began)),
            None => SILENT,
        };
        let n = timeout(patience, read(&stream, &mut buffer)).await??;
        if n == 0 {
            return Ok(());
        }
        deframer.push(buffer.get(..n).unwrap_or_default());
    }
}

/// What has come, at least a byte; 0 at the end of the stream.
async fn read(stream: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Counter {
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
            if self.presence.open.load(Ordering::Acquire) > 0 {
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
    fn next_batch(&self) -> Option<Vec<Delivery>> {
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
fn serve<S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    batch: Vec<Delivery>,
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
