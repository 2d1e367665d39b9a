//! Each channel on a thread of its own behind a bounded queue, so that one that is down holds the
//! others up only when its queue is full, and then the reader too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};

use super::NotifyError;
use super::notice::Notice;
use crate::ids::EventId;
use crate::ports::AlertPlace;

/// Notices that may wait for one channel.
pub const QUEUE_NOTICES: usize = 256;
/// A thread that sleeps looks so often whether it shall end.
const NAP: Duration = Duration::from_millis(50);

/// A way out. Deliveries are repeated until they succeed, so what leaves must carry the event id.
pub trait Channel: Send + 'static {
    fn name(&self) -> &'static str;

    /// Whether it carries such a notice at all.
    fn wants(&self, notice: &Notice) -> bool;

    fn deliver(&mut self, notice: &Notice) -> Result<(), DeliveryError>;
}

/// Why a notice was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may be taken later.
    #[error("{0}; trying again")]
    Retry(String),
    /// It will never be taken: the receiver must be mended.
    #[error("{0}")]
    Refused(String),
}

/// How long is waited before a delivery is tried again: twice as long each time.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_secs(1), most: Duration::from_secs(60) }
    }
}

/// What a channel has done with one record.
#[derive(Debug)]
pub(super) struct Done {
    pub place: AlertPlace,
    pub channel: &'static str,
    pub event: EventId,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    /// The channel does not carry such notices.
    NotCarried,
    Refused(String),
}

struct Job {
    place: AlertPlace,
    notice: Arc<Notice>,
}

/// All channels of a consumer. They end when it is dropped; what waits then is not delivered, and
/// its position was not given up.
pub struct Dispatch {
    queues: Vec<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    done: Receiver<Done>,
    stop: Arc<AtomicBool>,
}

impl Dispatch {
    /// # Errors
    /// If the machine has no thread left.
    pub fn start(channels: Vec<Box<dyn Channel>>, backoff: Backoff) -> Result<Self, NotifyError> {
        let stop = Arc::new(AtomicBool::new(false));
        // The reader looks at what was done after each notice, so more than this cannot be told.
        let (tell, done) = bounded(channels.len().max(1) * (QUEUE_NOTICES + 4));
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for mut channel in channels {
            let (queue, jobs) = bounded::<Job>(QUEUE_NOTICES);
            let (tell, stop) = (tell.clone(), Arc::clone(&stop));
            let name = channel.name();
            let carry = move || {
                for job in jobs {
                    let Some(outcome) = carry(channel.as_mut(), &job.notice, backoff, &stop) else {
                        return;
                    };
                    let event = job.notice.record.event_id;
                    let done = Done { place: job.place, channel: name, event, outcome };
                    if tell.send(done).is_err() {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name(format!("alerts-{name}")).spawn(carry);
            let why = |error: std::io::Error| error.to_string();
            let thread = thread.map_err(|e| NotifyError::Channel { channel: name, why: why(e) })?;
            queues.push(queue);
            threads.push(thread);
        }
        Ok(Dispatch { queues, threads, done, stop })
    }

    pub fn n_channels(&self) -> usize {
        self.queues.len()
    }

    /// Gives a notice to every channel, waiting for room, but not beyond `stop`.
    pub(super) fn submit(&mut self, place: AlertPlace, notice: Notice, stop: &AtomicBool) {
        let notice = Arc::new(notice);
        for queue in &self.queues {
            let mut job = Job { place, notice: Arc::clone(&notice) };
            while !stop.load(Ordering::Acquire) {
                match queue.send_timeout(job, NAP) {
                    Err(SendTimeoutError::Timeout(back)) => job = back,
                    Ok(()) | Err(SendTimeoutError::Disconnected(_)) => break,
                }
            }
        }
    }

    /// What has been done since this was last asked.
    pub(super) fn done(&mut self) -> Vec<Done> {
        self.done.try_iter().collect()
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.queues.clear();
        for thread in self.threads.drain(..) {
            // A panic there has been reported by the hook.
            thread.join().ok();
        }
    }
}

/// Tries until the notice is delivered or refused; `None` when told to stop before.
fn carry(
    channel: &mut dyn Channel,
    notice: &Notice,
    backoff: Backoff,
    stop: &AtomicBool,
) -> Option<Outcome> {
    if !channel.wants(notice) {
        return Some(Outcome::NotCarried);
    }
    let mut wait = backoff.first;
    while !stop.load(Ordering::Acquire) {
        match channel.deliver(notice) {
            Ok(()) => return Some(Outcome::Delivered),
            Err(DeliveryError::Refused(why)) => return Some(Outcome::Refused(why)),
            Err(DeliveryError::Retry(why)) => {
                let (channel, ms) = (channel.name(), wait.as_millis());
                tracing::warn!(channel, "{why}; trying again in {ms} ms");
            }
        }
        sleep(wait, stop);
        wait = (wait * 2).min(backoff.most);
    }
    None
}

fn sleep(wait: Duration, stop: &AtomicBool) {
    let mut left = wait;
    while !left.is_zero() && !stop.load(Ordering::Acquire) {
        let nap = left.min(NAP);
        thread::sleep(nap);
        left -= nap;
    }
}
