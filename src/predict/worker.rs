//! The thread that scores windows, behind bounded queues.
//!
//! Answers leave in the order of the requests. A request whose deadline passes is answered at once
//! as unscored, and its late score is dropped: the deadline's answer is the one that was given.
//!
//! Several tasks of a node share one thread and one model: [`Worker::share`] gives each its own
//! handle. Their requests wait in one queue, first come first served, and a task that stops
//! polling holds nobody up.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::ids::Ticket;
use crate::ports::{Answer, Outcome, PredictionRequest, Predictor};

/// Scores one window. [`super::Pipeline`] is the implementation; tests have worse ones.
pub trait Score: Send {
    fn score(&mut self, request: &PredictionRequest) -> Outcome;

    /// Called after `score` has panicked: drop whatever may be half changed.
    fn recover(&mut self);
}

/// The worker's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Requests taken and not yet answered; one more is given back.
    pub max_pending: usize,
    /// How long after `submit` a request is answered as unscored; none waits as long as it takes.
    pub deadline: Option<Duration>,
}

impl Default for WorkerConfig {
    /// 256 windows are some ten seconds of work for one core with the model of CPU size.
    fn default() -> Self {
        WorkerConfig { max_pending: 256, deadline: None }
    }
}

/// A request on its way to the thread.
struct Job {
    number: u64,
    request: PredictionRequest,
    due: Option<Instant>,
    reply: Sender<(u64, Outcome)>,
    /// Gone when nobody waits for the outcome any more.
    asker: Weak<()>,
}

/// A request not yet answered.
struct Pending {
    number: u64,
    ticket: Ticket,
    epoch: u64,
    due: Option<Instant>,
}

/// A [`Predictor`] whose model runs on a thread of its own, which its shares have in common.
pub struct Worker {
    config: WorkerConfig,
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<(u64, Outcome)>,
    reply: Sender<(u64, Outcome)>,
    /// In the order of submission; the thread answers in the same order.
    pending: VecDeque<Pending>,
    next_number: u64,
    alive: Arc<()>,
    thread: Arc<Thread>,
}

/// The thread; whoever holds it last waits for its end.
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Worker {
    /// Starts the thread. Fails if the system has no thread to give.
    pub fn start(scorer: impl Score + 'static, config: WorkerConfig) -> std::io::Result<Self> {
        let bound = config.max_pending.max(1);
        let (jobs, incoming) = bounded::<Job>(bound);
        let thread = std::thread::Builder::new()
            .name("predict".to_owned())
            .spawn(move || run(scorer, &incoming))?;
        Ok(Worker::on(Some(jobs), config, Arc::new(Thread(Mutex::new(Some(thread))))))
    }

    /// Another handle on the same thread and model, with requests and answers of its own.
    pub fn share(&self) -> Worker {
        Worker::on(self.jobs.clone(), self.config, Arc::clone(&self.thread))
    }

    fn on(jobs: Option<Sender<Job>>, config: WorkerConfig, thread: Arc<Thread>) -> Self {
        // Room for every outcome that can be under way: those waited for, and as many again whose
        // deadline has passed while they stood in the queue. So the thread never waits for us.
        let (reply, outcomes) = bounded(2 * config.max_pending.max(1) + 1);
        Worker {
            config,
            jobs,
            outcomes,
            reply,
            pending: VecDeque::new(),
            next_number: 0,
            alive: Arc::new(()),
            thread,
        }
    }

    /// The oldest request's answer if its time has run out.
    fn expired(&mut self, now: Instant) -> Option<Answer> {
        let due = self.pending.front()?.due?;
        if now < due {
            return None;
        }
        let pending = self.pending.pop_front()?;
        Some(pending.answer(late(self.config.deadline)))
    }

    /// The answer that an outcome belongs to; `None` for one whose deadline had passed.
    fn answer(&mut self, number: u64, outcome: Outcome) -> Option<Answer> {
        let front = self.pending.front()?;
        (front.number == number).then(|| self.pending.pop_front())?.map(|p| p.answer(outcome))
    }
}

impl Pending {
    fn answer(self, outcome: Outcome) -> Answer {
        Answer { ticket: self.ticket, epoch: self.epoch, outcome }
    }
}

impl Predictor for Worker {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        if self.pending.len() >= self.config.max_pending {
            return Err(Box::new(request));
        }
        let due = self.config.deadline.and_then(|wait| Instant::now().checked_add(wait));
        let (ticket, epoch, number) = (request.ticket, request.epoch, self.next_number);
        let (reply, asker) = (self.reply.clone(), Arc::downgrade(&self.alive));
        let job = Job { number, request, due, reply, asker };
        if let Some(jobs) = &self.jobs {
            match jobs.try_send(job) {
                Err(TrySendError::Full(job)) => return Err(Box::new(job.request)),
                // Without its thread the worker still answers: `poll` says that it has ended.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            }
        }
        self.next_number += 1;
        self.pending.push_back(Pending { number, ticket, epoch, due });
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Option<Answer> {
        let until = Instant::now().checked_add(wait);
        loop {
            // A score that is ready counts even if its deadline has just passed.
            while let Ok((number, outcome)) = self.outcomes.try_recv() {
                if let Some(answer) = self.answer(number, outcome) {
                    return Some(answer);
                }
            }
            let now = Instant::now();
            if let Some(answer) = self.expired(now) {
                return Some(answer);
            }
            let left = until.map_or(wait, |until| until.saturating_duration_since(now));
            if left.is_zero() {
                return None;
            }
            let due = self.pending.front().and_then(|pending| pending.due);
            let pause = due.map_or(left, |due| left.min(due.saturating_duration_since(now)));
            if self.thread.has_ended() && self.outcomes.is_empty() {
                let ended = Outcome::Unscored("the model's thread has ended".to_owned());
                return self.pending.pop_front().map(|pending| pending.answer(ended));
            }
            // Our own sender keeps the channel open, so this fails by its time only.
            if let Ok((number, outcome)) = self.outcomes.recv_timeout(pause)
                && let Some(answer) = self.answer(number, outcome)
            {
                return Some(answer);
            }
        }
    }

    fn pending(&self) -> usize {
        self.pending.len()
    }
}

impl Drop for Worker {
    /// What this handle has asked for is passed over. The last one waits for the thread, which
    /// finishes the window it is at.
    fn drop(&mut self) {
        self.jobs = None;
        self.alive = Arc::default();
    }
}

impl Thread {
    fn has_ended(&self) -> bool {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A panic was already answered inside; there is nothing left to tell.
        drop(thread.map(JoinHandle::join));
    }
}

fn run(mut scorer: impl Score, incoming: &Receiver<Job>) {
    while let Ok(job) = incoming.recv() {
        if job.asker.strong_count() == 0 {
            continue;
        }
        let outcome = match job.due {
            Some(due) if Instant::now() >= due => late(None),
            _ => guarded(&mut scorer, &job.request),
        };
        // There is room, unless the asker has gone meanwhile.
        drop(job.reply.try_send((job.number, outcome)));
    }
}

/// A score, whatever the model does.
fn guarded(scorer: &mut impl Score, request: &PredictionRequest) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| scorer.score(request))) {
        Ok(outcome) => outcome,
        Err(_) => {
            scorer.recover();
            tracing::error!(ticket = %request.ticket, "the model panicked on a window");
            Outcome::Unscored("the model failed on this window; see the log".to_owned())
        }
    }
}

fn late(deadline: Option<Duration>) -> Outcome {
    let allowed = deadline.map(|d| format!(" of {} ms", d.as_millis())).unwrap_or_default();
    Outcome::Unscored(format!("deadline{allowed} passed before the model answered"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Sex;
    use crate::ids::StayId;
    use crate::series::StaticFacts;
    use crate::time::EventTime;

    const LONG: Duration = Duration::from_secs(20);

    /// Answers with the stay's number; panics on 13, sleeps on 99, and on 77 waits until it is
    /// told to go on.
    struct Fake {
        recovered: bool,
        go_on: crossbeam_channel::Receiver<()>,
    }

    impl Score for Fake {
        fn score(&mut self, request: &PredictionRequest) -> Outcome {
            match request.ticket.stay.0 {
                13 => panic!("unlucky"),
                99 => std::thread::sleep(Duration::from_millis(300)),
                77 => self.go_on.recv_timeout(LONG).expect("told to go on"),
                _ => {}
            }
            Outcome::Unscored(format!("{} {}", request.ticket.stay, self.recovered))
        }

        fn recover(&mut self) {
            self.recovered = true;
        }
    }

    fn request(stay: u64) -> PredictionRequest {
        let t = EventTime::from_millis(0);
        PredictionRequest {
            ticket: Ticket { stay: StayId(stay), t, revision: 0 },
            epoch: 7,
            seed: 0,
            admitted_at: t,
            generation_start: t,
            rows: Arc::from([]),
            static_facts: StaticFacts { age_years: 60, sex: Sex::Male },
            film: None,
        }
    }

    fn worker(max_pending: usize, deadline: Option<Duration>) -> Worker {
        waiting_worker(max_pending, deadline).0
    }

    /// A worker, and the way to tell its model to go on.
    fn waiting_worker(
        max_pending: usize,
        deadline: Option<Duration>,
    ) -> (Worker, crossbeam_channel::Sender<()>) {
        let config = WorkerConfig { max_pending, deadline };
        let (tell, go_on) = crossbeam_channel::bounded(1);
        (Worker::start(Fake { recovered: false, go_on }, config).expect("thread"), tell)
    }

    fn reason(answer: Option<Answer>) -> String {
        match answer.expect("an answer").outcome {
            Outcome::Unscored(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_come_in_order_and_carry_ticket_and_epoch() {
        let mut worker = worker(64, None);
        for stay in 0..50 {
            worker.submit(request(stay)).expect("room");
        }
        assert_eq!(worker.pending(), 50);
        for stay in 0..50 {
            let answer = worker.poll(LONG).expect("an answer");
            assert_eq!((answer.ticket, answer.epoch), (request(stay).ticket, 7));
        }
        assert_eq!(worker.pending(), 0);
        assert!(worker.poll(Duration::ZERO).is_none());
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let mut worker = worker(3, None);
        for stay in [99, 1, 2] {
            worker.submit(request(stay)).expect("room");
        }
        let back = worker.submit(request(4)).expect_err("full");
        assert_eq!(back.ticket.stay, StayId(4));
        assert!(worker.poll(LONG).is_some());
        worker.submit(*back).expect("room again");
    }

    #[test]
    fn a_panic_is_answered_and_the_worker_goes_on() {
        let mut worker = worker(8, None);
        for stay in [1, 13, 2] {
            worker.submit(request(stay)).expect("room");
        }
        assert_eq!(reason(worker.poll(LONG)), "1 false");
        assert!(reason(worker.poll(LONG)).contains("failed on this window"));
        assert_eq!(reason(worker.poll(LONG)), "2 true");
    }

    #[test]
    fn a_deadline_is_answered_once_and_the_late_score_is_dropped() {
        let (mut worker, tell) = waiting_worker(8, Some(Duration::from_millis(500)));
        worker.submit(request(77)).expect("room");
        assert!(reason(worker.poll(LONG)).contains("deadline of 500 ms"), "before the model");
        assert_eq!(worker.pending(), 0);
        worker.submit(request(5)).expect("room");
        tell.send(()).expect("the model waits");
        let answer = worker.poll(LONG).expect("an answer");
        assert_eq!(answer.ticket.stay, StayId(5));
        assert!(worker.poll(Duration::from_millis(20)).is_none());
    }

    #[test]
    fn a_worker_with_work_left_can_be_dropped() {
        let mut worker = worker(100, None);
        for stay in 0..100 {
            worker.submit(request(stay)).expect("room");
        }
        drop(worker);
    }

    #[test]
    fn shares_have_answers_of_their_own_and_do_not_hold_each_other_up() {
        let mut worker = worker(4, None);
        let (mut other, mut gone) = (worker.share(), worker.share());
        gone.submit(request(99)).expect("room");
        drop(gone);
        // Never polled: its outcomes must not fill anything that the other needs.
        for stay in 0..2 {
            worker.submit(request(stay)).expect("room");
        }
        for stay in 10..13 {
            other.submit(request(stay)).expect("room");
            assert_eq!(other.poll(LONG).expect("an answer").ticket.stay, StayId(stay));
        }
        assert_eq!((worker.pending(), other.pending()), (2, 0));
        drop(other);
        assert_eq!(worker.poll(LONG).expect("an answer").ticket.stay, StayId(0));
    }

    #[test]
    fn an_ended_thread_still_answers() {
        let mut worker = worker(4, None);
        worker.jobs = None;
        let thread = worker.thread.0.lock().expect("whole").take();
        thread.expect("started").join().expect("ended");
        worker.submit(request(1)).expect("taken");
        assert!(reason(worker.poll(LONG)).contains("thread has ended"));
    }
}
