//! Builders shared by the engine's tests: facts, marks, answers, and a task to feed them to.

pub mod script;

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Answer, Effect, Identity, Input, Outcome, Task};
use nowcxr::event::alert::AlertEvent;
use nowcxr::event::risk::{Doubt, Mode, ModelName, N_PHENOTYPES, Probability, RiskEvent, Scores};
use nowcxr::event::{
    Admission, Disposition, Fact, FactBody, Film, Mark, Observation, Sex, StayEvent, ViewPosition,
};
use nowcxr::ids::{Digest, FactId, FeedId, Origin, StayId, Ticket, Topic, VariableId};
use nowcxr::time::{EventTime, Span};

pub const EPOCH: u64 = 1;

/// Minutes after the start of the test's time.
pub fn minute(n: i64) -> EventTime {
    EventTime::from_millis(0) + Span::minutes(n)
}

pub fn identity() -> Identity {
    Identity {
        model: ModelName {
            name: "test".into(),
            version: "0".into(),
            digest: Digest::of(b"the test's model"),
        },
        config_digest: Digest::of(b"the test's config"),
        mode: Mode::Silent,
        doubts: vec![Doubt::NotValidated],
        variables: (0..17).map(|n| format!("variable-{n}")).collect(),
        epoch: EPOCH,
    }
}

pub fn task(config: EngineConfig) -> Task {
    Task::new(config, identity())
}

/// The default feeds are named after the topics, in their order.
pub fn feed(topic: Topic) -> FeedId {
    FeedId(topic as u8)
}

/// A record of the input: a fact and the topic it came by.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: Topic,
    pub fact: Fact,
}

impl Record {
    pub fn of(topic: Topic, id: &str, stay: u64, observed: i64, available: i64) -> Builder {
        Builder {
            topic,
            id: FactId::from_name(id),
            stay: StayId(stay),
            observed_at: minute(observed),
            available_at: minute(available),
        }
    }

    pub fn input(&self, offset: u64) -> Input {
        let origin = Origin { topic: self.topic, partition: 0, offset };
        Input::Fact { fact: self.fact.clone(), origin }
    }
}

pub struct Builder {
    topic: Topic,
    id: FactId,
    stay: StayId,
    observed_at: EventTime,
    available_at: EventTime,
}

impl Builder {
    pub fn body(self, body: FactBody) -> Record {
        let fact = Fact {
            id: self.id,
            stay: self.stay,
            feed: feed(self.topic),
            observed_at: self.observed_at,
            available_at: self.available_at,
            body,
        };
        Record { topic: self.topic, fact }
    }

    pub fn value(self, variable: u8, value: f64) -> Record {
        self.body(FactBody::Observed(Observation::new(VariableId(variable), value).unwrap()))
    }

    pub fn corrects(self, replaces: &str, variable: u8, value: f64) -> Record {
        let observation = Observation::new(VariableId(variable), value).unwrap();
        self.body(FactBody::Corrected { replaces: FactId::from_name(replaces), observation })
    }

    pub fn retracts(self, fact: &str) -> Record {
        self.body(FactBody::Retracted { fact: FactId::from_name(fact) })
    }

    pub fn film(self, name: &str) -> Record {
        let digest = Digest::of(name.as_bytes());
        self.body(FactBody::Filmed(Film { digest, view: ViewPosition::Ap }))
    }

    pub fn replaces_film(self, replaces: &str, name: &str) -> Record {
        let film = Film { digest: Digest::of(name.as_bytes()), view: ViewPosition::Ap };
        self.body(FactBody::FilmCorrected { replaces: FactId::from_name(replaces), film })
    }

    pub fn admits(self) -> Record {
        let unit = "MICU".into();
        let admission = Admission { age_years: 63, sex: Sex::Female, unit };
        self.body(FactBody::Stay(StayEvent::Admitted(admission)))
    }

    pub fn discharges(self, disposition: Disposition) -> Record {
        self.body(FactBody::Stay(StayEvent::Discharged { disposition }))
    }
}

pub fn mark(topic: Topic, at: EventTime) -> Input {
    Input::Mark(Mark { feed: feed(topic), time: at })
}

pub fn marks(at: EventTime) -> impl Iterator<Item = Input> {
    Topic::ALL.into_iter().map(move |topic| mark(topic, at))
}

/// A score that depends on the request alone, so that the same input gives the same answer.
pub fn score_of(task: &Task, ticket: Ticket) -> Option<Answer> {
    let request = task.request(ticket)?;
    let sum: f64 = request.rows.iter().map(|row| row.value + f64::from(row.variable.0)).sum();
    let mortality = Probability::new((sum.abs() % 97.0 / 97.0) as f32).unwrap();
    let outcome = Outcome::Scored(scores(mortality));
    Some(Answer { ticket, epoch: request.epoch, outcome })
}

pub fn scores(mortality: Probability) -> Scores {
    Scores {
        mortality,
        phenotypes: [mortality; N_PHENOTYPES],
        carry_forward: None,
        ehr_only: None,
        generation: None,
        mortality_raw: mortality,
        mortality_interval: None,
        attribution: Vec::new(),
    }
}

/// Steps every input and answers every question at once.
pub fn run(task: &mut Task, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for input in inputs {
        step_and_answer(task, input, &mut effects);
    }
    effects
}

pub fn step_and_answer(task: &mut Task, input: Input, effects: &mut Vec<Effect>) {
    let already = effects.len();
    task.step(input, effects);
    let tickets: Vec<Ticket> = effects[already..].iter().filter_map(sealed).collect();
    for ticket in tickets {
        if let Some(answer) = score_of(task, ticket) {
            task.step(Input::Answer(answer), effects);
        }
    }
}

pub fn sealed(effect: &Effect) -> Option<Ticket> {
    match effect {
        Effect::Sealed { ticket, .. } => Some(*ticket),
        _ => None,
    }
}

/// The records of alerts that leave, stay by stay in the order of leaving.
pub fn alerts(effects: &[Effect]) -> Vec<AlertEvent> {
    let alert = |effect: &Effect| match effect {
        Effect::Alert(event) => Some((**event).clone()),
        _ => None,
    };
    let mut events: Vec<AlertEvent> = effects.iter().filter_map(alert).collect();
    events.sort_by_key(|event| event.stay);
    events
}

/// The payloads that leave, in the order in which they are compared.
pub fn payloads(effects: &[Effect]) -> Vec<RiskEvent> {
    let mut events: Vec<RiskEvent> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Risk(event) => Some((**event).clone()),
            _ => None,
        })
        .collect();
    events.sort_by_key(|event| (event.stay, event.t, event.revision));
    events
}
