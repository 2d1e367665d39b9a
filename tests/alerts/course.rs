//! A course of one stay's predictions and of what people did, to be fed to the policy in any way.

use std::collections::BTreeMap;

use nowcxr::config::EngineConfig;
use nowcxr::engine::alert::{Alerting, Heard, Point, Risk, Said, Voice};
use nowcxr::engine::{Effect, Fate, Identity};
use nowcxr::event::alert::{Act, AlertEvent, By, Deed};
use nowcxr::event::risk::{Doubt, Mode, ModelName, Probability};
use nowcxr::ids::{AlertId, Digest, Origin, StayId, Topic};
use nowcxr::time::{EventTime, Span};
use uuid::Uuid;

pub const STAY: StayId = StayId(1);

/// Minutes after the admission.
pub fn minute(n: i64) -> EventTime {
    EventTime::from_millis(0) + Span::minutes(n)
}

pub fn identity(mode: Mode) -> Identity {
    Identity {
        model: ModelName {
            name: "test".into(),
            version: "0".into(),
            digest: Digest::of(b"the test's model"),
        },
        config_digest: Digest::of(b"the test's config"),
        mode,
        doubts: vec![Doubt::NotValidated],
        variables: Vec::new(),
        epoch: 1,
    }
}

/// A prediction as of minute `t`, known at minute `known`.
pub fn point(t: i64, known: i64, revision: u32, said: Said) -> Point {
    Point { t: minute(t), known_at: minute(known), revision, age: minute(t).since(minute(0)), said }
}

pub fn risk(mortality: f32, film: Option<i64>) -> Said {
    Said::Risk(Risk {
        mortality: Probability::new(mortality).unwrap(),
        interval: None,
        ehr_only: None,
        film_acquired_at: film.map(minute),
        validity: vec![Doubt::NotValidated],
        contributors: Vec::new(),
    })
}

/// An act that is read in time.
pub fn heard(at: i64, act: Act) -> Heard {
    let origin = Origin { topic: Topic::Acknowledgement, partition: 0, offset: 0 };
    Heard { at: minute(at), act, origin, late: false }
}

/// One stay's alerts and everything that was told of them.
pub struct Stage {
    pub alerting: Alerting,
    pub identity: Identity,
    pub config: EngineConfig,
    pub told: Vec<AlertEvent>,
    /// What became of the acts, in the order in which that was decided.
    pub fates: Vec<Fate>,
    n_acts: u128,
}

impl Stage {
    pub fn new(mode: Mode, config: EngineConfig) -> Self {
        Stage {
            alerting: Alerting::default(),
            identity: identity(mode),
            config,
            told: Vec::new(),
            fates: Vec::new(),
            n_acts: 0,
        }
    }

    /// The records that this prediction leads to.
    pub fn predict(&mut self, point: Point) -> Vec<AlertEvent> {
        self.with(|alerting, voice, effects| alerting.risk(point, voice, effects))
    }

    /// The records that time leads to.
    pub fn advance(&mut self, to: i64) -> Vec<AlertEvent> {
        self.with(|alerting, voice, effects| alerting.advance(minute(to), voice, effects))
    }

    /// What a person does at minute `at`, in effect at once; whether it was refused.
    pub fn act(&mut self, at: i64, deed: Deed) -> Result<Vec<AlertEvent>, String> {
        self.n_acts += 1;
        let by = By { role: None, at: minute(at) };
        self.alerting
            .hear(heard(at, Act { id: Uuid::from_u128(self.n_acts), stay: STAY, deed, by }));
        let told = self.advance(at);
        match self.fates.last() {
            Some(Fate::Rejected(why)) => Err(why.to_string()),
            Some(_) => Ok(told),
            None => panic!("an act whose time has come has no fate"),
        }
    }

    /// The alert that was told of last and stands.
    pub fn standing(&self) -> Option<AlertId> {
        self.newest()
            .into_values()
            .filter(|event| event.state.is_standing())
            .map(|e| e.alert)
            .next_back()
    }

    /// The newest record of each alert, in the order of their windows.
    pub fn newest(&self) -> BTreeMap<(EventTime, AlertId), AlertEvent> {
        self.told.iter().map(|event| ((event.raised_at, event.alert), event.clone())).collect()
    }

    fn with(
        &mut self,
        act: impl FnOnce(&mut Alerting, Voice<'_>, &mut Vec<Effect>),
    ) -> Vec<AlertEvent> {
        let mut effects = Vec::new();
        let voice = Voice::new(STAY, &self.identity, &self.config);
        act(&mut self.alerting, voice, &mut effects);
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Alert(event) => events.push(*event),
                Effect::Decided { fate, .. } => self.fates.push(fate),
                other => panic!("neither an alert nor the fate of an act: {other:?}"),
            }
        }
        self.told.extend(events.iter().cloned());
        events
    }
}
