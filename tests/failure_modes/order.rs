//! What comes late, early, in another order or not at all, and clocks.

use std::time::{Duration, Instant};

use nowcxr::drive::DriveOptions;
use nowcxr::event::risk::Doubt;
use nowcxr::ids::Topic;
use nowcxr::store::memory::MemoryStore;

use super::counters::Watch;
use super::hospital::{Hospital, Order, at, last_word, score, stamp};
use super::world;

const GLUCOSE: &str = "NM|2345-7^Glucose^LN||104|mg/dL|||||F";
const PH: &str = "NM|11558-4^pH^LN||7.31|[pH]|||||F";
const HEART_RATE: &str = "NM|8867-4^HR^LN||88|/min|||||F";

#[test]
fn f05_late_result() {
    let watch = Watch::start();
    // Drawn at 01:20; who may see it when.
    let hospital = |reported: i64, comes: i64| {
        let mut hospital = Hospital::new(&[]);
        hospital.admit(60, 7);
        hospital.result(7, Order::new("M1", 75), &[HEART_RATE]);
        hospital.pass(90, comes);
        let order = Order { drawn: 80, ..Order::new("O1", reported) };
        let text = hospital.oru(7, order, &[GLUCOSE]);
        assert_eq!(hospital.say(comes, &text), "AA");
        hospital.pass(comes, 600);
        hospital.events()
    };
    let (at_once, long_after, behind) = (hospital(90, 90), hospital(200, 200), hospital(90, 400));
    let n = |events: &[_], minute| last_word(events, minute).series.n_facts;
    let holds = |events: &[_]| [120, 180, 240, 360, 420].map(|minute| n(events, minute));
    assert_eq!(holds(&at_once), [2, 2, 2, 2, 2]);
    // A slow laboratory is not late: from when it was known, windows hold it where it was drawn.
    assert_eq!(holds(&long_after), [1, 1, 2, 2, 2]);
    // What comes behind its feed's promise is late, and serves later windows.
    assert_eq!(holds(&behind), [1, 1, 1, 1, 2]);
    assert_eq!(watch.rose("nowcxr_facts_late_total{topic=\"lab\"}"), 1);
    for events in [&long_after, &behind] {
        assert!(events.iter().all(|event| event.revision == 0), "what was said stays said");
        assert_eq!(score(events, 420), score(&at_once, 420));
    }
}

#[test]
fn f06_result_before_its_admission() {
    let watch = Watch::start();
    let hospital = |early: bool| {
        let mut hospital = Hospital::new(&[]);
        let orders = [(Order::new("O1", 50), GLUCOSE), (Order::new("O2", 52), PH)];
        let say = |hospital: &mut Hospital, n: usize| {
            let text = hospital.oru(7, orders[n].0, &[orders[n].1]);
            assert_eq!(hospital.say(55, &text), "AA");
        };
        if early {
            (0..2).rev().for_each(|n| say(&mut hospital, n));
        }
        hospital.admit(55, 7);
        if !early {
            (0..2).for_each(|n| say(&mut hospital, n));
        }
        hospital
    };
    let (mut early, mut in_time) = (hospital(true), hospital(false));
    assert_eq!(watch.rose("nowcxr_edge_said_total{fate=\"kept\"}"), 2);
    // Somebody who is never admitted, and a day.
    early.result(9, Order::new("O9", 60), &[GLUCOSE]);
    early.pass(60, 300);
    in_time.pass(60, 300);
    assert!(early.letters().is_empty());
    assert_eq!(early.facts(Topic::Lab).len(), 2);
    let later = 26 * 60;
    world::pass(&mut early.desk, world::wall(at(later)));
    world::pass(&mut in_time.desk, world::wall(at(later)));
    assert_eq!(early.letters(), ["no_admission"]);
    assert_eq!(watch.rose("nowcxr_edge_rejected_total{reason=\"no_admission\"}"), 1);
    let (expected, events) = (in_time.events(), early.events());
    assert!(expected.len() > 2 && events == expected, "the order of arrival cannot be seen");
}

#[test]
fn f10_silent_stream() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&[]);
    hospital.admit(60, 7);
    hospital.result(7, Order::new("M1", 75), &[HEART_RATE]);
    hospital.pass(90, 150);
    let feed_timeout = Some(Duration::from_millis(300));
    let options = DriveOptions { feed_timeout, ..DriveOptions::default() };
    let mut drive = hospital.drive(MemoryStore::new(), options);
    // The monitors' interface is down from here on; the others go on.
    let until = Instant::now() + Duration::from_secs(60);
    let mut minute = 165;
    while drive.counts().events.get("scored").is_none_or(|n| *n < 6) {
        assert!(Instant::now() < until, "the feed was never passed over");
        hospital.promise(&[Topic::Stay, Topic::Lab], minute.min(480));
        minute += 15;
        for _ in 0..3 {
            drive.turn().unwrap();
        }
    }
    drive.finish().unwrap();
    let events = world::risk_records(&hospital.config, &hospital.log);
    assert!(watch.rose("nowcxr_feed_passed_total{feed=\"2\"}") > 0);
    assert_eq!(watch.rose("nowcxr_feed_passed_total{feed=\"1\"}"), 0);
    let (before, after) = (last_word(&events, 120), last_word(&events, 420));
    assert!(before.feed_missing.is_empty() && !before.validity.contains(&Doubt::FeedMissing));
    assert_eq!(after.feed_missing, ["vital"]);
    assert!(after.validity.contains(&Doubt::FeedMissing));
    // Nothing is observed for four hours: the alerts of the stay say so, and are silent of risk.
    let told = "nowcxr_alerts_told_total{delivery=\"silent\",state=\"open\",\
                subject=\"data_quality\"}";
    assert_eq!(watch.rose(told), 1);
}

#[test]
fn f17_clocks_and_time_zones() {
    let watch = Watch::start();
    let mut hospital = Hospital::new(&["edge.time_zone=Europe/Berlin"]);
    hospital.admit(60, 7);
    for (sent, comes) in [(95, 90), (140, 90), (70, 95)] {
        let text = hospital.oru(7, Order { drawn: 60, ..Order::new("O1", sent) }, &[GLUCOSE]);
        assert_eq!(hospital.say(comes, &text), "AA");
    }
    let skewed = |way: &str| watch.rose(&format!("nowcxr_edge_skewed_total{{way=\"{way}\"}}"));
    assert_eq!((skewed("ahead"), skewed("behind")), (1, 1));
    // When a value was observed, by a local clock without an offset; and when that was.
    let observed = |day: i64, local: &str| {
        let mut hospital = Hospital::new(&["edge.time_zone=Europe/Berlin"]);
        let morning = day * 24 * 60;
        hospital.admit(morning, 7);
        let order = Order { drawn: morning + 1, ..Order::new("O1", morning + 240) };
        let text = hospital.oru(7, order, &[GLUCOSE]).replace(&stamp(morning + 1), local);
        let text = text.replace("+0000", "");
        assert_eq!(hospital.say(morning + 240, &text), "AA");
        let facts = hospital.facts(Topic::Lab);
        let found = (0..300).find(|n| {
            let moment = format!("observed_at: {:?}", at(morning + n));
            facts.first().is_some_and(|line| line.contains(&moment))
        });
        found.ok_or_else(|| hospital.letters().remove(0))
    };
    // The clock is put forward on 29 March at 01:00 UTC, and back on 25 October.
    assert_eq!(observed(28, "20260329013000"), Ok(30));
    assert_eq!(observed(28, "20260329033000"), Ok(90));
    assert_eq!(observed(28, "20260329023000"), Err("absurd_time".to_owned()));
    assert_eq!(observed(238, "20261025023000"), Ok(90), "the later of two that have been");
    assert_eq!(observed(238, "20261025033000"), Ok(150));
    assert_eq!(watch.rose("nowcxr_edge_rejected_total{reason=\"absurd_time\"}"), 1);
}
