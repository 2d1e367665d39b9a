//! Each happening's line and number, from the same call.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::event::Reason;
use crate::event::alert::{AlertEvent, Claim, Fault, Priority, Response, State};
use crate::event::risk::{Mode, ModelName};
use crate::ids::Topic;
use crate::telemetry::{AlertTold, MessageTaken, MessageVerdict, TopicsHeldBack, TopicsLetGo};

/// Log lines, kept for the test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// The JSON lines that `emit` logs.
fn logged(emit: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, emit);
    let bytes = lines.0.lock().expect("one thread").clone();
    let text = String::from_utf8(bytes).expect("JSON is text");
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// The value of one series in the process's metrics; 0 where it is not there yet.
fn metric(series: &str) -> f64 {
    let text = Metrics::global().expect("metrics").render().expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

fn ticket() -> Ticket {
    Ticket { stay: StayId(37), t: EventTime::from_millis(0), revision: 2 }
}

#[test]
fn a_rejection_is_logged_and_counted_by_reason_and_topic() {
    let series = r#"nowcxr_records_rejected_total{reason="unit_suspect",topic="lab"}"#;
    let before = metric(series);
    let rejection = Rejection::new(Reason::UnitSuspect, "glucose 5.1 mg/dL");
    let origin = Origin { topic: Topic::Lab, partition: 3, offset: 70 };
    let lines = logged(|| RecordRejected { origin, rejection: &rejection }.emit());
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["reason"], "unit_suspect");
    assert_eq!(lines[0]["origin"], "lab/3@70");
    assert_eq!(lines[0]["detail"], "glucose 5.1 mg/dL");
    assert_eq!(metric(series), before + 1.0);
}

#[test]
fn an_alert_is_counted_by_subject_state_and_delivery() {
    let labels = r#"delivery="silent",state="open",subject="data_quality""#;
    let series = format!("nowcxr_alerts_told_total{{{labels}}}");
    let before = metric(&series);
    let at = EventTime::from_millis(0);
    let digest = crate::ids::Digest::of(b"");
    let event = AlertEvent {
        id: crate::ids::EventId(uuid::Uuid::nil()),
        alert: crate::ids::AlertId(uuid::Uuid::nil()),
        stay: StayId(37),
        revision: 0,
        supersedes: None,
        claim: Claim::Fault(Fault::StaleEhr),
        state: State::Standing(Response::Open),
        priority: Priority::Low,
        raised_at: at,
        known_at: at,
        basis: Vec::new(),
        validity: Vec::new(),
        delivery: Mode::Silent,
        within_budget: true,
        escalation: 0,
        snoozed_until: None,
        model: ModelName { name: "m".into(), version: "0".into(), digest },
        config_digest: digest,
        mode: Mode::Silent,
    };
    let lines = logged(|| AlertTold { event: &event }.emit());
    assert_eq!((lines[0]["stay"].as_u64(), lines[0]["state"].as_str()), (Some(37), Some("open")));
    assert_eq!(metric(&series), before + 1.0);
}

#[test]
fn facts_are_counted_by_their_topic() {
    let series = |what: &str| format!(r#"nowcxr_facts_{what}_total{{topic="vital"}}"#);
    let before = ["used", "late", "duplicate"].map(|what| metric(&series(what)));
    let origin = Origin { topic: Topic::Vital, partition: 1, offset: 4 };
    let stay = Some(StayId(9));
    let lines = logged(|| {
        FactUsed { origin, stay }.emit();
        FactLate { origin, stay }.emit();
        FactDuplicate { origin, stay }.emit();
    });
    let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["fact used", "fact late", "fact duplicate"]);
    assert_eq!((&lines[1]["stay"], &lines[1]["origin"]), (&9.into(), &"vital/1@4".into()));
    let after = ["used", "late", "duplicate"].map(|what| metric(&series(what)));
    assert_eq!(after, before.map(|n| n + 1.0));
}

#[test]
fn a_window_is_counted_once_by_its_set_of_triggers() {
    let series = r#"nowcxr_windows_sealed_total{triggers="landmark+film"}"#;
    let before = metric(series);
    let triggers = Triggers { landmark: true, film: true, ..Triggers::default() };
    let sealed = WindowSealed { ticket: ticket(), triggers, feeds_missing: 1 };
    let lines = logged(|| sealed.emit());
    assert_eq!(lines[0]["triggers"], "landmark+film");
    assert_eq!(lines[0]["ticket"], "37 1970-01-01T00:00:00.000Z r2");
    assert_eq!(metric(series), before + 1.0);
    assert_eq!(trigger_set(Triggers::default()), "none");
}

#[test]
fn answers_carry_their_status_and_latency() {
    let series = r#"nowcxr_prediction_latency_seconds_sum{status="degraded"}"#;
    let count = r#"nowcxr_prediction_latency_seconds_count{status="unscored"}"#;
    let before = (metric(series), metric(count));
    let unscored = Outcome::Unscored("queue closed".into());
    let answered = PredictionAnswered {
        ticket: ticket(),
        status: PredictionStatus::Degraded,
        reason: "no film",
        latency: Duration::from_millis(1_500),
    };
    let lines = logged(|| {
        PredictionRequested { ticket: ticket(), pending: 4 }.emit();
        PredictionAnswered::of(ticket(), &unscored, Duration::ZERO).emit();
        answered.emit();
    });
    assert_eq!(lines[0]["pending"], 4);
    assert_eq!(lines[1]["reason"], "queue closed");
    assert_eq!((&lines[2]["level"], &lines[2]["latency_ms"]), (&"INFO".into(), &1_500.into()));
    assert_eq!((metric(series), metric(count)), (before.0 + 1.5, before.1 + 1.0));
}

#[test]
fn a_watermark_at_the_end_of_time_is_logged_but_not_drawn() {
    let advanced = |to| WatermarkAdvanced { task: 71, to, lag: Span::from_millis(2_500) };
    let lines = logged(|| advanced(EventTime::MAX).emit());
    assert_eq!(lines[0]["to"], "end");
    assert_eq!(metric(r#"nowcxr_watermark_lag_seconds{task="71"}"#), 0.0);
    logged(|| advanced(EventTime::from_millis(5_000)).emit());
    assert_eq!(metric(r#"nowcxr_watermark_timestamp_seconds{task="71"}"#), 5.0);
    assert_eq!(metric(r#"nowcxr_watermark_lag_seconds{task="71"}"#), 2.0);
}

#[test]
fn a_task_is_shown_as_paused_until_it_resumes() {
    let series = r#"nowcxr_task_paused{task="72"}"#;
    logged(|| TaskPaused { task: 72, cause: PauseCause::Predictor }.emit());
    assert_eq!(metric(series), 1.0);
    assert!(metric(r#"nowcxr_task_pauses_total{cause="predictor"}"#) >= 1.0);
    logged(|| TaskResumed { task: 72, paused_for: Duration::from_secs(3) }.emit());
    assert_eq!(metric(series), 0.0);
}

#[test]
fn topics_that_are_held_back_are_named_and_counted_until_they_are_let_go() {
    let series = r#"nowcxr_topics_held_back{task="73"}"#;
    let topics = [Topic::Lab, Topic::Vital].into();
    let lines = logged(|| TopicsHeldBack { task: 73, topics: &topics, waiting: 9 }.emit());
    assert_eq!((&lines[0]["topics"], &lines[0]["waiting"]), (&"lab,vital".into(), &9.into()));
    assert_eq!(metric(series), 2.0);
    assert!(metric("nowcxr_topic_holds_total") >= 1.0);
    let held_for = Duration::from_secs(3);
    let lines = logged(|| TopicsLetGo { task: 73, held_for, waiting: 4 }.emit());
    assert_eq!((&lines[0]["held_ms"], metric(series)), (&3_000.into(), 0.0));
}

#[test]
fn commits_and_recoveries_are_timed() {
    let took = Duration::from_millis(4);
    let before = metric("nowcxr_commit_puts_sum");
    let recovered = |found| StoreRecovered { task: 1, commit: 8, values: 90, found, took };
    let (why, moved_to) = ("a value has a wrong checksum", Path::new("state/damaged-1"));
    let lines = logged(|| {
        Committed { task: 1, number: 8, puts: 30, outputs: 2, took, trace_id: "4bf9" }.emit();
        recovered(StoreFound::Whole).emit();
        recovered(StoreFound::Damaged { why, moved_to }).emit();
        recovered(StoreFound::RolledBack { flushed: 9 }).emit();
    });
    assert_eq!((&lines[0]["took_us"], &lines[0]["trace_id"]), (&4_000.into(), &"4bf9".into()));
    assert_eq!((&lines[1]["level"], &lines[2]["level"]), (&"INFO".into(), &"ERROR".into()));
    assert_eq!((&lines[2]["why"], &lines[2]["moved_to"]), (&why.into(), &"state/damaged-1".into()));
    assert_eq!((&lines[3]["level"], &lines[3]["flushed"]), (&"WARN".into(), &9.into()));
    assert_eq!(metric("nowcxr_commit_puts_sum"), before + 30.0);
    assert!(metric(r#"nowcxr_store_recovery_seconds_count{how="rebuilt"}"#) >= 1.0);
}

#[test]
fn a_torn_tail_is_told_with_its_place_and_counted() {
    let before = metric("nowcxr_log_tails_cut_total");
    let path = Path::new("log/risk-0/0.log");
    let lines = logged(|| LogTailCut { partition: "risk/0", path, at: 70, bytes: 9 }.emit());
    assert_eq!((&lines[0]["level"], &lines[0]["partition"]), (&"WARN".into(), &"risk/0".into()));
    assert_eq!(lines[0]["path"], "log/risk-0/0.log");
    assert_eq!((&lines[0]["at"], &lines[0]["bytes"]), (&70.into(), &9.into()));
    assert_eq!(metric("nowcxr_log_tails_cut_total"), before + 1.0);
}

#[test]
fn no_label_can_name_a_patient() {
    let origin = Origin { topic: Topic::Lab, partition: 0, offset: 0 };
    logged(|| FactUsed { origin, stay: Some(StayId(1)) }.emit());
    let text = Metrics::global().expect("metrics").render().expect("text");
    let allowed =
        ["reason", "topic", "triggers", "status", "task", "feed", "cause", "how", "version", "le"];
    let told = ["subject", "state", "delivery", "revision", "variable", "why"];
    let of_edges = ["verdict", "act", "fate", "way", "outcome"];
    for series in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(series.starts_with("nowcxr_"), "{series}");
        let labels = series.split_once('{').map_or("", |(_, rest)| rest);
        for label in labels.split("\",").filter_map(|pair| pair.split_once('=')) {
            let mut known = allowed.iter().chain(&told).chain(&of_edges);
            assert!(known.any(|known| *known == label.0), "{series}");
        }
    }
}

#[test]
fn answers_that_disagree_are_told_by_their_difference_alone() {
    let before = metric("nowcxr_predictions_disagreed_total");
    let lines = logged(|| PredictionsDisagree { ticket: ticket(), apart: 0.25 }.emit());
    assert_eq!((&lines[0]["level"], &lines[0]["apart"]), (&"WARN".into(), &0.25.into()));
    assert_eq!(lines[0]["ticket"], ticket().to_string());
    assert_eq!(metric("nowcxr_predictions_disagreed_total"), before + 1.0);
}

/// `message` is the sentence's name in a line of the log.
#[test]
fn a_hospitals_message_is_named_by_its_number() {
    let verdict = MessageVerdict::Rejected;
    let lines = logged(|| MessageTaken { number: 5, verdict }.emit());
    assert_eq!(lines[0]["message"], "message answered");
    assert_eq!((&lines[0]["number"], &lines[0]["verdict"]), (&5.into(), &"rejected".into()));
}
