//! A model that is slow, wrong, late, repeats itself and dies, all by chance.

use std::collections::VecDeque;
use std::time::Duration;

use nowcxr::event::risk::{Generation, N_PHENOTYPES, Probability, Scores};
use nowcxr::ports::{Answer, Outcome, PredictionRequest, Predictor};

use crate::ports::Link;
use crate::world::Transport;

/// Questions that it takes at once.
const QUEUE: usize = 6;

pub struct Model {
    pub link: Link,
    /// Each with whether it was answered wrongly before.
    questions: VecDeque<(PredictionRequest, bool)>,
    /// Answers that nobody waits for.
    unasked: Vec<Answer>,
}

impl Model {
    pub fn new(link: Link) -> Self {
        Model { link, questions: VecDeque::new(), unasked: Vec::new() }
    }

    /// Another score each time it is asked, as a GPU might give; so one that was never journalled
    /// cannot be made again.
    fn outcome(&self, request: &PredictionRequest) -> Outcome {
        let world = &self.link.world;
        let faults = world.faults.get();
        if world.happens("model unscored", faults.model_unscored) {
            return Outcome::Unscored("the simulated model failed".into());
        }
        let p = Probability::new(world.below(10_000) as f32 / 10_000.0).unwrap();
        let generation = request.film.as_ref().map(|_| Generation {
            evaluations: 20,
            seed: request.seed,
            latent_rms: 1.0,
        });
        let scores = Scores {
            mortality: p,
            mortality_raw: p,
            mortality_interval: None,
            phenotypes: [p; N_PHENOTYPES],
            carry_forward: None,
            ehr_only: None,
            generation,
            attribution: Vec::new(),
        };
        if world.happens("model degraded", faults.model_degraded) {
            return Outcome::Degraded(scores, "the latent was not a number".into());
        }
        Outcome::Scored(scores)
    }

    fn answer(&self, request: &PredictionRequest) -> Answer {
        let outcome = self.outcome(request);
        Answer { ticket: request.ticket, epoch: request.epoch, outcome }
    }
}

impl Predictor for Model {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        if self.questions.len() >= QUEUE {
            return Err(Box::new(request));
        }
        self.link.asked(request.clone());
        self.questions.push_back((request, false));
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        let world = std::rc::Rc::clone(&self.link.world);
        let faults = world.faults.get();
        if self.link.node.dead.get() || self.link.transport == Transport::Rebuild {
            return None;
        }
        if let Some(answer) = self.unasked.pop() {
            return Some(answer);
        }
        if self.questions.is_empty() || world.chance(faults.model_slow) {
            return None;
        }
        if world.happens("model died", faults.model_dies) {
            // Whatever it was asked comes back unscored, one by one.
            let (request, _) = self.questions.pop_front()?;
            let outcome = Outcome::Unscored("the model's thread has ended".into());
            return Some(Answer { ticket: request.ticket, epoch: request.epoch, outcome });
        }
        let index = world.below(self.questions.len());
        let (request, lied) = self.questions.remove(index)?;
        let answer = self.answer(&request);
        if !lied && world.happens("model answered for another epoch", faults.model_wrong_epoch) {
            let epoch = answer.epoch + 1;
            self.questions.push_back((request, true));
            return Some(Answer { epoch, ..answer });
        }
        if world.happens("model answered twice", faults.model_twice) {
            self.unasked.push(self.answer(&request));
        }
        Some(answer)
    }

    fn pending(&self) -> usize {
        self.questions.len()
    }
}
