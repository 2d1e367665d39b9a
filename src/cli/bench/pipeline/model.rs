//! What answers the questions: no model, but a thread that is as busy as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use super::super::usage::thread_cpu_seconds;
use super::super::ward::answered;
use crate::ports::{Answer, PredictionRequest, Predictor};

/// Questions that may wait, as by default in `predict.queue`.
const QUEUE: usize = 512;

/// Answers each question after so much processor time of its own thread.
pub struct FixedCost {
    /// `None` when it ends.
    questions: Option<Sender<PredictionRequest>>,
    answers: Receiver<Answer>,
    pending: usize,
    cpu: ModelCpu,
    thread: Option<JoinHandle<()>>,
}

/// The processor time of the model's thread.
#[derive(Clone, Default)]
pub struct ModelCpu(Arc<AtomicU64>);

impl ModelCpu {
    pub fn seconds(&self) -> f64 {
        self.0.load(Ordering::Acquire) as f64 * 1e-9
    }
}

impl FixedCost {
    pub fn start(cost: Duration) -> Result<Self> {
        let (questions, asked) = bounded::<PredictionRequest>(QUEUE);
        // No more than the questions that were taken.
        let (given, answers) = unbounded();
        let cpu = ModelCpu::default();
        let spent = cpu.clone();
        let thread = thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || {
                for request in asked {
                    let until = thread_cpu_seconds() + cost.as_secs_f64();
                    let answer = answered(&request);
                    while thread_cpu_seconds() < until {
                        std::hint::spin_loop();
                    }
                    spent.0.store((thread_cpu_seconds() * 1e9) as u64, Ordering::Release);
                    if given.send(answer).is_err() {
                        break;
                    }
                }
            })
            .context("no thread for the made-up model")?;
        let (questions, thread) = (Some(questions), Some(thread));
        Ok(FixedCost { questions, answers, pending: 0, cpu, thread })
    }

    pub fn cpu(&self) -> ModelCpu {
        self.cpu.clone()
    }
}

impl Predictor for FixedCost {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        let Some(questions) = &self.questions else { return Err(Box::new(request)) };
        questions.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(back) | TrySendError::Disconnected(back) => Box::new(back),
        })?;
        self.pending += 1;
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Option<Answer> {
        let answer = self.answers.recv_timeout(wait).ok()?;
        self.pending -= 1;
        Some(answer)
    }

    fn pending(&self) -> usize {
        self.pending
    }
}

impl Drop for FixedCost {
    fn drop(&mut self) {
        drop(self.questions.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the made-up model's thread had panicked");
        }
    }
}
