//! One pass of the one loop over a recording, with a predictor that writes the questions down.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::source::{Forgetful, Nowhere, Told};
use crate::config::EngineConfig;
use crate::drive::{Drive, DriveOptions, Outbox, Ports};
use crate::engine::{Identity, Task};
use crate::event::dictionary::Dictionary;
use crate::event::risk::{Mode, ModelName};
use crate::ids::Digest;
use crate::ports::{Answer, Outcome, PredictionRequest, Predictor};
use crate::replay::{Encoder, Player, ReplayConfig, ReplaySource, Speed};
use crate::store::memory::MemoryStore;
use crate::time::{EventTime, WallTime};
use crate::train::TrainError;
use crate::wire::Codec;

/// Questions written down and not yet looked at; the loop stops reading when so many wait.
const MOST_WAITING: usize = 256;
/// Bytes of prepared films that the loop keeps in memory.
const FILM_CACHE_BYTES: usize = 64 << 20;

/// A question that the engine asked, as the model would have got it.
pub(super) struct Asked {
    pub(super) request: PredictionRequest,
    /// When its film was taken.
    pub(super) film_at: Option<EventTime>,
}

/// What happens in a pass.
pub(super) enum Happening<'a> {
    Asked(&'a Asked),
    /// Some facts later: the engine's state, to see which stays are over.
    Turned(&'a Task),
}

/// The predictor of a pass. It answers every question with nothing, so that the stay goes on.
#[derive(Clone, Default)]
struct Recorder(Rc<RefCell<Desk>>);

#[derive(Default)]
struct Desk {
    asked: VecDeque<PredictionRequest>,
    answers: VecDeque<Answer>,
}

impl Predictor for Recorder {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        let mut desk = self.0.borrow_mut();
        if desk.asked.len() >= MOST_WAITING {
            return Err(Box::new(request));
        }
        desk.asked.push_back(request);
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        self.0.borrow_mut().answers.pop_front()
    }

    fn pending(&self) -> usize {
        let desk = self.0.borrow();
        desk.asked.len() + desk.answers.len()
    }
}

/// Drives `source` to its end through the engine of `engine`.
pub(super) fn drive(
    source: ReplaySource,
    replay: &ReplayConfig,
    engine: &EngineConfig,
    dictionary: &Dictionary,
    each: &mut dyn FnMut(Happening<'_>) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let said = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
    let codec = || Codec::new(&engine.feeds, dictionary.clone()).map_err(|error| said(&error));
    let telling = codec()?;
    let encoder = Encoder::new(&telling, &engine.feeds, replay).map_err(|error| said(&error))?;
    let recorder = Recorder::default();
    let ports = Ports {
        source: Told::new(Player::new(source, encoder, replay, Speed::Max)),
        store: MemoryStore::new(),
        committer: Outbox { outlet: Nowhere::new(), journal: Forgetful },
        predictor: recorder.clone(),
    };
    let identity = Identity {
        model: ModelName {
            name: "recorder".to_owned(),
            version: String::new(),
            digest: Digest([0; 32]),
        },
        config_digest: Digest([0; 32]),
        mode: Mode::default(),
        doubts: Vec::new(),
        variables: dictionary.variables().iter().map(|v| v.code.clone()).collect(),
        epoch: 1,
    };
    let task = Task::new(engine.clone(), identity);
    let options = DriveOptions {
        film_cache_bytes: FILM_CACHE_BYTES,
        // A commit at every turn: then the order of the questions depends on the recording alone.
        commit_every: Duration::ZERO,
        ..DriveOptions::default()
    };
    // No output of a pass is kept, so no clock is needed either.
    let clock = || WallTime::from_millis(0);
    let mut drive =
        Drive::open(ports, task, codec()?, options, clock).map_err(|error| said(&error))?;
    loop {
        let turn = drive.turn().map_err(|error| said(&error))?;
        let asked = std::mem::take(&mut recorder.0.borrow_mut().asked);
        for request in asked {
            let ticket = request.ticket;
            let window = drive.task().stays().get(&ticket.stay);
            let film = window.and_then(|stay| stay.window_of(ticket)).and_then(|w| w.film);
            let epoch = request.epoch;
            let film_at = film.map(|film| film.acquired_at);
            each(Happening::Asked(&Asked { request, film_at }))?;
            let outcome = Outcome::Unscored("recorded for training".to_owned());
            recorder.0.borrow_mut().answers.push_back(Answer { ticket, epoch, outcome });
        }
        each(Happening::Turned(drive.task()))?;
        if turn.idle() {
            return Ok(());
        }
    }
}
