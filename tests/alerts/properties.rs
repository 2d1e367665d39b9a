//! What must hold of any course, over many seeded random ones. A failure prints its seed.

use std::collections::BTreeMap;

use nowcxr::config::{AlertPolicy, EngineConfig};
use nowcxr::engine::Fate;
use nowcxr::engine::alert::{Alerting, Heard, Point, Said, Voice, settled};
use nowcxr::event::alert::{
    Act, AlertEvent, By, Change, Claim, Deed, Fault, Response, Snooze, State, Subject, Suppression,
    Word,
};
use nowcxr::event::risk::{Mode, StayEnd};
use nowcxr::ids::{AlertId, EventId};
use nowcxr::time::{EventTime, Span};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::course::{STAY, Stage, heard, minute, point, risk};

const SEEDS: u64 = 120;

/// One thing that happens to a stay at a minute.
#[derive(Clone, Debug)]
enum Event {
    Predict(Point),
    Act(i64, What),
    Wait(i64),
}

/// What a person does, without the name of the alert.
#[derive(Clone, Copy, Debug)]
enum What {
    Acknowledge,
    Action,
    Dismiss,
    Snooze,
    Suppress,
    Release,
}

/// A course of `hours` windows whose risk wanders, in the order of what was known when. `wrong` is
/// the share of predictions that are made wrong first and revised some hours later.
fn course(seed: u64, hours: i64, wrong: f64, people: bool) -> Vec<Event> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut level: f32 = dice.random_range(0.0..0.6);
    let mut events: Vec<(i64, u8, Event)> = Vec::new();
    for hour in 1..=hours {
        let t = hour * 60 + dice.random_range(0..3) * 5;
        level = (level + dice.random_range(-0.12..0.13f32)).clamp(0.0, 0.95);
        let said = match dice.random_range(0..20) {
            0 => Said::Faulty(Fault::StaleEhr),
            1 if hour > 5 => Said::Faulty(Fault::FeedMissing),
            2 if hour == hours => Said::Closed(StayEnd::Discharged),
            3 => Said::TakenBack,
            _ => risk(level, Some(t - 300)),
        };
        if dice.random_bool(wrong) {
            let mistaken = risk(dice.random_range(0.0..1.0), Some(t - 300));
            let known = t + dice.random_range(1..600);
            events.push((t, 0, Event::Predict(point(t, t, 0, mistaken))));
            events.push((known, 0, Event::Predict(point(t, known, 1, said))));
        } else {
            events.push((t, 0, Event::Predict(point(t, t, 0, said))));
        }
        if people && dice.random_bool(0.3) {
            let what = [What::Acknowledge, What::Action, What::Dismiss, What::Snooze];
            let rare = [What::Suppress, What::Release];
            let what = match dice.random_range(0..10) {
                n @ 0..2 => rare[n],
                n => what[n % 4],
            };
            let at = t + dice.random_range(0..60);
            events.push((at, 2, Event::Act(at, what)));
        }
        let at = t + dice.random_range(0..60);
        events.push((at, 1, Event::Wait(at)));
    }
    events.sort_by_key(|(at, rank, _)| (*at, *rank));
    events.into_iter().map(|(_, _, event)| event).collect()
}

fn deed(what: What, alert: Option<AlertId>) -> Option<Deed> {
    Some(match what {
        What::Acknowledge => Deed::Acknowledge(alert?),
        What::Action => Deed::Action(alert?),
        What::Dismiss => Deed::Dismiss(alert?, Word::new("palliative").unwrap()),
        What::Snooze => Deed::Snooze(alert?, Snooze::FourHours),
        What::Suppress => Deed::Suppress(Suppression::ComfortCare),
        What::Release => Deed::Release,
    })
}

fn play(stage: &mut Stage, event: &Event) -> Vec<AlertEvent> {
    match event {
        Event::Predict(point) => stage.predict(point.clone()),
        Event::Wait(at) => stage.advance(*at),
        Event::Act(at, what) => match deed(*what, stage.standing()) {
            Some(deed) => stage.act(*at, deed).unwrap(),
            None => Vec::new(),
        },
    }
}

fn played(seed: u64, wrong: f64, mode: Mode) -> Stage {
    let mut stage = Stage::new(mode, EngineConfig::default());
    for event in course(seed, 80, wrong, true) {
        play(&mut stage, &event);
    }
    stage
}

/// Alerts about the risk that were right, by the window that raised them.
fn risks(stage: &Stage) -> Vec<AlertEvent> {
    let about_risk = |event: &AlertEvent| {
        event.claim.subject() == Subject::InHospitalDeath && event.state != State::EnteredInError
    };
    stage.newest().into_values().filter(about_risk).collect()
}

fn each_course(check: impl Fn(u64, &Stage)) {
    println!("seeds 0..{SEEDS}");
    let mut n_alerts = 0;
    for seed in 0..SEEDS {
        let stage = played(seed, 0.15, Mode::Interruptive);
        n_alerts += risks(&stage).len();
        check(seed, &stage);
    }
    assert!(n_alerts as u64 > SEEDS, "only {n_alerts} alerts in all: nothing was tested");
}

#[test]
fn at_no_moment_do_two_alerts_stand_on_one_subject() {
    each_course(|seed, stage| {
        let mut standing: BTreeMap<Subject, AlertId> = BTreeMap::new();
        for event in &stage.told {
            let subject = event.claim.subject();
            if event.state.is_standing() {
                let held = standing.insert(subject, event.alert);
                assert!(held.is_none_or(|held| held == event.alert), "seed {seed}: two stand");
            } else if standing.get(&subject) == Some(&event.alert) {
                standing.remove(&subject);
            }
        }
    });
}

#[test]
fn revisions_count_up_and_each_names_the_one_before() {
    each_course(|seed, stage| {
        let mut newest: BTreeMap<AlertId, (u32, EventId, EventTime)> = BTreeMap::new();
        for event in &stage.told {
            let before = newest.insert(event.alert, (event.revision, event.id, event.known_at));
            let expected = before.map_or(0, |(revision, ..)| revision + 1);
            assert_eq!(event.revision, expected, "seed {seed}");
            assert_eq!(event.supersedes, before.map(|(_, id, _)| id), "seed {seed}");
            let last = before.map_or(EventTime::MIN, |(.., known)| known);
            assert!(event.known_at >= last && event.known_at >= event.raised_at, "seed {seed}");
            assert!(event.summary().chars().count() <= 140, "seed {seed}");
        }
    });
}

#[test]
fn the_refractory_time_is_kept_unless_the_risk_rose_further() {
    let policy = AlertPolicy::default();
    each_course(|seed, stage| {
        for pair in risks(stage).windows(2) {
            let [before, after] = pair else { unreachable!() };
            let (Claim::Risk(was), Claim::Risk(is)) = (&before.claim, &after.claim) else {
                unreachable!()
            };
            if is.changed.contains(&Change::RoseFurther) {
                let rise = is.mortality.get() - was.mortality.get();
                assert!(rise >= policy.refire_delta - 1e-6, "seed {seed}: rose by {rise}");
            } else {
                let gap = after.raised_at.since(before.raised_at);
                assert!(gap >= policy.refractory, "seed {seed}: again after {gap}");
                assert!(!before.state.is_standing(), "seed {seed}: beside one that stands");
            }
        }
    });
}

#[test]
fn the_budget_holds_in_every_span_and_what_is_over_it_disturbs_nobody() {
    let policy = AlertPolicy::default();
    each_course(|seed, stage| {
        let within: Vec<AlertEvent> =
            risks(stage).into_iter().filter(|event| event.within_budget).collect();
        for (i, first) in within.iter().enumerate() {
            let span = |e: &&AlertEvent| e.raised_at < first.raised_at + policy.budget_span();
            let n = within.iter().skip(i).take_while(span).count();
            assert!(n <= policy.budget_alerts(), "seed {seed}: {n} from {}", first.raised_at);
        }
        for event in risks(stage).iter().filter(|event| !event.within_budget) {
            assert_eq!((event.delivery, event.escalation), (Mode::Passive, 0), "seed {seed}");
        }
    });
}

/// What was last said of each window by the end of a course.
fn last_words(events: &[Event]) -> BTreeMap<EventTime, Said> {
    let mut words: BTreeMap<EventTime, (u32, Said)> = BTreeMap::new();
    for event in events {
        if let Event::Predict(point) = event
            && words.get(&point.t).is_none_or(|(revision, _)| *revision < point.revision)
        {
            words.insert(point.t, (point.revision, point.said.clone()));
        }
    }
    words.into_iter().map(|(t, (_, said))| (t, said)).collect()
}

#[test]
fn every_alert_rests_on_enough_high_windows_in_a_row() {
    let policy = AlertPolicy::default();
    for seed in 0..SEEDS {
        let stage = played(seed, 0.15, Mode::Silent);
        let words = last_words(&course(seed, 80, 0.15, true));
        for event in risks(&stage) {
            let mut run = Vec::new();
            for (t, said) in words.range(..=event.raised_at).rev() {
                match said {
                    Said::TakenBack => continue,
                    Said::Risk(risk) if risk.mortality.get() >= policy.tau_on => run.push(*t),
                    _ => break,
                }
                let span = event.raised_at.since(*t);
                if run.len() >= policy.persist && span >= policy.min_hold {
                    break;
                }
            }
            assert!(run.len() >= policy.persist, "seed {seed}, {}", event.raised_at);
            assert!(event.basis.len() >= policy.persist, "seed {seed}");
            assert!(event.raised_at.since(minute(0)) >= policy.not_before, "seed {seed}");
        }
    }
}

/// An alert without what tells how it came to be known.
fn plain(event: &AlertEvent) -> Plain {
    let AlertEvent { raised_at, claim, state, within_budget, snoozed_until, .. } = event.clone();
    (raised_at, claim, state, within_budget, snoozed_until)
}

type Plain = (EventTime, Claim, State, bool, Option<EventTime>);

fn by_time(mut alerts: Vec<Plain>) -> Vec<Plain> {
    alerts.sort_by_key(|alert| (alert.0, alert.1.subject()));
    alerts
}

#[test]
fn corrections_end_in_the_alerts_of_a_course_without_the_mistakes() {
    let mut n_in_error = 0;
    for seed in 0..SEEDS {
        let events = course(seed, 80, 0.3, false);
        let mut with = Stage::new(Mode::Silent, EngineConfig::default());
        events.iter().for_each(|event| drop(play(&mut with, event)));
        let mut without = Stage::new(Mode::Silent, EngineConfig::default());
        for (t, said) in last_words(&events) {
            let t = t.as_millis() / Span::MINUTE.as_millis();
            without.predict(point(t, t, 0, said));
        }
        let newest = with.newest();
        let held = newest.values().filter(|event| event.state != State::EnteredInError);
        let expected: Vec<_> = without.newest().values().map(plain).collect();
        assert_eq!(held.map(plain).collect::<Vec<_>>(), expected, "seed {seed}");
        let n_expected = expected.len();
        let voice = Voice::new(STAY, &with.identity, &with.config);
        let points = events.iter().filter_map(|event| match event {
            Event::Predict(point) => Some(point.clone()),
            _ => None,
        });
        let settled = by_time(settled(points, voice).iter().map(plain).collect());
        assert_eq!(settled, by_time(expected), "seed {seed}: told once");
        assert!(without.told.iter().all(|event| event.state != State::EnteredInError));
        n_in_error += newest.len() - n_expected;
    }
    assert!(n_in_error > 50, "only {n_in_error} alerts were ever in error: nothing was tested");
}

/// The same course with the answers to its windows held back for a while, as by a slow model.
#[test]
fn no_record_depends_on_how_fast_windows_are_answered() {
    for seed in 0..SEEDS {
        let events = course(seed, 60, 0.2, true);
        let quick = {
            let mut stage = Stage::new(Mode::Interruptive, EngineConfig::default());
            events.iter().for_each(|event| drop(play(&mut stage, event)));
            stage
        };
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        // Acts name alerts that the slow course has not told of yet when they are read, so their
        // names are learnt from the quick one.
        let mut guide = Stage::new(Mode::Interruptive, EngineConfig::default());
        let mut slow = Stage::new(Mode::Interruptive, EngineConfig::default());
        let mut held: Vec<Point> = Vec::new();
        let (mut n_acts, mut now) = (0, 0);
        for event in &events {
            match event {
                Event::Predict(point) => held.push(point.clone()),
                Event::Wait(at) => now = now.max(*at),
                Event::Act(at, what) => {
                    now = now.max(*at);
                    let Some(deed) = deed(*what, guide.standing()) else { continue };
                    n_acts += 1;
                    let by = By { role: None, at: minute(*at) };
                    let act = Act { id: Uuid::from_u128(n_acts), stay: STAY, deed, by };
                    slow.alerting.hear(heard(*at, act));
                }
            }
            play(&mut guide, event);
            if held.is_empty() || dice.random_bool(0.2) {
                release(&mut slow, &mut held);
                slow.advance(now);
            }
        }
        release(&mut slow, &mut held);
        slow.advance(now);
        assert_eq!(slow.told, quick.told, "seed {seed}");
        assert_eq!(slow.fates, quick.fates, "seed {seed}");
    }
}

fn release(stage: &mut Stage, held: &mut Vec<Point>) {
    held.drain(..).for_each(|point| drop(stage.predict(point)));
}

#[test]
fn what_is_stored_goes_on_as_if_nothing_had_happened() {
    for seed in 0..SEEDS / 4 {
        let events = course(seed, 80, 0.2, true);
        let mut once = Stage::new(Mode::Interruptive, EngineConfig::default());
        let mut again = Stage::new(Mode::Interruptive, EngineConfig::default());
        for event in &events {
            assert_eq!(play(&mut again, event), play(&mut once, event), "seed {seed}");
            let bytes = postcard::to_stdvec(&again.alerting).unwrap();
            again.alerting = postcard::from_bytes::<Alerting>(&bytes).unwrap();
        }
        // That it is to be stored again is not stored.
        assert!(once.alerting.take_changed() && !again.alerting.take_changed());
        assert_eq!(again.alerting, once.alerting, "seed {seed}");
    }
}

#[test]
fn what_lies_behind_the_reach_of_corrections_can_be_forgotten() {
    let forgetful = EngineConfig { keep: Span::hours(30), ..EngineConfig::default() };
    let mindful = EngineConfig { keep: Span::hours(9_000), ..EngineConfig::default() };
    for seed in 0..SEEDS / 4 {
        let events = course(seed, 300, 0.2, true);
        let mut stages =
            [forgetful.clone(), mindful.clone()].map(|c| Stage::new(Mode::Interruptive, c));
        for event in &events {
            stages.iter_mut().for_each(|stage| drop(play(stage, event)));
        }
        let [short, long] = stages;
        assert_eq!(short.told, long.told, "seed {seed}");
        let bytes = postcard::to_stdvec(&short.alerting).unwrap().len();
        assert!(bytes < 20_000, "seed {seed}: {bytes} bytes are stored");
    }
}

#[test]
fn an_act_that_comes_twice_or_names_no_alert_changes_nothing() {
    let mut stage = Stage::new(Mode::Silent, EngineConfig::default());
    for hour in 5..8 {
        stage.predict(point(hour * 60, hour * 60, 0, risk(0.5, None)));
    }
    let alert = stage.standing().unwrap();
    let by = By { role: None, at: minute(430) };
    let act = |id, alert| Act {
        id: Uuid::from_u128(id),
        stay: STAY,
        deed: Deed::Acknowledge(alert),
        by: by.clone(),
    };
    stage.alerting.hear(heard(430, act(1, alert)));
    stage.alerting.hear(heard(431, act(1, alert)));
    stage.alerting.hear(heard(432, act(2, AlertId(Uuid::from_u128(9)))));
    assert!(stage.advance(429).is_empty() && stage.fates.is_empty(), "before its time");
    let told = stage.advance(440);
    let [Fate::Used, Fate::Duplicate, Fate::Rejected(unknown)] = &stage.fates[..] else {
        panic!("{:?}", stage.fates)
    };
    assert!(unknown.detail.contains("does not have"), "{unknown}");
    assert_eq!(told.len(), 1);
    assert!(matches!(told[0].state, State::Standing(Response::Acknowledged(_))));
    assert_eq!(stage.advance(500).len(), 0);
}

#[test]
fn what_comes_late_is_heard_in_the_order_in_which_it_was_done() {
    for reversed in [false, true] {
        let mut stage = Stage::new(Mode::Silent, EngineConfig::default());
        for hour in 5..8 {
            stage.predict(point(hour * 60, hour * 60, 0, risk(0.5, None)));
        }
        let alert = stage.standing().unwrap();
        let act = |n: i64, deed| {
            // The later act has the lower id.
            let id = Uuid::from_u128(9 - n as u128);
            let by = By { role: None, at: minute(425 + n) };
            let act = Act { id, stay: STAY, deed, by };
            Heard { late: true, ..heard(440, act) }
        };
        let word = Word::new("palliative").unwrap();
        let mut acts = [act(1, Deed::Acknowledge(alert)), act(2, Deed::Dismiss(alert, word))];
        if reversed {
            acts.reverse();
        }
        acts.into_iter().for_each(|heard| stage.alerting.hear(heard));
        let told = stage.advance(440);
        let states: Vec<&str> = told.iter().map(|event| event.state.name()).collect();
        assert_eq!(states, ["acknowledged", "dismissed"]);
        assert_eq!(stage.fates, [Fate::Late, Fate::Late]);
    }
}

#[test]
fn a_stay_holds_a_bounded_number_of_acts() {
    let mut stage = Stage::new(Mode::Silent, EngineConfig::default());
    let mut refused = 0;
    for n in 0..1_000 {
        let deed =
            if n % 2 == 0 { Deed::Suppress(Suppression::SiteDecision) } else { Deed::Release };
        refused += usize::from(stage.act(n, deed).is_err());
    }
    assert_eq!(refused, 1_000 - 256);
}
