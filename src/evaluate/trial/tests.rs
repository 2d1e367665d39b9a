//! A small trial whose every count is known beforehand.

use std::path::Path;

use super::tripod::{Answer, ITEMS, audit};
use super::*;
use crate::evaluate::drift::{Seen, profile};
use crate::evaluate::tests::{evaluated, run};
use crate::evaluate::{EvaluateOptions, Evaluation};
use crate::event::alert::Subject;
use crate::event::risk::{Mode, Status, StayEnd};
use crate::ids::Topic;
use crate::replay::EngineCounts;
use crate::wire::{AlertStatus, RiskRecord};

const HOUR: i64 = 3_600_000;

fn risk(stay: u64, hour: i64) -> RiskEvent {
    let text = include_str!("../../../schemas/examples/risk.json");
    let mut record: RiskRecord = serde_json::from_str(text).unwrap();
    let moved = hour * HOUR - record.t.as_millis();
    let after = |t: EventTime| EventTime::from_millis(t.as_millis() + moved);
    (record.stay_id, record.t, record.known_at) =
        (StayId(stay), after(record.t), after(record.known_at));
    record.series.last_observed_at = record.series.last_observed_at.map(after);
    record.series.last_observed.iter_mut().for_each(|one| one.at = after(one.at));
    RiskEvent::try_from(record).unwrap()
}

/// Two stays of a day each; the first is corrected once and ends.
fn events() -> Vec<RiskEvent> {
    let mut all: Vec<RiskEvent> =
        [1, 2].iter().flat_map(|stay| (0..=24).map(|hour| risk(*stay, hour))).collect();
    let corrected = RiskEvent { revision: 1, ..risk(1, 5) };
    let mut closing = risk(1, 24);
    closing.status = Status::Unscored { reason: "the stay ended".to_owned() };
    (closing.scores, closing.stay_end) = (None, Some(StayEnd::Discharged));
    all[3].scores = None;
    all[3].status = Status::Unscored { reason: "late".to_owned() };
    all.extend([corrected, closing]);
    all
}

fn alert(hour: i64) -> AlertRecord {
    let text = include_str!("../../../schemas/examples/alert.json");
    let mut alert: AlertRecord = serde_json::from_str(text).unwrap();
    (alert.subject, alert.status) = (Subject::InHospitalDeath, AlertStatus::Active);
    (alert.delivery, alert.within_budget) = (Mode::Silent, true);
    alert.t = EventTime::from_millis(hour * HOUR);
    alert
}

fn envelope(node: &str) -> Envelope {
    Envelope {
        computed_at: "2026-01-01T00:00:00.000Z".to_owned(),
        node: node.to_owned(),
        program: "nowcxr 0".to_owned(),
        latency_ms: Some(20.0),
    }
}

fn books() -> Reconciliation {
    let mut books = Reconciliation::default();
    let rejected = [(crate::event::Reason::Implausible, 3)].into();
    let counts = EngineCounts { used: 70, late: 5, duplicate: 2, shadow: 0, rejected };
    books.enter_engine(Topic::Vital, counts);
    books
}

fn trial(
    events: &[RiskEvent],
    alerts: &[AlertRecord],
    evaluation: Option<Evaluation>,
    drift: Option<Comparison>,
) -> SilentTrial {
    silent_trial(TrialInput {
        events,
        alerts,
        envelopes: &[envelope("<node>"), envelope("other")],
        books: &books(),
        policy: &AlertPolicy { budget: 0.5, ..crate::config::EngineConfig::default().alerts },
        provenance: Provenance { synthetic: true, ..Provenance::default() },
        evaluation,
        drift,
    })
}

fn compared() -> Comparison {
    let seen = |stay: u64| Seen {
        stay: StayId(stay),
        ages: BTreeMap::new(),
        values: None,
        film_age: None,
        facts: stay as f64,
        score: 0.5,
    };
    let (windows, none) = ((0..30).map(seen).collect::<Vec<_>>(), Provenance::default());
    let options = EvaluateOptions { replicates: 5, seed: 1 };
    let profile = profile(&windows, &["ph".to_owned()], &[], &none, options).unwrap();
    profile.compare(&windows, &[], &none, options).unwrap()
}

#[test]
fn what_ran_is_counted() {
    let trial = trial(&events(), &[], None, None);
    let ran = &trial.ran;
    assert_eq!((ran.stays, ran.windows, ran.events, ran.revisions), (2, 50, 52, 1));
    assert_eq!(ran.patient_days, 2.0);
    assert_eq!(ran.by_status, [("closing", 1), ("scored", 50), ("unscored", 1)].into());
    assert_eq!((ran.nodes.len(), ran.latency_p50_ms), (2, Some(20.0)));
    assert_eq!(trial.scores.windows, 49);
    assert_eq!(trial.scores.histogram[1], 49, "all are at 12.5 %");
    let fresh = &trial.freshness;
    assert_eq!((fresh.windows, fresh.stale, fresh.feed_missing), (49, 0, 0));
    assert!((fresh.newest_p50_h.unwrap() - 1.0 / 12.0).abs() < 1e-9);
    assert_eq!(fresh.variables.len(), 1);
    assert_eq!(fresh.films.iter().map(|(_, n)| n).sum::<usize>(), 49);
    let vital = &trial.quality.topics[0];
    assert_eq!((vital.used, vital.late, vital.duplicate, vital.rejected), (70, 5, 2, 3));
    assert_eq!(trial.quality.reasons, [("vital".to_owned(), "implausible", 3)]);
}

#[test]
fn what_the_policy_would_have_said_is_counted_by_the_hour() {
    let mut alerts = [alert(3), alert(3 + 24), alert(14), alert(5), alert(6)];
    alerts[2].within_budget = false;
    alerts[3].status = AlertStatus::EnteredInError;
    alerts[4].subject = Subject::DataQuality;
    let trial = trial(&events(), &alerts, None, None);
    let told = &trial.alerts;
    assert_eq!((told.of_risk, told.within_budget, told.technical), (3, 2, 1));
    assert_eq!((told.entered_in_error, told.most_in_a_stay, told.stays_alerted), (1, 3, 1));
    assert_eq!(told.per_patient_day, Some(1.5));
    assert_eq!((told.by_hour[3], told.by_hour[14]), (2, 1));
    assert!(trial.was_silent());
    let html = trial_page(&trial, "x");
    assert!(html.contains("Nobody was alerted") && html.contains("above it"), "{html}");
}

#[test]
fn a_trial_that_was_not_silent_says_so() {
    let mut events = events();
    events[0].mode = Mode::Passive;
    let html = trial_page(&trial(&events, &[], None, None), "x");
    assert!(html.contains("no silent trial") && !html.contains("Nobody was alerted"));
    let heard = AlertRecord { delivery: Mode::Interruptive, ..alert(1) };
    let heard = trial(&self::events(), &[heard], None, None);
    assert!(!heard.was_silent());
    assert!(trial_page(&heard, "x").contains("Somebody may have been alerted"));
}

#[test]
fn the_page_asks_for_nothing_and_says_what_it_is() {
    let all = evaluated(&run());
    let html = trial_page(&trial(&events(), &[alert(3)], Some(all), Some(compared())), "a <run>");
    for outside in ["http:", "https:", "src=", "@import", "url(", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("a &lt;run&gt;") && html.contains("&lt;node&gt;"));
    assert!(html.contains("MICU &lt;1&gt;") && html.contains("AUROC"));
    let sections = html.matches("<section>").count();
    assert_eq!((sections, html.matches("Synthetic patients").count()), (10, 11));
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(!html.contains("NaN"));
}

#[test]
fn nothing_is_claimed_of_what_is_not_known() {
    let html = trial_page(&trial(&events(), &[], None, None), "x");
    assert!(!html.contains("AUROC") && html.contains("Outcomes are not known"));
    assert!(html.contains("No profile was given"));
    // Not even of a run of nothing.
    let nothing = trial_page(&trial(&[], &[], None, None), "x");
    assert!(nothing.contains("not known") && !nothing.contains("NaN"));
}

#[test]
fn every_item_of_the_checklist_is_there_and_its_paths_exist() {
    let numbers: Vec<&str> = ITEMS.iter().map(|item| item.0).collect();
    let main = |number: &str| number.trim_end_matches(char::is_alphabetic).parse::<u32>().unwrap();
    assert!(numbers.windows(2).all(|w| (main(w[0]), w[0]) < (main(w[1]), w[1])), "{numbers:?}");
    assert_eq!(numbers.iter().map(|n| main(n)).max(), Some(27));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for item in &ITEMS {
        let (Answer::Told(text)
        | Answer::WithOutcomes(text)
        | Answer::WithProfile(text)
        | Answer::Not(text)) = item.2;
        for path in text.split('`').skip(1).step_by(2) {
            let of_model = root.join("models/demo").join(path).exists();
            let of_run = ["run.json", "reconciliation.json"].contains(&path);
            let is_path = path.contains('.') && !path.contains(' ');
            let there = root.join(path).exists() || of_model || of_run;
            assert!(there || !is_path, "item {}: there is no {path}", item.0);
        }
    }
    let bare = audit(&trial(&events(), &[], None, None));
    let whole = trial(&events(), &[], Some(evaluated(&run())), Some(compared()));
    let reported = |items: &[tripod::Audited]| items.iter().filter(|item| item.reported).count();
    assert!(reported(&bare) < reported(&audit(&whole)));
    let of = |number: &str| bare.iter().find(|item| item.item == number).unwrap().reported;
    assert!(of("5b") && !of("23a") && !of("16") && !of("17"));
}
