//! A predictor that keeps the last question about each stay with a film, so that pictures can be
//! drawn when the run is over. By then the state has forgotten most stays.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::ids::{StayId, Ticket};
use crate::ports::{Answer, Outcome, PredictionRequest, Predictor};

/// Stays that are kept at once; of more, those at the lowest risk are let go. Each takes 50 KiB for
/// its film and a few for its rows.
const MOST: usize = 64;

/// The last questions, shared between the loop that owns the predictor and whoever draws.
#[derive(Clone, Default)]
pub struct Keepsakes(Rc<RefCell<BTreeMap<StayId, Kept>>>);

struct Kept {
    request: PredictionRequest,
    /// Mortality in the last answer; 0 before there is one.
    risk: f32,
}

/// `P`, listened to.
pub struct Listening<P> {
    predictor: P,
    keepsakes: Keepsakes,
}

impl Keepsakes {
    /// The question behind a risk event, if it is the last one about its stay.
    pub fn of(&self, ticket: Ticket) -> Option<PredictionRequest> {
        let kept = self.0.borrow();
        let kept = kept.get(&ticket.stay).filter(|kept| kept.request.ticket == ticket)?;
        Some(kept.request.clone())
    }

    fn asked(&self, request: PredictionRequest) {
        let mut all = self.0.borrow_mut();
        let stay = request.ticket.stay;
        let risk = all.get(&stay).map_or(0.0, |kept| kept.risk);
        all.insert(stay, Kept { request, risk });
        if all.len() > MOST {
            let others = all.iter().filter(|(id, _)| **id != stay);
            let least = others.min_by(|(_, a), (_, b)| a.risk.total_cmp(&b.risk));
            let least = least.map(|(id, _)| *id);
            least.and_then(|id| all.remove(&id));
        }
    }

    fn answered(&self, answer: &Answer) {
        let (Outcome::Scored(scores) | Outcome::Degraded(scores, _)) = &answer.outcome else {
            return;
        };
        if let Some(kept) = self.0.borrow_mut().get_mut(&answer.ticket.stay) {
            kept.risk = scores.mortality.get();
        }
    }
}

impl<P> Listening<P> {
    pub fn new(predictor: P, keepsakes: Keepsakes) -> Self {
        Listening { predictor, keepsakes }
    }
}

impl<P: Predictor> Predictor for Listening<P> {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        let kept = request.film.is_some().then(|| request.clone());
        self.predictor.submit(request)?;
        if let Some(request) = kept {
            self.keepsakes.asked(request);
        }
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Option<Answer> {
        let answer = self.predictor.poll(wait)?;
        self.keepsakes.answered(&answer);
        Some(answer)
    }

    fn pending(&self) -> usize {
        self.predictor.pending()
    }
}
