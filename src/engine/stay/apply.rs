//! Applying a fact whose turn has come: its fate is decided here, once, in the order duplicate,
//! late, range, shadow.

use super::{Admitted, Context, HeldFilm, Phase, Stay, Waiting};
use crate::config::LatePolicy;
use crate::engine::alert::Heard;
use crate::engine::effect::{Effect, Fate};
use crate::event::risk::StayEnd;
use crate::event::{Admission, Disposition, Fact, FactBody, Film, Reason, Rejection, StayEvent};
use crate::series::StaticFacts;
use crate::time::{EventTime, Span};

impl Stay {
    pub(super) fn apply_next(&mut self, context: Context<'_>, effects: &mut Vec<Effect>) {
        let Some((order, waiting)) = self.waiting.pop_first() else { return };
        self.films_decided.extend(waiting.film());
        if self.knows(waiting.fact.id.key()) {
            self.decide(waiting.origin, Fate::Duplicate, effects);
            return;
        }
        match self.admitted() {
            None => self.apply_before_admission(order, waiting, context, effects),
            Some(admitted) => {
                self.apply_admitted(order.effective, waiting, admitted, context, effects);
            }
        }
    }

    /// Before the admission is known only the admission itself can be applied; the rest is held.
    fn apply_before_admission(
        &mut self,
        order: super::Order,
        waiting: Waiting,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let FactBody::Stay(StayEvent::Admitted(admission)) = &waiting.fact.body else {
            self.hold(order, waiting, effects);
            return;
        };
        let admitted = admitted_at(waiting.fact.observed_at, admission);
        let known_at = order.effective;
        self.others_seen.insert(waiting.fact.id.key());
        self.phase = Phase::Open(admitted);
        self.last_fact_at = known_at;
        // Windows before this moment would claim to have known of the stay.
        self.sealed_to = known_at - Span::from_millis(1);
        self.decide(waiting.origin, Fate::Used, effects);
        while let Some((_, orphan)) = self.orphans.pop_first() {
            self.films_decided.extend(orphan.film());
            self.apply_admitted(known_at, orphan, admitted, context, effects);
        }
    }

    fn hold(&mut self, order: super::Order, waiting: Waiting, effects: &mut Vec<Effect>) {
        let same_id = |held: &Waiting| held.fact.id == waiting.fact.id;
        if self.orphans.values().any(same_id) {
            self.decide(waiting.origin, Fate::Duplicate, effects);
        } else {
            self.orphans.insert(order, waiting);
        }
    }

    fn apply_admitted(
        &mut self,
        effective: EventTime,
        waiting: Waiting,
        admitted: Admitted,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Waiting { fact, origin, passed_by } = waiting;
        if let FactBody::Acted(act) = fact.body {
            // No window holds it: it opens no silent stay and takes no place in the order of
            // facts. Its fate is decided when its turn comes among the alerts.
            let late = passed_by.is_some();
            self.alerting.hear(Heard { at: effective, act: *act, origin, late });
            return;
        }
        if self.knows(fact.id.key()) {
            self.decide(origin, Fate::Duplicate, effects);
            return;
        }
        let late = passed_by.is_some_and(|mark| self.missed(&fact, mark));
        if late && context.config.late == LatePolicy::Drop {
            self.decide(origin, Fate::Late, effects);
            return;
        }
        if let Err(rejection) = self.check_range(&fact, admitted, context) {
            self.reject(origin, rejection, effects);
            return;
        }
        let shadow = self.is_shadow(&fact, context);
        let fate = match (shadow, late) {
            (true, _) => Fate::Shadow,
            (false, true) => Fate::Late,
            (false, false) => Fate::Used,
        };
        self.decide(origin, fate, effects);
        if let Phase::Silent(admitted) = self.phase {
            self.phase = Phase::Open(admitted);
            self.sealed_to = effective - Span::from_millis(1);
        }
        self.last_fact_at = self.last_fact_at.max(effective);
        self.take(fact, shadow, effective, context, effects);
    }

    /// Whether a window that should have held this fact had been promised complete by `mark`.
    fn missed(&self, fact: &Fact, mark: EventTime) -> bool {
        self.windows.iter().any(|window| {
            fact.available_at <= window.t
                && window.t <= mark
                && window.series.from <= fact.observed_at
                && fact.observed_at <= window.t
        })
    }

    fn check_range(
        &self,
        fact: &Fact,
        admitted: Admitted,
        context: Context<'_>,
    ) -> Result<(), Rejection> {
        let earliest = admitted.at - context.config.lookback;
        if fact.observed_at < earliest {
            let detail = format!(
                "observed {}, more than {} before the admission",
                fact.observed_at, context.config.lookback
            );
            return Err(Rejection::new(Reason::BeforeLookback, detail));
        }
        if let Phase::Ended { at, .. } = self.phase
            && fact.observed_at > at + context.config.grace
        {
            let detail = format!(
                "observed {}, more than {} after the stay ended",
                fact.observed_at, context.config.grace
            );
            return Err(Rejection::new(Reason::AfterDischarge, detail));
        }
        if let FactBody::Retracted { fact } = fact.body
            && !self.knows(fact.key())
        {
            let detail = "retracts a fact that this stay does not hold";
            return Err(Rejection::new(Reason::UnknownFact, detail));
        }
        Ok(())
    }

    fn take(
        &mut self,
        fact: Fact,
        shadow: bool,
        effective: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        let mut copies = 0;
        match fact.body.observation().filter(|_| !shadow) {
            // The history remembers what it holds; everything else is remembered here.
            Some(observation) => copies = self.append(&fact, observation, seq, context),
            None => drop(self.others_seen.insert(fact.id.key())),
        }
        match fact.body {
            FactBody::Observed(_) => {}
            FactBody::Filmed(film) => self.take_film(&fact, film, seq, effective, context),
            FactBody::Stay(event) => {
                self.take_stay_event(event, fact.observed_at, effective, context, effects);
            }
            FactBody::Corrected { replaces, .. } => {
                self.correct(replaces, seq, effective, context, effects);
            }
            FactBody::FilmCorrected { replaces, film } => {
                self.take_film(&fact, film, seq, effective, context);
                self.correct(replaces, seq, effective, context, effects);
            }
            FactBody::Retracted { fact } => self.retract(fact, seq, effective, context, effects),
            // Heard by the alerts before it came here.
            FactBody::Acted(_) => {}
        }
        if copies > 0 {
            effects.push(Effect::Overshadowed { stay: self.id, copies });
        }
    }

    fn take_film(
        &mut self,
        fact: &Fact,
        film: Film,
        seq: u32,
        effective: EventTime,
        context: Context<'_>,
    ) {
        self.films.push(HeldFilm {
            film,
            key: fact.id.key(),
            seq,
            acquired_at: fact.observed_at,
            available_at: fact.available_at,
        });
        if context.config.on_film {
            self.films_due.insert(effective);
        }
    }

    fn take_stay_event(
        &mut self,
        event: StayEvent,
        at: EventTime,
        effective: EventTime,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        match event {
            // A changed admission moves the windows to come and leaves the sealed ones as made.
            StayEvent::Admitted(admission) => {
                if let Phase::Open(admitted) | Phase::Silent(admitted) = &mut self.phase {
                    *admitted = admitted_at(at, &admission);
                }
            }
            StayEvent::Transferred { .. } => {}
            StayEvent::Discharged { disposition } => {
                let how = match disposition {
                    Disposition::Alive => StayEnd::Discharged,
                    Disposition::Died => StayEnd::Died,
                };
                self.end(at, effective, how, context, effects);
            }
        }
    }

    /// Whether a fact with this key was applied before.
    fn knows(&self, key: u64) -> bool {
        self.others_seen.contains(&key) || self.history.applied(key).is_some()
    }
}

fn admitted_at(at: EventTime, admission: &Admission) -> Admitted {
    let statics = StaticFacts { age_years: admission.age_years, sex: admission.sex };
    Admitted { at, statics }
}
