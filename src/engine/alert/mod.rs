//! When a risk becomes an alert (`reference/clinical.md` 2.4), for one stay. Pure, like all of the
//! engine.
//!
//! What is true ([`course`], [`standing`]) is kept apart from what was told (here). The course of
//! predictions and acts decides which alerts there are; whatever differs from what was told leaves
//! as a record: a new alert, a new state of one, or `entered in error` for one that rests on a
//! prediction that was corrected or taken back and would not have been raised without it. So any
//! interleaving of revisions ends in the alerts of a course in which the wrong predictions never
//! were, and the correction records beside them.
//!
//! Records leave in the order of what was known when: risk events in the order of sealing, and an
//! act or a step of escalation when every window before it is answered. So no record depends on
//! how fast the model answers. At one time the order is prediction, escalation, act. Whether an act
//! names an alert that there is, is decided then too, and not when it is read.
//!
//! Escalation belongs to the telling: it counts from the record that first told of the alert, also
//! where a correction raises one for a window long past, for nobody could answer it before.

mod course;
mod inherited;
mod point;
mod standing;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::effect::{Effect, Fate};
use super::identity::{Identity, Maker};
use crate::config::{AlertPolicy, EngineConfig};
use crate::event::alert::{Act, AlertEvent, Response, State, Subject};
use crate::event::risk::Mode;
use crate::event::{Reason, Rejection};
use crate::ids::{AlertId, EventId, NAMESPACE, Origin, StayId, Ticket};
use crate::time::{EventTime, Span};

use course::{ACTS_MAX, Course};
pub use inherited::Inherited;
pub use point::{Point, Risk, Said};
use standing::{Acted, Alert};

/// The alerts of one stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alerting {
    course: Course,
    /// What people did and what has not taken effect, in the order in which it will.
    waiting: VecDeque<Heard>,
    /// Ids of the acts that were taken, in order; as many as acts can be kept.
    taken: Vec<Uuid>,
    /// Alerts that were told of and that a correction can still reach.
    told: Vec<Told>,
    /// How far everything has been told.
    clock: EventTime,
    /// Which of them an earlier maker raised. Stored apart.
    #[serde(skip)]
    pub(super) inherited: Inherited,
    /// Since it was last asked.
    #[serde(skip)]
    is_changed: bool,
}

/// An alert as it was last told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    alert: Alert,
    revision: u32,
    /// When it was first told.
    since: EventTime,
    delivery: Mode,
    /// Steps of escalation that have passed.
    escalation: u32,
    in_error: bool,
}

/// What a person did, until its turn comes and its fate is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// When it takes effect, in the patient's time.
    pub at: EventTime,
    pub act: Act,
    pub origin: Origin,
    /// Its feed had promised that no such act would come any more.
    pub late: bool,
}

/// Who speaks, of which stay, by which rules.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    pub stay: StayId,
    pub identity: &'a Identity,
    pub policy: &'a AlertPolicy,
    /// How far back alerts are judged again when a correction comes.
    pub keep: Span,
}

impl<'a> Voice<'a> {
    pub fn new(stay: StayId, identity: &'a Identity, config: &'a EngineConfig) -> Self {
        Voice { stay, identity, policy: &config.alerts, keep: config.keep }
    }
}

impl Default for Alerting {
    fn default() -> Self {
        Alerting {
            course: Course::default(),
            waiting: VecDeque::new(),
            taken: Vec::new(),
            told: Vec::new(),
            clock: EventTime::MIN,
            inherited: Inherited::default(),
            is_changed: false,
        }
    }
}

impl Alerting {
    /// Whether anything has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// The same, to be stored again.
    pub fn changed(self) -> Self {
        Alerting { is_changed: true, ..self }
    }

    /// Steps one risk event of the stay, in the order of sealing.
    pub fn risk(&mut self, point: Point, voice: Voice<'_>, effects: &mut Vec<Effect>) {
        self.is_changed = true;
        self.pump(|at| at < point.known_at, voice, effects);
        self.clock = self.clock.max(point.known_at);
        self.course.take_point(point);
        self.tell(voice, effects);
        self.forget(voice);
    }

    /// Takes note of what a person did. It takes effect with [`Alerting::advance`], or before the
    /// next risk event that is known later. Of acts that take effect at one time, as all do that
    /// come late, the one that was done first comes first.
    pub fn hear(&mut self, heard: Heard) {
        self.is_changed = true;
        let order = |heard: &Heard| (heard.at, heard.act.by.at, heard.act.id);
        let index = self.waiting.partition_point(|held| order(held) <= order(&heard));
        self.waiting.insert(index, heard);
    }

    /// Acts that have not taken effect.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Does everything that is due by `now`. To be called when every window up to then has been
    /// answered.
    pub fn advance(&mut self, now: EventTime, voice: Voice<'_>, effects: &mut Vec<Effect>) {
        self.is_changed = true;
        self.pump(|at| at <= now, voice, effects);
    }

    /// When time will next change what is told: what a person did takes effect, or an alert is
    /// passed on.
    pub fn next_due(&self, policy: &AlertPolicy) -> Option<EventTime> {
        let act = self.waiting.front().map(|heard| heard.at);
        self.next_escalation(policy).into_iter().chain(act).min()
    }

    fn next_escalation(&self, policy: &AlertPolicy) -> Option<EventTime> {
        self.told.iter().filter_map(|told| told.escalates_at(policy)).min()
    }

    /// Alerts that stand now.
    pub fn standing(&self) -> usize {
        self.told.iter().filter(|told| told.is_standing()).count()
    }

    /// Another model or policy goes on from here, and tells nothing of that: what stands goes on
    /// as it was told, what people did holds, and predictions made before count no more.
    pub(super) fn hand_over(&mut self, earlier: Maker, policy: &AlertPolicy) {
        self.is_changed = true;
        self.told.retain(|told| !told.in_error);
        self.told.sort_by_key(|told| told.alert.raised_at);
        self.course.begin_anew(self.told.iter().map(|told| &told.alert), policy);
        self.told.retain(Told::is_standing);
        self.inherited.add(self.told.iter().map(|told| told.alert.key()), earlier);
    }

    /// Escalations and acts in the order of time, as far as they are `due`.
    fn pump(
        &mut self,
        due: impl Fn(EventTime) -> bool,
        voice: Voice<'_>,
        effects: &mut Vec<Effect>,
    ) {
        loop {
            let escalation = self.next_escalation(voice.policy).filter(|&at| due(at));
            let before = |heard: &mut Heard| escalation.is_none_or(|at| heard.at < at);
            let act = self.waiting.pop_front_if(|heard| due(heard.at) && before(heard));
            match (escalation, act) {
                (_, Some(heard)) => {
                    self.clock = self.clock.max(heard.at);
                    self.act(heard, voice, effects);
                }
                (Some(at), None) => {
                    self.clock = self.clock.max(at);
                    self.escalate(at, voice, effects);
                }
                (None, None) => return,
            }
        }
    }

    /// Decides the fate of an act whose turn has come, in the order duplicate, range, and lets it
    /// take effect. One that comes late is never dropped: somebody meant it.
    fn act(&mut self, heard: Heard, voice: Voice<'_>, effects: &mut Vec<Effect>) {
        let Heard { at, act, origin, late } = heard;
        let decided = |fate| Effect::Decided { origin, stay: Some(voice.stay), fate };
        if self.taken.contains(&act.id) {
            return effects.push(decided(Fate::Duplicate));
        }
        let subject = match self.about(&act, voice) {
            Ok(subject) => subject,
            Err(rejection) => return effects.push(decided(Fate::Rejected(rejection))),
        };
        effects.push(decided(if late { Fate::Late } else { Fate::Used }));
        let surplus = (self.taken.len() + 1).saturating_sub(ACTS_MAX);
        self.taken.drain(..surplus);
        self.taken.push(act.id);
        self.course.take_act(Acted { at, subject, deed: act.deed, by: act.by });
        self.tell(voice, effects);
    }

    /// The subject of the alert that an act names; `None` if it is about the whole stay.
    fn about(&self, act: &Act, voice: Voice<'_>) -> Result<Option<Subject>, Rejection> {
        let Some(alert) = act.deed.alert() else { return self.has_room().map(|()| None) };
        let named = |told: &&Told| self.inherited.id_of(&told.alert, voice) == alert;
        let told = self.told.iter().find(named).ok_or_else(|| {
            let detail = "names an alert that this stay does not have (any more)";
            Rejection::new(Reason::UnknownFact, detail)
        })?;
        self.has_room().map(|()| Some(told.alert.subject()))
    }

    fn has_room(&self) -> Result<(), Rejection> {
        if self.course.n_acts() < ACTS_MAX {
            return Ok(());
        }
        let detail = format!("{ACTS_MAX} acts of this stay are held already");
        Err(Rejection::new(Reason::TooManyWaiting, detail))
    }

    fn escalate(&mut self, at: EventTime, voice: Voice<'_>, effects: &mut Vec<Effect>) {
        let clock = self.clock;
        let due = |told: &&mut Told| told.escalates_at(voice.policy) == Some(at);
        for told in self.told.iter_mut().filter(due) {
            told.escalation += 1;
            told.revision += 1;
            effects.push(told.record(clock, &self.inherited, voice));
        }
    }

    /// Tells whatever differs from what was told before; corrections first.
    fn tell(&mut self, voice: Voice<'_>, effects: &mut Vec<Effect>) {
        let clock = self.clock;
        let alerts = self.course.alerts(voice.policy);
        let holds = |told: &Told| alerts.iter().any(|alert| alert.key() == told.alert.key());
        for told in self.told.iter_mut().filter(|told| !told.in_error) {
            if !holds(told) {
                told.in_error = true;
                told.revision += 1;
                effects.push(told.record(clock, &self.inherited, voice));
            }
        }
        for alert in alerts {
            match self.told.iter_mut().find(|told| told.alert.key() == alert.key()) {
                Some(told) if told.alert == alert && !told.in_error => {}
                Some(told) => {
                    told.delivery = delivery(&alert, voice.identity.mode);
                    told.alert = alert;
                    told.in_error = false;
                    told.revision += 1;
                    effects.push(told.record(clock, &self.inherited, voice));
                }
                None => {
                    let delivery = delivery(&alert, voice.identity.mode);
                    let told = Told {
                        alert,
                        revision: 0,
                        since: clock,
                        delivery,
                        escalation: 0,
                        in_error: false,
                    };
                    effects.push(told.record(clock, &self.inherited, voice));
                    self.told.push(told);
                }
            }
        }
    }

    /// Alerts are judged again so far back and no further: see [`Voice::keep`].
    fn forget(&mut self, voice: Voice<'_>) {
        let Some(newest) = self.course.newest() else { return };
        let before = newest - voice.keep;
        let ended = self.course.forget(before, voice.policy);
        let is_over = |told: &Told| {
            told.in_error && told.alert.raised_at < before
                || ended.iter().any(|alert| alert.key() == told.alert.key())
        };
        self.told.retain(|told| !is_over(told));
        self.inherited.keep(self.told.iter().map(|told| told.alert.key()));
    }
}

/// The alerts of a whole recorded course as they stand in the end, for judging a policy: what
/// [`Alerting::risk`] leads to event by event, told once.
pub fn settled(points: impl IntoIterator<Item = Point>, voice: Voice<'_>) -> Vec<AlertEvent> {
    let mut alerting = Alerting::default();
    for point in points {
        alerting.clock = alerting.clock.max(point.known_at);
        alerting.course.take_point(point);
    }
    let mut effects = Vec::new();
    alerting.tell(voice, &mut effects);
    let alert = |effect| match effect {
        Effect::Alert(event) => Some(*event),
        _ => None,
    };
    effects.into_iter().filter_map(alert).collect()
}

impl Told {
    fn is_standing(&self) -> bool {
        !self.in_error && self.alert.resolved.is_none()
    }

    fn escalates_at(&self, policy: &AlertPolicy) -> Option<EventTime> {
        let unanswered = self.is_standing() && self.alert.response == Response::Open;
        let disturbs = self.delivery == Mode::Interruptive;
        let of_risk = self.alert.subject() == Subject::InHospitalDeath;
        let step = *policy.escalate.get(self.escalation as usize)?;
        let at = self.since + step;
        let until = self.alert.snoozed_until.unwrap_or(at);
        (unanswered && disturbs && of_risk).then_some(at.max(until))
    }

    fn record(&self, clock: EventTime, inherited: &Inherited, voice: Voice<'_>) -> Effect {
        let alert = &self.alert;
        let identity = voice.identity;
        let maker = inherited.maker_of(alert, voice);
        let id = alert_id(alert, maker, voice.stay);
        let basis = |&(t, revision): &(EventTime, u32)| {
            maker.event_id(Ticket { stay: voice.stay, t, revision }, "risk")
        };
        let response = || alert.response.clone();
        let state = match alert.resolved {
            _ if self.in_error => State::EnteredInError,
            None => State::Standing(response()),
            Some((at, why)) => State::Resolved { at, why, response: response() },
        };
        Effect::Alert(Box::new(AlertEvent {
            id: record_id(id, self.revision),
            alert: id,
            stay: voice.stay,
            revision: self.revision,
            supersedes: self.revision.checked_sub(1).map(|before| record_id(id, before)),
            claim: alert.claim.clone(),
            state,
            priority: alert.priority,
            raised_at: alert.raised_at,
            known_at: clock,
            basis: alert.basis.iter().map(basis).collect(),
            validity: alert.validity.clone(),
            delivery: self.delivery,
            within_budget: alert.within_budget,
            escalation: self.escalation,
            snoozed_until: alert.snoozed_until,
            model: identity.model.clone(),
            config_digest: identity.config_digest,
            mode: identity.mode,
        }))
    }
}

/// Over its budget an alert is shown and disturbs nobody.
fn delivery(alert: &Alert, mode: Mode) -> Mode {
    match mode {
        Mode::Interruptive if !alert.within_budget => Mode::Passive,
        mode => mode,
    }
}

/// UUIDv5 of (stay, window, subject, model digest, config digest): the same whatever the revision
/// of the window.
fn alert_id(alert: &Alert, maker: Maker, stay: StayId) -> AlertId {
    let ticket = Ticket { stay, t: alert.raised_at, revision: 0 };
    AlertId(maker.event_id(ticket, &format!("alert/{}", alert.subject().name())).0)
}

fn record_id(alert: AlertId, revision: u32) -> EventId {
    EventId(Uuid::new_v5(&NAMESPACE, format!("{alert}/{revision}").as_bytes()))
}
