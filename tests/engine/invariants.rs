//! The invariants of `src/engine/mod.rs`, each over many seeded wards. A failure prints its seed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use nowcxr::config::EngineConfig;
use nowcxr::engine::{Answer, Effect, Fate, Input, Outcome, Task};
use nowcxr::event::risk::{Probability, RiskEvent, Status};
use nowcxr::event::{Fact, FactBody};
use nowcxr::ids::{Digest, FactId, StayId, Ticket, Topic, VariableId};
use nowcxr::series::Row;
use nowcxr::time::{EventTime, Span};

use crate::support::{
    Record, alerts, marks, minute, payloads, run, score_of, scores, sealed, step_and_answer, task,
};
use crate::workload::{Faults, Ward, ward};

const SEEDS: u64 = 300;
/// No honest answer of these tests is this number.
const WRONG: f32 = 0.123_456;

fn each_ward(faults: &Faults, check: impl Fn(u64, &Ward)) {
    println!("seeds 0..{SEEDS}");
    for seed in 0..SEEDS {
        check(seed, &ward(seed, faults));
    }
}

fn effects_of(inputs: Vec<Input>) -> Vec<Effect> {
    run(&mut task(EngineConfig::default()), inputs)
}

#[test]
fn same_inputs_give_the_same_effects_byte_for_byte() {
    each_ward(&Faults::ALL, |seed, ward| {
        let once = format!("{:?}", effects_of(ward.in_order()));
        let again = format!("{:?}", effects_of(ward.in_order()));
        assert_eq!(once, again, "seed {seed}");
    });
}

#[test]
fn no_interleaving_of_feeds_can_be_seen_in_the_output() {
    let mut n_events = 0;
    each_ward(&Faults::ALL, |seed, ward| {
        let expected = payloads(&effects_of(ward.in_order()));
        for other in 0..4 {
            let inputs = ward.interleaved(seed * 31 + other);
            let got = payloads(&effects_of(inputs));
            assert_eq!(got, expected, "seed {seed}, interleaving {other}");
        }
    });
    for seed in 0..SEEDS {
        n_events += payloads(&effects_of(ward(seed, &Faults::ALL).in_order())).len();
    }
    assert!(n_events > 1_000, "only {n_events} events were compared");
}

#[test]
fn no_interleaving_of_feeds_can_be_seen_in_the_alerts() {
    let mut n_alerts = 0;
    for seed in 0..SEEDS / 3 {
        let ward = ward(seed, &Faults::ALL);
        let expected = alerts(&effects_of(ward.in_order()));
        n_alerts += expected.len();
        for other in 0..3 {
            let got = alerts(&effects_of(ward.interleaved(seed * 31 + other)));
            assert_eq!(got, expected, "seed {seed}, interleaving {other}");
        }
    }
    assert!(n_alerts > 300, "only {n_alerts} records of alerts were compared");
}

#[test]
fn alerts_do_not_depend_on_how_fast_the_model_answers() {
    for seed in 0..SEEDS / 3 {
        let ward = ward(seed, &Faults::ALL);
        let expected = alerts(&effects_of(ward.in_order()));
        let mut slow = task(EngineConfig::default());
        let mut effects = Vec::new();
        let mut held = Vec::new();
        for (n, input) in ward.in_order().into_iter().enumerate() {
            let already = effects.len();
            slow.step(input, &mut effects);
            held.extend(effects[already..].iter().filter_map(sealed));
            // Answers come in bunches, and out of order.
            if n % 17 == 0 {
                answer_all(&mut slow, &mut held, &mut effects);
            }
        }
        answer_all(&mut slow, &mut held, &mut effects);
        assert_eq!(alerts(&effects), expected, "seed {seed}");
    }
}

#[test]
fn an_event_does_not_depend_on_how_far_sealing_has_gone_on() {
    let admits = Record::of(Topic::Stay, "admission", 1, 0, 0).admits();
    let hourly = (0..80).map(|hour| {
        let id = format!("rate {hour}");
        Record::of(Topic::Vital, &id, 1, hour * 60, hour * 60).value(8, 70.0 + hour as f64)
    });
    let facts = std::iter::once(admits).chain(hourly).enumerate();
    let mut inputs: Vec<Input> = facts.map(|(n, record)| record.input(n as u64)).collect();
    inputs.extend((0..=80).flat_map(|hour| marks(minute(hour * 60))));
    let said = |effects: &[Effect]| -> Vec<Effect> {
        let leaves = |effect: &&Effect| matches!(effect, Effect::Risk(_) | Effect::View(_));
        effects.iter().filter(leaves).cloned().collect()
    };
    let expected = said(&effects_of(inputs.clone()));
    assert!(expected.len() > 150, "too little to compare");
    let (mut slow, mut effects) = (task(EngineConfig::default()), Vec::new());
    inputs.into_iter().for_each(|input| slow.step(input, &mut effects));
    let mut held: Vec<Ticket> = effects.iter().filter_map(sealed).collect();
    answer_all(&mut slow, &mut held, &mut effects);
    assert_eq!(said(&effects), expected);
}

fn answer_all(task: &mut Task, held: &mut Vec<Ticket>, effects: &mut Vec<Effect>) {
    while let Some(ticket) = held.pop() {
        let answer = score_of(task, ticket).unwrap();
        task.step(Input::Answer(answer), effects);
    }
}

#[test]
fn the_watermark_never_goes_back() {
    each_ward(&Faults::ALL, |seed, ward| {
        let mut last = EventTime::MIN;
        for effect in effects_of(ward.interleaved(seed)) {
            if let Effect::Advanced(to) = effect {
                assert!(to > last, "seed {seed}: {last} then {to}");
                last = to;
            }
        }
    });
}

#[test]
fn the_first_revision_knows_what_was_available_by_t_and_nothing_else() {
    each_ward(&Faults::NONE, |seed, ward| {
        let mut task = task(EngineConfig::default());
        let mut effects = Vec::new();
        for input in ward.in_order() {
            let already = effects.len();
            task.step(input, &mut effects);
            let tickets: Vec<Ticket> = effects[already..].iter().filter_map(sealed).collect();
            for ticket in tickets {
                let request = task.request(ticket).unwrap();
                let got: Vec<(EventTime, VariableId, f64)> =
                    request.rows.iter().map(|row| (row.at, row.variable, row.value)).collect();
                assert_eq!(sorted(got), oracle_rows(ward, ticket), "seed {seed}, {ticket}");
            }
        }
    });
}

/// What a window holds, from the records alone and with no state: observed in its span, available
/// by t. No film gap in these wards reaches back further than 48 h.
fn oracle_rows(ward: &Ward, ticket: Ticket) -> Vec<(EventTime, VariableId, f64)> {
    let from = ticket.t - Span::hours(48);
    let rows = ward.observations().filter_map(|(record, value)| {
        let fact = &record.fact;
        let held = fact.stay == ticket.stay
            && fact.available_at <= ticket.t
            && fact.observed_at >= from
            && fact.observed_at <= ticket.t;
        let FactBody::Observed(observation) = fact.body else { return None };
        held.then_some((fact.observed_at, observation.variable(), value))
    });
    sorted(rows.collect())
}

/// What the records alone say of a revision's input, with no state. Facts that became available in
/// the very moment of `known_at` may stand before or behind the correction that sealed it.
#[test]
fn a_later_revision_knows_what_was_available_by_known_at_and_nothing_else() {
    let (n_later, n_films) = (Cell::new(0), Cell::new(0));
    each_ward(&Faults::PROMPT, |seed, ward| {
        let mut task = task(EngineConfig::default());
        let (mut effects, mut asked) = (Vec::new(), BTreeMap::new());
        for input in ward.in_order() {
            let already = effects.len();
            task.step(input, &mut effects);
            let tickets: Vec<Ticket> = effects[already..].iter().filter_map(sealed).collect();
            for ticket in tickets {
                asked.insert(ticket, task.request(ticket).unwrap().rows);
                let answer = score_of(&task, ticket).unwrap();
                task.step(Input::Answer(answer), &mut effects);
            }
        }
        for event in payloads(&effects).into_iter().filter(|event| event.revision > 0) {
            let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
            let Some(rows) = asked.get(&ticket) else { continue };
            let known = Known { ward, stay: event.stay, at: event.known_at };
            let place = format!("seed {seed}, {ticket} known at {}", event.known_at);
            for row in rows.iter() {
                assert!(row.at <= ticket.t, "{place}: {row:?} was observed later");
                let found = known.rows(true).contains(&(row.at, row.variable, row.value.to_bits()));
                assert!(found, "{place}: {row:?} was not known");
            }
            for (at, variable, value) in known.rows(false) {
                let used = (ticket.t - Span::hours(48)..=ticket.t).contains(&at);
                let held = |row: &Row| {
                    (row.at, row.variable, row.value.to_bits()) == (at, variable, value)
                };
                assert!(!used || rows.iter().any(held), "{place}: {variable:?} of {at} is missing");
            }
            if let Some(film) = event.film {
                assert!(film.acquired_at <= ticket.t, "{place}: {film:?}");
                assert!(known.films().contains(&film.digest), "{place}: {film:?} was not known");
                n_films.set(n_films.get() + 1);
            }
            n_later.set(n_later.get() + 1);
        }
    });
    let (n_later, n_films) = (n_later.get(), n_films.get());
    println!("{n_later} later revisions, {n_films} with a film");
    assert!(n_later > 300 && n_films > 100, "only {n_later} were looked at, {n_films} with a film");
}

/// A stay as its records tell it at one moment.
struct Known<'a> {
    ward: &'a Ward,
    stay: StayId,
    at: EventTime,
}

impl Known<'_> {
    fn records(&self) -> impl Iterator<Item = &Fact> {
        let facts = self.ward.records().map(|record| &record.fact);
        facts.filter(|fact| fact.stay == self.stay)
    }

    /// Values and corrections: those that may have been known, or those that must have been.
    fn rows(&self, may: bool) -> BTreeSet<(EventTime, VariableId, u64)> {
        let row = |fact: &Fact| {
            let observation = match fact.body {
                FactBody::Observed(observation) => observation,
                FactBody::Corrected { observation, .. } => observation,
                _ => return None,
            };
            let holds = self.has_come(fact, may) && !self.is_withdrawn(fact.id, !may);
            let value = observation.value().to_bits();
            holds.then_some((fact.observed_at, observation.variable(), value))
        };
        self.records().filter_map(row).collect()
    }

    /// Films that may have been known.
    fn films(&self) -> BTreeSet<Digest> {
        let film = |fact: &Fact| match fact.body {
            FactBody::Filmed(film) => {
                let holds = self.has_come(fact, true) && !self.is_withdrawn(fact.id, false);
                holds.then_some(film.digest)
            }
            _ => None,
        };
        self.records().filter_map(film).collect()
    }

    /// `may`: in this very moment counts as well.
    fn has_come(&self, fact: &Fact, may: bool) -> bool {
        fact.available_at < self.at || may && fact.available_at == self.at
    }

    fn is_withdrawn(&self, id: FactId, may: bool) -> bool {
        self.records().any(|fact| match fact.body {
            FactBody::Corrected { replaces, .. } | FactBody::Retracted { fact: replaces } => {
                replaces == id && self.has_come(fact, may)
            }
            _ => false,
        })
    }
}

fn sorted(mut rows: Vec<(EventTime, VariableId, f64)>) -> Vec<(EventTime, VariableId, f64)> {
    rows.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    rows
}

#[test]
fn every_record_ends_as_exactly_one_of_the_five_fates() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let ward = ward(seed, &Faults::ALL);
        let mut decided = BTreeMap::new();
        for effect in effects_of(ward.interleaved(seed)) {
            if let Effect::Decided { origin, fate, .. } = effect {
                seen.insert(match fate {
                    Fate::Used => "used",
                    Fate::Late => "late",
                    Fate::Duplicate => "duplicate",
                    Fate::Shadow => "shadow",
                    Fate::Rejected(_) => "rejected",
                });
                assert!(decided.insert(origin, ()).is_none(), "seed {seed}: {origin} twice");
            }
        }
        assert_eq!(decided.len(), ward.n_records(), "seed {seed}");
    }
    assert_eq!(seen.len(), 5, "the wards never showed every fate, only {seen:?}");
}

#[test]
fn one_event_leaves_per_revision_and_each_names_what_it_supersedes() {
    each_ward(&Faults::ALL, |seed, ward| {
        let events = payloads(&effects_of(ward.interleaved(seed)));
        let mut newest: BTreeMap<_, &RiskEvent> = BTreeMap::new();
        for event in &events {
            let key = (event.stay, event.t);
            match newest.insert(key, event) {
                None => assert_eq!((event.revision, event.supersedes), (0, None), "seed {seed}"),
                Some(before) => {
                    assert_eq!(event.revision, before.revision + 1, "seed {seed}");
                    assert_eq!(event.supersedes, Some(before.id), "seed {seed}");
                    assert!(event.known_at >= before.known_at, "seed {seed}");
                }
            }
            let first_knows_t = event.revision > 0 || event.known_at == event.t;
            assert!(first_knows_t, "seed {seed}: {} known at {}", event.t, event.known_at);
        }
    });
}

#[test]
fn a_second_answer_and_one_of_another_epoch_are_not_accepted() {
    each_ward(&Faults::ALL, |seed, ward| {
        let mut task = task(EngineConfig::default());
        let mut effects = Vec::new();
        let mut first = Vec::new();
        for input in ward.in_order() {
            let already = effects.len();
            task.step(input, &mut effects);
            let tickets: Vec<Ticket> = effects[already..].iter().filter_map(sealed).collect();
            for ticket in tickets {
                let answer = score_of(&task, ticket).unwrap();
                let stale = Answer { epoch: answer.epoch + 1, ..answer.clone() };
                let other = Outcome::Scored(scores(Probability::new(WRONG).unwrap()));
                let second = Answer { outcome: other, ..answer.clone() };
                for answer in [stale, answer, second] {
                    task.step(Input::Answer(answer), &mut effects);
                }
                first.push(ticket);
            }
        }
        let n_unasked = effects.iter().filter(|e| matches!(e, Effect::Unasked(_))).count();
        assert_eq!(n_unasked, 2 * first.len(), "seed {seed}");
        let wrong = payloads(&effects).into_iter().filter(|event| {
            event.scores.as_ref().is_some_and(|scores| scores.mortality.get() == WRONG)
        });
        assert_eq!(wrong.count(), 0, "seed {seed}");
    });
}

#[test]
fn of_the_last_words_retractions_and_closings_alone_hold_no_scores() {
    each_ward(&Faults::ALL, |seed, ward| {
        let mut plain = task(EngineConfig::default());
        let mut effects = Vec::new();
        for input in ward.in_order() {
            step_and_answer(&mut plain, input, &mut effects);
        }
        let standing: BTreeMap<_, _> =
            payloads(&effects).into_iter().map(|event| ((event.stay, event.t), event)).collect();
        for event in standing.values() {
            assert_eq!(
                event.status == Status::Retracted,
                event.scores.is_none() && event.stay_end.is_none(),
                "seed {seed}"
            );
        }
    });
}
