//! What the service does with the past, with people and with its own copies.

use std::collections::VecDeque;
use std::time::Duration;

use nowcxr::drive::DriveOptions;
use nowcxr::event::alert::Subject;
use nowcxr::event::risk::{N_PHENOTYPES, Probability, Scores};
use nowcxr::ids::{FactId, Position, StayId, Topic};
use nowcxr::ports::{
    Answer, Commit, Outcome, OutputKind, PredictionRequest, Predictor, StateStore as _,
};
use nowcxr::store::lineage::Lineage;
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::values;
use nowcxr::time::{EventTime, Span};
use nowcxr::transport::local::outputs;
use nowcxr::wire::records::{CodeSystem, MarkRecord, ObservationStatus, RecordedValue, VitalEvent};
use nowcxr::wire::{AcknowledgementRecord, AlertRecord, AlertState, Codec, DeedKind};
use uuid::Uuid;

use super::counters::Watch;
use super::hospital::{Hospital, Order, at};
use super::world;

const TOLD: &str = "nowcxr_alerts_told_total{delivery=\"silent\",state=\"open\",\
                    subject=\"data_quality\"}";

/// A stay of which nothing is heard for hours, so that a technical alert is due.
fn quiet_stay(more: &[&str]) -> Hospital {
    let mut hospital = Hospital::new(more);
    hospital.admit(60, 7);
    hospital.result(7, Order::new("M1", 75), &["NM|8867-4^HR^LN||88|/min|||||F"]);
    hospital.pass(90, 480);
    hospital
}

fn alerts(hospital: &Hospital) -> Vec<AlertRecord> {
    let codec = world::codec(&hospital.config);
    let records = outputs(&hospital.log, OutputKind::Alert, 0).unwrap();
    records.map(|output| codec.decode(&output.unwrap().payload).unwrap()).collect()
}

/// Documented: history is read again by a flag of the service (`--reprocess`), and nobody hears a
/// second time of what was computed before.
#[test]
fn f18_backfill() {
    let watch = Watch::start();
    let hospital = quiet_stay(&[]);
    let events = hospital.events();
    assert!(events.len() > 4);
    assert_eq!(watch.rose(TOLD), 1);
    let end = |topic: Topic| Position {
        topic,
        partition: 0,
        next: hospital.log.partition(topic.name(), 0).unwrap().end(),
    };
    let computed_before = [Topic::Stay, Topic::Lab, Topic::Vital].map(end).to_vec();
    let (mut store, mut commit) = (MemoryStore::new(), Commit { number: 1, ..Commit::default() });
    let lineage = Lineage { computed_before, ..Lineage::default() };
    values::put_lineage(0, &lineage, &mut commit).unwrap();
    store.commit(&commit).unwrap();
    let before = watch.rose("nowcxr_risk_events_total{revision=\"first\",status=\"scored\"}");
    let mut drive = hospital.drive(store.restart().unwrap(), DriveOptions::default());
    while !drive.turn().unwrap().idle() {}
    drive.finish().unwrap();
    let after = watch.rose("nowcxr_risk_events_total{revision=\"first\",status=\"scored\"}");
    assert_eq!(after, 2 * before, "all windows are computed anew");
    let (told, withheld) = (alerts(&hospital).len(), "nowcxr_alerts_withheld_total");
    assert_eq!((watch.rose(TOLD), watch.rose(withheld)), (1, told as u64));
}

#[test]
fn f19_feedback_loop() {
    let watch = Watch::start();
    let feeds = r#"feeds.list=[
        {name="stay",topic="stay"}, {name="lab",topic="lab"}, {name="vital",topic="vital"},
        {name="acknowledgement",topic="acknowledgement"},
    ]"#;
    let hospital = quiet_stay(&[feeds]);
    let codec = world::codec(&hospital.config);
    let mark = |minute: i64| {
        let mark = MarkRecord { feed: "acknowledgement".into(), time: at(minute) };
        hospital.append(Topic::Acknowledgement, None, &codec.encode(&mark).unwrap(), minute);
    };
    mark(450);
    let mut drive = hospital.drive(MemoryStore::new(), DriveOptions::default());
    while !drive.turn().unwrap().idle() {}
    let is_technical = |alert: &AlertRecord| alert.subject == Subject::DataQuality;
    let alert = alerts(&hospital).into_iter().find(is_technical).unwrap();
    let act = AcknowledgementRecord {
        acknowledgement_id: Uuid::from_u128(1),
        stay_id: alert.stay_id,
        feed: "acknowledgement".into(),
        alert_id: Some(alert.alert_id),
        deed: DeedKind::Acknowledge,
        reason: None,
        snooze_hours: None,
        role: Some("nurse".into()),
        at: at(455),
    };
    let (key, value) = (Codec::key(alert.stay_id), codec.encode(&act).unwrap());
    hospital.append(Topic::Acknowledgement, Some(key.as_bytes()), &value, 455);
    mark(480);
    while !drive.turn().unwrap().idle() {}
    drive.finish().unwrap();
    // What was told and what was done about it stand in the topic of alerts, one after the other.
    let mut all = alerts(&hospital);
    all.retain(|told| told.alert_id == alert.alert_id);
    let states: Vec<AlertState> = all.iter().map(|alert| alert.state).collect();
    assert_eq!(states, [AlertState::Open, AlertState::Acknowledged]);
    assert_eq!(
        (all[1].response_at, all[1].response_role.as_deref()),
        (Some(at(455)), Some("nurse"))
    );
    let acknowledged = TOLD.replace("open", "acknowledged");
    assert_eq!((watch.rose(TOLD), watch.rose(&acknowledged)), (1, 1));
    assert_eq!(watch.rose("nowcxr_facts_used_total{topic=\"acknowledgement\"}"), 1);
}

/// The `n`-th respiratory rate of a night, all of it before `closed`.
fn breath(stay: StayId, n: i32, closed: EventTime) -> VitalEvent {
    let moment = at(75) + Span::from_millis(i64::from(n) * 2_000);
    assert!(moment < closed);
    VitalEvent {
        event_id: FactId::from_name(&format!("backfill {n}")),
        stay_id: stay,
        feed: "vital".to_owned(),
        code_system: CodeSystem::Loinc,
        code: "9279-1".to_owned(),
        value: RecordedValue::Number(f64::from(8 + n % 30)),
        unit: Some("/min".to_owned()),
        observed_at: moment,
        available_at: moment,
        status: ObservationStatus::Final,
        replaces: None,
    }
}

/// A night's records come in one batch, of a ward that went on without them: whoever reads the
/// alerts hears of no window that had closed.
#[test]
fn f18_backfill_while_live() {
    let watch = Watch::start();
    let feeds_alerts = ["alerts.tau_on=0.01", "alerts.not_before=0ms", "alerts.stale_after=48h"];
    let hospital = quiet_stay(&[&feeds_alerts[..], &["alerts.refractory=1m"]].concat());
    let mut drive = hospital.drive(MemoryStore::new(), DriveOptions::default());
    while !drive.turn().unwrap().idle() {}
    let (events, before) =
        (world::risk_records(&hospital.config, &hospital.log), alerts(&hospital));
    let (stay, closed) = (events[0].stay_id, events.iter().map(|event| event.t).max().unwrap());
    assert!(
        closed >= at(420) && before.iter().any(|told| told.subject == Subject::InHospitalDeath)
    );
    let codec = world::codec(&hospital.config);
    let flood: Vec<Vec<u8>> =
        (0..10_000).map(|n| codec.encode(&breath(stay, n, closed)).unwrap()).collect();
    hospital.append_all(Topic::Vital, Some(Codec::key(stay).as_bytes()), &flood, 485);
    let mut hospital = hospital;
    hospital.pass(490, 600);
    while !drive.turn().unwrap().idle() {}
    drive.finish().unwrap();
    assert_eq!(watch.rose("nowcxr_facts_late_total{topic=\"vital\"}"), 10_000);
    let later = world::risk_records(&hospital.config, &hospital.log);
    let new: Vec<_> = later.iter().filter(|event| event.t > closed).collect();
    assert_eq!(later.len(), events.len() + new.len(), "no window that had closed is told again");
    assert!(new.iter().any(|event| event.series.n_facts > 10_000), "later windows hold them");
    let told = alerts(&hospital);
    assert!(told[before.len()..].iter().all(|alert| alert.known_at > closed), "{told:#?}");
}

/// Answers every question as three replicas would: two whose arithmetic differs in the last places,
/// and one that is broken.
#[derive(Default)]
struct Replicas {
    answers: VecDeque<Answer>,
}

impl Predictor for Replicas {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        let sum: f64 = request.rows.iter().map(|row| row.value).sum();
        for nudge in [0.0, 1e-6, 0.25] {
            let p = Probability::new((sum / 1_000.0 + nudge) as f32).unwrap();
            let scores = Scores {
                mortality: p,
                mortality_raw: p,
                mortality_interval: None,
                phenotypes: [p; N_PHENOTYPES],
                carry_forward: None,
                ehr_only: None,
                generation: None,
                attribution: Vec::new(),
            };
            let (ticket, epoch) = (request.ticket, request.epoch);
            self.answers.push_back(Answer { ticket, epoch, outcome: Outcome::Scored(scores) });
        }
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        self.answers.pop_front()
    }

    fn pending(&self) -> usize {
        self.answers.len()
    }
}

#[test]
fn f20_diverging_replicas() {
    let watch = Watch::start();
    let orders = [Order::new("M1", 75), Order::new("M2", 76)];
    // The same facts, in another order of arrival.
    let replica = |order: [usize; 2]| {
        let mut hospital = Hospital::new(&[]);
        hospital.admit(60, 7);
        for n in order {
            let obx = format!("NM|8867-4^HR^LN||{}|/min|||||F", 80 + n);
            let text = hospital.oru(7, orders[n], &[&obx]);
            assert_eq!(hospital.say(77, &text), "AA");
        }
        hospital.pass(90, 300);
        hospital
    };
    let (one, other) = (replica([0, 1]), replica([1, 0]));
    let events = one.events();
    assert_eq!(other.events(), events, "digest of the input, seed and payload");
    // Within one task answers that differ are never mixed: the first is the record.
    let told = |replicas: Replicas| {
        let hospital = replica([0, 1]);
        let parts = (MemoryStore::new(), replicas);
        let options = DriveOptions::default();
        let mut drive = world::drive(&hospital.config, &hospital.log, parts, options);
        while !drive.turn().unwrap().idle() {}
        drive.finish().unwrap();
        world::risk_records(&hospital.config, &hospital.log)
    };
    let twice = told(Replicas::default());
    let scores = twice.iter().filter_map(|event| event.scores.as_ref());
    let scores: Vec<f32> = scores.map(|scores| scores.mortality).collect();
    assert!(scores.len() > 2 && scores.iter().all(|p| *p == 0.161), "{scores:?}");
    let dropped = watch.rose("nowcxr_prediction_latency_seconds_count{status=\"dropped\"}");
    assert_eq!(dropped, 2 * scores.len() as u64);
    // What the last places do is no disagreement; what the broken one says is.
    let disagreed = watch.rose("nowcxr_predictions_disagreed_total");
    assert_eq!(disagreed, scores.len() as u64);
    let digests = |events: &[nowcxr::wire::RiskRecord]| {
        events.iter().map(|event| event.input_digest).collect::<Vec<_>>()
    };
    assert_eq!(digests(&twice), digests(&events), "the input is the same to the bit");
}
